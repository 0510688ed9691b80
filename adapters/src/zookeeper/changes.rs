//! What has changed since the last look: a set, so that a storm of events costs no more than its nodes.
//!
//! Next on the path: [`session`](super::session) takes it and reads those parts again.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::layout::{Layout, Part};

/// What has changed and not been read again yet.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pending: Mutex<Pending>,
    wake: Notify,
}

/// Changes that are taken together.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// What they concern.
    pub(super) parts: BTreeSet<Part>,
    /// The nodes themselves.
    pub(super) paths: BTreeSet<String>,
}

impl Changes {
    /// Notes a changed node, if it concerns anything.
    pub(super) fn mark(&self, layout: &Layout, path: &str) {
        let parts = layout.concerns(path);
        if parts.is_empty() {
            return;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.parts.extend(parts);
        pending.paths.insert(path.to_owned());
        drop(pending);
        self.wake.notify_one();
    }

    /// Waits until something is pending.
    pub(super) async fn some(&self) {
        self.wake.notified().await;
    }

    /// Takes what is pending.
    pub(super) fn take(&self) -> Pending {
        std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
