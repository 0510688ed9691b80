//! Writing into Consul, by catalog, on nodes of our own.
//!
//! ```text
//! node landfall-<cluster>-07of32     external-node, external-probe: false, external-source: landfall
//!   └ service orders, id landfall~…     with one check, whose status is the record's
//!
//! put, remove ──▶ transactions ──▶ held ──▶ every 10 s: the writer's lease ─┬ lives ─▶ nothing is written
//!                                                                          └ is new ─▶ compare, put what is missing
//! ```
//!
//! By catalog and not through an agent: an agent owns what is registered through it, puts it on its own node and
//! forgets it with its own data; nodes of ours can be written through any agent or server. What an agent would give,
//! an end for the records of a writer that died, is the lease's part.
//!
//! - A transaction never names a node alone, so that nothing of anybody else can go with it (`operation`). So a node is
//!   made when the first record comes to it, and is never deleted: an empty one costs nothing.
//! - A node's address is 127.0.0.1: every service has its own.
//! - Without the rights for a session (`session:write`, `key:write` on `landfall/lease/`) records are written all the
//!   same. Then what stands there is compared every half minute, and records of a writer that died stay until it, or an
//!   operator, removes them.
//!
//! Needed rights: `service:write` on the services, `node:write` on nodes that begin with `landfall-<cluster>`.
//!
//! Next on the path: `shape`, `nodes`, `operation`, `send`, `lease`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use landfall_config::kinds::registry::ConsulSpec;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::{task::AbortHandle, time::Instant};

use self::{
    lease::{Lease, Renewed},
    nodes::{Nodes, Place},
    operation::Operation,
    send::{MISSING_NODE, Sender, quoted},
    shape::Scope,
};
use super::{Figures, Key, Permit, Publisher, Record, Shaped, Unfit, WriteError, counts::Counts, mark};
use crate::{consul::Consul, registry::ConnectError};

mod lease;
mod nodes;
mod operation;
mod send;
mod shape;
#[cfg(test)]
mod tests;

/// What marks a node of ours, as a query.
const NODE_META: &str = "external-source:landfall";
/// When what is held is compared although nothing says that it is lost.
const COMPARE: Duration = Duration::from_secs(300);
/// The same without a lease.
const COMPARE_BLINDLY: Duration = Duration::from_secs(30);
/// Between two looks at other writers' leases.
const LOOK_AROUND: Duration = Duration::from_secs(60);

/// The times of a [`ConsulPublisher`].
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Between two renewals of the lease. Default 10 s; the session lives 30 s.
    pub renewal: Duration,
    /// How long another writer must have been dead before what it wrote is removed. Default 10 min.
    pub grace: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            renewal: Duration::from_secs(10),
            grace: Duration::from_secs(600),
        }
    }
}

/// Writes into one Consul.
pub struct ConsulPublisher {
    core: Arc<Core>,
    keeper: OnceLock<AbortHandle>,
}

struct Core {
    sender: Sender,
    scope: Scope,
    cluster: String,
    times: Times,
    held: Mutex<BTreeMap<Key, Shaped>>,
    /// One writes at a time: what is compared must not change meanwhile.
    turn: tokio::sync::Mutex<()>,
    /// Nodes that this publisher has made, or found.
    made: Mutex<BTreeSet<String>>,
    lease: Lease,
    counts: Counts,
}

#[derive(Deserialize)]
struct NodeServices {
    #[serde(rename = "Services", default)]
    services: Option<Vec<NodeService>>,
}

#[derive(Deserialize)]
struct NodeService {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Service")]
    service: String,
}

impl ConsulPublisher {
    /// Checks the address and the token's place; asks nobody.
    ///
    /// # Errors
    /// As [`Consul::new`].
    pub fn new(spec: &ConsulSpec, cluster: &str, permit: Permit) -> Result<Self, ConnectError> {
        Self::with_times(spec, cluster, permit, Times::default())
    }

    /// With other times than the usual ones.
    ///
    /// # Errors
    /// As [`Consul::new`].
    pub fn with_times(spec: &ConsulSpec, cluster: &str, permit: Permit, times: Times) -> Result<Self, ConnectError> {
        let access = Consul::new(spec)?.access();
        Ok(Self {
            core: Arc::new(Core {
                scope: Scope {
                    nodes: Nodes::of(cluster),
                    tags: access.tags.clone(),
                    exclude: access.exclude.clone(),
                },
                sender: Sender::new(access, permit),
                cluster: cluster.to_owned(),
                times,
                held: Mutex::default(),
                turn: tokio::sync::Mutex::default(),
                made: Mutex::default(),
                lease: Lease::default(),
                counts: Counts::default(),
            }),
            keeper: OnceLock::new(),
        })
    }

    fn keep_from_now_on(&self) {
        self.keeper
            .get_or_init(|| tokio::spawn(keep(self.core.clone())).abort_handle());
    }
}

impl Drop for ConsulPublisher {
    fn drop(&mut self) {
        if let Some(task) = self.keeper.get() {
            task.abort();
        }
    }
}

#[async_trait::async_trait]
impl Publisher for ConsulPublisher {
    fn kind(&self) -> &'static str {
        "consul"
    }

    fn address(&self) -> String {
        self.core.sender.access.shown()
    }

    fn shape(&self, record: &Record) -> Result<Shaped, Unfit> {
        shape::shape(record, &self.core.scope)
    }

    async fn put(&self, records: &[Shaped]) -> Vec<Result<(), WriteError>> {
        self.keep_from_now_on();
        let _turn = self.core.turn.lock().await;
        let answers = self.core.set(records).await;
        for (record, answer) in records.iter().zip(&answers) {
            self.core.count(answer, &self.core.counts.puts);
            if answer.is_ok() {
                self.core.held().insert(record.key.clone(), record.clone());
            }
        }
        answers
    }

    async fn adopt(&self, records: &[Shaped]) {
        self.keep_from_now_on();
        let records = records.iter().map(|record| (record.key.clone(), record.clone()));
        self.core.held().extend(records);
    }

    async fn remove(&self, keys: &[Key]) -> Vec<Result<(), WriteError>> {
        let _turn = self.core.turn.lock().await;
        let core = &self.core;
        if core.sender.may_send() {
            let mut held = core.held();
            keys.iter().for_each(|key| drop(held.remove(key)));
        }
        let operations = keys.iter().map(|key| {
            let place = core.scope.nodes.place(&key.id)?;
            let service = &key.service;
            Some(Operation::Delete { place, service })
        });
        let answers = core.transact(keys.iter().zip(operations)).await.into_iter();
        let answers = answers.map(|answer| match answer {
            // With the node all that stood on it is gone.
            Err(error) if lacks_node(&error) => Ok(()),
            answer => answer,
        });
        answers
            .inspect(|answer| core.count(answer, &core.counts.removes))
            .collect()
    }

    async fn disown(&self, keys: &[Key]) {
        let _turn = self.core.turn.lock().await;
        let mut held = self.core.held();
        keys.iter().for_each(|key| drop(held.remove(key)));
    }

    async fn release(&self) {
        self.core.held().clear();
        self.core.lease.forget();
    }

    fn figures(&self) -> Figures {
        self.core.counts.figures(self.core.held().len())
    }
}

impl Core {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Shaped>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, answer: &Result<(), WriteError>, done: &AtomicU64) {
        match answer {
            Ok(()) => Counts::one(done),
            Err(WriteError::NotPermitted) => {}
            Err(_) => Counts::one(&self.counts.failures),
        }
    }

    /// One answer for each key; what has no operation is none of ours.
    async fn transact<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a Key, Option<Operation<'a>>)>,
    ) -> Vec<Result<(), WriteError>> {
        let (mut answers, mut operations, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for (at, (key, operation)) in wanted.enumerate() {
            answers.push(Err(WriteError::Rejected {
                address: self.sender.access.shown(),
                id: key.id.clone(),
                what: format!("it is no record of ours on nodes of {}", self.scope.nodes.base()),
            }));
            if let Some(operation) = operation {
                operations.push(operation);
                slots.push(at);
            }
        }
        for (at, answer) in slots.into_iter().zip(self.sender.transact(&operations).await) {
            answers[at] = answer;
        }
        answers
    }

    /// Sets records, and their nodes before them if they are not there.
    async fn set(&self, records: &[Shaped]) -> Vec<Result<(), WriteError>> {
        let all: Vec<&Shaped> = records.iter().collect();
        let mut answers = self.set_once(&all).await;
        let lost = |at: &usize| matches!(&answers[*at], Err(error) if lacks_node(error));
        let lost: Vec<usize> = (0..records.len()).filter(lost).collect();
        if lost.is_empty() {
            return answers;
        }
        // Consul has lost the node since it was made.
        let again: Vec<&Shaped> = lost.iter().map(|at| &records[*at]).collect();
        for place in again.iter().filter_map(|record| self.scope.nodes.place(&record.key.id)) {
            self.made().remove(place.node);
        }
        for (at, answer) in lost.into_iter().zip(self.set_once(&again).await) {
            answers[at] = answer;
        }
        answers
    }

    async fn set_once(&self, records: &[&Shaped]) -> Vec<Result<(), WriteError>> {
        let nodes: BTreeSet<&str> = records
            .iter()
            .filter_map(|record| self.scope.nodes.place(&record.key.id))
            .map(|place| place.node)
            .collect();
        for node in nodes {
            if !self.made().contains(node)
                && let Err(error) = self.make_node(node).await
            {
                return records.iter().map(|_| Err(error.clone())).collect();
            }
        }
        let operations = records.iter().map(|shaped| {
            let place = self.scope.nodes.place(&shaped.key.id);
            let operation = place.map(|place| Operation::Set { place, shaped });
            (&shaped.key, operation)
        });
        self.transact(operations).await
    }

    async fn make_node(&self, node: &str) -> Result<(), WriteError> {
        let body = json!({
            "Node": node,
            "Address": "127.0.0.1",
            "NodeMeta": { "external-node": "true", "external-probe": "false", "external-source": "landfall" },
            "SkipNodeUpdate": true,
        });
        let answer = self
            .sender
            .send(Method::PUT, &["v1", "catalog", "register"], &[], Some(&body))
            .await?;
        if answer.status != StatusCode::OK {
            return Err(WriteError::Unavailable {
                address: self.sender.access.shown(),
                what: format!("node {node}: {}", quoted(&answer.body)),
            });
        }
        self.made().insert(node.to_owned());
        Ok(())
    }

    /// What stands on a node.
    async fn standing(&self, node: &str) -> Result<Vec<NodeService>, WriteError> {
        let path = ["v1", "catalog", "node-services", node];
        // A leader that has not read all of its log yet knows a part, and says so when it is asked like this.
        let answer = self
            .sender
            .send(Method::GET, &path, &[("consistent", "")], None)
            .await?;
        // `null`, or 404 in some versions: no such node.
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        let read: Result<Option<NodeServices>, _> = serde_json::from_slice(&answer.body);
        match read {
            Ok(found) => Ok(found.and_then(|found| found.services).unwrap_or_default()),
            Err(error) => Err(WriteError::Unavailable {
                address: self.sender.access.shown(),
                what: format!("the services of node {node} cannot be read: {error}"),
            }),
        }
    }

    /// Puts again what is held and not there.
    async fn compare(&self) -> Result<(), WriteError> {
        let _turn = self.turn.lock().await;
        let held: Vec<Shaped> = self.held().values().cloned().collect();
        let places = || held.iter().map(|record| self.scope.nodes.place(&record.key.id));
        let nodes: BTreeSet<&str> = places().flatten().map(|place| place.node).collect();
        let mut there: BTreeSet<(&str, String)> = BTreeSet::new();
        for node in nodes {
            let standing = self.standing(node).await?;
            there.extend(standing.into_iter().map(|service| (node, service.id)));
        }
        let is_missing = |place: Place<'_>| !there.contains(&(place.node, place.id.to_owned()));
        let missing = held
            .iter()
            .zip(places())
            .filter(|(_, place)| place.is_some_and(is_missing));
        let missing: Vec<Shaped> = missing.map(|(record, _)| record.clone()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!(records = missing.len(), registry = %self.sender.access.shown(), "Consul has lost records of ours; writing them again");
        let mut first = Ok(());
        for answer in self.set(&missing).await {
            self.count(&answer, &self.counts.restores);
            first = first.and(answer);
        }
        first
    }

    /// Removes what writers have left that died long ago: only records with our tag, one by one.
    async fn clear_up(&self) -> Result<(), WriteError> {
        for node in self
            .lease
            .dead_for(&self.sender, self.scope.nodes.base(), self.times.grace)
            .await?
        {
            let standing = self.standing(&node).await?;
            let operations: Vec<Operation<'_>> = standing
                .iter()
                .filter(|service| service.id.contains(mark::TAG))
                .map(|service| Operation::Delete {
                    place: Place {
                        node: &node,
                        id: &service.id,
                    },
                    service: &service.service,
                })
                .collect();
            if operations.is_empty() {
                continue;
            }
            tracing::warn!(
                node,
                records = operations.len(),
                "removing what a Landfall has left that died long ago"
            );
            for answer in self.sender.transact(&operations).await {
                self.count(&answer, &self.counts.removes);
                answer?;
            }
        }
        Ok(())
    }
}

/// Whether a write failed because its node is not, or no longer, there.
fn lacks_node(error: &WriteError) -> bool {
    matches!(error, WriteError::Unavailable { what, .. } if what.contains(MISSING_NODE))
}

/// Keeps the lease, and with it what is held, for as long as the publisher lives.
async fn keep(core: Arc<Core>) {
    let (mut compared, mut looked) = (None::<Instant>, Instant::now());
    let mut told = false;
    loop {
        tokio::time::sleep(if compared.is_none() {
            Duration::ZERO
        } else {
            core.times.renewal
        })
        .await;
        if !core.sender.may_send() || core.held().is_empty() {
            compared = Some(compared.unwrap_or_else(Instant::now));
            continue;
        }
        let renewed = core
            .lease
            .renew(&core.sender, core.scope.nodes.base(), &core.cluster)
            .await;
        let patience = match &renewed {
            Ok(_) => COMPARE,
            Err(_) => COMPARE_BLINDLY,
        };
        match &renewed {
            Ok(_) => Counts::one(&core.counts.renewals),
            Err(error @ WriteError::Denied { .. }) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(%error, "no lease for what is written into Consul: it needs session:write and key:write");
            }
            Err(error) => tracing::debug!(%error, "the lease was not renewed"),
        }
        let due = compared.is_none_or(|at| at.elapsed() >= patience);
        if due || matches!(renewed, Ok(Renewed::Anew)) {
            if core.compare().await.is_err() {
                Counts::one(&core.counts.failures);
                // Once more with the next renewal, whatever that says.
                core.lease.forget();
            }
            compared = Some(Instant::now());
        }
        if looked.elapsed() >= LOOK_AROUND.min(core.times.grace) && renewed.is_ok() {
            looked = Instant::now();
            if let Err(error) = core.clear_up().await {
                tracing::debug!(%error, "nothing was cleared up");
            }
        }
    }
}
