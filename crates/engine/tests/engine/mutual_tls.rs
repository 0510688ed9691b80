//! Calls between two engines under mutual TLS, and what a sidecar's inbound side does with anyone else.

use std::{net::SocketAddr, sync::Arc};

use landfall_engine::{Mesh, Own};
use landfall_model::{
    Protocol,
    rules::{
        AuthorizationAction, AuthorizationPolicy, AuthorizationRule, MutualTls, PolicyTarget, SourceMatch, TextLists,
        TextPattern, TrafficPolicy,
    },
    snapshot::Sidecar,
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncWriteExt;

use crate::world::*;

/// An authority with its key.
struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        Self {
            root,
            issuer: Issuer::new(params, key),
        }
    }

    /// What somebody of that name has.
    fn issue(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![dns(name)]).unwrap();
        params
            .subject_alt_names
            .push(SanType::URI(id(name).try_into().unwrap()));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (certificate.der().clone(), key)
    }

    fn own(&self, name: &str) -> Own {
        let (certificate, key) = self.issue(name);
        Own::new(&[certificate], &key, std::slice::from_ref(&self.root)).unwrap()
    }

    fn mesh(&self, name: &str) -> Arc<Mesh> {
        let (certificate, key) = self.issue(name);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Arc::new(Mesh::new(server, name_in, self.own(name)))
    }
}

fn id(name: &str) -> String {
    format!("spiffe://mesh.test/ns/eureka/sa/{name}")
}

fn dns(name: &str) -> String {
    format!("{name}.svid.test")
}

/// The URI in a certificate, found without reading the rest.
fn name_in(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let at = certificate.windows(9).position(|bytes| bytes == b"spiffe://")?;
    let uri: Vec<u8> = certificate[at..]
        .iter()
        .copied()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b":/.-".contains(byte))
        .collect();
    let length = usize::from(certificate[at - 1]);
    String::from_utf8(uri).ok().map(|uri| uri[..length].into())
}

/// The inbound side of the sidecar of `orders`.
fn inbound(application: SocketAddr, mode: MutualTls, mesh: &Arc<Mesh>) -> Plan {
    let mut plan = Plan::to(&[application]);
    Arc::make_mut(&mut plan.listeners[0]).mutual_tls = Some(mode);
    plan.mesh = Some(mesh.clone());
    plan
}

/// A caller that takes the endpoint for the sidecar of somebody.
fn outbound(sidecar: SocketAddr, of: &str, mesh: Option<Arc<Mesh>>) -> Plan {
    let mut endpoint = endpoint(sidecar, Protocol::Http);
    endpoint.sidecar = Some(Arc::new(Sidecar {
        identity: id(of).into(),
        server_name: dns(of).into(),
    }));
    let mut plan = Plan::default()
        .listener(80)
        .cluster_with("orders", vec![endpoint], TrafficPolicy::default())
        .route(rule("/", "orders"));
    plan.mesh = mesh;
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_between_sidecars_is_made_and_taken_by_name_over_one_connection() {
    let authority = Authority::new();
    let application = echoes().await;
    let orders = World::start(&inbound(
        application.address,
        MutualTls::Strict,
        &authority.mesh("orders"),
    ));
    let caller = World::with_workers(
        &outbound(orders.address(80), "orders", Some(authority.mesh("shop"))),
        landfall_engine::ClientLimits::default(),
        1,
    );
    for _ in 0..5 {
        let (status, text) = caller.get("/o/1").await;
        assert_eq!(status, 200, "{text}");
        assert!(
            text.starts_with("GET /o/1\n") && text.contains("x-forwarded-proto: http\n"),
            "{text}"
        );
    }
    eventually("the calls are logged", || orders.log.lines().len() == 5).await;
    let lines = orders.log.lines();
    let peers: Vec<_> = lines
        .iter()
        .map(|line| (line["peer"].as_str(), line["protocol"].as_str()))
        .collect();
    assert_eq!(peers, [(Some(&*id("shop")), Some("HTTP/2")); 5]);
    let clients: std::collections::HashSet<_> = lines.iter().map(|line| line["client"].to_string()).collect();
    assert_eq!(clients.len(), 1, "{clients:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_tells_a_plain_caller_why_and_permissive_takes_both() {
    let authority = Authority::new();
    let application = answers("from orders").await;
    let mesh = authority.mesh("orders");
    let orders = World::start(&inbound(application.address, MutualTls::Strict, &mesh));
    let (status, text) = orders.get("/").await;
    assert_eq!(status, 403);
    assert!(text.contains("under mutual TLS alone"), "{text}");
    // TLS alone is not enough, either: somebody has to show who he is.
    let mut nameless = tls(
        orders.address(80),
        &dns("orders"),
        std::slice::from_ref(&authority.root),
        "http/1.1",
    )
    .await
    .unwrap();
    nameless.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut nameless, &mut answer).await;
    assert!(
        String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 403 "),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(application.requests(), 0);

    orders
        .publish(&inbound(application.address, MutualTls::Permissive, &mesh))
        .await;
    assert_eq!(orders.get("/").await, (200, "from orders".to_owned()));
    let caller = World::start(&outbound(orders.address(80), "orders", Some(authority.mesh("shop"))));
    assert_eq!(caller.get("/").await, (200, "from orders".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_as_somebody_else_or_by_another_authority_gets_no_call() {
    let (authority, other) = (Authority::new(), Authority::new());
    let application = answers("from orders").await;
    let orders = World::start(&inbound(
        application.address,
        MutualTls::Strict,
        &authority.mesh("orders"),
    ));
    let address = orders.address(80);
    for (of, mesh) in [
        ("payments", Some(authority.mesh("shop"))),
        ("orders", Some(other.mesh("shop"))),
        ("orders", None),
    ] {
        let caller = World::start(&outbound(address, of, mesh));
        assert_eq!(caller.get("/").await.0, 502, "{of}");
    }
    assert_eq!(application.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_identity_is_shown_from_the_next_call_on_and_policies_go_by_it() {
    let authority = Authority::new();
    let application = answers("from orders").await;
    let mut plan = inbound(application.address, MutualTls::Strict, &authority.mesh("orders"));
    let principals = TextLists {
        any: TextPattern::parse("mesh.test/ns/eureka/sa/shop").into_iter().collect(),
        none: Vec::new(),
    };
    plan.authorization.push(Arc::new(AuthorizationPolicy {
        name: "shop alone".into(),
        targets: vec![PolicyTarget::All],
        action: AuthorizationAction::Allow,
        rules: vec![AuthorizationRule {
            from: vec![SourceMatch {
                principals,
                ..SourceMatch::default()
            }],
            to: Vec::new(),
        }],
    }));
    let orders = World::start(&plan);
    let mesh = authority.mesh("shop");
    let caller = World::start(&outbound(orders.address(80), "orders", Some(mesh.clone())));
    assert_eq!(caller.get("/").await.0, 200);
    mesh.replace(authority.own("thief"));
    assert_eq!(caller.get("/").await, (403, "RBAC: access denied\n".to_owned()));
    mesh.replace(authority.own("shop"));
    assert_eq!(caller.get("/").await.0, 200);
}

#[test]
fn what_is_no_identity_is_refused_with_its_reason() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("orders");
    let roots = std::slice::from_ref(&authority.root);
    let why =
        |made: Result<Own, landfall_engine::OwnError>| made.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(why(Own::new(&[], &key, roots)), "the identity has no certificate");
    assert_eq!(
        why(Own::new(std::slice::from_ref(&certificate), &key, &[])),
        "the identity has no roots"
    );
    let cut = CertificateDer::from(certificate[..40].to_vec());
    assert_eq!(
        why(Own::new(&[cut], &key, roots)),
        "the identity's certificate cannot be read"
    );
    let no_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(vec![1, 2, 3]));
    assert_eq!(
        why(Own::new(&[certificate], &no_key, roots)),
        "the identity's key cannot be read"
    );
}
