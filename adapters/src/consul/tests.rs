//! A Consul that can be told to fail, and what the follower makes of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use landfall_model::Status;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::*;
use crate::registry::Knowledge;

const DEADLINE: Duration = Duration::from_secs(10);

/// What the server would answer.
#[derive(Clone, Debug)]
struct Script {
    index: u64,
    /// Service to entries.
    services: BTreeMap<String, Vec<Value>>,
    /// Names that the catalog forgets.
    unlisted: Vec<String>,
    /// Instances that health answers leave out.
    lost: Vec<&'static str>,
    /// Nodes that the token does not see.
    hidden: Vec<&'static str>,
    headers: Vec<(&'static str, String)>,
    /// Instead of any answer.
    fault: Option<(StatusCode, String)>,
    /// Blocking queries come back at once, whatever the index.
    nervous: bool,
    /// Services whose own index is another one, where it is asked for without waiting.
    own: BTreeMap<String, u64>,
    /// The indexes of checks and nodes, if they do not move; 404 for 0.
    tables: Option<u64>,
    slow: Duration,
}

#[derive(Clone)]
struct World {
    script: watch::Sender<Script>,
    log: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl World {
    async fn start() -> (Self, String) {
        let script = Script {
            index: 10,
            services: BTreeMap::from([("consul".to_owned(), vec![])]),
            unlisted: vec![],
            lost: vec![],
            hidden: vec![],
            headers: vec![("x-consul-knownleader", "true".to_owned())],
            fault: None,
            nervous: false,
            own: BTreeMap::new(),
            tables: None,
            slow: Duration::ZERO,
        };
        let world = Self {
            script: watch::Sender::new(script),
            log: Arc::default(),
        };
        let app = Router::new().fallback(answer).with_state(world.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (world, address)
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        self.script.send_modify(|script| {
            script.index += 1;
            change(script);
        });
    }

    /// As a change, but the index stays: no Consul does that.
    fn contradict(&self, change: impl FnOnce(&mut Script)) {
        self.script.send_modify(change);
    }

    /// Ids of the form `id@node`; without a node it is `n1`.
    fn set(&self, service: &str, ids: &[(&str, &str)]) {
        let entries = ids.iter().map(|(id, status)| {
            let (id, node) = id.split_once('@').unwrap_or((id, "n1"));
            json!({"Node": {"Node": node, "Address": "10.0.0.1"},
                   "Service": {"ID": id, "Service": service, "Port": 80},
                   "Checks": [{"CheckID": "c", "Status": status}]})
        });
        let entries = entries.collect();
        self.change(|script| {
            script.services.insert(service.to_owned(), entries);
        });
    }

    /// As [`set`](Self::set), with an index of the service's own.
    fn set_alone(&self, service: &str, ids: &[(&str, &str)]) {
        self.set(service, ids);
        self.contradict(|script| {
            script.own.insert(service.to_owned(), script.index);
        });
    }

    fn asked(&self, part: &str) -> usize {
        self.log
            .lock()
            .unwrap()
            .iter()
            .filter(|(uri, _)| uri.contains(part))
            .count()
    }
}

async fn answer(
    State(world): State<World>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    world
        .log
        .lock()
        .unwrap()
        .push((request.uri().to_string(), request.headers().clone()));
    let mut script = world.script.subscribe();
    let index: u64 = query.get("index").and_then(|text| text.parse().ok()).unwrap_or(0);
    let wait = query
        .get("wait")
        .and_then(|text| text.strip_suffix("ms")?.parse().ok())
        .unwrap_or(0);
    let is_table = matches!(&*path, "/v1/health/state/any" | "/v1/catalog/nodes");
    // As Consul: back when the index is higher or at the time-out. A fault ends waiting queries too.
    let at = |s: &Script| s.tables.filter(|_| is_table).unwrap_or(s.index);
    let woken = script.wait_for(|s| at(s) != index || s.nervous || s.fault.is_some());
    let _ = timeout(Duration::from_millis(wait), async { woken.await.is_ok() }).await;
    let script = world.script.borrow().clone();
    tokio::time::sleep(script.slow).await;
    if let Some(fault) = script.fault {
        return fault.into_response();
    }
    let index_now = match path.strip_prefix("/v1/health/service/") {
        Some(name) if index == 0 => script.own.get(name).copied().unwrap_or(script.index),
        _ => at(&script),
    };
    if index_now == 0 {
        return StatusCode::NOT_FOUND.into_response();
    }
    let wants_nobody = query
        .get("filter")
        .is_some_and(|filter| filter.ends_with("Node == \"\""));
    let mut hides = false;
    let body = match (
        path.strip_prefix("/v1/health/service/"),
        path.strip_prefix("/v1/catalog/node-services/"),
    ) {
        _ if wants_nobody => json!([]),
        (Some(name), _) => {
            let mut entries = script.services.get(name).cloned().unwrap_or_default();
            entries.retain(|entry| !script.lost.iter().any(|id| entry["Service"]["ID"] == *id));
            let all = entries.len();
            entries.retain(|entry| !script.hidden.iter().any(|node| entry["Node"]["Node"] == *node));
            hides = entries.len() < all;
            json!(entries)
        }
        (None, Some(node)) if script.hidden.contains(&node) => {
            hides = true;
            json!({"Node": null, "Services": null})
        }
        (None, Some(node)) => {
            let filter = query.get("filter").map(String::as_str).unwrap_or_default();
            let entries = script.services.values().flatten().filter(|entry| {
                let id = entry["Service"]["ID"].as_str().unwrap_or_default();
                entry["Node"]["Node"] == node && filter == format!("ID == `{id}`")
            });
            let services: Vec<&Value> = entries.map(|entry| &entry["Service"]).collect();
            json!({"Node": {"Node": node}, "Services": services})
        }
        (None, None) => {
            let listed = script.services.keys().filter(|name| !script.unlisted.contains(name));
            json!(listed.map(|name| (name.clone(), json!([]))).collect::<BTreeMap<_, _>>())
        }
    };
    let mut response = axum::Json(body).into_response();
    let headers = [("x-consul-index", index_now.to_string())];
    for (name, value) in headers.into_iter().chain(script.headers) {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    if hides {
        let name = "x-consul-results-filtered-by-acls";
        response.headers_mut().insert(name, "true".parse().unwrap());
    }
    if path.starts_with("/v1/health/") && index > 0 {
        // As Consul 1.14 does it: the streaming backend knows no leader and does not say what it hid.
        let headers = response.headers_mut();
        headers.insert("x-consul-query-backend", "streaming".parse().unwrap());
        headers.insert("x-consul-knownleader", "false".parse().unwrap());
        headers.remove("x-consul-results-filtered-by-acls");
    }
    response
}

/// A session against the scripted server.
struct Followed {
    inbox: mpsc::Receiver<Knowledge>,
    session: tokio::task::JoinHandle<RegistryError>,
}

impl Followed {
    fn start(address: &str, change: impl FnOnce(&mut Value)) -> Self {
        let mut spec = json!({"address": address, "wait": "2s"});
        change(&mut spec);
        Self::once_more(&Arc::new(Consul::new(&serde_json::from_value(spec).unwrap()).unwrap()))
    }

    /// A session of a registry that may have had others.
    fn once_more(consul: &Arc<Consul>) -> Self {
        let consul = consul.clone();
        let (reports, inbox) = Reports::channel(64);
        let session = tokio::spawn(async move { consul.follow(&reports).await });
        Self { inbox, session }
    }

    /// The next report that is more than a sign of life.
    async fn next(&mut self) -> Knowledge {
        loop {
            match timeout(DEADLINE, self.inbox.recv())
                .await
                .expect("a report in time")
                .expect("a session")
            {
                Knowledge::Confirmed => {}
                knowledge => return knowledge,
            }
        }
    }

    /// The next report as a line.
    async fn line(&mut self) -> String {
        match self.next().await {
            Knowledge::Service {
                name,
                instances,
                quarantined,
                ..
            } => {
                let ids = instances
                    .iter()
                    .map(|i| format!("{}={}", i.id.trim_start_matches("n1/"), i.status));
                let ids: Vec<String> = ids
                    .chain(quarantined.iter().map(|q| format!("!{}", q.record)))
                    .collect();
                format!("{name}: {}", ids.join(" ")).trim_end().to_owned()
            }
            Knowledge::Gone { name } => format!("{name} gone"),
            other => format!("{other:?}"),
        }
    }

    async fn until_caught_up(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line().await {
                line if line == "CaughtUp" => break,
                line => lines.push(line),
            }
        }
        lines.sort();
        lines
    }

    async fn ended(self) -> RegistryError {
        timeout(DEADLINE, self.session).await.expect("an end in time").unwrap()
    }
}

#[tokio::test]
async fn every_service_is_said_before_caught_up_and_changes_follow() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing"), ("b", "critical")]);
    world.set("stock", &[("s", "warning")]);
    let mut followed = Followed::start(&address, |_| {});
    assert_eq!(
        followed.until_caught_up().await,
        ["orders: a=passing b=critical", "stock: s=warning"]
    );
    world.set("orders", &[("a", "passing")]);
    assert_eq!(followed.line().await, "orders: a=passing");
    world.set("mail", &[("m", "passing")]);
    assert_eq!(followed.line().await, "mail: m=passing");
    world.set("orders", &[]);
    assert_eq!(followed.line().await, "orders:", "nobody there is not the same as gone");
    world.change(|script| drop(script.services.remove("orders")));
    assert_eq!(followed.line().await, "orders gone");
    world.set("orders", &[("c", "passing")]);
    assert_eq!(followed.line().await, "orders: c=passing", "and back again");
}

#[tokio::test]
async fn an_index_that_goes_backwards_loses_no_change() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing")]);
    let mut followed = Followed::start(&address, |_| {});
    followed.until_caught_up().await;
    // A restored snapshot: older index, other content.
    world.set("orders", &[("a", "passing"), ("b", "passing")]);
    world.change(|script| script.index = 3);
    assert_eq!(followed.line().await, "orders: a=passing b=passing");
    world.set("orders", &[("b", "passing")]);
    assert_eq!(followed.line().await, "orders: b=passing");
}

#[tokio::test]
async fn a_return_without_change_is_no_report_and_no_spin() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing")]);
    let mut followed = Followed::start(&address, |_| {});
    followed.until_caught_up().await;
    world.change(|script| script.nervous = true);
    let before = world.asked("/health/service/orders");
    assert!(
        timeout(Duration::from_millis(1500), followed.next()).await.is_err(),
        "nothing has changed"
    );
    let asked = world.asked("/health/service/orders") - before;
    assert!(asked < 20, "asked {asked} times in 1.5 s");
    world.set("orders", &[("b", "passing")]);
    assert_eq!(followed.line().await, "orders: b=passing");
}

#[tokio::test]
async fn a_listing_that_lost_half_its_names_removes_nothing() {
    let (world, address) = World::start().await;
    for name in ["a", "b", "c", "d"] {
        world.set(name, &[("1", "passing")]);
    }
    let mut followed = Followed::start(&address, |_| {});
    assert_eq!(followed.until_caught_up().await.len(), 4);
    let before = world.asked("/health/service/a?") + world.asked("/health/service/b?");
    world.change(|script| script.unlisted = vec!["a".to_owned(), "b".to_owned()]);
    timeout(DEADLINE, async {
        // Each is asked by itself before anything is believed.
        while world.asked("/health/service/a") + world.asked("/health/service/b") < before + 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    world.set("a", &[("1", "critical")]);
    assert_eq!(
        followed.line().await,
        "a: 1=critical",
        "unlisted, and followed all the same"
    );
    world.change(|script| script.unlisted.clear());
    world.set("b", &[("2", "passing")]);
    // Listed again, `a` may be said again as it is.
    let mut line = followed.line().await;
    while line == "a: 1=critical" {
        line = followed.line().await;
    }
    assert_eq!(line, "b: 2=passing");
}

#[tokio::test]
async fn what_our_rights_hide_is_not_gone() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing")]);
    let mut followed = Followed::start(&address, |_| {});
    followed.until_caught_up().await;
    world.change(|script| {
        script.services.get_mut("orders").unwrap().clear();
        script
            .headers
            .push(("x-consul-results-filtered-by-acls", "true".to_owned()));
    });
    let error = followed.ended().await;
    assert!(
        matches!(&error, RegistryError::Denied { what, .. } if what.contains("node:read")),
        "{error}"
    );
}

#[tokio::test]
async fn answers_that_must_not_be_believed_end_the_session_with_their_reason() {
    let header = |name: &'static str, value: &str| (name, value.to_owned());
    type Change = Box<dyn FnOnce(&mut Script)>;
    let fault = |status: u16, text: &str| -> Change {
        let fault = (StatusCode::from_u16(status).unwrap(), text.to_owned());
        Box::new(move |script| script.fault = Some(fault))
    };
    let headers = |headers: Vec<(&'static str, String)>| -> Change { Box::new(move |script| script.headers = headers) };
    let table: Vec<(Change, &str, &str)> = vec![
        (fault(500, "No cluster leader"), "NotReady", "No cluster leader"),
        (fault(503, "overloaded"), "NotReady", "503"),
        (fault(429, "rate limit"), "NotReady", "429"),
        (fault(403, "ACL not found"), "Denied", "ACL not found"),
        (fault(404, "no such page"), "Malformed", "404"),
        (fault(301, ""), "Malformed", "301"),
        (fault(200, "<html>a portal</html>"), "Malformed", "<html>a portal"),
        (
            headers(vec![header("x-consul-knownleader", "false")]),
            "NotReady",
            "no leader",
        ),
        (
            headers(vec![header("x-consul-lastcontact", "60000")]),
            "NotReady",
            "60000 ms",
        ),
        (
            headers(vec![header("x-consul-index", "minus one")]),
            "Malformed",
            "X-Consul-Index",
        ),
        (
            Box::new(|script| script.services.clear()),
            "NotReady",
            "not even itself",
        ),
    ];
    for (change, kind, text) in table {
        let (world, address) = World::start().await;
        world.set("orders", &[("a", "passing")]);
        let mut followed = Followed::start(&address, |_| {});
        followed.until_caught_up().await;
        world.change(change);
        let error = followed.ended().await;
        assert!(
            format!("{error:?}").starts_with(kind) && error.to_string().contains(text),
            "{text}: {error:?}"
        );
    }
    let mut nobody = Followed::start("http://127.0.0.1:1", |_| {});
    nobody.inbox.close();
    assert!(matches!(nobody.ended().await, RegistryError::Unreachable { .. }));
}

#[tokio::test]
async fn more_services_than_watches_are_asked_in_turn() {
    let (world, address) = World::start().await;
    for number in 0..9 {
        world.set(&format!("s{number}"), &[("i", "passing")]);
    }
    let mut followed = Followed::start(&address, |spec| spec["maxWatches"] = json!(2));
    assert_eq!(followed.until_caught_up().await.len(), 9);
    let blocked = |world: &World| {
        let log = world.log.lock().unwrap();
        let blocking = log
            .iter()
            .filter(|(uri, _)| uri.contains("/health/service/") && uri.contains("index="));
        blocking
            .map(|(uri, _)| uri.split('?').next().unwrap_or_default().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    world.set("s8", &[("i", "warning")]);
    assert_eq!(followed.line().await, "s8: i=warning");
    assert!(blocked(&world).len() <= 2, "{:?}", blocked(&world));
    world.change(|script| drop(script.services.remove("s0")));
    let mut lines = vec![followed.line().await, followed.line().await];
    lines.retain(|line| line != "s2: i=passing");
    assert!(lines.contains(&"s0 gone".to_owned()), "{lines:?}");
    world.set("s2", &[("i", "critical")]);
    assert_eq!(followed.line().await, "s2: i=critical", "it has the free place now");
}

#[tokio::test]
async fn the_token_is_a_header_and_the_query_names_datacenter_index_and_wait() {
    let (world, address) = World::start().await;
    world.set("a b/c", &[]);
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "s3cret\n").unwrap();
    let mut followed = Followed::start(&address, |spec| {
        spec["token"] = json!(format!("file:{}", token.path().display()));
        spec["datacenter"] = json!("dc 2");
    });
    followed.until_caught_up().await;
    timeout(DEADLINE, async {
        while world.asked("index=") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let log = world.log.lock().unwrap().clone();
    for (uri, headers) in &log {
        assert_eq!(headers.get("x-consul-token").unwrap(), "s3cret");
        assert!(uri.contains("dc=dc+2") && !uri.contains("s3cret"), "{uri}");
    }
    let uris: Vec<&str> = log.iter().map(|(uri, _)| uri.as_str()).collect();
    assert!(uris.contains(&"/v1/health/service/a%20b%2Fc?dc=dc+2"), "{uris:?}");
    assert!(uris.iter().any(|uri| uri.ends_with("index=11&wait=2000ms")), "{uris:?}");
}

#[tokio::test]
async fn a_slow_consul_is_waited_for_and_a_changed_status_is_seen() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing")]);
    world.change(|script| script.slow = Duration::from_millis(300));
    let mut followed = Followed::start(&address, |_| {});
    followed.until_caught_up().await;
    let told = std::time::SystemTime::now();
    world.set("orders", &[("a", "critical")]);
    match followed.next().await {
        Knowledge::Service { instances, changed, .. } => {
            assert_eq!((instances[0].status, changed), (Status::Critical, None));
            let heard = instances[0].changed.expect("when it was heard of");
            assert!(heard >= told, "not before it was told, though the answer was slow");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_that_cannot_be_one_is_refused_without_its_password() {
    for bad in [
        "127.0.0.1:8500",
        "consul",
        "ftp://h",
        "http://",
        "http://me:hunter2@h:8500",
        "http://h?token=hunter2",
        "",
    ] {
        let spec = serde_json::from_value(json!({"address": bad})).unwrap();
        let error = Consul::new(&spec).unwrap_err().to_string();
        assert!(
            error.contains("consul.address") && !error.contains("hunter2"),
            "{error}"
        );
    }
    let spec = serde_json::from_value(json!({"address": "https://c.example/consul/", "token": "env:LANDFALL_NO_SUCH"}));
    assert!(matches!(Consul::new(&spec.unwrap()), Err(ConnectError::Secret(_))));
}

mod evidence;
mod turn;
