//! The route table against the plainest reading of the specification: sort everything by precedence and scan.

use std::{
    cmp::Reverse,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use landfall_model::rules::{HostPattern, HttpMatch, HttpRoute, Listener, PathMatch, TextMatch};
use proptest::{prelude::*, sample::select};

use crate::{
    call::Scheme,
    fixture::{Conditioned, Request, exact, listener, prefix, regex, route_since, rule, runtime},
    runtime::{Runtime, Selected},
};

/// (route, rule, match) that takes the request, by the specification's words alone.
fn by_the_book(
    routes: &[Arc<HttpRoute>],
    listeners: &[Arc<Listener>],
    request: &Request,
) -> Option<(Arc<str>, usize, usize)> {
    let listener = listeners
        .iter()
        .filter(|listener| listener.hostname.matches(&request.host))
        .max_by_key(|listener| listener.hostname.specificity())?;
    let mut satisfied = Vec::new();
    for route in routes {
        if !route
            .attachments
            .iter()
            .any(|attachment| attachment.listener == listener.id)
        {
            continue;
        }
        let any = [HostPattern::Any];
        let own = if route.hostnames.is_empty() {
            &any[..]
        } else {
            &route.hostnames
        };
        let Some(host) = own
            .iter()
            .filter(|own| own.matches(&request.host))
            .map(HostPattern::specificity)
            .max()
        else {
            continue;
        };
        for (rule_index, rule) in route.rules.iter().enumerate() {
            for (match_index, candidate) in rule.matches.iter().enumerate() {
                if takes(candidate, request) {
                    let (kind, length) = match &candidate.path {
                        PathMatch::Exact(text) => (2, text.len()),
                        PathMatch::Regex(text) => (1, text.len()),
                        PathMatch::Prefix(text) => (0, text.len()),
                    };
                    let age = route.created.map_or((1, UNIX_EPOCH), |created| (0, created));
                    let order = (
                        Reverse((host, kind, length)),
                        Reverse((
                            candidate.method.is_some(),
                            candidate.headers.len(),
                            candidate.query.len(),
                        )),
                        age,
                        route.id.clone(),
                        rule_index,
                        match_index,
                    );
                    satisfied.push(order);
                }
            }
        }
    }
    satisfied.into_iter().min().map(|order| (order.3, order.4, order.5))
}

fn takes(candidate: &HttpMatch, request: &Request) -> bool {
    let path = match &candidate.path {
        PathMatch::Exact(text) => request.path == **text,
        // Element by element, not character by character.
        PathMatch::Prefix(text) => {
            let wanted: Vec<_> = text.split('/').collect();
            let given: Vec<_> = request.path.split('/').collect();
            text.is_empty() || given.starts_with(&wanted)
        }
        PathMatch::Regex(text) => regex_lite_match(text, &request.path),
    };
    let value = |test: &TextMatch, given: Option<&str>| match test {
        TextMatch::Exact(text) => given == Some(&**text),
        TextMatch::Regex(text) => given.is_some_and(|given| regex_lite_match(text, given)),
    };
    let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
    let query = |name: &str| {
        let pairs = request
            .query
            .as_deref()?
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    path && candidate
        .method
        .as_ref()
        .is_none_or(|method| **method == *request.method)
        && candidate
            .headers
            .iter()
            .all(|test| value(&test.value, header(&test.name)))
        && candidate.query.iter().all(|test| value(&test.value, query(&test.name)))
}

/// The generator writes only texts and `.*` at the end.
fn regex_lite_match(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    }
}

const HOSTS: [&str; 7] = ["", "*.com", "*.b.com", "b.com", "a.b.com", "*.a.b.com", "x.org"];
const PATHS: [&str; 8] = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/a//b"];

fn a_match() -> impl Strategy<Value = HttpMatch> {
    let path = (0..3, select(&PATHS[..])).prop_map(|(kind, path)| match kind {
        0 => exact(path),
        1 => regex(&format!("{path}.*")),
        _ => prefix(path),
    });
    let conditions = (
        proptest::option::of(select(&["GET", "POST"][..])),
        proptest::option::of(select(&["1", "2"][..])),
        proptest::option::of(select(&["1", "2"][..])),
        proptest::option::of(select(&["1", "2"][..])),
    );
    (path, conditions).prop_map(|(mut built, (method, x, y, q))| {
        if let Some(method) = method {
            built = built.method(method);
        }
        if let Some(x) = x {
            built = built.header("x", x);
        }
        if let Some(y) = y {
            built = built.header_like("y", &format!("{y}.*"));
        }
        if let Some(q) = q {
            built = built.query("q", q);
        }
        built
    })
}

fn world() -> impl Strategy<Value = (Vec<Arc<Listener>>, Vec<Arc<HttpRoute>>)> {
    let listeners = proptest::sample::subsequence(&HOSTS[..], 1..4).prop_map(|hosts| {
        let numbered = hosts.iter().enumerate();
        numbered
            .map(|(at, host)| listener(&format!("l{at}"), 80, host, Scheme::Http))
            .collect::<Vec<_>>()
    });
    let rules = proptest::collection::vec(proptest::collection::vec(a_match(), 1..4), 1..4);
    let route = (
        proptest::collection::vec(select(&HOSTS[1..]), 0..3),
        proptest::option::of(0_u64..3),
        rules,
    );
    (listeners, proptest::collection::vec(route, 1..12)).prop_map(|(listeners, routes)| {
        let routes = routes.into_iter().enumerate().map(|(at, (hosts, age, rules))| {
            let created: Option<SystemTime> = age.map(|age| UNIX_EPOCH + Duration::from_secs(age));
            let rules = rules.into_iter().map(|matches| rule(matches, "v1")).collect();
            // Names that do not sort like their numbers.
            route_since(&format!("r{}", at * 7 % 11), created, &hosts, &listeners, rules)
        });
        let routes = routes.collect();
        (listeners, routes)
    })
}

fn a_request() -> impl Strategy<Value = Request> {
    let value = || proptest::option::of(select(&["1", "2", "12"][..]));
    let host = select(&["b.com", "a.b.com", "x.a.b.com", "c.com", "x.org", "com", "y.org"][..]);
    let path = select(
        &[
            "/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c/d", "/ab", "/abc", "/b", "/a//b", "*",
        ][..],
    );
    (
        select(&["GET", "POST", "PUT"][..]),
        host,
        path,
        value(),
        value(),
        value(),
    )
        .prop_map(|(method, host, path, x, y, q)| {
            let headers: Vec<String> = [("x", x), ("y", y)]
                .iter()
                .filter_map(|(name, value)| value.map(|value| format!("{name}: {value}")))
                .collect();
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let mut request = Request::new(method, &format!("{host}/"), &headers);
            request.path = path.to_owned();
            request.query = q.map(|q| format!("q={q}&q=9"));
            request
        })
}

fn by_the_table(runtime: &Runtime, request: &Request) -> Option<(Arc<str>, usize, usize)> {
    let scope = runtime.scope(80, std::net::Ipv4Addr::LOCALHOST.into(), Scheme::Http)?;
    match scope.select(&request.call(), None) {
        Selected::Route(matched) => Some((matched.rule.route.clone(), matched.rule.index, matched.match_index)),
        Selected::NotFound => None,
        Selected::Misdirected => panic!("421 without TLS"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_table_decides_as_the_specification_says(
        (listeners, routes) in world(),
        requests in proptest::collection::vec(a_request(), 20),
    ) {
        let runtime = runtime(&listeners, routes.clone());
        for request in &requests {
            let expected = by_the_book(&routes, &listeners, request);
            let found = by_the_table(&runtime, request);
            prop_assert_eq!(&found, &expected, "{} {} {:?}", request.host, request.path, request.query);
            // What explains a choice must name the same one.
            let scope = runtime.scope(80, std::net::Ipv4Addr::LOCALHOST.into(), Scheme::Http).unwrap();
            let traced = scope.listener(&request.host).and_then(|listener| {
                let traced = listener.routes.trace(&request.call());
                let first = traced.iter().find(|traced| traced.lost.is_none())?;
                Some((first.rule.route.clone(), first.rule.index, first.match_index))
            });
            prop_assert_eq!(traced, found);
        }
    }
}
