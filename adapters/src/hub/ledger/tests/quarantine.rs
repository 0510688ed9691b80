//! Records that cannot be used, and what becomes of their instances.

use super::*;

#[test]
fn a_quarantined_record_keeps_the_last_form_of_its_instance_and_its_siblings_change() {
    let mut play = Play::live(&[service("orders", &["a", "b", "c"])]);
    let mut changed = instance("b");
    changed.status = Status::Down;
    let bad = Quarantined {
        service: Some("orders".into()),
        record: "a".to_owned(),
        reason: "no port".to_owned(),
    };
    play.say(Knowledge::Service {
        name: "orders".into(),
        instances: vec![changed],
        quarantined: vec![bad.clone()],
        changed: None,
    });
    play.seconds(60);
    play.assert_seen(&[("orders", &["a", "b"])]);
    let orders = ServiceId::new(registry(), "orders");
    let world = landfall_model::World {
        registries: [(registry(), play.view.clone())].into(),
    };
    let found = &world.service(&orders).expect("the service").service.instances;
    assert_eq!((found[0].status, found[1].status), (Status::Up, Status::Down));
    assert_eq!(play.view.quarantined, [bad]);
    play.say(service("orders", &["a", "b"]));
    assert!(play.view.quarantined.is_empty());
}

#[test]
fn instances_missing_beside_new_nameless_bad_records_are_held() {
    let mut play = Play::live(&[service("orders", &["a", "b", "c"])]);
    play.say(Knowledge::Service {
        name: "orders".into(),
        instances: vec![instance("a"), instance("b")],
        quarantined: vec![Quarantined {
            service: Some("orders".into()),
            record: "garbage".to_owned(),
            reason: "not a URL".to_owned(),
        }],
        changed: None,
    });
    play.pass(SETTLE);
    play.assert_seen(&[("orders", &["a", "b", "c"])]);
    assert!(
        play.view.holds[0].reason.contains("unreadable"),
        "{:?}",
        play.view.holds
    );
    play.seconds(30);
    play.assert_seen(&[("orders", &["a", "b"])]);
}

#[test]
fn records_that_no_adapter_should_let_through_are_quarantined() {
    let mut portless = instance("b");
    portless.ports[0].number = 0;
    let mut twin = instance("a");
    twin.weight = 1;
    let mut play = Play::new();
    play.session(&[Knowledge::Service {
        name: "orders".into(),
        instances: vec![instance("a"), twin, portless, instance("")],
        quarantined: Vec::new(),
        changed: None,
    }]);
    play.assert_seen(&[("orders", &["a"])]);
    assert_eq!(play.view.services["orders"].service.instances[0].weight, 100);
    let reasons: Vec<_> = play.view.quarantined.iter().map(|q| &*q.reason).collect();
    assert_eq!(reasons.len(), 3);
    assert!(reasons[0].contains("same id") && reasons[1].contains("port 0") && reasons[2].contains("no id"));
}

#[test]
fn views_of_unreadable_records_come_and_go() {
    let mut play = Play::live(&[]);
    let bad = Quarantined {
        service: None,
        record: "/dubbo/x".to_owned(),
        reason: "garbage".to_owned(),
    };
    play.say(Knowledge::Unreadable(vec![bad.clone()]));
    assert_eq!(play.view.quarantined, [bad]);
    play.say(Knowledge::Unreadable(Vec::new()));
    assert!(play.view.quarantined.is_empty());
}
