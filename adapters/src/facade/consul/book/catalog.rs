//! The catalog's endpoints: records without an owner, on any node. No check of them is run and nothing expires.

use super::{
    super::record::{Check, Node, Owner, Service},
    Book, Place, Refusal, Stamp,
};
use crate::facade::shared::Moment;

impl Book {
    /// Registers a node, and a service and checks on it.
    ///
    /// A service that a client keeps through the agent stays as the agent has it, as a real agent would restore it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn catalog_register(
        &mut self,
        name: &str,
        node: Node,
        skip_node_update: bool,
        service: Option<Service>,
        checks: Vec<Check>,
        now: Moment,
    ) -> Result<(), Refusal> {
        let texts = [name.to_owned(), node.id.clone(), node.address.clone()];
        self.limits.check_texts(&texts)?;
        self.limits
            .check_meta(&node.meta)
            .map_err(|what| Refusal::Invalid(format!("Invalid Node Meta: {what}")))?;
        if let Some(service) = &service {
            self.limits.check_service(service)?;
        }
        checks.iter().try_for_each(|check| self.limits.check_check(check))?;
        let id = service.as_ref().map_or("", |service| service.id.as_str());
        self.room_for(name, id, &checks)?;
        if !self.nodes.contains_key(name) && self.nodes.len() >= self.limits.instances {
            return Err(Refusal::Full("the registry holds as many nodes as it can".to_owned()));
        }
        // The agent's own node is the agent's.
        if name != self.identity.node && !(skip_node_update && self.nodes.contains_key(name)) {
            self.put_node(name, node, Owner::Catalog);
        }
        if let Some(service) = service.filter(|service| !self.is_agents(name, &service.id)) {
            let service = Service {
                owner: Owner::Catalog,
                ..service
            };
            self.put_service(name, service);
        }
        for check in checks {
            let known = |id: &str| {
                self.nodes
                    .get(name)
                    .is_some_and(|place| place.services.contains_key(id))
            };
            if !check.service.is_empty() && !known(&check.service) {
                return Err(Refusal::Invalid(format!(
                    "Unknown service ID '{}' for check ID '{}'",
                    check.service.escape_debug(),
                    check.id.escape_debug()
                )));
            }
            if !self.is_agents(name, &check.service) {
                self.put_check(name, check, now);
            }
        }
        Ok(())
    }

    /// Removes a service, or a check, or without both the node with all that is on it; but nothing that a client
    /// keeps through the agent.
    pub fn catalog_deregister(&mut self, node: &str, service: Option<&str>, check: Option<&str>) {
        match (service, check) {
            (Some(id), _) => {
                if !self.is_agents(node, id) {
                    self.take_service(node, id);
                }
            }
            (None, Some(id)) => {
                let of = self.nodes.get(node).and_then(|place| place.checks.get(id));
                let of = of.map(|watched| watched.check.service.clone());
                if of.is_some_and(|of| !self.is_agents(node, &of)) {
                    self.take_check(node, id);
                }
            }
            (None, None) => {
                let services = self
                    .nodes
                    .get(node)
                    .map(|place| place.services.keys().cloned().collect());
                let services: Vec<String> = services.unwrap_or_default();
                for id in services {
                    self.catalog_deregister(node, Some(&id), None);
                }
                if node != self.identity.node {
                    self.drop_node_if_empty(node);
                }
            }
        }
    }

    /// Whether a client keeps it through the agent; an empty id stands for the agent's node itself.
    fn is_agents(&self, node: &str, id: &str) -> bool {
        if node != self.identity.node {
            return false;
        }
        let Some(place) = self.nodes.get(node) else { return true };
        match place.services.get(id) {
            Some((service, _)) => service.owner != Owner::Catalog,
            None => id.is_empty(),
        }
    }

    pub(super) fn put_node(&mut self, name: &str, node: Node, owner: Owner) {
        if let Some(place) = self.nodes.get_mut(name) {
            if place.node == node {
                return;
            }
            let services: Vec<String> = place
                .services
                .values()
                .map(|(service, _)| service.name.clone())
                .collect();
            place.node = node;
            self.index += 1;
            place.stamp.modified = self.index;
            self.marks.nodes = self.index;
            for service in services {
                self.marks.services.insert(service, self.index);
            }
            return;
        }
        let index = self.turn();
        self.marks.nodes = index;
        let stamp = Stamp {
            created: index,
            modified: index,
        };
        let place = Place {
            node,
            stamp,
            owner,
            ..Place::default()
        };
        self.nodes.insert(name.to_owned(), place);
    }

    pub(super) fn drop_node_if_empty(&mut self, name: &str) {
        if self.nodes.get(name).is_some_and(|place| place.services.is_empty()) {
            self.nodes.remove(name);
            let index = self.turn();
            self.marks.nodes = index;
            self.marks.checks = index;
        }
    }
}
