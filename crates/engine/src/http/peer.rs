//! How an endpoint is reached: HTTP version, TLS, timeouts, pooling. pingora's defaults that hurt are set here.
//!
//! | pingora's default | here |
//! |---|---|
//! | no timeout at all | connect from the policy; reads and writes by deadline and idle timeout |
//! | one HTTP/2 stream per connection | 128 |
//! | HTTP/2 windows of 8 MiB, held for slow readers | 256 KiB a stream, 1 MiB a connection |
//! | pooled connections live for ever | 60 s idle |
//! | an empty server name means a broken handshake | the address, verified as such |

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use landfall_model::{Endpoint, Protocol, Snapshot, rules::UpstreamTls, snapshot::Sidecar};
use pingora_core::{
    protocols::{TcpKeepalive, tls::CaType},
    upstreams::peer::HttpPeer,
    utils::tls::{WrappedX509, parse_x509},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::time::Instant;

use super::context::Kind;
use crate::mesh::Mesh;

/// How long a connection without a call is kept for the next one.
const POOL_IDLE: Duration = Duration::from_secs(60);
const H2_STREAMS: usize = 128;
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The authorities that policies name, read when a snapshot arrives and never on a call's path.
#[derive(Default)]
pub(crate) struct Authorities(HashMap<Arc<Path>, Authority>);

struct Authority {
    text: Vec<u8>,
    /// Of the text: connections made under other authorities are not used.
    epoch: u64,
    /// `Err` is why they cannot be used.
    roots: Result<Arc<CaType>, String>,
}

impl Authorities {
    /// Reads every file a snapshot names; what did not change since `previous` is kept.
    pub(crate) fn of(snapshot: &Snapshot, previous: &Self) -> Self {
        let mut all = HashMap::new();
        for cluster in snapshot.clusters.values() {
            if let Some(path) = &cluster.policy.tls.ca
                && !all.contains_key(path)
            {
                let authority = Authority::read(path, previous.0.get(path));
                if let Err(problem) = &authority.roots {
                    tracing::error!(cluster = %cluster.id, "{problem}; calls to its TLS endpoints fail");
                }
                all.insert(path.clone(), authority);
            }
        }
        Self(all)
    }
}

impl Authority {
    fn read(path: &Path, previous: Option<&Self>) -> Self {
        let read = std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        match (read, previous) {
            (Ok(text), Some(previous)) if text == previous.text => Self {
                text,
                epoch: previous.epoch,
                roots: previous.roots.clone(),
            },
            // A file that is away for a moment does not take the service away.
            (Err(problem), Some(previous)) if previous.roots.is_ok() => {
                tracing::warn!("{problem}; what was read before stays in use");
                Self {
                    text: previous.text.clone(),
                    epoch: previous.epoch,
                    roots: previous.roots.clone(),
                }
            }
            (Ok(text), _) => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                Self {
                    roots: parse(path, &text),
                    epoch: hasher.finish(),
                    text,
                }
            }
            (Err(problem), _) => Self {
                text: Vec::new(),
                epoch: 0,
                roots: Err(problem),
            },
        }
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Arc<CaType>, String> {
    let show = path.display();
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("{show}: not a PEM certificate"))?;
    // pingora's parser panics on what is no X.509, and an empty list is an error on every call: ask rustls first.
    let mut roots = rustls::RootCertStore::empty();
    for certificate in &certificates {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("{show}: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("{show}: no CERTIFICATE block inside"));
    }
    let wrapped: Box<[WrappedX509]> = certificates
        .iter()
        .map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509))
        .collect();
    Ok(Arc::from(wrapped))
}

/// What connections to endpoints are made with.
#[derive(Clone)]
pub(crate) struct Reach {
    /// Of policies.
    pub(crate) authorities: Arc<ArcSwap<Authorities>>,
    /// Who we are.
    pub(crate) mesh: Option<Arc<Mesh>>,
}

/// Whether TLS is spoken to an endpoint on its own account. That of the mesh is for sidecars to know.
pub(super) fn is_secured(endpoint: &Endpoint) -> bool {
    endpoint.tls.is_some() && endpoint.sidecar.is_none()
}

/// The HTTP version to speak to an endpoint.
pub(super) fn speaks_h2(endpoint: &Endpoint, kind: Kind) -> bool {
    match (kind, endpoint.protocol) {
        // An upgrade exists in HTTP/1 only.
        (Kind::Upgrade, _) => false,
        // Sidecars speak both: of these the one that shares connections.
        _ if endpoint.sidecar.is_some() => true,
        // gRPC needs trailers, which pingora carries in HTTP/2 only.
        (Kind::Grpc, _) => true,
        (_, Protocol::H2 | Protocol::Grpc | Protocol::Triple) => true,
        _ => false,
    }
}

/// What one try at an endpoint may take.
pub(super) struct Limits {
    /// Until the connection stands.
    pub(super) connect: Duration,
    /// Between two reads, where nobody else keeps the time.
    pub(super) read: Option<Duration>,
    /// Until a write is taken.
    pub(super) write: Option<Duration>,
    /// End of the try.
    pub(super) due: Option<Instant>,
}

impl Reach {
    /// Describes an endpoint to pingora.
    ///
    /// # Errors
    /// The authorities to verify it against could not be read, or it wants to know who we are and we are nobody.
    pub(super) fn peer(
        &self,
        endpoint: &Endpoint,
        tls: &UpstreamTls,
        kind: Kind,
        limits: &Limits,
    ) -> Result<Box<HttpPeer>, String> {
        let mut group = DefaultHasher::new();
        let mut peer = match &endpoint.sidecar {
            Some(sidecar) => self.sidecar(endpoint.address, sidecar, &mut group)?,
            None => self.server(endpoint, tls, &mut group)?,
        };
        let h2 = speaks_h2(endpoint, kind);
        h2.hash(&mut group);
        if h2 {
            peer.options.set_http_version(2, 2);
        }
        limit(&mut peer, limits);
        peer.group_key = group.finish();
        Ok(peer)
    }

    /// A sidecar: it shows a certificate with the name of its application's identity, and we show ours.
    fn sidecar(
        &self,
        address: SocketAddr,
        sidecar: &Sidecar,
        group: &mut impl Hasher,
    ) -> Result<Box<HttpPeer>, String> {
        let mesh = self.mesh.as_ref();
        let own = mesh.map(|mesh| mesh.own()).ok_or_else(|| {
            let identity = &sidecar.identity;
            format!("{address}: {identity} takes calls from the mesh, and this process has no identity")
        })?;
        let mut peer = Box::new(HttpPeer::new(address, true, sidecar.server_name.to_string()));
        peer.client_cert_key = Some(own.pair.clone());
        peer.options.ca = Some(own.roots.clone());
        own.epoch.hash(group);
        Ok(peer)
    }

    /// Any other endpoint.
    fn server(&self, endpoint: &Endpoint, tls: &UpstreamTls, group: &mut impl Hasher) -> Result<Box<HttpPeer>, String> {
        let name = match (&endpoint.tls, &tls.server_name) {
            (None, _) => String::new(),
            (Some(_), Some(name)) => name.to_string(),
            (Some(host), None) if host.is_empty() => endpoint.address.ip().to_string(),
            (Some(host), None) => host.to_string(),
        };
        // From a SocketAddr nothing is looked up.
        let mut peer = Box::new(HttpPeer::new(endpoint.address, endpoint.tls.is_some(), name));
        if endpoint.tls.is_some() {
            let options = &mut peer.options;
            options.verify_cert = tls.verify;
            options.verify_hostname = tls.verify;
            if let Some(path) = &tls.ca {
                let authorities = self.authorities.load();
                let authority = authorities
                    .0
                    .get(path)
                    .ok_or_else(|| format!("{}: not read", path.display()))?;
                authority.epoch.hash(group);
                options.ca = Some(authority.roots.clone()?);
            }
        }
        Ok(peer)
    }
}

/// Time, pooling and windows.
fn limit(peer: &mut HttpPeer, limits: &Limits) {
    let options = &mut peer.options;
    let left = limits.due.map(|due| due.saturating_duration_since(Instant::now()));
    let connect = left.map_or(limits.connect, |left| left.min(limits.connect));
    options.connection_timeout = Some(connect);
    options.total_connection_timeout = Some(connect);
    options.read_timeout = limits.read;
    options.write_timeout = limits.write;
    options.idle_timeout = Some(POOL_IDLE);
    options.max_h2_streams = H2_STREAMS;
    options.h2_stream_window_size = Some(H2_STREAM_WINDOW);
    options.h2_connection_window_size = Some(H2_CONNECTION_WINDOW);
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        user_timeout: Duration::ZERO,
    });
}
