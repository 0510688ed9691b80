use std::sync::Arc;

use landfall_model::rules::{Filter, Listener, PathRewrite, Redirect, UrlRewrite};

use super::*;
use crate::fixture::{Conditioned, exact, filtered, listener, prefix, route, rule, runtime, weighted};

fn listeners() -> [Arc<Listener>; 2] {
    [
        listener("web", 8080, "", Scheme::Http),
        listener("shop", 8443, "shop.example", Scheme::Https),
    ]
}

fn shop() -> Runtime {
    let rewrite = Filter::Rewrite(UrlRewrite {
        hostname: Some("inner.example".into()),
        path: Some(PathRewrite::Prefix {
            matched: "/orders".into(),
            replacement: "".into(),
        }),
    });
    let mut orders = filtered("/orders", vec![rewrite], "v1");
    orders.backends.extend(weighted(Vec::new(), &[("v2", 3)]).backends);
    let redirect = Filter::Redirect(Redirect {
        scheme: Some("https".into()),
        hostname: None,
        port: None,
        path: None,
        status: 301,
    });
    let mut old = filtered("/old", vec![redirect], "v1");
    old.backends.clear();
    let rules = vec![
        orders,
        rule(vec![exact("/orders/1").method("POST")], "v3"),
        rule(vec![prefix("/orders/1").header("x-canary", "yes")], "v3"),
        old,
        rule(vec![prefix("/gone")], "missing"),
    ];
    let on = &listeners()[..1];
    let everything = route("wide", &[], on, vec![rule(vec![prefix("/orders")], "v9")]);
    let secure = route("secure", &[], &listeners()[1..], vec![rule(vec![prefix("/")], "v4")]);
    runtime(&listeners(), vec![route("orders", &[], on, rules), everything, secure])
}

fn ask(url: &str, headers: &[(&str, &str)]) -> Explanation {
    let request = ExplainRequest {
        method: "GET".into(),
        url: url.into(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
    };
    explain(&shop(), &request).unwrap()
}

#[test]
fn a_forwarded_request_shows_rule_shares_rewrite_and_endpoints() {
    let explanation = ask("http://any.example:8080/orders/1?x=2", &[]);
    assert_eq!(explanation.outcome, Outcome::Forwarded);
    assert_eq!(explanation.listener.as_deref(), Some("edge/web"));
    let route = explanation.route.as_ref().unwrap();
    assert_eq!(
        (&*route.route, route.rule, &*route.matched),
        ("default/orders", 0, "path prefix /orders")
    );
    assert_eq!(
        route.filters,
        ["rewrite: host becomes inner.example, prefix /orders becomes /"]
    );
    let shares: Vec<_> = explanation
        .backends
        .iter()
        .map(|backend| (&*backend.backend, backend.share))
        .collect();
    assert_eq!(shares, [("v1", 25.0), ("v2", 75.0)]);
    assert_eq!(
        (&*explanation.backends[0].host, &*explanation.backends[0].path),
        ("inner.example", "/1?x=2")
    );
    let endpoints = &explanation.backends[0].cluster.as_ref().unwrap().endpoints;
    assert_eq!(endpoints[0].origin, "eureka/orders/orders:8080");
    let others: Vec<_> = explanation
        .others
        .iter()
        .map(|other| (&*other.route, other.rule, &*other.why))
        .collect();
    assert_eq!(
        others[..3],
        [
            ("default/orders", 1, "its method is POST"),
            ("default/orders", 2, "its header `x-canary` does not match"),
            (
                "default/wide",
                0,
                "it takes the request too, but comes later in precedence"
            ),
        ]
    );
    let text = explanation.to_string();
    assert!(
        text.contains("backend   v1 gets 25.0 % as inner.example/1?x=2"),
        "{text}"
    );
    assert_eq!(
        serde_json::to_value(&explanation).unwrap()["outcome"]["kind"],
        "forwarded"
    );
}

#[test]
fn its_json_leaves_out_what_is_not_there_and_writes_durations_as_the_configuration_does() {
    let explanation = serde_json::to_value(ask("http://any.example:8080/orders/1?x=2", &[])).unwrap();
    assert!(!explanation.to_string().contains("null"), "{explanation}");
    assert_eq!(
        explanation["backends"][0]["cluster"]["policy"],
        serde_json::json!({
            "balancer": "peakEwma",
            "connectTimeout": "2s",
            "requestTimeout": "1m",
            "idleTimeout": "5m",
            "retries": {
                "attempts": 2,
                "statuses": [502, 503, 504],
                "methods": ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"],
                "backoff": "25ms",
                "budgetPercent": 20,
                "budgetMinPerSecond": 10
            },
            "limits": {},
            "outlier": { "consecutiveFailures": 5, "baseEjection": "10s", "maxEjectedPercent": 50 },
            "panicThreshold": 50,
            "tls": { "verify": true }
        })
    );
    let nowhere = serde_json::to_value(ask("http://any.example:9999/", &[])).unwrap();
    assert!(
        !nowhere.to_string().contains("null") && nowhere.get("route").is_none(),
        "{nowhere}"
    );
}

/// The paths of all keys, such as `backends.cluster.policy`.
fn keys(value: &serde_json::Value, path: &str, all: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            all.push(format!("{path}.{key}"));
            keys(value, &format!("{path}.{key}"), all);
        }),
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys(item, path, all)),
        _ => {}
    }
}

#[test]
fn the_reference_shows_every_key() {
    let reference = include_str!("../../../../docs/admin-api.md");
    let (_, section) = reference.split_once("\n## Explain\n").unwrap();
    let (_, example) = section.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let (mut told, mut real) = (Vec::new(), Vec::new());
    keys(&serde_json::from_str(example).unwrap(), "", &mut told);
    let explanation = ask("http://any.example:8080/orders/1", &[]);
    keys(&serde_json::to_value(explanation).unwrap(), "", &mut real);
    assert!(real.len() > 40);
    for key in real {
        assert!(told.contains(&key), "docs/admin-api.md does not show `{key}`");
    }
}

#[test]
fn a_header_changes_the_winner() {
    let explanation = ask("http://any.example:8080/orders/1", &[("X-Canary", "yes")]);
    assert_eq!(explanation.route.unwrap().rule, 2);
}

#[test]
fn answers_of_our_own_say_why() {
    let status = |url: &str, headers: &[(&str, &str)]| match ask(url, headers).outcome {
        Outcome::Answered { status, why } => (status, why),
        other => panic!("{other:?}"),
    };
    assert_eq!(status("http://a:8080/gone", &[]), (500, "no backend exists".into()));
    assert_eq!(status("http://a:8080/nothing", &[]).0, 404);
    assert_eq!(
        status("http://a:9999/", &[]),
        (404, "no http listener on port 9999".into())
    );
    let dots = status("http://a:8080/orders/../gone", &[]);
    assert_eq!(dots, (400, "dot segment in the path".into()));
    let other_host = status("https://other.example:8443/", &[]);
    assert_eq!(
        other_host,
        (404, "no listener on this port answers for host `other.example`".into())
    );
    assert_eq!(
        status("https://other.example:8443/", &[("Host", "shop.example")]).0,
        421
    );
}

#[test]
fn a_redirect_shows_its_location() {
    let Outcome::Redirected { status, location } = ask("http://a.example:8080/old/x?y=1", &[]).outcome else {
        panic!("no redirect")
    };
    assert_eq!((status, &*location), (301, "https://a.example/old/x?y=1"));
}

#[test]
fn a_url_without_port_means_the_first_listener() {
    let explanation = ask("http://any.example/orders", &[]);
    assert_eq!(
        (explanation.request.port, explanation.outcome),
        (8080, Outcome::Forwarded)
    );
    assert_eq!(explanation.notes.len(), 1);
    assert_eq!(ask("/orders", &[("host", "any.example")]).request.host, "any.example");
}

#[test]
fn what_is_no_request_is_told() {
    let bad = |url: &str, headers: Vec<(String, String)>| {
        let request = ExplainRequest {
            method: get(),
            url: url.into(),
            headers,
        };
        explain(&shop(), &request).unwrap_err()
    };
    assert_eq!(bad("ftp://x/", vec![]), InvalidRequest::Url("ftp://x/".into()));
    assert_eq!(
        bad("/", vec![("a b".into(), "c".into())]),
        InvalidRequest::Header("a b: c".into())
    );
}
