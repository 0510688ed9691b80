//! Figures of the data path: registered when a snapshot is compiled, counted without lock or allocation.
//!
//! ```text
//! compile ─▶ Metrics::{route, backend, cluster} ─▶ Arc kept in Rule, BackendSlot, ClusterRuntime ─▶ count
//!                    └─────────────── render ─▶ Prometheus text
//! ```
//!
//! Counters are found again by their labels, so they survive recompilation. Those of a rule or cluster that no
//! runtime holds any more are forgotten by [`Metrics::forget_unused`].
//! Next on the path: [`counter`] and [`histogram`] count, `render` writes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use landfall_model::{ClusterId, rules::BackendRef, snapshot::Since};

pub mod counter;
pub mod histogram;
mod render;
mod series;

pub use counter::Counter;
pub use histogram::Histogram;
pub use series::{BackendMetrics, ClusterMetrics, RouteMetrics};

/// All figures of one engine.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Calls that no rule took: no listener, no route, misdirected, refused.
    pub unrouted: Arc<RouteMetrics>,
    /// From a registry's own change of an instance to the moment calls could use it.
    registry_to_first_use: Histogram,
    /// From the registry's answer that told of a change to the moment calls could use the instance.
    answer_to_first_use: Histogram,
    /// Access log lines that were dropped because the writer could not keep up.
    pub access_log_dropped: Arc<Counter>,
    /// Connections taken by listeners.
    pub connections: Counter,
    /// Connections refused by a listener or ended before a request, by limits or bad TLS.
    pub connections_refused: Counter,
    /// Runtimes compiled.
    pub compiles: Counter,
    // Taken when a snapshot is compiled and when figures are read, never by a call.
    series: Mutex<Series>,
}

#[derive(Debug, Default)]
struct Series {
    routes: BTreeMap<(Arc<str>, usize), Arc<RouteMetrics>>,
    backends: BTreeMap<(Arc<str>, usize, BackendRef), Arc<BackendMetrics>>,
    clusters: BTreeMap<ClusterId, Arc<ClusterMetrics>>,
}

impl Metrics {
    /// The figures of a rule: the route's id and the rule's place in it.
    pub fn route(&self, route: &Arc<str>, rule: usize) -> Arc<RouteMetrics> {
        self.series().routes.entry((route.clone(), rule)).or_default().clone()
    }

    /// The figures of a backend within a rule.
    pub fn backend(&self, route: &Arc<str>, rule: usize, backend: &BackendRef) -> Arc<BackendMetrics> {
        let key = (route.clone(), rule, backend.clone());
        self.series().backends.entry(key).or_default().clone()
    }

    /// The figures of a cluster.
    pub fn cluster(&self, id: &ClusterId) -> Arc<ClusterMetrics> {
        self.series().clusters.entry(id.clone()).or_default().clone()
    }

    /// Drops the figures that nobody else holds. Called while the previous runtime is still held, so what has gone
    /// is shown until the compilation after.
    pub fn forget_unused(&self) {
        let mut series = self.series();
        series.routes.retain(|_, held| Arc::strong_count(held) > 1);
        series.backends.retain(|_, held| Arc::strong_count(held) > 1);
        series.clusters.retain(|_, held| Arc::strong_count(held) > 1);
    }

    /// An instance whose change is `delay` ago can be used from now on.
    pub fn first_use(&self, since: Since, delay: Duration) {
        self.change_to_first_use(since).observe(delay);
    }

    /// From a change of an instance to the moment calls could use it.
    pub fn change_to_first_use(&self, since: Since) -> &Histogram {
        match since {
            Since::Registry => &self.registry_to_first_use,
            Since::Answer => &self.answer_to_first_use,
        }
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        // Nothing that holds the lock can leave the maps half changed.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
