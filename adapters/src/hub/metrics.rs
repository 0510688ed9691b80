//! Figures of the registries, as Prometheus reads them.
//!
//! Written by the followers, read by the admin server: [`Metrics::render`].

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use landfall_model::{RegistryName, RegistryView, world::Session};

/// Upper bounds of the delay histogram, in milliseconds.
const BOUNDS: [u64; 12] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

/// Why sessions end, as [`RegistryError::label`](crate::RegistryError::label) names it.
const ERRORS: [&str; 5] = ["unreachable", "denied", "not_ready", "malformed", "session_over"];

/// Figures of every registry that is followed.
#[derive(Debug, Default)]
pub struct Metrics {
    registries: RwLock<BTreeMap<RegistryName, Arc<Figures>>>,
}

/// Figures of one registry.
#[derive(Debug, Default)]
pub(super) struct Figures {
    session_up: AtomicU64,
    sessions: AtomicU64,
    errors: [AtomicU64; ERRORS.len()],
    services: AtomicU64,
    instances: AtomicU64,
    held: AtomicU64,
    quarantined: AtomicU64,
    /// Milliseconds since 1970; 0 while it is not stale.
    stale_since: AtomicU64,
    /// Milliseconds since 1970; 0 before the first change.
    last_change: AtomicU64,
    store_errors: AtomicU64,
    delay_buckets: [AtomicU64; BOUNDS.len() + 1],
    delay_sum: AtomicU64,
}

impl Figures {
    pub(super) fn opened(&self) {
        self.sessions.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self, label: &str) {
        if let Some(at) = ERRORS.iter().position(|error| *error == label) {
            self.errors[at].fetch_add(1, Relaxed);
        }
    }

    pub(super) fn store_failed(&self) {
        self.store_errors.fetch_add(1, Relaxed);
    }

    /// A view was published at `now`; `changed` is when the registry made the changes in it.
    pub(super) fn published(&self, view: &RegistryView, content: bool, changed: &[SystemTime], now: SystemTime) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let instances = view.services.values().map(|view| view.service.instances.len()).sum();
        let held = view.holds.iter().map(|hold| hold.instances.len()).sum();
        self.services.store(count(view.services.len()), Relaxed);
        self.instances.store(count(instances), Relaxed);
        self.held.store(count(held), Relaxed);
        self.quarantined.store(count(view.quarantined.len()), Relaxed);
        self.session_up
            .store(u64::from(matches!(view.session, Session::Live { .. })), Relaxed);
        let stale_since = match &view.session {
            Session::Stale { since, .. } => milliseconds(*since).max(1),
            // Still stale in what it has not confirmed: the age goes on until the session is live.
            Session::CatchingUp { .. } => self.stale_since.load(Relaxed),
            Session::Connecting { .. } => view.last_good.map_or(0, milliseconds),
            Session::Live { .. } => 0,
        };
        self.stale_since.store(stale_since, Relaxed);
        if content {
            self.last_change.store(milliseconds(now), Relaxed);
        }
        for changed in changed {
            let delay = now.duration_since(*changed).unwrap_or_default();
            let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            let bucket = BOUNDS.iter().position(|bound| delay <= *bound).unwrap_or(BOUNDS.len());
            self.delay_buckets[bucket].fetch_add(1, Relaxed);
            self.delay_sum.fetch_add(delay, Relaxed);
        }
    }
}

impl Metrics {
    pub(super) fn of(&self, registry: &RegistryName) -> Arc<Figures> {
        let mut registries = self.registries.write().unwrap_or_else(PoisonError::into_inner);
        registries.entry(registry.clone()).or_default().clone()
    }

    pub(super) fn forget(&self, registry: &RegistryName) {
        let mut registries = self.registries.write().unwrap_or_else(PoisonError::into_inner);
        registries.remove(registry);
    }

    /// Appends everything in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        self.render_at(out, SystemTime::now());
    }

    fn render_at(&self, out: &mut String, now: SystemTime) {
        let registries = self.registries.read().unwrap_or_else(PoisonError::into_inner);
        if registries.is_empty() {
            return;
        }
        let mut family = |name: &str, kind: &str, help: &str, lines: &dyn Fn(&mut String, &str, &Figures)| {
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for (registry, figures) in registries.iter() {
                lines(out, registry.as_str(), figures);
            }
        };
        type Single = fn(&Figures) -> u64;
        let singles: [(&str, &str, &str, Single); 7] = [
            (
                "landfall_registry_session_up",
                "gauge",
                "Whether the session with the registry is live and caught up.",
                |f| f.session_up.load(Relaxed),
            ),
            (
                "landfall_registry_sessions_total",
                "counter",
                "Attempts at a session with the registry.",
                |f| f.sessions.load(Relaxed),
            ),
            (
                "landfall_registry_services",
                "gauge",
                "Services known of the registry.",
                |f| f.services.load(Relaxed),
            ),
            (
                "landfall_registry_instances",
                "gauge",
                "Instances known of the registry, held ones included.",
                |f| f.instances.load(Relaxed),
            ),
            (
                "landfall_registry_held_instances",
                "gauge",
                "Instances whose removal is held by the brake.",
                |f| f.held.load(Relaxed),
            ),
            (
                "landfall_registry_quarantined",
                "gauge",
                "Records of the registry that could not be understood.",
                |f| f.quarantined.load(Relaxed),
            ),
            (
                "landfall_registry_last_good_errors_total",
                "counter",
                "Times the last good view could not be written to disk.",
                |f| f.store_errors.load(Relaxed),
            ),
        ];
        for (name, kind, help, value) in singles {
            family(name, kind, help, &|out, registry, figures| {
                let _ = writeln!(out, "{name}{{registry=\"{registry}\"}} {}", value(figures));
            });
        }
        let errors = "landfall_registry_session_errors_total";
        family(
            errors,
            "counter",
            "Sessions that ended, by why.",
            &|out, registry, figures| {
                for (label, count) in ERRORS.iter().zip(&figures.errors) {
                    let count = count.load(Relaxed);
                    let _ = writeln!(out, "{errors}{{registry=\"{registry}\",error=\"{label}\"}} {count}");
                }
            },
        );
        let stale = "landfall_registry_stale_seconds";
        family(
            stale,
            "gauge",
            "Age of what is known while the registry is not reached; 0 while it is.",
            &|out, registry, figures| {
                let age = match figures.stale_since.load(Relaxed) {
                    0 => 0,
                    since => milliseconds(now).saturating_sub(since),
                };
                let _ = writeln!(out, "{stale}{{registry=\"{registry}\"}} {}", Seconds(age));
            },
        );
        let last = "landfall_registry_last_change_timestamp_seconds";
        family(
            last,
            "gauge",
            "When services or instances last changed; 0 if never.",
            &|out, registry, figures| {
                let at = Seconds(figures.last_change.load(Relaxed));
                let _ = writeln!(out, "{last}{{registry=\"{registry}\"}} {at}");
            },
        );
        let delay = "landfall_registry_change_delay_seconds";
        let help = "From a change by the registry's own clock to the world that has it.";
        family(delay, "histogram", help, &|out, registry, figures| {
            let mut total = 0;
            for (at, bucket) in figures.delay_buckets.iter().enumerate() {
                total += bucket.load(Relaxed);
                let bound = BOUNDS
                    .get(at)
                    .map_or("+Inf".to_owned(), |bound| Seconds(*bound).to_string());
                let _ = writeln!(out, "{delay}_bucket{{registry=\"{registry}\",le=\"{bound}\"}} {total}");
            }
            let sum = Seconds(figures.delay_sum.load(Relaxed));
            let _ = writeln!(out, "{delay}_sum{{registry=\"{registry}\"}} {sum}");
            let _ = writeln!(out, "{delay}_count{{registry=\"{registry}\"}} {total}");
        });
    }
}

fn milliseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds, printed as seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn every_figure_is_rendered_with_its_registry() {
        let metrics = Metrics::default();
        let name = RegistryName::new("eureka").unwrap();
        let figures = metrics.of(&name);
        figures.opened();
        figures.ended("denied");
        let view = RegistryView {
            name: name.clone(),
            kind: "eureka",
            address: String::new(),
            session: Session::Stale {
                since: at(10_000),
                why: String::new(),
                retry_at: at(20_000),
            },
            caught_up: None,
            last_good: None,
            services: BTreeMap::new(),
            holds: Vec::new(),
            quarantined: Vec::new(),
            governance: Vec::new(),
        };
        figures.published(&view, true, &[at(9_980), at(1)], at(10_000));
        let mut text = String::new();
        metrics.render_at(&mut text, at(12_500));
        for line in [
            "landfall_registry_session_up{registry=\"eureka\"} 0",
            "landfall_registry_sessions_total{registry=\"eureka\"} 1",
            "landfall_registry_session_errors_total{registry=\"eureka\",error=\"denied\"} 1",
            "landfall_registry_session_errors_total{registry=\"eureka\",error=\"malformed\"} 0",
            "landfall_registry_stale_seconds{registry=\"eureka\"} 2.500",
            "landfall_registry_last_change_timestamp_seconds{registry=\"eureka\"} 10.000",
            "landfall_registry_change_delay_seconds_bucket{registry=\"eureka\",le=\"0.010\"} 0",
            "landfall_registry_change_delay_seconds_bucket{registry=\"eureka\",le=\"0.025\"} 1",
            "landfall_registry_change_delay_seconds_bucket{registry=\"eureka\",le=\"+Inf\"} 2",
            "landfall_registry_change_delay_seconds_sum{registry=\"eureka\"} 10.019",
            "landfall_registry_change_delay_seconds_count{registry=\"eureka\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
        }
        assert_eq!(text.matches("# TYPE").count(), 11);
        metrics.forget(&name);
        text.clear();
        metrics.render(&mut text);
        assert_eq!(text, "");
    }
}
