use std::{collections::BTreeMap, time::Instant};

use landfall_config::kinds::registry::{EmbeddedListener, EurekaAddress, EurekaSpec};
use landfall_model::Status;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::eureka::{
    Eureka,
    view::View,
    wire::{Format, read},
};

const DEADLINE: Duration = Duration::from_secs(20);

fn spec(address: &str) -> EmbeddedSpec {
    EmbeddedSpec {
        eureka: Some(EmbeddedListener {
            address: address.to_owned(),
        }),
        ..EmbeddedSpec::default()
    }
}

fn embedded() -> Arc<Embedded> {
    Arc::new(Embedded::new(&spec("127.0.0.1:0")).unwrap())
}

/// A registered application, as a real client would talk.
struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    fn of(registry: &Embedded) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: registry.address(),
        }
    }

    async fn ask(&self, method: Method, path: &str, accept: &str, body: Option<String>) -> (StatusCode, String) {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header("accept", accept);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn send(&self, method: Method, path: &str) -> u16 {
        let (status, body) = self.ask(method, path, "application/json", None).await;
        assert_eq!(body, "", "{path}");
        status.as_u16()
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, "application/json", None).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        serde_json::from_str(&body).unwrap()
    }

    async fn register(&self, app: &str, id: &str, port: u16) {
        let body = json!({"instance": {
            "instanceId": id, "app": app, "hostName": "h1", "ipAddr": "127.0.0.1", "status": "UP", "sid": "na",
            "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "vipAddress": app, "appGroupName": null, "actionType": null, "metadata": {"zone": "a"},
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
            "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90}}});
        let path = format!("/apps/{app}");
        let (status, body) = self
            .ask(Method::POST, &path, "application/json", Some(body.to_string()))
            .await;
        assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
    }
}

/// What somebody who follows knows by now.
struct Follower {
    known: BTreeMap<String, BTreeMap<String, Status>>,
    caught_up: bool,
    reports: mpsc::Receiver<Knowledge>,
    task: tokio::task::JoinHandle<RegistryError>,
}

impl Follower {
    fn of(registry: Arc<dyn Registry>) -> Self {
        let (sender, reports) = Reports::channel(16);
        Self {
            known: BTreeMap::new(),
            caught_up: false,
            reports,
            task: tokio::spawn(async move { registry.follow(&sender).await }),
        }
    }

    async fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !enough(self) {
            let left = end.saturating_duration_since(Instant::now());
            let report = tokio::time::timeout(left, self.reports.recv()).await;
            match report.unwrap_or_else(|_| panic!("{what}: not seen, known is {:?}", self.known)) {
                Some(Knowledge::Service { name, instances, .. }) => {
                    let ids = instances.iter().map(|one| (one.id.to_string(), one.status)).collect();
                    self.known.insert(name.to_string(), ids);
                }
                Some(Knowledge::Gone { name }) => {
                    self.known.remove(&*name);
                }
                Some(Knowledge::CaughtUp) => self.caught_up = true,
                Some(Knowledge::Confirmed | Knowledge::Unreadable(_) | Knowledge::Governance(_)) => {}
                None => panic!("{what}: the session ended"),
            }
        }
    }

    fn status(&self, service: &str, id: &str) -> Option<Status> {
        self.known.get(service)?.get(id).copied()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_client_lives_its_life_and_who_follows_sees_it_at_once() {
    let registry = embedded();
    let client = Client::of(&registry);
    let mut follower = Follower::of(registry.clone());
    follower
        .until("an empty registry is caught up with", |f| f.caught_up)
        .await;
    assert!(follower.known.is_empty());

    client.register("ORDERS", "h1:orders:1", 8080).await;
    follower
        .until("registered", |f| f.status("orders", "h1:orders:1") == Some(Status::Up))
        .await;
    assert_eq!(
        client.send(Method::PUT, "/apps/ORDERS/h1:orders:1?status=UP").await,
        200
    );
    assert_eq!(
        client
            .send(Method::PUT, "/apps/ORDERS/h1:orders:1/status?value=OUT_OF_SERVICE")
            .await,
        200
    );
    follower
        .until("taken out", |f| {
            f.status("orders", "h1:orders:1") == Some(Status::OutOfService)
        })
        .await;
    assert_eq!(
        client
            .send(Method::PUT, "/apps/ORDERS/h1:orders:1/status?value=NONSENSE")
            .await,
        500
    );
    assert_eq!(
        client
            .send(Method::DELETE, "/apps/ORDERS/h1:orders:1/status?value=UP")
            .await,
        200
    );
    follower
        .until("back", |f| f.status("orders", "h1:orders:1") == Some(Status::Up))
        .await;
    assert_eq!(
        client
            .send(Method::PUT, "/apps/orders/h1:orders:1/metadata?weight=3")
            .await,
        200
    );
    let read = client.get("/instances/h1:orders:1").await;
    assert_eq!(read["instance"]["metadata"], json!({"weight": "3", "zone": "a"}));

    assert_eq!(client.send(Method::DELETE, "/apps/ORDERS/h1:orders:1").await, 200);
    follower.until("gone", |f| f.known.is_empty()).await;
    assert_eq!(client.send(Method::DELETE, "/apps/ORDERS/h1:orders:1").await, 404);
    assert_eq!(client.send(Method::PUT, "/apps/ORDERS/h1:orders:1").await, 404);
    assert_eq!(client.send(Method::GET, "/apps/ORDERS").await, 404);
}

#[tokio::test]
async fn reads_come_in_the_format_and_encoding_that_was_asked_for() {
    let registry = embedded();
    let client = Client::of(&registry);
    client.register("ORDERS", "a", 8080).await;
    client.register("stock", "b", 8081).await;
    let all = client.get("/v2/apps/").await;
    assert_eq!(all["applications"]["apps__hashcode"], "UP_2_");
    assert_eq!(all["applications"]["application"][1]["name"], "STOCK");
    let delta = client.get("/apps/delta").await;
    assert_eq!(delta["applications"]["apps__hashcode"], "UP_2_");
    assert_eq!(
        client.get("/apps/Stock").await["application"]["instance"][0]["instanceId"],
        "b"
    );
    assert_eq!(
        client.get("/vips/nobody").await["applications"]["application"],
        json!([])
    );
    let (_, xml) = client.ask(Method::GET, "/apps", "*/*", None).await;
    assert!(
        xml.starts_with("<applications>") && xml.contains(r#"<port enabled="true">8080</port>"#),
        "{xml}"
    );

    // The client above asks for gzip and unpacks it unseen; this one does not.
    let plain = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let url = format!("{}/apps/", registry.address());
    let packed = plain.get(&url).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    let body = packed.bytes().await.unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut text).unwrap();
    assert!(text.starts_with("<applications>"));
    let unpacked = plain.get(&url).send().await.unwrap();
    assert!(unpacked.headers().get("content-encoding").is_none());
}

#[tokio::test]
async fn a_registration_that_lacks_something_is_told_what_and_one_too_large_is_refused() {
    let registry = embedded();
    let client = Client::of(&registry);
    for (body, status, text) in [
        ("", 400, "JSON"),
        ("{", 400, "JSON"),
        (r#"{"instance":{}}"#, 400, "Missing instanceId"),
        (
            r#"{"instance":{"instanceId":"a","hostName":"h","ipAddr":"1.2.3.4","app":"B"}}"#,
            400,
            "Mismatched",
        ),
    ] {
        let (got, said) = client
            .ask(Method::POST, "/apps/A", "application/json", Some(body.to_owned()))
            .await;
        assert_eq!(got.as_u16(), status, "{body}");
        assert!(said.contains(text), "{said}");
    }
    let huge = format!(r#"{{"instance":{{"app":"{}"}}}}"#, "x".repeat(2 << 20));
    let (got, _) = client
        .ask(Method::POST, "/apps/A", "application/json", Some(huge))
        .await;
    assert_eq!(got, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn our_own_follower_follows_it_by_deltas() {
    let registry = embedded();
    let client = Client::of(&registry);
    client.register("ORDERS", "a", 8080).await;
    let spec: EurekaSpec =
        serde_json::from_value(json!({"urls": [registry.address()], "poll": "20ms", "fullFetch": "1h"})).unwrap();
    let mut follower = Follower::of(Arc::new(Eureka::new(&spec).unwrap()));
    follower.until("caught up", |f| f.caught_up).await;
    assert_eq!(follower.status("orders", "a"), Some(Status::Up));
    client.register("ORDERS", "b", 8081).await;
    client.register("STOCK", "c", 8082).await;
    follower
        .until("two more", |f| {
            f.status("orders", "b").is_some() && f.status("stock", "c").is_some()
        })
        .await;
    client.send(Method::DELETE, "/apps/ORDERS/a").await;
    client
        .send(Method::PUT, "/apps/STOCK/c/status?value=OUT_OF_SERVICE")
        .await;
    follower
        .until("one less, one out", |f| {
            f.status("orders", "a").is_none() && f.status("stock", "c") == Some(Status::OutOfService)
        })
        .await;
    client.send(Method::DELETE, "/apps/STOCK/c").await;
    follower.until("gone", |f| !f.known.contains_key("stock")).await;
}

#[tokio::test]
async fn it_answers_before_it_is_followed_and_between_sessions() {
    let registry = embedded();
    let client = Client::of(&registry);
    client.register("ORDERS", "a", 8080).await;
    let mut first = Follower::of(registry.clone());
    first.until("caught up", |f| f.caught_up).await;
    assert_eq!(first.status("orders", "a"), Some(Status::Up));
    drop(first);
    client.register("ORDERS", "b", 8081).await;
    let mut second = Follower::of(registry.clone());
    second.until("caught up again", |f| f.caught_up).await;
    assert_eq!(second.known["orders"].len(), 2);
}

#[tokio::test]
async fn dropping_it_closes_the_port() {
    let registry = Embedded::new(&spec("127.0.0.1:0")).unwrap();
    let address = registry.eureka_addr().unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap();
    drop(registry);
    let end = Instant::now() + DEADLINE;
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < end, "the port is still open");
        tokio::task::yield_now().await;
    }
    Embedded::new(&spec(&address.to_string())).unwrap();
}

#[test]
fn a_port_in_use_and_an_address_that_is_none_are_told_clearly() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = Embedded::new(&spec(&address)).unwrap_err();
    assert!(matches!(&error, ConnectError::Bind { address: named, .. } if *named == address));
    let error = Embedded::new(&spec("localhost")).unwrap_err().to_string();
    assert!(
        error.contains("embedded.eureka.address") && error.contains("127.0.0.1:8761"),
        "{error}"
    );
}

#[test]
fn made_outside_a_runtime_it_answers_from_the_first_follow_on() {
    let registry = embedded();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut follower = Follower::of(registry.clone());
        follower.until("caught up", |f| f.caught_up).await;
        let client = Client::of(&registry);
        client.register("ORDERS", "a", 8080).await;
        follower
            .until("registered", |f| f.status("orders", "a").is_some())
            .await;
    });
}

#[tokio::test]
async fn registrations_of_every_client_are_taken_and_read_back_in_both_formats() {
    let registry = embedded();
    let client = Client::of(&registry);
    let table: [(&str, &str, &[u8]); 4] = [
        (
            "ORDERS",
            "application/json",
            include_bytes!("../eureka/testdata/register-spring.json"),
        ),
        (
            "shop",
            "application/json;charset=UTF-8",
            include_bytes!("../eureka/testdata/register-js.json"),
        ),
        (
            "BILLING",
            "application/json",
            include_bytes!("../eureka/testdata/register-py.json"),
        ),
        (
            "LEGACY",
            "application/xml",
            include_bytes!("../eureka/testdata/register.xml"),
        ),
    ];
    for (app, content_type, body) in table {
        let url = format!("{}/v2/apps/{app}", client.base);
        let request = client.http.post(url).header("content-type", content_type).body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{app}");
    }
    // Jersey's clients send a body with a heartbeat; it means nothing, and the answer has none.
    let path = "/apps/ORDERS/h1:orders:8080?status=UP&lastDirtyTimestamp=1700000000500";
    let (status, body) = client.ask(Method::PUT, path, "*/*", Some("{}".to_owned())).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    let (status, _) = client.ask(Method::PUT, &path.replace("500", "501"), "*/*", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "the client knows more than we do");

    for accept in ["application/json", "application/xml"] {
        let (_, body) = client.ask(Method::GET, "/apps/", accept, None).await;
        let format = if accept.ends_with("json") {
            Format::Json
        } else {
            Format::Xml
        };
        let read = read::applications(body.as_bytes(), format).unwrap();
        let names: Vec<_> = read.applications.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["BILLING", "LEGACY", "ORDERS", "SHOP"]);
        assert_eq!(read.hash.as_deref(), Some("STARTING_1_UP_3_"));
        assert_eq!(
            View::of(read, EurekaAddress::Ip).disagreement(Some("STARTING_1_UP_3_")),
            None
        );
    }
}

fn both() -> EmbeddedSpec {
    serde_json::from_value(json!({ "eureka": { "address": "127.0.0.1:0" }, "consul": { "address": "127.0.0.1:0" } }))
        .unwrap()
}

async fn consul(registry: &Embedded, method: Method, path: &str, body: Value) -> (u16, Value) {
    let client = Client::of(registry);
    let url = format!("http://{}/v1/{path}", registry.consul_addr().unwrap());
    let answer = client
        .http
        .request(method, url)
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A client of Eureka's side, whose base is not the whole address when there are two.
fn eureka_client(registry: &Embedded) -> Client {
    Client {
        base: format!("http://{}/eureka", registry.eureka_addr().unwrap()),
        ..Client::of(registry)
    }
}

async fn until<T, F: std::future::Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn behind_both_protocols_stands_one_registry() {
    let registry = Arc::new(Embedded::new(&both()).unwrap());
    let client = eureka_client(&registry);
    let mut follower = Follower::of(registry.clone());
    client.register("ORDERS", "h1:orders:1", 8080).await;
    let stock = json!({ "Name": "stock", "ID": "stock-1", "Address": "10.0.0.5", "Port": 9090, "Tags": ["blue"],
        "Meta": { "team": "b" }, "Check": { "TTL": "60s", "Status": "passing" } });
    assert_eq!(
        consul(&registry, Method::PUT, "agent/service/register", stock).await.0,
        200
    );
    follower
        .until("both are seen", |f| {
            f.status("orders", "h1:orders:1") == Some(Status::Up)
                && f.status("stock", "landfall/stock-1") == Some(Status::Passing)
        })
        .await;

    let stock = until("stock is in Eureka", || async {
        let all = client.get("/apps").await;
        all["applications"]["application"]
            .as_array()?
            .iter()
            .find(|one| one["name"] == "STOCK")
            .cloned()
    })
    .await;
    let instance = &stock["instance"][0];
    assert_eq!(
        (&instance["ipAddr"], &instance["port"]["$"]),
        (&json!("10.0.0.5"), &json!(9090))
    );
    assert_eq!(instance["metadata"]["team"], "b");
    let orders = until("orders is in Consul", || async {
        let (_, body) = consul(&registry, Method::GET, "health/service/orders?passing", Value::Null).await;
        body.get(0).cloned()
    })
    .await;
    assert_eq!(
        (&orders["Service"]["ID"], &orders["Service"]["Port"]),
        (&json!("h1:orders:1"), &json!(8080))
    );

    // What the one side has is not the other's to change, and what changes there changes here.
    assert_eq!(client.send(Method::PUT, "/apps/STOCK/landfall%2Fstock-1").await, 404);
    assert_eq!(
        consul(
            &registry,
            Method::PUT,
            "agent/service/deregister/h1:orders:1",
            Value::Null
        )
        .await
        .0,
        404
    );
    consul(&registry, Method::PUT, "agent/check/fail/service:stock-1", Value::Null).await;
    until("stock is down in Eureka", || async {
        (client.get("/apps").await["applications"]["apps__hashcode"] == "DOWN_1_UP_1_").then_some(())
    })
    .await;
    client.send(Method::DELETE, "/apps/ORDERS/h1:orders:1").await;
    consul(&registry, Method::PUT, "agent/service/deregister/stock-1", Value::Null).await;
    until("nobody is left", || async {
        let all = client.get("/apps").await;
        let (_, listing) = consul(&registry, Method::GET, "catalog/services", Value::Null).await;
        (all["applications"]["apps__hashcode"] == "" && listing == json!({})).then_some(())
    })
    .await;
    follower.until("nobody is left", |f| f.known.is_empty()).await;
}

#[tokio::test]
async fn a_restart_loses_no_lease_and_its_state_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let name = RegistryName::new("own").unwrap();
    let open = || Arc::new(Embedded::open(&both(), Some((dir.path(), &name)), &Board::default()).unwrap());
    let registry = open();
    let client = eureka_client(&registry);
    client.register("ORDERS", "h1:orders:1", 8080).await;
    client
        .send(Method::PUT, "/apps/ORDERS/h1:orders:1/status?value=OUT_OF_SERVICE")
        .await;
    let stock = json!({ "Name": "stock", "Check": { "TTL": "60s", "Status": "passing" } });
    consul(&registry, Method::PUT, "agent/service/register", stock).await;
    consul(&registry, Method::PUT, "kv/greeting", json!("hello")).await;
    let before = client.get("/apps").await;
    let file = dir.path().join("embedded/own.json");
    until("the state is written while it runs", || async {
        let text = std::fs::read_to_string(&file).ok()?;
        (text.contains("h1:orders:1") && text.contains("greeting")).then_some(())
    })
    .await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // What is said last is written when it goes.
    client.register("LATE", "l1", 8081).await;
    let (_, index) = consul(&registry, Method::GET, "agent/self", Value::Null).await;
    drop(registry);

    let again = open();
    let client = eureka_client(&again);
    let all = until("everything is there", || async {
        let all = client.get("/apps").await;
        (all["applications"]["apps__hashcode"] == "OUT_OF_SERVICE_1_UP_2_").then_some(all)
    })
    .await;
    let of = |all: &Value, field: &str| {
        let apps = all["applications"]["application"].as_array().unwrap();
        let orders = apps.iter().find(|one| one["name"] == "ORDERS").unwrap();
        orders["instance"][0][field].clone()
    };
    for field in [
        "metadata",
        "lastDirtyTimestamp",
        "overriddenStatus",
        "leaseInfo",
        "hostName",
        "vipAddress",
    ] {
        assert_eq!(of(&all, field), of(&before, field), "{field}");
    }
    let version = |all: &Value| {
        all["applications"]["versions__delta"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(version(&all) > version(&before));
    // The heartbeat of a client that noticed nothing, and the end of the override.
    assert_eq!(client.send(Method::PUT, "/apps/LATE/l1?status=UP").await, 200);
    assert_eq!(
        client
            .send(Method::DELETE, "/apps/ORDERS/h1:orders:1/status?value=UP")
            .await,
        200
    );
    assert_eq!(
        consul(&again, Method::PUT, "agent/check/pass/service:stock", Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(
        consul(&again, Method::GET, "kv/greeting?raw", Value::Null).await.1,
        json!("hello")
    );
    assert_eq!(
        consul(&again, Method::GET, "agent/self", Value::Null).await.1["Config"]["NodeID"],
        index["Config"]["NodeID"]
    );
}

#[tokio::test]
async fn a_state_that_cannot_be_used_is_set_aside_and_it_starts_empty() {
    let dir = tempfile::tempdir().unwrap();
    let name = RegistryName::new("own").unwrap();
    let file = dir.path().join("embedded/own.json");
    std::fs::create_dir(dir.path().join("embedded")).unwrap();
    for bad in [
        "",
        "{",
        r#"{"version":2,"registry":"own","savedAt":1,"eureka":{"version":1,"leases":[],"overrides":[]},"consul":{"index":1}}"#,
        r#"{"version":1,"registry":"other","savedAt":1,"eureka":{"version":1,"leases":[],"overrides":[]},"consul":{"index":1}}"#,
    ] {
        std::fs::write(&file, bad).unwrap();
        let registry = Arc::new(Embedded::open(&both(), Some((dir.path(), &name)), &Board::default()).unwrap());
        let client = eureka_client(&registry);
        assert_eq!(client.get("/apps").await["applications"]["apps__hashcode"], "");
        client.register("ORDERS", "a", 8080).await;
        drop(registry);
        assert_eq!(std::fs::read_to_string(file.with_extension("json.bad")).unwrap(), bad);
        assert!(std::fs::read_to_string(&file).unwrap().contains("ORDERS"));
    }
}

#[tokio::test]
async fn http_and_tcp_checks_are_run() {
    let registry = Arc::new(Embedded::new(&both()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = listener.local_addr().unwrap();
    let own = registry.consul_addr().unwrap();
    let service = json!({ "Name": "orders", "Checks": [
        { "CheckID": "good", "HTTP": format!("http://{own}/v1/status/leader"), "Interval": "100ms" },
        { "CheckID": "bad", "HTTP": format!("http://{own}/v1/nothing"), "Interval": "100ms", "Status": "passing" },
        { "CheckID": "open", "TCP": tcp.to_string(), "Interval": "100ms", "Timeout": "2s" },
    ] });
    assert_eq!(
        consul(&registry, Method::PUT, "agent/service/register", service)
            .await
            .0,
        200
    );
    let states = |good: &'static str, bad: &'static str, open: &'static str| {
        let registry = registry.clone();
        async move {
            until(&format!("{good}, {bad}, {open}"), || async {
                let (_, checks) = consul(&registry, Method::GET, "agent/checks", Value::Null).await;
                let is = |id: &str, status: &str| checks[id]["Status"] == status;
                (is("good", good) && is("bad", bad) && is("open", open)).then_some(())
            })
            .await;
        }
    };
    states("passing", "critical", "passing").await;
    drop(listener);
    states("passing", "critical", "critical").await;
}
