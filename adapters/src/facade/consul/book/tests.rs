use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn at(seconds: u64) -> Moment {
    Moment {
        steady: seconds * 1000,
        wall: 1_700_000_000_000,
    }
}

fn book() -> Book {
    let identity = Identity {
        datacenter: "dc1".to_owned(),
        node: "landfall".to_owned(),
        address: "127.0.0.1".to_owned(),
        id: "u".to_owned(),
    };
    Book::new(identity, Limits::default(), 1000)
}

fn service(name: &str, id: &str) -> Service {
    Service {
        id: id.to_owned(),
        name: name.to_owned(),
        address: "10.0.0.1".to_owned(),
        port: 8080,
        weights: (1, 1),
        ..Service::default()
    }
}

fn check(service: &str, probe: Probe, status: Health) -> Check {
    Check {
        id: format!("service:{service}"),
        name: "c".to_owned(),
        status,
        notes: String::new(),
        output: String::new(),
        service: service.to_owned(),
        probe,
        interval: 1000,
        timeout: 1000,
        deregister_after: 0,
        good_before: 0,
        bad_before: 0,
    }
}

fn ttl(service: &str) -> Check {
    check(service, Probe::Ttl(30_000), Health::Passing)
}

fn of(name: &str) -> Watch {
    Watch::Service(name.to_owned())
}

fn ids(list: &Json) -> Vec<&str> {
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| row["Service"]["ID"].as_str().unwrap()).collect()
}

fn healthy(book: &Book, name: &str) -> usize {
    let filter = Filter {
        passing: true,
        ..Filter::default()
    };
    book.health_service(name, &filter).as_array().unwrap().len()
}

#[test]
fn a_service_lives_its_life_and_every_index_moves_forward() {
    let mut book = book();
    let before = book.index_of(&of("orders"));
    book.register(service("orders", "o1"), vec![ttl("o1")], true, at(0))
        .unwrap();
    let registered = book.index_of(&of("orders"));
    assert!(registered > before);
    assert_eq!(ids(&book.health_service("orders", &Filter::default())), ["o1"]);
    assert_eq!(book.listing(&Filter::default()), json(r#"{"orders":[]}"#));

    book.update_check("service:o1", Health::Warning, "slow", at(1)).unwrap();
    let warned = book.index_of(&of("orders"));
    assert!(warned > registered);
    assert_eq!(healthy(&book, "orders"), 0, "passing alone is wanted");
    book.update_check("service:o1", Health::Warning, "slower", at(2))
        .unwrap();
    assert_eq!(
        book.index_of(&of("orders")),
        warned,
        "other words about the same status wake nobody"
    );

    book.deregister("o1").unwrap();
    assert!(book.index_of(&of("orders")) > warned);
    assert_eq!(book.health_service("orders", &Filter::default()), json("[]"));
    assert_eq!(book.agent_checks(), json("{}"));
    assert!(matches!(book.deregister("o1"), Err(Refusal::Unknown(_))));
    assert!(matches!(
        book.update_check("service:o1", Health::Passing, "", at(3)),
        Err(Refusal::Unknown(_))
    ));
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

#[test]
fn only_what_changed_moves_its_index() {
    let mut book = book();
    book.register(service("orders", "o1"), vec![ttl("o1")], true, at(0))
        .unwrap();
    book.register(service("stock", "s1"), vec![ttl("s1")], true, at(0))
        .unwrap();
    let all = [of("orders"), Watch::Listing, Watch::Checks, of("stock"), Watch::Nodes];
    let read = |book: &Book| all.clone().map(|watch| book.index_of(&watch));
    let before = read(&book);
    book.update_check("service:s1", Health::Critical, "", at(1)).unwrap();
    let after = read(&book);
    assert_eq!((after[0], after[1], after[4]), (before[0], before[1], before[4]));
    assert!(after[2] > before[2] && after[3] > before[3]);

    let before = after;
    book.register(service("stock", "s1"), vec![ttl("s1")], true, at(2))
        .unwrap();
    assert_eq!(read(&book), before, "registered again just so");
    let tagged = Service {
        tags: vec!["blue".to_owned()],
        ..service("stock", "s1")
    };
    book.register(tagged, vec![ttl("s1")], true, at(2)).unwrap();
    assert!(book.index_of(&Watch::Listing) > before[1]);
    assert_eq!(book.index_of(&of("orders")), before[0]);
}

#[test]
fn a_ttl_that_is_not_renewed_expires_and_its_service_goes_when_that_lasts() {
    let mut book = book();
    let mut check = ttl("o1");
    check.deregister_after = 60_000;
    book.register(service("orders", "o1"), vec![check], true, at(0))
        .unwrap();
    assert_eq!(book.expire(at(29)), (0, 0));
    book.update_check("service:o1", Health::Passing, "", at(29)).unwrap();
    assert_eq!(book.expire(at(58)), (0, 0));
    assert_eq!(book.expire(at(60)), (1, 0));
    assert_eq!(healthy(&book, "orders"), 0);
    assert_eq!(book.expire(at(119)), (0, 0));
    assert_eq!(book.expire(at(121)), (0, 1));
    assert!(book.is_empty());
}

#[test]
fn registering_again_keeps_the_status_and_renews_the_ttl() {
    let mut book = book();
    let critical = check("o1", Probe::Ttl(30_000), Health::Critical);
    book.register(service("orders", "o1"), vec![critical.clone()], true, at(0))
        .unwrap();
    book.update_check("service:o1", Health::Passing, "", at(1)).unwrap();
    book.register(service("orders", "o1"), vec![critical], true, at(25))
        .unwrap();
    assert_eq!(healthy(&book, "orders"), 1);
    assert_eq!(book.expire(at(50)), (0, 0));
    assert_eq!(book.expire(at(56)), (1, 0));
}

#[test]
fn maintenance_takes_out_and_puts_back() {
    let mut book = book();
    book.register(service("orders", "o1"), Vec::new(), true, at(0)).unwrap();
    assert_eq!(healthy(&book, "orders"), 1);
    book.maintain("o1", true, "tea", at(1)).unwrap();
    assert_eq!(healthy(&book, "orders"), 0);
    let (_, maintained, body) = book.agent_health("o1").unwrap();
    assert!(maintained);
    assert_eq!(body["AggregatedStatus"], "maintenance");
    // A registration without the check does not end it.
    book.register(service("orders", "o1"), Vec::new(), true, at(2)).unwrap();
    assert_eq!(healthy(&book, "orders"), 0);
    book.maintain("o1", false, "", at(3)).unwrap();
    assert_eq!(healthy(&book, "orders"), 1);
    assert!(matches!(book.maintain("o2", true, "", at(3)), Err(Refusal::Unknown(_))));
    book.maintain_node(true, "", at(4));
    assert_eq!(
        healthy(&book, "orders"),
        0,
        "a check of the node stands with each of its services"
    );
}

#[test]
fn probes_are_due_once_and_count_only_for_the_check_they_were_made_for() {
    let mut book = book();
    let tcp = |port: u16| Check {
        bad_before: 2,
        ..check("o1", Probe::Tcp(format!("127.0.0.1:{port}")), Health::Critical)
    };
    book.register(service("orders", "o1"), vec![tcp(1)], true, at(0))
        .unwrap();
    let due = book.due(at(2));
    assert_eq!(due.len(), 1);
    assert_eq!(book.due(at(9)), [], "it is under way");
    book.found(&due[0], Health::Passing, "ok", at(9));
    assert_eq!(healthy(&book, "orders"), 1);
    let again = book.due(at(10));
    book.found(&again[0], Health::Critical, "no", at(10));
    assert_eq!(healthy(&book, "orders"), 1, "one bad result is not enough");
    let third = book.due(at(12));
    book.register(service("orders", "o1"), vec![tcp(2)], true, at(12))
        .unwrap();
    book.found(&third[0], Health::Critical, "late", at(12));
    assert_eq!(healthy(&book, "orders"), 1, "the check is another one by now");
}

#[test]
fn the_catalog_takes_external_nodes_and_leaves_alone_what_the_agent_keeps() {
    let mut book = book();
    book.register(service("orders", "o1"), Vec::new(), true, at(0)).unwrap();
    let node = Node {
        address: "10.9.9.9".to_owned(),
        ..Node::default()
    };
    let stated = check("e1", Probe::Stated, Health::Passing);
    book.catalog_register(
        "ext",
        node.clone(),
        false,
        Some(service("billing", "e1")),
        vec![stated],
        at(0),
    )
    .unwrap();
    assert_eq!(healthy(&book, "billing"), 1);
    assert_eq!(book.catalog_nodes(&Filter::default()).as_array().unwrap().len(), 2);
    book.catalog_deregister("landfall", None, None);
    assert_eq!(healthy(&book, "orders"), 1, "the agent would bring it back");
    book.catalog_deregister("ext", Some("e1"), None);
    assert_eq!(book.health_service("billing", &Filter::default()), json("[]"));
    book.catalog_deregister("ext", None, None);
    assert_eq!(book.catalog_nodes(&Filter::default()).as_array().unwrap().len(), 1);
    let orphan = check("nobody", Probe::Stated, Health::Passing);
    let refused = book.catalog_register("ext", node, false, None, vec![orphan], at(0));
    assert!(matches!(refused, Err(Refusal::Invalid(_))));
}

#[test]
fn what_is_mirrored_is_shown_but_cannot_be_touched_and_a_native_record_wins() {
    let mut book = book();
    let mirrored = |name: &str, id: &str| Mirrored {
        node: "eureka".to_owned(),
        node_address: "10.0.0.9".to_owned(),
        checks: vec![check(id, Probe::Stated, Health::Passing)],
        service: service(name, id),
    };
    book.mirror(
        "orders",
        vec![mirrored("orders", "o1"), mirrored("orders", "o2")],
        at(0),
    );
    // The same id in another service of the same node.
    book.mirror("stock", vec![mirrored("stock", "o1")], at(0));
    assert_eq!(ids(&book.health_service("orders", &Filter::default())), ["o1", "o2"]);
    assert_eq!(ids(&book.health_service("stock", &Filter::default())), ["stock:o1"]);
    assert_eq!(healthy(&book, "stock"), 1);
    let index = book.version();
    book.mirror(
        "orders",
        vec![mirrored("orders", "o1"), mirrored("orders", "o2")],
        at(1),
    );
    book.mirror("stock", vec![mirrored("stock", "o1")], at(1));
    assert_eq!(book.version(), index, "nothing has changed");
    assert!(book.native_service("orders").is_none());
    assert!(matches!(book.deregister("o1"), Err(Refusal::Unknown(_))));
    book.mirror("orders", vec![mirrored("orders", "o2")], at(2));
    book.mirror("stock", Vec::new(), at(2));
    assert_eq!(ids(&book.health_service("orders", &Filter::default())), ["o2"]);
    assert_eq!(book.mirrored_names().len(), 1);
    book.mirror("orders", Vec::new(), at(3));
    assert_eq!(book.catalog_nodes(&Filter::default()).as_array().unwrap().len(), 1);
}

#[test]
fn a_restart_keeps_everything_and_gives_every_ttl_another_turn() {
    let mut book = book();
    book.register(service("orders", "o1"), vec![ttl("o1")], true, at(0))
        .unwrap();
    book.maintain("o1", true, "tea", at(1)).unwrap();
    let node = Node {
        address: "10.9.9.9".to_owned(),
        ..Node::default()
    };
    book.catalog_register("ext", node, false, Some(service("billing", "e1")), Vec::new(), at(1))
        .unwrap();
    book.kv_put("a/b", "eA==".to_owned(), 7, None).unwrap();
    let text = serde_json::to_string(&book.saved()).unwrap();
    let saved: Saved = serde_json::from_str(&text).unwrap();
    let identity = book.identity().clone();
    let mut again = Book::new(identity, Limits::default(), saved.index + 100_000);
    again.restore(saved, at(0));
    let bare = |mut list: Json| {
        for row in list.as_array_mut().unwrap() {
            strip(row);
        }
        list
    };
    for name in ["orders", "billing"] {
        let show = |book: &Book| bare(book.health_service(name, &Filter::default()));
        assert_eq!(show(&again), show(&book));
        assert!(again.index_of(&of(name)) > book.index_of(&of(name)));
    }
    assert_eq!(again.kv_get("a/b"), book.kv_get("a/b"));
    assert_eq!(again.expire(at(29)), (0, 0));
    assert_eq!(again.expire(at(31)), (1, 0));
}

/// Takes indexes and outputs out, which may differ without a change.
fn strip(value: &mut Json) {
    match value {
        Json::Object(fields) => {
            for name in ["CreateIndex", "ModifyIndex", "Output"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(strip);
        }
        Json::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn keys_are_compared_and_set_listed_and_removed_by_prefix() {
    let mut book = book();
    assert_eq!(book.kv_put("a/x", "MQ==".to_owned(), 0, Some(5)), Ok(false));
    assert_eq!(book.kv_put("a/x", "MQ==".to_owned(), 0, Some(0)), Ok(true));
    let index = book.kv_get("a/x").unwrap().modified;
    assert_eq!(book.kv_put("a/x", "Mg==".to_owned(), 0, Some(index)), Ok(true));
    assert_eq!(book.kv_put("a/x", "Mw==".to_owned(), 0, Some(index)), Ok(false));
    book.kv_put("a/y", String::new(), 0, None).unwrap();
    book.kv_put("b", String::new(), 0, None).unwrap();
    let names: Vec<_> = book.kv_under("a/").map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a/x", "a/y"]);
    let before = book.index_of(&Watch::Key("a/x".to_owned()));
    assert!(book.kv_delete("a/", true, None));
    assert!(book.index_of(&Watch::Key("a/x".to_owned())) > before);
    assert_eq!(book.kv_under("").count(), 1);
}

#[test]
fn a_full_registry_and_records_against_the_rules_are_refused() {
    let mut book = book();
    book.limits.instances = 1;
    book.register(service("a", "1"), Vec::new(), true, at(0)).unwrap();
    book.register(service("a", "1"), Vec::new(), true, at(0)).unwrap();
    let refused = book.register(service("a", "2"), Vec::new(), true, at(0));
    assert!(matches!(refused, Err(Refusal::Full(_))));
    for (key, value) in [
        ("a.b", "x"),
        ("", "x"),
        ("k", &"v".repeat(513)),
        (&"k".repeat(129), "v"),
    ] {
        let bad = Service {
            meta: [(key.to_owned(), value.to_owned())].into(),
            ..service("a", "1")
        };
        let refused = book.register(bad, Vec::new(), true, at(0)).unwrap_err().to_string();
        assert!(refused.starts_with("Invalid Service Meta"), "{refused}");
    }
}

#[derive(Clone, Debug)]
enum Act {
    Register(usize, usize, usize),
    Deregister(usize),
    Update(usize, usize),
    Maintain(usize, bool),
    Node(bool),
    Mirror(usize, Vec<usize>),
    Catalog(usize, usize),
    CatalogGone(usize),
    Tick(u64),
    Put(usize),
    Remove(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let one = prop_oneof![
        4 => (0..3_usize, 0..4_usize, 0..3_usize).prop_map(|(name, id, tag)| Act::Register(name, id, tag)),
        2 => (0..4_usize).prop_map(Act::Deregister),
        4 => (0..4_usize, 0..3_usize).prop_map(|(id, status)| Act::Update(id, status)),
        1 => (0..4_usize, any::<bool>()).prop_map(|(id, on)| Act::Maintain(id, on)),
        1 => any::<bool>().prop_map(Act::Node),
        2 => (0..3_usize, prop::collection::vec(0..4_usize, 0..3)).prop_map(|(name, ids)| Act::Mirror(name, ids)),
        2 => (0..3_usize, 0..3_usize).prop_map(|(name, id)| Act::Catalog(name, id)),
        1 => (0..3_usize).prop_map(Act::CatalogGone),
        2 => (1..90_u64).prop_map(Act::Tick),
        1 => (0..3_usize).prop_map(Act::Put),
        1 => (0..3_usize).prop_map(Act::Remove),
    ];
    prop::collection::vec(one, 1..60)
}

const NAMES: [&str; 3] = ["orders", "stock", "billing"];
const STATES: [Health; 3] = [Health::Passing, Health::Warning, Health::Critical];

fn perform(book: &mut Book, act: &Act, clock: &mut u64) {
    let now = at(*clock);
    let key = |n: usize| format!("i{n}");
    // Refusals are part of the game: what does not exist cannot be updated.
    match act {
        Act::Register(name, id, tag) => {
            let tags = vec![format!("t{tag}")];
            let one = Service {
                tags,
                ..service(NAMES[*name], &key(*id))
            };
            let mut check = ttl(&key(*id));
            check.deregister_after = 60_000;
            let _ = book.register(one, vec![check], true, now);
        }
        Act::Deregister(id) => drop(book.deregister(&key(*id))),
        Act::Update(id, status) => {
            let _ = book.update_check(&format!("service:{}", key(*id)), STATES[*status], "said", now);
        }
        Act::Maintain(id, on) => drop(book.maintain(&key(*id), *on, "", now)),
        Act::Node(on) => book.maintain_node(*on, "", now),
        Act::Mirror(name, ids) => {
            let all = ids.iter().map(|id| Mirrored {
                node: "eureka".to_owned(),
                node_address: "10.0.0.9".to_owned(),
                checks: vec![check(&key(*id), Probe::Stated, STATES[*id % 3])],
                service: service(NAMES[*name], &key(*id)),
            });
            book.mirror(NAMES[*name], all.collect(), now);
        }
        Act::Catalog(name, id) => {
            let node = Node {
                address: "10.9.9.9".to_owned(),
                ..Node::default()
            };
            let _ = book.catalog_register(
                "ext",
                node,
                false,
                Some(service(NAMES[*name], &key(*id))),
                Vec::new(),
                now,
            );
        }
        Act::CatalogGone(id) => book.catalog_deregister("ext", Some(&key(*id)), None),
        Act::Tick(seconds) => {
            *clock += seconds;
            book.expire(at(*clock));
        }
        Act::Put(id) => drop(book.kv_put(&key(*id), format!("{clock}"), 0, None)),
        Act::Remove(id) => drop(book.kv_delete(&key(*id), false, None)),
    }
}

fn shown(book: &Book) -> Vec<(Watch, u64, Json)> {
    let all = Filter::default();
    let bare = |mut body: Json| {
        strip(&mut body);
        body
    };
    let mut rows = vec![
        (Watch::Listing, book.listing(&all)),
        (Watch::Nodes, book.catalog_nodes(&all)),
        (Watch::Checks, book.health_state(None)),
    ];
    rows.extend(NAMES.map(|name| (of(name), book.health_service(name, &all))));
    for n in 0..3 {
        let key = format!("i{n}");
        let value = serde_json::to_value(book.kv_get(&key)).unwrap();
        rows.push((Watch::Key(key), value));
    }
    rows.into_iter()
        .map(|(watch, body)| (watch.clone(), book.index_of(&watch), bare(body)))
        .collect()
}

proptest! {
    #[test]
    fn indexes_never_go_backwards_and_a_query_wakes_when_and_only_when_what_it_shows_has_changed(acts in acts()) {
        let mut book = book();
        let mut clock = 0;
        let mut before = shown(&book);
        for act in &acts {
            perform(&mut book, act, &mut clock);
            let after = shown(&book);
            for ((watch, old, was), (_, new, is)) in before.iter().zip(&after) {
                prop_assert!(new >= old, "{act:?}: {watch:?} went from {old} to {new}");
                prop_assert!(was == is || new > old, "{act:?}: {watch:?} has changed and would not wake: {was} {is}");
                // A name that nobody has also wakes when another one goes, as in Consul; so does a missing key.
                // Moving there and back within one operation (a check that changes its service) is a change.
                let exact = matches!(watch, Watch::Listing) || matches!(watch, Watch::Nodes);
                if exact && was == is {
                    prop_assert!(new == old, "{act:?}: {watch:?} wakes for nothing");
                }
                if let (Watch::Service(name), true, true) = (watch, was == is, *is != json("[]")) {
                    let mine = match act {
                        Act::Register(n, ..) | Act::Mirror(n, _) | Act::Catalog(n, _) => NAMES[*n] == name,
                        Act::Deregister(_) | Act::Update(..) | Act::Maintain(..) | Act::Node(_) | Act::CatalogGone(_)
                            | Act::Tick(_) => true,
                        Act::Put(_) | Act::Remove(_) => false,
                    };
                    prop_assert!(new == old || mine, "{act:?}: {watch:?} wakes for another's change");
                }
            }
            before = after;
        }
        // A restart: nothing is lost and nothing goes backwards.
        let saved = book.saved();
        let mut again = Book::new(book.identity().clone(), Limits::default(), saved.index + 1);
        again.restore(saved, at(0));
        for ((watch, old, _), (_, new, _)) in before.iter().zip(shown(&again)) {
            // A key keeps the index of its last change, which is what compare-and-set looks at.
            prop_assert!(new >= *old, "after a restart: {watch:?} went from {old} to {new}");
        }
        prop_assert_eq!(again.native_names(), book.native_names());
    }
}
