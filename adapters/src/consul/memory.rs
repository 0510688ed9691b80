//! What was believed last of each service: questions to ask, never an answer.
//!
//! It outlives the session, because half a list at the start of a new one is half a list too. What it holds
//! decides what is asked about before an instance is left out of a report (see [`evidence`](super::evidence)), and
//! since when an instance is heard of in the form it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::record::{Health, Id, Reading};

/// Of one Consul, over all its sessions.
#[derive(Debug, Default)]
pub(super) struct Memory {
    services: Mutex<BTreeMap<Arc<str>, Arc<Known>>>,
    told: AtomicBool,
}

/// What was believed last of one service.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Its instances, unreadable ones included.
    pub(super) ids: BTreeSet<Id>,
    /// The index of the answer that had them; `None` if that was another session's.
    pub(super) index: Option<u64>,
    /// Our rights hid other instances then.
    pub(super) partly: bool,
    /// What was said of it.
    pub(super) reading: Option<Arc<Reading>>,
}

impl Known {
    /// What an answer lacks of it.
    pub(super) fn lacking(&self, health: &Health) -> Vec<Id> {
        if health.nameless {
            // One of them may be the entry that does not say which it is; the hub holds what it would remove.
            return Vec::new();
        }
        self.ids.difference(&health.named).cloned().collect()
    }
}

impl Memory {
    /// A session begins. Indexes of another session's say nothing: the servers may have been replaced since.
    pub(super) fn begin(&self) {
        for known in self.services().values_mut().filter(|known| known.index.is_some()) {
            *known = Arc::new(Known {
                ids: known.ids.clone(),
                index: None,
                partly: known.partly,
                reading: known.reading.clone(),
            });
        }
    }

    /// Nothing, if nothing is known.
    pub(super) fn known(&self, name: &str) -> Arc<Known> {
        self.services().get(name).cloned().unwrap_or_default()
    }

    /// An answer is believed.
    pub(super) fn believe(&self, name: &Arc<str>, known: Known) {
        self.services().insert(name.clone(), Arc::new(known));
    }

    /// A service is gone.
    pub(super) fn forget(&self, name: &str) {
        self.services().remove(name);
    }

    /// Every service of which something is known.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.services().keys().cloned().collect()
    }

    /// Says once, whatever the number of sessions, that our rights show a part.
    pub(super) fn note_part(&self, address: &str, of: &str) {
        if !self.told.swap(true, Relaxed) {
            tracing::warn!(
                address,
                of,
                "the token sees only a part; that part is followed. To see all, grant it service:read and node:read"
            );
        }
    }

    fn services(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Known>>> {
        // Nothing that holds the lock can leave the map half changed.
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
