//! Which of several control processes writes: elected in a system that is already there.
//!
//! ```text
//!              ┌────────────── lost, or no answer until the permit ran out ───────────────┐
//!              ▼                                                                          │
//!  Candidate{holder} ── lock taken ──▶ Writer{epoch} ── confirmed every few seconds ──────┘
//!                                          │
//!                                          └─▶ Permit::extend, which all that write ask before each send
//! ```
//!
//! A permit lasts shorter than the lock, counted from before the lock was asked for, by a clock that runs on
//! while the process is stopped. So a writer that was frozen wakes up without leave to write, whether or not another
//! one has been elected meanwhile; it gets the leave back only from the system that holds the lock.
//!
//! No lock is home-made: it is a Consul session with a key (`consul/lock.rs`), or a ZooKeeper session with an ephemeral
//! node (`zookeeper/lock.rs`).
//!
//! Next on the path: [`Permit`], then `publish`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::RegistryConfig;
use serde::Serialize;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{info, warn};

use crate::{ConnectError, consul::Consul, publish::Permit, zookeeper::ZooKeeper};

/// Between two attempts after an error.
const PAUSE: Duration = Duration::from_secs(1);
/// For giving the lock back when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// How this process stands in the election.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "role")]
pub enum Standing {
    /// No election is configured: this process writes, and nobody else should.
    Alone,
    /// Another one writes, or nobody can be asked.
    Candidate {
        /// Since when.
        since: SystemTime,
        /// Who writes, as it calls itself, if that is known.
        holder: Option<String>,
        /// What went wrong at the last attempt, without credentials.
        why: Option<String>,
    },
    /// This one writes.
    Writer {
        /// Since when.
        since: SystemTime,
        /// Which writer it is, counted by the system that holds the lock.
        epoch: u64,
    },
}

/// A lock that one candidate at a time can hold.
#[async_trait::async_trait]
pub(crate) trait Lock: Send + Sync + 'static {
    /// Tries to take the lock and keeps it, telling `bench` of every step. Returns why it ended: it was lost, or
    /// nobody could be asked. Dropping the future gives nothing back.
    async fn stand(&self, bench: &Bench) -> String;

    /// Gives back what the last `stand` held, so that the next writer need not wait for it to run out.
    async fn give_back(&self);
}

/// Where a candidate tells how it stands.
pub(crate) struct Bench {
    /// What this process calls itself, for people.
    pub(crate) who: String,
    permit: Permit,
    standing: watch::Sender<Standing>,
}

impl Bench {
    /// Somebody else holds the lock.
    pub(crate) fn waiting(&self, holder: Option<String>) {
        self.permit.end();
        self.candidate(holder, None);
    }

    /// The lock was ours after `asked` ([`crate::publish::permit::now`]), and stays so for `lasts` from then.
    pub(crate) fn holds(&self, asked: u64, lasts: Duration, epoch: u64) {
        self.permit.extend(asked, lasts, epoch);
        self.standing.send_if_modified(|standing| {
            let known = matches!(standing, Standing::Writer { epoch: known, .. } if *known == epoch);
            if !known {
                info!(epoch, "this process writes to the registries now");
                *standing = Standing::Writer {
                    since: SystemTime::now(),
                    epoch,
                };
            }
            !known
        });
    }

    /// Whether the leave to write has run out.
    pub(crate) fn is_over(&self) -> bool {
        !self.permit.holds()
    }

    fn lost(&self, why: String) {
        self.permit.end();
        if matches!(&*self.standing.borrow(), Standing::Writer { .. }) {
            warn!(why, "this process does not write to the registries any more");
        }
        self.candidate(None, Some(why));
    }

    fn candidate(&self, holder: Option<String>, why: Option<String>) {
        self.standing.send_if_modified(|standing| {
            let since = match &*standing {
                Standing::Candidate { since, .. } => *since,
                _ => SystemTime::now(),
            };
            let next = Standing::Candidate { since, holder, why };
            let changed = *standing != next;
            *standing = next;
            changed
        });
    }
}

/// A running election. Dropping it ends it without giving the lock back, as a crash does.
#[derive(Debug)]
pub struct Election {
    permit: Permit,
    standing: watch::Receiver<Standing>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    resign: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Election {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            // First: with the task its session may end, and another one be elected.
            self.permit.end();
            running.task.abort();
        }
    }
}

impl Election {
    /// No rivals: this process may always write.
    pub fn alone() -> Self {
        Self {
            permit: Permit::always(1),
            standing: watch::Sender::new(Standing::Alone).subscribe(),
            running: None,
        }
    }

    /// Stands for election in this registry, against all processes with the same `cluster`. `who` is shown to the others.
    ///
    /// # Errors
    /// [`ConnectError`] if the registry has no locks (only `consul` and `zookeeper` do) or cannot be reached as configured.
    pub fn start(registry: &RegistryConfig, cluster: &str, who: &str) -> Result<Self, ConnectError> {
        let spec = registry.spec.with_secrets_under(&registry.base);
        let lock: Arc<dyn Lock> = if let Some(consul) = &spec.consul {
            Arc::new(Consul::new(consul)?.lock(cluster))
        } else if let Some(zookeeper) = &spec.zookeeper {
            Arc::new(ZooKeeper::new(zookeeper)?.lock(cluster))
        } else {
            return Err(ConnectError::BadUrl {
                field: "elect-in".to_owned(),
                value_without_credentials: registry.name.to_string(),
                why: "it has no locks: name a registry of kind `consul` or `zookeeper`".to_owned(),
            });
        };
        Ok(Self::run(lock, who.to_owned()))
    }

    pub(crate) fn run(lock: Arc<dyn Lock>, who: String) -> Self {
        let permit = Permit::refused();
        let (sender, standing) = watch::channel(Standing::Candidate {
            since: SystemTime::now(),
            holder: None,
            why: None,
        });
        let bench = Bench {
            who,
            permit: permit.clone(),
            standing: sender,
        };
        let (resign, resigned) = oneshot::channel();
        let task = tokio::spawn(campaign(lock, bench, resigned));
        Self {
            permit,
            standing,
            running: Some(Running { resign, task }),
        }
    }

    /// Leave to write, for publishers.
    pub fn permit(&self) -> Permit {
        self.permit.clone()
    }

    /// How this process stands, now and whenever it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Stops writing at once and gives the lock back, so that another process need not wait.
    pub async fn resign(mut self) {
        self.permit.end();
        let Some(Running { resign, task }) = self.running.take() else {
            return;
        };
        let _ = resign.send(());
        if timeout(FAREWELL, task).await.is_err() {
            warn!("the lock could not be given back; the next writer waits until it runs out");
        }
    }
}

async fn campaign(lock: Arc<dyn Lock>, bench: Bench, mut resigned: oneshot::Receiver<()>) {
    loop {
        let why = tokio::select! {
            why = lock.stand(&bench) => why,
            _ = &mut resigned => break,
        };
        bench.lost(why);
        tokio::select! {
            // Candidates that lost at the same moment shall not come back at the same moment.
            () = tokio::time::sleep(PAUSE + PAUSE.mul_f64(fastrand::f64())) => {}
            _ = &mut resigned => break,
        }
    }
    bench.lost("the process is ending".to_owned());
    lock.give_back().await;
}

#[cfg(test)]
mod tests;
