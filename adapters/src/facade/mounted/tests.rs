use std::time::Instant;

use landfall_model::{Instance, Status};
use serde_json::{Value, json};

use super::{
    super::view::tests::{instance, registry, world},
    *,
};

const DEADLINE: Duration = Duration::from_secs(20);

fn facade(name: &str, spec: Value) -> FacadeConfig {
    FacadeConfig {
        name: name.to_owned(),
        spec: serde_json::from_value(spec).unwrap(),
    }
}

fn real(name: &str, spec: Value) -> RegistryConfig {
    RegistryConfig {
        name: landfall_model::RegistryName::new(name).unwrap(),
        spec: serde_json::from_value(spec).unwrap(),
        base: std::path::PathBuf::new(),
    }
}

struct Asked {
    http: reqwest::Client,
    base: String,
}

impl Asked {
    fn at(address: SocketAddr) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap(),
            base: format!("http://{address}"),
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request = self
            .http
            .get(format!("{}{path}", self.base))
            .header("accept", "application/json");
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn until(&self, path: &str, enough: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let (status, text) = self.get(path).await;
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            if status == 200 && enough(&body) {
                return body;
            }
            assert!(Instant::now() < end, "{path}: {status} {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn two() -> World {
    let down = Instance {
        status: Status::Critical,
        ..instance("n1/stock-1", 9090)
    };
    world(vec![
        registry("eureka", "eureka", &[("orders", instance("h:orders:8080", 8080))]),
        registry("consul", "consul", &[("stock", down)]),
    ])
}

#[tokio::test]
async fn one_port_shows_the_mesh_in_both_protocols_and_follows_it() {
    let (sender, world_now) = watch::channel(Arc::new(two()));
    let mut facades = Facades::new(world_now, Board::default());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let errors = facades.set(
        &[
            facade("e", json!({ "address": port, "eureka": {} })),
            facade("c", json!({ "address": port, "path": "/c/", "consul": {} })),
            facade(
                "n",
                json!({ "address": port, "path": "/n", "eureka": {}, "view": { "registry": "eureka" } }),
            ),
        ],
        &[],
    );
    assert!(errors.is_empty(), "{errors:?}");
    let asked = Asked::at(facades.address("c").unwrap());

    let all = asked
        .until("/eureka/apps", |body| {
            body["applications"]["apps__hashcode"] == "DOWN_1_UP_1_"
        })
        .await;
    let names: Vec<_> = all["applications"]["application"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(names, ["ORDERS", "STOCK"]);
    let stock = &all["applications"]["application"][1]["instance"][0];
    assert_eq!(
        (&stock["status"], &stock["port"]["$"], &stock["vipAddress"]),
        (&json!("DOWN"), &json!(9090), &json!("stock"))
    );

    assert_eq!(
        asked.json("/c/v1/catalog/services").await,
        json!({ "orders": [], "stock": [] })
    );
    let orders = asked.json("/c/v1/health/service/orders?passing").await;
    assert_eq!(orders[0]["Node"]["Node"], "eureka");
    assert_eq!(orders[0]["Service"]["Address"], "10.0.0.1");
    assert_eq!(asked.json("/c/v1/health/service/stock?passing").await, json!([]));
    assert_eq!(asked.json("/c/v1/health/service/stock").await[0]["Node"]["Node"], "n1");
    let native = asked
        .until("/n/eureka/apps/", |body| {
            body["applications"]["apps__hashcode"] == "UP_1_"
        })
        .await;
    assert_eq!(native["applications"]["application"][0]["name"], "ORDERS");

    // A change wakes who waits for it, and shows in the delta with the hash of all.
    let answer = asked
        .http
        .get(format!("{}/c/v1/health/service/orders", asked.base))
        .send()
        .await
        .unwrap();
    let index = answer.headers()["x-consul-index"].to_str().unwrap().to_owned();
    let waiting = {
        let request = asked.http.get(format!(
            "{}/c/v1/health/service/orders?index={index}&wait=15s",
            asked.base
        ));
        tokio::spawn(async move { request.send().await.unwrap().json::<Value>().await.unwrap() })
    };
    let more = [
        ("orders", instance("h:orders:8080", 8080)),
        ("orders", instance("h:orders:8081", 8081)),
    ];
    sender.send_replace(Arc::new(world(vec![registry("eureka", "eureka", &more)])));
    assert_eq!(waiting.await.unwrap().as_array().unwrap().len(), 2);
    let delta = asked
        .until("/eureka/apps/delta", |body| {
            body["applications"]["apps__hashcode"] == "UP_2_"
        })
        .await;
    assert!(
        delta.to_string().contains("h:orders:8081") && delta.to_string().contains("DELETED"),
        "{delta}"
    );
    assert_eq!(asked.get("/x/eureka/apps").await.0, 404);
    assert_eq!(asked.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn nobody_is_told_an_empty_list_before_the_registries_have_been_read() {
    let mut unread = registry("eureka", "eureka", &[]);
    unread.caught_up = None;
    let (sender, world_now) = watch::channel(Arc::new(world(vec![unread])));
    let mut facades = Facades::new(world_now, Board::default());
    let set = [
        facade("e", json!({ "address": "127.0.0.1:0", "eureka": {} })),
        facade(
            "c",
            json!({ "address": "127.0.0.1:0", "path": "/c", "consul": {}, "view": { "registry": "eureka" } }),
        ),
    ];
    assert!(facades.set(&set, &[]).is_empty());
    let asked = Asked::at(facades.address("e").unwrap());
    assert_eq!(asked.get("/eureka/apps").await.0, 503);
    let (status, text) = asked.get("/c/v1/catalog/services").await;
    assert_eq!((status, text.as_str()), (500, "No cluster leader"));
    sender.send_replace(Arc::new(two()));
    asked
        .until("/eureka/apps", |body| {
            body["applications"]["apps__hashcode"] == "DOWN_1_UP_1_"
        })
        .await;
    asked
        .until("/c/v1/catalog/services", |body| *body == json!({ "orders": [] }))
        .await;
}

#[tokio::test]
async fn writes_are_passed_on_unchanged_and_reads_go_on_when_the_registry_is_down() {
    // The real registry is another one of ours, so that a real answer comes back.
    let spec = serde_json::from_value(
        json!({ "consul": { "address": "127.0.0.1:0" }, "eureka": { "address": "127.0.0.1:0" } }),
    );
    let behind = crate::embedded::Embedded::new(&spec.unwrap()).unwrap();
    let registries = [
        real(
            "consul",
            json!({ "consul": { "address": format!("http://{}", behind.consul_addr().unwrap()) } }),
        ),
        real(
            "eureka",
            json!({ "eureka": { "urls": [format!("http://u:p@{}/eureka", behind.eureka_addr().unwrap())] } }),
        ),
    ];
    let (_sender, world_now) = watch::channel(Arc::new(two()));
    let mut facades = Facades::new(world_now, Board::default());
    let set = [
        facade(
            "c",
            json!({ "address": "127.0.0.1:0", "consul": {}, "writes": { "forward": "consul" } }),
        ),
        facade(
            "e",
            json!({ "address": "127.0.0.1:0", "path": "/e", "eureka": {}, "writes": { "forward": "eureka" } }),
        ),
        facade("r", json!({ "address": "127.0.0.1:0", "path": "/r", "eureka": {} })),
    ];
    assert!(facades.set(&set, &registries).is_empty());
    let asked = Asked::at(facades.address("c").unwrap());
    let put = |path: &str, body: &str| {
        asked
            .http
            .put(format!("{}{path}", asked.base))
            .body(body.to_owned())
            .send()
    };
    let answer = put("/v1/agent/service/register", r#"{"Name":"new","ID":"n1"}"#)
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    // What the agent keeps is asked of the agent; the catalog is what the World says.
    assert_eq!(asked.json("/v1/agent/services").await["n1"]["Service"], "new");
    asked
        .until("/v1/catalog/services", |body| {
            *body == json!({ "orders": [], "stock": [] })
        })
        .await;
    let refused = put("/v1/agent/check/pass/nobody", "").await.unwrap();
    assert_eq!(refused.status(), 404);
    assert!(refused.text().await.unwrap().contains("Unknown check ID"));
    assert_eq!(put("/v1/kv/a", "b").await.unwrap().text().await.unwrap(), "true");
    assert_eq!(asked.get("/v1/kv/a?raw").await, (200, "b".to_owned()));

    let body = include_str!("../../eureka/testdata/register-spring.json");
    let register = |base: &str| {
        let request = asked.http.post(format!("{}{base}/eureka/apps/ORDERS", asked.base));
        request.header("content-type", "application/json").body(body).send()
    };
    assert_eq!(register("/e").await.unwrap().status(), 204);
    assert_eq!(
        put("/e/eureka/v2/apps/ORDERS/h1:orders:8080?status=UP", "")
            .await
            .unwrap()
            .status(),
        200
    );
    assert_eq!(put("/e/eureka/apps/ORDERS/nobody", "").await.unwrap().status(), 404);
    assert_eq!(register("/r").await.unwrap().status(), 403);

    drop(behind);
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = register("/e").await.unwrap();
        if answer.status() == 503 {
            let text = answer.text().await.unwrap();
            assert!(text.contains("cannot be reached") && !text.contains("u:p"), "{text}");
            break;
        }
        assert!(Instant::now() < end, "{}", answer.status());
    }
    asked
        .until("/e/eureka/apps", |body| {
            body["applications"]["apps__hashcode"] == "DOWN_1_UP_1_"
        })
        .await;
    assert_eq!(
        asked.json("/v1/catalog/services").await,
        json!({ "orders": [], "stock": [] })
    );
}

#[tokio::test]
async fn a_changed_configuration_moves_what_changed_and_leaves_the_rest() {
    let (_sender, world_now) = watch::channel(Arc::new(two()));
    let mut facades = Facades::new(world_now, Board::default());
    let kept = facade("kept", json!({ "address": "127.0.0.1:0", "eureka": {} }));
    let moved = |path: &str| facade("moved", json!({ "address": "127.0.0.1:0", "path": path, "consul": {} }));
    assert!(facades.set(&[kept.clone(), moved("/a")], &[]).is_empty());
    let asked = Asked::at(facades.address("kept").unwrap());
    asked
        .until("/a/v1/catalog/services", |body| body["orders"].is_array())
        .await;
    let version = asked.json("/eureka/apps").await["applications"]["versions__delta"].clone();
    assert!(facades.set(&[kept.clone(), moved("/b")], &[]).is_empty());
    asked
        .until("/b/v1/catalog/services", |body| body["orders"].is_array())
        .await;
    assert_eq!(asked.get("/a/v1/catalog/services").await.0, 404);
    assert_eq!(
        asked.json("/eureka/apps").await["applications"]["versions__delta"],
        version
    );
    assert!(facades.set(&[], &[]).is_empty());
    assert_eq!(facades.address("kept"), None);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let errors = facades.set(
        &[facade("late", json!({ "address": address, "eureka": {} })), kept],
        &[],
    );
    assert!(
        matches!(&errors[..], [(name, ConnectError::Bind { .. })] if name == "late"),
        "{errors:?}"
    );
    assert!(facades.address("kept").is_some());
}
