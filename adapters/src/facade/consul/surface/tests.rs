use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::facade::{consul::book::Limits, writes::Elsewhere};

fn surface() -> Surface {
    let identity = Identity {
        datacenter: "dc1".to_owned(),
        node: "landfall".to_owned(),
        address: "127.0.0.1".to_owned(),
        id: "u".to_owned(),
    };
    Surface::new(Shared::new(Book::new(identity, Limits::default(), 1000)), Writes::Here)
}

struct Answer {
    status: u16,
    index: u64,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

async fn ask(surface: &Surface, method: &str, path: &str, body: &str) -> Answer {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("/v1/{path}"))
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = surface.answer(request).await;
    let headers = response.headers().clone();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (status, index) = (response.status().as_u16(), header("x-consul-index"));
    let index = index.map(|index| index.parse().unwrap());
    if index.is_some() {
        assert_eq!(header("x-consul-knownleader"), Some("true"));
        assert_eq!(header("x-consul-lastcontact"), Some("0"));
    }
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    Answer {
        status,
        index: index.unwrap_or(0),
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn put(surface: &Surface, path: &str, body: Value) {
    let answer = ask(surface, "PUT", path, &body.to_string()).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{path}");
}

fn orders() -> Value {
    json!({ "ID": "o1", "Name": "orders", "Address": "10.0.0.1", "Port": 8080, "Tags": ["v1"], "Meta": null,
            "Check": { "TTL": "30s", "Status": "passing" } })
}

#[tokio::test]
async fn registrations_are_read_however_clients_spell_them() {
    let surface = surface();
    for (id, body) in [
        (
            "spring",
            json!({ "ID": "spring", "Name": "orders", "Port": 1, "EnableTagOverride": null, "Tags": null,
            "Check": { "HTTP": "http://127.0.0.1:1/health", "Interval": "10s", "Header": {}, "TLSSkipVerify": null } }),
        ),
        (
            "python",
            json!({ "name": "orders", "id": "python", "address": "10.0.0.2", "port": 2,
            "check": { "ttl": "15s", "deregister_critical_service_after": "90m" } }),
        ),
        (
            "npm",
            json!({ "ID": "npm", "Name": "orders", "Port": "3", "Checks": [{ "TCP": "h:1", "Interval": "1s" }, { "TTL": "5s" }] }),
        ),
    ] {
        put(&surface, "agent/service/register", body).await;
        let shown = ask(&surface, "GET", &format!("agent/service/{id}"), "").await.json();
        assert_eq!(
            (shown["Service"].as_str(), shown["Tags"].clone()),
            (Some("orders"), json!([])),
            "{id}"
        );
    }
    let checks = ask(&surface, "GET", "agent/checks", "").await.json();
    let found: Vec<_> = checks.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        found,
        ["service:npm:1", "service:npm:2", "service:python", "service:spring"]
    );
    assert_eq!(checks["service:spring"]["Type"], "http");
    assert_eq!(checks["service:spring"]["Interval"], "10s");
}

#[tokio::test]
async fn what_makes_no_sense_is_told_in_consuls_words_and_with_its_statuses() {
    let surface = surface();
    put(&surface, "agent/service/register", orders()).await;
    for (method, path, body, status, said) in [
        ("PUT", "agent/service/register", "{", 400, "Request decode failed"),
        ("PUT", "agent/service/register", "{}", 400, "Missing service name"),
        (
            "PUT",
            "agent/service/register",
            r#"{"Name":"x","Check":{"HTTP":"http://h"}}"#,
            400,
            "Interval must be > 0",
        ),
        (
            "PUT",
            "agent/service/register",
            r#"{"Name":"x","Check":{"Args":["sh"],"Interval":"1s"}}"#,
            400,
            "not run here",
        ),
        (
            "PUT",
            "agent/service/register",
            r#"{"Name":"x","Port":99999}"#,
            400,
            "in range",
        ),
        ("PUT", "agent/service/deregister/x", "", 404, "Unknown service ID"),
        (
            "PUT",
            "agent/service/maintenance/o1",
            "",
            400,
            "Missing value for enable",
        ),
        ("PUT", "agent/check/pass/service:x", "", 404, "Unknown check ID"),
        (
            "PUT",
            "agent/check/update/service:o1",
            r#"{"Status":"fine"}"#,
            400,
            "Invalid check status: 'fine'",
        ),
        ("PUT", "agent/check/register", "{}", 400, "Missing check name"),
        (
            "PUT",
            "catalog/register",
            r#"{"Node":"n"}"#,
            500,
            "Must provide node and address",
        ),
        ("PUT", "catalog/deregister", "{}", 500, "Must provide node"),
        ("GET", "agent/service/x", "", 404, "unknown service ID"),
        ("GET", "agent/service/register", "", 405, "method GET not allowed"),
        ("POST", "catalog/services", "", 405, "method POST not allowed"),
        ("GET", "catalog/services?index=-1", "", 400, "Invalid index"),
        (
            "GET",
            "catalog/services?index=1&wait=soon",
            "",
            400,
            "Invalid wait time",
        ),
        ("GET", "catalog/services?dc=elsewhere", "", 500, "No path to datacenter"),
        (
            "GET",
            "health/service/orders?passing=maybe",
            "",
            400,
            "Invalid value for ?passing",
        ),
        ("GET", "health/service/orders?filter=ID==x", "", 400, "is not valid"),
        (
            "GET",
            "catalog/node/landfall?filter=Service==x",
            "",
            400,
            "not supported",
        ),
        ("GET", "nothing", "", 404, "not a recognized HTTP API endpoint"),
        ("GET", "session/list", "", 200, "[]"),
        (
            "PUT",
            "session/create",
            "{}",
            501,
            "sessions and locks are not supported",
        ),
        ("PUT", "session/renew/x", "", 404, "not found"),
        ("PUT", "session/destroy/x", "", 200, "true"),
        ("PUT", "txn", "[]", 501, "transactions are not supported"),
        ("GET", "event/list", "", 200, "[]"),
        ("PUT", "event/fire/x", "", 501, "events are not supported"),
        ("GET", "acl/tokens", "", 401, "ACL support disabled"),
        ("GET", "kv/", "", 400, "Missing key name"),
        ("PUT", "kv/k?acquire=1", "", 400, "not supported"),
    ] {
        let answer = ask(&surface, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        assert!(answer.text.contains(said), "{method} {path}: {}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_waits_for_its_own_service_and_for_no_other() {
    let surface = surface();
    put(&surface, "agent/service/register", orders()).await;
    put(&surface, "agent/service/register", json!({ "Name": "stock" })).await;
    let index = ask(&surface, "GET", "health/service/orders", "").await.index;
    let began = Instant::now();
    let waiting = {
        let surface = surface.clone();
        tokio::spawn(async move {
            ask(
                &surface,
                "GET",
                &format!("health/service/orders?index={index}&wait=1m"),
                "",
            )
            .await
        })
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    put(
        &surface,
        "agent/service/register",
        json!({ "Name": "stock", "Port": 5 }),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!waiting.is_finished(), "it woke for another service");
    put(&surface, "agent/check/fail/service:o1", json!(null)).await;
    let answer = waiting.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 10);
    assert!(answer.index > index);
    assert_eq!(answer.json()[0]["Checks"][1]["Status"], "critical");
}

#[tokio::test(start_paused = true)]
async fn a_wait_lasts_as_long_as_asked_and_at_most_a_sixteenth_more() {
    let surface = surface();
    for (asked, least) in [
        ("wait=2s", 2_000),
        ("wait=160s", 160_000),
        ("", 300_000),
        ("wait=1h", 600_000),
    ] {
        let index = ask(&surface, "GET", "catalog/services", "").await.index;
        let began = Instant::now();
        let answer = ask(&surface, "GET", &format!("catalog/services?index={index}&{asked}"), "").await;
        let waited = began.elapsed().as_millis();
        assert!(
            (least..=least + least / 16 + 2).contains(&waited),
            "{asked}: {waited} ms"
        );
        assert_eq!((answer.status, answer.index), (200, index));
    }
    // An index that we have not given yet is one that was not, or no longer.
    let began = Instant::now();
    ask(&surface, "GET", "catalog/services?index=0", "").await;
    ask(&surface, "GET", "catalog/services?index=999&wait=1m", "").await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn filters_choose_and_unknown_names_are_empty_lists() {
    let surface = surface();
    put(&surface, "agent/service/register", orders()).await;
    put(
        &surface,
        "agent/service/register",
        json!({ "ID": "o2", "Name": "orders", "Tags": ["v1", "v2"], "Check": { "TTL": "9s" } }),
    )
    .await;
    for (query, count) in [
        ("", 2),
        ("?passing", 1),
        ("?passing=1", 1),
        ("?passing=false", 2),
        ("?tag=v1", 2),
        ("?tag=V2", 1),
        ("?tag=v1&tag=v2", 1),
        ("?tag=v3", 0),
        ("?node-meta=a:b", 0),
        ("?dc=dc1&stale&near=_agent&ns=default&cached&pretty", 2),
    ] {
        let found = ask(&surface, "GET", &format!("health/service/orders{query}"), "")
            .await
            .json();
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }
    for path in [
        "health/service/x",
        "health/checks/x",
        "catalog/service/x",
        "health/node/x",
        "health/connect/x",
    ] {
        let answer = ask(&surface, "GET", path, "").await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "[]"), "{path}");
        assert!(answer.index > 1, "{path}");
    }
    assert_eq!(
        ask(&surface, "GET", "catalog/services", "").await.json(),
        json!({ "orders": ["v1", "v2"] })
    );
    assert_eq!(
        ask(&surface, "GET", "catalog/datacenters", "").await.json(),
        json!(["dc1"])
    );
    assert_eq!(
        ask(&surface, "GET", "status/leader", "").await.json(),
        json!("127.0.0.1:8300")
    );
    assert_eq!(ask(&surface, "GET", "agent/health/service/id/o1", "").await.status, 200);
    assert_eq!(
        ask(&surface, "GET", "agent/health/service/name/orders", "")
            .await
            .status,
        503
    );
    assert_eq!(ask(&surface, "GET", "agent/health/service/id/x", "").await.status, 404);
}

#[tokio::test]
async fn keys_are_written_and_read_as_configuration_clients_read_them() {
    let surface = surface();
    let missing = ask(&surface, "GET", "kv/config/app?recurse", "").await;
    assert_eq!((missing.status, missing.text.as_str()), (404, ""));
    assert!(missing.index > 1);
    let written = ask(&surface, "PUT", "kv/config/app/port?flags=3", "80 80").await;
    assert_eq!((written.status, written.text.as_str()), (200, "true"));
    ask(&surface, "PUT", "kv/config/app/name", "").await;
    let one = ask(&surface, "GET", "kv/config/app/port", "").await.json();
    assert_eq!(
        (one[0]["Value"].clone(), one[0]["Flags"].clone()),
        (json!("ODAgODA="), json!(3))
    );
    assert_eq!(ask(&surface, "GET", "kv/config/app/port?raw", "").await.text, "80 80");
    let all = ask(&surface, "GET", "kv/config/?recurse", "").await.json();
    assert_eq!(
        (all.as_array().unwrap().len(), all[0]["Value"].clone()),
        (2, Value::Null)
    );
    let keys = ask(&surface, "GET", "kv/?keys&separator=/", "").await.json();
    assert_eq!(keys, json!(["config/"]));
    assert_eq!(
        ask(&surface, "PUT", "kv/config/app/port?cas=1", "x").await.text,
        "false"
    );
    assert_eq!(ask(&surface, "DELETE", "kv/config?recurse", "").await.text, "true");
    assert_eq!(ask(&surface, "GET", "kv/config/app/port", "").await.status, 404);
}

#[tokio::test]
async fn a_facade_that_is_only_for_reading_says_so() {
    let mut surface = surface();
    surface.writes = Writes::Elsewhere(Arc::new(Elsewhere::Refused));
    let answer = ask(&surface, "PUT", "agent/service/register", &orders().to_string()).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text.contains("writes: refuse"), "{}", answer.text);
    assert_eq!(ask(&surface, "PUT", "catalog/register", "{}").await.status, 403);
    assert_eq!(ask(&surface, "GET", "catalog/services", "").await.json(), json!({}));
}
