//! How sync stands, for people: by registry that is written and by document.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use landfall_config::kinds::registry_sync::SyncMode;
use landfall_model::RegistryName;
use serde::Serialize;

use crate::publish::Figures;

/// How sync stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// Id of the cluster that is written as.
    pub cluster: Arc<str>,
    /// Whether this process is the one that writes.
    pub writer: bool,
    /// Which writer of the cluster it is, or the last one it knows of.
    pub epoch: u64,
    /// Digest of the last plan, to apply it.
    pub plan: String,
    /// When that was made. `None`: none yet.
    pub planned_at: Option<SystemTime>,
    /// Writes of it that wait to be applied by hand.
    pub waiting: usize,
    /// By registry that is written.
    pub targets: BTreeMap<RegistryName, TargetStatus>,
    /// By name of the RegistrySync.
    pub syncs: BTreeMap<Arc<str>, SyncState>,
}

/// How one registry that is written stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// What it does.
    pub state: TargetState,
    /// Where it is written, without credentials.
    pub address: String,
    /// Records of ours that are there as they are wanted.
    pub kept: usize,
    /// Writes that are to be done.
    pub pending: usize,
    /// Writes that wait to be applied by hand.
    pub waiting: usize,
    /// Writes held by a guard.
    pub held: usize,
    /// Names that exclude each other.
    pub conflicts: usize,
    /// Records that are not to be written, besides conflicts.
    pub left_out: usize,
    /// Records a second that may be written now.
    pub rate: u32,
    /// The last write that was answered well.
    pub last_write: Option<SystemTime>,
    /// The last error, and when. It stays when the target has recovered.
    pub last_error: Option<(SystemTime, String)>,
    /// Writes and removals that failed since the start.
    pub errors: u64,
    /// What its publisher has sent.
    pub figures: Figures,
}

/// What a target does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum TargetState {
    /// No plan yet.
    #[default]
    Starting,
    /// Everything that may be written is.
    Idle,
    /// Writes.
    Writing,
    /// Waits after an error.
    BackingOff {
        /// The error.
        why: String,
    },
    /// Another process writes.
    NotWriter,
    /// Nothing can be written there.
    Unwritable {
        /// Why.
        why: String,
    },
}

impl TargetState {
    /// One word, for metrics and tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Writing => "writing",
            Self::BackingOff { .. } => "backingOff",
            Self::NotWriter => "notWriter",
            Self::Unwritable { .. } => "unwritable",
        }
    }
}

/// How one document stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncState {
    /// Whether it writes by itself.
    pub mode: SyncMode,
    /// Registries it writes into.
    pub targets: Vec<RegistryName>,
    /// Additions and changes on a path that it is a part of.
    pub pending: usize,
    /// Those of them that wait to be applied by hand.
    pub waiting: usize,
}
