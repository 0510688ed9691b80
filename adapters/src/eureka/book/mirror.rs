//! Records of other registries, shown here as they stand there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Book, Moment, lease::Lease};
use crate::eureka::wire::{Action, InstanceInfo};

impl Book {
    /// Replaces what is mirrored of one application; an empty list removes it. What clients have registered here
    /// wins over a mirrored record of the same id, and nothing else of theirs is touched.
    pub fn mirror(&mut self, app: &str, instances: Vec<InstanceInfo>, now: Moment) {
        let app = app.to_uppercase();
        let mut wanted: BTreeMap<String, InstanceInfo> = BTreeMap::new();
        for info in instances {
            wanted.entry(info.instance_id.clone()).or_insert(info);
        }
        let there = self.applications.get(&app).into_iter().flatten();
        let there = there.filter(|(_, lease)| lease.mirrored).map(|(id, _)| id.clone());
        for id in there.collect::<Vec<_>>() {
            if !wanted.contains_key(&id) {
                self.remove(&app, &id, now);
            }
        }
        for (id, mut info) in wanted {
            let known = self.lease(&app, &id);
            info.app.clone_from(&app);
            info.action = Some(Action::Added);
            if let Some(known) = known {
                let differs = InstanceInfo {
                    last_updated: info.last_updated,
                    last_dirty: info.last_dirty,
                    lease: info.lease,
                    ..known.info.clone()
                } != info;
                if !known.mirrored || !differs {
                    continue;
                }
            }
            // Java's clients take the newer of two by these.
            info.last_updated = now.wall;
            info.last_dirty = Some(now.wall);
            info.lease.registered = now.wall;
            info.lease.renewed = now.wall;
            info.lease.up_since = now.wall;
            let leases = self.applications.entry(app.clone()).or_default();
            leases.insert(id.clone(), Lease::mirrored(info));
            self.changed(app.clone(), id, None, now);
        }
    }

    /// Applications that something is mirrored of.
    pub fn mirrored_names(&self) -> BTreeSet<String> {
        let mirrored = self
            .applications
            .iter()
            .filter(|(_, leases)| leases.values().any(|lease| lease.mirrored));
        mirrored.map(|(name, _)| name.clone()).collect()
    }
}
