use std::time::Duration;

use landfall_codec::{
    dubbo2::{NewRequest, Request, Serialization},
    hessian2::{Heap, Limits, Value},
};
use landfall_model::rules::{self, ArgumentMatch, ArgumentsMatch, Timeouts, ValueMatch};

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
        filters: Vec::new(),
        refuse: Vec::new(),
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
        request,
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

const STRING: &str = "Ljava/lang/String;";

/// A call of a method with these arguments, whose types are not looked at.
fn with(method: &str, types: &str, arguments: &[Value], heap: &Heap) -> Request {
    let new = NewRequest {
        path: "org.example.Greeter",
        version: None,
        method,
        types,
        attachments: &[],
    };
    let body = new.encode(arguments, heap).unwrap();
    Request::read(Serialization::HESSIAN2, body, Limits::default()).unwrap()
}

/// A generic call of `greet` with these arguments.
fn generic(arguments: Vec<Value>, mut heap: Heap) -> Request {
    let types = heap.typed_list("[string", Vec::new());
    let arguments = heap.typed_list("[object", arguments);
    with(
        "$invoke",
        landfall_codec::dubbo2::GENERIC_TYPES,
        &["greet".into(), types, arguments],
        &heap,
    )
}

fn asking(count: Option<u8>, values: &[(u8, TextMatch)]) -> DubboMatch {
    let values = values.iter().map(|(index, value)| ArgumentMatch {
        index: *index,
        value: value.clone(),
    });
    DubboMatch {
        arguments: ArgumentsMatch {
            count,
            values: values.collect(),
        },
        ..DubboMatch::default()
    }
}

fn text(text: &str) -> TextMatch {
    TextMatch::Exact(text.into())
}

#[test]
fn simple_arguments_are_compared_as_texts_also_those_of_a_generic_call() {
    let mut heap = Heap::new();
    let colour = heap.object("org.example.Colour", vec![("name", "RED".into())]);
    let point = heap.object("org.example.Point", vec![("name", "RED".into()), ("x", Value::Int(1))]);
    let values: [(Value, Option<&str>); 13] = [
        ("Ann".into(), Some("Ann")),
        ("".into(), None),
        (Value::Int(-7), Some("-7")),
        (Value::Long(1 << 60), Some("1152921504606846976")),
        (Value::Bool(true), Some("true")),
        (Value::Double(1.5), Some("1.5")),
        (Value::Double(2.0), Some("2.0")),
        (colour.clone(), Some("RED")),
        (colour, Some("RED")),
        (point, None),
        (Value::Null, None),
        (Value::Date(0), None),
        (Value::Binary(Box::from(*b"Ann")), None),
    ];
    let all: Vec<Value> = values.iter().map(|(value, _)| value.clone()).collect();
    let direct = with("greet", &STRING.repeat(all.len()), &all, &heap);
    let generic = generic(all, heap);
    for (index, (_, expected)) in (0..).zip(&values) {
        for request in [&direct, &generic] {
            let some = asking(None, &[(index, TextMatch::Regex(".+".into()))]);
            let table = table(vec![some, asking(Some(13), &[(index, text(expected.unwrap_or("no")))])]);
            // The second asks for more, so it comes first.
            let first = expected.map(|_| 1);
            assert_eq!(found(&table, request), first, "argument {index} of {}", request.method);
        }
    }
    let count = |count| table(vec![asking(Some(count), &[])]);
    for request in [&direct, &generic] {
        assert_eq!(found(&count(13), request), Some(0));
        assert_eq!(found(&count(3), request), None, "not the three of $invoke itself");
    }
}

#[test]
fn more_conditions_on_arguments_win_but_less_than_one_more_attachment() {
    let by_user = DubboMatch {
        attachments: vec![ValueMatch {
            name: "user".into(),
            value: text("7"),
        }],
        ..DubboMatch::default()
    };
    let table = table(vec![
        DubboMatch::default(),
        asking(Some(1), &[]),
        asking(Some(1), &[(0, text("Ann"))]),
        by_user,
    ]);
    let call = |argument: &str| with("greet", STRING, &[argument.into()], &Heap::new());
    assert_eq!(found(&table, &call("Ann")), Some(2));
    assert_eq!(found(&table, &call("Bob")), Some(1));
    assert_eq!(found(&table, &with("greet", "", &[], &Heap::new())), Some(0));
    assert_eq!(
        table.find(None).map(|rule| rule.rule.index),
        Some(0),
        "a body that is not opened"
    );
    let call = with("greet", STRING, &["Ann".into()], &Heap::new());
    let body = call.rewrite(&landfall_codec::dubbo2::Changes {
        set: &[("user", "7")],
        ..Default::default()
    });
    let call = Request::read(Serialization::HESSIAN2, body.unwrap(), Limits::default()).unwrap();
    assert_eq!(found(&table, &call), Some(3));
}

#[test]
fn an_argument_beyond_the_head_of_the_body_meets_no_condition() {
    let table = table(vec![asking(None, &[(1, text("Ann"))]), asking(Some(2), &[])]);
    let call = |before: usize| {
        let large = Value::Binary(vec![0; before].into());
        with("greet", "[BLjava/lang/String;", &[large, "Ann".into()], &Heap::new())
    };
    // Equal in rank, so the first that holds.
    assert_eq!(found(&table, &call(60_000)), Some(0));
    assert_eq!(found(&table, &call(70_000)), Some(1), "the count is known of any call");
    let heap = Heap::new();
    assert_eq!(
        found(
            &table,
            &generic(vec![Value::Binary(vec![0; 70_000].into()), "Ann".into()], heap)
        ),
        None
    );
}
