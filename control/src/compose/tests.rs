//! Tables and properties of [`compose`](super::compose).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_model::{
    Host, Instance, Port, Protocol, ServiceId, Serving, Snapshot, Status, rules::*, snapshot::Resolution,
    world::Session,
};
use proptest::prelude::*;

use super::{Composed, Warning, conflicts::conflicts, why::Verdict};
use crate::testing::{self, Stage, reference, registry};

fn addresses(snapshot: &Snapshot, name: &str) -> Vec<String> {
    let cluster = snapshot.clusters.iter().find(|(id, _)| id.to_string() == name);
    cluster.map_or_else(Vec::new, |(_, c)| {
        c.endpoints.iter().map(|e| e.address.to_string()).collect()
    })
}

fn weights(snapshot: &Snapshot, name: &str) -> BTreeMap<String, u32> {
    let (_, cluster) = snapshot.clusters.iter().find(|(id, _)| id.to_string() == name).unwrap();
    cluster
        .endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.weight))
        .collect()
}

#[test]
fn a_reference_stands_for_what_the_design_says() {
    let stage = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80"])
        .service("consul", "orders", &["10.0.0.2:80"])
        .service("consul", "stock", &["10.0.0.3:80"])
        .service("eureka", "PAYMENT", &["10.0.0.4:80"])
        .service("eureka", "shop", &["10.0.0.5:80"])
        .mesh("shop", &[("consul", "stock", 1)]);
    let table = [
        ("orders.consul", "orders.consul"),
        ("orders", "orders.eureka"),
        ("stock", "stock.consul"),
        ("shop", "shop"),
        ("shop.eureka", "shop.eureka"),
        ("payment.eureka", "PAYMENT.eureka"),
        ("payment", "PAYMENT.eureka"),
        ("stock.eureka", "registry `eureka` has no service `stock`"),
        (
            "stock.nacos",
            "there is no registry `nacos`; there is `eureka`, `consul`",
        ),
        (
            "nobody",
            "there is no MeshService `nobody`, and no registry has a service `nobody`",
        ),
        ("stock.consul:81", "stock.consul:81"),
    ];
    let references: Vec<&str> = table.iter().map(|(reference, _)| *reference).collect();
    let composed = stage.routes(&references).compose(None);
    for (text, expected) in table {
        let got = match &composed.snapshot.backends[&reference(text)] {
            Resolution::Cluster(id) => id.to_string(),
            Resolution::Missing(reason) => reason.clone(),
        };
        assert_eq!(got, expected, "{text}");
    }
    assert!(composed.warnings.contains(&Warning::Ambiguous {
        name: "orders".into(),
        chosen: registry("eureka"),
        others: vec![registry("consul")],
    }));
}

#[test]
fn a_service_is_missing_only_if_a_live_registry_says_so() {
    let now = SystemTime::now();
    let stale = Session::Stale {
        since: now,
        why: "no answer".into(),
        retry_at: now,
    };
    let sessions = [
        (Session::Live { since: now }, true),
        (stale, false),
        (Session::Connecting { since: now }, false),
        (Session::CatchingUp { since: now }, false),
    ];
    for (session, missing) in sessions {
        let stage = Stage::new()
            .service("eureka", "stock", &[])
            .session("eureka", session.clone());
        let composed = stage.routes(&["orders.eureka", "orders"]).compose(None);
        for text in ["orders.eureka", "orders"] {
            let resolution = &composed.snapshot.backends[&reference(text)];
            assert_eq!(
                matches!(resolution, Resolution::Missing(_)),
                missing,
                "{text} with {session:?}"
            );
        }
        assert_eq!(composed.snapshot.clusters.len(), usize::from(!missing));
    }
}

#[test]
fn a_service_that_was_there_and_went_is_empty_and_not_missing() {
    let with = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80"])
        .routes(&["orders", "orders.eureka"]);
    let first = with.compose(None);
    let without = Stage::new()
        .service("eureka", "stock", &[])
        .routes(&["orders", "orders.eureka"]);
    let second = without.compose(Some(&first));
    assert_eq!(second.snapshot.backends, first.snapshot.backends);
    assert!(addresses(&second.snapshot, "orders.eureka").is_empty());
    // And stays so, however often the snapshot is composed.
    let third = without.compose(Some(&second));
    assert!(Arc::ptr_eq(&third.snapshot, &second.snapshot));
}

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
fn members_of_a_mesh_service_share_by_member_weight_and_not_by_instance_count() {
    let stage = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"])
        .service("consul", "orders", &["10.1.0.1:80"])
        .service("consul", "empty", &[])
        .mesh(
            "shop",
            &[("eureka", "orders", 1), ("consul", "orders", 1), ("consul", "empty", 7)],
        )
        .routes(&["shop"]);
    let composed = stage.compose(None);
    let expected = [
        ("10.0.0.1:80", 100),
        ("10.0.0.2:80", 100),
        ("10.0.0.3:80", 100),
        ("10.1.0.1:80", 300),
    ];
    assert_eq!(
        weights(&composed.snapshot, "shop"),
        expected.map(|(address, weight)| (address.to_owned(), weight)).into()
    );
}

#[test]
fn an_address_found_in_two_members_gets_both_shares_and_weight_0_gets_none() {
    let stage = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80"])
        .service("consul", "orders", &["10.0.0.1:80"])
        .service("consul", "stock", &["10.0.0.2:80"])
        .mesh(
            "shop",
            &[("eureka", "orders", 1), ("consul", "orders", 2), ("consul", "stock", 0)],
        )
        .routes(&["shop"]);
    let composed = stage.compose(None);
    assert_eq!(
        weights(&composed.snapshot, "shop"),
        BTreeMap::from([("10.0.0.1:80".to_owned(), 300)])
    );
    assert_eq!(
        stage.why(&composed, "stock", "consul")[0].uses[0].1,
        Verdict::MemberWithoutWeight
    );
}

#[test]
fn a_missing_member_is_told_and_the_others_carry_its_share() {
    let stage = Stage::new()
        .service("eureka", "ORDERS", &["10.0.0.1:80"])
        .mesh("shop", &[("eureka", "orders", 1), ("eureka", "gone", 1)])
        .routes(&["shop"]);
    let composed = stage.compose(None);
    assert_eq!(addresses(&composed.snapshot, "shop"), ["10.0.0.1:80"]);
    assert_eq!(
        composed.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["member `gone.eureka` of MeshService `shop` is not there: registry `eureka` has no service `gone`"]
    );
}

#[test]
fn the_most_exact_policy_wins_then_the_first_document() {
    let with_attempts = |attempts| {
        let mut policy = TrafficPolicy::default();
        policy.retries.attempts = attempts;
        policy
    };
    let orders = ServiceId::new(registry("eureka"), "orders");
    let stage = Stage::new()
        .service("eureka", "orders", &[])
        .service("eureka", "stock", &[])
        .service("consul", "bills", &[])
        .mesh("shop", &[("eureka", "orders", 1)])
        .policy("all", &[PolicyTarget::All], with_attempts(11))
        .policy(
            "eureka",
            &[PolicyTarget::Registry(registry("eureka"))],
            with_attempts(12),
        )
        .policy(
            "orders",
            &[PolicyTarget::All, PolicyTarget::Service(orders.clone())],
            with_attempts(13),
        )
        .policy("orders-again", &[PolicyTarget::Service(orders)], with_attempts(14))
        .policy("shop", &[PolicyTarget::Mesh("shop".into())], with_attempts(15))
        .routes(&["orders.eureka", "stock.eureka", "bills.consul", "shop"]);
    let composed = stage.compose(None);
    let attempts: Vec<(String, u32)> = composed
        .snapshot
        .clusters
        .iter()
        .map(|(id, c)| (id.to_string(), c.policy.retries.attempts))
        .collect();
    let expected = [
        ("bills.consul", 11),
        ("orders.eureka", 13),
        ("stock.eureka", 12),
        ("shop", 15),
    ];
    for (name, expected) in expected {
        assert!(attempts.contains(&(name.to_owned(), expected)), "{name}: {attempts:?}");
    }
}

#[test]
fn what_did_not_change_is_shared_and_nothing_new_makes_no_version() {
    let stage = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80", "10.0.0.2:80"])
        .service("eureka", "stock", &["10.0.0.3:80"])
        .routes(&["orders.eureka", "stock.eureka"]);
    let first = stage.compose(None);
    // The same rules and world, made anew: equal, but other allocations.
    let again = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80", "10.0.0.2:80"])
        .service("eureka", "stock", &["10.0.0.3:80"])
        .routes(&["orders.eureka", "stock.eureka"])
        .compose(Some(&first));
    assert!(Arc::ptr_eq(&first.snapshot, &again.snapshot));

    let moved = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80", "10.0.0.9:80"])
        .service("eureka", "stock", &["10.0.0.3:80"])
        .routes(&["orders.eureka", "stock.eureka"])
        .compose(Some(&first));
    assert_eq!(moved.snapshot.version, 2);
    let cluster = |composed: &Composed, name: &str| {
        let found = composed.snapshot.clusters.iter().find(|(id, _)| id.to_string() == name);
        found.unwrap().1.clone()
    };
    assert!(Arc::ptr_eq(
        &cluster(&first, "stock.eureka"),
        &cluster(&moved, "stock.eureka")
    ));
    let (before, after) = (cluster(&first, "orders.eureka"), cluster(&moved, "orders.eureka"));
    assert!(Arc::ptr_eq(&before.endpoints[0], &after.endpoints[0]));
    assert!(
        first
            .snapshot
            .routes
            .iter()
            .zip(&moved.snapshot.routes)
            .all(|(a, b)| Arc::ptr_eq(a, b))
    );
}

#[test]
fn a_record_written_again_without_a_change_is_no_new_endpoint() {
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let port = vec![Port {
        number: 80,
        protocol: Protocol::Http,
        tls: false,
    }];
    let stage = |changed, weight| {
        let instance = Instance {
            changed,
            weight,
            ..testing::instance("a", "10.0.0.1", port.clone())
        };
        Stage::new()
            .instances("eureka", "orders", vec![instance])
            .routes(&["orders.eureka"])
    };
    let first = stage(at(1), 100).compose(None);
    let touched = stage(at(2), 100).compose(Some(&first));
    assert!(Arc::ptr_eq(&first.snapshot, &touched.snapshot));
    let changed = stage(at(3), 50).compose(Some(&touched));
    let cluster = changed.snapshot.clusters.values().next().unwrap();
    assert_eq!(cluster.endpoints[0].changed.map(|change| change.at), at(3));
}

#[test]
fn mirrors_and_filters_of_backends_are_references_too() {
    let mirror = |text: &str| {
        Filter::Mirror(Mirror {
            backend: reference(text),
            fraction: (1, 1),
        })
    };
    let mut stage = Stage::new()
        .service("eureka", "orders", &[])
        .service("eureka", "shadow", &[])
        .service("eureka", "shade", &[])
        .routes(&["orders.eureka"]);
    let mut route = (*stage.rules.routes[0]).clone();
    route.rules[0].filters.push(mirror("shadow.eureka"));
    route.rules[0].backends[0].filters.push(mirror("shade.eureka"));
    stage.rules.routes = vec![Arc::new(route)];
    let composed = stage.compose(None);
    assert_eq!(composed.snapshot.backends.len(), 3);
    assert_eq!(composed.snapshot.clusters.len(), 3);
}

#[test]
fn names_in_several_registries_are_listed_with_who_uses_them() {
    let stage = Stage::new()
        .service("eureka", "ORDERS", &[])
        .service("consul", "orders", &[])
        .service("consul", "stock", &[])
        .routes(&["orders"]);
    let found = conflicts(&stage.world, &stage.rules);
    assert_eq!(found.len(), 1);
    assert_eq!(&*found[0].name, "orders");
    let services: Vec<String> = found[0].services.iter().map(ToString::to_string).collect();
    assert_eq!(services, ["ORDERS.eureka", "orders.consul"]);
    assert_eq!(found[0].routes, [Arc::from("default/r0")]);
}

/// Any instance, of few addresses so that they collide.
fn any_instance() -> impl Strategy<Value = Instance> {
    let statuses = vec![
        Status::Up,
        Status::Down,
        Status::Starting,
        Status::OutOfService,
        Status::Passing,
        Status::Critical,
    ];
    let protocols = vec![
        Protocol::Unknown,
        Protocol::Http,
        Protocol::H2,
        Protocol::Dubbo,
        Protocol::Tcp,
    ];
    (
        0..6_u32,
        prop::collection::vec(
            (prop::sample::select(vec![0, 80, 81]), prop::sample::select(protocols)),
            0..3,
        ),
        prop::sample::select(statuses),
        prop_oneof![Just(0_u32), 1..300_u32, Just(u32::MAX)],
        any::<bool>(),
    )
        .prop_map(|(host, ports, status, weight, named)| Instance {
            id: format!("{host}-{weight}-{named}").into(),
            host: Host::parse(&if named {
                format!("h{host}")
            } else {
                format!("10.0.0.{host}")
            }),
            ports: ports
                .into_iter()
                .map(|(number, protocol)| Port {
                    number,
                    protocol,
                    tls: false,
                })
                .collect(),
            status,
            weight,
            ..testing::instance("any", "10.0.0.1", Vec::new())
        })
}

fn any_stage() -> impl Strategy<Value = Stage> {
    let services = prop::collection::vec(prop::collection::vec(any_instance(), 0..6), 3);
    (services, [0..4_u32, 0..1_000_001_u32, 1..4_u32]).prop_map(|(services, [a, b, c])| {
        let mut stage = Stage::new()
            .name("h1", &["10.9.0.1"])
            .name("h2", &["10.9.0.1", "10.9.0.2", "::1"]);
        for ((registry, name), instances) in [("eureka", "a"), ("eureka", "b"), ("consul", "a")]
            .into_iter()
            .zip(services)
        {
            stage = stage.instances(registry, name, instances);
        }
        stage
            .mesh("m", &[("eureka", "a", a), ("eureka", "b", b), ("consul", "a", c)])
            .routes(&["a.eureka", "b.eureka:80", "a.consul", "a", "m", "none.eureka"])
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn endpoints_come_from_serving_instances_alone_and_are_sorted_and_weighted(stage in any_stage()) {
        let composed = stage.compose(None);
        for cluster in composed.snapshot.clusters.values() {
            prop_assert!(cluster.endpoints.windows(2).all(|w| w[0].address < w[1].address));
            let sum: u64 = cluster.endpoints.iter().map(|e| u64::from(e.weight)).sum();
            prop_assert!(cluster.endpoints.is_empty() || sum > 0);
            for endpoint in &cluster.endpoints {
                prop_assert!(endpoint.weight > 0);
                let id = ServiceId::new(endpoint.origin.registry.clone(), endpoint.origin.service.clone());
                let view = stage.world.service(&id).unwrap();
                let instance = view.service.instances.iter().find(|i| i.id == endpoint.origin.instance).unwrap();
                prop_assert_eq!(instance.status.serving(), Serving::Yes);
                prop_assert!(instance.weight > 0);
                prop_assert!(endpoint.protocol.is_http() && endpoint.address.port() != 0);
            }
        }
        for resolution in composed.snapshot.backends.values() {
            if let Resolution::Cluster(id) = resolution {
                prop_assert!(composed.snapshot.clusters.contains_key(id));
            }
        }
    }

    #[test]
    fn composing_twice_shares_everything(stage in any_stage(), other in any_stage()) {
        let first = stage.compose(None);
        let again = stage.compose(Some(&first));
        prop_assert!(Arc::ptr_eq(&first.snapshot, &again.snapshot));
        // After another world in between the first is made again, whatever was shared on the way.
        let between = other.compose(Some(&first));
        let back = stage.compose(Some(&between));
        let fresh = stage.compose(None);
        prop_assert_eq!(&back.snapshot.clusters, &fresh.snapshot.clusters);
    }

    #[test]
    fn every_instance_is_in_the_data_path_or_has_a_reason(stage in any_stage()) {
        let composed = stage.compose(None);
        for (name, registry) in [("a", "eureka"), ("b", "eureka"), ("a", "consul")] {
            for reason in stage.why(&composed, name, registry) {
                prop_assert!(!reason.uses.is_empty());
                for (_, verdict) in &reason.uses {
                    prop_assert_ne!(verdict, &Verdict::Pending);
                }
            }
        }
    }

    #[test]
    fn members_share_by_their_weight_within_a_per_cent(
        a in 1..20_usize, b in 1..20_usize, weight_a in 1..1_000_u32, weight_b in 1..1_000_u32, heavy in 1..100_000_u32,
    ) {
        let port = vec![Port { number: 80, protocol: Protocol::Http, tls: false }];
        let instances = |net: u8, count: usize, weight: u32| -> Vec<Instance> {
            (0..count).map(|i| Instance {
                weight: weight.saturating_add(i as u32),
                ..testing::instance(&format!("{i:02}"), &format!("10.{net}.0.{}", i + 1), port.clone())
            }).collect()
        };
        let stage = Stage::new()
            .instances("eureka", "a", instances(1, a, heavy))
            .instances("eureka", "b", instances(2, b, 100))
            .mesh("m", &[("eureka", "a", weight_a), ("eureka", "b", weight_b)])
            .routes(&["m"]);
        let composed = stage.compose(None);
        let cluster = composed.snapshot.clusters.values().next().unwrap();
        let (mut of_a, mut all) = (0.0, 0.0);
        for endpoint in &cluster.endpoints {
            let weight = f64::from(endpoint.weight);
            all += weight;
            of_a += if endpoint.address.to_string().starts_with("10.1.") { weight } else { 0.0 };
        }
        let expected = f64::from(weight_a) / f64::from(weight_a + weight_b);
        prop_assert!((of_a / all - expected).abs() < 0.01, "{} instead of {}", of_a / all, expected);
    }
}
