use std::time::Duration;

use landfall_codec::{
    dubbo2::{NewRequest, Request, Serialization},
    hessian2::{Heap, Limits},
};
use landfall_model::rules::{self, Timeouts, ValueMatch};

use super::*;
use crate::route::Where;

fn call(attachments: &[(&str, &str)]) -> Request {
    let new = NewRequest {
        path: "org.example.Greeter",
        version: None,
        method: "greet",
        types: "",
        attachments,
    };
    let body = new.encode(&[], &Heap::new()).unwrap();
    Request::read(Serialization::HESSIAN2, body, Limits::default()).unwrap()
}

fn exactly(text: &str) -> Option<TextMatch> {
    Some(TextMatch::Exact(text.into()))
}

fn pattern(text: &str) -> Option<TextMatch> {
    Some(TextMatch::Regex(text.into()))
}

fn matching(interface: Option<TextMatch>, version: Option<TextMatch>, method: Option<TextMatch>) -> DubboMatch {
    DubboMatch {
        interface,
        version,
        method,
        ..DubboMatch::default()
    }
}

/// A table of one route with a rule for each match, named by its place.
fn table(matches: Vec<DubboMatch>) -> DubboTable {
    let rules = matches.into_iter().map(|one| rules::DubboRule {
        name: None,
        matches: vec![one],
        backends: Vec::new(),
        timeouts: Timeouts::default(),
        idempotent: vec![TextMatch::Regex("get.*".into())],
    });
    let route = DubboRoute {
        id: "default/calls".into(),
        created: None,
        listeners: Vec::new(),
        rules: rules.collect(),
    };
    let (mut regexes, metrics, mut table) = (Regexes::default(), Metrics::default(), DubboTable::default());
    for (index, source) in route.rules.iter().enumerate() {
        let nowhere = &mut |_: &rules::BackendRef| Where::Missing("nothing is there".into());
        let rule = DubboRule::compile(&route, index, nowhere, (&mut regexes, None), &metrics).unwrap();
        let rule = Arc::new(rule);
        table
            .add(&route, &rule, (0, &source.matches[0]), (&mut regexes, None))
            .unwrap();
    }
    table.finish();
    table
}

fn found(table: &DubboTable, request: &Request) -> Option<usize> {
    let facts = Facts {
        identity: request.identity().unwrap(),
        method: &request.method,
        attachments: &request.attachments,
    };
    table.find(Some(&facts)).map(|rule| rule.rule.index)
}

#[test]
fn the_most_specific_match_wins_whatever_its_place() {
    let greeter = || exactly("org.example.Greeter");
    let by_tag = DubboMatch {
        attachments: vec![ValueMatch {
            name: "dubbo.tag".into(),
            value: TextMatch::Exact("blue".into()),
        }],
        ..matching(greeter(), None, None)
    };
    let table = table(vec![
        DubboMatch::default(),
        matching(pattern("org[.]example[.].*"), None, exactly("greet")),
        matching(greeter(), None, None),
        by_tag,
        matching(greeter(), None, pattern("gr.*")),
        matching(greeter(), pattern("2[.].*"), None),
        matching(greeter(), exactly("2.1"), None),
        matching(greeter(), exactly("2.1"), exactly("part")),
    ]);
    assert_eq!(
        found(&table, &call(&[])),
        Some(4),
        "a method is more than an attachment or nothing"
    );
    assert_eq!(found(&table, &call(&[("dubbo.tag", "blue")])), Some(4));
    assert_eq!(found(&table, &call(&[("version", "2.0")])), Some(5));
    assert_eq!(found(&table, &call(&[("version", "2.1")])), Some(6));
    assert_eq!(
        table.find(None).map(|rule| rule.rule.index),
        Some(0),
        "of a body that is not opened nothing is known"
    );
    let interface = [("interface", "org.example.Other"), ("path", "org.example.Greeter")];
    assert_eq!(found(&table, &call(&interface)), Some(1));
}

#[test]
fn a_group_or_version_that_a_call_lacks_is_the_empty_text() {
    let table = table(vec![DubboMatch {
        group: exactly(""),
        ..matching(None, exactly(""), None)
    }]);
    assert_eq!(found(&table, &call(&[])), Some(0));
    assert_eq!(found(&table, &call(&[("version", "0.0.0")])), Some(0));
    assert_eq!(found(&table, &call(&[("group", "g")])), None);
    assert!(table.find(None).is_none());
}

#[test]
fn a_consumer_may_shorten_the_routes_limit_and_replace_the_policys() {
    let policy = rules::TrafficPolicy::default();
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(600));
    let rule = |request| {
        let source = RouteRule {
            name: None,
            matches: Vec::new(),
            filters: Vec::new(),
            backends: Vec::new(),
            timeouts: Timeouts {
                request,
                backend_request: None,
            },
        };
        let nowhere = &mut |_: &rules::BackendRef| Where::Missing("nothing is there".into());
        Rule::compile(&"r".into(), 0, &source, nowhere, &Metrics::default()).unwrap()
    };
    assert_eq!(rule(None).limit(&policy, None), policy.request_timeout);
    assert_eq!(rule(None).limit(&policy, Some(long)), Some(long));
    assert_eq!(rule(Some(short)).limit(&policy, Some(long)), Some(short));
    assert_eq!(rule(Some(long)).limit(&policy, Some(short)), Some(short));
    assert_eq!(rule(Some(Duration::ZERO)).limit(&policy, Some(short)), Some(short));
    assert_eq!(rule(Some(Duration::ZERO)).limit(&policy, None), None);
}
