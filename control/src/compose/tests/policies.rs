//! Which policy a cluster gets.

use landfall_model::ServiceId;
use landfall_model::rules::{PolicyTarget, TrafficPolicy};

use crate::testing::{Stage, registry};

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
