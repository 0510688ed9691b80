//! The Gateway API's conformance cases for matching, by the names they have there (tag v1.5.1).

use std::sync::Arc;

use landfall_model::rules::Listener;

use crate::{
    call::Scheme,
    fixture::{Conditioned, Request, exact, get, listener, prefix, route, rule, runtime, weighted},
    runtime::Runtime,
};

fn web() -> [Arc<Listener>; 1] {
    [listener("web", 80, "", Scheme::Http)]
}

/// Every row: url, headers, the expected backend or status.
fn check(runtime: &Runtime, rows: &[(&str, &[&str], &str)]) {
    for (url, headers, expected) in rows {
        assert_eq!(get(runtime, url, headers), *expected, "{url} {headers:?}");
    }
}

fn part_one() -> landfall_model::rules::RouteRule {
    rule(vec![prefix("/"), prefix("/").header("version", "one")], "v1")
}

fn part_two() -> landfall_model::rules::RouteRule {
    rule(vec![prefix("/v2"), prefix("/").header("version", "two")], "v2")
}

#[test]
fn http_route_simple_same_namespace() {
    let runtime = runtime(
        &web(),
        vec![route("one", &[], &web(), vec![rule(vec![prefix("/")], "v1")])],
    );
    check(&runtime, &[("example.org/", &[], "v1"), ("anything/at/all", &[], "v1")]);
}

#[test]
fn http_route_matching() {
    let runtime = runtime(
        &web(),
        vec![route("matching", &[], &web(), vec![part_one(), part_two()])],
    );
    let rows: &[(&str, &[&str], &str)] = &[
        ("x/", &[], "v1"),
        ("x/example", &[], "v1"),
        ("x/", &["Version: one"], "v1"),
        ("x/v2", &[], "v2"),
        ("x/v2?query", &[], "v2"),
        ("x/v2/", &[], "v2"),
        ("x/v2/example", &[], "v2"),
        ("x/", &["Version: two"], "v2"),
        ("x/v2example", &[], "v1"),
        ("x/foo/v2/example", &[], "v1"),
    ];
    check(&runtime, rows);
}

#[test]
fn http_route_matching_across_routes() {
    let routes = vec![
        route("part1", &["example.com", "example.net"], &web(), vec![part_one()]),
        route("part2", &["example.com"], &web(), vec![part_two()]),
    ];
    let runtime = runtime(&web(), routes);
    let rows: &[(&str, &[&str], &str)] = &[
        ("example.com/", &[], "v1"),
        ("example.com/example", &[], "v1"),
        ("example.net/example", &[], "v1"),
        ("example.com/example", &["Version: one"], "v1"),
        ("example.com/v2", &[], "v2"),
        ("example.net/v2", &[], "v1"),
        ("example.com/v2/example", &[], "v2"),
        ("example.com/", &["Version: two"], "v2"),
        ("other.example.com/", &[], "404"),
    ];
    check(&runtime, rows);
}

#[test]
fn http_route_exact_path_matching() {
    let rules = vec![rule(vec![exact("/one")], "v1"), rule(vec![exact("/two")], "v2")];
    let runtime = runtime(&web(), vec![route("exact", &[], &web(), rules)]);
    let rows: &[(&str, &[&str], &str)] = &[
        ("x/one", &[], "v1"),
        ("x/two", &[], "v2"),
        ("x/one?two", &[], "v1"),
        ("x/", &[], "404"),
        ("x/one/example", &[], "404"),
        ("x/two/", &[], "404"),
        ("x/Two", &[], "404"),
    ];
    check(&runtime, rows);
}

#[test]
fn http_route_path_match_order() {
    let rules = vec![
        rule(vec![exact("/match")], "v1"),
        rule(vec![exact("/match/exact")], "v2"),
        rule(vec![exact("/match/exact/one")], "v3"),
        rule(vec![prefix("/match/")], "v3"),
        rule(vec![prefix("/match/prefix/")], "v1"),
        rule(vec![prefix("/match/prefix/one")], "v2"),
    ];
    let runtime = runtime(&web(), vec![route("order", &[], &web(), rules)]);
    let rows: &[(&str, &[&str], &str)] = &[
        ("x/match", &[], "v1"),
        ("x/match/exact", &[], "v2"),
        ("x/match/exact/one", &[], "v3"),
        ("x/match/any", &[], "v3"),
        ("x/match/prefix/any", &[], "v1"),
        ("x/match/prefix/one/any", &[], "v2"),
    ];
    check(&runtime, rows);
}

#[test]
fn http_route_header_matching() {
    let all = || prefix("/");
    let rules = vec![
        rule(vec![all().header("version", "one")], "v1"),
        rule(vec![all().header("version", "two")], "v2"),
        rule(vec![all().header("version", "two").header("color", "orange")], "v1"),
        rule(
            vec![all().header("color", "blue"), all().header("color", "green")],
            "v1",
        ),
        rule(
            vec![all().header("color", "red"), all().header("color", "yellow")],
            "v2",
        ),
    ];
    let runtime = runtime(&web(), vec![route("headers", &[], &web(), rules)]);
    let rows: &[(&str, &[&str], &str)] = &[
        ("x/", &["Version: one"], "v1"),
        ("x/", &["Version: two"], "v2"),
        ("x/", &["Version: two", "Color: orange"], "v1"),
        ("x/", &["Color: blue"], "v1"),
        ("x/", &["Color: green"], "v1"),
        ("x/", &["Color: red"], "v2"),
        ("x/", &["Color: yellow"], "v2"),
        ("x/", &["Version: two", "Color: blue"], "v2"),
        ("x/", &["Color: orange"], "404"),
        ("x/", &["Color: purple"], "404"),
        ("x/", &["Some-Other-Header: one"], "404"),
        ("x/", &[], "404"),
    ];
    check(&runtime, rows);
}

#[test]
fn http_route_method_matching() {
    let all = || prefix("/");
    let rules = vec![
        rule(vec![all().method("POST")], "v1"),
        rule(vec![all().method("GET")], "v2"),
        rule(vec![prefix("/path1").method("GET")], "v1"),
        rule(vec![all().header("version", "one").method("PUT")], "v2"),
        rule(vec![prefix("/path2").header("version", "two").method("POST")], "v3"),
        rule(
            vec![
                prefix("/path3").method("PATCH"),
                prefix("/path4").header("version", "three").method("DELETE"),
            ],
            "v1",
        ),
        rule(vec![prefix("/path5")], "v1"),
        rule(vec![all().method("PATCH")], "v2"),
        rule(vec![all().header("version", "four")], "v3"),
    ];
    let runtime = runtime(&web(), vec![route("methods", &[], &web(), rules)]);
    let rows: &[(&str, &str, &[&str], &str)] = &[
        ("POST", "x/", &[], "v1"),
        ("GET", "x/", &[], "v2"),
        ("HEAD", "x/", &[], "404"),
        ("GET", "x/path1", &[], "v1"),
        ("PUT", "x/", &["Version: one"], "v2"),
        ("PUT", "x/", &[], "404"),
        ("POST", "x/path2", &["Version: two"], "v3"),
        ("PATCH", "x/path3", &[], "v1"),
        ("DELETE", "x/path4", &["Version: three"], "v1"),
        ("PATCH", "x/path5", &[], "v1"),
        ("PATCH", "x/", &["Version: four"], "v2"),
    ];
    for (method, url, headers, expected) in rows {
        let fate = Request::new(method, url, headers).fate(&runtime, None);
        assert_eq!(fate, *expected, "{method} {url} {headers:?}");
    }
}

#[test]
fn http_route_query_param_matching() {
    let all = || prefix("/");
    let rules = vec![
        rule(vec![all().query("animal", "whale")], "v1"),
        rule(vec![all().query("animal", "dolphin")], "v2"),
        rule(vec![all().query("animal", "dolphin").query("color", "blue")], "v3"),
        rule(vec![all().query("ANIMAL", "Whale")], "v3"),
        rule(
            vec![
                prefix("/path1").query("animal", "whale"),
                all().header("version", "one").query("animal", "whale"),
            ],
            "v1",
        ),
        rule(
            vec![
                prefix("/path2").header("version", "two").query("animal", "whale"),
                prefix("/path3").query("animal", "shark"),
                prefix("/path4").header("version", "three").query("animal", "kraken"),
            ],
            "v1",
        ),
        rule(vec![prefix("/path5")], "v1"),
        rule(vec![all().query("animal", "hydra")], "v2"),
        rule(vec![all().header("version", "four")], "v3"),
    ];
    let runtime = runtime(&web(), vec![route("query", &[], &web(), rules)]);
    let rows: &[(&str, &[&str], &str)] = &[
        ("x/?animal=whale", &[], "v1"),
        ("x/?animal=dolphin", &[], "v2"),
        ("x/?animal=whale&otherparam=irrelevant", &[], "v1"),
        ("x/?animal=dolphin&color=yellow", &[], "v2"),
        ("x/?animal=dolphin&color=blue", &[], "v3"),
        ("x/?color=blue", &[], "404"),
        ("x/?animal=dog", &[], "404"),
        ("x/?animal=whaledolphin", &[], "404"),
        ("x/", &[], "404"),
        ("x/?ANIMAL=Whale", &[], "v3"),
        ("x/path1?animal=whale", &[], "v1"),
        ("x/?animal=whale", &["version: one"], "v1"),
        ("x/path3?animal=shark", &[], "v1"),
        ("x/path4?animal=kraken", &["version: three"], "v1"),
        ("x/path5?animal=hydra", &[], "v1"),
        ("x/?animal=hydra", &["version: four"], "v3"),
    ];
    check(&runtime, rows);
}

#[test]
fn http_route_hostname_intersection() {
    let listeners = [
        listener("1", 80, "very.specific.com", Scheme::Http),
        listener("2", 80, "*.wildcard.io", Scheme::Http),
        listener("3", 80, "*.anotherwildcard.io", Scheme::Http),
    ];
    let on = |path: &str, backend: &str| vec![rule(vec![prefix(path)], backend)];
    let wild = [
        "wildcard.io",
        "foo.wildcard.io",
        "bar.wildcard.io",
        "foo.bar.wildcard.io",
    ];
    let specific = ["non.matching.com", "*.nonmatchingwildcard.io", "very.specific.com"];
    let orphan = route(
        "s5",
        &["specific.but.wrong.com", "wildcard.io"],
        &listeners,
        on("/s5", "v1"),
    );
    assert!(orphan.attachments.is_empty());
    let routes = vec![
        route("s1", &specific, &listeners, on("/s1", "v1")),
        route("s2", &wild, &listeners, on("/s2", "v2")),
        route("s3", &["*.specific.com"], &listeners, on("/s3", "v3")),
        route("s4", &["*.anotherwildcard.io"], &listeners, on("/s4", "v1")),
        orphan,
    ];
    let runtime = runtime(&listeners, routes);
    let rows: &[(&str, &[&str], &str)] = &[
        ("very.specific.com/s1", &[], "v1"),
        ("very.specific.com:1234/s1", &[], "v1"),
        ("VERY.specific.com/s1", &[], "v1"),
        ("non.matching.com/s1", &[], "404"),
        ("foo.nonmatchingwildcard.io/s1", &[], "404"),
        ("foo.wildcard.io/s1", &[], "404"),
        ("very.specific.com/non-matching-prefix", &[], "404"),
        ("foo.wildcard.io/s2", &[], "v2"),
        ("bar.wildcard.io/s2", &[], "v2"),
        ("foo.bar.wildcard.io/s2", &[], "v2"),
        ("wildcard.io/s2", &[], "404"),
        ("not.wildcard.io/s2", &[], "404"),
        ("very.specific.com/s3", &[], "v3"),
        ("foo.specific.com/s3", &[], "404"),
        ("foo.anotherwildcard.io/s4", &[], "v1"),
        ("foo.bar.anotherwildcard.io/s4", &[], "v1"),
        ("anotherwildcard.io/s4", &[], "404"),
        ("specific.but.wrong.com/s5", &[], "404"),
        ("wildcard.io/s5", &[], "404"),
    ];
    check(&runtime, rows);
}

#[test]
fn http_route_listener_hostname_matching() {
    let listeners = ["bar.com", "foo.bar.com", "*.bar.com", "*.foo.com"]
        .map(|hostname| listener(&hostname.replace(['*', '.'], "-"), 80, hostname, Scheme::Http));
    let everything = |backend: &str| vec![rule(vec![prefix("/")], backend)];
    let routes = vec![
        route("1", &[], &listeners[..1], everything("v1")),
        route("2", &[], &listeners[1..2], everything("v2")),
        route("3", &[], &listeners[2..], everything("v3")),
    ];
    let runtime = runtime(&listeners, routes);
    let rows: &[(&str, &[&str], &str)] = &[
        ("bar.com/", &[], "v1"),
        ("foo.bar.com/", &[], "v2"),
        ("baz.bar.com/", &[], "v3"),
        ("boo.bar.com/", &[], "v3"),
        ("multiple.prefixes.bar.com/", &[], "v3"),
        ("multiple.prefixes.foo.com/", &[], "v3"),
        ("foo.com/", &[], "404"),
        ("no.matching.host/", &[], "404"),
    ];
    check(&runtime, rows);
}

#[test]
fn http_route_listener_port_matching() {
    let listeners = [
        listener("80", 80, "", Scheme::Http),
        listener("8080-foo", 8080, "foo.com", Scheme::Http),
        listener("8080-bar", 8080, "bar.com", Scheme::Http),
        listener("8090-foo", 8090, "foo.com", Scheme::Http),
        listener("8090-bar", 8090, "bar.com", Scheme::Http),
    ];
    let everything = |backend: &str| vec![rule(vec![prefix("/")], backend)];
    let routes = vec![
        route("1", &[], &listeners[..1], everything("v1")),
        route("2", &[], &listeners[1..3], everything("v2")),
        route("3", &[], &listeners[3..4], everything("v3")),
    ];
    let runtime = runtime(&listeners, routes);
    for (host, port, expected) in [
        ("foo.com/", 80, "v1"),
        ("foo.com/", 8080, "v2"),
        ("bar.com/", 8080, "v2"),
        ("foo.com/", 8090, "v3"),
        ("bar.com/", 8090, "404"),
        ("foo.com/", 81, "no listener"),
    ] {
        let mut request = Request::new("GET", host, &[]);
        request.port = port;
        assert_eq!(request.fate(&runtime, None), expected, "{host} on {port}");
    }
}

#[test]
fn gateway_http_listener_isolation() {
    let names = ["", "*.example.com", "*.foo.example.com", "abc.foo.example.com"];
    let paths = [
        "empty-hostname",
        "wildcard-example-com",
        "wildcard-foo-example-com",
        "abc-foo-example-com",
    ];
    let hosts = [
        "bar.com",
        "bar.example.com",
        "bar.foo.example.com",
        "abc.foo.example.com",
    ];
    let listeners = names.map(|name| listener(&format!("l{}", name.len()), 80, name, Scheme::Http));
    let all: Vec<&str> = hosts.iter().chain(&names[1..]).copied().collect();
    // First without host names, then with every route listing them all.
    for hostnames in [&[][..], &all[..]] {
        let routes = paths.iter().zip(&listeners).map(|(path, listener)| {
            let rules = vec![rule(vec![prefix(&format!("/{path}"))], "v1")];
            route(path, hostnames, std::slice::from_ref(listener), rules)
        });
        let runtime = runtime(&listeners, routes.collect());
        for (own, host) in hosts.iter().enumerate() {
            for (other, path) in paths.iter().enumerate() {
                let expected = if own == other { "v1" } else { "404" };
                assert_eq!(get(&runtime, &format!("{host}/{path}"), &[]), expected, "{host}/{path}");
            }
        }
    }
}

/// The Gateway of the HTTPS cases.
fn https() -> (Vec<Arc<Listener>>, Runtime) {
    let listeners = vec![
        listener("https", 443, "", Scheme::Https),
        listener("https-second", 443, "second-example.org", Scheme::Https),
        listener("https-wildcard", 443, "*.wildcard.org", Scheme::Https),
        listener("https-fourth", 443, "fourth-example.wildcard.org", Scheme::Https),
    ];
    let on = |backend: &str| vec![rule(vec![prefix("/detect-misdirected-requests")], backend)];
    let routes = vec![
        route("1", &["example.org"], &listeners[..1], on("v1")),
        route("2", &["second-example.org"], &listeners[1..2], on("v2")),
        route("3", &[], &listeners[2..3], on("v3")),
        route("4", &[], &listeners[3..], on("v1")),
    ];
    let runtime = runtime(&listeners, routes);
    (listeners, runtime)
}

#[test]
fn http_route_https_listener_detect_misdirected_requests() {
    let (_, runtime) = https();
    let (ex, second, third, fourth, fifth, unknown) = (
        "example.org",
        "second-example.org",
        "third-example.wildcard.org",
        "fourth-example.wildcard.org",
        "fith-example.wildcard.org",
        "unknown-example.org",
    );
    for (sni, host, expected) in [
        (ex, ex, "v1"),
        (ex, second, "421"),
        (ex, unknown, "404"),
        (second, second, "v2"),
        (second, ex, "421"),
        (second, unknown, "421"),
        (third, third, "v3"),
        (third, fifth, "v3"),
        (third, fourth, "421"),
        (third, second, "421"),
        (third, unknown, "421"),
        (fourth, fourth, "v1"),
        (fourth, fifth, "421"),
        (unknown, ex, "v1"),
        (unknown, unknown, "404"),
    ] {
        let request = Request::new("GET", &format!("{host}/detect-misdirected-requests"), &[]).https();
        assert_eq!(request.fate(&runtime, Some(sni)), expected, "SNI {sni}, host {host}");
    }
}

#[test]
fn http_route_https_listener() {
    let (_, runtime) = https();
    let path = "/detect-misdirected-requests";
    for (host, expected) in [
        ("example.org", "v1"),
        ("second-example.org", "v2"),
        ("unknown-example.org", "404"),
    ] {
        let request = Request::new("GET", &format!("{host}{path}"), &[]).https();
        assert_eq!(
            request.fate(&runtime, None),
            expected,
            "a client without SNI is judged by its host"
        );
        assert_eq!(request.fate(&runtime, Some(host)), expected);
    }
}

#[test]
fn http_route_weight() {
    let backends = [("v1", 70), ("v2", 30), ("v3", 0)];
    let runtime = runtime(
        &web(),
        vec![route(
            "weight",
            &[],
            &web(),
            vec![weighted(vec![prefix("/")], &backends)],
        )],
    );
    let scope = runtime
        .scope(80, std::net::Ipv4Addr::LOCALHOST.into(), Scheme::Http)
        .unwrap();
    let request = Request::new("GET", "x/", &[]);
    let crate::runtime::Selected::Route(matched) = scope.select(&request.call(), None) else {
        panic!("no route");
    };
    let mut dice = crate::moment::Dice::new(42);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..10_000 {
        let slot = matched.rule.pick_backend(dice.bits()).unwrap();
        *counts.entry(slot.backend.name.to_string()).or_insert(0) += 1;
    }
    // Five standard deviations are about 230.
    assert!((6770..7230).contains(&counts["v1"]), "{counts:?}");
    assert!(!counts.contains_key("v3"));
}

#[test]
fn http_route_invalid_backend_refs_answer_500_for_their_share() {
    let rules = vec![
        weighted(vec![prefix("/none")], &[]),
        weighted(vec![prefix("/zero")], &[("v1", 0)]),
        rule(vec![prefix("/missing")], "missing"),
        weighted(vec![prefix("/half")], &[("v1", 1), ("missing", 1)]),
        rule(vec![prefix("/")], "v1"),
    ];
    let runtime = runtime(&web(), vec![route("invalid", &[], &web(), rules)]);
    let rows: &[(&str, &[&str], &str)] = &[
        ("x/none", &[], "500"),
        ("x/zero", &[], "500"),
        ("x/missing", &[], "500"),
        ("x/", &[], "v1"),
    ];
    check(&runtime, rows);
    let halves: std::collections::BTreeSet<_> = (0..100).map(|_| get(&runtime, "x/half", &[])).collect();
    assert_eq!(halves.into_iter().collect::<Vec<_>>(), ["500", "v1"]);
}
