//! Holds `docs/admin-api.md` to the answers.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::{Problem, Refused};
use landfall_model::{
    Freshness, Instance, Port, Protocol,
    rules::{CertificateFiles, Filter, HeaderEdits, HostPattern, ListenerTls, Mirror, PathRewrite, UrlRewrite},
    world::{GovernanceRule, Hold, Honoured, Quarantined, Session},
};
use serde_json::Value;

use super::{Server, Told, estate};
use crate::{
    admin::PAGES,
    testing::{self, Stage, reference},
};

/// An estate in which every optional part of every answer is there.
fn everything() -> Stage {
    let long_ago = SystemTime::now() - Duration::from_secs(600);
    let stale = Session::Stale {
        since: long_ago,
        why: "no answer from 127.0.0.1:8761".into(),
        retry_at: SystemTime::now() + Duration::from_secs(100),
    };
    let port = Port {
        number: 80,
        protocol: Protocol::Http,
        tls: true,
    };
    let instance = Instance {
        zone: Some("a".into()),
        metadata: [("team".into(), "blue".into())].into(),
        changed: Some(long_ago),
        ..testing::instance("o1", "10.0.0.1", vec![port])
    };
    let mut stage = estate()
        .instances("eureka", "orders", vec![instance])
        .session("eureka", stale)
        .view("eureka", |view| {
            view.last_good = Some(long_ago);
            view.holds.push(Hold {
                service: "orders".into(),
                instances: vec!["o1".into()],
                reason: "all of its instances at once".into(),
                since: long_ago,
                until: long_ago + Duration::from_secs(30),
            });
            view.quarantined.push(Quarantined {
                service: Some("orders".into()),
                record: "o2".into(),
                reason: "it has no port".into(),
            });
            view.governance.push(GovernanceRule {
                place: "config/dubbo/org.x.Svc::.configurators".into(),
                kind: "configurator",
                honoured: Honoured::Partly,
                notes: vec!["configs[0]: parameter `timeout` is not honoured".into()],
            });
            let orders = Arc::make_mut(view.services.get_mut("orders").unwrap());
            orders.freshness = Freshness::Stale {
                since: long_ago,
                why: "no answer".into(),
            };
        });
    let mut listener = (*stage.rules.listeners[0]).clone();
    listener.tls = Some(ListenerTls {
        certificates: vec![CertificateFiles {
            certificate: std::path::Path::new("/etc/landfall/edge.pem").into(),
            key: std::path::Path::new("/etc/landfall/edge.key").into(),
        }],
    });
    listener.addresses = vec!["10.0.0.9".parse().unwrap()];
    stage.rules.listeners = vec![Arc::new(listener)];

    let mut route = (*stage.rules.routes[0]).clone();
    route.created = Some(long_ago);
    route.hostnames = vec![HostPattern::parse("shop.example")];
    let rule = &mut route.rules[0];
    rule.name = Some("main".into());
    let edits = HeaderEdits {
        set: vec![("x-a".into(), "1".into())],
        ..HeaderEdits::default()
    };
    rule.filters = vec![
        Filter::Rewrite(UrlRewrite {
            hostname: None,
            path: Some(PathRewrite::Prefix {
                matched: "/orders".into(),
                replacement: "".into(),
            }),
        }),
        Filter::Mirror(Mirror {
            backend: reference("shop"),
            fraction: (1, 100),
        }),
    ];
    rule.timeouts.request = Some(Duration::from_secs(5));
    rule.backends[0].filters = vec![Filter::RequestHeaders(edits)];
    let mut missing = rule.backends[0].clone();
    (missing.backend, missing.filters) = (reference("nobody.consul"), Vec::new());
    rule.backends.push(missing);
    stage.rules.routes[0] = Arc::new(route);
    stage
}

/// The paths of all keys, such as `registries[].session.state`; metadata has keys of its own.
fn shape(value: &Value, path: &str, shapes: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !path.ends_with("metadata") => {
            for (key, value) in fields {
                shape(value, &format!("{path}.{key}"), shapes);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().for_each(|item| shape(item, &format!("{path}[]"), shapes));
        }
        _ => {
            shapes.insert(path.trim_end_matches("[]").to_owned());
        }
    }
}

#[tokio::test]
async fn the_reference_shows_every_page_as_it_is() {
    let stage = everything();
    let refused = Refused {
        at: SystemTime::now(),
        problems: vec![Problem {
            file: "landfall.yaml".into(),
            line: 7,
            column: 3,
            path: "spec".to_owned(),
            what: "odd".to_owned(),
            mend: "even".to_owned(),
        }],
    };
    let mut config = stage.config();
    Arc::make_mut(&mut config.current).warnings = refused.problems.clone();
    config.refused = Some(refused);
    let server = Server::start_with(
        &stage,
        config,
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;

    let reference = include_str!("../../../../docs/admin-api.md");
    let mut pages: Vec<&str> = Vec::new();
    for section in reference.split("\n## ").skip(1) {
        let asked = |line: &'static str| {
            line.strip_prefix("$ curl ")?
                .trim_matches('\'')
                .strip_prefix("localhost:15000")
        };
        let Some(path) = section.lines().find_map(asked) else {
            continue;
        };
        pages.push(path.split('?').next().unwrap());
        // The others are text, or made by the engine or of a sync, whose tests hold the examples to the answers.
        let example = section.split_once("```json\n");
        let elsewhere = path.starts_with("/api/v1/explain") || path.starts_with("/api/v1/sync");
        let Some((_, example)) = example.filter(|_| !elsewhere) else {
            continue;
        };
        let (example, _) = example.split_once("```").unwrap();
        let example: Value = serde_json::from_str(example).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (mut told, mut real) = (BTreeSet::new(), BTreeSet::new());
        shape(&example, "", &mut told);
        shape(&server.get(path).await.1, "", &mut real);
        assert_eq!(told, real, "{path}");
    }
    pages.sort_unstable();
    let mut known = PAGES.to_vec();
    known.sort_unstable();
    assert_eq!(pages, known);
}
