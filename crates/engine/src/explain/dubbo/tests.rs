use std::{sync::Arc, time::Duration};

use landfall_model::{
    rules::{
        ArgumentMatch, ArgumentsMatch, Backend, DubboFault, DubboFilter, DubboMatch, DubboRoute, DubboRule, Family,
        FrameworkCalls, Mirror, TextMatch, Timeouts, TrafficPolicy, ValueMatch,
    },
    snapshot::Resolution,
};

use super::*;
use crate::{
    call::Scheme,
    explain::{ExplainRequest, explain as explain_any},
    fixture::{backend_ref, cluster, cluster_id, endpoint, listener, snapshot},
};

fn exactly(text: &str) -> Option<TextMatch> {
    Some(TextMatch::Exact(text.into()))
}

fn to(matched: DubboMatch, backend: &str) -> DubboRule {
    DubboRule {
        name: None,
        matches: vec![matched],
        filters: Vec::new(),
        refuse: Vec::new(),
        backends: vec![Backend {
            backend: backend_ref(backend),
            weight: 1,
            filters: Vec::new(),
        }],
        timeouts: Timeouts::default(),
        idempotent: Vec::new(),
    }
}

/// Clusters `v1` and `v2` have endpoints, one of them tagged `gray`; `missing` does not exist.
fn greeter() -> Runtime {
    let mut calls = (*listener("calls", 20880, "", Scheme::Http)).clone();
    calls.family = Family::Dubbo;
    let greeter = || DubboMatch {
        interface: exactly("org.example.Greeter"),
        ..DubboMatch::default()
    };
    let canary = DubboMatch {
        version: exactly("1.0.0"),
        attachments: vec![ValueMatch {
            name: "user".into(),
            value: TextMatch::Exact("7".into()),
        }],
        ..greeter()
    };
    let dear = DubboMatch {
        method: exactly("pay"),
        arguments: ArgumentsMatch {
            count: Some(2),
            values: vec![ArgumentMatch {
                index: 1,
                value: TextMatch::Regex("[0-9]{4,}".into()),
            }],
        },
        ..greeter()
    };
    let gone = DubboMatch {
        method: exactly("gone"),
        ..greeter()
    };
    let mut stopped = to(
        DubboMatch {
            method: exactly("stopped"),
            ..greeter()
        },
        "v1",
    );
    stopped.filters = vec![
        DubboFilter::Fault(DubboFault {
            delay: Some((Duration::from_millis(200), (1, 10))),
            abort: Some((100, (100, 100))),
        }),
        DubboFilter::Mirror(Mirror {
            backend: backend_ref("v1"),
            fraction: (1, 2),
        }),
    ];
    let mut closed = to(
        DubboMatch {
            method: exactly("closed"),
            ..greeter()
        },
        "v1",
    );
    closed.refuse = vec![FrameworkCalls::Generic];
    let route = DubboRoute {
        id: "default/calls".into(),
        created: None,
        listeners: vec![calls.id.clone()],
        rules: vec![
            to(greeter(), "v1"),
            to(canary, "v2"),
            to(gone, "missing"),
            to(dear, "v2"),
            stopped,
            closed,
        ],
    };
    let calls = [Arc::new(calls)];
    let mut snapshot = snapshot(&calls, Vec::new());
    snapshot.dubbo_routes = vec![Arc::new(route)];
    let mut gray = (*endpoint(20883, 100)).clone();
    gray.tag = Some("gray".into());
    for (name, endpoints) in [
        ("v1", vec![endpoint(20881, 100)]),
        ("v2", vec![endpoint(20882, 100), Arc::new(gray)]),
    ] {
        let id = cluster_id(name);
        let source = cluster(name, endpoints, TrafficPolicy::default());
        snapshot.clusters.insert(id.clone(), source);
        snapshot.backends.insert(backend_ref(name), Resolution::Cluster(id));
    }
    let runtime = Runtime::compile(Arc::new(snapshot), None, &Arc::default());
    assert_eq!(runtime.problems(), [""; 0]);
    runtime
}

fn ask(url: &str) -> Result<Explanation, InvalidRequest> {
    let request = ExplainRequest {
        method: "GET".into(),
        url: url.into(),
        headers: Vec::new(),
    };
    explain_any(&greeter(), &request)
}

fn answer(explanation: &Explanation) -> (u16, &str) {
    match &explanation.outcome {
        Outcome::Answered { status, why } => (*status, why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_shows_its_rule_backend_and_endpoints_and_why_other_rules_do_not_take_it() {
    let told = ask("dubbo://gateway:20880/org.example.Greeter?version=1.0.0&method=hello&attachment.user=7").unwrap();
    assert_eq!(told.outcome, Outcome::Forwarded);
    assert_eq!(told.listener.as_deref(), Some("edge/calls"));
    assert_eq!(told.request.method, "hello");
    let route = told.route.as_ref().unwrap();
    assert_eq!((&*route.route, route.rule), ("default/calls", 1));
    assert_eq!(
        route.matched,
        "interface = org.example.Greeter, version = 1.0.0, attachment user = 7"
    );
    assert_eq!(told.backends[0].path, "org.example.Greeter");
    assert_eq!(ports(&told), [20882], "the other is for calls with a tag");
    let why: Vec<_> = told.others.iter().map(|other| (other.rule, &*other.why)).collect();
    assert_eq!(
        why,
        [
            (3, "its method does not match"),
            (2, "its method does not match"),
            (4, "its method does not match"),
            (5, "its method does not match"),
            (0, "it takes the call too, but comes later in precedence")
        ]
    );
}

/// Where the first backend's calls go.
fn ports(told: &Explanation) -> Vec<u16> {
    let cluster = told.backends[0].cluster.as_ref().unwrap();
    cluster
        .endpoints
        .iter()
        .map(|endpoint| endpoint.address.port())
        .collect()
}

#[test]
fn a_tag_leaves_its_endpoints() {
    let url = "dubbo://gateway/org.example.Greeter?version=1.0.0&attachment.user=7&attachment.dubbo.tag=gray";
    let told = ask(url).unwrap();
    assert_eq!(ports(&told), [20883]);
    assert!(
        told.notes
            .iter()
            .any(|note| note.contains("1 of the 2 endpoints of v2")),
        "{:?}",
        told.notes
    );
    let told = ask(&format!("{url}y&attachment.dubbo.force.tag=true")).unwrap();
    assert_eq!(answer(&told), (80, "no backend has an endpoint"));
}

#[test]
fn a_condition_that_fails_is_named() {
    let told = ask("dubbo://gateway/org.example.Greeter?version=1.0.0&attachment.user=8").unwrap();
    assert_eq!(told.route.as_ref().unwrap().rule, 0);
    let canary = told.others.iter().find(|other| other.rule == 1).unwrap();
    assert_eq!(canary.why, "its attachment `user` does not match");
}

#[test]
fn arguments_of_the_url_are_those_of_the_call() {
    let url = "dubbo://gateway/org.example.Greeter?method=pay";
    let told = ask(&format!("{url}&argument.1=1000&argument.0=Ann")).unwrap();
    let route = told.route.as_ref().unwrap();
    assert_eq!(route.rule, 3);
    assert!(
        route
            .matched
            .ends_with("method = pay, arguments = 2, argument 1 like [0-9]{4,}"),
        "{route:?}"
    );
    for (more, why) in [
        ("&argument.0=Ann&argument.1=999", "its argument 1 does not match"),
        ("&arguments=2", "its argument 1 does not match"),
        ("&argument.1=1000&arguments=3", "its number of arguments does not match"),
        ("", "its number of arguments does not match"),
    ] {
        let told = ask(&format!("{url}{more}")).unwrap();
        assert_eq!(told.route.as_ref().unwrap().rule, 0, "{more}");
        assert_eq!(
            told.others.iter().find(|other| other.rule == 3).unwrap().why,
            why,
            "{more}"
        );
    }
}

#[test]
fn what_no_rule_takes_and_what_leads_nowhere_is_told_in_dubbos_own_numbers() {
    let told = ask("dubbo://gateway/org.example.Other").unwrap();
    assert_eq!(answer(&told).0, 60);
    let told = ask("dubbo://gateway/org.example.Greeter?method=gone").unwrap();
    assert_eq!(answer(&told), (70, "no backend exists"));
    let told = ask("dubbo://gateway:1/org.example.Greeter").unwrap();
    assert_eq!(answer(&told), (60, "no listener of protocol Dubbo on port 1"));
    let told = ask("dubbo://gateway/org.example.Greeter?group=a&attachment.group=b").unwrap();
    assert_eq!(answer(&told).0, 40, "a call that says two things is refused");
}

#[test]
fn a_fault_that_ends_every_call_is_the_answer() {
    let told = ask("dubbo://gateway/org.example.Greeter?method=stopped").unwrap();
    assert_eq!(answer(&told).0, 100);
    let route = told.route.unwrap();
    assert_eq!(
        route.filters,
        [
            "fault: 1 of 10 wait 200ms, 100 of 100 are answered 100",
            "mirror: 1 of 2 to v1"
        ]
    );
}

#[test]
fn a_generic_call_is_one_of_the_method_it_names() {
    let told = ask("dubbo://gateway/org.example.Greeter?method=$invoke&argument.0=closed").unwrap();
    assert_eq!(answer(&told), (20, "an exception: generic calls are not let through"));
    let told = ask("dubbo://gateway/org.example.Greeter?method=closed").unwrap();
    assert_eq!((told.route.unwrap().rule, told.outcome), (5, Outcome::Forwarded));
}

#[test]
fn what_the_url_cannot_mean_is_refused_by_name() {
    let base = "dubbo://gateway/org.example.Greeter?";
    for wrong in [
        "verison=1",
        "argument.x=1",
        "argument.255=1",
        "arguments=256",
        "attachment=1",
    ] {
        let refused = ask(&format!("{base}{wrong}")).unwrap_err();
        assert_eq!(refused, InvalidRequest::Parameter(wrong.to_owned()));
    }
    assert!(ask("dubbo://gateway/").is_err());
    assert!(ask(&format!("{base}argument.254=x&arguments=255")).is_ok());
}
