//! `kind: AuthorizationPolicy`: which calls of services are let through, in Istio's words.
//!
//! `dubboInterfaces` and `dubboMethods` are ours. What Istio has besides (`requestPrincipals`, `when`, AUDIT, CUSTOM …) is refused
//! as unknown: a condition that is read and not kept would open what it is to close.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{service_policy::TargetRef, text::Pattern};

/// Which calls of services are let through, and which are not.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthorizationPolicySpec {
    /// What it applies to. Default: every service. All policies of a service apply together.
    #[schemars(length(max = 64))]
    pub target_refs: Vec<TargetRef>,
    /// What becomes of a call that a rule fits: `ALLOW` (default) or `DENY`.
    pub action: Option<Action>,
    /// One has to fit. Without rules the policy fits no call: `ALLOW` then denies every call.
    #[schemars(length(max = 512))]
    pub rules: Vec<Rule>,
}

/// What becomes of a call that a rule fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// It goes through, unless a `DENY` fits too. Calls that no `ALLOW` of the service fits are denied.
    Allow,
    /// It is denied.
    Deny,
}

/// Fits a call if one source and one operation do. `{}` fits every call.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Who calls. Default: anyone.
    #[schemars(length(min = 1, max = 512))]
    pub from: Option<Vec<From>>,
    /// What is called. Default: anything.
    #[schemars(length(min = 1, max = 512))]
    pub to: Option<Vec<To>>,
}

/// Who calls.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct From {
    /// The source; every field that is set has to fit.
    pub source: Source,
}

/// Who calls.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The other end of the connection is in one of these: `192.0.2.1` or `192.0.2.0/24`. Forwarding headers do not count.
    #[schemars(length(min = 1, max = 512))]
    pub ip_blocks: Option<Vec<Pattern>>,
    /// It is in none of these.
    #[schemars(length(min = 1, max = 512))]
    pub not_ip_blocks: Option<Vec<Pattern>>,
    /// Identities, as `mesh.example/ns/eureka/sa/orders`: the SPIFFE ID without `spiffe://`. In a text a `*` may stand at the
    /// beginning or at the end. Callers that do not come by mutual TLS have none.
    #[schemars(length(min = 1, max = 512))]
    pub principals: Option<Vec<Pattern>>,
    /// Identities that do not fit.
    #[schemars(length(min = 1, max = 512))]
    pub not_principals: Option<Vec<Pattern>>,
    /// Namespaces of identities: names of registries.
    #[schemars(length(min = 1, max = 512))]
    pub namespaces: Option<Vec<Pattern>>,
    /// Namespaces that do not fit.
    #[schemars(length(min = 1, max = 512))]
    pub not_namespaces: Option<Vec<Pattern>>,
}

/// What is called.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct To {
    /// The operation; every field that is set has to fit.
    pub operation: Operation,
}

/// What is called. In a text a `*` may stand at the beginning or at the end.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// Hosts of HTTP requests, without port; case does not count.
    #[schemars(length(min = 1, max = 512))]
    pub hosts: Option<Vec<Pattern>>,
    /// Hosts that do not fit.
    #[schemars(length(min = 1, max = 512))]
    pub not_hosts: Option<Vec<Pattern>>,
    /// Methods of HTTP requests. gRPC's is always `POST`.
    #[schemars(length(min = 1, max = 512))]
    pub methods: Option<Vec<Pattern>>,
    /// Methods that do not fit.
    #[schemars(length(min = 1, max = 512))]
    pub not_methods: Option<Vec<Pattern>>,
    /// Paths of HTTP requests, before a rewrite and without query. gRPC's are `/package.Service/Method`.
    #[schemars(length(min = 1, max = 512))]
    pub paths: Option<Vec<Pattern>>,
    /// Paths that do not fit.
    #[schemars(length(min = 1, max = 512))]
    pub not_paths: Option<Vec<Pattern>>,
    /// Java interfaces of Dubbo's calls. Not in Istio.
    #[schemars(length(min = 1, max = 512))]
    pub dubbo_interfaces: Option<Vec<Pattern>>,
    /// Interfaces that do not fit.
    #[schemars(length(min = 1, max = 512))]
    pub not_dubbo_interfaces: Option<Vec<Pattern>>,
    /// Methods of Dubbo's calls; of a generic call the one that is invoked. Not in Istio.
    #[schemars(length(min = 1, max = 512))]
    pub dubbo_methods: Option<Vec<Pattern>>,
    /// Methods that do not fit.
    #[schemars(length(min = 1, max = 512))]
    pub not_dubbo_methods: Option<Vec<Pattern>>,
}
