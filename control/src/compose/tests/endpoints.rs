//! Which instances become endpoints, where, how they are spoken to, and with what weight.

use std::collections::{BTreeMap, BTreeSet};

use landfall_model::rules::{PolicyTarget, TrafficPolicy};
use landfall_model::{Instance, Port, Protocol, Status};

use super::{addresses, weights};
use crate::compose::Composed;
use crate::compose::why::Verdict;
use crate::testing::{self, Stage};

#[test]
fn only_serving_instances_with_weight_and_an_http_port_become_endpoints() {
    let http = Port {
        number: 80,
        protocol: Protocol::Http,
        tls: false,
    };
    let dubbo = Port {
        number: 20880,
        protocol: Protocol::Dubbo,
        tls: false,
    };
    let plain = |id: &str| testing::instance(id, "10.0.0.1", vec![http.clone()]);
    let table: Vec<(Instance, Result<&str, &str>)> = vec![
        (plain("up"), Ok("10.0.0.1:80")),
        (
            Instance {
                status: Status::Warning,
                ..plain("warning")
            },
            Ok("10.0.0.1:80"),
        ),
        (
            Instance {
                status: Status::Down,
                ..plain("down")
            },
            Err("its status is DOWN"),
        ),
        (
            Instance {
                status: Status::OutOfService,
                ..plain("draining")
            },
            Err("its status is OUT_OF_SERVICE: it may finish what it has but gets no new calls"),
        ),
        (
            Instance {
                weight: 0,
                ..plain("light")
            },
            Err("its weight is 0"),
        ),
        (
            Instance {
                ports: vec![],
                ..plain("portless")
            },
            Err("its registry names no port for it"),
        ),
        (
            Instance {
                ports: vec![Port {
                    number: 0,
                    ..http.clone()
                }],
                ..plain("zero")
            },
            Err("its registry names no port for it"),
        ),
        (
            Instance {
                ports: vec![dubbo.clone()],
                ..plain("dubbo")
            },
            Err("none of its ports takes HTTP: it has 20880 (dubbo)"),
        ),
        (
            Instance {
                ports: vec![dubbo.clone(), http.clone()],
                ..plain("both")
            },
            Ok("10.0.0.1:80"),
        ),
        (
            testing::instance("any", "0.0.0.0", vec![http.clone()]),
            Err("it is registered as 0.0.0.0, which is where a process listens, not where it can be called"),
        ),
        (
            testing::instance("mapped", "::ffff:10.0.0.1", vec![http.clone()]),
            Ok("10.0.0.1:80"),
        ),
        (
            testing::instance("v6", "[fd00::1]", vec![http.clone()]),
            Ok("[fd00::1]:80"),
        ),
        (
            testing::instance("named", "h1.example", vec![http.clone()]),
            Err("its host name h1.example has not been looked up yet"),
        ),
    ];
    for (instance, expected) in table {
        let id = instance.id.clone();
        let stage = Stage::new()
            .instances("eureka", "orders", vec![instance])
            .routes(&["orders.eureka"]);
        let composed = stage.compose(None);
        let got = addresses(&composed.snapshot, "orders.eureka");
        assert_eq!(got.first().map(String::as_str), expected.ok(), "{id}");
        // What is shown to people is the same decision.
        let reason = &stage.why(&composed, "orders", "eureka")[0];
        assert_eq!(reason.in_data_path(), expected.is_ok(), "{id}");
        if let Err(text) = expected {
            assert_eq!(reason.uses[0].1.to_string(), text);
        }
    }
}

#[test]
fn the_port_is_the_one_asked_for_or_the_surest_to_take_http() {
    use Protocol::*;
    let port = |number, protocol| Port {
        number,
        protocol,
        tls: false,
    };
    let table: [(&str, Vec<Port>, Option<u16>); 9] = [
        ("orders.eureka", vec![port(1, Unknown), port(2, Http)], Some(2)),
        (
            "orders.eureka",
            vec![port(1, Grpc), port(2, H2), port(3, Unknown)],
            Some(3),
        ),
        ("orders.eureka", vec![port(1, Triple), port(2, Grpc)], Some(2)),
        ("orders.eureka", vec![port(1, Http), port(2, Http)], Some(1)),
        (
            "orders.eureka",
            vec![
                Port {
                    tls: true,
                    ..port(443, Http)
                },
                port(80, Http),
            ],
            Some(443),
        ),
        ("orders.eureka:2", vec![port(1, Http), port(2, Unknown)], Some(2)),
        ("orders.eureka:3", vec![port(1, Http), port(2, Unknown)], None),
        ("orders.eureka:2", vec![port(1, Http), port(2, Tcp)], None),
        // One number said twice: Dubbo's port unification.
        ("orders.eureka:2", vec![port(2, Dubbo), port(2, Triple)], Some(2)),
    ];
    for (text, ports, expected) in table {
        let instance = testing::instance("a", "10.0.0.1", ports.clone());
        let composed = Stage::new()
            .instances("eureka", "orders", vec![instance])
            .routes(&[text])
            .compose(None);
        let cluster = composed.snapshot.clusters.values().next().unwrap();
        let got = cluster.endpoints.first().map(|e| e.address.port());
        assert_eq!(got, expected, "{text} of {ports:?}");
    }
}

#[test]
fn a_tls_port_is_verified_by_the_policys_name_or_the_instances_host() {
    let tls = vec![Port {
        number: 443,
        protocol: Protocol::Http,
        tls: true,
    }];
    let stage = |named: Option<&str>| {
        let mut stage = Stage::new()
            .instances(
                "eureka",
                "orders",
                vec![testing::instance("a", "h1.example", tls.clone())],
            )
            .name("h1.example", &["10.0.0.1"]);
        if let Some(name) = named {
            let mut policy = TrafficPolicy::default();
            policy.tls.server_name = Some(name.into());
            stage = stage.policy("tls", &[PolicyTarget::All], policy);
        }
        stage.routes(&["orders.eureka"]).compose(None)
    };
    let name = |composed: &Composed| {
        composed.snapshot.clusters.values().next().unwrap().endpoints[0]
            .tls
            .clone()
    };
    assert_eq!(name(&stage(None)).as_deref(), Some("h1.example"));
    assert_eq!(
        name(&stage(Some("orders.internal"))).as_deref(),
        Some("orders.internal")
    );
}

#[test]
fn a_name_divides_its_instances_weight_and_keeps_to_one_address_family() {
    let port = vec![Port {
        number: 80,
        protocol: Protocol::Http,
        tls: false,
    }];
    let stage = Stage::new()
        .instances("eureka", "orders", vec![testing::instance("a", "h1", port)])
        .name("h1", &["::1", "10.0.0.2", "10.0.0.1"])
        .routes(&["orders.eureka"]);
    let composed = stage.compose(None);
    let expected = BTreeMap::from([("10.0.0.1:80".to_owned(), 50), ("10.0.0.2:80".to_owned(), 50)]);
    assert_eq!(weights(&composed.snapshot, "orders.eureka"), expected);
    assert_eq!(composed.names, BTreeSet::from(["h1".into()]));
}

#[test]
fn several_records_of_one_address_are_one_endpoint_with_the_larger_weight() {
    let port = vec![Port {
        number: 80,
        protocol: Protocol::Http,
        tls: false,
    }];
    let old = Instance {
        weight: 10,
        ..testing::instance("a-old", "10.0.0.1", port.clone())
    };
    let new = testing::instance("b-new", "10.0.0.1", port.clone());
    let last = Instance {
        weight: 5,
        ..testing::instance("c-last", "10.0.0.1", port)
    };
    let stage = Stage::new()
        .instances("eureka", "orders", vec![old, new, last])
        .routes(&["orders.eureka"]);
    let composed = stage.compose(None);
    assert_eq!(
        weights(&composed.snapshot, "orders.eureka"),
        BTreeMap::from([("10.0.0.1:80".to_owned(), 100)])
    );
    let reasons = stage.why(&composed, "orders", "eureka");
    assert!(matches!(reasons[0].uses[0].1, Verdict::Serves(_)));
    assert!(matches!(reasons[1].uses[0].1, Verdict::Merged { .. }));
}

#[test]
fn the_tag_of_a_provider_counts_for_dubbo_alone() {
    let tagged = |id: &str, host: &str, tag: &str| {
        let ports = [(80, Protocol::Http), (20880, Protocol::Dubbo)].map(|(number, protocol)| Port {
            number,
            protocol,
            tls: false,
        });
        let mut instance = testing::instance(id, host, ports.to_vec());
        instance.metadata.insert("dubbo.tag".into(), tag.into());
        instance
    };
    let composed = Stage::new()
        .instances(
            "eureka",
            "orders",
            vec![tagged("a", "10.0.0.1", "gray"), tagged("b", "10.0.0.2", "")],
        )
        .routes(&["orders.eureka"])
        .dubbo_routes(&["orders.eureka"])
        .compose(None);
    let tags = composed.snapshot.clusters.iter().map(|(id, cluster)| {
        let tags = cluster.endpoints.iter().map(|endpoint| endpoint.tag.as_deref());
        (id.to_string(), tags.collect::<Vec<_>>())
    });
    let expected = [
        ("orders.eureka", [None, None]),
        ("orders.eureka (dubbo)", [Some("gray"), None]),
    ];
    assert_eq!(
        tags.collect::<BTreeMap<_, _>>(),
        BTreeMap::from(expected.map(|(id, tags)| (id.to_owned(), tags.to_vec())))
    );
}

#[test]
fn what_a_provider_exports_is_what_its_metadata_say_and_unknown_without_an_interface() {
    let provider = |id: &str, host: &str, metadata: &[(&str, &str)]| {
        let port = Port {
            number: 20880,
            protocol: Protocol::Dubbo,
            tls: false,
        };
        let mut instance = testing::instance(id, host, vec![port]);
        let metadata = metadata.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        instance.metadata.extend(metadata);
        instance
    };
    let all = [("interface", "org.x.Orders"), ("group", "b"), ("version", "2.0.0")];
    let instances = vec![
        provider("a", "10.0.0.1", &all),
        provider("b", "10.0.0.2", &[("interface", "org.x.Orders"), ("version", "0.0.0")]),
        provider("c", "10.0.0.3", &[("version", "2.0.0")]),
    ];
    let composed = Stage::new()
        .instances("eureka", "orders", instances)
        .dubbo_routes(&["orders.eureka"])
        .compose(None);
    let clusters = composed.snapshot.clusters.values();
    let exported = clusters.flat_map(|cluster| cluster.endpoints.iter().map(|endpoint| endpoint.exported.clone()));
    let exported: Vec<_> = exported.map(|it| it.map(|service| service.to_string())).collect();
    assert_eq!(
        exported,
        [
            Some("b/org.x.Orders:2.0.0".to_owned()),
            Some("org.x.Orders".to_owned()),
            None
        ]
    );
}

#[test]
fn a_service_that_speaks_both_has_a_cluster_for_each() {
    let port = |number, protocol, tls| Port { number, protocol, tls };
    let both = testing::instance(
        "a",
        "10.0.0.1",
        vec![port(80, Protocol::Http, false), port(20880, Protocol::Dubbo, false)],
    );
    let only_http = testing::instance("b", "10.0.0.2", vec![port(80, Protocol::Http, false)]);
    let secret = testing::instance("c", "10.0.0.3", vec![port(20880, Protocol::Dubbo, true)]);
    let unknown = testing::instance("d", "10.0.0.4", vec![port(20880, Protocol::Unknown, false)]);
    let stage = Stage::new()
        .instances("eureka", "orders", vec![both, only_http, secret, unknown])
        .routes(&["orders.eureka"])
        .dubbo_routes(&["orders.eureka", "orders.eureka:20880"]);
    let composed = stage.compose(None);
    let at = |name: &str| addresses(&composed.snapshot, name);
    assert_eq!(at("orders.eureka"), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.4:20880"]);
    assert_eq!(at("orders.eureka (dubbo)"), ["10.0.0.1:20880", "10.0.0.4:20880"]);
    assert_eq!(at("orders.eureka:20880 (dubbo)"), ["10.0.0.1:20880", "10.0.0.4:20880"]);
    let texts: Vec<String> = stage
        .why(&composed, "orders", "eureka")
        .iter()
        .flat_map(|reason| &reason.uses)
        .filter_map(|(_, verdict)| match verdict {
            Verdict::LeftOut(why) => Some(why.to_string()),
            _ => None,
        })
        .collect();
    assert!(
        texts.contains(&"none of its ports takes Dubbo2 without TLS: it has 20880 (dubbo, TLS)".to_owned()),
        "{texts:?}"
    );
    let again = stage.compose(Some(&composed));
    assert!(
        std::sync::Arc::ptr_eq(&again.snapshot, &composed.snapshot),
        "nothing has changed"
    );
}
