//! The Gateway API's tables for filters (tag v1.5.1), named after its conformance cases.

use http::HeaderMap;
use landfall_model::rules::{HeaderEdits, Mirror, PathRewrite, Redirect, UrlRewrite};

use super::*;
use crate::{
    call::Scheme,
    fixture::{Request, backend_ref},
    moment::Dice,
    route::Where,
};

fn compile(filters: &[Filter]) -> Filters {
    Filters::compile(filters, &mut |_| Where::Missing("test".into())).unwrap()
}

fn edits(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderEdits {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    };
    HeaderEdits {
        set: pairs(set),
        add: pairs(add),
        remove: remove.iter().map(|name| (*name).into()).collect(),
    }
}

fn prefix_rewrite(matched: &str, replacement: &str) -> PathRewrite {
    PathRewrite::Prefix {
        matched: matched.trim_end_matches('/').into(),
        replacement: replacement.trim_end_matches('/').into(),
    }
}

/// All values of every name, joined as a backend would see them.
fn joined(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = headers
        .keys()
        .map(|name| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect();
            format!("{name}: {}", values.join(","))
        })
        .collect();
    lines.sort();
    lines
}

fn header_rows(make: impl Fn(HeaderEdits) -> Filter, apply: impl Fn(&Filters, &mut HeaderMap)) {
    let some = "x-header: some-other-value";
    let rows: [(HeaderEdits, &[&str], &[&str]); 8] = [
        (edits(&[("x-header", "set")], &[], &[]), &[], &["x-header: set"]),
        (edits(&[("x-header", "set")], &[], &[]), &[some], &["x-header: set"]),
        (edits(&[], &[("x-header", "add")], &[]), &[], &["x-header: add"]),
        (
            edits(&[], &[("x-header", "add")], &[]),
            &[some],
            &["x-header: some-other-value,add"],
        ),
        (edits(&[], &[], &["x-header"]), &[some], &[]),
        (
            edits(&[("x-set", "v")], &[], &[]),
            &["untouched: stays"],
            &["untouched: stays", "x-set: v"],
        ),
        // Config in Title-Case against a request in lower case.
        (
            edits(&[("X-Header", "set")], &[], &["X-Gone"]),
            &[some, "x-gone: 1"],
            &["x-header: set"],
        ),
        (
            edits(
                &[("x-1", "s1"), ("x-2", "s2")],
                &[("a-1", "a"), ("a-2", "b"), ("a-3", "c")],
                &["r-1", "r-2"],
            ),
            &["x-1: old", "a-2: old", "r-1: x", "r-2: y"],
            &["a-1: a", "a-2: old,b", "a-3: c", "x-1: s1", "x-2: s2"],
        ),
    ];
    for (edits, before, after) in rows {
        let mut headers = Request::new("GET", "x/", before).headers;
        apply(&compile(&[make(edits.clone())]), &mut headers);
        assert_eq!(joined(&headers), after, "{edits:?} on {before:?}");
    }
}

#[test]
fn http_route_request_header_modifier() {
    header_rows(Filter::RequestHeaders, |filters, headers| {
        filters.on_request("/", headers, &mut Target::default());
    });
}

#[test]
fn http_route_response_header_modifier() {
    header_rows(Filter::ResponseHeaders, |filters, headers| {
        assert!(filters.changes_response());
        filters.on_response(headers);
    });
}

#[test]
fn a_host_that_is_set_becomes_the_target_host() {
    let mut target = Target::default();
    let mut headers = HeaderMap::new();
    let filters = compile(&[Filter::RequestHeaders(edits(&[("host", "other.example")], &[], &[]))]);
    filters.on_request("/", &mut headers, &mut target);
    assert_eq!(
        (target.host.unwrap().to_str().unwrap(), headers.len()),
        ("other.example", 0)
    );
}

#[test]
fn http_route_rewrite_path() {
    let rewrite = |path: PathRewrite, given: &str| {
        let filters = compile(&[Filter::Rewrite(UrlRewrite {
            hostname: None,
            path: Some(path),
        })]);
        let mut target = Target::default();
        filters.on_request(given, &mut HeaderMap::new(), &mut target);
        target.path.unwrap()
    };
    for (given, matched, replacement, expected) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo", "/", "/xyz", "/xyz/foo"),
        ("/prefix/one/two", "/prefix/one", "/one", "/one/two"),
        ("/strip-prefix/three", "/strip-prefix", "/", "/three"),
        ("/strip-prefix", "/strip-prefix", "/", "/"),
        ("/a//b%2Fc", "/a", "/z", "/z//b%2Fc"),
        ("/foobar", "/foo", "/xyz", "/foobar"),
    ] {
        assert_eq!(
            rewrite(prefix_rewrite(matched, replacement), given),
            expected,
            "{given}: {matched} → {replacement}"
        );
    }
    assert_eq!(rewrite(PathRewrite::Full("/one".into()), "/full/one/two"), "/one");
}

#[test]
fn http_route_rewrite_host_keeps_path_and_query() {
    let filters = compile(&[
        Filter::RequestHeaders(edits(&[("x-a", "1")], &[], &[])),
        Filter::Rewrite(UrlRewrite {
            hostname: Some("one.example.org".into()),
            path: None,
        }),
    ]);
    let (mut target, mut headers) = (Target::default(), HeaderMap::new());
    filters.on_request("/one", &mut headers, &mut target);
    assert_eq!(target.host.as_ref().unwrap(), "one.example.org");
    assert_eq!(
        target.path_and_query(Some("x=1")),
        None,
        "the client's bytes go on as they are"
    );
    assert_eq!(joined(&headers), ["x-a: 1"]);
    target.path = Some("/new".into());
    assert_eq!(target.path_and_query(Some("x=1")).unwrap(), "/new?x=1");
}

fn redirect() -> Redirect {
    Redirect {
        scheme: None,
        hostname: None,
        port: None,
        path: None,
        status: 302,
    }
}

fn answer(source: Redirect, listener: (Scheme, u16), url: &str) -> Redirection {
    let mut request = Request::new("GET", url, &[]);
    request.scheme = listener.0;
    compile(&[Filter::Redirect(source)])
        .redirect(&request.call(), listener.1)
        .unwrap()
}

#[test]
fn http_route_redirect_port_and_scheme() {
    use Scheme::{Http, Https};
    for (listener, scheme, port, authority) in [
        ((Http, 80), None, None, "http://example.org"),
        ((Http, 80), None, Some(80), "http://example.org"),
        ((Http, 80), None, Some(8080), "http://example.org:8080"),
        ((Http, 80), Some("https"), None, "https://example.org"),
        ((Http, 80), Some("https"), Some(443), "https://example.org"),
        ((Http, 80), Some("https"), Some(8443), "https://example.org:8443"),
        ((Http, 8080), None, None, "http://example.org:8080"),
        ((Http, 8080), None, Some(80), "http://example.org"),
        ((Http, 8080), Some("https"), None, "https://example.org"),
        ((Http, 8080), Some("http"), None, "http://example.org"),
        ((Https, 443), None, None, "https://example.org"),
        ((Https, 443), None, Some(443), "https://example.org"),
        ((Https, 443), None, Some(8443), "https://example.org:8443"),
        ((Https, 443), Some("http"), None, "http://example.org"),
        ((Https, 443), Some("http"), Some(80), "http://example.org"),
        ((Https, 443), Some("http"), Some(8080), "http://example.org:8080"),
    ] {
        let source = Redirect {
            scheme: scheme.map(Into::into),
            port,
            ..redirect()
        };
        // The port of the Host header never shows.
        let location = answer(source, listener, "example.org:1234/a%2Fb?x=1").location;
        assert_eq!(
            location,
            format!("{authority}/a%2Fb?x=1"),
            "{listener:?} {scheme:?} {port:?}"
        );
    }
}

#[test]
fn http_route_redirect_host_status_and_path() {
    let http = (Scheme::Http, 80);
    for status in [301, 302, 303, 307, 308] {
        let source = Redirect {
            hostname: Some("example.org".into()),
            status,
            ..redirect()
        };
        let answer = answer(source, http, "other.example/host-redirect");
        assert_eq!(
            (answer.status, &*answer.location),
            (status, "http://example.org/host-redirect")
        );
    }
    let replaced = Redirect {
        path: Some(prefix_rewrite("/original-prefix", "/replacement-prefix")),
        ..redirect()
    };
    let location = answer(replaced, http, "example.org/original-prefix/lemon?a=b").location;
    assert_eq!(location, "http://example.org/replacement-prefix/lemon?a=b");
    let full = Redirect {
        hostname: Some("new.example".into()),
        path: Some(PathRewrite::Full("/full-path-replacement".into())),
        ..redirect()
    };
    assert_eq!(
        answer(full, http, "x/full/path/original").location,
        "http://new.example/full-path-replacement"
    );
}

#[test]
fn http_route_request_percentage_mirror() {
    for (fraction, low, high) in [
        ((20, 100), 1750, 2250),
        ((25, 50), 4750, 5250),
        ((0, 100), 0, 1),
        ((1, 1), 10_000, 10_001),
    ] {
        let filters = compile(&[Filter::Mirror(Mirror {
            backend: backend_ref("v2"),
            fraction,
        })]);
        let mut dice = Dice::new(3);
        let copies = (0..10_000).filter(|_| filters.mirrors()[0].wants(dice.bits())).count();
        assert!((low..high).contains(&copies), "{fraction:?}: {copies}");
    }
}

#[test]
fn http_route_request_mirror_sees_only_the_filters_before_it() {
    let set = |name: &str| Filter::RequestHeaders(edits(&[(name, "1")], &[], &[]));
    let mirror = |name: &str| {
        Filter::Mirror(Mirror {
            backend: backend_ref(name),
            fraction: (1, 1),
        })
    };
    let filters = compile(&[set("x-before"), mirror("v2"), set("x-after"), mirror("v3")]);
    let seen = |mirror: &MirrorSlot| {
        let mut headers = HeaderMap::new();
        filters.on_mirrored(mirror, "/", &mut headers, &mut Target::default());
        joined(&headers)
    };
    let [first, second] = filters.mirrors() else {
        panic!("two mirrors")
    };
    assert_eq!(
        (&*first.backend().name, seen(first)),
        ("v2", vec!["x-before: 1".to_owned()])
    );
    assert_eq!(seen(second), ["x-after: 1", "x-before: 1"]);
}

#[test]
fn what_is_no_header_does_not_compile() {
    let bad = Filter::RequestHeaders(edits(&[("x y", "1")], &[], &[]));
    let error = Filters::compile(&[bad], &mut |_| Where::Missing("test".into())).unwrap_err();
    assert_eq!(error, "`x y` is no header name");
}
