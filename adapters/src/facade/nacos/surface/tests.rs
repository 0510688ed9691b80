use http::header::CONTENT_TYPE;
use serde_json::json;

use super::*;
use crate::facade::nacos::book::Limits;

struct Asker(Surface);

impl Asker {
    fn new(writes: Writes) -> Self {
        let book = Book::new("public", Limits::default(), 1);
        Self(Surface::new(Shared::new(book), writes))
    }

    async fn ask(&self, method: &str, path: &str, form: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/nacos/{path}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let response = self.0.answer(request).await;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, method: &str, path: &str, form: &str) -> Value {
        let (status, body) = self.ask(method, path, form).await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

#[tokio::test]
async fn an_instance_lives_by_its_beats_over_v1() {
    let asker = Asker::new(Writes::Here);
    let register =
        "serviceName=blue@@orders&ip=10.0.0.1&port=80&weight=2.5&metadata=%7B%22a%22%3A%22b%22%7D&clusterName=C";
    assert_eq!(asker.ask("POST", "v1/ns/instance", register).await, ok("ok"));
    let list = asker
        .json("GET", "v1/ns/instance/list?serviceName=orders&groupName=blue", "")
        .await;
    assert_eq!(
        (&list["name"], &list["groupName"]),
        (&json!("blue@@orders"), &json!("blue"))
    );
    let host = &list["hosts"][0];
    assert_eq!(
        (
            &host["weight"],
            &host["metadata"],
            &host["clusterName"],
            &host["serviceName"]
        ),
        (&json!(2.5), &json!({ "a": "b" }), &json!("C"), &json!("blue@@orders"))
    );
    let one = asker
        .json(
            "GET",
            "v1/ns/instance?serviceName=blue@@orders&ip=10.0.0.1&port=80&cluster=C",
            "",
        )
        .await;
    assert_eq!(
        (&one["service"], &one["healthy"]),
        (&json!("blue@@orders"), &json!(true))
    );
    let light = "serviceName=blue@@orders&ip=10.0.0.1&port=80&clusterName=C";
    let taken = json!({ "clientBeatInterval": 5000, "code": 10200, "lightBeatEnabled": true });
    assert_eq!(asker.json("PUT", "v1/ns/instance/beat", light).await, taken);
    assert_eq!(
        asker
            .json("GET", "v1/ns/service/list?pageNo=1&pageSize=10&groupName=blue", "")
            .await,
        json!({ "count": 1, "doms": ["orders"] })
    );
    let change = format!("{light}&enabled=false");
    assert_eq!(asker.ask("PUT", "v1/ns/instance", &change).await, ok("ok"));
    let list = asker
        .json("GET", "v1/ns/instance/list?serviceName=blue@@orders", "")
        .await;
    assert_eq!(list["hosts"], json!([]));
    let one = asker
        .json(
            "GET",
            "v1/ns/instance?serviceName=blue@@orders&ip=10.0.0.1&port=80&cluster=C",
            "",
        )
        .await;
    assert_eq!((&one["weight"], &one["metadata"]), (&json!(2.5), &json!({ "a": "b" })));
    assert_eq!(
        asker.ask("DELETE", &format!("v1/ns/instance?{light}"), "").await,
        ok("ok")
    );
    let beat = asker.json("PUT", "v1/ns/instance/beat", light).await;
    assert_eq!(beat["code"], 20404, "unknown: send it whole");
    let whole = r#"{"ip":"10.0.0.1","port":80,"cluster":"C","serviceName":"blue@@orders","weight":1}"#;
    let whole = format!("serviceName=blue@@orders&beat={whole}");
    assert_eq!(asker.json("PUT", "v1/ns/instance/beat", &whole).await, taken);
    assert!(asker.0.shared.read(|book| book.len()) == 1);
}

#[tokio::test]
async fn v2_has_the_same_in_an_envelope() {
    let asker = Asker::new(Writes::Here);
    let good = |data: Value| json!({ "code": 0, "message": "success", "data": data });
    let at = "serviceName=orders&ip=10.0.0.1&port=80";
    assert_eq!(asker.json("POST", "v2/ns/instance", at).await, good(json!("ok")));
    let list = asker.json("GET", &format!("v2/ns/instance/list?{at}"), "").await;
    assert_eq!(list["data"]["hosts"][0]["port"], 80);
    let other = asker
        .json("GET", "v2/ns/instance/list?serviceName=orders&ip=10.0.0.1&port=81", "")
        .await;
    assert_eq!(other["data"]["hosts"], json!([]));
    assert_eq!(
        asker.json("GET", "v2/ns/service/list", "").await,
        good(json!({ "count": 1, "services": ["orders"] }))
    );
    let (status, body) = asker
        .ask("GET", "v2/ns/instance?serviceName=orders&ip=10.0.0.9&port=1", "")
        .await;
    let fault: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &fault["code"]), (404, &json!(20004)), "{body}");
    let (status, body) = asker.ask("POST", "v2/ns/instance", "serviceName=orders").await;
    let fault: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &fault["code"]), (400, &json!(10000)), "{body}");
    assert_eq!(fault["data"], "Param 'ip' is required.");
}

#[tokio::test]
async fn what_makes_no_sense_is_an_error_that_says_so() {
    let asker = Asker::new(Writes::Here);
    let long = format!("serviceName=a&ip=b&port=1&metadata=k={}", "x".repeat(70 << 10));
    for (method, path, form, status, word) in [
        ("POST", "v1/ns/instance", "", 400, "'serviceName' is required"),
        (
            "POST",
            "v1/ns/instance",
            "serviceName=a&ip=b&port=x",
            400,
            "'port' is no number",
        ),
        (
            "POST",
            "v1/ns/instance",
            "serviceName=a&ip=b&port=1&ephemeral=false",
            400,
            "ephemeral=true",
        ),
        (
            "POST",
            "v1/ns/instance",
            "serviceName=a&ip=b&port=1&metadata=%7B",
            400,
            "'metadata'",
        ),
        (
            "POST",
            "v1/ns/instance",
            "serviceName=a&ip=b&port=1&weight=nan",
            400,
            "weights",
        ),
        ("POST", "v1/ns/instance", &long, 400, "bytes of metadata"),
        ("PUT", "v1/ns/instance", "serviceName=a&ip=b&port=1", 400, "not found"),
        ("PUT", "v1/ns/instance/beat", "serviceName=a&beat=%7B", 400, "'beat'"),
        ("PUT", "v1/ns/instance/beat", "serviceName=a&beat=[]", 400, "instance"),
        (
            "GET",
            "v1/ns/instance?serviceName=a&ip=b&port=1",
            "",
            404,
            "no matched ip",
        ),
        ("GET", "v1/ns/service/list", "", 400, "'pageNo' is required"),
        ("GET", "v1/ns/service?serviceName=a", "", 400, "not found"),
        ("POST", "v1/ns/service", "serviceName=a", 501, "as soon as"),
        ("PATCH", "v1/ns/instance", "", 405, "PATCH"),
        ("GET", "v1/cs/configs?dataId=a&group=b", "", 501, "naming half"),
        ("GET", "v1/core/cluster/nodes", "", 404, "naming"),
    ] {
        let (code, body) = asker.ask(method, path, form).await;
        assert!(code == status && body.contains(word), "{method} {path}: {code} {body}");
    }
    assert!(asker.0.shared.read(|book| book.is_empty()));
}

#[tokio::test]
async fn what_clients_probe_is_answered() {
    let asker = Asker::new(Writes::Here);
    assert_eq!(
        asker.json("GET", "v1/ns/operator/metrics", "").await,
        json!({ "status": "UP" })
    );
    assert_eq!(asker.ask("GET", "v1/console/health/readiness", "").await, ok("OK"));
    for path in ["v1/auth/login", "v1/auth/users/login"] {
        let token = asker.json("POST", path, "username=u&password=p").await;
        assert_eq!((&token["username"], &token["tokenTtl"]), (&json!("u"), &json!(18000)));
        assert!(!token["accessToken"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_facade_for_reading_refuses_writes_and_still_lets_clients_log_in() {
    let asker = Asker::new(Writes::Elsewhere(Arc::new(Elsewhere::Refused)));
    let (status, body) = asker.ask("POST", "v1/ns/instance", "serviceName=a&ip=b&port=1").await;
    assert!(status == 403 && body.contains("writes: refuse"), "{status} {body}");
    assert_eq!(asker.ask("PUT", "v1/ns/instance/beat", "serviceName=a").await.0, 403);
    asker.json("POST", "v1/auth/login", "username=u&password=p").await;
    let list = asker.json("GET", "v1/ns/instance/list?serviceName=a", "").await;
    assert_eq!(list["hosts"], json!([]));
}
