//! Bad input: each row gets a clear error that names the place, and nothing panics.

use std::net::TcpListener;

use axum::{Json, Router, routing::get};
use landfall_tests::{Landfall, Origin, eventually, landfall};
use serde_json::json;

fn validate(text: &str) -> (i32, String) {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let (code, out, err) = landfall::run(&["validate", path.to_str().unwrap()]);
    (code, format!("{out}{err}"))
}

fn yaml_bomb() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let list = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    text
}

#[test]
fn a_bad_file_is_refused_with_its_place() {
    let gateway = super::gateway().replace("{port}", "8080");
    let table: Vec<(&str, String)> = vec![
        ("a YAML bomb", yaml_bomb()),
        ("a cyclic alias", "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: &m { name: x, labels: *m }\n".to_owned()),
        ("deep nesting", format!("a: {}{}", "[".repeat(5000), "]".repeat(5000))),
        ("a file of 10 MB", format!("# {}\n", "x".repeat(10 << 20))),
        ("a list instead of a document", "- 1\n- 2\n".to_owned()),
        ("a text instead of a document", "hello\n".to_owned()),
        ("an unknown kind", "apiVersion: landfall.dev/v1\nkind: Regsitry\nmetadata: { name: x }\n".to_owned()),
        ("a kind of another API", "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\n".to_owned()),
        ("no kind", "apiVersion: landfall.dev/v1\nmetadata: { name: x }\n".to_owned()),
        ("an unknown field", gateway.replace("gatewayClassName", "gatewayClas")),
        ("a port that is none", super::gateway().replace("{port}", "80800")),
        ("a broken quote", format!("{gateway}  x: \"never ends\n")),
        ("a NUL byte", format!("{gateway}# \0\n")),
        (
            "a registry URL that is no URL",
            "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: { name: e }\nspec: { eureka: { urls: [\"not a url\"] } }\n".to_owned(),
        ),
        (
            "a secret in the open",
            "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: { name: c }\nspec: { consul: { address: \"http://127.0.0.1:8500\", token: abcdef-secret } }\n".to_owned(),
        ),
    ];
    for (what, text) in table {
        let (code, said) = validate(&text);
        assert_eq!(code, 1, "{what}: {said}");
        let place = said.lines().any(|line| {
            line.contains("config.yaml:") && line.split(':').nth(1).is_some_and(|n| n.parse::<u32>().is_ok())
        });
        assert!(place, "{what} is refused without a place: {said}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        assert!(!said.contains("abcdef-secret"), "{what} prints the secret: {said}");
    }
}

#[test]
fn invalid_utf_8_and_a_missing_file_are_refused_by_name() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, b"kind: \xff\xfe\n").unwrap();
    let (code, out, err) = landfall::run(&["validate", path.to_str().unwrap()]);
    assert!(
        code == 1 && format!("{out}{err}").contains("config.yaml"),
        "{code} {out}{err}"
    );
    let (code, out, err) = landfall::run(&["validate", dir.path().join("absent.yaml").to_str().unwrap()]);
    assert!(
        code == 1 && format!("{out}{err}").contains("absent.yaml"),
        "{code} {out}{err}"
    );
}

#[test]
fn a_port_in_use_is_named_and_the_exit_code_is_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(
        &path,
        super::one_origin(([127, 0, 0, 1], 9).into()).replace("{port}", &port.to_string()),
    )
    .unwrap();
    let data = dir.path().join("data");
    let admin = format!("127.0.0.1:{}", landfall::free_port());
    let arguments = [
        "up",
        "--config",
        path.to_str().unwrap(),
        "--admin",
        &admin,
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let (code, out, err) = landfall::run(&arguments);
    assert_eq!(code, 3, "{out}{err}");
    assert!(err.contains(&port.to_string()) && err.contains("in use"), "{err}");
}

#[test]
fn an_admin_port_in_use_is_named_and_the_exit_code_is_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = taken.local_addr().unwrap().to_string();
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("config.yaml");
    let port = landfall::free_port().to_string();
    std::fs::write(
        &path,
        super::one_origin(([127, 0, 0, 1], 9).into()).replace("{port}", &port),
    )
    .unwrap();
    let data = dir.path().join("data");
    let arguments = [
        "up",
        "--config",
        path.to_str().unwrap(),
        "--admin",
        &admin,
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let (code, out, err) = landfall::run(&arguments);
    assert_eq!(code, 3, "{out}{err}");
    assert!(err.contains(&admin), "{err}");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_nobody_there_with_3() {
    assert_eq!(landfall::run(&["upp"]).0, 2);
    assert_eq!(landfall::run(&["up"]).0, 2);
    let admin = format!("127.0.0.1:{}", landfall::free_port());
    let (code, out, err) = landfall::run(&["get", "registries", "--admin", &admin]);
    assert_eq!(code, 3, "{out}{err}");
    assert!(err.contains(&admin), "{err}");
}

async fn serve(app: Router) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[tokio::test]
async fn an_eureka_record_without_its_app_is_quarantined_and_its_sibling_serves() {
    let origin = Origin::start("orders").await;
    let instance = |id: &str, port: u16| {
        json!({ "instanceId": id, "hostName": "127.0.0.1", "app": "ORDERS", "ipAddr": "127.0.0.1", "status": "UP",
            "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"} })
    };
    let good = instance("good", origin.address.port());
    let mut bad = instance("bad", origin.address.port());
    bad.as_object_mut().unwrap().remove("app");
    let apps = json!({"applications": {"versions__delta": "1", "apps__hashcode": "UP_2_",
        "application": [{"name": "ORDERS", "instance": [good, bad]}]}});
    let answer = move || {
        let apps = apps.clone();
        async move { Json(apps) }
    };
    let registry = serve(Router::new().fallback(get(answer))).await;
    let config = [
        format!(
            "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: eureka }}\nspec:\n  eureka: {{ urls: [\"http://{registry}/eureka\"], poll: 200ms }}\n"
        ),
        super::gateway(),
        super::route("orders", "/", &[("orders", "eureka", 1)]),
    ]
    .join("\n---\n");
    let landfall = Landfall::up(&config).await;
    let (status, body) = landfall.get("/").await.unwrap();
    assert_eq!(status, 200, "{body}");
    let registries = landfall.admin("/api/v1/registries").await.unwrap().to_string();
    assert!(registries.contains("bad"), "the bad record is shown: {registries}");
}

#[tokio::test]
async fn a_consul_that_answers_html_is_stale_with_the_reason_and_nothing_panics() {
    let registry =
        serve(Router::new().fallback(get(|| async { axum::response::Html("<html>please log in</html>") }))).await;
    let config = [
        format!(
            "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: consul }}\nspec:\n  consul: {{ address: \"http://{registry}\" }}\n"
        ),
        super::gateway(),
        super::route("stock", "/", &[("stock", "consul", 1)]),
    ]
    .join("\n---\n");
    let landfall = Landfall::start(&config).await;
    eventually("the registry is shown as stale, with the reason", || async {
        let registries = landfall.admin("/api/v1/registries").await?.to_string();
        let told = registries.contains("\"state\":\"stale\"") && registries.contains("please log in");
        if told { Ok(()) } else { Err(registries) }
    })
    .await;
    let (status, body) = landfall.get("/").await.unwrap();
    assert!(
        status >= 500,
        "no service is known, so the answer is an error and not a closed connection: {status} {body}"
    );
    assert!(!landfall.log().contains("panicked"), "{}", landfall.log());
}
