//! Writing into registries: who may, and what for. Joins the election, the documents and `adapters::sync`.
//!
//! ```text
//! configuration ──▶ RegistrySyncs, Registries ─┐
//! hub ────────────▶ World ─────────────────────┼─▶ RegistrySync ──▶ publishers ──▶ registries
//! election ───────▶ Permit ────────────────────┘
//! ```
//!
//! Next on the path: [`landfall_adapters::sync`].

use std::{path::PathBuf, sync::Arc};

use landfall_adapters::{
    ConnectError,
    election::{Election, Standing},
    hub::Hub,
    sync::{RegistrySync, SyncOptions, publishers},
};
use landfall_config::{Config, ConfigState};
use tokio::{sync::watch, task::AbortHandle};

/// What writing is started with.
pub struct WritingOptions {
    /// The configuration, now and later.
    pub config: watch::Receiver<ConfigState>,
    /// What the registries say.
    pub hub: Arc<Hub>,
    /// Id of the cluster that is written as.
    pub cluster: String,
    /// Registry with the lock that says which process writes. `None`: this one does.
    pub elect_in: Option<String>,
    /// What this process calls itself, for people.
    pub who: String,
    /// Where it is remembered what was written.
    pub data_dir: Option<PathBuf>,
}

/// Why writing could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WritingError {
    /// The election's registry is not configured. Mended by the command line or the configuration.
    #[error("no registry is called `{name}`, where the writer is to be elected; there is {known}")]
    NoSuchRegistry {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The election's registry has no locks, or cannot be used.
    #[error("the writer cannot be elected: {0}")]
    Election(#[from] ConnectError),
}

/// Running: plans, and writes while this process is the writer.
pub struct Writing {
    sync: Arc<RegistrySync>,
    election: Election,
    documents: AbortHandle,
}

impl Writing {
    /// Starts the election and takes the configuration's documents.
    ///
    /// # Errors
    /// [`WritingError`] when no writer can be elected as asked for.
    pub async fn start(options: WritingOptions) -> Result<Self, WritingError> {
        let WritingOptions {
            mut config,
            hub,
            cluster,
            elect_in,
            who,
            data_dir,
        } = options;
        let first = config.borrow_and_update().current.clone();
        let election = match &elect_in {
            Some(name) => elect(&first, name, &cluster, &who)?,
            None => Election::alone(),
        };
        let permit = election.permit();
        let sync = Arc::new(RegistrySync::start(SyncOptions {
            world: hub.world(),
            connect: publishers(cluster.as_str().into(), permit.clone()),
            cluster: cluster.into(),
            permit,
            data_dir,
        }));
        sync.set(first.syncs.clone(), first.registries.clone()).await;
        let documents = tokio::spawn(follow_documents(config, sync.clone(), first)).abort_handle();
        Ok(Self {
            sync,
            election,
            documents,
        })
    }

    /// What the admin API shows.
    pub fn view(&self) -> WritingView {
        WritingView {
            sync: self.sync.clone(),
            standing: self.election.standing(),
        }
    }

    /// Writes no more, remembers what was written, and lets another process write.
    pub async fn stop(self) {
        self.documents.abort();
        self.sync.shutdown().await;
        self.election.resign().await;
    }
}

/// What is shown of it. Clones are the same one.
#[derive(Clone)]
pub struct WritingView {
    /// Plans and their state.
    pub sync: Arc<RegistrySync>,
    /// Who writes.
    pub standing: watch::Receiver<Standing>,
}

fn elect(config: &Config, name: &str, cluster: &str, who: &str) -> Result<Election, WritingError> {
    let registry = config.registries.iter().find(|registry| registry.name.as_str() == name);
    let Some(registry) = registry else {
        let known: Vec<&str> = config
            .registries
            .iter()
            .map(|registry| registry.name.as_str())
            .collect();
        return Err(WritingError::NoSuchRegistry {
            name: name.to_owned(),
            known: known.join(", "),
        });
    };
    Ok(Election::start(registry, cluster, who)?)
}

async fn follow_documents(mut config: watch::Receiver<ConfigState>, sync: Arc<RegistrySync>, mut known: Arc<Config>) {
    while config.changed().await.is_ok() {
        let now = config.borrow_and_update().current.clone();
        if now.syncs != known.syncs || now.registries != known.registries {
            sync.set(now.syncs.clone(), now.registries.clone()).await;
        }
        known = now;
    }
}
