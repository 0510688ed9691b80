//! Sync as it runs: one task that plans, and one for each registry that is written.
//!
//! ```text
//! World, documents ──▶ conductor ── Job ──▶ target (consul) ──▶ Publisher
//!                      plans, after      └─▶ target (eureka) ──▶ Publisher
//!                      things settle ◀── done ──┘
//!                          └──▶ SyncStatus, Plan (watches), ledgers on disk
//! ```
//!
//! Next on the path: `conductor`, then `target`.

use std::{path::PathBuf, sync::Arc};

use landfall_config::{RegistryConfig, SyncConfig};
use landfall_model::World;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{Plan, metrics::Metrics, status::SyncStatus};
use crate::publish::{self, Permit, Publisher};

mod conductor;

use conductor::{Conductor, Order};

/// Makes the publisher of a registry; the text says why there is none.
pub type Connect = Arc<dyn Fn(&RegistryConfig) -> Result<Arc<dyn Publisher>, String> + Send + Sync>;

/// Publishers for real registries, by [`publish::connect()`].
pub fn publishers(cluster: Arc<str>, permit: Permit) -> Connect {
    Arc::new(move |config| publish::connect(config, &cluster, permit.clone()).map_err(|error| error.to_string()))
}

/// What sync needs.
pub struct SyncOptions {
    /// What is believed of all registries.
    pub world: watch::Receiver<Arc<World>>,
    /// Makes publishers. Called when a registry is to be written and when its document has changed.
    pub connect: Connect,
    /// Id of the cluster that is written as: the same in all its control processes, in no other cluster.
    pub cluster: Arc<str>,
    /// Whether this process may write.
    pub permit: Permit,
    /// Where ledgers are kept; `None` keeps none.
    pub data_dir: Option<PathBuf>,
}

/// Writes services from registry to registry until it is dropped or shut down.
pub struct RegistrySync {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Arc<SyncStatus>>,
    plan: watch::Receiver<Arc<Plan>>,
    metrics: Arc<Metrics>,
    task: JoinHandle<()>,
}

/// Why a plan was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// What would be written is not what was shown. The digest of what would be now.
    #[error("the plan has changed since: look at it again, and apply {now}")]
    Changed {
        /// Digest of the plan as it is now.
        now: String,
    },
    /// Another control process writes; it is to be asked.
    #[error("this process is not the writer; ask the one that is")]
    NotWriter,
    /// It is shutting down.
    #[error("sync is shutting down")]
    Over,
}

impl RegistrySync {
    /// Starts with nothing to write; see [`set`](Self::set).
    pub fn start(options: SyncOptions) -> Self {
        let (orders, taken) = mpsc::channel(16);
        let (status_sender, status) = watch::channel(Arc::default());
        let (plan_sender, plan) = watch::channel(Arc::default());
        let metrics = Arc::new(Metrics::new(status.clone()));
        let conductor = Conductor::new(options, status_sender, plan_sender);
        let task = tokio::spawn(conductor.run(taken));
        Self {
            orders,
            status,
            plan,
            metrics,
            task,
        }
    }

    /// From now on these documents, over these registries. Unchanged registries keep their publishers and what
    /// they hold. Returns when it is taken; writing follows.
    pub async fn set(&self, syncs: Vec<SyncConfig>, registries: Vec<RegistryConfig>) {
        let (done, taken) = oneshot::channel();
        let order = Order::Set {
            syncs,
            registries,
            done,
        };
        if self.orders.send(order).await.is_ok() {
            let _ = taken.await;
        }
    }

    /// How it stands, now and whenever that changes.
    pub fn status(&self) -> watch::Receiver<Arc<SyncStatus>> {
        self.status.clone()
    }

    /// The last plan that was made. Empty before the first.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.borrow().clone()
    }

    /// Plans, now and whenever they change.
    pub fn plans(&self) -> watch::Receiver<Arc<Plan>> {
        self.plan.clone()
    }

    /// Does what waits in the plan of that digest, exactly as it was shown. The answer says how many writes were
    /// let through; the status says when they are done. Each is done once: what it wrote is kept alive, put
    /// again if the target loses it, and removed when its origin is gone; any other change waits again.
    ///
    /// # Errors
    /// [`ApplyError`]: nothing was let through.
    pub async fn apply(&self, digest: &str) -> Result<usize, ApplyError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Apply {
            digest: digest.to_owned(),
            answer,
        };
        self.orders.send(order).await.map_err(|_| ApplyError::Over)?;
        answered.await.map_err(|_| ApplyError::Over)?
    }

    /// Figures, for `/metrics`.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// Ends, when the ledgers are on disk. Nothing is removed: the records stay until their leases end, for the
    /// next process to take over.
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        if self.orders.send(Order::Stop { done }).await.is_ok() {
            let _ = ended.await;
        }
    }
}

impl Drop for RegistrySync {
    fn drop(&mut self) {
        self.task.abort();
    }
}
