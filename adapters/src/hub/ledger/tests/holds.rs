//! What the brake holds, for how long, and what lets it go.

use super::*;

#[test]
fn a_registry_that_restarts_empty_loses_nothing_while_its_instances_answer() {
    let mut play = Play::live(&[service("orders", &["a"]), service("stock", &["b", "c"])]);
    play.probes = Probed::Answers;
    play.end("connection refused");
    play.session(&[]);
    let everything: &[(&str, &[&str])] = &[("orders", &["a"]), ("stock", &["b", "c"])];
    play.assert_seen(everything);
    assert_eq!(play.view.holds.len(), 2);
    assert!(
        play.view.holds[0].reason.contains("3 of the registry's 3 instances"),
        "{:?}",
        play.view.holds
    );
    assert!(matches!(play.freshness("orders"), Freshness::Stale { why, .. } if why.contains("held")));
    for _ in 0..50 {
        play.seconds(5);
        play.say(Knowledge::Confirmed);
        play.assert_seen(everything);
    }
    // They register again, one after the other.
    play.say(service("orders", &["a"]));
    assert_eq!(play.view.holds.len(), 1);
    assert!(matches!(play.freshness("orders"), Freshness::Fresh { .. }));
    play.say(service("stock", &["b", "c"]));
    assert!(play.view.holds.is_empty());
    play.seconds(600);
    play.assert_seen(everything);
}

#[test]
fn what_is_held_goes_when_its_ports_refuse() {
    let mut play = Play::live(&[service("orders", &["a"]), service("stock", &["b"])]);
    play.probes = Probed::Fails;
    play.end("connection refused");
    play.session(&[]);
    play.seconds(1);
    play.assert_seen(&[]);
}

#[test]
fn what_is_held_and_cannot_be_probed_goes_after_a_second_look_or_after_its_time() {
    for (looks, seconds) in [(true, 10), (false, 30)] {
        let mut play = Play::live(&[service("orders", &["a", "b", "c"])]);
        play.say(service("orders", &[]));
        for _ in 0..seconds - 1 {
            play.seconds(1);
            if looks {
                play.say(Knowledge::Confirmed);
            }
        }
        play.assert_seen(&[("orders", &["a", "b", "c"])]);
        play.seconds(2);
        if looks {
            play.say(Knowledge::Confirmed);
        }
        play.assert_seen(&[("orders", &[])]);
    }
}

#[test]
fn what_is_held_and_answers_goes_after_ten_times_the_hold_at_last() {
    let mut play = Play::live(&[service("orders", &["a"])]);
    play.probes = Probed::Answers;
    play.end("restart");
    play.session(&[]);
    play.seconds(299);
    play.assert_seen(&[("orders", &["a"])]);
    play.seconds(1);
    play.assert_seen(&[]);
    assert!(play.view.holds.is_empty());
}

#[test]
fn a_hold_does_not_age_while_the_registry_is_down() {
    let mut play = Play::live(&[service("orders", &["a"])]);
    play.end("restart");
    play.session(&[]);
    play.seconds(5);
    play.end("down again");
    play.seconds(3600);
    play.assert_seen(&[("orders", &["a"])]);
    play.session(&[]);
    play.assert_seen(&[("orders", &["a"])]);
    assert_eq!(play.view.holds[0].until, play.now.wall + Duration::from_secs(25));
    play.seconds(25);
    play.assert_seen(&[]);
}

#[test]
fn services_that_vanish_one_by_one_in_a_burst_are_judged_together() {
    let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
    let all: Vec<Knowledge> = names.iter().map(|name| service(name, &[name])).collect();
    let mut play = Play::live(&all);
    for name in &names {
        play.say(gone(name));
        play.pass(Duration::from_millis(2));
    }
    play.pass(SETTLE);
    assert_eq!(play.seen().len(), 8);
    assert_eq!(play.view.holds.len(), 8);
}

#[test]
fn a_registry_that_is_emptied_slowly_is_held_from_a_quarter_on() {
    let names: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
    let all: Vec<Knowledge> = names.iter().map(|name| service(name, &[name])).collect();
    let mut play = Play::live(&all);
    for name in &names {
        play.say(gone(name));
        play.seconds(1);
    }
    assert_eq!(play.seen().len(), 6);
    // Spread over more time, each is a deregistration like any other.
    let mut play = Play::live(&all);
    for name in &names {
        play.say(gone(name));
        play.seconds(30);
    }
    assert_eq!(play.seen().len(), 0);
}

#[test]
fn half_a_listing_removes_nothing_and_the_whole_one_drops_the_holds() {
    let whole = [
        service("orders", &["a", "b"]),
        service("stock", &["c"]),
        service("users", &["d", "e", "f"]),
    ];
    let everything: &[(&str, &[&str])] = &[("orders", &["a", "b"]), ("stock", &["c"]), ("users", &["d", "e", "f"])];
    let mut play = Play::live(&whole);
    play.end("500");
    play.session(&[service("orders", &["a"])]);
    play.assert_seen(everything);
    // The same in a session that goes on.
    play.session(&whole);
    assert!(play.view.holds.is_empty());
    play.say(gone("stock"));
    play.say(service("users", &["d"]));
    play.say(Knowledge::CaughtUp);
    play.assert_seen(everything);
    play.say(service("stock", &["c"]));
    play.say(service("users", &["d", "e", "f"]));
    play.say(Knowledge::CaughtUp);
    play.seconds(600);
    play.assert_seen(everything);
}

#[test]
fn a_last_good_view_is_used_stale_until_it_is_confirmed_and_then_judged() {
    let saved = Play::live(&[service("orders", &["a"]), service("stock", &["b"])])
        .ledger
        .services();
    let mut play = Play::new();
    play.ledger
        .restore(saved, "one:8761", wall(0) - Duration::from_secs(90));
    play.look();
    play.assert_seen(&[("orders", &["a"]), ("stock", &["b"])]);
    assert!(play.view.is_ready());
    let Freshness::Stale { since, why } = play.freshness("orders") else {
        panic!("{:?}", play.freshness("orders"));
    };
    assert_eq!(*since, wall(0) - Duration::from_secs(90));
    assert!(why.contains("last good view of one:8761"), "{why}");
    play.event(Event::Opened);
    play.end("no answer");
    assert!(matches!(play.freshness("orders"), Freshness::Stale { why, .. } if why.contains("last good view")));
    play.session(&[service("orders", &["a"])]);
    assert!(matches!(play.freshness("orders"), Freshness::Fresh { .. }));
    play.assert_seen(&[("orders", &["a"]), ("stock", &["b"])]);
    assert_eq!(&*play.view.holds[0].service, "stock");
}

#[test]
fn a_brake_that_is_off_believes_a_caught_up_session() {
    let mut play = Play::live(&[service("orders", &["a"]), service("stock", &["b"])]);
    play.ledger.limit(Brake::OFF);
    play.end("changed");
    play.session(&[service("stock", &["c"])]);
    play.assert_seen(&[("stock", &["c"])]);
}
