//! Figures of the control plane itself, as Prometheus reads them.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, UNIX_EPOCH},
};

use landfall_model::snapshot::Resolution;

use crate::{Control, DataPath};

/// Upper bounds of the histogram of composing, in microseconds.
const BOUNDS: [u64; 9] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000];

/// Counters of composing.
#[derive(Debug, Default)]
pub struct Metrics {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
    published: AtomicU64,
    refusals: AtomicU64,
}

impl Metrics {
    /// A round took so long, and made a new snapshot or not.
    pub fn round(&self, took: Duration, published: bool) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.microseconds.fetch_add(took, Relaxed);
        self.published.fetch_add(u64::from(published), Relaxed);
    }

    /// A configuration was refused.
    pub fn refused(&self) {
        self.refusals.fetch_add(1, Relaxed);
    }

    /// Configurations refused so far.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Relaxed)
    }

    /// Appends everything in Prometheus' text format.
    pub fn render(&self, control: &Control, data_path: Option<&dyn DataPath>, out: &mut String) {
        let composition = control.composition();
        let config = control.config();
        let snapshot = &composition.snapshot;
        let count = |n: usize| n as f64;
        let missing = snapshot
            .backends
            .values()
            .filter(|r| matches!(r, Resolution::Missing(_)))
            .count();
        let endpoints = snapshot.clusters.values().map(|cluster| cluster.endpoints.len()).sum();
        let empty = snapshot
            .clusters
            .values()
            .filter(|cluster| cluster.endpoints.is_empty())
            .count();
        let unresolved = composition
            .names
            .values()
            .filter(|lookup| lookup.error.is_some())
            .count();
        let accepted = config.accepted_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let ready = control.readiness(data_path).ready;
        let lines = [
            (
                "config_version",
                "gauge",
                "Version of the configuration in force.",
                config.version as f64,
            ),
            (
                "config_accepted_timestamp_seconds",
                "gauge",
                "When it was accepted.",
                accepted.as_secs_f64(),
            ),
            (
                "config_refused",
                "gauge",
                "1 while the configuration on disk is refused and an older one is in force.",
                f64::from(u8::from(config.refused.is_some())),
            ),
            (
                "config_refusals_total",
                "counter",
                "Configurations refused since the start.",
                self.refusals() as f64,
            ),
            (
                "control_snapshot_version",
                "gauge",
                "Version of the latest snapshot.",
                snapshot.version as f64,
            ),
            (
                "control_snapshots_total",
                "counter",
                "Snapshots that changed something for the data path.",
                self.published.load(Relaxed) as f64,
            ),
            (
                "control_clusters",
                "gauge",
                "Clusters that routes use.",
                count(snapshot.clusters.len()),
            ),
            (
                "control_clusters_empty",
                "gauge",
                "Clusters without an endpoint; calls to them are answered 503.",
                count(empty),
            ),
            (
                "control_endpoints",
                "gauge",
                "Endpoints over all clusters.",
                count(endpoints),
            ),
            (
                "control_backends_missing",
                "gauge",
                "Backend references that stand for nothing; their share of calls is answered 500.",
                count(missing),
            ),
            (
                "control_warnings",
                "gauge",
                "Warnings about the rules; see /api/v1/conflicts.",
                count(composition.warnings.len()),
            ),
            (
                "control_names_unresolved",
                "gauge",
                "Host names of instances whose last lookup failed.",
                count(unresolved),
            ),
            (
                "ready",
                "gauge",
                "1 once calls are served; see /readyz.",
                f64::from(u8::from(ready)),
            ),
        ];
        for (name, kind, help, value) in lines {
            let _ = write!(
                out,
                "# HELP landfall_{name} {help}\n# TYPE landfall_{name} {kind}\nlandfall_{name} {value}\n"
            );
        }
        self.render_histogram(out);
    }

    fn render_histogram(&self, out: &mut String) {
        let name = "landfall_control_compose_duration_seconds";
        let _ = write!(
            out,
            "# HELP {name} Time it took to compose a snapshot.\n# TYPE {name} histogram\n"
        );
        let mut sum = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            sum += bucket.load(Relaxed);
            let _ = writeln!(
                out,
                "{name}_bucket{{le=\"{}\"}} {sum}",
                Duration::from_micros(bound).as_secs_f64()
            );
        }
        sum += self.buckets[BOUNDS.len()].load(Relaxed);
        let seconds = Duration::from_micros(self.microseconds.load(Relaxed)).as_secs_f64();
        let _ = write!(
            out,
            "{name}_bucket{{le=\"+Inf\"}} {sum}\n{name}_sum {seconds}\n{name}_count {sum}\n"
        );
    }
}
