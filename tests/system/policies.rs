//! AuthorizationPolicies from outside: what the gateway lets through, and what `landfall explain` says of it.

use landfall_tests::{Landfall, Origin, landfall::run};

const POLICIES: &str = r#"
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: reads-only }
spec:
  targetRefs: [{ kind: Service, name: origin, namespace: static }]
  rules: [{ to: [{ operation: { methods: [GET] } }] }]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-admin }
spec:
  action: DENY
  rules: [{ to: [{ operation: { paths: ["/admin*"] } }] }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_call_is_answered_403_and_never_reaches_the_service_and_explain_agrees() {
    let origin = Origin::start("origin").await;
    let config = format!("{}{POLICIES}", super::one_origin(origin.address));
    let landfall = Landfall::up(&config).await;
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, config.replace("{port}", "8080")).unwrap();
    for (method, path, allowed) in [
        ("GET", "/", true),
        ("GET", "/orders/1", true),
        ("POST", "/", false),
        ("GET", "/admin", false),
        ("GET", "/%61dmin/users", false),
        ("GET", "//admin", false),
        ("GET", "/%2561dmin", false),
    ] {
        let before = origin.calls();
        let verb = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let answer = landfall.client.request(verb, landfall.url(path)).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        let what = format!("{method} {path}: {status} {text}");
        assert_eq!(status, if allowed { 200 } else { 403 }, "{what}");
        assert_eq!(origin.calls() - before, u64::from(allowed), "{what}");
        assert!(allowed || text.contains("RBAC: access denied"), "{what}");
        assert!(
            !text.contains("no-admin"),
            "a client is not told which rule it was: {what}"
        );

        let url = format!("http://localhost:8080{path}");
        let (code, out, _) = run(&["explain", "--config", file.to_str().unwrap(), method, &url]);
        assert_eq!(code, i32::from(!allowed), "{method} {path}: {out}");
        assert_eq!(out.contains("403: denied"), !allowed, "{method} {path}: {out}");
    }
    let (_, out, _) = run(&[
        "explain",
        "--config",
        file.to_str().unwrap(),
        "http://localhost:8080/admin",
    ]);
    assert!(out.contains("AuthorizationPolicy no-admin, rule 0"), "{out}");
}
