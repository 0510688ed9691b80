//! `kind: Facade`: Landfall answering a registry's protocol in front of what is registered elsewhere.
//!
//! A registry of our own that clients register in is `Registry.spec.embedded`. Next on the path: `adapters::facade`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::NamespaceName;

/// Answers a registry's protocol with what the registries have. Exactly one of `eureka`, `consul` and `nacos` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FacadeSpec {
    /// `ip:port` to listen on. Facades with different paths may share one.
    pub address: String,
    /// What stands before the protocol's own paths, such as `/mesh` for `/mesh/eureka/apps`. Default: nothing.
    #[serde(default)]
    pub path: Option<String>,
    /// Answer Eureka's REST protocol.
    #[serde(default)]
    pub eureka: Option<FacadeEureka>,
    /// Answer Consul's HTTP API.
    #[serde(default)]
    pub consul: Option<FacadeConsul>,
    /// Answer Nacos' naming protocol: HTTP at the address, gRPC at its port + 1000.
    #[serde(default)]
    pub nacos: Option<FacadeNacos>,
    /// What is shown: `mesh` for all services of all registries, each instance once, or `{ registry: NAME }` for what
    /// this registry has. Default `mesh`.
    #[serde(default)]
    pub view: FacadeView,
    /// What becomes of registrations and other writes: `refuse`, or `{ forward: NAME }` to pass them on, unchanged, to
    /// this registry's own HTTP API. Default `refuse`.
    #[serde(default)]
    pub writes: FacadeWrites,
}

/// Eureka's REST protocol: nothing to say about it yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FacadeEureka {}

/// Consul's HTTP API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FacadeConsul {
    /// Name of the datacenter. Default `dc1`.
    #[serde(default)]
    pub datacenter: Option<String>,
}

/// Nacos' naming protocol. What is shown is the same in each namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FacadeNacos {
    /// Group of the services that have none of their own, as those of other registries. Default `DEFAULT_GROUP`.
    #[serde(default)]
    pub group: Option<String>,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FacadeView {
    /// All services of all registries.
    Mesh(MeshWord),
    /// What one registry has.
    Native(NativeView),
}

/// The word `mesh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MeshWord {
    /// All services of all registries.
    Mesh,
}

/// What one registry has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NativeView {
    /// Name of a Registry.
    pub registry: NamespaceName,
}

/// What becomes of writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FacadeWrites {
    /// They are refused.
    Refuse(RefuseWord),
    /// They are passed on.
    Forward(ForwardWrites),
}

/// The word `refuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RefuseWord {
    /// Nothing is written.
    Refuse,
}

/// Where writes are passed on to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardWrites {
    /// Name of a Registry that speaks the facade's protocol.
    pub forward: NamespaceName,
}

impl Default for FacadeView {
    fn default() -> Self {
        Self::Mesh(MeshWord::Mesh)
    }
}

impl Default for FacadeWrites {
    fn default() -> Self {
        Self::Refuse(RefuseWord::Refuse)
    }
}

impl FacadeSpec {
    /// The protocol's word.
    pub fn protocol(&self) -> &'static str {
        match (&self.consul, &self.nacos) {
            (Some(_), _) => "consul",
            (None, Some(_)) => "nacos",
            (None, None) => "eureka",
        }
    }

    /// The path without a slash at its end; empty for none.
    pub fn prefix(&self) -> &str {
        self.path.as_deref().unwrap_or_default().trim_end_matches('/')
    }
}
