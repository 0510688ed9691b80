//! The ledger as others read it.

use std::sync::Arc;

use landfall_model::{RegistryView, Service, world::Hold};

use super::{super::entry::Entry, Ledger, Published};
use crate::brake::Moment;

impl Ledger {
    /// All services with their instances, held ones included: what the last good view is made of.
    pub fn services(&mut self) -> Vec<Arc<Service>> {
        self.refresh();
        self.views.values().map(|view| view.service.clone()).collect()
    }

    /// The view, if it reads differently from the last one given.
    pub fn publish(&mut self, now: Moment) -> Option<Published> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        self.refresh();
        let quarantined = self.entries.values().flat_map(|entry| entry.quarantined.iter());
        let view = RegistryView {
            name: self.name.clone(),
            kind: self.kind,
            address: self.address.clone(),
            session: self.session.clone(),
            caught_up: self.caught_up,
            last_good: self.last_good,
            services: self.views.clone(),
            holds: self.holds(now),
            quarantined: self.unreadable.iter().chain(quarantined).cloned().collect(),
            governance: self.governance.clone(),
        };
        Some(Published {
            view: Arc::new(view),
            content: std::mem::take(&mut self.content),
            changed: std::mem::take(&mut self.changed),
        })
    }

    /// Brings `views` up to date.
    fn refresh(&mut self) {
        for name in std::mem::take(&mut self.stale_views) {
            match self.entries.get(&name) {
                Some(entry) => {
                    let before = self.views.get(&name).map(|view| &view.service);
                    let view = entry.view(&self.name, &name, before);
                    self.views.insert(name, Arc::new(view));
                }
                None => {
                    self.views.remove(&name);
                }
            }
        }
    }

    /// One line for each service, reason and age.
    fn holds(&self, now: Moment) -> Vec<Hold> {
        let mut holds: Vec<Hold> = Vec::new();
        for name in &self.held {
            let first = holds.len();
            for (id, held) in self.entries.get(name).into_iter().flat_map(Entry::held) {
                let until = now.wall_at(held.until(now, &self.brake));
                let same = holds[first..]
                    .iter_mut()
                    .find(|hold| hold.since == held.since && hold.reason == *held.reason);
                match same {
                    Some(hold) => {
                        hold.instances.push(id.clone());
                        hold.until = hold.until.max(until);
                    }
                    None => holds.push(Hold {
                        service: name.clone(),
                        instances: vec![id.clone()],
                        reason: held.reason.to_string(),
                        since: held.since,
                        until,
                    }),
                }
            }
        }
        holds
    }
}
