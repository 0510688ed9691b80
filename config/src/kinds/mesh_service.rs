//! `kind: MeshService`: one logical service made of members from several registries.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{NamespaceName, ServiceName};

/// One logical service made of members from several registries.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshServiceSpec {
    /// Its members.
    #[schemars(length(min = 1, max = 64))]
    pub members: Vec<Member>,
}

/// A service of one registry.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// Name of the service as its registry writes it.
    pub name: ServiceName,
    /// The registry.
    pub namespace: NamespaceName,
    /// Share of traffic among the members that have endpoints; 0 gets none. Default 1.
    #[schemars(range(max = 1_000_000))]
    pub weight: Option<u32>,
}
