//! Counters behind [`Figures`](super::Figures).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Figures;

/// What a publisher has sent.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) puts: AtomicU64,
    pub(super) removes: AtomicU64,
    pub(super) renewals: AtomicU64,
    pub(super) restores: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Counts {
    /// One more.
    pub(super) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// With how many records are held.
    pub(super) fn figures(&self, held: usize) -> Figures {
        Figures {
            held: held as u64,
            puts: self.puts.load(Relaxed),
            removes: self.removes.load(Relaxed),
            renewals: self.renewals.load(Relaxed),
            restores: self.restores.load(Relaxed),
            failures: self.failures.load(Relaxed),
        }
    }
}
