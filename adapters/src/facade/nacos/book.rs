//! The state of a Nacos facade: services, who registered what in them, and when each last changed.
//!
//! Pure: no clock and no socket. Every operation is handed the [`Moment`] it happens at. [`surface`](super::surface) and `link` put it
//! on HTTP and gRPC.
//!
//! ```text
//! service ─▶ owner ─▶ id ─▶ record        owner: a connection · beats over HTTP · left (its connection is gone, it stands
//!                                         for a while) · mirror (another registry's)
//! ```
//!
//! Of two records of one id the one that is shown is that of the newest connection, then of beats, then one left, then a mirrored one.
//! Each service carries the version of its last visible change. One that has lost its last instance is kept for a minute, so
//! that subscribers are told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::{
    facade::shared::{Moment, Versioned},
    nacos::name::{DEFAULT_GROUP, JOINT, Meaning, Source},
};

mod answers;
mod beats;
mod saved;

pub use answers::Asked;
pub use saved::Saved;

/// The namespace of whoever names none.
pub const PUBLIC: &str = "public";
/// An empty service is forgotten after that time, ms, as Nacos does.
const EMPTY_KEPT: u64 = 60_000;

/// Why an operation was refused; each says what HTTP and gRPC answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The connection is gone or was never set up: the client connects anew.
    #[error("Connection is unregistered.")]
    Unregistered,
    /// No such instance or service.
    #[error("{0}")]
    Unknown(String),
    /// The request makes no sense, or asks for what is not done here.
    #[error("{0}")]
    Invalid(String),
    /// The registry is full.
    #[error("{0}")]
    Full(String),
}

/// What a registry takes at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instances that clients registered.
    pub instances: usize,
    /// Instances in one batch.
    pub batch: usize,
    /// Services that one connection registers in.
    pub services: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Bytes of a name.
    pub name: usize,
    /// Bytes of an instance's metadata.
    pub metadata: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances: 50_000,
            batch: 5_000,
            services: 5_000,
            subscriptions: 10_000,
            name: 512,
            metadata: 64 << 10,
        }
    }
}

/// What a service is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Id of its namespace, never empty.
    pub namespace: Arc<str>,
    /// Its group.
    pub group: Arc<str>,
    /// Its name inside the group.
    pub service: Arc<str>,
}

impl Key {
    /// From what a client states: empty parts are the usual ones, and a name may bring its group along.
    ///
    /// # Errors
    /// A name that is none.
    pub fn new(namespace: &str, group: &str, service: &str, limits: &Limits) -> Result<Self, Refusal> {
        let (group, service) = match service.split_once(JOINT) {
            Some((group, service)) => (group, service),
            None => (group, service),
        };
        if service.trim().is_empty() {
            return Err(Refusal::Invalid("Param 'serviceName' is required.".to_owned()));
        }
        let bad = |text: &str| text.len() > limits.name || text.contains(char::is_control) || text.contains(JOINT);
        if let Some(text) = [namespace, group, service].into_iter().find(|text| bad(text)) {
            let begin: String = text.chars().take(40).collect();
            return Err(Refusal::Invalid(format!(
                "`{}` is no name of a namespace, group or service",
                begin.escape_debug()
            )));
        }
        let or = |text: &str, usual: &str| -> Arc<str> {
            match text.trim() {
                "" => usual.into(),
                text => text.into(),
            }
        };
        Ok(Self {
            namespace: or(namespace, PUBLIC),
            group: or(group, DEFAULT_GROUP),
            service: service.trim().into(),
        })
    }

    /// `group@@service`.
    pub fn grouped(&self) -> String {
        format!("{}{JOINT}{}", self.group, self.service)
    }

    /// What it is to the rest of us.
    pub(crate) fn meaning(&self) -> Meaning {
        let (group, service) = (self.group.clone(), self.service.clone());
        Source { group, service }.meaning()
    }
}

/// Who keeps a record there; the later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Mirror,
    Left,
    Beats,
    Connection(u64),
}

#[derive(Clone, Debug, PartialEq)]
struct Held {
    record: Record,
    /// Of beats the last one, of what was left when it was: steady ms.
    seen: u64,
}

#[derive(Debug, Default)]
struct Service {
    owners: BTreeMap<Owner, BTreeMap<Arc<str>, Held>>,
    /// Version of its last visible change.
    mark: u64,
    /// Since when it has nobody, steady ms.
    empty_since: Option<u64>,
}

/// The registry.
#[derive(Debug)]
pub struct Book {
    limits: Limits,
    /// Of which namespace the rest of us sees the services.
    namespace: Arc<str>,
    services: BTreeMap<Key, Service>,
    /// Live connections, and where each has registered.
    connections: BTreeMap<u64, BTreeSet<Key>>,
    /// What is known under one of our names.
    names: BTreeMap<Arc<str>, BTreeSet<Key>>,
    /// Records of clients.
    natives: usize,
    version: u64,
    /// Every namespace is this one.
    is_view: bool,
}

impl Book {
    /// Empty. `version` is where versions begin.
    pub fn new(namespace: &str, limits: Limits, version: u64) -> Self {
        Self {
            limits,
            namespace: namespace.into(),
            services: BTreeMap::new(),
            connections: BTreeMap::new(),
            names: BTreeMap::new(),
            natives: 0,
            version: version.max(1),
            is_view: false,
        }
    }

    /// As [`new`](Self::new), for a view of other registries, which is the same in each namespace.
    pub fn view(limits: Limits, version: u64) -> Self {
        Self {
            is_view: true,
            ..Self::new(PUBLIC, limits, version)
        }
    }

    /// Where what a client names stands here.
    ///
    /// # Errors
    /// A name that is none.
    pub fn key(&self, namespace: &str, group: &str, service: &str) -> Result<Key, Refusal> {
        let namespace = if self.is_view { PUBLIC } else { namespace };
        Key::new(namespace, group, service, &self.limits)
    }

    /// What is taken at most.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Instances that clients have registered.
    pub fn len(&self) -> usize {
        self.natives
    }

    /// Whether no client has registered anything.
    pub fn is_empty(&self) -> bool {
        self.natives == 0
    }

    /// A connection is set up.
    pub fn connect(&mut self, connection: u64) {
        self.connections.entry(connection).or_default();
    }

    /// A connection is gone, and everything on it.
    pub fn leave(&mut self, connection: u64, now: Moment) {
        for key in self.connections.remove(&connection).unwrap_or_default() {
            self.change(&key, now, |service| {
                service.owners.remove(&Owner::Connection(connection));
            });
        }
    }

    /// Registers on a connection: this is all that it has in that service from now on.
    ///
    /// # Errors
    /// [`Refusal::Unregistered`] if the connection is not set up, [`Refusal::Full`] if there is no room.
    pub fn register(&mut self, connection: u64, key: &Key, records: Vec<Record>, now: Moment) -> Result<(), Refusal> {
        let Some(places) = self.connections.get(&connection) else {
            return Err(Refusal::Unregistered);
        };
        if records.len() > self.limits.batch {
            let limit = self.limits.batch;
            return Err(Refusal::Full(format!("a batch has at most {limit} instances")));
        }
        if places.len() >= self.limits.services && !places.contains(key) {
            let limit = self.limits.services;
            return Err(Refusal::Full(format!(
                "a connection registers in at most {limit} services"
            )));
        }
        if let Some(record) = records.iter().find(|record| !record.ephemeral) {
            return Err(persistent(record));
        }
        let owner = Owner::Connection(connection);
        let had = self.services.get(key).and_then(|service| service.owners.get(&owner));
        self.has_room(records.len().saturating_sub(had.map_or(0, BTreeMap::len)))?;
        let seen = now.steady;
        let held: BTreeMap<_, _> = records
            .into_iter()
            .map(|record| (record.id(), Held { record, seen }))
            .collect();
        let is_empty = held.is_empty();
        self.change(key, now, |service| {
            service.take(Owner::Left, held.keys());
            match is_empty {
                true => drop(service.owners.remove(&owner)),
                false => drop(service.owners.insert(owner, held)),
            }
        });
        if let Some(places) = self.connections.get_mut(&connection) {
            match is_empty {
                true => places.remove(key),
                false => places.insert(key.clone()),
            };
        }
        Ok(())
    }

    /// Takes back what a connection has registered in that service. `record` is what the client says it was: after a restart of
    /// ours it may be gone by another connection.
    ///
    /// # Errors
    /// [`Refusal::Unregistered`] if the connection is not set up.
    pub fn deregister(&mut self, connection: u64, key: &Key, record: &Record, now: Moment) -> Result<(), Refusal> {
        let Some(places) = self.connections.get_mut(&connection) else {
            return Err(Refusal::Unregistered);
        };
        places.remove(key);
        let id = record.id();
        if self.services.contains_key(key) {
            self.change(key, now, |service| {
                service.owners.remove(&Owner::Connection(connection));
                service.take(Owner::Left, [&id].into_iter());
            });
        }
        Ok(())
    }

    /// Replaces what is mirrored of one service. What clients have registered here wins over a mirrored record of the same id.
    pub fn mirror(&mut self, key: &Key, records: Vec<Record>, now: Moment) {
        if records.is_empty() && !self.services.contains_key(key) {
            return;
        }
        let held: BTreeMap<_, _> = records
            .into_iter()
            .map(|record| (record.id(), Held { record, seen: 0 }))
            .collect();
        self.change(key, now, |service| match held.is_empty() {
            true => drop(service.owners.remove(&Owner::Mirror)),
            false => drop(service.owners.insert(Owner::Mirror, held)),
        });
    }

    /// Services that something is mirrored of.
    pub fn mirrored(&self) -> impl Iterator<Item = &Key> {
        let mirrored = |service: &Service| service.owners.contains_key(&Owner::Mirror);
        self.services
            .iter()
            .filter(move |(_, service)| mirrored(service))
            .map(|(key, _)| key)
    }

    fn has_room(&self, more: usize) -> Result<(), Refusal> {
        // Each service stands for a minute after its last instance went.
        let is_full = self.natives + more > self.limits.instances || self.services.len() > 2 * self.limits.instances;
        match is_full {
            true => Err(Refusal::Full(format!(
                "the registry has room for {} instances",
                self.limits.instances
            ))),
            false => Ok(()),
        }
    }

    /// Changes one service, and marks it if that can be seen.
    fn change(&mut self, key: &Key, now: Moment, change: impl FnOnce(&mut Service)) {
        if !self.services.contains_key(key) {
            self.services.insert(key.clone(), Service::default());
            if key.namespace == self.namespace
                && let Meaning::Service { name, .. } = key.meaning()
            {
                self.names.entry(name).or_default().insert(key.clone());
            }
        }
        let Some(service) = self.services.get_mut(key) else {
            return;
        };
        let (before, had): (Vec<Record>, usize) = (service.shown().into_values().cloned().collect(), service.natives());
        change(service);
        self.natives = self.natives + service.natives() - had;
        let after = service.shown();
        let (is_empty, is_same) = (after.is_empty(), after.values().copied().eq(&before));
        service.empty_since = is_empty.then_some(now.steady);
        if !is_same {
            self.version += 1;
            service.mark = self.version;
        }
    }

    /// Forgets services that have been empty for long.
    fn forget_empty(&mut self, now: Moment) {
        let long = |service: &Service| {
            let since = service.empty_since;
            service.owners.is_empty() && since.is_some_and(|since| now.steady.saturating_sub(since) >= EMPTY_KEPT)
        };
        let gone: Vec<Key> = self
            .services
            .iter()
            .filter(|(_, service)| long(service))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.services.remove(&key);
            if let Meaning::Service { name, .. } = key.meaning()
                && let Some(keys) = self.names.get_mut(&name)
            {
                keys.remove(&key);
                if keys.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
    }
}

impl Service {
    /// What is shown, by id.
    fn shown(&self) -> BTreeMap<&Arc<str>, &Record> {
        self.owners
            .values()
            .flatten()
            .map(|(id, held)| (id, &held.record))
            .collect()
    }

    fn natives(&self) -> usize {
        let natives = self.owners.iter().filter(|(owner, _)| **owner != Owner::Mirror);
        natives.map(|(_, held)| held.len()).sum()
    }

    fn take<'a>(&mut self, owner: Owner, ids: impl Iterator<Item = &'a Arc<str>>) {
        if let Some(held) = self.owners.get_mut(&owner) {
            for id in ids {
                held.remove(id);
            }
            if held.is_empty() {
                self.owners.remove(&owner);
            }
        }
    }
}

/// Why a persistent instance is refused.
pub(super) fn persistent(record: &Record) -> Refusal {
    Refusal::Invalid(format!(
        "persistent instances are not kept here ({}:{}): nobody would check their health. Register it with ephemeral=true",
        record.ip, record.port
    ))
}

impl Versioned for Book {
    fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests;
