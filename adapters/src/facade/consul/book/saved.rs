//! What of the book is kept over a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    super::record::{Check, Node, Owner, Service, Value},
    Book,
};
use crate::facade::shared::Moment;

/// The book on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The last index that was given out.
    pub index: u64,
    /// By name.
    #[serde(default)]
    pub nodes: BTreeMap<String, SavedNode>,
    /// By key.
    #[serde(default)]
    pub kv: BTreeMap<String, Value>,
}

/// A node on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedNode {
    node: Node,
    services: Vec<Service>,
    checks: Vec<Check>,
}

impl Saved {
    /// Whether nobody was registered, and nothing is under any key.
    pub fn is_empty(&self) -> bool {
        self.kv.is_empty() && self.nodes.values().all(|node| node.services.is_empty())
    }
}

impl Book {
    /// What is worth keeping: nothing that is mirrored.
    pub fn saved(&self) -> Saved {
        let nodes = self.nodes.iter().filter(|(_, place)| place.owner != Owner::Mirror);
        let nodes = nodes.map(|(name, place)| {
            let services = place.services.values().map(|(service, _)| service);
            let services: Vec<Service> = services.filter(|one| one.owner != Owner::Mirror).cloned().collect();
            // Sorted by id, as the map they came from.
            let kept = |check: &Check| {
                check.service.is_empty() || services.binary_search_by(|one| one.id.cmp(&check.service)).is_ok()
            };
            let checks = place.checks.values().map(|watched| &watched.check);
            let checks = checks.filter(|check| check.id != "serfHealth").cloned();
            let checks = checks.filter(|check| kept(check)).collect();
            let saved = SavedNode {
                node: place.node.clone(),
                services,
                checks,
            };
            (name.clone(), saved)
        });
        Saved {
            index: self.index,
            nodes: nodes.collect(),
            kv: self.kv.clone(),
        }
    }

    /// Fills an empty book. Every TTL begins anew, and so does the time a service may stay critical: nobody is
    /// taken out because we were not there to be told.
    pub fn restore(&mut self, saved: Saved, now: Moment) {
        for (name, place) in saved.nodes {
            // A node of a former name of ours lives on as one of the catalog's; its services move to the present one.
            let agents = place.services.iter().any(|service| service.owner == Owner::Agent);
            let target = if agents { self.identity.node.clone() } else { name };
            if target != self.identity.node {
                self.put_node(&target, place.node, Owner::Catalog);
            }
            for service in place.services {
                if self.limits.check_service(&service).is_ok() {
                    self.put_service(&target, service);
                }
            }
            for check in place.checks {
                let known = |id: &str| {
                    self.nodes
                        .get(&target)
                        .is_some_and(|place| place.services.contains_key(id))
                };
                if check.service.is_empty() || known(&check.service) {
                    self.put_check(&target, check, now);
                }
            }
        }
        self.kv = saved.kv;
        self.marks.kv = self.index;
    }
}
