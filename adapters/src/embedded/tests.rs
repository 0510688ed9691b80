use std::{collections::BTreeMap, time::Instant};

use landfall_config::kinds::registry::{EmbeddedListener, EurekaSpec};
use landfall_model::Status;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::eureka::{
    Eureka,
    wire::{Format, read},
};

const DEADLINE: Duration = Duration::from_secs(20);

fn spec(address: &str) -> EmbeddedSpec {
    EmbeddedSpec {
        eureka: EmbeddedListener {
            address: address.to_owned(),
        },
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
                Some(Knowledge::Confirmed | Knowledge::Unreadable(_)) => {}
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
    let address = registry.local_addr();
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
