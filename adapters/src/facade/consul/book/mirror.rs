//! Records of other registries, shown here as they stand there.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::record::{Check, Node, Owner, Service},
    Book,
};
use crate::facade::shared::Moment;

/// An instance as another registry has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirrored {
    /// The node it is shown on.
    pub node: String,
    /// Address of that node, if it is not known yet.
    pub node_address: String,
    /// The instance. Its id may be changed to be unique on the node.
    pub service: Service,
    /// Its checks, for the id as it is given here.
    pub checks: Vec<Check>,
}

impl Book {
    /// Replaces what is mirrored of one service; an empty list removes it. What clients have registered here wins
    /// over a mirrored record of the same id, and nothing else of theirs is touched.
    pub fn mirror(&mut self, name: &str, instances: Vec<Mirrored>, now: Moment) {
        let mut wanted: BTreeMap<(String, String), (Mirrored, Vec<Check>)> = BTreeMap::new();
        for mut one in instances {
            let holder = |book: &Self, id: &str| {
                let (service, _) = book.nodes.get(&one.node)?.services.get(id)?;
                Some((service.name.clone(), service.owner))
            };
            let id = one.service.id.clone();
            match holder(self, &id) {
                Some((other, owner)) if owner == Owner::Mirror && other != name => {
                    // Unique within a service there, on a node here.
                    one.service.id = format!("{name}:{id}");
                }
                Some((_, Owner::Agent | Owner::Catalog)) => continue,
                _ => {}
            }
            let checks = std::mem::take(&mut one.checks);
            let checks = checks.into_iter().map(|check| Check {
                id: check.id.replace(&id, &one.service.id),
                service: one.service.id.clone(),
                ..check
            });
            let checks = checks.collect();
            one.service.owner = Owner::Mirror;
            one.service.name = name.to_owned();
            wanted.insert((one.node.clone(), one.service.id.clone()), (one, checks));
        }
        let kept: BTreeSet<(String, String)> = wanted.keys().cloned().collect();
        // What comes before what goes: a name that loses all of its instances and gets others does not vanish.
        for ((node, id), (one, checks)) in wanted {
            if !self.nodes.contains_key(&node) {
                let meta = BTreeMap::from([("external-node".to_owned(), "true".to_owned())]);
                let shown = Node {
                    address: one.node_address,
                    meta,
                    ..Node::default()
                };
                self.put_node(&node, shown, Owner::Mirror);
            }
            self.put_service(&node, one.service);
            let kept: BTreeSet<String> = checks.iter().map(|check| check.id.clone()).collect();
            for check in checks {
                self.put_check(&node, check, now);
            }
            for gone in self.checks_of(&node, &id).difference(&kept) {
                self.take_check(&node, gone);
            }
        }
        let there = self.names.get(name).cloned().unwrap_or_default();
        for (node, id) in &there {
            let owner = self
                .nodes
                .get(node)
                .and_then(|place| place.services.get(id))
                .map(|(service, _)| service.owner);
            if owner == Some(Owner::Mirror) && !kept.contains(&(node.clone(), id.clone())) {
                self.take_service(node, id);
                self.drop_mirrored_node(node);
            }
        }
    }

    /// Names that something is mirrored of.
    pub fn mirrored_names(&self) -> BTreeSet<String> {
        let places = self.nodes.values().flat_map(|place| place.services.values());
        places
            .filter(|(service, _)| service.owner == Owner::Mirror)
            .map(|(service, _)| service.name.clone())
            .collect()
    }

    fn drop_mirrored_node(&mut self, node: &str) {
        if self.nodes.get(node).is_some_and(|place| place.owner == Owner::Mirror) {
            self.drop_node_if_empty(node);
        }
    }
}
