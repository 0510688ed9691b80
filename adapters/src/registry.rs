//! The contract between an adapter and everything behind it.
//!
//! An adapter says *what it knows*, never a bare list: one service's complete set, that a service
//! is gone, that it has caught up, or why the session ended. It keeps no state over sessions,
//! retries nothing and removes nothing; the supervisor and the hub do that, once, for all of them.
//!
//! ```text
//!            ┌ Service{name, instances}   complete and fresh, replaces what was known of it
//! follow ──▶ ├ Gone{name}                 the registry says: no such service (not the same as empty)
//!            ├ CaughtUp                   everything that exists has been said in this session
//!            └ Confirmed                  still so (a poll that found nothing new)
//! returns ──▶ RegistryError               why the session ended; never Ok
//! ```
//!
//! Next on the path: [`supervisor`](crate::supervisor), which runs `follow` again and again.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::secret::SecretError;
use landfall_model::{
    Instance,
    world::{GovernanceRule, Quarantined},
};
use tokio::sync::mpsc;

use crate::definitions::Desk;

/// One registry that can be followed.
#[async_trait::async_trait]
pub trait Registry: Send + Sync + 'static {
    /// `eureka`, `consul`, `zookeeper`, `nacos`, `file`, `static`, `embedded`.
    fn kind(&self) -> &'static str;

    /// Where it is reached, for people: without credentials.
    fn address(&self) -> String;

    /// Opens a session and reports until it ends. Dropping the future ends it too, so hold
    /// nothing that must be closed in order across an await.
    ///
    /// Everything that exists is reported before the first [`Knowledge::CaughtUp`]; only after
    /// that does the hub believe that what was not mentioned is no longer there.
    async fn follow(&self, reports: &Reports) -> RegistryError;

    /// The longest pause between two attempts after an error that may pass by itself. Default 30 s;
    /// less for what costs nothing to ask.
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// What an adapter knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Knowledge {
    /// The complete set of one service, whatever the status of its instances. Empty means:
    /// the service exists and has no instance.
    Service {
        /// The registry's own name for it.
        name: Arc<str>,
        /// In any order; of two with one id the first is kept and the other quarantined.
        instances: Vec<Instance>,
        /// Records of this service that could not be understood. An instance whose id is among
        /// them keeps its last known form.
        quarantined: Vec<Quarantined>,
        /// When the registry says this last changed, by its own clock; `None` if it does not say.
        changed: Option<SystemTime>,
    },
    /// The registry says that this service does not exist.
    Gone {
        /// The registry's own name for it.
        name: Arc<str>,
    },
    /// All that exists has been reported in this session: what has not been is gone.
    /// May be said again whenever it is true again (a full fetch).
    CaughtUp,
    /// Nothing has changed since the last report, and the registry was asked just now.
    Confirmed,
    /// Records that belong to no service. Replaces the earlier such list.
    Unreadable(Vec<Quarantined>),
    /// The rules for calls that the registry itself keeps. Replaces the earlier such list.
    Governance(Vec<GovernanceRule>),
}

/// Where an adapter puts what it knows. Waits when the hub is behind, so nothing piles up.
#[derive(Clone, Debug)]
pub struct Reports {
    sender: mpsc::Sender<Knowledge>,
    definitions: Desk,
}

impl Reports {
    /// Both ends; `capacity` reports may wait.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Knowledge>) {
        let (sender, receiver) = mpsc::channel(capacity);
        let definitions = Desk::default();
        (Self { sender, definitions }, receiver)
    }

    /// As they are, for a registry that is asked for service definitions.
    pub(crate) fn with_definitions(self, definitions: Desk) -> Self {
        Self { definitions, ..self }
    }

    /// The service definitions that are asked for, and where they are told.
    pub(crate) fn definitions(&self) -> &Desk {
        &self.definitions
    }

    /// Reports. Does nothing when nobody listens any more: the session is about to be dropped.
    pub async fn send(&self, knowledge: Knowledge) {
        let _ = self.sender.send(knowledge).await;
    }
}

/// Why a session with a registry ended. The supervisor decides from the variant alone.
///
/// Texts carry no credentials: they are logged and shown.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answered, or the connection broke. Retried with backoff.
    #[error("no answer from {address}: {source}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Our credentials were refused or lack rights. Retried slowly and shown to the operator.
    #[error("{address} refused our credentials: {what}")]
    Denied {
        /// Who refused.
        address: String,
        /// What it said.
        what: String,
    },
    /// It answers, but says that it has nothing to say yet (starting, no leader, 5xx). Retried with backoff.
    #[error("{address} is not ready: {what}")]
    NotReady {
        /// Who is not.
        address: String,
        /// What it said.
        what: String,
    },
    /// An answer we do not understand. Retried with backoff; the sample goes to the log.
    #[error("unexpected answer from {address}: {what} (it begins: {sample:?})")]
    Malformed {
        /// Who answered.
        address: String,
        /// What is wrong with it.
        what: String,
        /// The first bytes of it.
        sample: String,
    },
    /// The session is over by the registry's rules (ZooKeeper's expiry). Retried at once.
    #[error("{address} ended the session: {what}")]
    SessionOver {
        /// Who ended it.
        address: String,
        /// Why.
        what: String,
    },
}

impl RegistryError {
    /// The variant as one word, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Denied { .. } => "denied",
            Self::NotReady { .. } => "not_ready",
            Self::Malformed { .. } => "malformed",
            Self::SessionOver { .. } => "session_over",
        }
    }
}

/// Why a registry could not be made from its configuration. Nothing has been asked of it yet.
///
/// Texts carry no credentials: they are logged and shown.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An address that cannot be one. Mended by editing the configuration only.
    #[error("`{field}`: `{value_without_credentials}` cannot be used: {why}")]
    BadUrl {
        /// Path of the field inside `spec`, such as `eureka.urls[0]`.
        field: String,
        /// What stands there, without user and password.
        value_without_credentials: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A secret could not be read. It may appear later.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An address could not be listened on. It may become free later.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which address.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
