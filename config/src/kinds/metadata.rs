//! `metadata` of every kind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::text::{NamespaceName, ObjectName};

/// Name and origin of a document. What only a cluster fills in is accepted and ignored.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name of the object, unique for its kind and namespace.
    pub name: ObjectName,
    /// Scope of the name. Default `default`.
    pub namespace: Option<NamespaceName>,
    /// Kept for display; those of a Namespace can be selected by a listener.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Ignored.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When it was created, RFC 3339: of two routes that fit equally, the older wins. Default: newest.
    #[schemars(extend("x-mend" = "write a time such as `2026-01-31T12:00:00Z`"))]
    pub creation_timestamp: Option<String>,
    /// Ignored.
    #[serde(default)]
    pub uid: Value,
    /// Ignored.
    #[serde(default)]
    pub resource_version: Value,
    /// Ignored.
    #[serde(default)]
    pub generation: Value,
    /// Ignored.
    #[serde(default)]
    pub managed_fields: Value,
    /// Ignored.
    #[serde(default)]
    pub owner_references: Value,
    /// Ignored.
    #[serde(default)]
    pub finalizers: Value,
    /// Ignored.
    #[serde(default)]
    pub self_link: Value,
    /// Ignored.
    #[serde(default)]
    pub deletion_timestamp: Value,
    /// Ignored.
    #[serde(default)]
    pub deletion_grace_period_seconds: Value,
}
