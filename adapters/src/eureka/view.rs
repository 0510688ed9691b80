//! What one session knows of an Eureka registry: filled by a full fetch, kept by deltas.
//!
//! ```text
//! full fetch ──▶ View::of ──▶ disagreement(hash)? ──▶ knowledge(every service)
//! delta      ──▶ apply    ──▶ disagreement(hash)? ──▶ knowledge(the changed ones)
//! ```
//!
//! A delta is everything of the last three minutes, not of the last poll, so the same entries come again
//! and again: only what differs from what is known counts as a change. An entry that is older than what is
//! known (the server answers the two questions from separately timed caches) is passed over.
//!
//! Records that cannot be used stay in the view with their status, because the server counts them too.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry as Slot},
    sync::Arc,
    time::SystemTime,
};

use landfall_config::kinds::registry::EurekaAddress;
use landfall_model::{Instance, Status, world::Quarantined};

use super::{
    convert,
    wire::{Action, Application, Applications, InstanceInfo, Unreadable, census::Census},
};
use crate::registry::Knowledge;

/// Characters of a record's id, or of its text, that are shown.
const SHOWN: usize = 256;

/// The registry as one session knows it.
#[derive(Debug)]
pub struct View {
    address: EurekaAddress,
    services: BTreeMap<Arc<str>, Entry>,
    unreadable: Vec<Quarantined>,
    /// Whole applications that could not be read: how many instances they hold is not known.
    lost_applications: bool,
}

/// One service.
#[derive(Debug, Default)]
struct Entry {
    records: BTreeMap<Arc<str>, Record>,
    /// Without an id, or the second one with an id.
    nameless: Vec<(Option<Status>, Quarantined)>,
    changed: Option<SystemTime>,
}

#[derive(Debug, PartialEq)]
struct Record {
    status: Option<Status>,
    /// Server's time of its last change, ms.
    updated: i64,
    content: Result<Instance, Quarantined>,
}

impl View {
    /// From a full fetch.
    pub fn of(answer: Applications, address: EurekaAddress) -> Self {
        let mut view = Self {
            address,
            services: BTreeMap::new(),
            unreadable: Vec::new(),
            lost_applications: false,
        };
        view.note_unreadable(answer.unreadable);
        for application in answer.applications {
            view.add_application(application, &mut |entry, id, record| {
                match entry.records.entry(id) {
                    Slot::Vacant(slot) => {
                        slot.insert(record);
                    }
                    // Not under its bare id: that would say that the first one cannot be read.
                    Slot::Occupied(slot) => {
                        let record_name = format!("{} (again)", slot.key());
                        let second = quarantined(None, &record_name, "a second record with this id".to_owned());
                        entry.nameless.push((record.status, second));
                    }
                }
            });
        }
        view
    }

    /// Applies a delta. Returns the services that read differently now, or are gone.
    pub fn apply(&mut self, delta: Applications) -> BTreeSet<Arc<str>> {
        let mut changed = BTreeSet::new();
        self.note_unreadable(delta.unreadable);
        for mut application in delta.applications {
            let name = name_of(&application);
            let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut application.instances)
                .into_iter()
                .partition(|info| info.action == Some(Action::Deleted));
            application.instances = kept;
            if let Some(name) = &name {
                for info in gone {
                    if self.remove(name, &info) {
                        changed.insert(name.clone());
                    }
                }
            }
            // A delta repeats itself; what could not be read in it must not pile up.
            if application.instances.is_empty() && application.unreadable.is_empty() {
                continue;
            }
            let nameless = |view: &Self| match name.as_ref().and_then(|name| view.services.get(name)) {
                Some(entry) => entry.nameless.len(),
                None => 0,
            };
            let (before, mut differs) = (nameless(self), false);
            self.add_application(application, &mut |entry, id, record| {
                let known = entry.records.get(&id);
                let older = known.is_some_and(|known| is_older(record.updated, known.updated));
                if !older && known != Some(&record) {
                    entry.records.insert(id, record);
                    differs = true;
                }
            });
            differs |= nameless(self) != before;
            if let Some(name) = name.filter(|_| differs) {
                changed.insert(name);
            }
        }
        changed
    }

    /// What is not right between what is known and the server's hash of it; `None` if they agree or the
    /// server computes none.
    ///
    /// No `regions` are asked for, so a server with remote regions merges all it knows into the answer, and
    /// its hash covers just that: the hash of a full fetch always describes the same answer. One that says
    /// something else has lost a part on its way, or was still being filled.
    pub fn disagreement(&self, hash: Option<&str>) -> Option<String> {
        let said = Census::parse(hash?)?;
        if self.lost_applications {
            return None;
        }
        let mut seen = Census::default();
        let mut twice = Census::default();
        for entry in self.services.values() {
            for record in entry.records.values() {
                count(&mut seen, record.status);
            }
            for (status, _) in &entry.nameless {
                count(&mut twice, *status);
            }
        }
        if seen.agrees_with(&said) {
            return None;
        }
        // Whether a server counts records with one id once or twice is its own affair.
        let text = seen.to_string();
        for entry in self.services.values() {
            entry.nameless.iter().for_each(|(status, _)| count(&mut seen, *status));
        }
        if twice.total() > 0 && seen.agrees_with(&said) {
            return None;
        }
        Some(format!("its hash says `{said}`, its list says `{text}`"))
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Names of all services, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.services.keys()
    }

    /// Whether there is such a service.
    pub fn has(&self, name: &str) -> bool {
        self.services.contains_key(name)
    }

    /// Records that belong to no service.
    pub fn unreadable(&self) -> &[Quarantined] {
        &self.unreadable
    }

    /// What is known of one service; that it is gone if nothing is.
    pub fn knowledge(&self, name: &Arc<str>) -> Knowledge {
        let Some(entry) = self.services.get(name) else {
            return Knowledge::Gone { name: name.clone() };
        };
        let mut instances = Vec::with_capacity(entry.records.len());
        let mut quarantined: Vec<_> = entry.nameless.iter().map(|(_, record)| record.clone()).collect();
        for record in entry.records.values() {
            match &record.content {
                Ok(instance) => instances.push(instance.clone()),
                Err(reason) => quarantined.push(reason.clone()),
            }
        }
        convert::level_weights(&mut instances);
        for record in &mut quarantined {
            record.service = Some(name.clone());
        }
        Knowledge::Service {
            name: name.clone(),
            changed: instances.iter().filter_map(|i| i.changed).chain(entry.changed).max(),
            instances,
            quarantined,
        }
    }

    fn note_unreadable(&mut self, entries: Vec<Unreadable>) {
        for Unreadable { sample, reason } in entries {
            self.lost_applications = true;
            let entry = quarantined(None, &sample, format!("an application that cannot be read: {reason}"));
            if !self.unreadable.contains(&entry) {
                self.unreadable.push(entry);
            }
        }
    }

    fn add_application(&mut self, application: Application, put: &mut dyn FnMut(&mut Entry, Arc<str>, Record)) {
        let Some(name) = name_of(&application) else {
            self.lost_applications = true;
            let entry = quarantined(
                None,
                "application",
                "neither it nor its instances have a name".to_owned(),
            );
            if !self.unreadable.contains(&entry) {
                self.unreadable.push(entry);
            }
            return;
        };
        let address = self.address;
        let entry = self.services.entry(name.clone()).or_default();
        for info in application.instances {
            let content = convert::instance(&info, &name, address)
                .map_err(|reason| quarantined(Some(&name), &info.instance_id, reason));
            entry.changed = entry.changed.max(info.changed().and_then(convert::time));
            if info.instance_id.is_empty() {
                if let Err(reason) = content {
                    entry.note_nameless(info.status, reason);
                }
                continue;
            }
            let record = Record {
                status: info.status,
                updated: info.last_updated,
                content,
            };
            put(entry, info.instance_id.into(), record);
        }
        for Unreadable { sample, reason } in application.unreadable {
            entry.note_nameless(None, quarantined(Some(&name), &sample, reason));
        }
    }

    fn remove(&mut self, name: &Arc<str>, info: &InstanceInfo) -> bool {
        let Some(entry) = self.services.get_mut(name) else {
            return false;
        };
        let id = info.instance_id.as_str();
        match entry.records.get(id) {
            Some(known) if !is_older(info.last_updated, known.updated) => {}
            _ => return false,
        }
        entry.records.remove(id);
        entry.changed = entry.changed.max(info.changed().and_then(convert::time));
        // Eureka lists no application without instances: the last one takes the name along.
        if entry.records.is_empty() && entry.nameless.is_empty() {
            self.services.remove(name);
        }
        true
    }
}

impl Entry {
    fn note_nameless(&mut self, status: Option<Status>, record: Quarantined) {
        if !self.nameless.iter().any(|(_, known)| *known == record) {
            self.nameless.push((status, record));
        }
    }
}

/// By the server's own clock; a time of 0 says nothing.
fn is_older(one: i64, other: i64) -> bool {
    one > 0 && other > 0 && one < other
}

fn count(census: &mut Census, status: Option<Status>) {
    match status {
        Some(status) => census.add(status),
        // The server may have put its own default in its place.
        None => census.add_unclear(),
    }
}

/// The service's name: the application's own, else that of the first instance that has one.
fn name_of(application: &Application) -> Option<Arc<str>> {
    std::iter::once(application.name.as_str())
        .chain(application.instances.iter().map(|info| info.app.as_str()))
        .find(|name| !name.is_empty())
        .map(convert::service_name)
}

fn quarantined(service: Option<&Arc<str>>, record: &str, reason: String) -> Quarantined {
    Quarantined {
        service: service.cloned(),
        record: match record {
            "" => "without an id".to_owned(),
            text => text.chars().take(SHOWN).collect(),
        },
        reason,
    }
}

#[cfg(test)]
mod tests;
