//! Shapes, and writing into a server that keeps instances as Nacos' own two HTTP APIs do. Real servers are in
//! `tests/real/nacos_publish.rs`.

use std::{collections::HashMap, net::SocketAddr, sync::atomic::AtomicU16};

use axum::{
    body::Bytes,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use landfall_model::{Host, Protocol, Status};
use proptest::prelude::*;
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::{
    nacos::record::{self, Health, Info},
    publish::samples::{any_record, check, greeting, lost, orders, port, record},
};

fn spec(address: &str) -> NacosSpec {
    let spec = json!({ "addresses": [address], "groups": ["DEFAULT_GROUP", "blue"] });
    serde_json::from_value(spec).unwrap()
}

fn publisher_at(address: &str, permit: Permit) -> NacosPublisher {
    let times = Times {
        renewal: Duration::from_secs(1),
        lease: Duration::from_secs(6),
    };
    NacosPublisher::with_times(&spec(address), "c1", permit, times).unwrap()
}

fn publisher() -> NacosPublisher {
    publisher_at("127.0.0.1:1", Permit::always(1))
}

fn sent(shaped: &Shaped) -> Wire {
    wire(shaped, &publisher().core.groups).unwrap()
}

/// What the follower makes of what is sent.
fn read_back(shaped: &Shaped) -> Vec<(Key, Instance)> {
    let wire = sent(shaped);
    let crate::nacos::name::Meaning::Service { name, dubbo } = wire.source.meaning() else {
        panic!("{:?} is nobody's service", wire.source);
    };
    let host = to_raw_value(&wire.host(Duration::from_secs(90))).unwrap();
    let reading = record::read(&name, dubbo, &Info::of_hosts(vec![host]), &mut Health::new());
    assert_eq!(reading.quarantined, []);
    let key = |instance: &Instance| Key {
        service: name.clone(),
        id: instance.id.clone(),
    };
    reading.instances.into_iter().map(|one| (key(&one), one)).collect()
}

fn shaped(record: &Record) -> Shaped {
    check(&publisher(), record, read_back).expect("it fits")
}

fn with(pairs: &[(&str, &str)]) -> Record {
    let mut record = orders();
    for (key, value) in pairs {
        record.instance.metadata.insert((*key).into(), (*value).into());
    }
    record
}

#[test]
fn a_plain_record_loses_nothing() {
    let shaped = shaped(&orders());
    assert_eq!(shaped.losses, []);
    assert_eq!(
        (&*shaped.key.service, &*shaped.key.id),
        ("orders", "landfall~10.0.0.7#8080")
    );
    let host = sent(&shaped).host(Duration::from_secs(90));
    assert_eq!(host["serviceName"], "DEFAULT_GROUP@@orders");
    assert_eq!(
        (&host["weight"], &host["healthy"], &host["clusterName"]),
        (&json!(1.0), &json!(true), &json!("DEFAULT"))
    );
    assert_eq!(host["metadata"]["preserved.ip.delete.timeout"], "90000");
    assert_eq!(host["metadata"]["management.port"], "8081");
    assert!(host["metadata"].get("protocol").is_none() && host["metadata"].get("zone").is_none());
}

#[test]
fn what_another_nacos_said_comes_back_as_it_was() {
    let mut there = with(&[("nacos.cluster", "HZ"), ("preserved.register.source", "SPRING_CLOUD")]);
    there.service = "blue@@orders".into();
    there.instance.zone = Some("HZ".into());
    there.instance.weight = 250;
    there.instance.status = Status::Down;
    let shaped = shaped(&there);
    assert_eq!(shaped.losses, []);
    assert_eq!(shaped.key.service, there.service);
    assert_eq!(shaped.record.instance.metadata, {
        let mut expected = there.instance.metadata.clone();
        there.mark.write(&shaped.digest, &mut expected);
        expected
    });
    let host = sent(&shaped).host(Duration::ZERO);
    assert_eq!((&host["clusterName"], &host["weight"]), (&json!("HZ"), &json!(2.5)));
    assert_eq!(
        (&host["serviceName"], &host["healthy"]),
        (&json!("blue@@orders"), &json!(false))
    );
    let odd = with(&[
        ("nacos.cluster", "a b"),
        ("nacos.ephemeral", "false"),
        ("preserved.heart.beat.timeout", "1"),
    ]);
    let losses = lost_of(&odd);
    assert_eq!(
        losses,
        ["nacos.cluster", "nacos.ephemeral", "preserved.heart.beat.timeout"]
    );
}

fn lost_of(record: &Record) -> Vec<String> {
    lost(&shaped(record)).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_provider_is_written_as_dubbos_own_registry_writes_it() {
    let one = shaped(&greeting());
    assert_eq!(one.losses, []);
    assert_eq!(&*one.key.service, "g1/org.x.Greeting:1.0.0");
    let wire = sent(&one);
    assert_eq!(&*wire.source.service, "providers:org.x.Greeting:1.0.0:g1");
    let host = wire.host(Duration::ZERO);
    for (key, value) in [
        ("protocol", "dubbo"),
        ("path", "org.x.Greeting"),
        ("category", "providers"),
        ("side", "provider"),
        ("methods", "greet,sayHello"),
    ] {
        assert_eq!(host["metadata"][key], value);
    }
    let mut elsewhere = greeting();
    elsewhere.service = "blue@@g1/org.x.Greeting:1.0.0".into();
    assert_eq!(
        sent(&shaped(&elsewhere)).source.grouped(),
        "blue@@providers:org.x.Greeting:1.0.0:g1"
    );
    let mut off = greeting();
    off.instance.status = Status::Disabled;
    let off = shaped(&off);
    assert_eq!(
        (off.record.instance.status, sent(&off).healthy),
        (Status::Disabled, false)
    );
}

#[test]
fn what_nacos_does_not_hold_is_refused_or_reported() {
    for (name, expected) in [
        ("red@@orders", "nacos.groups"),
        ("", "no name"),
        ("DEFAULT_GROUP@@orders", "leave it out"),
    ] {
        let unfit = publisher().shape(&record(name, "a")).unwrap_err();
        assert!(unfit.reason.contains(expected), "{unfit}");
    }
    assert_eq!(lost_of(&record("two words", "a")), ["service"]);
    let mut host = orders();
    host.instance.host = Host::parse("a b");
    assert!(publisher().shape(&host).is_err());
    let mut out = orders();
    out.instance.status = Status::OutOfService;
    assert_eq!(lost_of(&out), ["status"]);
    let mut ports = orders();
    ports.instance.ports = vec![
        port(443, Protocol::Http, true),
        port(90, Protocol::Grpc, false),
        port(91, Protocol::Tcp, false),
    ];
    assert_eq!(lost_of(&ports), ["port 91"]);
    let large = with(&[("large", &"x".repeat(900)), ("small", "kept")]);
    let shaped = shaped(&large);
    assert_eq!(lost(&shaped), ["large"]);
    let metadata = sent(&shaped).host(Duration::from_secs(90))["metadata"].clone();
    let size: usize = metadata
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| key.len() + value.as_str().unwrap().len())
        .sum();
    assert!(size <= 1024 && metadata["small"] == "kept", "{size}");
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn any_record_is_refused_with_a_reason_or_read_back_as_it_was_shaped(record in any_record()) {
        check(&publisher(), &record, read_back);
    }
}

type Address = (String, String, String);

#[derive(Default)]
struct World {
    hosts: BTreeMap<Address, Value>,
    asked: Vec<String>,
}

/// A server with one of the two APIs.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    /// When not 0, every answer.
    refuse: Arc<AtomicU16>,
    is_v3: Arc<AtomicBool>,
}

impl Server {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            world: Arc::default(),
            refuse: Arc::default(),
            is_v3: Arc::default(),
        };
        let answering = server.clone();
        let app = axum::Router::new().fallback(move |request: Request| {
            let server = answering.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
                server.answer(parts.method.as_str(), parts.uri.path(), parts.uri.query(), &body)
            }
        });
        tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        server
    }

    fn answer(&self, method: &str, path: &str, query: Option<&str>, body: &Bytes) -> Response {
        let is_v3 = self.is_v3.load(Ordering::Relaxed);
        let refuse = self.refuse.load(Ordering::Relaxed);
        let mut given: HashMap<String, String> = HashMap::new();
        for text in [query.unwrap_or_default().as_bytes(), body] {
            given.extend(url::form_urlencoded::parse(text).into_owned());
        }
        let mut world = self.world.lock().unwrap();
        let beats = path.ends_with("/beat") || given.contains_key("heartBeat");
        let word = if beats { "BEAT" } else { method };
        world.asked.push(word.to_owned());
        if let Ok(status) = http::StatusCode::from_u16(refuse)
            && refuse > 0
        {
            return (status, "as told").into_response();
        }
        let base = if is_v3 {
            "/nacos/v3/client/ns/instance"
        } else {
            "/nacos/v1/ns/instance"
        };
        let Some(path) = path.strip_prefix(base) else {
            return http::StatusCode::NOT_FOUND.into_response();
        };
        let get = |key: &str| given.get(key).cloned().unwrap_or_default();
        let service = match is_v3 {
            true => format!("{}@@{}", get("groupName"), get("serviceName")),
            false => get("serviceName"),
        };
        let key = (service.clone(), get("ip"), get("port"));
        let coded = |code: i64| axum::Json(json!({ "code": code, "message": "", "data": "ok" })).into_response();
        match (word, path) {
            ("GET", "/list") => {
                let hosts: Vec<&Value> = world
                    .hosts
                    .iter()
                    .filter(|(at, _)| at.0 == service)
                    .map(|(_, host)| host)
                    .collect();
                let body = match is_v3 {
                    true => json!({ "code": 0, "data": hosts }),
                    false => json!({ "name": service, "hosts": hosts }),
                };
                axum::Json(body).into_response()
            }
            ("POST", "") => {
                let host = json!({
                    "ip": get("ip"), "port": get("port").parse::<u16>().unwrap(), "clusterName": get("clusterName"),
                    "weight": get("weight").parse::<f64>().unwrap(), "healthy": get("healthy") == "true",
                    "enabled": true, "ephemeral": get("ephemeral") == "true", "serviceName": service,
                    "metadata": serde_json::from_str::<Value>(&get("metadata")).unwrap(),
                });
                world.hosts.insert(key, host);
                if is_v3 { coded(0) } else { "ok".into_response() }
            }
            ("BEAT", _) => match world.hosts.get_mut(&key) {
                Some(host) => {
                    host["healthy"] = true.into();
                    coded(if is_v3 { 0 } else { 10200 })
                }
                None => coded(if is_v3 { 21003 } else { 20404 }),
            },
            ("DELETE", "") => {
                world.hosts.remove(&key);
                if is_v3 { coded(0) } else { "ok".into_response() }
            }
            _ => http::StatusCode::NOT_FOUND.into_response(),
        }
    }

    fn publisher(&self) -> NacosPublisher {
        publisher_at(&self.address.to_string(), Permit::always(1))
    }

    fn key(&self, shaped: &Shaped) -> Address {
        let wire = sent(shaped);
        (wire.source.grouped(), wire.ip, wire.port.to_string())
    }

    fn host(&self, shaped: &Shaped) -> Option<Value> {
        self.world.lock().unwrap().hosts.get(&self.key(shaped)).cloned()
    }

    fn set(&self, shaped: &Shaped, host: Value) {
        let key = self.key(shaped);
        self.world.lock().unwrap().hosts.insert(key, host);
    }

    fn asked(&self, word: &str) -> usize {
        let world = self.world.lock().unwrap();
        world.asked.iter().filter(|asked| *asked == word).count()
    }
}

async fn eventually(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn with_status(status: Status) -> Shaped {
    let mut record = orders();
    record.instance.status = status;
    shaped(&record)
}

#[tokio::test]
async fn a_record_is_registered_renewed_restored_and_removed_by_either_api() {
    for is_v3 in [false, true] {
        let server = Server::start().await;
        server.is_v3.store(is_v3, Ordering::Relaxed);
        let publisher = server.publisher();
        let up = [with_status(Status::Up)];
        assert_eq!(publisher.put(&up).await, [Ok(())]);
        assert_eq!(server.host(&up[0]), Some(sent(&up[0]).host(Duration::from_secs(6))));
        eventually("it is renewed", || publisher.figures().renewals >= 2).await;
        assert_eq!(
            (publisher.figures().puts, server.asked("POST")),
            (1, 1),
            "renewals are no writes"
        );

        server.world.lock().unwrap().hosts.clear();
        eventually("it is restored", || publisher.figures().restores == 1).await;
        assert!(server.host(&up[0]).is_some());

        let keys = [up[0].key.clone()];
        assert_eq!(publisher.remove(&keys).await, [Ok(())]);
        assert_eq!(server.host(&up[0]), None);
        assert_eq!(publisher.remove(&keys).await, [Ok(())], "gone is gone");
        assert_eq!((server.asked("DELETE"), publisher.figures().held), (1, 0));
    }
}

#[tokio::test]
async fn one_that_is_not_healthy_is_never_called_healthy_by_a_beat() {
    let server = Server::start().await;
    let publisher = server.publisher();
    let down = [with_status(Status::Down)];
    assert_eq!(publisher.put(&down).await, [Ok(())]);
    eventually("it is renewed", || publisher.figures().renewals >= 2).await;
    assert_eq!(server.host(&down[0]).unwrap()["healthy"], false);
    assert_eq!((server.asked("BEAT"), publisher.figures().puts), (0, 1));
    let up = [with_status(Status::Up)];
    assert_eq!(publisher.put(&up).await, [Ok(())]);
    assert_eq!(server.host(&up[0]).unwrap()["healthy"], true);
}

#[tokio::test]
async fn adopted_records_are_kept_alive_without_a_write() {
    let server = Server::start().await;
    let up = [with_status(Status::Up), shaped(&greeting())];
    let first = server.publisher();
    assert_eq!(first.put(&up).await, [Ok(()), Ok(())]);
    first.release().await;
    assert_eq!(first.figures().held, 0);
    let second = server.publisher();
    second.adopt(&up).await;
    eventually("they are renewed", || second.figures().renewals >= 4).await;
    assert_eq!((server.asked("POST"), second.figures().puts), (2, 0));
    second.disown(&[up[0].key.clone()]).await;
    assert_eq!(second.figures().held, 1);
    assert!(server.host(&up[0]).is_some(), "what is let go of is not touched");
}

#[tokio::test]
async fn without_the_permit_nothing_is_sent() {
    let server = Server::start().await;
    let permit = Permit::refused();
    let publisher = publisher_at(&server.address.to_string(), permit.clone());
    let up = [with_status(Status::Up)];
    publisher.adopt(&up).await;
    assert_eq!(publisher.put(&up).await, [Err(WriteError::NotPermitted)]);
    assert_eq!(
        publisher.remove(&[up[0].key.clone()]).await,
        [Err(WriteError::NotPermitted)]
    );
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(server.world.lock().unwrap().asked, Vec::<String>::new());
    permit.extend(crate::publish::permit::now(), Duration::from_secs(60), 1);
    eventually("it goes on by itself", || server.host(&up[0]).is_some()).await;
}

#[tokio::test]
async fn only_what_carries_our_clusters_mark_is_removed_whoever_wrote_it() {
    let server = Server::start().await;
    let up = [with_status(Status::Up), shaped(&greeting())];
    let keys: Vec<Key> = up.iter().map(|shaped| shaped.key.clone()).collect();
    server.publisher().put(&up).await;
    // Written by an earlier run: nothing is known but the key, and one of them is Dubbo's.
    assert_eq!(server.publisher().remove(&keys).await, [Ok(()), Ok(())]);
    assert_eq!(server.world.lock().unwrap().hosts.len(), 0);

    let mut foreign = sent(&up[0]).host(Duration::ZERO);
    foreign["metadata"][mark::CLUSTER] = "c2".into();
    server.set(&up[0], foreign);
    let answer = server.publisher().remove(&keys[..1]).await;
    assert!(matches!(&answer[..], [Err(WriteError::Rejected { .. })]), "{answer:?}");

    // A native instance took the place of what we hold.
    let publisher = server.publisher();
    publisher.adopt(&up[..1]).await;
    let mut native = sent(&up[0]).host(Duration::ZERO);
    native["metadata"] = json!({});
    server.set(&up[0], native.clone());
    assert_eq!(publisher.remove(&keys[..1]).await, [Ok(())]);
    assert_eq!(server.host(&up[0]), Some(native));
    let odd = Key {
        service: "orders".into(),
        id: "10.0.0.7#8080#DEFAULT".into(),
    };
    assert!(matches!(
        &publisher.remove(&[odd]).await[..],
        [Err(WriteError::Rejected { .. })]
    ));
}

#[tokio::test]
async fn another_server_takes_over_and_errors_are_told_apart() {
    let server = Server::start().await;
    let mut both = spec("127.0.0.1:1");
    both.addresses.push(server.address.to_string());
    let publisher = NacosPublisher::new(&both, "c1", Permit::always(1)).unwrap();
    let up = [with_status(Status::Up)];
    assert_eq!(publisher.put(&up).await, [Ok(())]);
    for (code, expected) in [
        (403, "refused"),
        (429, "fewer"),
        (503, "no write"),
        (500, "no write"),
        (404, "no write"),
        (400, "not take"),
    ] {
        server.refuse.store(code, Ordering::Relaxed);
        let answers = publisher.put(&up).await;
        let text = answers[0].as_ref().unwrap_err().to_string();
        assert!(text.contains(expected), "{code}: {text}");
    }
    server.refuse.store(0, Ordering::Relaxed);
    server.is_v3.store(true, Ordering::Relaxed);
    // The first attempt finds out that it is another version now.
    let _ = publisher.put(&up).await;
    assert_eq!(publisher.put(&up).await, [Ok(())]);
}
