//! Writing into Dubbo's registry in ZooKeeper: providers at the interface level.
//!
//! ```text
//! put ─▶ shape: a URL ─▶ /dubbo/<interface>/providers/<encoded URL>, ephemeral ─▶ held
//!                                                                                 │
//! session, a task of its own ── expired: a new one ─▶ every node that is held is established again
//!                            ── every minute ───────▶ what somebody has deleted is put again
//! ```
//!
//! Consumers of Dubbo 2.5 to 3.3 read this level by default. It is written for providers of the application level as
//! well: a consumer of 3.x that finds both prefers the application level, so a copy there would take all calls away from
//! providers that only register by interface. (A consumer told `FORCE_APPLICATION` does not see the copies.)
//!
//! - A changed record has another URL, so another node: the new one is made before the old one is deleted.
//! - A node of an earlier session is replaced in one transaction (`nodes`).
//! - Everything is ephemeral: with a writer that died its records are gone after the session timeout. So that a new
//!   writer finds something to adopt, a session whose writer was released, or lost its permit, is kept open for
//!   [`HANDOVER`], and only then closed. Pings are all that it sends.
//! - An id has no tag here, because an id is `protocol://host:port`: a node is known as ours by the marks in its URL, and
//!   one without them is never deleted.
//!
//! Next on the path: `shape`, `nodes`.

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
use zookeeper_client::{Acls, Client, Error};

use self::nodes::{Nodes, Relation, relation};
use super::{Figures, Key, Permit, Publisher, Record, Shaped, Unfit, WriteError, counts::Counts};
use crate::{
    registry::ConnectError,
    zookeeper::{ZooKeeper, access::Access},
};

mod nodes;
pub(super) mod shape;
#[cfg(test)]
mod tests;

/// How long a session without a writer is kept open, for the next one to adopt its nodes.
pub const HANDOVER: Duration = Duration::from_secs(60);
/// Requests at once.
const AT_ONCE: usize = 32;
/// Between two looks at whether what is held still stands there.
const COMPARE: Duration = Duration::from_secs(60);
/// Between two looks at the permit.
const PULSE: Duration = Duration::from_millis(500);
/// After a session could not be opened.
const AGAIN: Duration = Duration::from_secs(1);
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
    /// The session that has established it; none for what was adopted and not yet taken over.
    session: Option<i64>,
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
            .get_or_init(|| tokio::spawn(keep(self.core.clone())).abort_handle());
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
        shape::shape(record, &self.core.access)
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
        let puts: Vec<_> = records.iter().map(|record| core.put(nodes, folders, record)).collect();
        stream::iter(puts).buffered(AT_ONCE).collect().await
    }

    async fn adopt(&self, records: &[Shaped]) {
        self.keep_from_now_on();
        let mut held = self.core.held();
        for record in records {
            let Some(path) = self.core.path(record) else { continue };
            if held.get(&record.key).is_none_or(|known| known.path != path) {
                held.insert(record.key.clone(), Held { path, session: None });
            }
        }
        drop(held);
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
        let mut held = self.core.held();
        keys.iter().for_each(|key| drop(held.remove(key)));
        drop(held);
        self.core.disowned().extend(keys.iter().cloned());
        self.core.wake.notify_one();
    }

    async fn release(&self) {
        self.core.held().clear();
        self.core.disowned().clear();
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

    fn folder(&self, key: &Key) -> Option<String> {
        self.access.providers(shape::interface_of(&key.service))
    }

    fn path(&self, record: &Shaped) -> Option<String> {
        let folder = self.folder(&record.key)?;
        Some(format!("{folder}/{}", shape::url(record).to_node_name()))
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
                session: Some(nodes.client.session_id().0),
            };
            self.held().insert(record.key.clone(), held);
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

    async fn remove(&self, nodes: &Nodes<'_>, folders: &Folders, key: &Key) -> Result<(), WriteError> {
        let held = self.held().remove(key);
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

    /// Deletes nodes of ours that stand beside another cluster's. Returns whether all are gone.
    async fn make_way(&self, nodes: &Nodes<'_>) -> bool {
        let keys = {
            let held = self.held();
            let mut disowned = self.disowned();
            disowned.retain(|key| !held.contains_key(key));
            disowned.clone()
        };
        if keys.is_empty() {
            return true;
        }
        let folders = self
            .read(nodes, keys.iter().filter_map(|key| self.folder(key)).collect())
            .await;
        let mut all = true;
        for key in keys {
            let is_read = self
                .folder(&key)
                .is_none_or(|folder| folders.get(&folder).is_some_and(Result::is_ok));
            let mut done = is_read;
            for node in self.stale(&folders, &key, "") {
                if !self.permit.holds() {
                    return false;
                }
                done &= nodes.delete(&node).await.is_ok();
            }
            if done {
                self.disowned().remove(&key);
            }
            all &= done;
        }
        all
    }

    /// Establishes in this session what is held and not yet of it. Returns whether all could be.
    async fn settle(&self, client: &Client) -> bool {
        let _turn = self.turn.lock().await;
        let session = client.session_id().0;
        let nodes = self.nodes(client);
        let made_way = self.make_way(&nodes).await;
        let due: Vec<(Key, Held)> = {
            let held = self.held();
            let others = held.iter().filter(|(_, held)| held.session != Some(session));
            others.map(|(key, held)| (key.clone(), held.clone())).collect()
        };
        let nodes = &nodes;
        let work: Vec<_> = due
            .into_iter()
            .map(|(key, mut held)| async move {
                if !self.permit.holds() {
                    return false;
                }
                let (was, done) = (held.session, nodes.establish(&held.path).await);
                match done {
                    Ok(()) => {
                        Counts::one(if was.is_some() {
                            &self.counts.restores
                        } else {
                            &self.counts.renewals
                        });
                        held.session = Some(session);
                        if let Some(known) = self.held().get_mut(&key) {
                            *known = held;
                        }
                        true
                    }
                    Err(error) => {
                        Counts::one(&self.counts.failures);
                        tracing::debug!(id = %key.id, %error, "not established");
                        false
                    }
                }
            })
            .collect();
        let done: Vec<bool> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
        made_way && done.into_iter().all(|done| done)
    }

    /// Finds what somebody has deleted.
    async fn compare(&self, client: &Client) {
        let _turn = self.turn.lock().await;
        let nodes = self.nodes(client);
        let folders: BTreeSet<String> = self.held().keys().filter_map(|key| self.folder(key)).collect();
        let folders = self.read(&nodes, folders).await;
        let there: BTreeSet<String> = folders
            .iter()
            .filter_map(|(folder, children)| Some((folder, children.as_ref().ok()?)))
            .flat_map(|(folder, children)| children.iter().map(move |child| format!("{folder}/{child}")))
            .collect();
        for (key, held) in self.held().iter_mut() {
            let listed = self
                .folder(key)
                .and_then(|folder| folders.get(&folder).map(Result::is_ok));
            if listed == Some(true) && !there.contains(&held.path) {
                // Of no session that lives: established again, as a restore.
                held.session = held.session.map(|_| 0);
            }
        }
    }

    async fn open(&self) -> Result<Client, WriteError> {
        let address = || self.access.ensemble().to_owned();
        let wait = self.access.session_timeout();
        let mut connector = Client::connector().with_session_timeout(wait).with_fail_eagerly();
        let digest = self.access.digest().map_err(|error| WriteError::Denied {
            address: address(),
            what: error.to_string(),
        })?;
        if let Some(digest) = digest {
            connector = connector.with_auth("digest", &digest);
        }
        match timeout(wait, connector.connect(self.access.ensemble())).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error @ Error::AuthFailed)) => Err(WriteError::Denied {
                address: address(),
                what: format!("{error}: the credentials are wrong, or the server wants SASL"),
            }),
            Ok(Err(error)) => Err(WriteError::Unavailable {
                address: address(),
                what: error.to_string(),
            }),
            Err(_) => Err(WriteError::Unavailable {
                address: address(),
                what: format!("no session within {wait:?}"),
            }),
        }
    }
}

/// Keeps a session, and in it what is held, for as long as the publisher lives.
async fn keep(core: Arc<Core>) {
    loop {
        if !core.permit.holds() {
            tokio::time::sleep(PULSE).await;
            continue;
        }
        match core.open().await {
            Ok(client) => {
                *core.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                // Puts may come before what is held is established: none is forgotten by that.
                core.client.send_replace(Some(client.clone()));
                serve(&core, client).await;
                core.client.send_replace(None);
            }
            Err(error) => {
                Counts::one(&core.counts.failures);
                tracing::debug!(%error, "no session to write in");
                *core.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                tokio::time::sleep(AGAIN.mul_f64(0.5 + fastrand::f64())).await;
            }
        }
    }
}

/// Until the session is over, or has had no writer for long.
async fn serve(core: &Core, client: Client) {
    let mut states = client.state_watcher();
    let (mut compared, mut idle) = (Instant::now(), None::<Instant>);
    let mut settled = false;
    loop {
        let may_write = core.permit.holds();
        if may_write && compared.elapsed() >= COMPARE {
            core.compare(&client).await;
            compared = Instant::now();
            settled = false;
        }
        if may_write && !settled {
            settled = core.settle(&client).await;
        }
        // Without a writer the nodes stay for the next one, but not for ever.
        if may_write {
            idle = None;
        } else if idle.get_or_insert_with(Instant::now).elapsed() >= HANDOVER {
            return;
        }
        tokio::select! {
            state = states.changed() => {
                if state.is_terminated() {
                    tracing::info!(session = %client.session_id(), %state, "the session is over; opening another");
                    return;
                }
            }
            () = core.wake.notified() => settled = false,
            () = tokio::time::sleep(PULSE) => {}
        }
    }
}
