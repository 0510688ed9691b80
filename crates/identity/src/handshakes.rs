//! Real handshakes over memory: rotation under them, and every peer that must be refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

fn id(service: &str) -> SpiffeId {
    SpiffeId::new(&domain("mesh"), "eureka", service).unwrap()
}

fn authority(name: &str) -> (tempfile::TempDir, Ca) {
    let directory = tempfile::tempdir().unwrap();
    let ca = Ca::open(&directory.path().join("ca"), domain(name), DAY, SystemTime::now()).unwrap();
    (directory, ca)
}

fn identity(ca: &Ca, id: &SpiffeId) -> Identity {
    let (key, now) = (HostKey::generate().unwrap(), SystemTime::now());
    let certificate = ca.issue(id, &key.request(id).unwrap(), now).unwrap();
    Identity::new(vec![certificate], key.private(), ca.bundle().unwrap(), now).unwrap()
}

fn told(error: rustls::Error) -> String {
    PeerError::of(&error).map_or_else(|| error.to_string(), PeerError::to_string)
}

fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<ServerConnection, String> {
    let mut client = ClientConnection::new(client.clone(), "landfall".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().map_err(told)?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().map_err(told)?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    Ok(server)
}

fn client(live: &Live, expected: Expected) -> Arc<ClientConfig> {
    Arc::new(live.client_config(expected).unwrap())
}

fn server(live: &Live, clients: Clients) -> Arc<ServerConfig> {
    Arc::new(live.server_config(clients).unwrap())
}

#[test]
fn rotating_certificate_and_root_fails_no_handshake() {
    let (_directory, mut ca) = authority("mesh");
    let (orders, stock) = (
        Live::new(identity(&ca, &id("orders"))),
        Live::new(identity(&ca, &id("stock"))),
    );
    let (done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let shaking = scope.spawn(|| {
            let from = client(&orders, Expected::OneOf([id("stock")].into()));
            let to = server(&stock, Clients::Strict);
            while !done.load(Ordering::Relaxed) {
                shake(&from, &to)?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, String>(())
        });
        // Each step is met by whole handshakes before the next one is taken.
        let more = || {
            let (until, deadline) = (
                count.load(Ordering::Relaxed) + 3,
                Instant::now() + Duration::from_secs(60),
            );
            while count.load(Ordering::Relaxed) < until && !shaking.is_finished() {
                assert!(Instant::now() < deadline, "no handshakes");
                std::thread::yield_now();
            }
        };
        let renew = |ca: &Ca| {
            for (live, name) in [(&orders, "orders"), (&stock, "stock")] {
                live.replace(identity(ca, &id(name)));
                more();
            }
        };
        let now = SystemTime::now();
        renew(&ca);
        ca.prepare_root(now).unwrap();
        renew(&ca);
        ca.use_next_root(now).unwrap();
        renew(&ca);
        assert_eq!(
            ca.drop_expired(now).unwrap(),
            0,
            "certificates under the old root are valid"
        );
        assert_eq!(ca.drop_expired(now + DAY + Duration::from_secs(2)).unwrap(), 1);
        renew(&ca);
        done.store(true, Ordering::Relaxed);
        shaking.join().unwrap().unwrap();
    });
}

#[test]
fn the_peer_of_a_mutual_connection_renews_its_own_name_and_no_other() {
    let (_directory, ca) = authority("mesh");
    let (orders, control) = (
        Live::new(identity(&ca, &id("orders"))),
        Live::new(identity(&ca, &id("control"))),
    );
    let connection = shake(
        &client(&orders, Expected::OneOf([id("control")].into())),
        &server(&control, Clients::Strict),
    );
    let connection = connection.unwrap();
    let peer = leaf::read(&connection.peer_certificates().unwrap()[0]).unwrap().id;
    let (key, now) = (HostKey::generate().unwrap(), SystemTime::now());
    let renewed = ca.issue(&peer, &key.request(&id("orders")).unwrap(), now).unwrap();
    assert_eq!(leaf::read(&renewed).unwrap().id, id("orders"));
    let other = ca.issue(&peer, &key.request(&id("control")).unwrap(), now);
    assert!(matches!(other, Err(CaError::Request(RequestError::Name { .. }))));
}

#[test]
fn only_the_expected_and_only_our_own_are_talked_to() {
    let (_ours, ca) = authority("mesh");
    let (_theirs, other) = authority("mesh");
    let (_abroad, foreign) = authority("abroad");
    let orders = Live::new(identity(&ca, &id("orders")));
    let stock = server(&Live::new(identity(&ca, &id("stock"))), Clients::Strict);
    let error = shake(&client(&orders, Expected::OneOf([id("prices")].into())), &stock).unwrap_err();
    assert!(error.contains("another identity was expected"), "{error}");

    let impostor = Live::new(identity(&other, &id("stock")));
    let error = shake(
        &client(&orders, Expected::TrustDomain),
        &server(&impostor, Clients::Strict),
    )
    .unwrap_err();
    assert!(error.contains("no root in the bundle of `mesh` vouches"), "{error}");

    let stranger = SpiffeId::new(&domain("abroad"), "eureka", "stock").unwrap();
    let stranger = Live::new(identity(&foreign, &stranger));
    let error = shake(
        &client(&orders, Expected::TrustDomain),
        &server(&stranger, Clients::Strict),
    )
    .unwrap_err();
    assert!(error.contains("another trust domain; here it is `mesh`"), "{error}");
}

/// A client that has no certificate.
#[derive(Debug)]
struct Nothing;

impl rustls::client::ResolvesClientCert for Nothing {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_client_without_certificate_is_let_in_by_permissive_alone() {
    let (_directory, ca) = authority("mesh");
    let live = Live::new(identity(&ca, &id("stock")));
    let mut bare = live.client_config(Expected::TrustDomain).unwrap();
    bare.client_auth_cert_resolver = Arc::new(Nothing);
    let bare = Arc::new(bare);
    shake(&bare, &server(&live, Clients::Permissive)).unwrap();
    let error = shake(&bare, &server(&live, Clients::Strict)).unwrap_err();
    assert!(error.contains("sent no certificates"), "{error}");
}

#[test]
fn a_wrong_clock_is_told_with_both_times() {
    let (_directory, ca) = authority("mesh");
    let (key, now) = (HostKey::generate().unwrap(), SystemTime::now());
    let certificate = ca
        .issue(&id("orders"), &key.request(&id("orders")).unwrap(), now)
        .unwrap();
    let verify = |at| {
        ca.bundle()
            .unwrap()
            .verify(&certificate, &[], Role::Client, verify::unix(at))
    };
    assert_eq!(verify(now).unwrap(), id("orders"));
    let seconds = |at| verify::unix(at).as_secs();
    let early = now - Duration::from_secs(3600);
    let from = seconds(now - Duration::from_secs(300));
    assert!(
        matches!(verify(early), Err(PeerError::NotYet { not_before, now, .. }) if (not_before, now) == (from, seconds(early)))
    );
    let late = now + 2 * DAY;
    assert!(
        matches!(verify(late), Err(PeerError::Expired { not_after, now: at, .. }) if (not_after, at) == (seconds(now + DAY), seconds(late)))
    );
}

#[test]
fn a_request_for_another_name_or_cut_or_forged_is_refused() {
    let (_directory, ca) = authority("mesh");
    let (key, now) = (HostKey::generate().unwrap(), SystemTime::now());
    let request = key.request(&id("prices")).unwrap();
    let error = ca.issue(&id("orders"), &request, now).unwrap_err().to_string();
    assert!(
        error.contains("it asks for `spiffe://mesh/ns/eureka/sa/prices`, but the asker is"),
        "{error}"
    );
    for cut in 0..request.len() {
        assert!(ca.issue(&id("prices"), &request[..cut], now).is_err(), "{cut}");
    }
    let mut forged = request.clone();
    *forged.last_mut().unwrap() ^= 1;
    let forged = ca.issue(&id("prices"), &forged, now);
    assert!(matches!(forged, Err(CaError::Request(RequestError::Signature))));
    let abroad = SpiffeId::new(&domain("abroad"), "eureka", "orders").unwrap();
    assert!(matches!(ca.issue(&abroad, &request, now), Err(CaError::Domain(_))));
}

#[test]
fn a_leaf_with_two_names_or_for_one_direction_is_no_identity() {
    let pair = KeyPair::generate().unwrap();
    let issuer = Issuer::new(CertificateParams::default(), &pair);
    let leaf = |change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id("orders").to_string().try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        leaf::read(params.signed_by(&pair, &issuer).unwrap().der())
    };
    assert_eq!(leaf(|_| ()).unwrap().id, id("orders"));
    let two = leaf(|params| params.subject_alt_names.extend(params.subject_alt_names.clone()));
    assert_eq!(two.unwrap_err(), leaf::LeafError::Names(2));
    assert_eq!(
        leaf(|params| params.subject_alt_names.clear()).unwrap_err(),
        leaf::LeafError::Names(0)
    );
    assert!(leaf(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).is_err());
    assert!(leaf(|params| params.key_usages.clear()).is_err());
    assert!(leaf(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]).is_err());
}

#[test]
fn a_key_of_another_certificate_makes_no_identity() {
    let (_directory, ca) = authority("mesh");
    let (key, other, now) = (
        HostKey::generate().unwrap(),
        HostKey::generate().unwrap(),
        SystemTime::now(),
    );
    let certificate = ca
        .issue(&id("orders"), &key.request(&id("orders")).unwrap(), now)
        .unwrap();
    let mixed = Identity::new(vec![certificate.clone()], other.private(), ca.bundle().unwrap(), now);
    assert!(matches!(mixed, Err(IdentityError::Key)));
    let cut = CertificateDer::from(certificate[..certificate.len() - 1].to_vec());
    let cut = Identity::new(vec![cut], key.private(), ca.bundle().unwrap(), now);
    assert!(matches!(cut, Err(IdentityError::Leaf(_))));
}

#[test]
fn an_authority_is_private_on_disk_opened_again_and_left_alone_when_damaged() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, mut ca) = authority("mesh");
    let (at, now) = (directory.path().join("ca"), SystemTime::now());
    let file = at.join("ca.json");
    ca.prepare_root(now).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&at), mode(&file)), (0o700, 0o600));
    assert_eq!(Ca::open(&at, domain("mesh"), DAY, now).unwrap().roots(), ca.roots());
    assert!(ca.prepare_root(now).is_err(), "one root at a time");

    let refused = |name: &str| {
        Ca::open(&at, domain(name), DAY, now)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    assert!(refused("abroad").contains("authority of `mesh`"));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(refused("mesh").contains("ca.json: it is cut or damaged"));
    assert_eq!(std::fs::read(&file).unwrap(), whole[..whole.len() / 2]);
    std::fs::write(&file, &whole).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(refused("mesh").contains("chmod go="));
}
