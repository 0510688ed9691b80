//! One ZooKeeper session: reads with a limit on how many at once, and what has changed since.
//!
//! ```text
//! server ≥ 3.6   one persistent recursive watch per root ─┐
//! older          a one-shot watch with every read ────────┴─▶ Changes: a set of parts, so it cannot pile up
//! ```
//!
//! Next on the path: [`listing`](super::listing) judges whether a list of children can be true.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use zookeeper_client::{
    AddWatchMode, Client, Error, EventType, OneshotWatcher, SessionState, Stat, StateWatcher, WatchedEvent,
};

use super::{
    Settings,
    changes::Changes,
    interface,
    layout::Layout,
    listing::{Contradiction, Listing, Listings, Names},
};
use crate::registry::RegistryError;

/// Requests in flight. The client queues without bound, so this is the bound.
const AT_ONCE: usize = 64;
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// A connection that was lost may come back, at another server of the ensemble, without an end of the session.
const RECONNECT: Duration = Duration::from_secs(2);
/// A folder that is gone and there again this often within one look does not come and go by chance.
const LOOKS: u32 = 3;
/// What Java clients refuse to read by default (`jute.maxbuffer`).
const JAVA_LIMIT: usize = 0xf_ffff;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection is gone; the session may not be.
    Lost(RegistryError),
    /// The session is over.
    Ended(RegistryError),
    /// The server knows no persistent watches.
    TooOld,
}

/// Which watches the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watches {
    Recursive,
    OneShot,
}

/// Reads in one session. Dropping it closes the session.
pub(super) struct Reader {
    client: Client,
    address: String,
    layout: Layout,
    permits: Semaphore,
    changes: Arc<Changes>,
    listings: Listings,
    watches: Watches,
    /// Paths with a one-shot watch that has not fired.
    armed: Arc<Mutex<BTreeSet<(String, Kind)>>>,
    tasks: Mutex<JoinSet<()>>,
    /// Those that read the recursive watches.
    drains: Mutex<Vec<AbortHandle>>,
}

/// What a one-shot watch looks at. The server keeps the kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Children,
    Data,
}

impl Reader {
    /// Opens a session and sets the watches.
    pub(super) async fn open(settings: &Settings, watches: Watches) -> Result<Self, Fault> {
        let address = settings.ensemble.clone();
        let digest = settings.digest().map_err(|error| {
            Fault::Ended(RegistryError::Denied {
                address: address.clone(),
                what: error.to_string(),
            })
        })?;
        // Every host is tried once; trying again is the supervisor's part.
        let mut connector = Client::connector()
            .with_session_timeout(settings.session_timeout)
            .with_fail_eagerly();
        if let Some(digest) = digest {
            connector = connector.with_auth("digest", &digest);
        }
        let unreachable = |why: String| {
            Fault::Ended(RegistryError::Unreachable {
                address: address.clone(),
                source: why.into(),
            })
        };
        let client = match timeout(settings.session_timeout, connector.connect(&settings.ensemble)).await {
            Ok(Ok(client)) => client,
            Ok(Err(Error::AuthFailed)) => {
                let what = "the credentials are wrong, or the server wants SASL".to_owned();
                return Err(Fault::Ended(RegistryError::Denied { address, what }));
            }
            Ok(Err(Error::NoHosts)) => return Err(unreachable("no server of the ensemble took a session".to_owned())),
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable(format!("no session within {:?}", settings.session_timeout))),
        };
        tracing::debug!(
            session = %client.session_id(),
            timeout = ?client.session_timeout(),
            ?watches,
            "ZooKeeper session opened"
        );
        let reader = Self {
            client,
            address,
            layout: settings.layout.clone(),
            permits: Semaphore::new(AT_ONCE),
            changes: Arc::default(),
            listings: settings.listings.open(),
            watches,
            armed: Arc::default(),
            tasks: Mutex::default(),
            drains: Mutex::default(),
        };
        if reader.client.path() != "/" && reader.stat("/").await?.is_none() {
            return Err(Fault::Ended(RegistryError::NotReady {
                address: reader.address,
                what: format!("the root {} behind the hosts does not exist", reader.client.path()),
            }));
        }
        reader.watch_roots().await?;
        Ok(reader)
    }

    /// What has changed.
    pub(super) fn changes(&self) -> Arc<Changes> {
        self.changes.clone()
    }

    /// Follows the session's state from now on.
    pub(super) fn states(&self) -> StateWatcher {
        self.client.state_watcher()
    }

    /// Everything that exists has been listed in this session.
    pub(super) fn caught_up(&self) {
        self.listings.caught_up();
    }

    /// A node's children; `None` if there is no such node. A list that cannot be true ends the session.
    pub(super) async fn children(&self, path: &str) -> Result<Option<Names>, Fault> {
        for _ in 0..LOOKS {
            // As it was before the question: an answer may not be older than what was known by then.
            let before = self.listings.of(path);
            let Some((names, stat)) = self.list(path).await? else {
                let there = self.answer(path, || self.client.check_stat(path)).await?.flatten();
                let Some(there) = there else {
                    if before.is_some() {
                        self.is_sane(path).await?;
                    }
                    self.listings.forget(path);
                    return Ok(None);
                };
                if before.as_ref().is_some_and(|before| before.is_the_same_node(&there)) {
                    return Err(self.contradicted(path, &Contradiction::NoFolder));
                }
                // Created since.
                continue;
            };
            let length: usize = names.iter().map(|name| name.len() + 4).sum();
            if length > JAVA_LIMIT {
                tracing::warn!(
                    path,
                    bytes = length,
                    "this folder's listing is over the limit of Java clients (jute.maxbuffer): Dubbo consumers may not see it"
                );
            }
            let listing = Listing::new(names, &stat).map_err(|why| self.contradicted(path, &why))?;
            let mut vanished = Vec::new();
            if let Some(before) = &before {
                let judged = listing.follows(before, self.listings.session());
                judged.map_err(|why| self.contradicted(path, &why))?;
                vanished.extend(before.names.difference(&listing.names).cloned());
            }
            let back = self.second_look(path, &listing, vanished).await?;
            let mut names = listing.names.clone();
            if !back.is_empty() {
                Arc::make_mut(&mut names).extend(back);
            }
            self.listings.keep(path, listing);
            return Ok(Some(names));
        }
        Err(self.contradicted(path, &Contradiction::NoFolder))
    }

    /// Asks for each child that a list does not name any more. Those that were created since the list was made are
    /// returned; one that was there all along shows that the list is wrong.
    async fn second_look(
        &self,
        folder: &str,
        listing: &Listing,
        vanished: Vec<Arc<str>>,
    ) -> Result<Vec<Arc<str>>, Fault> {
        let look = |name: Arc<str>| {
            let path = format!("{}/{name}", folder.trim_end_matches('/'));
            async move {
                match self.answer(&path, || self.client.check_stat(&path)).await?.flatten() {
                    None => Ok(None),
                    Some(stat) if listing.is_older_than(&stat) => Ok(Some(name)),
                    Some(_) => Err(self.contradicted(&path, &listing.lacks())),
                }
            }
            .boxed()
        };
        let looks = vanished.into_iter().map(look);
        let found: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// A server that says of everything that it does not exist says so of its root too, which always exists.
    async fn is_sane(&self, path: &str) -> Result<(), Fault> {
        match self.answer("/", || self.client.check_stat("/")).await?.flatten() {
            Some(_) => Ok(()),
            None => Err(self.contradicted(path, &Contradiction::NoRoot)),
        }
    }

    /// The end of a session whose answers disagree: nothing of them is knowledge.
    pub(super) fn contradicted(&self, path: &str, why: &Contradiction) -> Fault {
        let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
        Fault::Ended(RegistryError::Malformed {
            address: self.address.clone(),
            what: format!("{}: {why}", without_parameters(path)),
            sample: without_parameters(name),
        })
    }

    async fn list(&self, path: &str) -> Result<Option<(Vec<String>, Stat)>, Fault> {
        if !self.arm(path, Kind::Children) {
            return self.answer(path, || self.client.get_children(path)).await;
        }
        match self.answer(path, || self.client.get_and_watch_children(path)).await? {
            Some((children, stat, watcher)) => {
                self.wait_for(path, Kind::Children, watcher);
                Ok(Some((children, stat)))
            }
            None => {
                self.disarm(path, Kind::Children);
                // A missing node takes no watch for children, but one for its creation.
                match self.appears(path).await? {
                    true => self.answer(path, || self.client.get_children(path)).await,
                    false => Ok(None),
                }
            }
        }
    }

    /// A node's data and the time of its last change; `None` if there is no such node.
    pub(super) async fn data(&self, path: &str) -> Result<Option<(Vec<u8>, Option<SystemTime>)>, Fault> {
        let found = if self.arm(path, Kind::Data) {
            match self.answer(path, || self.client.get_and_watch_data(path)).await? {
                Some((data, stat, watcher)) => {
                    self.wait_for(path, Kind::Data, watcher);
                    Some((data, stat))
                }
                None => {
                    self.disarm(path, Kind::Data);
                    match self.appears(path).await? {
                        true => self.answer(path, || self.client.get_data(path)).await?,
                        false => None,
                    }
                }
            }
        } else {
            self.answer(path, || self.client.get_data(path)).await?
        };
        Ok(found.map(|(data, stat)| (data, time_of(&stat))))
    }

    /// The time of a node's last change; `None` if there is no such node.
    pub(super) async fn stat(&self, path: &str) -> Result<Option<Option<SystemTime>>, Fault> {
        let stat = self.answer(path, || self.client.check_stat(path)).await?;
        Ok(stat.flatten().map(|stat| time_of(&stat)))
    }

    /// Whether the node exists by now; if not, its creation is watched for.
    async fn appears(&self, path: &str) -> Result<bool, Fault> {
        if !self.arm(path, Kind::Data) {
            return Ok(false);
        }
        let found = self.answer(path, || self.client.check_and_watch_stat(path)).await?;
        let Some((stat, watcher)) = found else {
            self.disarm(path, Kind::Data);
            return Ok(false);
        };
        self.wait_for(path, Kind::Data, watcher);
        Ok(stat.is_some())
    }

    /// Waits for the lost connection to come back within the same session.
    pub(super) async fn reconnected(
        &self,
        states: &mut StateWatcher,
        lost: RegistryError,
    ) -> Result<(), RegistryError> {
        let back = async {
            let mut state = states.state();
            loop {
                match state {
                    SessionState::Disconnected => state = states.changed().await,
                    SessionState::SyncConnected | SessionState::ConnectedReadOnly => return Ok(()),
                    ended => return Err(self.over(ended)),
                }
            }
        };
        timeout(RECONNECT, back).await.unwrap_or(Err(lost))
    }

    /// The error of a session that is in a final state.
    pub(super) fn over(&self, state: SessionState) -> RegistryError {
        let address = self.address.clone();
        match state {
            SessionState::Expired => RegistryError::SessionOver {
                address,
                what: format!("session {} has expired", self.client.session_id()),
            },
            SessionState::AuthFailed => RegistryError::Denied {
                address,
                what: "the credentials are wrong, or the server wants SASL".to_owned(),
            },
            other => RegistryError::Unreachable {
                address,
                source: format!("the connection is {other}").into(),
            },
        }
    }

    /// The error of a connection that broke.
    pub(super) fn lost(&self, path: &str) -> RegistryError {
        RegistryError::Unreachable {
            address: self.address.clone(),
            source: format!("the connection broke while {path} was read").into(),
        }
    }

    /// The client sends when it is called, not when its future is first polled; hence a closure.
    async fn answer<T, F>(&self, path: &str, request: impl FnOnce() -> F + Send) -> Result<Option<T>, Fault>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let address = || self.address.clone();
        // Never closed, so this waits and does not fail.
        let _permit = self.permits.acquire().await;
        let error = match timeout(PATIENCE, request()).await {
            Ok(Ok(answer)) => return Ok(Some(answer)),
            Ok(Err(Error::NoNode)) => return Ok(None),
            Ok(Err(error)) => error,
            Err(_) => {
                return Err(Fault::Ended(RegistryError::Unreachable {
                    address: address(),
                    source: format!("{path} was not read within {PATIENCE:?}").into(),
                }));
            }
        };
        // Codes down to -99 are the server's own trouble (KeeperException.java), as 5xx are in HTTP.
        let failing = |code: i32| {
            Fault::Ended(RegistryError::NotReady {
                address: address(),
                what: format!("{path}: it answers with its error {code} ({})", trouble(code)),
            })
        };
        Err(match error {
            Error::ConnectionLoss => Fault::Lost(self.lost(path)),
            // What the client found wrong with the connection, such as a server that stopped answering.
            error @ (Error::Custom(_) | Error::Timeout | Error::NoHosts) => Fault::Lost(RegistryError::Unreachable {
                address: address(),
                source: format!("{error}, while {path} was read").into(),
            }),
            Error::Unimplemented => Fault::TooOld,
            Error::SessionExpired | Error::SessionMoved => Fault::Ended(self.over(SessionState::Expired)),
            Error::AuthFailed => Fault::Ended(self.over(SessionState::AuthFailed)),
            Error::ClientClosed => Fault::Ended(self.lost(path)),
            Error::NoAuth => Fault::Ended(RegistryError::Denied {
                address: address(),
                what: format!(
                    "no right to read {path}: Dubbo lets only its own user read what it writes; \
                     set `username` and `password` as Dubbo has them"
                ),
            }),
            Error::Throttled | Error::NotReadOnly => Fault::Ended(RegistryError::NotReady {
                address: address(),
                what: format!("{path}: {error}"),
            }),
            Error::MarshallingError => failing(-5),
            Error::UnexpectedErrorCode(code @ -99..0) => failing(code),
            error => Fault::Ended(RegistryError::Malformed {
                address: address(),
                what: format!("{path} cannot be read"),
                sample: error.to_string(),
            }),
        })
    }

    /// Watches the roots and everything below them, whether they exist or not. To be called again after
    /// every reconnect: the server forgets, and zookeeper-client 0.11.2 means to remind it but only ever
    /// sends the one-shot watches (`WatchManager::resend_watches` compares `index` with itself).
    pub(super) async fn watch_roots(&self) -> Result<(), Fault> {
        if self.watches == Watches::OneShot {
            return Ok(());
        }
        let mut drains = Vec::new();
        for root in self.layout.watched() {
            let watching = self.answer(root, || self.client.watch(root, AddWatchMode::PersistentRecursive));
            let Some(mut watcher) = watching.await? else {
                return Err(Fault::Lost(self.lost(root)));
            };
            let (layout, changes) = (self.layout.clone(), self.changes.clone());
            // Events wait without bound for whoever does not read them, so this does nothing but read them.
            drains.push(self.spawn(async move {
                loop {
                    let event = watcher.changed().await;
                    match event.event_type {
                        EventType::Session if event.session_state.is_terminated() => return,
                        EventType::Session => {}
                        _ => changes.mark(&layout, &event.path),
                    }
                }
            }));
        }
        // The old ones last: while another of the kind is there, dropping one asks nothing of the server.
        let before = std::mem::replace(&mut *self.drains.lock().unwrap_or_else(PoisonError::into_inner), drains);
        before.iter().for_each(AbortHandle::abort);
        Ok(())
    }

    /// Whether a one-shot watch is to be set with the next read. Two on one path would fire twice and never
    /// be fewer.
    fn arm(&self, path: &str, kind: Kind) -> bool {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        self.watches == Watches::OneShot && armed.insert((path.to_owned(), kind))
    }

    fn disarm(&self, path: &str, kind: Kind) {
        self.armed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(path.to_owned(), kind));
    }

    fn wait_for(&self, path: &str, kind: Kind, watcher: OneshotWatcher) {
        let (layout, changes, armed) = (self.layout.clone(), self.changes.clone(), self.armed.clone());
        let key = (path.to_owned(), kind);
        self.spawn(async move {
            let WatchedEvent { event_type, .. } = watcher.changed().await;
            // Before the mark, so that the read which follows it sets the watch again.
            armed.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if event_type != EventType::Session {
                changes.mark(&layout, &key.0);
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task)
    }
}

/// A path as it is shown: what may hold a token is left out.
fn without_parameters(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/{}", interface::shortened(name)),
        None => interface::shortened(path),
    }
}

/// ZooKeeper's name of its own trouble.
fn trouble(code: i32) -> &'static str {
    match code {
        -1 => "SystemError",
        -2 => "RuntimeInconsistency",
        -3 => "DataInconsistency",
        -4 => "ConnectionLoss",
        -5 => "MarshallingError",
        -7 => "OperationTimeout",
        -8 => "BadArguments",
        _ => "a system error",
    }
}

fn time_of(stat: &Stat) -> Option<SystemTime> {
    let millis = u64::try_from(stat.ctime.max(stat.mtime))
        .ok()
        .filter(|millis| *millis > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}
