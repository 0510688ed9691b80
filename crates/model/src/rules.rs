//! Everything the configuration says about traffic, checked and free of file syntax.
//!
//! Made by `config` from documents in the Gateway API's vocabulary; names here are theirs.
//! [`route`] holds matches and filters of HTTP, [`dubbo`] those of Dubbo, [`transcoding`] and [`http_transcoding`] what leads
//! from one to the other and back, [`policy`] what a cluster does, [`authorization`] who may call it.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

use crate::RegistryName;

pub mod authorization;
pub mod dubbo;
pub mod host;
pub mod http_transcoding;
pub mod policy;
pub mod route;
pub mod transcoding;

pub use authorization::*;
pub use dubbo::*;
pub use host::HostPattern;
pub use http_transcoding::*;
pub use policy::*;
pub use route::*;
pub use transcoding::*;

/// One version of the configuration's traffic rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// Counts up with every accepted configuration in this process; the first is 1.
    pub version: u64,
    /// Listeners of every Gateway, in document order.
    pub listeners: Vec<Arc<Listener>>,
    /// Routes, in document order.
    pub routes: Vec<Arc<HttpRoute>>,
    /// Routes of Dubbo's calls, in document order.
    pub dubbo_routes: Vec<Arc<DubboRoute>>,
    /// Logical services over registries.
    pub mesh_services: Vec<Arc<MeshService>>,
    /// Policies, with what they apply to.
    pub policies: Vec<Arc<ServicePolicy>>,
    /// Who may call what, in document order.
    pub authorization: Vec<Arc<AuthorizationPolicy>>,
    /// Where callers may or have to use mutual TLS, in document order.
    pub authentication: Vec<Arc<PeerAuthentication>>,
    /// Registries in order of precedence: higher `priority` first, then document order.
    pub registries: Vec<RegistryName>,
}

/// `gateway/listener`: which listener of which Gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ListenerId {
    /// `metadata.name` of the Gateway (prefixed `namespace/` when that is not `default`).
    pub gateway: Arc<str>,
    /// `listeners[].name`.
    pub listener: Arc<str>,
}

impl std::fmt::Display for ListenerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.gateway, self.listener)
    }
}

/// What listener and endpoint speak: protocols that one kind of route is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// HTTP in all its versions, with gRPC and Triple.
    #[default]
    Http,
    /// Dubbo2 over TCP.
    Dubbo,
}

impl Family {
    /// Whether it is HTTP, which is what texts mean if they do not tell.
    pub fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

/// One listener of a Gateway. Several may share a port when their host names differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Which.
    pub id: ListenerId,
    /// Addresses to bind; empty means every address, IPv6 and IPv4.
    pub addresses: Vec<IpAddr>,
    /// Port to bind, 1 to 65535.
    pub port: u16,
    /// Which hosts it answers for.
    pub hostname: HostPattern,
    /// What is spoken.
    pub family: Family,
    /// `None` for protocols HTTP (HTTP/1.1 and h2c) and Dubbo, `Some` for HTTPS.
    pub tls: Option<ListenerTls>,
    /// Set for the inbound side of a sidecar: what is spoken may come inside of mutual TLS, or has to. Not beside `tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutual_tls: Option<MutualTls>,
}

/// How callers of some services come in. It is kept by sidecars.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerAuthentication {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// What it applies to; never empty, and no MeshService. The most exact target wins, then the first document.
    pub targets: Vec<PolicyTarget>,
    /// `None` is plain text alone.
    pub mode: Option<MutualTls>,
}

/// Whether callers have to show who they are, in the words of Istio's PeerAuthentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MutualTls {
    /// Mutual TLS or plain text, as the caller begins.
    Permissive,
    /// Mutual TLS with an identity of the mesh; all else is refused.
    Strict,
}

/// TLS termination of a listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// Certificate files; the longest matching SNI wins, the first is the default. Never empty.
    pub certificates: Vec<CertificateFiles>,
}

/// A certificate chain and its key, as PEM files that are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub certificate: Arc<std::path::Path>,
    /// The private key.
    pub key: Arc<std::path::Path>,
}

/// One logical service made of members from several registries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeshService {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Its members, in document order.
    pub members: Vec<MeshMember>,
}

/// A member of a MeshService.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeshMember {
    /// The registry and the service's name there.
    pub service: crate::ServiceId,
    /// Share of traffic among the members that have endpoints; 0 gets none. Default 1.
    pub weight: u32,
}
