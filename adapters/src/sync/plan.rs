//! What a plan says. Its JSON is what `landfall sync plan -o json` prints.
//!
//! ```text
//! { "digest": "…",                       names the plan: `landfall sync apply` wants it
//!   "targets": { "consul": {
//!       "additions": [ { "service", "id", "origin", "path", "address", "status", "syncs", "waits", … } ],
//!       "changes":   [ … and "was", the digest that stands there ],
//!       "removals":  [ { "service", "id", "origin", "path", "reason", "waits" } ],
//!       "disowned":  [ … ],              another cluster's record stands under the key now
//!       "kept": 12, "retained": 0,       numbers
//!       "conflicts": [ … ], "leftOut": [ … ], "losses": [ … ], "held": [ … ] } } }
//! ```

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Origin, RegistryName};
use serde::{Serialize, Serializer};

use crate::publish::{Key, Shaped, mark};

/// Everything that is to be done, and what is not done and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Names what waits to be applied: two plans with one digest would write the same.
    pub digest: String,
    /// By registry that is written.
    pub targets: BTreeMap<RegistryName, Arc<TargetPlan>>,
}

/// What is to be done in one registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetPlan {
    /// Records that are not there yet.
    pub additions: Vec<Write>,
    /// Records of ours that are there and differ.
    pub changes: Vec<Write>,
    /// Records of ours that are not wanted any more.
    pub removals: Vec<Removal>,
    /// Keys of ours under which another cluster's record stands now.
    pub disowned: Vec<Key>,
    /// Records of ours that are there as they are wanted. In JSON their number.
    #[serde(serialize_with = "count")]
    pub kept: Vec<Arc<Shaped>>,
    /// Records of ours that are there otherwise than they are wanted, or unwanted, and stay for now: what they are
    /// kept alive as.
    #[serde(serialize_with = "count")]
    pub retained: Vec<Arc<Shaped>>,
    /// Records that exclude each other, by service.
    pub conflicts: Vec<Conflict>,
    /// Records that are not to be written, by service.
    pub left_out: Vec<LeftOut>,
    /// What the registry cannot hold.
    pub losses: Vec<Lost>,
    /// What waits, and for what.
    pub held: Vec<Held>,
}

/// A record to write.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// Name of the service in the target.
    pub service: Arc<str>,
    /// Id of the record in the target.
    pub id: Arc<str>,
    /// The native record it stands for; instance `*` stands for all of a service.
    #[serde(serialize_with = "display")]
    pub origin: Origin,
    /// Registries it went through.
    pub path: Arc<[RegistryName]>,
    /// `host:port`, or the host alone.
    pub address: String,
    /// The origin's state, in its registry's word.
    pub status: &'static str,
    /// RegistrySyncs along the path.
    pub syncs: Vec<Arc<str>>,
    /// Whether it waits to be applied by hand.
    pub waits: bool,
    /// The digest that stands there, of a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<Arc<str>>,
    /// The cluster whose record, which came by a longer path, is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Arc<str>>,
    /// The record.
    #[serde(skip)]
    pub shaped: Arc<Shaped>,
}

/// A record of ours to remove.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    /// Where it stands.
    #[serde(flatten)]
    pub key: Key,
    /// The native record it stood for.
    #[serde(serialize_with = "display")]
    pub origin: Origin,
    /// Registries it went through.
    pub path: Arc<[RegistryName]>,
    /// Why it goes.
    pub reason: String,
    /// Whether it waits to be applied by hand.
    pub waits: bool,
}

/// How two records or services exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ConflictKind {
    /// A service of that name speaks another protocol.
    Protocol,
    /// Names that differ by case alone.
    Case,
    /// Two services of one registry become one name.
    Names,
    /// Two records get one id.
    Id,
}

/// Records of one service that are not written because something else has their name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// How they exclude each other.
    pub kind: ConflictKind,
    /// The name in the target.
    pub service: Arc<str>,
    /// The service that is not written: `name.registry` of the origin.
    pub of: String,
    /// What has the name, and keeps it.
    pub winner: String,
    /// Ids of the origins that are not written.
    pub instances: Vec<Arc<str>>,
    /// What would mend it.
    pub mend: String,
}

/// Why a record is not to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LeftOutWhy {
    /// The registry has a native record of that address.
    Native,
    /// Another cluster's record of the origin stands there.
    OtherCluster,
    /// A record of another origin has the same address.
    SameAddress,
    /// The registry cannot hold it.
    Unfit,
    /// The gateway has no port for its protocol.
    NoPort,
}

/// Records of one service that are not to be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Why.
    pub why: LeftOutWhy,
    /// The name in the target.
    pub service: Arc<str>,
    /// The service: `name.registry` of the origin.
    pub of: String,
    /// The reason in words.
    pub reason: String,
    /// Ids of the origins.
    pub instances: Vec<Arc<str>>,
}

/// Something that does not survive in the target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// A metadata key, `weight`, `zone`, `status`.
    pub field: String,
    /// Why, and what stands there instead.
    pub reason: String,
    /// How many records lose it.
    pub records: usize,
    /// The first of them.
    pub example: Key,
}

/// What something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HeldWhy {
    /// The target is not followed live, or has not caught up.
    TargetNotReady,
    /// The registry that would know whether the origin is gone is not live.
    SourceNotReady,
    /// So many at once are removed only when a later plan agrees.
    MassRemoval,
    /// The target did not take the record; it is tried again when the record changes.
    Rejected,
    /// An operator has switched the record off in the target.
    SwitchedOff,
    /// Nothing can be written into the target.
    NoPublisher,
    /// What we do to the record is undone again and again: another process writes as our cluster, too.
    Contested,
}

/// What is to be done and waits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// For what it waits.
    pub why: HeldWhy,
    /// `add`, `change`, `remove`.
    pub action: &'static str,
    /// Which record.
    #[serde(flatten)]
    pub key: Key,
    /// The native record it stands for.
    #[serde(serialize_with = "display")]
    pub origin: Origin,
    /// The reason in words.
    pub reason: String,
}

impl TargetPlan {
    /// Whether nothing is to be done.
    pub fn is_idle(&self) -> bool {
        self.additions.is_empty() && self.changes.is_empty() && self.removals.is_empty() && self.disowned.is_empty()
    }
}

impl Plan {
    /// Names what waits, so that what is applied is what was shown.
    pub(super) fn sign(&mut self) {
        let mut parts: Vec<String> = Vec::new();
        for (target, plan) in &self.targets {
            let writes = plan.additions.iter().map(|write| ("+", write));
            let writes = writes.chain(plan.changes.iter().map(|write| ("~", write)));
            for (sign, write) in writes.filter(|(_, write)| write.waits) {
                let key = &write.shaped.key;
                parts.push(format!(
                    "{sign}{target}\n{}\n{}\n{}",
                    key.service, key.id, write.shaped.digest
                ));
            }
            for removal in plan.removals.iter().filter(|removal| removal.waits) {
                parts.push(format!("-{target}\n{}\n{}", removal.key.service, removal.key.id));
            }
        }
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        self.digest = mark::digest_of(&parts);
    }

    /// How many writes wait to be applied by hand.
    pub fn waiting(&self) -> usize {
        let of = |plan: &Arc<TargetPlan>| {
            let writes = plan.additions.iter().chain(&plan.changes);
            writes.filter(|write| write.waits).count() + plan.removals.iter().filter(|one| one.waits).count()
        };
        self.targets.values().map(of).sum()
    }
}

fn count<S: Serializer>(kept: &[Arc<Shaped>], serializer: S) -> Result<S::Ok, S::Error> {
    kept.len().serialize(serializer)
}

fn display<S: Serializer>(origin: &Origin, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(origin)
}
