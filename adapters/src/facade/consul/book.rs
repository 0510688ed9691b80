//! The state of a Consul facade: nodes, services, checks, keys, and the index of each thing that can be waited for.
//!
//! Pure: no clock and no socket. Every operation is handed the [`Moment`] it happens at.
//! [`surface`](super::surface) puts it on HTTP, [`probes`](super::probes) runs its checks.
//!
//! ```text
//! index   one counter, raised by every change that readers can see; begins at the time of the start in ms, so it
//!         does not go backwards over restarts
//! marks   what a query waits for, each with the index of its last change:
//!         listing (names and tags) · nodes · checks · service x · extinct (a name went) · kv
//! ```
//!
//! An answer's index is its mark's. A name that nobody has waits for `extinct`, as in Consul: when the last instance
//! goes, the name's mark is dropped and `extinct` has a higher one. So no index ever goes backwards, and a query
//! wakes when what it shows has changed (one for a missing name also when another name goes).
//!
//! Different from Consul on purpose: the listing's index moves only if names or tags did; a check whose output
//! alone changed wakes nobody (a real agent delays such changes by five minutes).

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Check, Health, Node, Owner, Probe, Service, Value};
use crate::facade::{
    shared::{Moment, Versioned},
    traffic::Leases,
};

mod answers;
mod catalog;
mod checks;
mod kv;
mod limits;
mod mirror;
mod saved;

pub use answers::{Filter, Watch};
pub use checks::Due;
pub use limits::Limits;
pub use mirror::Mirrored;
pub use saved::Saved;

/// Why an operation was refused; the texts are Consul's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such service or check: the client may register again.
    #[error("{0}")]
    Unknown(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The registry is full.
    #[error("{0}")]
    Full(String),
}

/// Who the facade says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the datacenter.
    pub datacenter: String,
    /// Name of the one node that clients register on.
    pub node: String,
    /// Address of that node.
    pub address: String,
    /// UUID of that node: the same for the same name.
    pub id: String,
}

/// The registry.
#[derive(Debug)]
pub struct Book {
    identity: Identity,
    limits: Limits,
    nodes: BTreeMap<String, Place>,
    /// Node and id of each instance, by name of the service.
    names: BTreeMap<String, BTreeSet<(String, String)>>,
    /// Name to all tags of its instances: what `/v1/catalog/services` shows.
    listing: BTreeMap<String, BTreeSet<String>>,
    kv: BTreeMap<String, Value>,
    index: u64,
    marks: Marks,
    /// Services taken out because they had been critical for too long, since the start.
    evicted: u64,
}

#[derive(Debug)]
struct Marks {
    listing: u64,
    nodes: u64,
    checks: u64,
    extinct: u64,
    kv: u64,
    services: BTreeMap<String, u64>,
}

/// When a record was made and when it last changed, as indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp {
    created: u64,
    modified: u64,
}

/// A node with all that is on it.
#[derive(Debug, Default)]
struct Place {
    node: Node,
    stamp: Stamp,
    services: BTreeMap<String, (Service, Stamp)>,
    checks: BTreeMap<String, Watched>,
    /// Ids of the checks of each service; under the empty id those of the node.
    of: BTreeMap<String, BTreeSet<String>>,
    owner: Owner,
}

/// A check with what is known of its present life.
#[derive(Debug)]
struct Watched {
    check: Check,
    stamp: Stamp,
    /// When its TTL ends, or its next probe is due.
    next: u64,
    /// A probe is under way.
    running: bool,
    good: u32,
    bad: u32,
    critical_since: Option<u64>,
}

impl Book {
    /// With nothing but its own node. `index` is where indexes begin, at least 2.
    pub fn new(identity: Identity, limits: Limits, index: u64) -> Self {
        let index = index.max(2);
        let mut book = Self {
            limits,
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            listing: BTreeMap::new(),
            kv: BTreeMap::new(),
            index,
            marks: Marks {
                listing: index,
                nodes: index,
                checks: index,
                extinct: index,
                kv: index,
                services: BTreeMap::new(),
            },
            evicted: 0,
            identity,
        };
        let stamp = Stamp {
            created: index,
            modified: index,
        };
        let address = book.identity.address.clone();
        let tags = ["lan", "lan_ipv4", "wan", "wan_ipv4"];
        let place = Place {
            node: Node {
                id: book.identity.id.clone(),
                tagged: tags.map(|tag| (tag.to_owned(), address.clone())).into(),
                address,
                meta: BTreeMap::from([("consul-network-segment".to_owned(), String::new())]),
            },
            stamp,
            ..Place::default()
        };
        book.nodes.insert(book.identity.node.clone(), place);
        let alive = Check {
            id: "serfHealth".to_owned(),
            name: "Serf Health Status".to_owned(),
            status: Health::Passing,
            notes: String::new(),
            output: "Agent alive and reachable".to_owned(),
            service: String::new(),
            probe: Probe::Stated,
            interval: 0,
            timeout: 0,
            deregister_after: 0,
            good_before: 0,
            bad_before: 0,
        };
        book.put_check(&book.identity.node.clone(), alive, Moment::default());
        book
    }

    /// Who it says it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many instances there are, mirrored ones included.
    pub fn len(&self) -> usize {
        self.nodes.values().map(|place| place.services.len()).sum()
    }

    /// How many clients have registered here, and how many were taken out.
    pub fn leases(&self) -> Leases {
        let all = self.nodes.values().flat_map(|place| place.services.values());
        Leases {
            held: all.filter(|(service, _)| service.owner != Owner::Mirror).count(),
            evicted: self.evicted,
        }
    }

    /// Whether there is no instance.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Registers a service with the agent, or registers it again: checks of the same id keep their status,
    /// others stay unless `replace_checks`.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] with what is wrong, [`Refusal::Full`].
    pub fn register(
        &mut self,
        service: Service,
        checks: Vec<Check>,
        replace_checks: bool,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.limits.check_service(&service)?;
        checks.iter().try_for_each(|check| self.limits.check_check(check))?;
        let node = self.identity.node.clone();
        self.room_for(&node, &service.id, &checks)?;
        let id = service.id.clone();
        self.put_service(
            &node,
            Service {
                owner: Owner::Agent,
                ..service
            },
        );
        let kept: BTreeSet<String> = checks.iter().map(|check| check.id.clone()).collect();
        for check in checks {
            self.put_check(&node, check, now);
        }
        if replace_checks {
            let maintenance = maintenance_id(&id);
            for gone in self.checks_of(&node, &id) {
                if !kept.contains(&gone) && gone != maintenance {
                    self.take_check(&node, &gone);
                }
            }
        }
        Ok(())
    }

    /// Takes a service of the agent's own node out, with its checks.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn deregister(&mut self, id: &str) -> Result<(), Refusal> {
        let node = self.identity.node.clone();
        match self.own_service(id) {
            Some(_) => {
                self.take_service(&node, id);
                Ok(())
            }
            None => Err(unknown_service(id)),
        }
    }

    /// Takes a service out of traffic, or puts it back.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn maintain(&mut self, id: &str, on: bool, reason: &str, now: Moment) -> Result<(), Refusal> {
        if self.own_service(id).is_none() {
            return Err(unknown_service(id));
        }
        self.maintenance_check(id, maintenance_id(id), "Service Maintenance Mode", on, reason, now);
        Ok(())
    }

    /// Takes the whole node out of traffic, or puts it back.
    pub fn maintain_node(&mut self, on: bool, reason: &str, now: Moment) {
        self.maintenance_check(
            "",
            "_node_maintenance".to_owned(),
            "Node Maintenance Mode",
            on,
            reason,
            now,
        );
    }

    fn maintenance_check(&mut self, service: &str, id: String, name: &str, on: bool, reason: &str, now: Moment) {
        let node = self.identity.node.clone();
        if !on {
            self.take_check(&node, &id);
            return;
        }
        let what = if service.is_empty() { "node" } else { "service" };
        let notes = match reason {
            "" => format!(
                "Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message."
            ),
            reason => reason.chars().take(self.limits.text).collect(),
        };
        let check = Check {
            id,
            name: name.to_owned(),
            status: Health::Critical,
            notes,
            output: String::new(),
            service: service.to_owned(),
            probe: Probe::Stated,
            interval: 0,
            timeout: 0,
            deregister_after: 0,
            good_before: 0,
            bad_before: 0,
        };
        self.put_check(&node, check, now);
    }

    /// A service that clients have registered with the agent.
    fn own_service(&self, id: &str) -> Option<&Service> {
        let (service, _) = self.nodes.get(&self.identity.node)?.services.get(id)?;
        (service.owner != Owner::Mirror).then_some(service)
    }

    fn room_for(&self, node: &str, id: &str, checks: &[Check]) -> Result<(), Refusal> {
        let place = self.nodes.get(node);
        let known = place.is_some_and(|place| place.services.contains_key(id));
        if !known && self.len() >= self.limits.instances {
            let limit = self.limits.instances;
            return Err(Refusal::Full(format!(
                "the registry holds {limit} instances, which is its limit"
            )));
        }
        let held: usize = self.nodes.values().map(|place| place.checks.len()).sum();
        if held + checks.len() > self.limits.instances * 2 {
            let limit = self.limits.instances * 2;
            return Err(Refusal::Full(format!(
                "the registry holds {limit} checks, which is its limit"
            )));
        }
        Ok(())
    }

    fn checks_of(&self, node: &str, service: &str) -> BTreeSet<String> {
        let place = self.nodes.get(node);
        place
            .and_then(|place| place.of.get(service).cloned())
            .unwrap_or_default()
    }

    /// The next index.
    fn turn(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    /// Marks a change of that name, and of the listing if its tags read differently now.
    fn touch(&mut self, name: &str, index: u64) {
        let Some(instances) = self.names.get(name) else {
            // The last one went.
            self.marks.services.remove(name);
            self.marks.extinct = index;
            if self.listing.remove(name).is_some() {
                self.marks.listing = index;
            }
            return;
        };
        self.marks.services.insert(name.to_owned(), index);
        let tags: BTreeSet<String> = instances
            .iter()
            .filter_map(|(node, id)| Some(&self.nodes.get(node)?.services.get(id)?.0))
            .flat_map(|service| service.tags.iter().cloned())
            .collect();
        if self.listing.get(name) != Some(&tags) {
            self.listing.insert(name.to_owned(), tags);
            self.marks.listing = index;
        }
    }

    /// Marks a change of a check.
    fn touch_check(&mut self, node: &str, service: &str, index: u64) {
        self.marks.checks = index;
        let Some(place) = self.nodes.get(node) else { return };
        // A check of the node stands with each of its services.
        let names: BTreeSet<String> = match service {
            "" => place
                .services
                .values()
                .map(|(service, _)| service.name.clone())
                .collect(),
            id => place
                .services
                .get(id)
                .map(|(service, _)| service.name.clone())
                .into_iter()
                .collect(),
        };
        for name in names {
            self.marks.services.insert(name, index);
        }
    }

    /// Puts a service on a node that exists. Nothing happens if it stands there already, just so.
    fn put_service(&mut self, node: &str, service: Service) {
        let known = self.nodes.get(node).and_then(|place| place.services.get(&service.id));
        if known.is_some_and(|(known, _)| *known == service) {
            return;
        }
        let created = known.map(|(_, stamp)| stamp.created);
        // Its checks show its name and tags.
        let differs = |known: &Service| known.name != service.name || known.tags != service.tags;
        let shown_by_checks = known.is_some_and(|(known, _)| differs(known));
        let renamed = known
            .map(|(known, _)| known.name.clone())
            .filter(|name| *name != service.name);
        let index = self.turn();
        if let Some(name) = renamed {
            self.forget_name(&name, node, &service.id);
            self.touch(&name, index);
        }
        if shown_by_checks && !self.checks_of(node, &service.id).is_empty() {
            self.marks.checks = index;
        }
        let stamp = Stamp {
            created: created.unwrap_or(index),
            modified: index,
        };
        let name = service.name.clone();
        let names = self.names.entry(name.clone()).or_default();
        names.insert((node.to_owned(), service.id.clone()));
        if let Some(place) = self.nodes.get_mut(node) {
            place.services.insert(service.id.clone(), (service, stamp));
        }
        self.touch(&name, index);
    }

    fn take_service(&mut self, node: &str, id: &str) {
        for check in self.checks_of(node, id) {
            self.take_check(node, &check);
        }
        let taken = self.nodes.get_mut(node).and_then(|place| place.services.remove(id));
        if let Some((service, _)) = taken {
            let index = self.turn();
            self.forget_name(&service.name, node, id);
            self.touch(&service.name, index);
        }
    }

    fn forget_name(&mut self, name: &str, node: &str, id: &str) {
        if let Some(instances) = self.names.get_mut(name) {
            instances.remove(&(node.to_owned(), id.to_owned()));
            if instances.is_empty() {
                self.names.remove(name);
            }
        }
    }

    /// Puts a check on a node that exists. One that is there keeps its status and output.
    fn put_check(&mut self, node: &str, check: Check, now: Moment) {
        let known = self.nodes.get(node).and_then(|place| place.checks.get(&check.id));
        let known_check = known.map(|watched| watched.check.clone());
        let created = known.map(|watched| watched.stamp.created);
        let critical_since = known.and_then(|watched| watched.critical_since);
        let mut check = check;
        if let Some(known) = known_check.as_ref().filter(|_| check.probe != Probe::Stated) {
            check.status = known.status;
            check.output.clone_from(&known.output);
        }
        let next = match check.probe {
            Probe::Ttl(ttl) => now.steady + ttl,
            // Spread, so that a thousand checks registered at once are not run at once.
            Probe::Http { .. } | Probe::Tcp(_) | Probe::Inherited(_) => {
                now.steady + fastrand::u64(0..=check.interval.min(1000))
            }
            Probe::Stated => u64::MAX,
        };
        if known_check.as_ref() == Some(&check) {
            // Registered again just so: only a TTL begins anew.
            let watched = self
                .nodes
                .get_mut(node)
                .and_then(|place| place.checks.get_mut(&check.id));
            if let Some(watched) = watched.filter(|watched| matches!(watched.check.probe, Probe::Ttl(_))) {
                watched.next = next;
            }
            return;
        }
        if let Some(known) = known_check.filter(|known| known.service != check.service) {
            // The same id for another service: the former one loses it.
            self.take_check(node, &known.id);
        }
        let index = self.turn();
        let Some(place) = self.nodes.get_mut(node) else { return };
        let service = check.service.clone();
        place.of.entry(service.clone()).or_default().insert(check.id.clone());
        let critical = check.status == Health::Critical;
        // Restored after a connection to it failed: the next one that does not undoes it.
        let bad = match &check.probe {
            Probe::Inherited(address) if critical && !address.is_empty() => check.bad_before,
            _ => 0,
        };
        place.checks.insert(
            check.id.clone(),
            Watched {
                stamp: Stamp {
                    created: created.unwrap_or(index),
                    modified: index,
                },
                check,
                next,
                running: false,
                good: 0,
                bad,
                critical_since: critical.then(|| critical_since.unwrap_or(now.steady)),
            },
        );
        self.touch_check(node, &service, index);
    }

    fn take_check(&mut self, node: &str, id: &str) -> bool {
        let Some(place) = self.nodes.get_mut(node) else {
            return false;
        };
        let Some(taken) = place.checks.remove(id) else {
            return false;
        };
        let service = taken.check.service;
        if let Some(ids) = place.of.get_mut(&service) {
            ids.remove(id);
            if ids.is_empty() {
                place.of.remove(&service);
            }
        }
        let index = self.turn();
        self.touch_check(node, &service, index);
        true
    }
}

impl Versioned for Book {
    fn version(&self) -> u64 {
        self.index
    }
}

fn maintenance_id(service: &str) -> String {
    format!("_service_maintenance:{service}")
}

fn unknown_service(id: &str) -> Refusal {
    Refusal::Unknown(format!(
        "Unknown service ID \"{}\". Ensure that the service ID is passed, not the service name.",
        id.escape_debug()
    ))
}

#[cfg(test)]
mod tests;
