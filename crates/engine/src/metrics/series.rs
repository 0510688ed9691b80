//! The figures of one rule, of one backend in a rule, of one cluster.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{
    counter::{Counter, Sharded},
    histogram::{self, Buckets, Reading},
};
use crate::cluster::{Failure, NoEndpoint};

/// Names of status classes, in the order of [`Classes`]. `none`: the client left before there was an answer.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts by status class.
#[derive(Debug, Default)]
struct Classes([AtomicU64; CLASSES.len()]);

impl Classes {
    fn count(&self, status: u16) {
        let class = usize::from(status / 100);
        self.0[if class < CLASSES.len() { class } else { 0 }].fetch_add(1, Relaxed);
    }
}

fn by_class<'c>(shards: impl Iterator<Item = &'c Classes>) -> [u64; CLASSES.len()] {
    shards.fold([0; CLASSES.len()], |mut sums, shard| {
        for (sum, count) in sums.iter_mut().zip(&shard.0) {
            *sum += count.load(Relaxed);
        }
        sums
    })
}

/// Figures of a rule.
#[derive(Debug, Default)]
pub struct RouteMetrics(Sharded<RouteCells>);

#[derive(Debug, Default)]
struct RouteCells {
    started: AtomicU64,
    finished: AtomicU64,
    classes: Classes,
    latency: Buckets,
    received: AtomicU64,
    sent: AtomicU64,
}

impl RouteMetrics {
    /// A call has found its rule.
    pub fn started(&self) {
        self.0.mine().started.fetch_add(1, Relaxed);
    }

    /// A call that was [started](Self::started) is over. `status` is what the client got, 0 if it left before;
    /// `took` runs from the request's head to the last byte; `received` and `sent` are body bytes.
    pub fn finished(&self, status: u16, took: Duration, received: u64, sent: u64) {
        let cells = self.0.mine();
        cells.finished.fetch_add(1, Relaxed);
        cells.classes.count(status);
        cells.latency.observe(took);
        if received > 0 {
            cells.received.fetch_add(received, Relaxed);
        }
        if sent > 0 {
            cells.sent.fetch_add(sent, Relaxed);
        }
    }

    fn sum(&self, of: impl Fn(&RouteCells) -> &AtomicU64) -> u64 {
        self.0.all().map(|cells| of(cells).load(Relaxed)).sum()
    }

    /// Calls that are not over.
    pub fn in_flight(&self) -> u64 {
        // Read in this order, so that a call that ends meanwhile cannot make it negative.
        let finished = self.sum(|cells| &cells.finished);
        self.sum(|cells| &cells.started).saturating_sub(finished)
    }

    /// Finished calls by class of their status: none, 1xx, 2xx, 3xx, 4xx, 5xx.
    pub fn by_class(&self) -> [u64; CLASSES.len()] {
        by_class(self.0.all().map(|cells| &cells.classes))
    }

    /// How long calls took.
    pub fn latency(&self) -> Reading {
        histogram::read(self.0.all().map(|cells| &cells.latency))
    }

    /// Bytes of request bodies.
    pub fn received(&self) -> u64 {
        self.sum(|cells| &cells.received)
    }

    /// Bytes of answer bodies.
    pub fn sent(&self) -> u64 {
        self.sum(|cells| &cells.sent)
    }
}

/// Figures of one backend of a rule.
#[derive(Debug, Default)]
pub struct BackendMetrics(Sharded<Classes>);

impl BackendMetrics {
    /// A call that went to this backend is over; see [`RouteMetrics::finished`].
    pub fn finished(&self, status: u16) {
        self.0.mine().count(status);
    }

    /// Finished calls by class of their status: none, 1xx, 2xx, 3xx, 4xx, 5xx.
    pub fn by_class(&self) -> [u64; CLASSES.len()] {
        by_class(self.0.all())
    }
}

/// Figures of a cluster. Counted by the cluster itself; the HTTP side only adds through a lease.
#[derive(Debug, Default)]
pub struct ClusterMetrics {
    tries: Sharded<TryCells>,
    pub(super) retries: Counter,
    pub(super) retries_refused: Counter,
    pub(super) ejections: Counter,
    pub(super) no_endpoint: [Counter; NO_ENDPOINT.len()],
}

#[derive(Debug, Default)]
struct TryCells {
    classes: Classes,
    failures: [AtomicU64; FAILURES.len()],
    connections: [AtomicU64; CONNECTIONS.len()],
    latency: Buckets,
}

/// Names of how tries end without an answer.
pub(super) const FAILURES: [&str; 4] = ["connect_failed", "reset", "timeout", "cancelled"];
/// Names of why calls get no endpoint.
pub(super) const NO_ENDPOINT: [&str; 4] = ["empty", "ejected", "overloaded", "tag"];
/// Names of where connections come from.
pub(super) const CONNECTIONS: [&str; 2] = ["new", "reused"];

impl ClusterMetrics {
    pub(crate) fn connected(&self, reused: bool) {
        self.tries.mine().connections[usize::from(reused)].fetch_add(1, Relaxed);
    }

    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let cells = self.tries.mine();
        cells.classes.count(status);
        cells.latency.observe(took);
    }

    pub(crate) fn failed(&self, failure: Failure) {
        let which = match failure {
            Failure::Connect => 0,
            Failure::Reset => 1,
            Failure::Timeout => 2,
        };
        self.tries.mine().failures[which].fetch_add(1, Relaxed);
    }

    pub(crate) fn cancelled(&self) {
        self.tries.mine().failures[3].fetch_add(1, Relaxed);
    }

    pub(crate) fn retry(&self, granted: bool) {
        if granted { &self.retries } else { &self.retries_refused }.increment();
    }

    pub(crate) fn ejected(&self) {
        self.ejections.increment();
    }

    pub(crate) fn no_endpoint(&self, reason: NoEndpoint) {
        let which = match reason {
            NoEndpoint::Empty => 0,
            NoEndpoint::Ejected => 1,
            NoEndpoint::Overloaded => 2,
            NoEndpoint::Tag => 3,
        };
        self.no_endpoint[which].increment();
    }

    /// Answers by class of their status: none, 1xx, 2xx, 3xx, 4xx, 5xx.
    pub fn by_class(&self) -> [u64; CLASSES.len()] {
        by_class(self.tries.all().map(|cells| &cells.classes))
    }

    /// Tries without an answer: no connection, reset, timeout, given up by the client.
    pub fn failures(&self) -> [u64; FAILURES.len()] {
        std::array::from_fn(|which| self.tries.all().map(|cells| cells.failures[which].load(Relaxed)).sum())
    }

    /// Connections used by tries: new ones, kept ones.
    pub fn connections(&self) -> [u64; CONNECTIONS.len()] {
        std::array::from_fn(|which| {
            self.tries
                .all()
                .map(|cells| cells.connections[which].load(Relaxed))
                .sum()
        })
    }

    /// How long heads of answers took.
    pub fn latency(&self) -> Reading {
        histogram::read(self.tries.all().map(|cells| &cells.latency))
    }

    /// Retries granted.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    /// Endpoints ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections.get()
    }
}
