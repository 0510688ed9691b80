//! What holds for any world.

use std::sync::Arc;

use landfall_model::snapshot::Resolution;
use landfall_model::{Host, Instance, Port, Protocol, ServiceId, Serving, Status};
use proptest::prelude::*;

use crate::compose::why::Verdict;
use crate::testing::{self, Stage};

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
