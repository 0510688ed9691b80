//! ServicePolicy: how calls to a service are balanced, limited, retried and given up.

use std::{path::Path, sync::Arc, time::Duration};

use serde::Serialize;

/// A policy and what it applies to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePolicy {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Which clusters. The most exact target wins, then the first document.
    pub targets: Vec<PolicyTarget>,
    /// What they do.
    pub policy: Arc<TrafficPolicy>,
}

/// What a policy applies to, the most exact first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PolicyTarget {
    /// One service of one registry.
    Service(crate::ServiceId),
    /// One MeshService.
    Mesh(Arc<str>),
    /// Every service of one registry.
    Registry(crate::RegistryName),
    /// Everything.
    All,
}

/// What a cluster does. `Default` is what applies without any ServicePolicy.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicy {
    /// How an endpoint is picked. Default peak-EWMA.
    pub balancer: Balancer,
    /// Until a connection stands, TLS included. Default 2 s.
    #[serde(serialize_with = "crate::duration::text")]
    pub connect_timeout: Duration,
    /// The whole call; `None` is unlimited. Default 60 s. A route's `timeouts.request` wins.
    #[serde(
        serialize_with = "crate::duration::text_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub request_timeout: Option<Duration>,
    /// One try; `None` is unlimited. Default `None`. A route's `timeouts.backendRequest` wins.
    #[serde(
        serialize_with = "crate::duration::text_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub try_timeout: Option<Duration>,
    /// Silence in the middle of an answer or an upgraded stream; `None` is unlimited. Default 5 min.
    #[serde(
        serialize_with = "crate::duration::text_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub idle_timeout: Option<Duration>,
    /// Second chances.
    pub retries: Retries,
    /// What an endpoint or the whole cluster may hold at once.
    pub limits: Limits,
    /// When an endpoint is left out for a while.
    pub outlier: Outlier,
    /// A new endpoint's share grows from a tenth to its full weight over this time; `None` is off. Default off.
    #[serde(
        serialize_with = "crate::duration::text_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub slow_start: Option<Duration>,
    /// Below this share of usable endpoints, ejections are ignored. Per cent, default 50.
    pub panic_threshold: u8,
    /// How TLS endpoints are verified.
    pub tls: UpstreamTls,
}

/// How an endpoint is picked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Balancer {
    /// Of two random endpoints the one with the lower latency × calls in flight.
    #[default]
    PeakEwma,
    /// Of two random endpoints the one with fewer calls in flight.
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
    /// At random, by weight.
    Random,
    /// The same key goes to the same endpoint.
    RingHash(HashKey),
}

/// What a ring hash looks at. A call without it is placed at random.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HashKey {
    /// The client's address.
    SourceIp,
    /// The value of a header (lower-case name).
    Header(Arc<str>),
    /// The value of a cookie.
    Cookie(Arc<str>),
    /// The path.
    Path,
}

/// Second chances.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Further tries after the first; 0 is off. Default 2.
    pub attempts: u32,
    /// Answers that are tried again, for methods that may be repeated. Default 502, 503, 504.
    pub statuses: Vec<u16>,
    /// Methods that may be repeated after the request was sent. Default GET, HEAD, OPTIONS, PUT, DELETE, TRACE.
    /// A connection that was refused is tried elsewhere whatever the method.
    pub methods: Vec<Arc<str>>,
    /// Wait before the second try; doubled for each further one, with jitter. Default 25 ms.
    /// The first retry after a refused connection does not wait.
    #[serde(serialize_with = "crate::duration::text")]
    pub backoff: Duration,
    /// Retries may be this share of the calls of the last ten seconds. Per cent, default 20.
    pub budget_percent: u8,
    /// … but this many a second are always allowed. Default 10.
    pub budget_min_per_second: u32,
}

/// What may be held at once; `None` is unlimited. Over a limit a call is answered 503 at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Calls in flight to one endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_per_endpoint: Option<u32>,
    /// Calls in flight to the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// Connections that Dubbo's calls share, per worker and endpoint; 1 if none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dubbo_connections: Option<u32>,
}

/// When an endpoint is left out for a while, by what its calls show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlier {
    /// Failures in a row (no connection, reset, timeout, 5xx from the gateway's point of view); 0 is off. Default 5.
    pub consecutive_failures: u32,
    /// First ejection; doubled each time, up to ten times. Default 10 s.
    #[serde(serialize_with = "crate::duration::text")]
    pub base_ejection: Duration,
    /// At most this share is ejected at once. Per cent, default 50.
    pub max_ejected_percent: u8,
}

/// How TLS endpoints are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamTls {
    /// Whether certificate and name are verified. Default yes.
    pub verify: bool,
    /// PEM file of trusted authorities; `None` is the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Arc<Path>>,
    /// The name asked for and verified; `None` is the instance's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<Arc<str>>,
}

impl Default for TrafficPolicy {
    fn default() -> Self {
        Self {
            balancer: Balancer::default(),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Some(Duration::from_secs(60)),
            try_timeout: None,
            idle_timeout: Some(Duration::from_secs(300)),
            retries: Retries::default(),
            limits: Limits::default(),
            outlier: Outlier::default(),
            slow_start: None,
            panic_threshold: 50,
            tls: UpstreamTls::default(),
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 2,
            statuses: vec![502, 503, 504],
            methods: ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]
                .map(Arc::from)
                .to_vec(),
            backoff: Duration::from_millis(25),
            budget_percent: 20,
            budget_min_per_second: 10,
        }
    }
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            base_ejection: Duration::from_secs(10),
            max_ejected_percent: 50,
        }
    }
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self {
            verify: true,
            ca: None,
            server_name: None,
        }
    }
}
