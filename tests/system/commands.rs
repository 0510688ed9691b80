//! Commands that answer a question: what they print, and how they end.

use landfall_tests::{Landfall, Origin, landfall};

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    (dir, path.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_good_configuration_validates_and_passes_the_preflight() {
    let origin = Origin::start("origin").await;
    let port = landfall::free_port().to_string();
    let (_dir, path) = file(&super::one_origin(origin.address).replace("{port}", &port));
    let (code, out, err) = landfall::run(&["validate", &path]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("1 registry, 1 listener, 1 route"), "{out}");
    let (code, out, err) = landfall::run(&["check", "--config", &path]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("registry static: reached, 1 service"), "{out}");
    assert!(out.contains(&format!("127.0.0.1:{port} is free")), "{out}");
    assert!(
        std::net::TcpListener::bind(("127.0.0.1", port.parse().unwrap())).is_ok(),
        "nothing is left behind"
    );
}

#[test]
fn a_preflight_names_each_thing_that_would_fail() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let nobody = landfall::free_port();
    let registry = format!(
        "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: eureka }}\nspec: {{ eureka: {{ urls: [\"http://127.0.0.1:{nobody}/eureka\"] }} }}\n"
    );
    let text = [
        registry,
        super::gateway(),
        super::route("orders", "/", &[("orders", "eureka", 1)]),
    ]
    .join("---\n");
    let (_dir, path) = file(&text.replace("{port}", &port));
    let (code, out, err) = landfall::run(&["check", "--config", &path, "--wait", "1"]);
    assert_eq!(code, 1, "{out}{err}");
    let failed: Vec<&str> = out.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert!(
        failed
            .iter()
            .any(|line| line.contains("registry eureka") && line.contains(&nobody.to_string())),
        "{out}"
    );
    assert!(failed.iter().any(|line| line.contains(&port)), "{out}");
}

#[tokio::test]
async fn explain_tells_the_route_from_a_file_and_from_a_running_landfall() {
    let origin = Origin::start("origin").await;
    let config = super::one_origin(origin.address);
    let landfall = Landfall::up(&config).await;
    let path = landfall.dir.path().join("config.yaml");
    let url = format!("http://localhost:{}/orders/1", landfall.port);
    let admin = format!("127.0.0.1:{}", landfall.admin);
    for asked in [["--config", path.to_str().unwrap()], ["--admin", &admin]] {
        let (code, out, err) = landfall::run(&["explain", asked[0], asked[1], "GET", &url]);
        assert_eq!(code, 0, "{asked:?}: {out}{err}");
        assert!(
            out.contains("default/origin rule 0") && out.contains(&origin.address.to_string()),
            "{out}"
        );
    }
    let (code, out, err) = landfall::run(&["explain", "--admin", &admin, "GET", "not a url"]);
    assert_ne!(code, 0, "{out}{err}");
    assert!(!err.contains("panicked"), "{err}");
}

#[tokio::test]
async fn explain_and_get_tell_where_calls_of_dubbo_go() {
    let origin = Origin::start("origin").await;
    let calls = landfall::free_port();
    let config = [
        super::one_origin(origin.address).replace("listeners: [", &format!("listeners: [{{ name: calls, port: {calls}, protocol: Dubbo }}, ")),
        "apiVersion: landfall.dev/v1\nkind: DubboRoute\nmetadata: { name: greeter }\nspec:\n  parentRefs: [{ name: edge, sectionName: calls }]\n  \
         rules:\n    - matches: [{ interface: { value: org.example.Greeter }, method: { type: RegularExpression, value: \"get.*\" } }]\n      \
         backendRefs: [{ name: origin, namespace: static }]\n"
            .to_owned(),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let path = landfall.dir.path().join("config.yaml");
    let admin = format!("127.0.0.1:{}", landfall.admin);
    let url = |method: &str| format!("dubbo://localhost:{calls}/org.example.Greeter?method={method}");
    for asked in [["--config", path.to_str().unwrap()], ["--admin", &admin]] {
        let (code, out, err) = landfall::run(&["explain", asked[0], asked[1], &url("getName")]);
        assert_eq!(code, 0, "{asked:?}: {out}{err}");
        assert!(
            out.contains("default/greeter rule 0") && out.contains(&origin.address.to_string()),
            "{out}"
        );
        let (code, out, err) = landfall::run(&["explain", asked[0], asked[1], &url("setName")]);
        assert_eq!(code, 1, "{asked:?}: {out}{err}");
        assert!(
            out.contains("answer    60") && out.contains("its method does not match"),
            "{out}"
        );
    }
    let (code, out, err) = landfall::run(&["get", "routes", "--admin", &admin]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("default/greeter") && out.contains("interface=org.example.Greeter method~get.*"),
        "{out}"
    );
}

#[tokio::test]
async fn get_and_why_print_tables_json_and_yaml() {
    let origin = Origin::start("origin").await;
    let landfall = Landfall::up(&super::one_origin(origin.address)).await;
    let admin = format!("127.0.0.1:{}", landfall.admin);
    let expected = [
        ("registries", "static"),
        ("services", "origin"),
        ("endpoints", &*origin.address.to_string()),
        ("routes", "default/origin"),
        ("listeners", "edge/web"),
        ("conflicts", "conflicts"),
        ("config", "version"),
    ];
    for (what, word) in expected {
        for output in ["text", "wide", "json", "yaml"] {
            let (code, out, err) = landfall::run(&["get", what, "-o", output, "--admin", &admin]);
            assert_eq!(code, 0, "{what} {output}: {out}{err}");
            assert!(out.contains(word), "{what} {output}: {out}");
            if output == "json" {
                serde_json::from_str::<serde_json::Value>(&out).unwrap();
            }
        }
    }
    let (code, out, err) = landfall::run(&["why", "origin.static", "--admin", &admin]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains(&format!("gets calls at {}", origin.address)), "{out}");
    let (code, out, err) = landfall::run(&["why", "nobody", "--admin", &admin]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("nobody"), "{err}");
}

#[test]
fn the_schema_is_json_and_names_every_kind() {
    let (code, out, err) = landfall::run(&["schema"]);
    assert_eq!(code, 0, "{err}");
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    let text = schema.to_string();
    for kind in [
        "Registry",
        "Gateway",
        "HTTPRoute",
        "MeshService",
        "ServicePolicy",
        "Certificate",
    ] {
        assert!(text.contains(&format!("\"{kind}\"")), "{kind} is missing");
    }
}

#[tokio::test]
async fn a_running_landfall_ends_with_0_after_sigterm_and_lets_calls_in_flight_finish() {
    let origin = Origin::start("origin").await;
    let landfall = Landfall::up(&super::one_origin(origin.address)).await;
    origin.delay(std::time::Duration::from_secs(2));
    let call = tokio::spawn(landfall.client.get(landfall.url("/slow")).send());
    landfall_tests::eventually("the call is in flight", || async {
        if origin.calls() == 1 {
            Ok(())
        } else {
            Err(origin.calls().to_string())
        }
    })
    .await;
    let status = landfall.stop().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}
