//! `kind: RegistrySync`: which services of which registries are written into which others, and as what.
//!
//! Next on the path: `rules/syncs.rs` checks it over documents; `adapters::sync` does it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{NamespaceName, Pattern};
use crate::duration::Duration;

/// Writes services of registries into other registries: `from` and `to`, or `between`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RegistrySyncSpec {
    /// `apply` writes; `plan` writes nothing until the plan is applied by hand. Default `apply`.
    pub mode: SyncMode,
    /// Registries that are read. Goes with `to`.
    #[schemars(length(max = 64))]
    pub from: Vec<NamespaceName>,
    /// Registries that are written. Goes with `from`.
    #[schemars(length(max = 64))]
    pub to: Vec<NamespaceName>,
    /// Registries each of which is written into each other one. Stands alone.
    #[schemars(length(max = 64))]
    pub between: Vec<NamespaceName>,
    /// Which services, by their name in the registry that is read.
    pub services: ServiceSelection,
    /// Which instances of them. Default: all.
    pub instances: InstanceSelection,
    /// What services are called where they are written. Default: as they are.
    pub rename: Rename,
    /// Changes of the metadata where it is written. Default: as it is.
    pub labels: Labels,
    /// Which address is written. Default `instance`.
    pub address: SyncAddress,
    /// Targets that get something else than the others.
    #[schemars(length(max = 64))]
    pub targets: Vec<TargetOverride>,
    /// How fast is written. Of several documents with one target the slowest counts.
    pub limits: SyncLimits,
}

impl RegistrySyncSpec {
    /// What a target gets other than the rest, if anything.
    pub fn target(&self, registry: &str) -> Option<&TargetOverride> {
        self.targets.iter().find(|target| *target.registry == *registry)
    }

    /// What services are called in a target.
    pub fn rename_for(&self, registry: &str) -> &Rename {
        let own = self.target(registry).and_then(|target| target.rename.as_ref());
        own.unwrap_or(&self.rename)
    }

    /// How the metadata is changed in a target.
    pub fn labels_for(&self, registry: &str) -> &Labels {
        let own = self.target(registry).and_then(|target| target.labels.as_ref());
        own.unwrap_or(&self.labels)
    }

    /// Which address a target gets.
    pub fn address_for(&self, registry: &str) -> &SyncAddress {
        let own = self.target(registry).and_then(|target| target.address.as_ref());
        own.unwrap_or(&self.address)
    }

    /// Every pair of a registry that is read and one that is written, in the order they are listed.
    pub fn edges(&self) -> Vec<(&str, &str)> {
        let (from, to) = match self.between.is_empty() {
            true => (&self.from, &self.to),
            false => (&self.between, &self.between),
        };
        let pairs = from.iter().flat_map(|from| to.iter().map(|to| (&**from, &**to)));
        pairs.filter(|(from, to)| from != to).collect()
    }
}

/// Whether a document writes by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyncMode {
    /// Writes what is to be written.
    #[default]
    Apply,
    /// Shows it; writes when it is told to.
    Plan,
}

/// Which services: those that fit `include` and nothing of `exclude`. `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceSelection {
    /// Names or patterns of which one must fit. Default `["*"]`.
    #[schemars(length(min = 1, max = 1024))]
    pub include: Vec<Pattern>,
    /// Names or patterns of which none may fit. Default none.
    #[schemars(length(max = 1024))]
    pub exclude: Vec<Pattern>,
}

impl Default for ServiceSelection {
    fn default() -> Self {
        Self {
            include: vec![Pattern::any()],
            exclude: Vec::new(),
        }
    }
}

impl ServiceSelection {
    /// Whether a service of that name is selected.
    pub fn fits(&self, name: &str) -> bool {
        self.include.iter().any(|pattern| pattern.fits(name)) && !self.exclude.iter().any(|pattern| pattern.fits(name))
    }

    /// Whether there may be a name that both select.
    pub fn overlaps(&self, other: &Self) -> bool {
        // What an exclusion covers as a text, stars and all, it covers whatever the stars stand for.
        let covered = |by: &Self, pattern: &str| by.exclude.iter().any(|exclude| exclude.fits(pattern));
        let pairs = self
            .include
            .iter()
            .flat_map(|one| other.include.iter().map(move |two| (one, two)));
        pairs
            .filter(|(one, two)| one.overlaps(two))
            .any(|(one, two)| !covered(other, one) && !covered(self, two))
    }
}

/// Which instances: all conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct InstanceSelection {
    /// Metadata that must be there, with a value that fits; `*` stands for any text.
    pub metadata: BTreeMap<String, Pattern>,
    /// Zones of which the instance must be in one.
    #[schemars(length(max = 64))]
    pub zones: Vec<String>,
    /// States, in the registry's own words, of which the instance must have one: `UP`, `passing` and the like.
    #[schemars(length(max = 16))]
    pub statuses: Vec<String>,
}

/// What services are called where they are written. No two names may become one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rename {
    /// Put before each name. Default nothing.
    #[schemars(length(max = 128))]
    pub prefix: String,
    /// Put behind each name. Default nothing.
    #[schemars(length(max = 128))]
    pub suffix: String,
    /// Names that become others, without prefix and suffix.
    pub names: BTreeMap<String, String>,
}

impl Rename {
    /// The name in the target.
    pub fn apply(&self, name: &str) -> String {
        match self.names.get(name) {
            Some(other) => other.clone(),
            None => format!("{}{name}{}", self.prefix, self.suffix),
        }
    }

    /// Whether every name stays as it is.
    pub fn is_empty(&self) -> bool {
        self.prefix.is_empty() && self.suffix.is_empty() && self.names.is_empty()
    }
}

/// Changes of the metadata, first `remove`, then `set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Labels {
    /// Set, whatever stood there.
    pub set: BTreeMap<String, String>,
    /// Taken out.
    #[schemars(length(max = 256))]
    pub remove: Vec<String>,
}

impl Labels {
    /// Whether the metadata stays as it is.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// Which address is written: the word `instance`, or a gateway's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SyncAddress {
    /// Each instance's own.
    Own(OwnAddress),
    /// That of a gateway or sidecar: one record for the whole service.
    Through(GatewayAddress),
}

impl Default for SyncAddress {
    fn default() -> Self {
        Self::Own(OwnAddress::Instance)
    }
}

/// The instance's own address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OwnAddress {
    /// The instance's own address.
    #[default]
    Instance,
}

/// A gateway or sidecar that is called instead of the instances: one record stands for the whole service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayAddress {
    /// IP address or host name.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Its port for each protocol: `http`, `h2`, `grpc`, `triple`, `dubbo`, `tcp`, and `other` for the rest.
    pub ports: BTreeMap<String, u16>,
}

/// What one target gets other than the rest. Each block replaces the document's whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetOverride {
    /// The registry that is written.
    pub registry: NamespaceName,
    /// Which address is written there.
    #[serde(default)]
    pub address: Option<SyncAddress>,
    /// What services are called there.
    #[serde(default)]
    pub rename: Option<Rename>,
    /// Changes of the metadata there.
    #[serde(default)]
    pub labels: Option<Labels>,
}

/// How fast is written. Renewals of leases are not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SyncLimits {
    /// Writes a second into one target. Default 50.
    #[schemars(range(min = 1, max = 100_000))]
    pub writes_per_second: u32,
    /// Writes that may be done at once after a pause. Default: as many as in a second.
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: Option<u32>,
    /// Changes are gathered for this long before they are written; of several documents the shortest time counts.
    /// Default `500ms`.
    pub settle: Duration,
}

impl Default for SyncLimits {
    fn default() -> Self {
        Self {
            writes_per_second: 50,
            burst: None,
            settle: Duration::from_millis(500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(include: &[&str], exclude: &[&str]) -> ServiceSelection {
        let patterns = |list: &[&str]| list.iter().map(|text| Pattern::from(*text)).collect();
        ServiceSelection {
            include: patterns(include),
            exclude: patterns(exclude),
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("*", "orders", true),
            ("orders", "orders", true),
            ("orders", "Orders", false),
            ("internal-*", "internal-", true),
            ("internal-*", "internal", false),
            ("*-v*-*", "a-v2-b", true),
            ("*-v*-*", "a-b-v2", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*é*", "café au lait", true),
            ("**x", "yx", true),
        ] {
            assert_eq!(Pattern::from(pattern).fits(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_overlap_if_some_name_fits_both() {
        for (one, two, overlaps) in [
            ("*", "a", true),
            ("a*", "*b", true),
            ("a*", "b*", false),
            ("*a", "*b", false),
            ("a*c", "ab*", true),
            ("orders", "order", false),
            ("x*y*z", "xyz", true),
        ] {
            assert_eq!(
                Pattern::from(one).overlaps(&Pattern::from(two)),
                overlaps,
                "{one} {two}"
            );
            assert_eq!(
                Pattern::from(two).overlaps(&Pattern::from(one)),
                overlaps,
                "{two} {one}"
            );
        }
    }

    #[test]
    fn an_exclusion_takes_a_selection_out_of_another() {
        let all_but = selection(&["*"], &["stock*"]);
        assert!(!all_but.overlaps(&selection(&["stock", "stock-*"], &[])));
        assert!(all_but.overlaps(&selection(&["stock", "orders"], &[])));
        assert!(all_but.fits("orders") && !all_but.fits("stock-eu"));
    }

    #[test]
    fn between_is_every_pair_in_both_directions() {
        let spec: RegistrySyncSpec = serde_json::from_value(serde_json::json!({ "between": ["a", "b", "c"] })).unwrap();
        assert_eq!(
            spec.edges(),
            [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")]
        );
    }
}
