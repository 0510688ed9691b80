//! Shapes, and what is sent, read by a catalog of the test's own. Real Consuls are in `tests/real/publish.rs`.

use std::net::SocketAddr;

use axum::{Router, body::Bytes, extract::State, http::Uri, response::IntoResponse};
use landfall_model::{Host, Instance, Protocol, Status};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::publish::samples::{any_record, check, greeting, lost, orders, port, record};

fn publisher_at(address: &str, permit: Permit) -> ConsulPublisher {
    let spec: ConsulSpec = serde_json::from_value(json!({ "address": format!("http://{address}") })).unwrap();
    let times = Times {
        renewal: Duration::from_millis(50),
        grace: Duration::from_millis(300),
    };
    ConsulPublisher::with_times(&spec, "c1", permit, times).unwrap()
}

fn publisher() -> ConsulPublisher {
    publisher_at("127.0.0.1:1", Permit::always(1))
}

fn place(id: &str) -> Place<'_> {
    let (node, id) = id.split_once('/').expect("a node and an id");
    Place { node, id }
}

fn set(shaped: &Shaped) -> Vec<Value> {
    let place = place(&shaped.key.id);
    Operation::Set { place, shaped }.json()
}

/// The follower's reading of what Consul answers after these operations.
fn read_back(shaped: &Shaped) -> Vec<(Key, Instance)> {
    let operations = set(shaped);
    let service = &operations[0]["Service"]["Service"];
    let check = &operations[1]["Check"]["Check"];
    assert!(service["Meta"].as_object().unwrap().len() <= 64);
    for (key, value) in service["Meta"].as_object().unwrap() {
        assert!(
            (1..=128).contains(&key.len()) && value.as_str().unwrap().len() <= 512,
            "{key}"
        );
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') && !key.starts_with("consul-"));
    }
    let body = json!([{ "Node": { "Node": operations[0]["Service"]["Node"], "Address": "127.0.0.1" }, "Service": service, "Checks": [check] }]);
    let name = shaped.key.service.clone();
    let read = crate::consul::access::read_health(&name, body.to_string().as_bytes());
    read.into_iter()
        .map(|instance| {
            let id = instance.id.clone();
            (
                Key {
                    service: name.clone(),
                    id,
                },
                instance,
            )
        })
        .collect()
}

fn shaped(record: &Record) -> Shaped {
    check(&publisher(), record, read_back).expect("it fits")
}

#[test]
fn a_plain_record_loses_nothing_and_its_keys_come_back() {
    let mut plain = orders();
    plain.instance.metadata.insert("tag.v1".into(), "true".into());
    plain.instance.zone = Some("a".into());
    let shaped = shaped(&plain);
    assert_eq!(shaped.losses, []);
    assert!(shaped.key.id.starts_with("landfall-c1-") && shaped.key.id.contains("of32/landfall~eureka~"));
    let operations = set(&shaped);
    let service = &operations[0]["Service"]["Service"];
    assert_eq!(service["Tags"], json!(["v1"]));
    assert_eq!(service["Meta"]["management_x2e_port"], "8081");
    assert_eq!(service["Meta"]["zone"], "a");
    assert_eq!(operations[1]["Check"]["Check"]["Status"], "passing");
}

#[test]
fn no_operation_names_a_node_without_a_service() {
    let shaped = shaped(&orders());
    let delete = Operation::Delete {
        place: place("landfall-c1/landfall~x"),
        service: "orders",
    };
    for operations in [set(&shaped), delete.json()] {
        for value in operations {
            let text = value.to_string();
            assert!(!value.as_object().unwrap().contains_key("Node"), "{text}");
            let service = value.pointer("/Service/Service/ID").and_then(Value::as_str);
            let check = value.pointer("/Check/Check/CheckID").and_then(Value::as_str);
            assert!(service.or(check).is_some_and(|id| id.contains("landfall~")), "{text}");
        }
    }
}

#[test]
fn statuses_are_checks_and_maintenance_is_consuls_own() {
    for (status, written, id, word) in [
        (Status::Up, Status::Passing, "service:", "passing"),
        (Status::Warning, Status::Warning, "service:", "warning"),
        (Status::Down, Status::Critical, "service:", "critical"),
        (Status::Starting, Status::Critical, "service:", "critical"),
        (
            Status::OutOfService,
            Status::Maintenance,
            "_service_maintenance:",
            "critical",
        ),
        (
            Status::Disabled,
            Status::Maintenance,
            "_service_maintenance:",
            "critical",
        ),
    ] {
        let mut record = orders();
        record.instance.status = status;
        let shaped = shaped(&record);
        assert_eq!(shaped.record.instance.status, written);
        let operations = set(&shaped);
        let check = &operations[1]["Check"]["Check"];
        assert!(
            check["CheckID"].as_str().unwrap().starts_with(id) && check["Status"] == word,
            "{check}"
        );
        assert_ne!(
            operations[2]["Check"]["Check"]["CheckID"], check["CheckID"],
            "the other one goes"
        );
    }
}

#[test]
fn weights_keep_their_ratio_and_zero_is_zero() {
    for (weight, read, losses) in [(100, 100, 0), (300, 300, 0), (250, 300, 1), (0, 0, 1)] {
        let mut record = orders();
        record.instance.weight = weight;
        let shaped = shaped(&record);
        assert_eq!(
            (shaped.record.instance.weight, shaped.losses.len()),
            (read, losses),
            "{:?}",
            shaped.losses
        );
    }
}

#[test]
fn what_consul_cannot_hold_is_reported() {
    let mut odd = orders();
    odd.instance.metadata.insert("long".into(), "x".repeat(513).into());
    odd.instance.metadata.insert("huge".into(), "x".repeat(64 << 10).into());
    odd.instance.metadata.insert("k".repeat(129).into(), "v".into());
    odd.instance.ports.push(port(8081, Protocol::Http, false));
    let shaped = shaped(&odd);
    assert_eq!(lost(&shaped).len(), 4);
    assert_eq!(&lost(&shaped)[..2], ["huge", &format!("{}…", "k".repeat(80))]);

    let mut many = orders();
    for at in 0..80 {
        many.instance.metadata.insert(format!("key{at}").into(), "v".into());
    }
    many.instance.zone = Some("z".into());
    let shaped = check(&publisher(), &many, read_back).unwrap();
    assert_eq!(shaped.record.instance.zone.as_deref(), Some("z"), "what counts is kept");
    assert_eq!(shaped.losses.len(), 81 + 1 + 5 - 64);
}

#[test]
fn names_are_exact_unless_a_path_cannot_hold_them() {
    for (name, written) in [
        ("Orders", "Orders"),
        ("my_orders:v1.2", "my_orders:v1.2"),
        ("two words 🦀", "two words 🦀"),
        ("g1/org.x.Greeting:1.0", "g1_x2f_org.x.Greeting:1.0"),
        ("..", "_x2e2e_"),
    ] {
        let shaped = shaped(&record(name, "a"));
        assert_eq!(&*shaped.key.service, written);
        assert_eq!(lost(&shaped).contains(&"service"), name != written);
    }
    assert!(publisher().shape(&record("consul", "a")).is_err());
    let mut host = orders();
    host.instance.host = Host::parse("not an address");
    assert!(publisher().shape(&host).is_err());
    let dubbo = shaped(&greeting());
    assert_eq!(dubbo.record.instance.ports[0].protocol, Protocol::Dubbo);
}

#[test]
fn the_follower_of_this_registry_sees_what_is_written() {
    let spec = json!({ "address": "http://127.0.0.1:1", "tags": ["prod"], "exclude": ["hidden"] });
    let spec: ConsulSpec = serde_json::from_value(spec).unwrap();
    let publisher = ConsulPublisher::new(&spec, "c1", Permit::always(1)).unwrap();
    let shaped = publisher.shape(&orders()).unwrap();
    let tags = set(&shaped)[0]["Service"]["Service"]["Tags"].clone();
    assert_eq!(tags, json!(["prod"]));
    assert!(publisher.shape(&record("hidden", "a")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn any_record_is_refused_with_a_reason_or_read_back_as_it_was_shaped(record in any_record()) {
        check(&publisher(), &record, read_back);
    }
}

/// As much of Consul as is needed to see what is asked of it.
#[derive(Default)]
struct Catalog {
    nodes: BTreeSet<String>,
    /// Node and service id to name.
    services: BTreeMap<(String, String), String>,
    sessions: u64,
    /// Lease keys: node to whether a session holds it.
    leases: BTreeMap<String, bool>,
    asked: Vec<String>,
    /// Ids that a transaction refuses.
    refused: BTreeSet<String>,
    /// When not 0, the status of every answer.
    status: u16,
}

impl Catalog {
    fn has(&self, node: &str, id: &str) -> bool {
        self.services.contains_key(&(node.to_owned(), id.to_owned()))
    }
}

type Shared = Arc<Mutex<Catalog>>;

async fn answer(
    State(shared): State<Shared>,
    method: axum::http::Method,
    uri: Uri,
    body: Bytes,
) -> axum::response::Response {
    let mut catalog = shared.lock().unwrap();
    let path = uri.path().to_owned();
    catalog.asked.push(format!("{method} {path}"));
    if let Ok(status) = axum::http::StatusCode::from_u16(catalog.status)
        && catalog.status > 0
    {
        return (status, "told to").into_response();
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let steps: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match steps[..] {
        ["catalog", "register"] => {
            assert!(body["SkipNodeUpdate"] == true && body["NodeMeta"]["external-probe"] == "false");
            catalog.nodes.insert(body["Node"].as_str().unwrap().to_owned());
            "true".into_response()
        }
        ["catalog", "nodes"] => {
            let nodes: Vec<Value> = catalog.nodes.iter().map(|node| json!({ "Node": node })).collect();
            json!(nodes).to_string().into_response()
        }
        ["catalog", "node-services", node] => {
            let on = catalog.services.iter().filter(|((on, _), _)| on == node);
            let services: Vec<Value> = on.map(|((_, id), name)| json!({ "ID": id, "Service": name })).collect();
            json!({ "Node": {}, "Services": services }).to_string().into_response()
        }
        ["session", "create"] => {
            catalog.sessions += 1;
            json!({ "ID": format!("s{}", catalog.sessions) })
                .to_string()
                .into_response()
        }
        ["session", "renew", id] if id == format!("s{}", catalog.sessions) => "[]".into_response(),
        ["session", "renew", _] => (axum::http::StatusCode::NOT_FOUND, "no such session").into_response(),
        ["kv", "landfall", "lease", node] if method == axum::http::Method::PUT => {
            catalog.leases.insert(node.to_owned(), true);
            "true".into_response()
        }
        ["kv", "landfall", "lease", node] => match catalog.leases.get(node) {
            Some(true) => json!([{ "Session": "s" }]).to_string().into_response(),
            Some(false) => json!([{}]).to_string().into_response(),
            None => axum::http::StatusCode::NOT_FOUND.into_response(),
        },
        ["txn"] => transact(&mut catalog, &body),
        _ => panic!("{method} {path} is not expected"),
    }
}

fn transact(catalog: &mut Catalog, body: &Value) -> axum::response::Response {
    let operations = body.as_array().unwrap();
    assert!(operations.len() <= 64);
    let mut errors = Vec::new();
    let mut services = catalog.services.clone();
    for (at, operation) in operations.iter().enumerate() {
        let Some(service) = operation.get("Service") else {
            continue;
        };
        let (node, id) = (
            service["Node"].as_str().unwrap(),
            service["Service"]["ID"].as_str().unwrap(),
        );
        let name = service["Service"]["Service"].as_str().unwrap();
        let slot = (node.to_owned(), id.to_owned());
        if catalog.refused.contains(id) {
            errors.push(json!({ "OpIndex": at, "What": "told to" }));
        } else if service["Verb"] == "delete" {
            services.remove(&slot);
        } else if catalog.nodes.contains(node) {
            services.insert(slot, name.to_owned());
        } else {
            errors.push(json!({ "OpIndex": at, "What": "Missing node registration" }));
        }
    }
    if errors.is_empty() {
        catalog.services = services;
        return "{}".into_response();
    }
    (
        axum::http::StatusCode::CONFLICT,
        json!({ "Errors": errors }).to_string(),
    )
        .into_response()
}

struct Server {
    address: SocketAddr,
    catalog: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let catalog = Shared::default();
        let app = Router::new().fallback(answer).with_state(catalog.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { address, catalog, task }
    }

    fn publisher(&self, permit: Permit) -> ConsulPublisher {
        publisher_at(&self.address.to_string(), permit)
    }

    fn count(&self, line: &str) -> usize {
        self.catalog
            .lock()
            .unwrap()
            .asked
            .iter()
            .filter(|asked| *asked == line)
            .count()
    }

    fn ours(&self) -> usize {
        let catalog = self.catalog.lock().unwrap();
        catalog.services.keys().filter(|(_, id)| id.contains(mark::TAG)).count()
    }
}

async fn eventually(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn many(count: usize) -> Vec<Shaped> {
    let records = (0..count).map(|at| record("orders", &format!("h{at}")));
    records.map(|record| publisher().shape(&record).unwrap()).collect()
}

#[tokio::test]
async fn many_records_go_in_few_transactions_and_one_bad_one_alone_is_refused() {
    let server = Server::start().await;
    let publisher = server.publisher(Permit::always(1));
    let records = many(50);
    let bad = place(&records[7].key.id).id.to_owned();
    server.catalog.lock().unwrap().refused.insert(bad);
    let answers = publisher.put(&records).await;
    assert!(matches!(&answers[7], Err(WriteError::Rejected { id, .. }) if *id == records[7].key.id));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 49);
    assert_eq!((server.ours(), publisher.figures().held), (49, 49));
    assert_eq!(server.count("PUT /v1/txn"), 4, "three packs, one of them twice");

    let keys: Vec<Key> = records.iter().map(|record| record.key.clone()).collect();
    server.catalog.lock().unwrap().refused.clear();
    assert!(publisher.remove(&keys).await.iter().all(Result::is_ok));
    assert_eq!((server.ours(), publisher.figures().held), (0, 0));
}

#[tokio::test]
async fn what_consul_has_lost_is_put_again_once_and_otherwise_nothing_is_written() {
    let server = Server::start().await;
    let publisher = server.publisher(Permit::always(1));
    let records = many(3);
    publisher.put(&records).await;
    eventually("the lease is renewed", || publisher.figures().renewals >= 3).await;
    assert_eq!(
        (server.count("PUT /v1/txn"), server.count("PUT /v1/session/create")),
        (1, 1)
    );
    {
        let mut catalog = server.catalog.lock().unwrap();
        catalog.nodes.clear();
        catalog.services.clear();
        // The next id is another one: renewals of this one fail.
        catalog.sessions += 1;
    }
    eventually("it is restored", || publisher.figures().restores == 3).await;
    assert_eq!((server.ours(), publisher.figures().puts), (3, 3));
}

/// As an earlier version wrote it: on the one node.
fn of_old(shaped: &Shaped) -> Shaped {
    let id = format!("landfall-c1/{}", place(&shaped.key.id).id);
    let mut old = shaped.clone();
    old.key.id = id.as_str().into();
    old
}

#[tokio::test]
async fn what_an_earlier_version_wrote_on_one_node_is_held_there_and_removed_from_there() {
    let server = Server::start().await;
    let publisher = server.publisher(Permit::always(1));
    let records = many(40);
    let old: Vec<Shaped> = records.iter().map(of_old).collect();
    {
        let mut catalog = server.catalog.lock().unwrap();
        catalog.nodes.insert("landfall-c1".to_owned());
        for shaped in &old {
            let at = place(&shaped.key.id);
            catalog
                .services
                .insert((at.node.to_owned(), at.id.to_owned()), "orders".to_owned());
        }
    }
    publisher.adopt(&old).await;
    eventually("the lease is renewed", || publisher.figures().renewals >= 2).await;
    assert_eq!(server.count("PUT /v1/txn"), 0, "nothing is missing");
    // Consul loses some of them while they wait to be moved.
    {
        let mut catalog = server.catalog.lock().unwrap();
        catalog.nodes.clear();
        catalog.services.clear();
        catalog.sessions += 1;
    }
    eventually("they stand where they stood", || publisher.figures().restores == 40).await;
    assert!(
        server
            .catalog
            .lock()
            .unwrap()
            .services
            .keys()
            .all(|(node, _)| node == "landfall-c1")
    );

    // As sync does it: the new ones first, then the old ones go.
    assert!(publisher.put(&records).await.iter().all(Result::is_ok));
    assert_eq!(server.ours(), 80);
    let keys: Vec<Key> = old.iter().map(|shaped| shaped.key.clone()).collect();
    assert!(publisher.remove(&keys).await.iter().all(Result::is_ok));
    assert_eq!((server.ours(), publisher.figures().held), (40, 40));
    let catalog = server.catalog.lock().unwrap();
    for shaped in &records {
        let at = place(&shaped.key.id);
        assert!(at.node != "landfall-c1" && catalog.has(at.node, at.id));
    }
    assert!(
        catalog.nodes.len() > 20 && catalog.nodes.len() <= 33,
        "{:?}",
        catalog.nodes
    );
}

#[tokio::test]
async fn a_node_is_made_once_and_again_when_consul_has_lost_it() {
    let server = Server::start().await;
    let publisher = server.publisher(Permit::always(1));
    let records = many(60);
    let nodes: BTreeSet<&str> = records.iter().map(|shaped| place(&shaped.key.id).node).collect();
    for _ in 0..2 {
        assert!(publisher.put(&records).await.iter().all(Result::is_ok));
        assert_eq!(server.count("PUT /v1/catalog/register"), nodes.len());
    }
    let lost = place(&records[0].key.id).node;
    {
        let mut catalog = server.catalog.lock().unwrap();
        catalog.nodes.remove(lost);
        catalog.services.retain(|(node, _), _| node != lost);
    }
    assert!(publisher.put(&records).await.iter().all(Result::is_ok));
    assert_eq!(
        server.count("PUT /v1/catalog/register"),
        nodes.len() + 1,
        "that one alone"
    );
    assert_eq!(server.ours(), 60);
}

#[tokio::test]
async fn without_the_permit_nothing_is_sent() {
    let server = Server::start().await;
    let permit = Permit::refused();
    let publisher = server.publisher(permit.clone());
    let records = many(1);
    publisher.adopt(&records).await;
    assert_eq!(publisher.put(&records).await, [Err(WriteError::NotPermitted)]);
    let keys = [records[0].key.clone()];
    assert_eq!(publisher.remove(&keys).await, [Err(WriteError::NotPermitted)]);
    // Six intervals of the lease.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.catalog.lock().unwrap().asked, Vec::<String>::new());
    permit.extend(crate::publish::permit::now(), Duration::from_secs(60), 1);
    eventually("it goes on by itself", || server.ours() == 1).await;
}

#[tokio::test]
async fn what_is_not_ours_is_never_removed() {
    let server = Server::start().await;
    let publisher = server.publisher(Permit::always(1));
    let ids = [
        "n1/orders-1",
        "landfall-c1/orders-1",
        "n1/landfall~x~1",
        "landfall-c2/landfall~x~1",
    ];
    let keys = ids.map(|id| Key {
        service: "orders".into(),
        id: id.into(),
    });
    for answer in publisher.remove(&keys).await {
        assert!(matches!(answer, Err(WriteError::Rejected { .. })), "{answer:?}");
    }
    assert_eq!(server.count("PUT /v1/txn"), 0);
}

#[tokio::test]
async fn what_a_dead_writer_left_is_cleared_up_and_nothing_else() {
    let server = Server::start().await;
    {
        let mut catalog = server.catalog.lock().unwrap();
        for (node, id) in [
            ("landfall-dead", "landfall~x~1"),
            ("landfall-dead", "orders-1"),
            ("landfall-dead-07of32", "landfall~x~4"),
            ("landfall-dead-07of32", "orders-3"),
            ("landfall-alive", "landfall~x~2"),
            ("landfall-alive-31of32", "landfall~x~5"),
            ("landfall-unknown", "landfall~x~3"),
            ("n1", "orders-2"),
        ] {
            catalog.nodes.insert(node.to_owned());
            catalog
                .services
                .insert((node.to_owned(), id.to_owned()), "orders".to_owned());
        }
        catalog.leases.insert("landfall-dead".to_owned(), false);
        catalog.leases.insert("landfall-alive".to_owned(), true);
    }
    let publisher = server.publisher(Permit::always(1));
    publisher.put(&many(1)).await;
    let gone = [
        ("landfall-dead", "landfall~x~1"),
        ("landfall-dead-07of32", "landfall~x~4"),
    ];
    eventually("it is cleared up on every node of its writer", || {
        let catalog = server.catalog.lock().unwrap();
        gone.iter().all(|(node, id)| !catalog.has(node, id))
    })
    .await;
    assert_eq!(
        server.catalog.lock().unwrap().services.len(),
        7,
        "the other six and our own"
    );
}

#[tokio::test]
async fn answers_are_told_apart_without_the_token() {
    let server = Server::start().await;
    let publisher = server.publisher(Permit::always(1));
    let records = many(1);
    for (code, expected) in [
        (403, "service:write"),
        (429, "fewer"),
        (500, "no write"),
        (400, "no write"),
    ] {
        server.catalog.lock().unwrap().status = code;
        let text = publisher.put(&records).await[0].as_ref().unwrap_err().to_string();
        assert!(text.contains(expected), "{code}: {text}");
    }
}
