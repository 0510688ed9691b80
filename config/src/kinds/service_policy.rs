//! `kind: ServicePolicy`: how calls to services are balanced, limited, retried and given up.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    http_route::Method,
    text::{Group, HeaderName, NamespaceName, PreciseHostname, ServiceName},
};
use crate::{duration::Duration, secret::SecretRef};

/// How calls to services are balanced, limited, retried and given up. What is left out keeps its default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServicePolicySpec {
    /// What it applies to. Default: everything. The most exact policy applies, whole.
    #[schemars(length(max = 64))]
    pub target_refs: Vec<TargetRef>,
    /// How an endpoint is picked. Default peak-EWMA.
    pub balancer: Option<BalancerSpec>,
    /// How long things may take. `0s` switches a limit off.
    pub timeouts: PolicyTimeouts,
    /// Second chances.
    pub retries: RetriesSpec,
    /// What may be held at once; over it a call is answered 503 at once.
    pub limits: LimitsSpec,
    /// When an endpoint is left out for a while.
    pub outlier_ejection: OutlierSpec,
    /// Time in which a new endpoint's share grows to its full weight. Default: off.
    pub slow_start: Option<Duration>,
    /// Per cent of usable endpoints below which ejections are ignored. Default 50.
    #[schemars(range(max = 100))]
    pub panic_threshold: Option<u8>,
    /// How TLS endpoints are verified.
    pub tls: UpstreamTlsSpec,
}

/// What a policy applies to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// Group of the kind; may be left out.
    pub group: Option<Group>,
    /// Kind of the target.
    pub kind: TargetKind,
    /// Name of the target.
    pub name: ServiceName,
    /// The registry of a `Service`. Default: the only registry of the configuration.
    pub namespace: Option<NamespaceName>,
}

/// What a policy can apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// One service of one registry.
    Service,
    /// One MeshService.
    MeshService,
    /// Every service of one registry.
    Registry,
}

/// How an endpoint is picked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BalancerSpec {
    /// The way.
    #[serde(rename = "type")]
    pub type_: BalancerType,
    /// What a `RingHash` looks at: one of the fields.
    pub hash_on: Option<HashOn>,
}

/// The way an endpoint is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum BalancerType {
    /// Of two random endpoints the one with the lower latency × calls in flight.
    PeakEwma,
    /// Of two random endpoints the one with fewer calls in flight.
    LeastRequest,
    /// In turn, by weight.
    RoundRobin,
    /// At random, by weight.
    Random,
    /// The same key goes to the same endpoint.
    RingHash,
}

/// What a ring hash looks at: exactly one of the fields.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HashOn {
    /// The value of this header.
    pub header: Option<HeaderName>,
    /// The value of this cookie.
    pub cookie: Option<HeaderName>,
    /// The client's address, when true.
    #[serde(default)]
    pub source_ip: bool,
    /// The path, when true.
    #[serde(default)]
    pub path: bool,
}

/// How long things may take.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyTimeouts {
    /// Until a connection stands, TLS included. Default `2s`; cannot be switched off.
    pub connect: Option<Duration>,
    /// The whole call, retries included. Default `1m`.
    pub request: Option<Duration>,
    /// One try at one endpoint. Default: off.
    pub backend_request: Option<Duration>,
    /// Silence in the middle of an answer or an upgraded stream. Default `5m`.
    pub idle: Option<Duration>,
}

/// Second chances.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetriesSpec {
    /// Further tries after the first; 0 is off. Default 2.
    #[schemars(range(max = 10))]
    pub attempts: Option<u32>,
    /// Answers that are tried again, 400 to 599. Default 502, 503, 504.
    #[schemars(length(max = 32))]
    pub codes: Option<Vec<u16>>,
    /// Methods that may be repeated after the request was sent. Default GET, HEAD, OPTIONS, PUT, DELETE, TRACE.
    #[schemars(length(max = 9))]
    pub methods: Option<Vec<Method>>,
    /// Wait before the second try, doubled for each further one. Default `25ms`.
    pub backoff: Option<Duration>,
    /// How many retries there may be in all.
    #[serde(default)]
    pub budget: BudgetSpec,
}

/// How many retries there may be in all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BudgetSpec {
    /// Share of the calls of the last ten seconds, per cent. Default 20.
    #[schemars(range(max = 100))]
    pub percent: Option<u8>,
    /// Retries a second that are always allowed. Default 10.
    pub min_per_second: Option<u32>,
}

/// What may be held at once.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Calls in flight to one endpoint. Default: no limit.
    #[schemars(range(min = 1))]
    pub max_requests_per_endpoint: Option<u32>,
    /// Calls in flight to the service. Default: no limit.
    #[schemars(range(min = 1))]
    pub max_requests: Option<u32>,
    /// Connections that Dubbo's calls share, for each worker thread and endpoint. Default 1.
    #[schemars(range(min = 1, max = 64))]
    pub dubbo_connections: Option<u32>,
}

/// When an endpoint is left out for a while.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutlierSpec {
    /// Failures in a row; 0 is off. Default 5.
    pub consecutive_failures: Option<u32>,
    /// First ejection; doubled with each trial that fails, unless its connection is refused at once. Default `10s`.
    pub base_ejection: Option<Duration>,
    /// Share that may be ejected at once, per cent. Default 50.
    #[schemars(range(max = 100))]
    pub max_ejected_percent: Option<u8>,
}

/// How TLS endpoints are verified.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamTlsSpec {
    /// Whether certificate and name are verified. Default true.
    pub verify: Option<bool>,
    /// Trusted authorities, a PEM file: `file:` and a path. Default: the system's.
    pub ca: Option<SecretRef>,
    /// The name that is asked for and verified. Default: the instance's host.
    pub server_name: Option<PreciseHostname>,
}
