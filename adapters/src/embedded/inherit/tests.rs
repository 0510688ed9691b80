use std::time::SystemTime;

use landfall_model::{Host, Port, Protocol, RegistryName, Service, ServiceId, Status};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    embedded::Embedded,
    facade::{consul::record::Health, shared::Moment, traffic::Board},
    publish::mark::Mark,
};

fn instance(id: &str, port: u16, status: Status) -> Instance {
    Instance {
        id: id.into(),
        host: Host::parse("127.0.0.1"),
        ports: vec![Port {
            number: port,
            protocol: Protocol::Unknown,
            tls: false,
        }],
        status,
        weight: 100,
        zone: None,
        metadata: std::collections::BTreeMap::new(),
        changed: None,
    }
}

fn copy(id: &str) -> Instance {
    let mut copy = instance(id, 9, Status::Up);
    let origin = landfall_model::Origin {
        registry: RegistryName::new("elsewhere").unwrap(),
        service: "orders".into(),
        instance: id.into(),
    };
    let mark = Mark::new(&origin, "c".into(), 1);
    mark.write("d", &mut copy.metadata);
    copy.id = mark.id();
    copy
}

/// A data directory with the last good view of a registry `old`.
fn left(kind: &str, instances: Vec<Instance>) -> TempDir {
    let dir = TempDir::new().unwrap();
    let name = RegistryName::new("old").unwrap();
    let mut instances: Vec<Arc<Instance>> = instances.into_iter().map(Arc::new).collect();
    instances.sort_by(|a, b| a.id.cmp(&b.id));
    let service = Service {
        id: ServiceId::new(name.clone(), "orders"),
        instances,
    };
    let view = LastGood::new(
        name,
        kind,
        "there".to_owned(),
        SystemTime::now(),
        vec![Arc::new(service)],
    );
    Store::new(dir.path()).save(&view).unwrap();
    dir
}

fn config(name: &str, embedded: Value) -> RegistryConfig {
    RegistryConfig {
        name: RegistryName::new(name).unwrap(),
        spec: serde_json::from_value(json!({ "embedded": embedded })).unwrap(),
        base: std::path::PathBuf::new(),
    }
}

fn opened(config: &RegistryConfig, dir: &TempDir) -> Embedded {
    take_over(config, dir.path());
    let spec = config.spec.embedded.as_ref().unwrap();
    Embedded::open(spec, Some((dir.path(), &config.name)), &Board::default()).unwrap()
}

#[test]
fn who_was_in_eureka_is_shown_at_once_and_told_to_register_again_by_its_first_heartbeat() {
    let mut out = instance("b", 2, Status::OutOfService);
    out.metadata
        .insert("eureka.overriddenStatus".into(), "OUT_OF_SERVICE".into());
    let dir = left("eureka", vec![instance("a", 1, Status::Up), out, copy("c")]);
    let config = config(
        "old",
        json!({ "eureka": { "address": "127.0.0.1:0" }, "takeOver": "old" }),
    );
    let registry = opened(&config, &dir);
    let books = &registry.books;
    let found = books.eureka.read(|book| book.application("orders")).unwrap();
    let known: Vec<_> = found
        .instances
        .iter()
        .map(|one| (&*one.instance_id, one.known_status()))
        .collect();
    assert_eq!(known, [("a", Status::Up), ("b", Status::OutOfService)]);
    let beat = |id: &str| {
        books
            .eureka
            .write(|book, now| book.renew("ORDERS", id, Some(1_700_000_000_000), now))
    };
    assert!(beat("a").is_err(), "it knows more than we do");
    assert!(
        books.eureka.read(|book| book.instance("orders", "a").is_some()),
        "and is shown meanwhile"
    );
    // Nobody is gone before two of the usual leases have passed.
    let late = |seconds: u64| Moment {
        steady: seconds * 1000,
        wall: 0,
    };
    assert_eq!(books.eureka.tend(|book, _| book.expire(late(170))), 0);
    assert_eq!(books.eureka.tend(|book, _| book.expire(late(200))), 2);
}

#[test]
fn it_is_done_once_and_not_to_a_registry_that_has_somebody() {
    let dir = left("eureka", vec![instance("a", 1, Status::Up)]);
    let config = config(
        "new",
        json!({ "eureka": { "address": "127.0.0.1:0" }, "takeOver": "old" }),
    );
    let registry = opened(&config, &dir);
    assert_eq!(registry.books.eureka.read(|book| book.len()), 1);
    registry
        .books
        .eureka
        .write(|book, now| book.cancel("orders", "a", now))
        .unwrap();
    drop(registry);
    // The view is still there, and who said good-bye does not come back.
    let registry = opened(&config, &dir);
    assert_eq!(registry.books.eureka.read(|book| book.len()), 0);
}

#[test]
fn without_a_view_of_such_a_registry_it_begins_empty() {
    let dir = left("zookeeper", vec![instance("a", 1, Status::Up)]);
    let embedded = json!({ "eureka": { "address": "127.0.0.1:0" }, "takeOver": "old" });
    assert_eq!(
        opened(&config("old", embedded), &dir)
            .books
            .eureka
            .read(|book| book.len()),
        0
    );
    let embedded = json!({ "eureka": { "address": "127.0.0.1:0" }, "takeOver": "nobody" });
    assert_eq!(
        opened(&config("new", embedded), &dir)
            .books
            .eureka
            .read(|book| book.len()),
        0
    );
}

#[test]
fn who_was_in_consul_keeps_its_id_and_its_word_counts() {
    let dir = left(
        "consul",
        vec![
            instance("n1/web", 1, Status::Passing),
            instance("n2/web", 2, Status::Passing),
            instance("n2/sick", 3, Status::Critical),
        ],
    );
    let config = config(
        "old",
        json!({ "consul": { "address": "127.0.0.1:0" }, "takeOver": "old" }),
    );
    let registry = opened(&config, &dir);
    let book = &registry.books.consul;
    assert_eq!(
        book.read(|book| book.own_ids("orders")),
        ["n2-web", "sick", "web"],
        "one id stands once on a node"
    );
    let worst = |id: &str| book.read(|book| book.agent_health(id)).unwrap().0;
    assert_eq!((worst("web"), worst("sick")), (Health::Passing, Health::Critical));
    // One that listens and was critical says itself when it is not any more.
    let at = |seconds: u64| Moment {
        steady: seconds * 1000,
        wall: 0,
    };
    let due = book.tend(|book, _| book.due(at(60)));
    let asked: Vec<&str> = due.iter().map(|due| &*due.check).collect();
    assert_eq!(asked, ["service:n2-web", "service:web"]);
    let pass = |id: &str| book.write(|book, now| book.update_check(id, Health::Passing, "fine", now));
    pass("service:sick").unwrap();
    assert_eq!(worst("sick"), Health::Passing);
    // Three connections in a row that fail take it out, one that does not brings it back.
    let found = |status: Health| {
        book.tend(|book, _| {
            let _ = book.due(at(120));
            book.found(&due[1], status, "", at(120));
        });
        worst("web")
    };
    assert_eq!(
        [Health::Critical; 3].map(found),
        [Health::Passing, Health::Passing, Health::Critical]
    );
    assert_eq!(found(Health::Passing), Health::Passing);
    // What it says itself no connection undoes.
    book.write(|book, now| book.update_check("service:web", Health::Critical, "ill", now))
        .unwrap();
    assert_eq!(found(Health::Passing), Health::Critical);
}
