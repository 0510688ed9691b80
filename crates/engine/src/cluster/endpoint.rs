//! What is known of one endpoint while calls run: atomics that outlive snapshots.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::latency::Latency;
use crate::moment::Moment;

/// Live figures of one endpoint of one cluster, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct EndpointState {
    in_flight: AtomicU32,
    /// Failures since the last success.
    pub(super) failures: AtomicU32,
    /// Ejections in a row; the next one is longer.
    pub(super) ejections: AtomicU32,
    pub(super) ejected_until: AtomicU64,
    /// Mean time to an answer's head.
    pub latency: Latency,
    born: Moment,
}

impl EndpointState {
    /// Known since `born`; [`Moment::NEVER`] for one that needs no slow start.
    pub fn new(born: Moment) -> Self {
        Self {
            born,
            ..Self::default()
        }
    }

    /// Counts a call in unless the limit is reached.
    pub(super) fn begin(&self, limit: Option<u32>) -> bool {
        let before = self.in_flight.fetch_add(1, Relaxed);
        let fits = limit.is_none_or(|limit| before < limit);
        if !fits {
            self.in_flight.fetch_sub(1, Relaxed);
        }
        fits
    }

    /// Counts a call out.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Calls in flight now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// Whether it is left out now.
    pub fn is_ejected(&self, now: Moment) -> bool {
        self.ejected_until.load(Relaxed) > now.nanos()
    }

    /// For how long it is still left out.
    pub fn ejected_for(&self, now: Moment) -> Option<Duration> {
        let until = Moment::from_nanos(self.ejected_until.load(Relaxed));
        (until > now).then(|| until.since(now))
    }

    /// The part of its weight that it gets while it warms up over that time: a tenth at first, then 1.
    pub fn warmth(&self, now: Moment, over: Duration) -> f64 {
        if self.born == Moment::NEVER || over.is_zero() {
            return 1.0;
        }
        let age = now.since(self.born).as_secs_f64() / over.as_secs_f64();
        (0.1 + 0.9 * age).min(1.0)
    }
}
