use std::collections::BTreeMap;

use landfall_model::{Freshness, Host, Port, Protocol, ServiceId, Status};

use super::*;

mod property;

/// A ledger, its clock, and what was published last.
pub(super) struct Play {
    pub(super) ledger: Ledger,
    pub(super) now: Moment,
    pub(super) view: Arc<RegistryView>,
    /// What every probe finds.
    pub(super) probes: Probed,
}

pub(super) const START: u64 = 1_000_000;

pub(super) fn wall(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(START + seconds)
}

pub(super) fn registry() -> RegistryName {
    RegistryName::new("eureka").unwrap()
}

pub(super) const BRAKE: Brake = Brake {
    service_percent: 50,
    registry_percent: 25,
    hold: Duration::from_secs(30),
};

/// The number at the end of an id is its port, so that no two have the same address.
pub(super) fn instance(id: &str) -> Instance {
    let number = id
        .bytes()
        .fold(1u16, |sum, b| sum.wrapping_mul(31).wrapping_add(u16::from(b)))
        .max(1);
    Instance {
        id: id.into(),
        host: Host::parse("10.0.0.1"),
        ports: vec![Port {
            number,
            protocol: Protocol::Unknown,
            tls: false,
        }],
        status: Status::Up,
        weight: 100,
        zone: None,
        metadata: Default::default(),
        changed: None,
    }
}

pub(super) fn service(name: &str, ids: &[&str]) -> Knowledge {
    Knowledge::Service {
        name: name.into(),
        instances: ids.iter().map(|id| instance(id)).collect(),
        quarantined: Vec::new(),
        changed: None,
    }
}

fn gone(name: &str) -> Knowledge {
    Knowledge::Gone { name: name.into() }
}

impl Play {
    pub(super) fn new() -> Self {
        let now = Moment {
            wall: wall(0),
            mono: Duration::ZERO,
        };
        let mut ledger = Ledger::new(registry(), "eureka", "one:8761".into(), BRAKE, now);
        let view = ledger.publish(now).expect("the first view").view;
        Self {
            ledger,
            now,
            view,
            probes: Probed::Unknown,
        }
    }

    /// One that has caught up with these services.
    fn live(services: &[Knowledge]) -> Self {
        let mut play = Self::new();
        play.session(services);
        play
    }

    pub(super) fn event(&mut self, event: Event) {
        self.ledger.apply(self.now, event);
        self.look();
    }

    pub(super) fn say(&mut self, knowledge: Knowledge) {
        self.event(Event::Said(knowledge));
    }

    /// A new session that says this and has caught up.
    fn session(&mut self, services: &[Knowledge]) {
        self.event(Event::Opened);
        services.iter().cloned().for_each(|knowledge| self.say(knowledge));
        self.say(Knowledge::CaughtUp);
    }

    pub(super) fn end(&mut self, why: &str) {
        self.event(Event::Ended {
            why: why.to_owned(),
            retry_at: self.now.wall + Duration::from_secs(1),
        });
    }

    /// Time passes; whatever the ledger wants to be woken for happens on time, and probes are answered.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        for _ in 0..100_000 {
            for target in self.ledger.probes(self.now) {
                let (service, instance, found) = (target.service, target.instance.id.clone(), self.probes);
                self.ledger.apply(
                    self.now,
                    Event::Probed {
                        service,
                        instance,
                        found,
                    },
                );
            }
            self.look();
            let next = self.ledger.wake_at(self.now).map_or(end, |at| at.min(end));
            self.now = Moment {
                wall: self.now.wall_at(next),
                mono: next,
            };
            self.ledger.tick(self.now);
            self.look();
            if next == end {
                return;
            }
        }
        panic!("the ledger wants to be woken again and again at {:?}", self.now);
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn look(&mut self) {
        if let Some(published) = self.ledger.publish(self.now) {
            self.view = published.view;
        }
    }

    pub(super) fn seen(&self) -> BTreeMap<String, Vec<String>> {
        let ids = |view: &ServiceView| view.service.instances.iter().map(|i| i.id.to_string()).collect();
        self.view
            .services
            .iter()
            .map(|(name, view)| (name.to_string(), ids(view)))
            .collect()
    }

    #[track_caller]
    fn assert_seen(&self, expected: &[(&str, &[&str])]) {
        let expected: BTreeMap<String, Vec<String>> = expected
            .iter()
            .map(|(name, ids)| ((*name).to_owned(), ids.iter().map(|id| (*id).to_owned()).collect()))
            .collect();
        assert_eq!(self.seen(), expected);
    }

    fn freshness(&self, service: &str) -> &Freshness {
        &self.view.services[service].freshness
    }
}

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
