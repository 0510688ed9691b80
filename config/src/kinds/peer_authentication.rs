//! `kind: PeerAuthentication`: whether callers have to use mutual TLS, in Istio's words. Sidecars keep it.
//!
//! What Istio has besides (`selector`, `portLevelMtls`) is refused as unknown: a sidecar has one inbound port, for one service.

use schemars::JsonSchema;
use serde::Deserialize;

use super::service_policy::TargetRef;

/// Whether callers of services have to use mutual TLS.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerAuthenticationSpec {
    /// What it applies to: services and registries. Default: every service. The most exact target wins, then the first document.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub target_refs: Vec<TargetRef>,
    /// How callers come in.
    pub mtls: Mtls,
}

/// How callers come in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mtls {
    /// `STRICT`, `PERMISSIVE` or `DISABLE`.
    pub mode: Mode,
}

/// How callers come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    /// Mutual TLS alone.
    Strict,
    /// Mutual TLS or plain text.
    Permissive,
    /// Plain text alone.
    Disable,
}
