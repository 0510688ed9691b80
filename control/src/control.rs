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
//! Next on the path: `control/composer.rs`, then [`compose`](mod@crate::compose), then the engine, which compiles the snapshot.

mod composer;
mod readiness;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use landfall_adapters::{
    definitions::{Definitions, Known},
    hub::Hub,
};
use landfall_config::{Config, ConfigState, RegistryConfig};
use landfall_identity::TrustDomain;
use landfall_model::{Rules, ServiceId, Snapshot, World};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    DataPath,
    compose::{Inputs, Warning},
    metrics::Metrics,
    resolve::{self, LookUp, Names},
};
use composer::Composer;
pub use readiness::{Readiness, RegistryReadiness};

/// What the control plane is started with.
pub struct ControlOptions {
    /// The configuration, now and later: [`ConfigFollower::state`](landfall_config::ConfigFollower::state).
    pub config: watch::Receiver<ConfigState>,
    /// Follows the registries that the configuration lists.
    pub hub: Arc<Hub>,
    /// Of the identity with which the data path calls sidecars, if it has one.
    pub trust_domain: Option<TrustDomain>,
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
    /// Service definitions of Dubbo that are known.
    pub definitions: Known,
    /// Of the identity with which the data path calls sidecars.
    pub trust_domain: Option<TrustDomain>,
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
            definitions: &self.definitions,
            trust_domain: self.trust_domain.as_ref(),
            previous: Some(&self.snapshot),
        }
    }
}

impl Control {
    /// Follows the registries of the configuration, and starts composing. The first snapshot, with what the last good
    /// views hold, is there when this returns.
    pub async fn start(options: ControlOptions) -> Self {
        let ControlOptions {
            mut config,
            hub,
            trust_domain,
            look_up,
        } = options;
        let registries = config.borrow_and_update().current.registries.clone();
        set_registries(&hub, &registries).await;
        let mut control = Self::join(
            config.clone(),
            hub.world(),
            trust_domain,
            look_up,
            hub.definitions().clone(),
        );
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
        trust_domain: Option<TrustDomain>,
        look_up: LookUp,
        definitions: Definitions,
    ) -> Self {
        let (wants, wanted) = watch::channel(BTreeSet::new());
        let (names_sender, mut names) = watch::channel(Names::new());
        let (snapshot_sender, snapshots) = watch::channel(Arc::default());
        let nothing = Composition {
            world: Arc::default(),
            config: config.borrow().current.clone(),
            names: Names::new(),
            definitions: Known::new(),
            trust_domain: trust_domain.clone(),
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
            definitions: definitions.clone(),
            trust_domain,
        };
        let mut known = definitions.known();
        let shown = config.clone();
        composer.round(&mut config, &mut world, &mut names, &mut known);
        let resolver = tokio::spawn(resolve::run(look_up, wanted, names_sender));
        let joiner = tokio::spawn(composer.run(config, world, names, known));
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

    /// Configurations refused since the start.
    pub fn config_refusals(&self) -> u64 {
        self.inner.metrics.refusals()
    }

    /// Appends the control plane's own metrics in Prometheus' text format.
    pub fn render_metrics(&self, data_path: Option<&dyn DataPath>, out: &mut String) {
        self.inner.metrics.render(self, data_path, out);
    }
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
