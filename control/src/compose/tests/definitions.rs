//! Which definitions are asked for, and where they go.

use std::sync::Arc;

use landfall_model::{
    ServiceId,
    rules::{DeclaredTypes, Family, Filter, Transcoding},
};

use crate::testing::{Stage, registry};

/// A route that calls `g/org.x.Shop:1.0.0` with JSON.
fn stage(transcoding: Transcoding) -> Stage {
    let mut stage = Stage::new()
        .service("eureka", "g/org.x.Shop:1.0.0", &["10.0.0.1:20880"])
        .service("eureka", "orders", &["10.0.0.2:80"])
        .routes(&["shop.eureka", "orders.eureka"]);
    let mut route = (*stage.rules.routes[0]).clone();
    route.rules[0].backends[0].backend.name = "g/org.x.Shop:1.0.0".into();
    route.rules[0].backends[0].backend.family = Family::Dubbo;
    route.rules[0].filters.push(Filter::Transcode(Arc::new(transcoding)));
    stage.rules.routes[0] = Arc::new(route);
    stage
}

#[test]
fn the_definition_of_a_service_that_is_called_with_json_is_asked_for_and_goes_to_its_cluster() {
    let mut stage = stage(Transcoding {
        name: "shop".into(),
        version: Some("2.0.0".into()),
        ..Transcoding::default()
    });
    let first = stage.compose(None);
    let wanted = ServiceId::new(registry("eureka"), "g/org.x.Shop:2.0.0");
    assert_eq!(first.undefined, [wanted.clone()].into());
    assert!(first.snapshot.definitions.is_empty());

    stage.definitions.insert(wanted, "{}".into());
    let second = stage.compose(Some(&first));
    assert_ne!(second.snapshot.version, first.snapshot.version);
    let defined: Vec<String> = second
        .snapshot
        .definitions
        .iter()
        .map(|((name, cluster), text)| format!("{name} {cluster} {text}"))
        .collect();
    assert_eq!(defined, ["shop g/org.x.Shop:1.0.0.eureka (dubbo) {}"]);
    let third = stage.compose(Some(&second));
    assert!(Arc::ptr_eq(&third.snapshot, &second.snapshot), "nothing is news");
}

#[test]
fn what_is_declared_whole_is_not_asked_for() {
    let stage = stage(Transcoding {
        types: DeclaredTypes {
            definition: Some("{}".into()),
            ..DeclaredTypes::default()
        },
        ..Transcoding::default()
    });
    assert!(stage.compose(None).undefined.is_empty());
}
