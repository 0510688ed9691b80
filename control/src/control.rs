//! Joins configuration and registries into snapshots, for as long as the process lives.
//!
//! ```text
//! configuration ──▶ rules ─┐
//! hub ────────────▶ world ─┼─▶ compose ─▶ watch<Snapshot>     ─▶ engine
//! resolver ───────▶ names ─┘      │    └▶ watch<Composition>  ─▶ admin API
//!    ▲────────────────────────────┘ names in use
//! ```
//!
//! A change reaches the snapshot a millisecond or two after it was made; in a burst one snapshot is made for all
//! changes of some milliseconds, so a registry that says everything at once costs a few rounds and not thousands.
//!
//! Next on the path: [`compose()`], then the engine, which compiles the snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use landfall_adapters::hub::Hub;
use landfall_config::{Config, ConfigState, RegistryConfig};
use landfall_model::{RegistryName, Rules, ServiceId, Snapshot, World, world::Session};
use tokio::{sync::watch, task::AbortHandle, time::Instant};

use crate::{
    DataPath,
    compose::{Inputs, Warning, compose},
    metrics::Metrics,
    resolve::{self, LookUp, Names},
};

/// After the first change others are waited for this long: one report of a registry is often several changes.
const GATHER: Duration = Duration::from_millis(1);

/// Two snapshots are at least this far apart, or as far as four times what composing takes.
const APART: Duration = Duration::from_millis(5);

/// What the control plane is started with.
pub struct ControlOptions {
    /// The configuration, now and later: [`ConfigFollower::state`](landfall_config::ConfigFollower::state).
    pub config: watch::Receiver<ConfigState>,
    /// Follows the registries that the configuration lists.
    pub hub: Arc<Hub>,
    /// How host names of instances are looked up; [`resolve::system`] unless a test stands in for it.
    pub look_up: LookUp,
}

/// A running control plane. Clones are the same one; it ends when the last is dropped.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    config: watch::Receiver<ConfigState>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    compositions: watch::Receiver<Arc<Composition>>,
    metrics: Arc<Metrics>,
    /// The first snapshot with every registry in it; 0 before.
    complete_version: AtomicU64,
    was_ready: AtomicBool,
    tasks: Vec<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// One round of composing: what went in and what came out. Answers of the admin API are made from one of these, so
/// that their parts fit together.
#[derive(Clone, Debug)]
pub struct Composition {
    /// What the registries said.
    pub world: Arc<World>,
    /// What the configuration said.
    pub config: Arc<Config>,
    /// What host names stood for.
    pub names: Names,
    /// Names that services in use have.
    pub wanted: BTreeSet<Arc<str>>,
    /// Referenced services met so far.
    pub seen: BTreeSet<ServiceId>,
    /// What came out.
    pub snapshot: Arc<Snapshot>,
    /// What an operator should know about it.
    pub warnings: Vec<Warning>,
}

impl Composition {
    /// What the configuration said about traffic.
    pub fn rules(&self) -> &Rules {
        &self.config.rules
    }

    /// What went in, for the functions of [`compose`](crate::compose).
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            world: &self.world,
            rules: self.rules(),
            names: &self.names,
            seen: &self.seen,
            previous: Some(&self.snapshot),
        }
    }
}

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
    /// Follows the registries of the configuration, and starts composing. The first snapshot, with what the last good
    /// views hold, is there when this returns.
    pub async fn start(options: ControlOptions) -> Self {
        let ControlOptions {
            mut config,
            hub,
            look_up,
        } = options;
        let registries = config.borrow_and_update().current.registries.clone();
        set_registries(&hub, &registries).await;
        let mut control = Self::join(config.clone(), hub.world(), look_up);
        let task = tokio::spawn(follow_registries(
            config,
            hub,
            registries,
            control.inner.metrics.clone(),
        ));
        if let Some(inner) = Arc::get_mut(&mut control.inner) {
            inner.tasks.push(task.abort_handle());
        }
        control
    }

    /// Starts composing from a configuration and a world that others keep up to date.
    pub(crate) fn join(
        mut config: watch::Receiver<ConfigState>,
        mut world: watch::Receiver<Arc<World>>,
        look_up: LookUp,
    ) -> Self {
        let (wants, wanted) = watch::channel(BTreeSet::new());
        let (names_sender, mut names) = watch::channel(Names::new());
        let (snapshot_sender, snapshots) = watch::channel(Arc::default());
        let nothing = Composition {
            world: Arc::default(),
            config: config.borrow().current.clone(),
            names: Names::new(),
            wanted: BTreeSet::new(),
            seen: BTreeSet::new(),
            snapshot: Arc::default(),
            warnings: Vec::new(),
        };
        let (composition_sender, compositions) = watch::channel(Arc::new(nothing));
        let metrics = Arc::new(Metrics::default());
        let composer = Composer {
            wants,
            snapshots: snapshot_sender,
            compositions: composition_sender,
            metrics: metrics.clone(),
        };
        let shown = config.clone();
        composer.round(&mut config, &mut world, &mut names);
        let resolver = tokio::spawn(resolve::run(look_up, wanted, names_sender));
        let joiner = tokio::spawn(composer.run(config, world, names));
        Self {
            inner: Arc::new(Inner {
                config: shown,
                snapshots,
                compositions,
                metrics,
                complete_version: AtomicU64::new(0),
                was_ready: AtomicBool::new(false),
                tasks: vec![resolver.abort_handle(), joiner.abort_handle()],
            }),
        }
    }

    /// Snapshots, a new one whenever something changed for the data path.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.inner.snapshots.clone()
    }

    /// The latest round, also if it changed nothing for the data path.
    pub fn composition(&self) -> Arc<Composition> {
        self.inner.compositions.borrow().clone()
    }

    /// Rounds as they are made.
    pub fn compositions(&self) -> watch::Receiver<Arc<Composition>> {
        self.inner.compositions.clone()
    }

    /// The configuration in force and the refusal of the last one, if it was refused.
    pub fn config(&self) -> ConfigState {
        self.inner.config.borrow().clone()
    }

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

    /// Configurations refused since the start.
    pub fn config_refusals(&self) -> u64 {
        self.inner.metrics.refusals()
    }

    /// Appends the control plane's own metrics in Prometheus' text format.
    pub fn render_metrics(&self, data_path: Option<&dyn DataPath>, out: &mut String) {
        self.inner.metrics.render(self, data_path, out);
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

/// Follows what the configuration lists, and counts what is refused.
async fn follow_registries(
    mut config: watch::Receiver<ConfigState>,
    hub: Arc<Hub>,
    mut registries: Vec<RegistryConfig>,
    metrics: Arc<Metrics>,
) {
    let refused_at = |state: &ConfigState| state.refused.as_ref().map(|refused| refused.at);
    let mut last_refusal = None;
    loop {
        let (now, refusal) = {
            let state = config.borrow_and_update();
            (state.current.clone(), refused_at(&state))
        };
        if refusal.is_some() && refusal != last_refusal {
            metrics.refused();
        }
        last_refusal = refusal;
        if now.registries != registries {
            registries.clone_from(&now.registries);
            set_registries(&hub, &registries).await;
        }
        if config.changed().await.is_err() {
            return;
        }
    }
}

async fn set_registries(hub: &Hub, registries: &[RegistryConfig]) {
    // What cannot be followed has been logged by the hub and stands in the world as stale, with the reason.
    let _ = hub.set_registries(registries.to_vec()).await;
}

/// The task that makes rounds.
struct Composer {
    wants: watch::Sender<BTreeSet<Arc<str>>>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    compositions: watch::Sender<Arc<Composition>>,
    metrics: Arc<Metrics>,
}

impl Composer {
    async fn run(
        self,
        mut config: watch::Receiver<ConfigState>,
        mut world: watch::Receiver<Arc<World>>,
        mut names: watch::Receiver<Names>,
    ) {
        let mut apart = Duration::ZERO;
        let mut last = Instant::now();
        loop {
            let changed = tokio::select! {
                changed = config.changed() => changed,
                changed = world.changed() => changed,
                changed = names.changed() => changed,
            };
            // Whoever made the changes has ended, and with it the process: nothing will change any more.
            if changed.is_err() {
                return;
            }
            tokio::time::sleep_until((last + apart).max(Instant::now() + GATHER)).await;
            last = Instant::now();
            let took = self.round(&mut config, &mut world, &mut names);
            apart = APART.max(took * 4);
        }
    }

    /// Composes once from the present values and publishes what is new.
    fn round(
        &self,
        config: &mut watch::Receiver<ConfigState>,
        world: &mut watch::Receiver<Arc<World>>,
        names: &mut watch::Receiver<Names>,
    ) -> Duration {
        let begun = std::time::Instant::now();
        let before = self.compositions.borrow().clone();
        let config = config.borrow_and_update().current.clone();
        let world = world.borrow_and_update().clone();
        let names = names.borrow_and_update().clone();
        // Version 0 is the empty one that the channel began with.
        let previous = Some(&before.snapshot).filter(|snapshot| snapshot.version > 0);
        let composed = compose(Inputs {
            world: &world,
            rules: &config.rules,
            names: &names,
            seen: &before.seen,
            previous,
        });
        for warning in composed.warnings.iter().filter(|w| !before.warnings.contains(w)) {
            tracing::warn!("{warning}");
        }
        let published = !previous.is_some_and(|previous| Arc::ptr_eq(previous, &composed.snapshot));
        if published {
            let (version, clusters) = (composed.snapshot.version, composed.snapshot.clusters.len());
            tracing::debug!(version, clusters, rules = config.rules.version, "new snapshot");
        }
        // The round first: who sees a snapshot finds what it was made from.
        let snapshot = composed.snapshot.clone();
        self.wants.send_if_modified(|wants| {
            let news = *wants != composed.names;
            if news {
                wants.clone_from(&composed.names);
            }
            news
        });
        self.compositions.send_replace(Arc::new(Composition {
            world,
            config,
            names,
            wanted: composed.names,
            seen: composed.seen,
            snapshot: composed.snapshot,
            warnings: composed.warnings,
        }));
        if published {
            self.snapshots.send_replace(snapshot);
        }
        let took = begun.elapsed();
        self.metrics.round(took, published);
        took
    }
}

#[cfg(test)]
mod tests;
