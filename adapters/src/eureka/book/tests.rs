use landfall_config::kinds::registry::EurekaAddress;
use proptest::prelude::*;

use super::*;
use crate::{
    eureka::{
        view::View,
        wire::{Applications, DataCenter, Detail, Format, PortField, read, tests::statuses, write},
    },
    registry::Knowledge,
};

const START: i64 = 1_700_000_000_000;

fn at(seconds: u64) -> Moment {
    Moment {
        steady: seconds * 1000,
        wall: START + i64::try_from(seconds).unwrap() * 1000,
    }
}

fn info(app: &str, id: &str, status: Status) -> InstanceInfo {
    InstanceInfo {
        instance_id: id.to_owned(),
        app: app.to_owned(),
        host_name: "h1".to_owned(),
        ip: "10.0.0.1".to_owned(),
        port: PortField {
            number: 8080,
            enabled: true,
        },
        status: Some(status),
        data_center: Some(DataCenter {
            name: "MyOwn".to_owned(),
            ..DataCenter::default()
        }),
        ..InstanceInfo::default()
    }
}

fn with_orders(status: Status) -> Book {
    let mut book = Book::new(Limits::default());
    book.register("orders", info("orders", "a", status), at(0)).unwrap();
    book
}

fn status(book: &Book) -> Option<Status> {
    book.instance("ORDERS", "a").map(InstanceInfo::known_status)
}

#[test]
fn a_registration_lacking_something_is_refused_in_the_originals_words() {
    type Spoil = fn(&mut InstanceInfo);
    let table: [(Spoil, &str); 8] = [
        (|info| info.instance_id.clear(), "Missing instanceId"),
        (|info| info.host_name.clear(), "Missing hostname"),
        (|info| info.ip.clear(), "Missing ip address"),
        (|info| info.app.clear(), "Missing appName"),
        (
            |info| info.app = "stock".to_owned(),
            "Mismatched appName, expecting ORDERS but was stock",
        ),
        (|info| info.data_center = None, "Missing dataCenterInfo"),
        (
            |info| info.data_center = Some(DataCenter::default()),
            "Missing dataCenterInfo Name",
        ),
        (|info| info.port.number = -1, "port is no number from 0 to 65535"),
    ];
    for (spoil, expected) in table {
        let mut record = info("orders", "a", Status::Up);
        spoil(&mut record);
        let refusal = Book::new(Limits::default()).register("orders", record, at(0));
        assert_eq!(refusal, Err(Refusal::Invalid(expected.to_owned())));
    }
}

#[test]
fn names_become_upper_case_and_the_record_gets_what_it_lacks() {
    let book = with_orders(Status::Up);
    let stored = book.instance("oRdErS", "a").unwrap();
    assert_eq!(stored.app, "ORDERS");
    assert_eq!((stored.last_dirty, stored.last_updated), (Some(START), START));
    assert_eq!((stored.lease.duration, stored.lease.renewal_interval), (90, 30));
    assert_eq!((stored.lease.registered, stored.lease.up_since), (START, START));
    assert_eq!(stored.action, Some(Action::Added));
}

#[test]
fn a_lease_lasts_once_its_duration_before_the_first_heartbeat_and_twice_after_it() {
    let mut book = with_orders(Status::Up);
    assert_eq!(book.expire(at(90)), 0);
    assert_eq!(book.expire(at(91)), 1);

    let mut book = with_orders(Status::Up);
    book.renew("ORDERS", "a", None, at(60)).unwrap();
    assert_eq!(book.expire(at(60 + 180)), 0);
    assert_eq!(book.expire(at(60 + 181)), 1);
    assert!(book.is_empty());
    let delta = book.delta(at(242));
    assert_eq!(delta.applications[0].instances[0].action, Some(Action::Deleted));
    assert_eq!(delta.hash.as_deref(), Some(""));
}

#[test]
fn the_renewal_time_is_shown_with_the_duration_added_as_readers_expect() {
    let mut book = with_orders(Status::Up);
    book.renew("ORDERS", "a", None, at(30)).unwrap();
    assert_eq!(book.instance("ORDERS", "a").unwrap().lease.renewed, START + 120_000);
}

#[test]
fn a_client_that_is_unknown_or_knows_more_registers_again() {
    let mut book = with_orders(Status::Up);
    assert_eq!(book.renew("ORDERS", "b", None, at(1)), Err(Refusal::Unknown));
    assert_eq!(book.renew("ORDERS", "a", Some(START), at(1)), Ok(()));
    assert_eq!(book.renew("ORDERS", "a", Some(START - 5), at(1)), Ok(()));
    assert_eq!(book.renew("ORDERS", "a", Some(START + 5), at(1)), Err(Refusal::Unknown));
    let mut unknown = with_orders(Status::Unknown);
    assert_eq!(unknown.renew("ORDERS", "a", None, at(1)), Err(Refusal::Unknown));
}

#[test]
fn a_registration_older_than_what_is_known_keeps_the_known_and_renews_the_lease() {
    let mut book = Book::new(Limits::default());
    let mut newer = info("orders", "a", Status::Up);
    newer.last_dirty = Some(200);
    newer.metadata.insert("version".to_owned(), "new".to_owned());
    book.register("orders", newer, at(0)).unwrap();
    let mut older = info("orders", "a", Status::Up);
    older.last_dirty = Some(100);
    book.register("orders", older, at(60)).unwrap();
    let stored = book.instance("orders", "a").unwrap();
    assert_eq!(stored.metadata.get("version").map(String::as_str), Some("new"));
    assert_eq!(stored.last_dirty, Some(200));
    assert_eq!(book.expire(at(149)), 0, "the lease runs from the second registration");
}

#[test]
fn statuses_follow_the_rules_of_the_original() {
    let (up, down, out, starting) = (Status::Up, Status::Down, Status::OutOfService, Status::Starting);
    for (first, second, expected) in [
        (up, out, up),
        (out, up, out),
        (up, down, down),
        (down, up, up),
        (starting, up, up),
        (starting, out, out),
        (up, starting, starting),
        (up, Status::Unknown, Status::Unknown),
    ] {
        let mut book = with_orders(first);
        book.register("orders", info("orders", "a", second), at(1)).unwrap();
        assert_eq!(status(&book), Some(expected), "{first} then {second}");
    }
}

#[test]
fn an_override_wins_until_it_is_taken_back_and_is_forgotten_with_the_instance() {
    let mut book = with_orders(Status::Up);
    book.set_override("orders", "a", Status::OutOfService, None, at(1))
        .unwrap();
    let stored = book.instance("orders", "a").unwrap();
    assert_eq!(
        (stored.known_status(), stored.overridden),
        (Status::OutOfService, Status::OutOfService)
    );
    assert_eq!(stored.action, Some(Action::Modified));
    book.register("orders", info("orders", "a", Status::Up), at(2)).unwrap();
    assert_eq!(status(&book), Some(Status::OutOfService), "over a new registration");
    book.register("orders", info("orders", "a", Status::Down), at(3))
        .unwrap();
    assert_eq!(status(&book), Some(Status::Down), "an application that is down is down");
    book.register("orders", info("orders", "a", Status::Up), at(4)).unwrap();
    assert_eq!(status(&book), Some(Status::OutOfService));

    book.remove_override("orders", "a", Some(Status::Up), None, at(5))
        .unwrap();
    let stored = book.instance("orders", "a").unwrap();
    assert_eq!(
        (stored.known_status(), stored.overridden),
        (Status::Up, Status::Unknown)
    );

    book.set_override("orders", "a", Status::OutOfService, None, at(6))
        .unwrap();
    book.remove_override("orders", "a", None, None, at(7)).unwrap();
    assert_eq!(status(&book), Some(Status::Unknown));
    assert_eq!(book.renew("orders", "a", None, at(8)), Err(Refusal::Unknown));

    book.set_override("orders", "a", Status::OutOfService, None, at(9))
        .unwrap();
    book.cancel("orders", "a", at(10)).unwrap();
    book.register("orders", info("orders", "a", Status::Up), at(11))
        .unwrap();
    assert_eq!(status(&book), Some(Status::Up));
}

#[test]
fn an_override_that_nobody_uses_is_forgotten_after_an_hour() {
    let mut book = with_orders(Status::Up);
    book.set_override("orders", "a", Status::OutOfService, None, at(0))
        .unwrap();
    let hours = |hours: u64| Moment {
        steady: hours * OVERRIDE_LIFE + 1,
        wall: START,
    };
    book.expire(hours(1));
    assert!(book.is_empty());
    book.register("orders", info("orders", "a", Status::Up), hours(2))
        .unwrap();
    assert_eq!(status(&book), Some(Status::Up));
}

#[test]
fn a_delta_holds_three_minutes_and_one_entry_for_each_instance() {
    let mut book = with_orders(Status::Up);
    book.set_override("orders", "a", Status::OutOfService, None, at(1))
        .unwrap();
    book.register("stock", info("stock", "b", Status::Up), at(100)).unwrap();
    let delta = book.delta(at(150));
    assert_eq!(delta.applications.len(), 2);
    assert_eq!(delta.applications[0].instances.len(), 1);
    assert_eq!(delta.applications[0].instances[0].action, Some(Action::Modified));
    let later = book.delta(at(182));
    assert_eq!(later.applications.len(), 1);
    assert_eq!(later.applications[0].name, "STOCK");
    assert_eq!(
        later.hash.as_deref(),
        Some("OUT_OF_SERVICE_1_UP_1_"),
        "of everything, not of the delta"
    );
}

#[test]
fn the_version_grows_with_every_change_and_not_with_a_heartbeat() {
    let mut book = with_orders(Status::Up);
    let first = book.version();
    book.renew("orders", "a", None, at(1)).unwrap();
    assert_eq!(book.version(), first);
    book.add_metadata("orders", "a", [("k".to_owned(), "v".to_owned())], at(2))
        .unwrap();
    assert!(book.version() > first);
    assert_eq!(book.changed_since(first).collect::<Vec<_>>(), ["ORDERS"]);
    assert_eq!(book.delta(at(2)).version, Some(book.version().to_string()));
}

#[test]
fn vips_are_lists_and_an_unknown_one_is_an_empty_answer() {
    let mut book = Book::new(Limits::default());
    let mut record = info("orders", "a", Status::Up);
    record.vip = Some("orders,shop".to_owned());
    record.secure_vip = Some("secure-orders".to_owned());
    book.register("orders", record, at(0)).unwrap();
    for (vip, secure, found) in [
        ("shop", false, 1),
        ("secure-orders", true, 1),
        ("shop", true, 0),
        ("SHOP", false, 0),
    ] {
        let answer = book.vip(vip, secure);
        assert_eq!(answer.applications.len(), found, "{vip}");
        assert_eq!(answer.hash.as_deref(), Some(if found > 0 { "UP_1_" } else { "" }));
    }
}

#[test]
fn limits_are_kept() {
    let limits = Limits {
        instances: 1,
        metadata_bytes: 10,
        text_bytes: 20,
    };
    let mut book = Book::new(limits);
    let mut fat = info("orders", "a", Status::Up);
    fat.metadata.insert("key".to_owned(), "0123456789".to_owned());
    assert!(matches!(book.register("orders", fat, at(0)), Err(Refusal::TooLarge(_))));
    let long = info("orders", &"x".repeat(21), Status::Up);
    assert!(matches!(
        book.register("orders", long, at(0)),
        Err(Refusal::TooLarge(_))
    ));
    book.register("orders", info("orders", "a", Status::Up), at(0)).unwrap();
    assert_eq!(
        book.register("orders", info("orders", "b", Status::Up), at(0)),
        Err(Refusal::Full(1))
    );
    book.register("orders", info("orders", "a", Status::Up), at(1)).unwrap();
    for round in 0..10 {
        book.cancel("orders", &format!("{round}"), at(2)).unwrap_or_default();
        book.cancel("orders", "a", at(2)).unwrap_or_default();
        book.register("orders", info("orders", &format!("x{round}"), Status::Up), at(2))
            .unwrap();
        book.cancel("orders", &format!("x{round}"), at(2)).unwrap();
    }
    assert!(book.recent.len() <= 2, "churn does not fill the memory");
}

#[derive(Clone, Debug)]
enum Step {
    Register(usize, usize, Status, i64),
    Renew(usize, usize),
    Cancel(usize, usize),
    Override(usize, usize, Status),
    Restore(usize, usize),
    Metadata(usize, usize, u8),
    Wait(u64),
    Poll,
}

fn steps() -> impl Strategy<Value = Step> {
    let who = || (0usize..3, 0usize..4);
    prop_oneof![
        4 => (who(), statuses(), 0i64..5).prop_map(|((a, i), s, d)| Step::Register(a, i, s, d)),
        2 => who().prop_map(|(a, i)| Step::Renew(a, i)),
        2 => who().prop_map(|(a, i)| Step::Cancel(a, i)),
        2 => (who(), statuses()).prop_map(|((a, i), s)| Step::Override(a, i, s)),
        1 => who().prop_map(|(a, i)| Step::Restore(a, i)),
        1 => (who(), any::<u8>()).prop_map(|((a, i), v)| Step::Metadata(a, i, v)),
        1 => (1u64..100).prop_map(Step::Wait),
        3 => Just(Step::Poll),
    ]
}

fn knowledge(view: &View) -> Vec<Knowledge> {
    let of = |name| match view.knowledge(name) {
        // A view that saw a removal knows a later time of change than one that did not.
        Knowledge::Service {
            name,
            instances,
            quarantined,
            ..
        } => Knowledge::Service {
            name,
            instances,
            quarantined,
            changed: None,
        },
        other => other,
    };
    view.names().map(of).collect()
}

fn over_the_wire(answer: &Applications, format: Format) -> Applications {
    read::applications(&write::applications(answer, format, Detail::Full), format).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens to a registry: who polls its deltas within their window knows what a full fetch
    /// says, the hash agrees, and a reader woken by changes alone knows it too.
    #[test]
    fn deltas_and_hash_lead_to_the_full_state(steps in proptest::collection::vec(steps(), 1..80)) {
        let mut book = Book::new(Limits::default());
        let (mut now, mut last_poll, mut version) = (0u64, 0u64, 0u64);
        let mut view = View::of(over_the_wire(&book.all(), Format::Json), EurekaAddress::Ip);
        let app = |a: usize| ["ORDERS", "STOCK", "SHOP"][a];
        let id = |i: usize| ["a", "b", "c", "d"][i];
        for step in steps.into_iter().chain([Step::Poll]) {
            now += 1;
            let moment = at(now);
            match step {
                Step::Register(a, i, status, dirty) => {
                    let mut record = info(app(a), id(i), status);
                    record.last_dirty = Some(START + dirty);
                    book.register(app(a), record, moment).unwrap();
                }
                Step::Renew(a, i) => { let _ = book.renew(app(a), id(i), None, moment); }
                Step::Cancel(a, i) => { let _ = book.cancel(app(a), id(i), moment); }
                Step::Override(a, i, status) => { let _ = book.set_override(app(a), id(i), status, None, moment); }
                Step::Restore(a, i) => { let _ = book.remove_override(app(a), id(i), Some(Status::Up), None, moment); }
                Step::Metadata(a, i, value) => {
                    let _ = book.add_metadata(app(a), id(i), [("v".to_owned(), value.to_string())], moment);
                }
                Step::Wait(seconds) => {
                    // Nobody may miss the window of a delta: that is what the follower's pace is for.
                    now = (now + seconds).min(last_poll + 170);
                    book.expire(at(now));
                }
                Step::Poll => {
                    let moved: Vec<String> = book.changed_since(version).map(str::to_lowercase).collect();
                    version = book.version();
                    let delta = over_the_wire(&book.delta(at(now)), if now % 2 == 0 { Format::Json } else { Format::Xml });
                    let hash = delta.hash.clone();
                    let changed = view.apply(delta);
                    prop_assert_eq!(view.disagreement(hash.as_deref()), None);
                    let full = View::of(over_the_wire(&book.all(), Format::Json), EurekaAddress::Ip);
                    prop_assert_eq!(full.disagreement(hash.as_deref()), None);
                    prop_assert_eq!(knowledge(&view), knowledge(&full));
                    for name in &changed {
                        prop_assert!(!full.has(name) || moved.iter().any(|one| **one == **name));
                    }
                    last_poll = now;
                }
            }
            if now > last_poll + 170 {
                last_poll = now;
                view = View::of(book.all(), EurekaAddress::Ip);
            }
        }
    }
}
