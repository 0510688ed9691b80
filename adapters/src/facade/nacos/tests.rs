//! By gRPC, over real sockets: our own client of Nacos before our own server.

use std::{
    net::TcpListener,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use landfall_config::{
    FacadeConfig, RegistryConfig,
    kinds::registry::{EmbeddedNacos, EmbeddedSpec, NacosSpec},
};
use landfall_model::RegistryName;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::*;
use crate::{
    embedded::Embedded,
    facade::{Facades, traffic::Board, view::tests},
    nacos::{
        connection::{Connection, Event},
        login::Access,
        servers::Servers,
        wire::{self, Payload},
    },
};

const DEADLINE: Duration = Duration::from_secs(20);

/// A free port whose port of gRPC is free as well.
fn free() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < 60_000 && TcpListener::bind(("127.0.0.1", port + 1000)).is_ok() {
            return port;
        }
    }
}

fn embedded(port: u16, kept: Option<&std::path::Path>) -> Embedded {
    let spec = EmbeddedSpec {
        nacos: Some(EmbeddedNacos {
            address: format!("127.0.0.1:{port}"),
            namespace: "public".to_owned(),
        }),
        ..EmbeddedSpec::default()
    };
    let name = RegistryName::new("own").unwrap();
    Embedded::open(&spec, kept.map(|dir| (dir, &name)), &Board::default()).unwrap()
}

struct Client {
    connection: Connection,
    events: mpsc::Receiver<Event>,
}

impl Client {
    async fn of(port: u16) -> Self {
        let servers = Servers::new(&NacosSpec::at(&format!("127.0.0.1:{port}"))).unwrap();
        let end = Instant::now() + DEADLINE;
        loop {
            let access = std::sync::Arc::new(Access::new(&servers, &servers.list[0]));
            match Connection::open(servers.list[0].clone(), "public", access).await {
                Ok((connection, events)) => return Self { connection, events },
                Err(fault) => assert!(Instant::now() < end, "{fault:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask(&self, kind: &'static str, body: Value) -> Value {
        let request = Payload::new(kind, &body, "");
        let answer = self.connection.pass(kind, request).await.unwrap();
        let mut read: Value = serde_json::from_slice(answer.json()).unwrap();
        read["kind"] = answer.kind().into();
        read
    }

    async fn instance(&self, verb: &str, service: &str, port: u16) -> Value {
        let body = json!({ "type": verb, "serviceName": service, "groupName": "DEFAULT_GROUP", "requestId": "7",
                           "instance": { "ip": "10.0.0.1", "port": port } });
        self.ask("InstanceRequest", body).await
    }

    async fn ports(&self, kind: &'static str, service: &str) -> Vec<u64> {
        let answer = self
            .ask(
                kind,
                json!({ "serviceName": service, "groupName": "DEFAULT_GROUP", "subscribe": true }),
            )
            .await;
        let hosts = answer["serviceInfo"]["hosts"].as_array();
        let hosts = hosts.unwrap_or_else(|| panic!("{answer}")).iter();
        hosts.map(|host| host["port"].as_u64().unwrap()).collect()
    }

    async fn until(&self, service: &str, expected: &[u64]) {
        let end = Instant::now() + DEADLINE;
        loop {
            let ports = self.ports("ServiceQueryRequest", service).await;
            if ports == expected {
                return;
            }
            assert!(Instant::now() < end, "{service}: {ports:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The ports of the next push.
    async fn pushed(&mut self) -> Vec<u64> {
        let event = tokio::time::timeout(DEADLINE, self.events.recv())
            .await
            .unwrap()
            .unwrap();
        let Event::Push(push) = event else { panic!("{event:?}") };
        let body: Value = serde_json::from_slice(push.json()).unwrap();
        let hosts = body["serviceInfo"]["hosts"].as_array().unwrap().iter();
        hosts.map(|host| host["port"].as_u64().unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_register_are_told_of_changes_and_take_their_instances_along() {
    let port = free();
    let registry = embedded(port, None);
    let (one, mut two) = (Client::of(port).await, Client::of(port).await);
    let answer = one.instance("registerInstance", "orders", 1).await;
    assert_eq!(
        answer,
        json!({ "kind": "InstanceResponse", "type": "registerInstance", "resultCode": 200, "errorCode": 0,
                "success": true, "requestId": "7" })
    );
    assert_eq!(two.ports("SubscribeServiceRequest", "orders").await, [1]);
    let batch = json!({ "type": "batchRegisterInstance", "serviceName": "orders", "groupName": "",
                        "instances": [{ "ip": "10.0.0.1", "port": 1 }, { "ip": "10.0.0.1", "port": 2 }] });
    assert_eq!(
        one.ask("BatchInstanceRequest", batch).await["kind"],
        "BatchInstanceResponse"
    );
    assert_eq!(two.pushed().await, [1, 2]);
    let listed = two
        .ask(
            "ServiceListRequest",
            json!({ "groupName": "DEFAULT_GROUP", "pageNo": 1, "pageSize": 2_147_483_647 }),
        )
        .await;
    assert_eq!(
        (&listed["count"], &listed["serviceNames"]),
        (&json!(1), &json!(["DEFAULT_GROUP@@orders"]))
    );
    one.instance("deregisterInstance", "orders", 1).await;
    assert_eq!(two.pushed().await, [0; 0]);
    one.instance("registerInstance", "orders", 3).await;
    assert_eq!(two.pushed().await, [3]);
    drop(one);
    assert_eq!(two.pushed().await, [0; 0], "it went with its connection");
    drop(registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_answered_has_nacos_codes_at_once() {
    let port = free();
    let _registry = embedded(port, None);
    let client = Client::of(port).await;
    let config = client
        .ask("ConfigQueryRequest", json!({ "dataId": "a", "group": "b" }))
        .await;
    assert_eq!(
        (&config["resultCode"], &config["errorCode"]),
        (&json!(500), &json!(302))
    );
    assert!(config["message"].as_str().unwrap().contains("naming half"), "{config}");
    assert_eq!(client.ask("NobodysRequest", json!({})).await["errorCode"], 302);
    let persistent = json!({ "serviceName": "a", "instance": { "ip": "a", "port": 1, "ephemeral": false } });
    let persistent = client.ask("PersistentInstanceRequest", persistent).await;
    assert_eq!(persistent["errorCode"], 400);
    assert!(persistent["message"].as_str().unwrap().contains("ephemeral=true"));
    for (kind, body, code) in [
        (
            "InstanceRequest",
            json!({ "type": "registerInstance", "serviceName": "a" }),
            400,
        ),
        (
            "InstanceRequest",
            json!({ "type": "x", "serviceName": "a", "instance": { "ip": "a", "port": 1 } }),
            400,
        ),
        ("InstanceRequest", json!([]), 502),
        ("ServiceQueryRequest", json!({}), 400),
        ("BatchInstanceRequest", json!({ "serviceName": "a" }), 400),
    ] {
        assert_eq!(client.ask(kind, body.clone()).await["errorCode"], code, "{kind} {body}");
    }
    // Before the setup nobody is known.
    let channel = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{}", port + 1000)).unwrap();
    let mut grpc = Grpc::new(channel.connect().await.unwrap());
    for (kind, code) in [("HealthCheckRequest", json!(301)), ("ServerCheckRequest", json!(0))] {
        grpc.ready().await.unwrap();
        let request = tonic::Request::new(Payload::new(kind, &json!({}), ""));
        let path = http::uri::PathAndQuery::from_static(wire::REQUEST);
        let codec = ProstCodec::<Payload, Payload>::default();
        let answer = grpc.unary(request, path, codec).await.unwrap().into_inner();
        let body: Value = serde_json::from_slice(answer.json()).unwrap();
        assert_eq!(body["errorCode"], code, "{kind}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_connections_had_until_they_are_back() {
    let dir = tempfile::tempdir().unwrap();
    let port = free();
    let registry = embedded(port, Some(dir.path()));
    let client = Client::of(port).await;
    client.instance("registerInstance", "orders", 1).await;
    drop(registry);
    let registry = {
        // The ports are free again when the server's tasks have ended.
        let end = Instant::now() + DEADLINE;
        while TcpListener::bind(("127.0.0.1", port)).is_err() || TcpListener::bind(("127.0.0.1", port + 1000)).is_err()
        {
            assert!(Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        embedded(port, Some(dir.path()))
    };
    let again = Client::of(port).await;
    assert_eq!(again.ports("ServiceQueryRequest", "orders").await, [1]);
    again.instance("registerInstance", "orders", 1).await;
    drop(client);
    let watcher = Client::of(port).await;
    drop(again);
    watcher.until("orders", &[]).await;
    drop(registry);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_facade_passes_registrations_on_by_a_connection_for_each_client() {
    let (real_port, port) = (free(), free());
    let real = embedded(real_port, None);
    let (sender, world) = watch::channel(std::sync::Arc::new(tests::world(vec![tests::registry(
        "consul",
        "consul",
        &[("stock", tests::instance("n/stock", 90))],
    )])));
    let spec = json!({ "address": format!("127.0.0.1:{port}"), "nacos": {}, "writes": { "forward": "real" } });
    let config = FacadeConfig {
        name: "n".to_owned(),
        spec: serde_json::from_value(spec).unwrap(),
    };
    let registry = json!({ "nacos": { "addresses": [format!("127.0.0.1:{real_port}")] } });
    let registry = RegistryConfig {
        name: RegistryName::new("real").unwrap(),
        spec: serde_json::from_value(registry).unwrap(),
        base: std::path::PathBuf::new(),
    };
    let mut facades = Facades::new(world, Board::default());
    let errors = facades.set(std::slice::from_ref(&config), std::slice::from_ref(&registry));
    assert!(errors.is_empty(), "{errors:?}");
    let watcher = Client::of(real_port).await;
    let mut client = Client::of(port).await;
    assert_eq!(client.ports("SubscribeServiceRequest", "stock").await, [90]);
    let answer = client.instance("registerInstance", "orders", 1).await;
    assert_eq!(
        (&answer["kind"], &answer["resultCode"]),
        (&json!("InstanceResponse"), &json!(200))
    );
    watcher.until("orders", &[1]).await;
    sender.send_replace(std::sync::Arc::new(tests::world(vec![tests::registry(
        "consul",
        "consul",
        &[("stock", tests::instance("n/stock", 91))],
    )])));
    assert_eq!(client.pushed().await, [91]);
    drop(client);
    watcher.until("orders", &[]).await;

    // When the real one goes, the client is cut, so that it registers again with whoever is there then.
    let mut client = Client::of(port).await;
    client.instance("registerInstance", "orders", 2).await;
    drop((watcher, real));
    let event = tokio::time::timeout(DEADLINE, client.events.recv()).await.unwrap();
    assert!(matches!(event, Some(Event::Ended(_))), "{event:?}");
    let client = Client::of(port).await;
    let refused = client.instance("registerInstance", "orders", 2).await;
    assert!(
        refused["message"].as_str().unwrap().contains("cannot be reached"),
        "{refused}"
    );

    // The other way to write.
    let mut refusing = config;
    refusing.spec.writes = Default::default();
    assert!(facades.set(&[refusing], &[registry]).is_empty());
    let client = Client::of(port).await;
    let refused = client.instance("registerInstance", "orders", 2).await;
    assert_eq!(
        (&refused["kind"], &refused["errorCode"]),
        (&json!("ErrorResponse"), &json!(403))
    );
}

#[tokio::test]
async fn until_the_registries_have_been_read_the_server_is_starting() {
    let book = crate::facade::shared::Shared::new(book::Book::view(book::Limits::default(), 1));
    let server = grpc::Server::new(book, grpc::Writes::Refused, std::sync::Arc::new(AtomicBool::new(false)));
    let link = link::Link::new(server, 1, ([127, 0, 0, 1], 1).into());
    let answer = questions::answer(&link, Payload::new("ServerCheckRequest", &json!({}), "")).await;
    let body: Value = serde_json::from_slice(answer.json()).unwrap();
    assert_eq!((answer.kind(), &body["errorCode"]), ("ErrorResponse", &json!(300)));
}
