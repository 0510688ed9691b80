//! How long a lookup in the route table takes, and how long compiling takes: `cargo bench -p landfall-engine`.
//!
//! Prints figures and judges nothing: what is quick depends on the machine.

use std::{hint::black_box, net::Ipv4Addr, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue};
use landfall_engine::{
    call::{Call, Scheme},
    runtime::{Runtime, Selected},
};
use landfall_model::{
    Snapshot,
    rules::{
        Attachment, Family, HostPattern, HttpMatch, HttpRoute, Listener, ListenerId, PathMatch, RouteRule, TextMatch,
        Timeouts, ValueMatch,
    },
};

fn a_match(path: PathMatch, header: bool) -> HttpMatch {
    let condition = ValueMatch {
        name: "x-version".into(),
        value: TextMatch::Exact("2".into()),
    };
    HttpMatch {
        path,
        method: None,
        headers: if header { vec![condition] } else { Vec::new() },
        query: Vec::new(),
    }
}

/// Routes spread over hosts: each has a prefix, the same prefix with a header, and an exact path.
fn snapshot(routes: usize, hosts: usize) -> Snapshot {
    let id = ListenerId {
        gateway: "edge".into(),
        listener: "web".into(),
    };
    let listener = Listener {
        id: id.clone(),
        addresses: Vec::new(),
        port: 80,
        hostname: HostPattern::Any,
        family: Family::Http,
        tls: None,
        mutual_tls: None,
    };
    let route = |number: usize| {
        let hostname = HostPattern::parse(&format!("h{}.example.com", number % hosts));
        let prefix = format!("/api/v1/service-{number}");
        let rule = |matches| RouteRule {
            name: None,
            matches,
            filters: Vec::new(),
            backends: Vec::new(),
            timeouts: Timeouts::default(),
        };
        Arc::new(HttpRoute {
            id: format!("default/route-{number}").into(),
            created: None,
            hostnames: vec![hostname.clone()],
            attachments: vec![Attachment {
                listener: id.clone(),
                hostnames: vec![hostname],
            }],
            rules: vec![
                rule(vec![a_match(PathMatch::Prefix(prefix.as_str().into()), false)]),
                rule(vec![a_match(PathMatch::Prefix(prefix.as_str().into()), true)]),
                rule(vec![a_match(
                    PathMatch::Exact(format!("{prefix}/health").into()),
                    false,
                )]),
            ],
        })
    };
    Snapshot {
        version: 1,
        listeners: vec![Arc::new(listener)],
        routes: (0..routes).map(route).collect(),
        ..Snapshot::default()
    }
}

fn measure(runtime: &Runtime, what: &str, calls: &[(String, String)], headers: &HeaderMap) {
    const ROUNDS: usize = 200_000;
    let scope = runtime
        .scope(80, Ipv4Addr::LOCALHOST.into(), Scheme::Http)
        .expect("a listener on port 80");
    let begun = Instant::now();
    let mut found = 0_usize;
    for (host, path) in calls.iter().cycle().take(ROUNDS) {
        let call = Call {
            method: "GET",
            scheme: Scheme::Http,
            host,
            path,
            query: None,
            headers,
            client: (Ipv4Addr::LOCALHOST, 1).into(),
            peer: None,
        };
        found += usize::from(matches!(black_box(scope.select(&call, None)), Selected::Route(_)));
    }
    let nanos = begun.elapsed().as_nanos() / ROUNDS as u128;
    println!("  {what:<22} {nanos:>6} ns/lookup  ({} % found)", found * 100 / ROUNDS);
}

fn main() {
    let mut plain = HeaderMap::new();
    for (name, value) in [
        ("accept", "*/*"),
        ("user-agent", "bench/1"),
        ("x-request-id", "0123456789abcdef"),
    ] {
        plain.insert(name, HeaderValue::from_static(value));
    }
    let mut version = plain.clone();
    version.insert("x-version", HeaderValue::from_static("2"));
    for (routes, hosts) in [(10, 1), (1_000, 1), (1_000, 100), (10_000, 100)] {
        let snapshot = Arc::new(snapshot(routes, hosts));
        let begun = Instant::now();
        let runtime = Runtime::compile(snapshot, None, &Arc::default());
        println!(
            "{routes} routes over {hosts} hosts, compiled in {} ms",
            begun.elapsed().as_millis()
        );
        // Steps that are prime to the number of routes, so that calls do not come in the order of the table.
        let numbers = (0..997).map(|step| step * 7919 % routes);
        let calls = |path: &dyn Fn(usize) -> String| {
            numbers
                .clone()
                .map(|at| (format!("h{}.example.com", at % hosts), path(at)))
                .collect::<Vec<_>>()
        };
        measure(
            &runtime,
            "prefix",
            &calls(&|at| format!("/api/v1/service-{at}/orders/42")),
            &plain,
        );
        measure(
            &runtime,
            "prefix with header",
            &calls(&|at| format!("/api/v1/service-{at}/orders/42")),
            &version,
        );
        measure(
            &runtime,
            "exact",
            &calls(&|at| format!("/api/v1/service-{at}/health")),
            &plain,
        );
        measure(
            &runtime,
            "no route",
            &calls(&|at| format!("/nowhere/{at}/and/further/down")),
            &plain,
        );
    }
}
