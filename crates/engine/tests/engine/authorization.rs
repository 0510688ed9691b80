//! AuthorizationPolicies on HTTP requests and Dubbo's calls.

use std::sync::Arc;

use landfall_engine::DubboOptions;
use landfall_model::rules::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, OperationMatch, PolicyTarget, TextLists, TextPattern,
};

use crate::{
    dubbo_peer::{Consumer, Provider, call},
    world::*,
};

fn any(text: &str) -> TextLists {
    TextLists {
        any: TextPattern::parse(text).into_iter().collect(),
        none: Vec::new(),
    }
}

fn deny(operation: OperationMatch) -> Arc<AuthorizationPolicy> {
    Arc::new(AuthorizationPolicy {
        name: "closed".into(),
        targets: vec![PolicyTarget::All],
        action: AuthorizationAction::Deny,
        rules: vec![AuthorizationRule {
            from: Vec::new(),
            to: vec![operation],
        }],
    })
}

#[tokio::test]
async fn a_denied_request_is_answered_403_and_reaches_nobody_however_its_path_is_spelt() {
    let origin = answers("ok").await;
    let mut plan = Plan::to(&[origin.address]);
    plan.authorization.push(deny(OperationMatch {
        paths: any("/admin*"),
        ..OperationMatch::default()
    }));
    let world = World::start(&plan);
    for path in ["/admin", "/admin/users", "/%61dmin", "/%2561dmin", "/;a=b/admin"] {
        let mut sender = connect(world.address(80)).await;
        let answer = Answer::read(sender.send_request(request("GET", path, empty())).await.unwrap()).await;
        assert_eq!(
            (answer.status, &*answer.text()),
            (403, "RBAC: access denied\n"),
            "{path}"
        );
    }
    // Dot segments are refused before anyone looks at policies.
    for path in [
        "//admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/..%2fadmin",
        "/x/..;/admin",
    ] {
        let mut sender = connect(world.address(80)).await;
        let answer = Answer::read(sender.send_request(request("GET", path, empty())).await.unwrap()).await;
        assert!(matches!(answer.status, 400 | 403), "{path}: {}", answer.status);
    }
    assert_eq!(origin.requests(), 0);
    let mut sender = connect(world.address(80)).await;
    let answer = Answer::read(sender.send_request(request("GET", "/orders", empty())).await.unwrap()).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_denied_call_of_dubbo_is_answered_with_an_exception_and_others_go_on() {
    let provider = Provider::start("a").await;
    let mut plan = Plan::dubbo_to(&[provider.address]);
    plan.authorization.push(deny(OperationMatch {
        dubbo_methods: any("late"),
        ..OperationMatch::default()
    }));
    let world = World::with_dubbo(&plan, DubboOptions::default());
    let mut consumer = Consumer::connect(world.address(20880)).await;
    let denied = consumer.ask(&call(1, "late", "1", &[])).await;
    assert_eq!(denied, (20, "!java.lang.RuntimeException".to_owned()));
    assert_eq!(consumer.ask(&call(2, "name", "", &[])).await, (20, "a".to_owned()));
    eventually("both calls are logged", || world.log.lines().len() == 2).await;
    let lines = world.log.lines();
    assert!(lines[0].to_string().contains("RBAC: access denied"), "{}", lines[0]);
}
