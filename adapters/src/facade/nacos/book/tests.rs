use proptest::prelude::*;

use super::*;

fn at(steady: u64) -> Moment {
    Moment {
        steady,
        wall: 1_700_000_000_000,
    }
}

fn key(service: &str) -> Key {
    Key::new("", "", service, &Limits::default()).unwrap()
}

fn book() -> Book {
    let mut book = Book::new(PUBLIC, Limits::default(), 100);
    book.connect(1);
    book.connect(2);
    book
}

fn ports(book: &Book, service: &str) -> Vec<u16> {
    let (info, _) = book.info(&key(service), &Asked::default(), at(0));
    let hosts = info["hosts"].as_array().unwrap().iter();
    hosts.map(|host| host["port"].as_u64().unwrap() as u16).collect()
}

fn one(port: u16) -> Vec<Record> {
    vec![Record::at("10.0.0.1", port)]
}

#[test]
fn names_are_read_as_nacos_clients_write_them() {
    let read = |group, service| Key::new("", group, service, &Limits::default());
    assert_eq!(read("", "orders").unwrap().grouped(), "DEFAULT_GROUP@@orders");
    assert_eq!(read("blue", "orders").unwrap().grouped(), "blue@@orders");
    assert_eq!(read("", "blue@@orders").unwrap(), read("blue", "orders").unwrap());
    assert_eq!(&*read("", "orders").unwrap().namespace, "public");
    let long = "x".repeat(600);
    for bad in ["", " ", "blue@@", "a@@b@@c", "a\nb", &long] {
        assert!(matches!(read("", bad), Err(Refusal::Invalid(_))), "{bad}");
    }
}

#[test]
fn what_is_on_a_connection_is_replaced_by_the_next_registration_and_ends_with_it() {
    let mut book = book();
    book.register(1, &key("a"), one(1), at(0)).unwrap();
    book.register(2, &key("a"), one(2), at(0)).unwrap();
    assert_eq!(ports(&book, "a"), [1, 2]);
    let mark = book.mark_of(&key("a"));
    book.register(1, &key("a"), one(1), at(1)).unwrap();
    assert_eq!(book.mark_of(&key("a")), mark, "the same again is no change");
    book.register(1, &key("a"), one(3), at(1)).unwrap();
    assert_eq!(ports(&book, "a"), [2, 3]);
    assert!(book.mark_of(&key("a")) > mark);
    book.leave(1, at(2));
    assert_eq!((ports(&book, "a"), book.len()), (vec![2], 1));
    assert_eq!(book.register(1, &key("a"), one(1), at(2)), Err(Refusal::Unregistered));
    book.deregister(2, &key("a"), &one(2)[0], at(3)).unwrap();
    assert!(ports(&book, "a").is_empty() && book.is_empty());
    // Who is subscribed is told; after a minute nobody needs to be.
    assert!(book.mark_of(&key("a")) > mark);
    book.expire(at(3 + EMPTY_KEPT));
    assert_eq!(book.mark_of(&key("a")), 0);
    assert!(book.names.is_empty());
}

#[test]
fn after_a_restart_a_connections_instances_stand_until_their_client_is_back_or_their_time_is_over() {
    let mut before = book();
    before.register(1, &key("a"), one(1), at(0)).unwrap();
    before.register(2, &key("a"), one(2), at(0)).unwrap();
    before
        .beat_register(&key("a"), Record::at("10.0.0.1", 3), at(0))
        .unwrap();
    before.mirror(&key("m"), one(9), at(0));
    let saved: Saved = serde_json::from_str(&serde_json::to_string(&before.saved()).unwrap()).unwrap();
    let mut book = Book::new(PUBLIC, Limits::default(), 1000);
    assert_eq!(book.restore(saved, at(0)), 0);
    assert_eq!((ports(&book, "a"), ports(&book, "m")), (vec![1, 2, 3], vec![]));
    book.connect(7);
    book.register(7, &key("a"), one(1), at(5000)).unwrap();
    assert!(book.beat(&key("a"), "10.0.0.1#3#DEFAULT", at(20_000)));
    assert_eq!(book.expire(at(29_999)), 0);
    assert_eq!(ports(&book, "a"), [1, 2, 3]);
    assert_eq!(book.expire(at(30_000)), 1);
    assert_eq!(ports(&book, "a"), [1, 3]);
    book.leave(7, at(30_001));
    assert_eq!(
        ports(&book, "a"),
        [3],
        "it was taken over, so it ends with its connection"
    );
}

#[test]
fn whoever_deregisters_before_it_has_registered_again_takes_away_what_was_left() {
    let mut before = book();
    before.register(1, &key("a"), one(1), at(0)).unwrap();
    let mut book = Book::new(PUBLIC, Limits::default(), 1000);
    book.restore(before.saved(), at(0));
    book.connect(1);
    book.deregister(1, &key("a"), &one(1)[0], at(1)).unwrap();
    assert!(ports(&book, "a").is_empty());
}

#[test]
fn without_beats_an_instance_is_unhealthy_then_gone() {
    let mut book = book();
    let id = "10.0.0.1#1#DEFAULT";
    assert!(!book.beat(&key("a"), id, at(0)));
    book.beat_register(&key("a"), one(1).remove(0), at(0)).unwrap();
    let healthy = |book: &Book| book.instance(&key("a"), id).map(|record| record.healthy);
    book.expire(at(14_999));
    assert_eq!(healthy(&book), Some(true));
    book.expire(at(15_000));
    assert_eq!(healthy(&book), Some(false));
    let only = Asked {
        healthy_only: true,
        ..Asked::default()
    };
    assert_eq!(book.info(&key("a"), &only, at(0)).0["hosts"], serde_json::json!([]));
    assert!(book.beat(&key("a"), id, at(16_000)));
    assert_eq!(healthy(&book), Some(true));
    assert_eq!(book.expire(at(46_000)), 1);
    assert_eq!(healthy(&book), None);
}

#[test]
fn its_own_timeouts_count() {
    let mut book = book();
    let mut record = Record::at("10.0.0.1", 1);
    for (key, ms) in [("interval", "100"), ("timeout", "200")] {
        record
            .metadata
            .insert(format!("preserved.heart.beat.{key}"), ms.to_owned());
    }
    record
        .metadata
        .insert("preserved.ip.delete.timeout".to_owned(), "300".to_owned());
    book.beat_register(&key("a"), record, at(0)).unwrap();
    assert_eq!(book.expire(at(299)), 0);
    assert_eq!(book.expire(at(300)), 1);
}

#[test]
fn switched_off_and_other_clusters_are_not_shown_to_callers() {
    let mut book = book();
    let mut off = Record::at("10.0.0.1", 1);
    off.enabled = false;
    let mut other = Record::at("10.0.0.1", 2);
    other.cluster = "C".to_owned();
    book.register(1, &key("a"), vec![off, other], at(0)).unwrap();
    assert_eq!(ports(&book, "a"), [2]);
    let of = |clusters: &str| {
        let asked = Asked {
            clusters: clusters.to_owned(),
            ..Asked::default()
        };
        book.info(&key("a"), &asked, at(0)).0["hosts"].as_array().unwrap().len()
    };
    assert_eq!((of("DEFAULT"), of("C"), of("DEFAULT, C"), of(",")), (0, 1, 1, 1));
    assert_eq!(book.native_info("a")[0].1["hosts"].as_array().unwrap().len(), 2);
}

#[test]
fn a_mirrored_record_gives_way_to_a_native_one_and_comes_back_after_it() {
    let mut book = book();
    let mut mirrored = Record::at("10.0.0.1", 1);
    mirrored.metadata.insert("from".to_owned(), "elsewhere".to_owned());
    book.mirror(&key("a"), vec![mirrored], at(0));
    assert!(book.native_names().is_empty() && book.native_info("a").is_empty());
    book.register(1, &key("a"), one(1), at(0)).unwrap();
    let from = |book: &Book| book.info(&key("a"), &Asked::default(), at(0)).0["hosts"][0]["metadata"]["from"].clone();
    assert_eq!(from(&book), serde_json::Value::Null);
    book.leave(1, at(1));
    assert_eq!(from(&book), "elsewhere");
    book.mirror(&key("a"), Vec::new(), at(1));
    assert!(!book.has(&key("a")));
}

#[test]
fn pages_hold_the_names_of_one_group() {
    let mut book = book();
    for service in ["a", "b", "blue@@c", "d"] {
        book.register(1, &key(service), one(1), at(0)).unwrap();
    }
    let page = |page, size| {
        let (count, names) = book.page("public", "DEFAULT_GROUP", page, size);
        (
            count,
            names.iter().map(|name| name.to_string()).collect::<Vec<_>>().join(","),
        )
    };
    assert_eq!(page(1, usize::MAX), (3, "a,b,d".to_owned()));
    assert_eq!(page(2, 2), (3, "d".to_owned()));
    assert_eq!(page(0, 1), (3, "a".to_owned()));
    assert_eq!(page(usize::MAX, usize::MAX), (3, String::new()));
    assert_eq!(book.page("public", "blue", 1, 10).0, 1);
    assert_eq!(book.page("other", "DEFAULT_GROUP", 1, 10).0, 0);
}

#[test]
fn what_is_too_much_is_refused_and_leaves_everything_as_it_was() {
    let limits = Limits {
        instances: 3,
        batch: 2,
        services: 2,
        ..Limits::default()
    };
    let mut book = Book::new(PUBLIC, limits, 1);
    book.connect(1);
    book.connect(2);
    let three: Vec<Record> = (1..4).map(|port| Record::at("a", port)).collect();
    assert!(matches!(
        book.register(1, &key("a"), three.clone(), at(0)),
        Err(Refusal::Full(_))
    ));
    book.register(1, &key("a"), three[..2].to_vec(), at(0)).unwrap();
    book.register(1, &key("b"), three[..1].to_vec(), at(0)).unwrap();
    assert!(matches!(
        book.register(1, &key("c"), one(1), at(0)),
        Err(Refusal::Full(_))
    ));
    assert!(matches!(
        book.register(2, &key("c"), one(1), at(0)),
        Err(Refusal::Full(_))
    ));
    assert!(matches!(
        book.beat_register(&key("c"), Record::at("a", 1), at(0)),
        Err(Refusal::Full(_))
    ));
    // Instead of two, one: that is less.
    book.register(1, &key("a"), one(7), at(0)).unwrap();
    book.register(2, &key("c"), one(1), at(0)).unwrap();
    assert_eq!(book.len(), 3);
}

#[test]
fn persistent_instances_are_refused_with_what_to_do() {
    let mut book = book();
    let mut record = Record::at("10.0.0.1", 1);
    record.ephemeral = false;
    for refused in [
        book.register(1, &key("a"), vec![record.clone()], at(0)),
        book.beat_register(&key("a"), record.clone(), at(0)),
    ] {
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("ephemeral=true"), "{text}");
    }
}

#[derive(Clone, Debug)]
enum Act {
    Connect(u64),
    Leave(u64),
    Register(u64, u8, Vec<u16>),
    Deregister(u64, u8, u16),
    Beat(u8, u16),
    BeatRegister(u8, u16),
    BeatRemove(u8, u16),
    Mirror(u8, Vec<u16>),
    Wait(u64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let (service, port) = (0..3_u8, 1..4_u16);
    let some = || proptest::collection::vec(1..4_u16, 0..3);
    prop_oneof![
        (0..3_u64).prop_map(Act::Connect),
        (0..3_u64).prop_map(Act::Leave),
        (0..3_u64, service.clone(), some()).prop_map(|(c, s, p)| Act::Register(c, s, p)),
        (0..3_u64, service.clone(), port.clone()).prop_map(|(c, s, p)| Act::Deregister(c, s, p)),
        (service.clone(), port.clone()).prop_map(|(s, p)| Act::Beat(s, p)),
        (service.clone(), port.clone()).prop_map(|(s, p)| Act::BeatRegister(s, p)),
        (service.clone(), port).prop_map(|(s, p)| Act::BeatRemove(s, p)),
        (service, some()).prop_map(|(s, p)| Act::Mirror(s, p)),
        (0..40_000_u64).prop_map(Act::Wait),
        Just(Act::Restart),
    ]
}

proptest! {
    #[test]
    fn whatever_is_done_what_is_counted_is_there_and_what_changes_is_marked(acts in proptest::collection::vec(act(), 0..60)) {
        let mut book = book();
        let mut clock = 0;
        for act in acts {
            let name = |service: u8| key(&format!("s{service}"));
            let shown = |book: &Book| (0..3).map(|s| ports(book, &format!("s{s}"))).collect::<Vec<_>>();
            let (before, marks) = (shown(&book), [0, 1, 2].map(|s| book.mark_of(&name(s))));
            let records = |ports: Vec<u16>| ports.into_iter().map(|port| Record::at("10.0.0.1", port)).collect();
            match act {
                Act::Connect(c) => book.connect(c),
                Act::Leave(c) => book.leave(c, at(clock)),
                Act::Register(c, s, p) => drop(book.register(c, &name(s), records(p), at(clock))),
                Act::Deregister(c, s, p) => drop(book.deregister(c, &name(s), &Record::at("10.0.0.1", p), at(clock))),
                Act::Beat(s, p) => drop(book.beat(&name(s), &Record::at("10.0.0.1", p).id(), at(clock))),
                Act::BeatRegister(s, p) => drop(book.beat_register(&name(s), Record::at("10.0.0.1", p), at(clock))),
                Act::BeatRemove(s, p) => book.beat_remove(&name(s), &Record::at("10.0.0.1", p).id(), at(clock)),
                Act::Mirror(s, p) => book.mirror(&name(s), records(p), at(clock)),
                Act::Wait(ms) => {
                    clock += ms;
                    book.expire(at(clock));
                }
                Act::Restart => {
                    let saved = book.saved();
                    let version = book.version();
                    book = Book::new(PUBLIC, Limits::default(), version + 1);
                    prop_assert_eq!(book.restore(saved, at(clock)), 0);
                    continue;
                }
            }
            let counted: usize = book.services.values().map(Service::natives).sum();
            prop_assert_eq!(book.len(), counted);
            for (at, (before, after)) in before.iter().zip(shown(&book)).enumerate() {
                let service = name(u8::try_from(at).unwrap());
                let forgotten = !book.services.contains_key(&service);
                if *before != after {
                    prop_assert!(book.mark_of(&service) > marks[at]);
                }
                prop_assert!(!forgotten || after.is_empty());
            }
        }
    }
}
