use std::time::SystemTime;

use landfall_model::{Host, Port, Protocol, Service, ServiceId, Status, world::Freshness, world::Session};
use serde_json::json;

use super::*;

/// A registry of these instances: service, id, port, metadata.
pub(in crate::facade) fn registry(name: &str, kind: &'static str, instances: &[(&str, Instance)]) -> RegistryView {
    let name = RegistryName::new(name).unwrap();
    let now = SystemTime::UNIX_EPOCH;
    let mut services: BTreeMap<Arc<str>, Vec<Arc<Instance>>> = BTreeMap::new();
    for (service, instance) in instances {
        services
            .entry((*service).into())
            .or_default()
            .push(Arc::new(instance.clone()));
    }
    let services = services.into_iter().map(|(service, instances)| {
        let view = ServiceView {
            service: Arc::new(Service {
                id: ServiceId::new(name.clone(), service.clone()),
                instances,
            }),
            freshness: Freshness::Fresh { since: now },
        };
        (service, Arc::new(view))
    });
    RegistryView {
        kind,
        address: "somewhere".to_owned(),
        session: Session::Live { since: now },
        caught_up: Some(now),
        last_good: None,
        services: services.collect(),
        holds: Vec::new(),
        quarantined: Vec::new(),
        governance: Vec::new(),
        name,
    }
}

pub(in crate::facade) fn instance(id: &str, port: u16) -> Instance {
    Instance {
        id: id.into(),
        host: Host::parse("10.0.0.1"),
        ports: vec![Port {
            number: port,
            protocol: Protocol::Unknown,
            tls: false,
        }],
        status: Status::Up,
        weight: 100,
        zone: None,
        metadata: BTreeMap::new(),
        changed: None,
    }
}

/// The copy of an instance that was published elsewhere.
fn copy(of: (&str, &str, &str), node: &str) -> Instance {
    let (registry, service, id) = of;
    let origin = Origin {
        registry: RegistryName::new(registry).unwrap(),
        service: service.into(),
        instance: id.into(),
    };
    let mark = Mark::new(&origin, "c1".into(), 4);
    let mut made = instance(&format!("{node}{}", mark.id()), 8080);
    mark.write("d", &mut made.metadata);
    made
}

pub(in crate::facade) fn world(registries: Vec<RegistryView>) -> World {
    World {
        registries: registries
            .into_iter()
            .map(|one| (one.name.clone(), Arc::new(one)))
            .collect(),
    }
}

pub(in crate::facade) fn spec(view: serde_json::Value) -> FacadeSpec {
    serde_json::from_value(json!({ "address": "127.0.0.1:0", "eureka": {}, "view": view })).unwrap()
}

fn shown(services: &Services) -> Vec<(String, Vec<String>)> {
    let place = |one: &Shown| format!("{}:{}", one.registry, one.instance.ports[0].number);
    services
        .iter()
        .map(|(name, list)| (name.to_string(), list.iter().map(place).collect()))
        .collect()
}

#[test]
fn the_merged_view_counts_an_instance_once_and_prefers_the_native_record() {
    let native = instance("h:orders:1", 1);
    let lost = Instance {
        metadata: BTreeMap::new(),
        ..copy(("eureka", "orders", "h:orders:1"), "node/")
    };
    let all = world(vec![
        registry(
            "aaa",
            "consul",
            &[
                ("orders", copy(("eureka", "orders", "h:orders:1"), "n/")),
                ("orders-of-eureka", lost),
                ("orders", instance("n/orders-9", 9)),
            ],
        ),
        registry("eureka", "eureka", &[("orders", native)]),
        registry(
            "zzz",
            "zookeeper",
            &[
                ("gone", copy(("elsewhere", "gone", "g1"), "")),
                ("stock", instance("s", 5)),
            ],
        ),
    ]);
    let mut viewer = Viewer::new(&spec(json!("mesh")));
    let services = viewer.services(&all);
    let expected = [
        ("gone", vec!["zzz:8080"]),
        ("orders", vec!["aaa:9", "eureka:1"]),
        ("stock", vec!["zzz:5"]),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(name, list)| (name.to_owned(), list.into_iter().map(str::to_owned).collect::<Vec<_>>()))
        .collect();
    assert_eq!(shown(services), expected);
    // Whoever follows the facade sees where each comes from, and takes none for a native one.
    for list in services.values() {
        for one in list.iter() {
            assert!(matches!(provenance(&one.instance), Provenance::Marked(_)), "{one:?}");
        }
    }
}

#[test]
fn the_native_view_is_the_registry_as_it_stands_and_survives_its_document() {
    let mut viewer = Viewer::new(&spec(json!({ "registry": "eureka" })));
    let first = world(vec![registry("eureka", "eureka", &[("orders", instance("a", 1))])]);
    assert!(viewer.is_ready(&first));
    let services = viewer.services(&first).clone();
    assert!(matches!(
        provenance(&services["orders"][0].instance),
        Provenance::Native
    ));
    assert!(!viewer.is_ready(&world(Vec::new())));
    assert_eq!(viewer.services(&world(Vec::new())), &services);
}

#[test]
fn what_has_not_changed_is_the_same_object() {
    let mut viewer = Viewer::new(&spec(json!("mesh")));
    let orders = ("orders", instance("a", 1));
    let first = world(vec![registry(
        "eureka",
        "eureka",
        &[orders.clone(), ("stock", instance("b", 2))],
    )]);
    let before = viewer.services(&first).clone();
    let second = world(vec![registry(
        "eureka",
        "eureka",
        &[orders, ("stock", instance("b", 3))],
    )]);
    let after = viewer.services(&second);
    assert!(Arc::ptr_eq(&before["orders"], &after["orders"]));
    assert!(!Arc::ptr_eq(&before["stock"], &after["stock"]));
}
