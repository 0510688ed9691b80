//! Which AuthorizationPolicies a cluster gets.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{
    ServiceId,
    rules::{AuthorizationAction, AuthorizationPolicy, PolicyTarget},
};

use crate::testing::{Stage, registry};

#[test]
fn every_policy_that_touches_a_cluster_applies_and_a_service_stays_protected_behind_a_mesh_service() {
    let mut stage = Stage::new()
        .service("eureka", "ORDERS", &[])
        .service("eureka", "stock", &[])
        .service("consul", "bills", &[])
        .mesh("shop", &[("eureka", "orders", 1), ("consul", "bills", 1)])
        .routes(&["orders.eureka", "stock.eureka", "bills.consul", "shop"]);
    let policies = [
        ("all", PolicyTarget::All),
        ("eureka", PolicyTarget::Registry(registry("eureka"))),
        (
            "orders",
            PolicyTarget::Service(ServiceId::new(registry("eureka"), "orders")),
        ),
        ("shop", PolicyTarget::Mesh("shop".into())),
    ];
    stage.rules.authorization = policies.map(|(name, target)| policy(name, target)).into();
    let composed = stage.compose(None);
    let found: BTreeMap<String, Vec<&str>> = composed
        .snapshot
        .authorization
        .iter()
        .map(|(id, policies)| (id.to_string(), policies.iter().map(|policy| &*policy.name).collect()))
        .collect();
    let expected = [
        ("ORDERS.eureka", vec!["all", "eureka", "orders"]),
        ("stock.eureka", vec!["all", "eureka"]),
        ("bills.consul", vec!["all"]),
        ("shop", vec!["all", "eureka", "orders", "shop"]),
    ];
    assert_eq!(found, expected.map(|(id, names)| (id.to_owned(), names)).into());
}

#[test]
fn a_changed_policy_makes_a_new_snapshot() {
    let mut stage = Stage::new().service("eureka", "orders", &[]).routes(&["orders.eureka"]);
    let before = stage.compose(None);
    stage.rules.authorization = vec![policy("all", PolicyTarget::All)];
    let after = stage.compose(Some(&before));
    assert!(!Arc::ptr_eq(&before.snapshot, &after.snapshot));
    assert_eq!(after.snapshot.authorization.len(), 1);
    assert!(Arc::ptr_eq(&after.snapshot, &stage.compose(Some(&after)).snapshot));
}

fn policy(name: &str, target: PolicyTarget) -> Arc<AuthorizationPolicy> {
    Arc::new(AuthorizationPolicy {
        name: name.into(),
        targets: vec![target],
        action: AuthorizationAction::Deny,
        rules: Vec::new(),
    })
}
