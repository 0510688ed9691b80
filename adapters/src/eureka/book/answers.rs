//! What readers are answered from a [`Book`]: lists with their hash, single records, deltas.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Book, DELTA_WINDOW, Moment};
use crate::eureka::wire::{Application, Applications, InstanceInfo, census::Census};

impl Book {
    /// Everything.
    pub fn all(&self) -> Applications {
        self.answer(|_| true)
    }

    /// What changed in the last three minutes, with the hash of everything.
    pub fn delta(&self, now: Moment) -> Applications {
        let mut applications: BTreeMap<&str, Vec<InstanceInfo>> = BTreeMap::new();
        for ((app, id), recent) in &self.recent {
            if now.steady.saturating_sub(recent.at) > DELTA_WINDOW {
                continue;
            }
            let info = match &recent.removed {
                Some(removed) => Some((**removed).clone()),
                None => self.lease(app, id).map(|lease| lease.info.clone()),
            };
            applications.entry(app).or_default().extend(info);
        }
        Applications {
            version: Some(self.version.to_string()),
            hash: Some(self.census().to_string()),
            applications: applications
                .into_iter()
                .map(|(name, instances)| Application {
                    name: name.to_owned(),
                    instances,
                    unreadable: Vec::new(),
                })
                .collect(),
            unreadable: Vec::new(),
        }
    }

    /// One application, in any case; `None` if nobody of it is registered.
    pub fn application(&self, app: &str) -> Option<Application> {
        let name = app.to_uppercase();
        let leases = self.applications.get(&name)?;
        Some(Application {
            instances: leases.values().map(|lease| lease.info.clone()).collect(),
            name,
            unreadable: Vec::new(),
        })
    }

    /// As [`application`](Self::application), without what is mirrored.
    pub fn native_application(&self, app: &str) -> Option<Application> {
        let mut found = self.application(app)?;
        found
            .instances
            .retain(|info| self.native(&found.name, &info.instance_id).is_some());
        (!found.instances.is_empty()).then_some(found)
    }

    /// Names of services that clients have registered here, in lower case.
    pub fn native_names(&self) -> BTreeSet<Arc<str>> {
        let native = self
            .applications
            .iter()
            .filter(|(_, leases)| leases.values().any(|lease| !lease.mirrored));
        native
            .map(|(name, _)| crate::eureka::convert::service_name(name))
            .collect()
    }

    /// One instance.
    pub fn instance(&self, app: &str, id: &str) -> Option<&InstanceInfo> {
        self.lease(&app.to_uppercase(), id).map(|lease| &lease.info)
    }

    /// The first instance with that id in any application.
    pub fn instance_by_id(&self, id: &str) -> Option<&InstanceInfo> {
        self.applications
            .values()
            .find_map(|leases| leases.get(id))
            .map(|lease| &lease.info)
    }

    /// Everybody under a VIP, or a secure VIP; case counts. Nobody is an empty list.
    pub fn vip(&self, vip: &str, secure: bool) -> Applications {
        let mut answer = self.answer(|info| {
            let stated = if secure { &info.secure_vip } else { &info.vip };
            stated.iter().flat_map(|list| list.split(',')).any(|one| one == vip)
        });
        let census: Census = answer
            .applications
            .iter()
            .flat_map(|application| application.instances.iter().map(InstanceInfo::known_status))
            .collect();
        answer.hash = Some(census.to_string());
        answer
    }

    /// Applications that changed after that version and still have instances.
    pub fn changed_since(&self, version: u64) -> impl Iterator<Item = &str> {
        self.touched
            .iter()
            .filter(move |(_, touched)| **touched > version)
            .map(|(app, _)| app.as_str())
    }

    fn answer(&self, keep: impl Fn(&InstanceInfo) -> bool) -> Applications {
        let applications = self.applications.iter().map(|(name, leases)| Application {
            name: name.clone(),
            instances: leases
                .values()
                .filter(|lease| keep(&lease.info))
                .map(|lease| lease.info.clone())
                .collect(),
            unreadable: Vec::new(),
        });
        Applications {
            version: Some(self.version.to_string()),
            hash: Some(self.census().to_string()),
            applications: applications.filter(|one| !one.instances.is_empty()).collect(),
            unreadable: Vec::new(),
        }
    }

    fn census(&self) -> Census {
        self.applications
            .values()
            .flat_map(BTreeMap::values)
            .map(|lease| lease.info.known_status())
            .collect()
    }
}
