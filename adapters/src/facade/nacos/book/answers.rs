//! What readers are answered, in Nacos' own shapes.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::{Book, Key, Owner};
use crate::facade::{nacos::record::Record, shared::Moment};

/// Which instances of a service are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Of these clusters, joined by commas; empty for all.
    pub clusters: String,
    /// Healthy ones only.
    pub healthy_only: bool,
}

impl Asked {
    fn takes(&self, record: &Record) -> bool {
        let mut clusters = self
            .clusters
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .peekable();
        let here = clusters.peek().is_none() || clusters.any(|name| name == record.cluster);
        // Whoever is switched off is for administrators alone.
        here && record.enabled && (record.healthy || !self.healthy_only)
    }
}

impl Book {
    /// A `serviceInfo`, with the version of what it shows.
    pub fn info(&self, key: &Key, asked: &Asked, now: Moment) -> (Value, u64) {
        let service = self.services.get(key);
        let shown = service.map(super::Service::shown).unwrap_or_default();
        let hosts: Vec<Value> = shown
            .values()
            .filter(|record| asked.takes(record))
            .map(|record| record.json(key))
            .collect();
        let info = json!({
            "name": key.service, "groupName": key.group, "clusters": asked.clusters, "cacheMillis": 10_000,
            "hosts": hosts, "lastRefTime": now.wall, "checksum": "", "allIPs": false,
            "reachProtectionThreshold": false, "valid": true,
        });
        (info, service.map_or(0, |service| service.mark))
    }

    /// One instance, whether it is enabled or not.
    pub fn instance(&self, key: &Key, id: &str) -> Option<Record> {
        let shown = self.services.get(key)?.shown();
        let mut found = shown.iter().filter(|(known, _)| ****known == *id);
        found.next().map(|(_, record)| (*record).clone())
    }

    /// Whether anything is shown there.
    pub fn has(&self, key: &Key) -> bool {
        self.services
            .get(key)
            .is_some_and(|service| !service.shown().is_empty())
    }

    /// Names of the clusters of a service.
    pub fn clusters(&self, key: &Key) -> BTreeSet<String> {
        let shown = self.services.get(key).map(super::Service::shown).unwrap_or_default();
        shown.into_values().map(|record| record.cluster.clone()).collect()
    }

    /// The version of a service's last change; 0 for one that nobody has.
    pub fn mark_of(&self, key: &Key) -> u64 {
        self.services.get(key).map_or(0, |service| service.mark)
    }

    /// Names of a group's services: how many there are, and one page of them.
    pub fn page(&self, namespace: &str, group: &str, page: usize, size: usize) -> (usize, Vec<Arc<str>>) {
        let all = self.services.iter().filter(|(key, service)| {
            *key.namespace == *namespace && *key.group == *group && !service.shown().is_empty()
        });
        let names: Vec<Arc<str>> = all.map(|(key, _)| key.service.clone()).collect();
        let page = names
            .iter()
            .skip(page.saturating_sub(1).saturating_mul(size))
            .take(size);
        (names.len(), page.cloned().collect())
    }

    /// The same service in the namespace that the rest of us sees.
    pub fn own(&self, key: &Key) -> Key {
        Key {
            namespace: self.namespace.clone(),
            ..key.clone()
        }
    }

    /// Our names of what clients have registered.
    pub fn native_names(&self) -> BTreeSet<Arc<str>> {
        let native = |key: &Key| self.services.get(key).is_some_and(|service| service.natives() > 0);
        let names = self.names.iter().filter(|(_, keys)| keys.iter().any(native));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// Our names of what has changed after that version.
    pub fn changed_since(&self, version: u64) -> BTreeSet<Arc<str>> {
        let new = |key: &Key| self.mark_of(key) > version;
        let names = self.names.iter().filter(|(_, keys)| keys.iter().any(new));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// What clients have registered under one of our names, each service as Nacos would tell it; those switched off are among them.
    pub(crate) fn native_info(&self, name: &str) -> Vec<(Key, Value)> {
        let keys = self.names.get(name).into_iter().flatten();
        let infos = keys.filter_map(|key| {
            let owners = &self.services.get(key)?.owners;
            let mut natives = std::collections::BTreeMap::new();
            for (owner, held) in owners {
                if *owner != Owner::Mirror {
                    natives.extend(held.iter().map(|(id, held)| (id, &held.record)));
                }
            }
            let hosts: Vec<Value> = natives.into_values().map(|record| record.json(key)).collect();
            let info = json!({ "name": key.service, "groupName": key.group, "hosts": hosts });
            (!hosts.is_empty()).then(|| (key.clone(), info))
        });
        infos.collect()
    }
}
