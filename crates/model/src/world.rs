//! Everything the registries say, and how old that is.
//!
//! Made by the hub in `adapters`, read by `control`: to compose a [`Snapshot`](crate::Snapshot),
//! and to answer `get registries`, `get services` and `why`.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{RegistryName, Service, ServiceId, snapshot::Since};

/// All registries at one moment. Cheap to clone and to compare: the parts are shared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct World {
    /// By name.
    pub registries: BTreeMap<RegistryName, Arc<RegistryView>>,
}

impl World {
    /// The service of that id, if its registry has it.
    pub fn service(&self, id: &ServiceId) -> Option<&ServiceView> {
        self.registries
            .get(&id.registry)?
            .services
            .get(&*id.name)
            .map(Arc::as_ref)
    }

    /// By whose word the instances of that service have changed when they say so.
    pub fn since(&self, id: &ServiceId) -> Since {
        let registry = self.registries.get(&id.registry);
        registry.map_or(Since::Registry, |registry| registry.since())
    }
}

/// One registry at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryView {
    /// Its name.
    pub name: RegistryName,
    /// What it is: `eureka`, `consul`, `zookeeper`, `file`, `static`, `embedded`.
    pub kind: &'static str,
    /// Where it is reached, without credentials.
    pub address: String,
    /// How the session with it stands.
    pub session: Session,
    /// Whether this process has caught up with it at least once, and when it last did.
    pub caught_up: Option<SystemTime>,
    /// When the last good view was written, if this process started from one.
    pub last_good: Option<SystemTime>,
    /// By the registry's own name of the service.
    pub services: BTreeMap<Arc<str>, Arc<ServiceView>>,
    /// Removals that wait for confirmation.
    pub holds: Vec<Hold>,
    /// Records that could not be understood.
    pub quarantined: Vec<Quarantined>,
    /// The rules for calls that it keeps itself (Dubbo's).
    pub governance: Vec<GovernanceRule>,
}

impl RegistryView {
    /// Whether its services may be used: it has caught up, or its last good view is loaded.
    pub fn is_ready(&self) -> bool {
        self.caught_up.is_some() || self.last_good.is_some()
    }

    /// By whose word its instances have changed when they say so. Consul stamps no change of a record.
    pub fn since(&self) -> Since {
        match self.kind {
            "consul" => Since::Answer,
            _ => Since::Registry,
        }
    }
}

/// How the session with a registry stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Session {
    /// The first answer is awaited.
    Connecting {
        /// Since when.
        since: SystemTime,
    },
    /// Connected, not everything has been read yet.
    CatchingUp {
        /// Since when.
        since: SystemTime,
    },
    /// What is shown is what the registry says.
    Live {
        /// Since when.
        since: SystemTime,
    },
    /// Lost. What is shown is what the registry said last.
    Stale {
        /// Since when.
        since: SystemTime,
        /// The error that ended the session, without secrets.
        why: String,
        /// When the next attempt is made.
        retry_at: SystemTime,
    },
}

/// How current the knowledge of one service is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Freshness {
    /// The registry said so in a healthy session; the last time it changed.
    Fresh {
        /// Since when it reads as it does.
        since: SystemTime,
    },
    /// Not confirmed any more.
    Stale {
        /// Since when.
        since: SystemTime,
        /// Why not.
        why: String,
    },
}

/// A service with the age of what is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceView {
    /// The service.
    pub service: Arc<Service>,
    /// How current it is.
    pub freshness: Freshness,
}

/// A removal that waits: for a second look, for failing probes, or for its time to run out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The service that would lose instances.
    pub service: Arc<str>,
    /// The instances that would go.
    pub instances: Vec<Arc<str>>,
    /// What makes the removal suspicious.
    pub reason: String,
    /// Since when it is held.
    pub since: SystemTime,
    /// When it takes effect if the registry keeps saying so.
    pub until: SystemTime,
}

/// The key of an instance's metadata that says which governance rules changed it, and how.
pub const CONFIGURED_BY: &str = "dubbo.configured-by";

/// A rule for calls that operators keep in the registry itself: Dubbo's configurators and routers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GovernanceRule {
    /// Where it stands, below the registry's root and without what may be secret.
    pub place: Arc<str>,
    /// `configurator`, `condition`, `tag`, `script`, `affinity`, `mesh`.
    pub kind: &'static str,
    /// Whether Landfall does what it says.
    pub honoured: Honoured,
    /// What of it is not honoured, and why.
    pub notes: Vec<String>,
}

/// How much of a governance rule is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Honoured {
    /// All of it.
    Yes,
    /// Some of it; the notes name the rest.
    Partly,
    /// Nothing of it.
    No,
}

/// A record that could not be understood; its siblings live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// The service it belongs to, if that much could be read.
    pub service: Option<Arc<str>>,
    /// The record's id or path, shortened.
    pub record: String,
    /// What is wrong with it.
    pub reason: String,
}
