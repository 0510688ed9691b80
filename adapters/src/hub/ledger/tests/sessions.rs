//! What a session says, when it catches up and ends, and who comes and leaves meanwhile.

use super::*;

#[test]
fn what_a_session_says_is_used_before_it_has_caught_up() {
    let mut play = Play::new();
    assert!(!play.view.is_ready());
    play.event(Event::Opened);
    play.say(service("orders", &["b", "a"]));
    play.assert_seen(&[("orders", &["a", "b"])]);
    assert!(matches!(play.view.session, Session::CatchingUp { .. }));
    assert!(!play.view.is_ready());
    play.say(Knowledge::CaughtUp);
    assert!(matches!(play.view.session, Session::Live { .. }));
    assert!(play.view.is_ready());
}

#[test]
fn a_service_without_instances_is_known_and_empty() {
    let play = Play::live(&[service("orders", &[])]);
    play.assert_seen(&[("orders", &[])]);
}

#[test]
fn the_end_of_a_session_removes_nothing_and_shows_since_when_and_why() {
    let mut play = Play::live(&[service("orders", &["a"]), service("stock", &["b"])]);
    play.seconds(7);
    play.end("no answer from one:8761");
    for _ in 0..5 {
        play.seconds(60);
        play.event(Event::Opened);
        play.end("one:8761 is not ready: 503");
    }
    play.assert_seen(&[("orders", &["a"]), ("stock", &["b"])]);
    let expected = Freshness::Stale {
        since: wall(7),
        why: "no answer from one:8761".to_owned(),
    };
    assert_eq!(play.freshness("orders"), &expected);
    let Session::Stale { since, why, retry_at } = &play.view.session else {
        panic!("{:?}", play.view.session);
    };
    assert_eq!(
        (*since, &**why, *retry_at),
        (wall(7), "one:8761 is not ready: 503", wall(308))
    );
}

#[test]
fn a_session_that_ends_before_it_has_caught_up_removes_nothing() {
    let mut play = Play::live(&[service("orders", &["a", "b", "c", "d", "e"]), service("stock", &["f"])]);
    play.end("restarting");
    play.event(Event::Opened);
    play.say(service("orders", &["a"]));
    play.say(gone("stock"));
    play.seconds(600);
    play.end("again");
    play.seconds(600);
    play.assert_seen(&[("orders", &["a", "b", "c", "d", "e"]), ("stock", &["f"])]);
    assert!(
        play.view.holds.is_empty(),
        "nothing is judged before the session has caught up"
    );
}

#[test]
fn an_instance_that_deregisters_in_a_live_session_leaves_at_once_even_the_last_one() {
    let mut play = Play::live(&[service("orders", &["a", "b"]), service("stock", &["c"])]);
    play.say(service("orders", &["a"]));
    play.pass(SETTLE);
    play.assert_seen(&[("orders", &["a"]), ("stock", &["c"])]);
    play.seconds(11);
    play.say(service("orders", &[]));
    play.pass(SETTLE);
    play.assert_seen(&[("orders", &[]), ("stock", &["c"])]);
    play.seconds(11);
    play.say(gone("stock"));
    play.pass(SETTLE);
    play.assert_seen(&[("orders", &[])]);
}

#[test]
fn a_service_gone_while_disconnected_is_removed_after_catching_up() {
    let others: Vec<Knowledge> = (0..9).map(|n| service(&format!("s{n}"), &[&format!("i{n}")])).collect();
    let mut all = others.clone();
    all.push(service("orders", &[]));
    let mut play = Play::live(&all);
    play.end("gone for a while");
    play.session(&others);
    assert!(!play.seen().contains_key("orders"));
    assert_eq!(play.seen().len(), 9);
}

#[test]
fn additions_are_never_held() {
    let mut play = Play::live(&[service("orders", &["a", "b"])]);
    play.end("restart");
    play.session(&[service("orders", &["x"]), service("stock", &["y"])]);
    play.assert_seen(&[("orders", &["a", "b", "x"]), ("stock", &["y"])]);
}

#[test]
fn an_instance_that_comes_and_goes_leaves_at_once_each_time() {
    let mut play = Play::live(&[service("orders", &["a"]), service("stock", &["b"])]);
    for _ in 0..5 {
        play.say(service("stock", &[]));
        play.seconds(1);
        play.assert_seen(&[("orders", &["a"]), ("stock", &[])]);
        play.say(service("stock", &["b"]));
        play.seconds(1);
        play.assert_seen(&[("orders", &["a"]), ("stock", &["b"])]);
    }
}

#[test]
fn an_instance_registered_again_under_another_id_is_replaced_and_not_held() {
    let mut play = Play::live(&[service("orders", &["a"])]);
    play.end("restart");
    let mut again = instance("a");
    again.id = "another".into();
    play.session(&[Knowledge::Service {
        name: "orders".into(),
        instances: vec![again],
        quarantined: Vec::new(),
        changed: None,
    }]);
    play.assert_seen(&[("orders", &["another"])]);
    assert!(play.view.holds.is_empty());
}

#[test]
fn what_has_not_changed_is_shared_and_publishes_nothing() {
    let mut play = Play::live(&[service("orders", &["a"]), service("stock", &["b"])]);
    let before = play.view.clone();
    play.say(service("orders", &["a"]));
    play.say(Knowledge::Confirmed);
    assert!(Arc::ptr_eq(&before, &play.view));
    play.say(service("orders", &["a", "c"]));
    assert!(Arc::ptr_eq(&before.services["stock"], &play.view.services["stock"]));
    let service_of = |view: &RegistryView, name| view.services[name].service.clone();
    play.end("lost");
    assert!(Arc::ptr_eq(
        &service_of(&before, "stock"),
        &service_of(&play.view, "stock")
    ));
    assert!(Arc::ptr_eq(
        &service_of(&before, "orders").instances[0],
        &service_of(&play.view, "orders").instances[0]
    ));
}

#[test]
fn the_time_of_a_change_is_passed_on_once_and_only_from_a_live_session() {
    let mut play = Play::new();
    let mut say = |ids: &[&str], at: u64| {
        let Knowledge::Service {
            name,
            instances,
            quarantined,
            ..
        } = service("orders", ids)
        else {
            unreachable!();
        };
        let changed = Some(wall(at));
        let knowledge = Knowledge::Service {
            name,
            instances,
            quarantined,
            changed,
        };
        play.ledger.apply(play.now, Event::Said(knowledge));
        let published = play.ledger.publish(play.now);
        play.ledger.apply(play.now, Event::Said(Knowledge::CaughtUp));
        published.map(|p| p.changed).unwrap_or_default()
    };
    assert_eq!(say(&["a"], 1), []);
    assert_eq!(say(&["a", "b"], 2), [wall(2)]);
    assert_eq!(say(&["a", "b"], 2), []);
}
