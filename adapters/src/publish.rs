//! The contract of writing into a registry, beside [`registry`](crate::registry), which is that of reading.
//!
//! ```text
//!            plan                      shape (pure)                put, remove, adopt
//! sync ──▶ Record ───────────────────▶ Shaped ───────────────────▶ Publisher ──▶ registry
//!          what is to stand there      as this registry can hold    keeps its leases alive by itself:
//!          with its Mark               it, with what is lost        renewals, new sessions, put again
//! ```
//!
//! A publisher decides nothing: what is written is `sync`'s decision. It keeps what it was told to hold
//! alive for as long as it holds it, whatever `sync` does meanwhile: heartbeats, a record that the registry
//! has forgotten is put again, a new session gets every record again.
//!
//! - Only records of our own are touched. Eureka, Consul and Nacos know them by an id that carries [`mark::TAG`], and
//!   `remove` of one without it is refused before anything is sent; in ZooKeeper the id is an address, and they are
//!   known by the marks in the node's name. What stands at the place of ours and is not ours is never
//!   removed: where another cluster's record may stand under the same key, the mark is read first.
//! - Nothing is sent, renewals included, unless the [`Permit`] holds at that moment.
//!
//! Next on the path: [`mark`] says what a record carries, `publish/eureka.rs` and its siblings write it.

use std::{sync::Arc, time::Duration};

pub mod connect;
pub mod consul;
mod counts;
pub mod escape;
pub mod eureka;
pub mod mark;
pub mod nacos;
pub mod permit;
mod rules;
#[cfg(test)]
mod samples;
pub mod zookeeper;

pub use connect::connect;
/// What a record is made of, for whoever uses this crate and not the model.
pub use landfall_model::{Host, Instance, Origin, Port, Protocol, RegistryName, Status};
pub use mark::{Mark, Provenance};
pub use permit::Permit;

/// A record as it is to stand in a target, before the target's own rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Name of the service in the target.
    pub service: Arc<str>,
    /// Address, ports, status, weight, zone and metadata. Its `id` is that of the origin and is not written as
    /// it is: see [`Mark::id`]. The metadata carries no marks.
    pub instance: Instance,
    /// Where it came from.
    pub mark: Mark,
}

/// Under which name and id a follower of the same registry reports what was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Key {
    /// [`Service::id`](landfall_model::Service)'s name.
    pub service: Arc<str>,
    /// [`Instance::id`].
    pub id: Arc<str>,
}

/// A record as one registry can hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shaped {
    /// How the follower will report it.
    pub key: Key,
    /// The record after the registry's rules: names rewritten, metadata with the marks in it, what does not fit left out.
    /// Shared: planner, target and publisher each keep it.
    pub record: Arc<Record>,
    /// Digest of everything that matters; stands in the record as [`mark::DIGEST`]. Equal digests need no write.
    pub digest: Arc<str>,
    /// What the registry cannot hold, each reported once. Empty: the record survives the round trip.
    pub losses: Vec<Loss>,
}

/// Something that does not survive in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Loss {
    /// What: a metadata key, `weight`, `zone`, `status`.
    pub field: String,
    /// Why, and what stands there instead.
    pub reason: String,
}

/// A record that the registry cannot hold at all; it is listed, its siblings are written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unfit {
    /// What is wrong and what would mend it.
    pub reason: String,
}

/// Why a write was not done. The caller reacts to the variant alone.
///
/// Texts carry no credentials: they are logged and shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nobody answered, or it says that it is not ready. Tried again with backoff; all writes to the target wait.
    #[error("no write to {address}: {what}")]
    Unavailable {
        /// Who was asked.
        address: String,
        /// What happened.
        what: String,
    },
    /// It asks for less. All writes to the target wait at least this long.
    #[error("{address} asks for fewer writes")]
    Throttled {
        /// Who asks.
        address: String,
        /// How long to wait.
        wait: Duration,
    },
    /// Credentials refused or lacking. Tried again slowly and shown to the operator.
    #[error("{address} refused the write: {what}")]
    Denied {
        /// Who refused.
        address: String,
        /// What it said, and which right is needed.
        what: String,
    },
    /// It will not take this record, as it is. Listed; tried again only when the record changes.
    #[error("{address} does not take `{id}`: {what}")]
    Rejected {
        /// Who does not.
        address: String,
        /// Which record.
        id: Arc<str>,
        /// What it said.
        what: String,
    },
    /// This process may not write (any more): another one does. Nothing was sent.
    #[error("this process is not the writer")]
    NotPermitted,
}

/// Writes records of ours into one registry and keeps them alive.
///
/// Shared by reference; calls may run side by side. Dropping it ends its background work without removing
/// anything: what has a lease runs out, what has a session ends with it.
#[async_trait::async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// `eureka`, `consul`, `zookeeper`, `nacos`.
    fn kind(&self) -> &'static str;

    /// Where it writes, for people: without credentials.
    fn address(&self) -> String;

    /// What this registry makes of a record. Pure and deterministic: same record, same answer.
    ///
    /// # Errors
    /// [`Unfit`] if it cannot stand there in any form.
    fn shape(&self, record: &Record) -> Result<Shaped, Unfit>;

    /// Writes each record, new or changed, and holds it from now on. One answer for each, in order.
    async fn put(&self, records: &[Shaped]) -> Vec<Result<(), WriteError>>;

    /// Holds records that stand there already, written by an earlier run or another writer of the cluster, without
    /// writing what needs no writing: only their leases are taken over. What was held in another form is held in this one.
    async fn adopt(&self, records: &[Shaped]);

    /// Which of these, not shown by the follower, stand there nevertheless, written by our cluster: an operator has switched
    /// them off in the registry itself, and a write would undo that. Those are held, so that the operator's word stays with them. One
    /// answer for each, in order; `false` where the registry shows such records, or does not say.
    async fn switched_off(&self, records: &[Shaped]) -> Vec<bool> {
        vec![false; records.len()]
    }

    /// Removes records of ours and holds them no more. One that is not there is removed already. One answer
    /// for each, in order.
    async fn remove(&self, keys: &[Key]) -> Vec<Result<(), WriteError>>;

    /// Holds these no more and sends nothing for them: under these keys stands the record of another cluster now,
    /// which came by a shorter path. To renew, to restore or to remove it would be to fight over it. Where a registry
    /// lets two records stand under one key, ours is removed.
    async fn disown(&self, keys: &[Key]);

    /// Holds nothing any more and sends nothing more, without removing anything: another writer takes over.
    async fn release(&self);

    /// What has been sent so far.
    fn figures(&self) -> Figures;
}

/// Counts since the publisher was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// Records held now.
    pub held: u64,
    /// Records written because they were new or had changed.
    pub puts: u64,
    /// Records removed.
    pub removes: u64,
    /// Renewals of leases; no writes in the sense of sync.
    pub renewals: u64,
    /// Records written again because the registry had lost them (restart, new session).
    pub restores: u64,
    /// Sends that failed.
    pub failures: u64,
}
