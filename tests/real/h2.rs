//! h2spec, the HTTP/2 conformance checker, against a cleartext and a TLS listener.

use std::{path::Path, process::Command};

use landfall_tests::{Landfall, Origin, landfall};

fn h2spec(port: u16, tls: bool) -> String {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("h2spec/build");
    let built = Command::new(build).output().expect("tests/h2spec/build runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let binary = String::from_utf8(built.stdout).expect("a path").trim().to_owned();
    let mut command = Command::new(binary);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-o", "5"]);
    if tls {
        command.args(["-t", "-k"]);
    }
    let output = command.output().expect("h2spec runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// h2spec's exit code says nothing in this version; its closing line does.
fn assert_passed(report: &str) {
    let closing = report
        .lines()
        .rev()
        .find(|line| line.contains(" passed"))
        .unwrap_or_default();
    assert!(closing.contains(", 0 failed"), "{report}");
    let passed = closing
        .split(", ")
        .find_map(|part| part.strip_suffix(" passed"))
        .and_then(|count| count.parse::<u32>().ok());
    assert!(passed.is_some_and(|passed| passed > 90), "{closing}");
}

fn configuration(origin: std::net::SocketAddr, listener: &str, rest: &str) -> String {
    format!(
        "{}---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec:\n  gatewayClassName: landfall\n  \
         addresses: [{{ type: IPAddress, value: 127.0.0.1 }}]\n  listeners: [{listener}]\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: all }}\nspec:\n  \
         parentRefs: [{{ name: edge }}]\n  rules: [{{ backendRefs: [{{ name: origin, namespace: static }}] }}]\n{rest}",
        super::registry(
            "static",
            &format!("static: {{ services: [{{ name: origin, instances: [\"{origin}\"] }}] }}")
        ),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn h2spec_passes_against_a_cleartext_listener() {
    let origin = Origin::start("origin").await;
    let landfall = Landfall::up(&configuration(
        origin.address,
        "{ name: web, port: {port}, protocol: HTTP }",
        "",
    ))
    .await;
    let port = landfall.port;
    let report = tokio::task::spawn_blocking(move || h2spec(port, false)).await.unwrap();
    assert_passed(&report);
}

#[tokio::test(flavor = "multi_thread")]
async fn h2spec_passes_against_a_tls_listener() {
    landfall::install_crypto();
    let origin = Origin::start("origin").await;
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = tempfile::TempDir::new().unwrap();
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let listener = "{ name: web, port: {port}, protocol: HTTPS, tls: { certificateRefs: \
        [{ group: landfall.dev, kind: Certificate, name: local }] } }";
    let rest = format!(
        "---\napiVersion: landfall.dev/v1\nkind: Certificate\nmetadata: {{ name: local }}\nspec: {{ certificate: \"file:{}\", key: \"file:{}\" }}\n",
        certificate.display(),
        key.display()
    );
    let landfall = Landfall::up(&configuration(origin.address, listener, &rest)).await;
    let port = landfall.port;
    let report = tokio::task::spawn_blocking(move || h2spec(port, true)).await.unwrap();
    assert_passed(&report);
}
