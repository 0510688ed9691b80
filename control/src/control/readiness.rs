//! Whether calls can be served, and what is missing: what `/readyz` says.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use landfall_model::{RegistryName, World, world::Session};

use super::Control;
use crate::DataPath;

/// Whether calls can be served, and what is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    /// Everything below was there once. It stays true: a registry that is added or fails later takes nothing away from
    /// the services of the others.
    pub ready: bool,
    /// Each configured registry.
    pub registries: BTreeMap<RegistryName, RegistryReadiness>,
    /// Host names of instances in use that have not been looked up yet.
    pub names_pending: usize,
    /// What the data path has still to do, if anything.
    pub data_path: Option<String>,
}

/// Whether the services of a registry can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryReadiness {
    /// It was read in full by this process, most recently at that time.
    CaughtUp(SystemTime),
    /// It was not reached yet; the view written at that time is used.
    LastGood(SystemTime),
    /// Nothing is known of it, and why.
    Waiting(String),
}

impl Control {
    /// Whether calls can be served: every registry has caught up or its last good view is loaded, and the data path,
    /// if this process has one, carries a snapshot made from them.
    pub fn readiness(&self, data_path: Option<&dyn DataPath>) -> Readiness {
        let composition = self.composition();
        let registries: BTreeMap<_, _> = composition
            .rules()
            .registries
            .iter()
            .map(|name| (name.clone(), registry_readiness(&composition.world, name)))
            .collect();
        let looked_up = |name: &&Arc<str>| composition.names.contains_key(*name);
        let names_pending = composition.wanted.len() - composition.wanted.iter().filter(looked_up).count();
        let waiting = |registry: &RegistryReadiness| matches!(registry, RegistryReadiness::Waiting(_));
        let complete = names_pending == 0 && !registries.values().any(waiting);
        if complete {
            let version = composition.snapshot.version;
            let _ = self
                .inner
                .complete_version
                .compare_exchange(0, version, Relaxed, Relaxed);
        }
        let wanted = match self.inner.complete_version.load(Relaxed) {
            0 => composition.snapshot.version,
            version => version,
        };
        let data_path = data_path.and_then(|path| data_path_waits(path, wanted));
        if complete && data_path.is_none() {
            self.inner.was_ready.store(true, Relaxed);
        }
        Readiness {
            ready: self.inner.was_ready.load(Relaxed),
            registries,
            names_pending,
            data_path,
        }
    }
}

fn registry_readiness(world: &World, name: &RegistryName) -> RegistryReadiness {
    let Some(view) = world.registries.get(name) else {
        return RegistryReadiness::Waiting("it is about to be connected to".to_owned());
    };
    match (view.caught_up, view.last_good, &view.session) {
        (Some(at), ..) => RegistryReadiness::CaughtUp(at),
        (None, Some(at), _) => RegistryReadiness::LastGood(at),
        (None, None, Session::Stale { why, .. }) => RegistryReadiness::Waiting(why.clone()),
        (None, None, _) => RegistryReadiness::Waiting("its first answer is awaited".to_owned()),
    }
}

/// What a data path has still to do before it carries that version. A listener that cannot be bound is not waited for:
/// the others serve, and its error is shown.
fn data_path_waits(path: &dyn DataPath, wanted: u64) -> Option<String> {
    let version = path.snapshot_version();
    if version < wanted {
        return Some(format!("the data path carries snapshot {version}, not yet {wanted}"));
    }
    let unbound = path
        .listeners()
        .into_iter()
        .find(|l| l.bound.is_none() && l.error.is_none());
    unbound.map(|listener| format!("listener {} is about to be bound", listener.id))
}
