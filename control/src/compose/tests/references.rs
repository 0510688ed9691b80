//! What a reference stands for, and when it stands for nothing.

use std::sync::Arc;
use std::time::SystemTime;

use landfall_model::rules::{Filter, Mirror};
use landfall_model::snapshot::Resolution;
use landfall_model::world::Session;

use super::addresses;
use crate::compose::Warning;
use crate::compose::conflicts::conflicts;
use crate::testing::{Stage, reference, registry};

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
