//! The hub: where all registries meet, and what is believed of them becomes one [`World`].
//!
//! ```text
//! supervisor ──▶ follower ─┬─▶ Ledger   rules: what is believed        hub/ledger.rs
//!                          ├─▶ Brake    what is held, and until when   brake.rs
//!                          ├─▶ Probe    asking a held instance itself  hub/probe.rs
//!                          ├─▶ Store    the last good view on disk     store.rs
//!                          └─▶ watch::Receiver<Arc<World>>             read by control
//! ```
//!
//! One follower per registry; they share nothing but the watch, so one registry that is slow or
//! large delays no other.
//!
//! Next on the path: `control` composes the world with the rules.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use landfall_config::RegistryConfig;
use landfall_model::{RegistryName, World};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tracing::warn;

use crate::{
    ConnectError, Registry, connect, definitions::Definitions, embedded, facade::traffic::Board, store::Store,
};

mod entry;
mod follower;
pub mod ledger;
mod metrics;
mod probe;

use follower::{Follower, Handle, Order};
pub use metrics::Metrics;
pub use probe::{Probe, TcpProbe};

/// A port in use is tried this often before it is an error.
const PORT_TRIES: u32 = 5;
const PORT_PAUSE: Duration = Duration::from_millis(50);

/// What a hub needs besides its registries.
#[derive(Default)]
pub struct HubOptions {
    /// Where last good views and the state of registries of our own are kept; `None` keeps none.
    pub data_dir: Option<PathBuf>,
    /// How held instances are probed. Default: [`TcpProbe`].
    pub probe: Option<Arc<dyn Probe>>,
    /// Where registries of our own are listed with who asks them.
    pub board: Board,
}

/// Follows registries and publishes what is believed of them.
pub struct Hub {
    store: Option<Store>,
    data_dir: Option<PathBuf>,
    probe: Arc<dyn Probe>,
    board: Board,
    metrics: Arc<Metrics>,
    definitions: Definitions,
    world: watch::Sender<Arc<World>>,
    start: Instant,
    followed: Mutex<BTreeMap<RegistryName, Followed>>,
}

struct Followed {
    config: RegistryConfig,
    handle: Handle,
}

impl Hub {
    /// Follows nothing yet.
    pub fn start(options: HubOptions) -> Self {
        Self {
            store: options.data_dir.as_deref().map(Store::new),
            data_dir: options.data_dir,
            probe: options.probe.unwrap_or_else(|| Arc::new(TcpProbe)),
            board: options.board,
            metrics: Arc::default(),
            definitions: Definitions::default(),
            world: watch::Sender::default(),
            start: Instant::now(),
            followed: Mutex::default(),
        }
    }

    /// Follows these registries and no others.
    ///
    /// An unchanged one keeps its session. A changed one opens another, and its services stay, stale, until
    /// it has caught up. One that is not listed any more vanishes from the world; its last good view
    /// stays on disk. When this returns, the world has every registry that is listed.
    ///
    /// A registry that cannot be made is listed in the answer and followed all the same: its last good view
    /// is used, the world says why it is stale, and it is tried again (a port or a secret may turn up).
    pub async fn set_registries(&self, configs: Vec<RegistryConfig>) -> Vec<(RegistryName, ConnectError)> {
        let mut followed = self.followed.lock().await;
        let listed: BTreeMap<RegistryName, RegistryConfig> = configs
            .into_iter()
            .map(|config| (config.name.clone(), config))
            .collect();
        let gone: Vec<RegistryName> = followed
            .keys()
            .filter(|name| !listed.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            if let Some(old) = followed.remove(&name) {
                old.handle.end().await;
                self.forget(&name);
            }
        }
        // Everything that changes lets go first: one may want the port that another had.
        let mut to_connect = Vec::new();
        for (name, config) in listed {
            match followed.get_mut(&name) {
                Some(known) if known.config == config => {}
                Some(known) if connect::is_same_session(&known.config, &config) => {
                    known.handle.order(Order::Brake(connect::brake(&config.spec))).await;
                    known.config = config;
                }
                Some(known) => {
                    let pause = |done| Order::Pause {
                        why: "its configuration has changed".to_owned(),
                        kind: connect::kind(&config.spec),
                        address: connect::address(&config.spec),
                        brake: connect::brake(&config.spec),
                        done,
                    };
                    known.handle.ask(pause).await;
                    self.take_over(&config).await;
                    known.config = config;
                    to_connect.push(name);
                }
                None => {
                    self.take_over(&config).await;
                    let handle = self.follower(&config).start().await;
                    followed.insert(name.clone(), Followed { config, handle });
                    to_connect.push(name);
                }
            }
        }
        let mut errors = Vec::new();
        for name in to_connect {
            let Some(Followed { config, handle }) = followed.get(&name) else {
                continue;
            };
            let (registry, error) = reconnect(config, self.data_dir.as_deref(), &self.board).await;
            if let Some(error) = error {
                warn!(registry = %name, %error, "the registry cannot be followed");
                errors.push((name, error));
            }
            handle.order(Order::Follow(registry)).await;
        }
        errors
    }

    /// What is believed, now and whenever it changes.
    pub fn world(&self) -> watch::Receiver<Arc<World>> {
        self.world.subscribe()
    }

    /// The service definitions that are asked for, and what the registries have of them.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// Figures of the registries, for `/metrics`.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Ends every session, when the last good views are on disk. The world stays as it is.
    pub async fn shutdown(&self) {
        let followed = std::mem::take(&mut *self.followed.lock().await);
        futures_util::future::join_all(followed.into_values().map(|followed| followed.handle.end())).await;
    }

    /// A registry of our own may begin with what another one had, whose session has ended and whose view is on disk.
    async fn take_over(&self, config: &RegistryConfig) {
        let wanted = config
            .spec
            .embedded
            .as_ref()
            .is_some_and(|spec| spec.take_over.is_some());
        if let Some(data_dir) = self.data_dir.clone().filter(|_| wanted) {
            let config = config.clone();
            let _ = tokio::task::spawn_blocking(move || embedded::take_over(&config, &data_dir)).await;
        }
    }

    fn follower(&self, config: &RegistryConfig) -> Follower {
        Follower {
            name: config.name.clone(),
            kind: connect::kind(&config.spec),
            address: connect::address(&config.spec),
            brake: connect::brake(&config.spec),
            store: self.store.clone(),
            probe: self.probe.clone(),
            world: self.world.clone(),
            figures: self.metrics.of(&config.name),
            definitions: self.definitions.clone(),
            start: self.start,
        }
    }

    fn forget(&self, name: &RegistryName) {
        self.metrics.forget(name);
        self.world.send_modify(|world| {
            let mut registries = world.registries.clone();
            registries.remove(name);
            *world = Arc::new(World { registries });
        });
    }
}

/// Makes a registry; the port it wants may be on its way to being closed by its predecessor.
async fn reconnect(
    config: &RegistryConfig,
    data_dir: Option<&Path>,
    board: &Board,
) -> (Arc<dyn Registry>, Option<ConnectError>) {
    for _ in 0..PORT_TRIES {
        match connect::connect_or_retry(config, data_dir, board) {
            (_, Some(ConnectError::Bind { source, .. })) if source.kind() == ErrorKind::AddrInUse => {
                tokio::time::sleep(PORT_PAUSE).await;
            }
            made => return made,
        }
    }
    connect::connect_or_retry(config, data_dir, board)
}

#[cfg(test)]
mod tests;
