//! Writing into Dubbo's registry in ZooKeeper, at both of its levels.
//!
//! ```text
//!       ┌─ a provider ──────▶ shape: a URL ─▶ /dubbo/<interface>/providers/<encoded URL>, ephemeral ─▶ held
//! put ──┤                                                       │ its providers                        │
//!       └─ an application's ▶ instance: JSON ─▶ /services/<application>/<host:port>, ephemeral ─▶ held │
//!          own record                           /dubbo/metadata/…, /dubbo/mapping/…                    │
//!                                                                                                      │
//! session, a task of its own ── expired: a new one ─▶ every node that is held is established again ◀───┘
//!                            ── every minute ───────▶ what somebody has deleted is put again
//! ```
//!
//! Consumers of Dubbo 2.5 to 3.3 read the interface level by default; it is written for every provider. A consumer of 3.x
//! that finds both prefers the application level, so that is written for applications that have it where they come from,
//! and not for providers that register by interface alone.
//!
//! - A changed record has another URL, so another node: the new one is made before the old one is deleted.
//! - A node of an earlier session is replaced in one transaction (`nodes`).
//! - Everything is ephemeral: with a writer that died its records are gone after the session timeout. So that a new
//!   writer finds something to adopt, a session whose writer was released, or lost its permit, is kept open for
//!   [`HANDOVER`], and only then closed. Pings are all that it sends.
//! - An id has no tag here, because an id is `protocol://host:port` or `host:port`: a node is known as ours by the marks
//!   in its URL or its metadata, and one without them is never deleted.
//!
//! Next on the path: `shape`, `nodes` and `keeper`, and `instance` and `applications` for the other level.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use landfall_config::kinds::registry::ZooKeeperSpec;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, timeout},
};
use zookeeper_client::{Acls, Client};

use self::nodes::{Nodes, Relation, relation};
use super::{Figures, Key, Permit, Publisher, Record, Shaped, Unfit, WriteError, counts::Counts};
use crate::{
    registry::ConnectError,
    zookeeper::{ZooKeeper, access::Access},
};

mod applications;
mod instance;
mod keeper;
mod nodes;
pub(super) mod shape;
#[cfg(test)]
mod tests;

/// How long a session without a writer is kept open, for the next one to adopt its nodes.
pub const HANDOVER: Duration = Duration::from_secs(60);
/// Requests at once.
const AT_ONCE: usize = 32;
/// How long a write waits for a session.
const PATIENCE: Duration = Duration::from_secs(8);

/// Writes into one ensemble.
pub struct ZooKeeperPublisher {
    core: Arc<Core>,
    keeper: OnceLock<AbortHandle>,
}

struct Core {
    access: Access,
    cluster: String,
    permit: Permit,
    held: Mutex<BTreeMap<Key, Held>>,
    /// Keys under which another cluster's record stands: our own nodes beside it go.
    disowned: Mutex<BTreeSet<Key>>,
    /// Since when changes of providers are gathered for their applications.
    gathering: Mutex<Option<Instant>>,
    /// Applications of which something may not be needed any more, and since when.
    leaving: Mutex<BTreeMap<String, Instant>>,
    /// The session, while there is one.
    client: watch::Sender<Option<Client>>,
    /// Why there is none.
    trouble: Mutex<Option<WriteError>>,
    /// One writes at a time: what is held must not change while it is established.
    turn: tokio::sync::Mutex<()>,
    wake: Notify,
    counts: Counts,
}

#[derive(Clone)]
struct Held {
    path: String,
    record: Arc<Record>,
    /// The session that has established it; none for what was adopted and not yet taken over.
    session: Option<i64>,
    /// An application's instance is to be written anew, or looked at.
    is_due: bool,
}

impl ZooKeeperPublisher {
    /// Checks addresses, roots and credentials; asks nobody.
    ///
    /// # Errors
    /// As [`ZooKeeper::new`].
    pub fn new(spec: &ZooKeeperSpec, cluster: &str, permit: Permit) -> Result<Self, ConnectError> {
        Ok(Self {
            core: Arc::new(Core {
                access: ZooKeeper::new(spec)?.access(),
                cluster: cluster.to_owned(),
                permit,
                held: Mutex::default(),
                disowned: Mutex::default(),
                gathering: Mutex::default(),
                leaving: Mutex::default(),
                client: watch::Sender::new(None),
                trouble: Mutex::default(),
                turn: tokio::sync::Mutex::default(),
                wake: Notify::new(),
                counts: Counts::default(),
            }),
            keeper: OnceLock::new(),
        })
    }

    fn keep_from_now_on(&self) {
        self.keeper
            .get_or_init(|| tokio::spawn(keeper::keep(self.core.clone())).abort_handle());
    }
}

impl Drop for ZooKeeperPublisher {
    fn drop(&mut self) {
        if let Some(task) = self.keeper.get() {
            task.abort();
        }
    }
}

#[async_trait::async_trait]
impl Publisher for ZooKeeperPublisher {
    fn kind(&self) -> &'static str {
        "zookeeper"
    }

    fn address(&self) -> String {
        self.core.access.ensemble().to_owned()
    }

    fn shape(&self, record: &Record) -> Result<Shaped, Unfit> {
        match instance::is_application(record) {
            true => instance::shape(record, &self.core.access),
            false => shape::shape(record, &self.core.access),
        }
    }

    async fn put(&self, records: &[Shaped]) -> Vec<Result<(), WriteError>> {
        self.keep_from_now_on();
        let core = &*self.core;
        let _turn = core.turn.lock().await;
        let client = match core.session().await {
            Ok(client) => client,
            Err(error) => return records.iter().map(|_| Err(error.clone())).collect(),
        };
        let nodes = core.nodes(&client);
        // Of records that are not held an earlier form may stand there; each folder is read once.
        let unknown: BTreeSet<String> = {
            let held = core.held();
            let new = records.iter().filter(|record| !held.contains_key(&record.key));
            new.filter_map(|record| core.folder(&record.key)).collect()
        };
        let folders = core.read(&nodes, unknown).await;
        let (nodes, folders) = (&nodes, &folders);
        let providers = records.iter().filter(|record| !is_of_application(record));
        let puts: Vec<_> = providers.map(|record| core.put(nodes, folders, record)).collect();
        let mut answers = stream::iter(puts)
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await
            .into_iter();
        // Their documents are made of the providers, so they come last.
        let mut instances = core.put_applications(nodes, records).await;
        records
            .iter()
            .map(|record| match is_of_application(record) {
                true => instances.remove(&record.key).unwrap_or(Err(WriteError::NotPermitted)),
                false => answers.next().unwrap_or(Err(WriteError::NotPermitted)),
            })
            .collect()
    }

    async fn adopt(&self, records: &[Shaped]) {
        self.keep_from_now_on();
        for record in records {
            let Some(path) = self.core.path(record) else { continue };
            let mut held = self.core.held();
            let known = held.get(&record.key);
            if known.is_some_and(|known| known.path == path && *known.record == *record.record) {
                continue;
            }
            let session = known.filter(|known| known.path == path).and_then(|known| known.session);
            let known = Held {
                path,
                record: record.record.clone(),
                session,
                is_due: is_of_application(record),
            };
            held.insert(record.key.clone(), known);
            drop(held);
            self.core.touch(&record.record);
        }
        self.core.wake.notify_one();
    }

    async fn remove(&self, keys: &[Key]) -> Vec<Result<(), WriteError>> {
        self.keep_from_now_on();
        let core = &*self.core;
        let _turn = core.turn.lock().await;
        let client = match core.session().await {
            Ok(client) => client,
            Err(error) => return keys.iter().map(|_| Err(error.clone())).collect(),
        };
        let nodes = core.nodes(&client);
        let folders = core
            .read(&nodes, keys.iter().filter_map(|key| core.folder(key)).collect())
            .await;
        let (nodes, folders) = (&nodes, &folders);
        let removes: Vec<_> = keys.iter().map(|key| core.remove(nodes, folders, key)).collect();
        stream::iter(removes).buffered(AT_ONCE).collect().await
    }

    async fn disown(&self, keys: &[Key]) {
        self.keep_from_now_on();
        let _turn = self.core.turn.lock().await;
        for key in keys {
            let known = self.core.held().remove(key);
            if let Some(known) = known {
                self.core.touch(&known.record);
            }
            if instance::is_key_of_application(key) {
                self.core.leaves(&key.service);
            }
        }
        self.core.disowned().extend(keys.iter().cloned());
        self.core.wake.notify_one();
    }

    async fn release(&self) {
        self.core.held().clear();
        self.core.disowned().clear();
        self.core.leaving().clear();
    }

    fn figures(&self) -> Figures {
        self.core.counts.figures(self.core.held().len())
    }
}

/// The children of folders, or why they could not be listed.
type Folders = BTreeMap<String, Result<Vec<String>, WriteError>>;

impl Core {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disowned(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.disowned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gathering(&self) -> MutexGuard<'_, Option<Instant>> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, key: &Key) -> Option<String> {
        match instance::is_key_of_application(key) {
            true => self.access.application(&key.service),
            false => self.access.providers(shape::interface_of(&key.service)),
        }
    }

    fn path(&self, record: &Shaped) -> Option<String> {
        let folder = self.folder(&record.key)?;
        Some(match is_of_application(record) {
            true => format!("{folder}/{}", record.key.id),
            false => format!("{folder}/{}", shape::url(record).to_node_name()),
        })
    }

    fn nodes<'a>(&'a self, client: &'a Client) -> Nodes<'a> {
        let has_user = matches!(self.access.digest(), Ok(Some(_)));
        Nodes {
            client,
            access: &self.access,
            acls: if has_user {
                Acls::creator_all()
            } else {
                Acls::anyone_all()
            },
        }
    }

    /// The session, once there is one.
    async fn session(&self) -> Result<Client, WriteError> {
        if !self.permit.holds() {
            return Err(WriteError::NotPermitted);
        }
        let mut sessions = self.client.subscribe();
        let found = timeout(PATIENCE, sessions.wait_for(Option::is_some)).await;
        let client = found.ok().and_then(Result::ok).and_then(|client| client.clone());
        let trouble = || self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        client.ok_or_else(|| {
            trouble().unwrap_or_else(|| WriteError::Unavailable {
                address: self.access.ensemble().to_owned(),
                what: "there is no session yet".to_owned(),
            })
        })
    }

    async fn read(&self, nodes: &Nodes<'_>, folders: BTreeSet<String>) -> Folders {
        let lists: Vec<_> = folders
            .into_iter()
            .map(|folder| async move {
                let children = match self.permit.holds() {
                    true => nodes.children(&folder).await,
                    false => Err(WriteError::NotPermitted),
                };
                (folder, children)
            })
            .collect();
        stream::iter(lists).buffer_unordered(AT_ONCE).collect().await
    }

    /// Nodes of ours in a folder that stand for this key, except the one at `path`.
    fn stale(&self, folders: &Folders, key: &Key, path: &str) -> Vec<String> {
        let Some(folder) = self.folder(key) else {
            return Vec::new();
        };
        let children = folders.get(&folder).and_then(|found| found.as_ref().ok());
        children
            .into_iter()
            .flatten()
            .filter(|node| relation(node, key, &self.cluster) == Relation::Ours)
            .map(|node| format!("{folder}/{node}"))
            .filter(|found| found != path)
            .collect()
    }

    async fn put(&self, nodes: &Nodes<'_>, folders: &Folders, record: &Shaped) -> Result<(), WriteError> {
        let Some(path) = self.path(record) else {
            return Err(WriteError::Rejected {
                address: self.access.ensemble().to_owned(),
                id: record.key.id.clone(),
                what: "its service is no interface".to_owned(),
            });
        };
        let before = self.held().get(&record.key).cloned();
        let done = async {
            if !self.permit.holds() {
                return Err(WriteError::NotPermitted);
            }
            nodes.establish(&path).await?;
            let held = Held {
                path: path.clone(),
                record: record.record.clone(),
                session: Some(nodes.client.session_id().0),
                is_due: false,
            };
            self.held().insert(record.key.clone(), held);
            self.touch(&record.record);
            let mut old = self.stale(folders, &record.key, &path);
            old.extend(before.map(|held| held.path).filter(|old| *old != path));
            for old in old {
                if !self.permit.holds() {
                    return Err(WriteError::NotPermitted);
                }
                nodes.delete(&old).await?;
            }
            Ok(())
        };
        let result: Result<(), WriteError> = done.await;
        self.count(&result, &self.counts.puts);
        result
    }

    /// The application's instances among these records.
    async fn put_applications(&self, nodes: &Nodes<'_>, records: &[Shaped]) -> applications::Answers {
        let mut before: BTreeMap<Key, Option<Held>> = BTreeMap::new();
        for record in records.iter().filter(|record| is_of_application(record)) {
            let Some(path) = self.path(record) else { continue };
            let was = self.held().get(&record.key).cloned();
            let held = Held {
                path,
                record: record.record.clone(),
                session: was.as_ref().and_then(|was| was.session),
                is_due: true,
            };
            self.held().insert(record.key.clone(), held);
            before.insert(record.key.clone(), was);
        }
        let keys: BTreeSet<Key> = before.keys().cloned().collect();
        let mut answers = self.applications(nodes, &keys, true).await;
        for (key, answer) in &mut answers {
            if let Err(error) = answer.clone() {
                *answer = Err(applications::listed(error, key));
                // What is not there is not held.
                let mut held = self.held();
                match before.get_mut(key).and_then(Option::take) {
                    Some(was) => drop(held.insert(key.clone(), was)),
                    None => drop(held.remove(key)),
                }
            } else if let Some(known) = self.held().get_mut(key) {
                known.is_due = false;
            }
            self.count(answer, &self.counts.puts);
        }
        answers
    }

    async fn remove(&self, nodes: &Nodes<'_>, folders: &Folders, key: &Key) -> Result<(), WriteError> {
        if instance::is_key_of_application(key) {
            let result = match self.permit.holds() {
                true => self.remove_instance(nodes, key).await,
                false => Err(WriteError::NotPermitted),
            };
            self.count(&result, &self.counts.removes);
            return result;
        }
        let held = self.held().remove(key);
        if let Some(held) = &held {
            self.touch(&held.record);
        }
        let done = async {
            let Some(folder) = self.folder(key) else { return Ok(()) };
            let children = match folders.get(&folder) {
                Some(Ok(children)) => children.as_slice(),
                Some(Err(error)) => return Err(error.clone()),
                None => &[],
            };
            let mut paths: BTreeSet<String> = held.into_iter().map(|held| held.path).collect();
            let mut foreign = false;
            for node in children {
                match relation(node, key, &self.cluster) {
                    Relation::Ours => drop(paths.insert(format!("{folder}/{node}"))),
                    Relation::Foreign => foreign = true,
                    Relation::Other => {}
                }
            }
            if paths.is_empty() && foreign {
                return Err(WriteError::Rejected {
                    address: self.access.ensemble().to_owned(),
                    id: key.id.clone(),
                    what: "it is no record of ours".to_owned(),
                });
            }
            for path in paths {
                if !self.permit.holds() {
                    return Err(WriteError::NotPermitted);
                }
                nodes.delete(&path).await?;
            }
            Ok(())
        };
        let result: Result<(), WriteError> = done.await;
        self.count(&result, &self.counts.removes);
        result
    }

    fn count(&self, result: &Result<(), WriteError>, done: &std::sync::atomic::AtomicU64) {
        match result {
            Ok(()) => Counts::one(done),
            Err(WriteError::NotPermitted) => {}
            Err(_) => Counts::one(&self.counts.failures),
        }
    }
}

/// Whether it is an application's instance, not a provider.
fn is_of_application(record: &Shaped) -> bool {
    instance::is_key_of_application(&record.key)
}
