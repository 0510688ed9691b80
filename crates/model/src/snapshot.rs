//! One immutable version of services and rules: the only seam between what is true and what carries traffic.
//!
//! Made by `control`'s `compose`, published on one `tokio::sync::watch`, compiled by `engine`.

use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc, time::SystemTime};

use serde::Serialize;

use crate::{
    Origin, Protocol, ServiceId,
    rules::{AuthorizationPolicy, BackendRef, DubboRoute, DubboService, Family, HttpRoute, Listener, TrafficPolicy},
};

/// Services and rules, resolved into clusters. Unchanged parts are shared with the version before.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Counts up with every published snapshot of this process.
    pub version: u64,
    /// The version of the rules inside.
    pub rules_version: u64,
    /// Listeners of every Gateway.
    pub listeners: Vec<Arc<Listener>>,
    /// Routes, in document order.
    pub routes: Vec<Arc<HttpRoute>>,
    /// Routes of Dubbo's calls, in document order.
    pub dubbo_routes: Vec<Arc<DubboRoute>>,
    /// What each backend reference of the routes stands for.
    #[serde(skip)]
    pub backends: BTreeMap<BackendRef, Resolution>,
    /// By id; every cluster that a reference stands for.
    #[serde(skip)]
    pub clusters: BTreeMap<ClusterId, Arc<Cluster>>,
    /// The AuthorizationPolicies of each cluster that has any, in document order.
    #[serde(skip)]
    pub authorization: BTreeMap<ClusterId, Vec<Arc<AuthorizationPolicy>>>,
    /// Service definitions of Dubbo, as providers wrote them, by DubboTranscoding and the cluster that it calls.
    #[serde(skip)]
    pub definitions: BTreeMap<(Arc<str>, ClusterId), Arc<str>>,
}

/// What a backend reference stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Resolution {
    /// A cluster of the same snapshot; it may have no endpoint (503).
    Cluster(ClusterId),
    /// Nothing of that name is known, and why; its share of calls is answered 500.
    Missing(String),
}

/// Which cluster: a service or a MeshService, and the port asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ClusterId {
    /// Service or MeshService.
    pub target: ClusterTarget,
    /// The instance port asked for, if any.
    pub port: Option<u16>,
    /// What is spoken there. A service that speaks both has a cluster for each.
    #[serde(skip_serializing_if = "Family::is_http")]
    pub family: Family,
}

/// What a cluster is made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterTarget {
    /// One service of one registry.
    Service(ServiceId),
    /// A MeshService.
    Mesh(Arc<str>),
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            ClusterTarget::Service(id) => id.fmt(f)?,
            ClusterTarget::Mesh(name) => f.write_str(name)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))?;
        match self.family {
            Family::Http => Ok(()),
            Family::Dubbo => f.write_str(" (dubbo)"),
        }
    }
}

/// The endpoints one backend reference stands for, with their policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Which.
    pub id: ClusterId,
    /// Sorted by address, each address once.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What applies to calls.
    pub policy: Arc<TrafficPolicy>,
}

/// An instance as the data path sees it: an address that may get traffic.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// What to speak there.
    pub protocol: Protocol,
    /// The name to ask for and verify when TLS is spoken; `None` is plain text.
    pub tls: Option<Arc<str>>,
    /// Who has to answer there, if it is a sidecar: mutual TLS is spoken then, whatever `tls` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Arc<Sidecar>>,
    /// Share among the cluster's endpoints; never 0.
    pub weight: u32,
    /// Availability zone, if known.
    pub zone: Option<Arc<str>>,
    /// The tag of the Dubbo calls that it is for (`dubbo.tag` of the provider); `None` takes those without one. Endpoints
    /// that speak anything else have none.
    pub tag: Option<Arc<str>>,
    /// What a Dubbo provider says it exports: a call must name the same version and group. `None` if it does not say it.
    pub exported: Option<Arc<DubboService>>,
    /// Where this endpoint came from.
    pub origin: Origin,
    /// When the instance changed: the start of the delay that is measured to the data path.
    #[serde(skip)]
    pub changed: Option<Change>,
}

/// Who answers at an endpoint for its application.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    /// Its SPIFFE ID.
    pub identity: Arc<str>,
    /// The same as a DNS name, which is in its certificate too.
    pub server_name: Arc<str>,
}

/// A change of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: SystemTime,
    /// By whose word.
    pub since: Since,
}

/// What a delay is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Since {
    /// The change itself, by the clock of the registry or of who registered: the whole delay.
    Registry,
    /// The arrival of the registry's answer that told of it, by our clock: our part of the delay.
    Answer,
}
