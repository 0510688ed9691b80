//! Folders become services: what each folder claims is joined by service, and only what changed is reported. Pure.
//!
//! ```text
//! put(folder, contribution) ─┐                          ┌ Service{…}   differs from what was reported
//! remove(folder) ────────────┴─▶ services touched ─ drain ┤ Gone        no folder claims it any more
//!                                                       └ Unreadable   when that list changed
//! ```
//!
//! Of several claims to one instance (host, port, protocol, service key) a native one wins over a copy
//! that Landfall wrote. Of copies that several clusters wrote that one is seen which is to stay by `sync`'s rule (shortest
//! path, then smallest path, then smallest cluster id), so that each writer sees the same one, and the other one
//! makes way. Then the application level wins, then the younger node: a provider that was killed and started again is
//! registered twice until its old session ends.
//!
//! Next on the path: the supervisor takes the reports.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use landfall_model::{
    Instance,
    world::{GovernanceRule, Quarantined},
};

use super::governance::Governance;
use crate::{publish::mark, registry::Knowledge};

/// A folder that claims services.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Folder {
    Interface(String),
    Application(String),
}

/// Where a claim was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Interface,
    Application,
    /// The application's own instance, not one of its services.
    Itself,
}

/// One node says: this is an instance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Claim {
    /// The node's name.
    pub(super) from: Arc<str>,
    pub(super) level: Level,
    pub(super) instance: Instance,
}

/// What one folder says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contribution {
    /// By service.
    pub(super) services: BTreeMap<Arc<str>, Vec<Claim>>,
    /// Records of a service that were not understood.
    pub(super) quarantined: BTreeMap<Arc<str>, Vec<Quarantined>>,
    /// Records of which not even the service is known.
    pub(super) unreadable: Vec<Quarantined>,
}

impl Contribution {
    /// The services that have an instance of this id, readable or not.
    pub(super) fn keys_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = Arc<str>> + 'a {
        let keys = self.services.iter().filter(move |(key, claims)| {
            let mut set_aside = self.quarantined.get(*key).into_iter().flatten();
            claims.iter().any(|claim| &*claim.instance.id == id) || set_aside.any(|record| record.record == id)
        });
        keys.map(|(key, _)| key.clone())
    }

    /// Sets a record aside under the id of its instance, so that the instance keeps its last known form.
    pub(super) fn set_aside(&mut self, service: Arc<str>, id: &str, place: &str, reason: &str) {
        // Whoever has an unreadable provider exists.
        self.services.entry(service.clone()).or_default();
        self.quarantined.entry(service.clone()).or_default().push(Quarantined {
            service: Some(service),
            record: id.to_owned(),
            reason: format!("{reason} ({place})"),
        });
    }
}

/// What was reported of a service.
#[derive(Debug, PartialEq)]
struct Reported {
    instances: Vec<Instance>,
    quarantined: Vec<Quarantined>,
}

/// Everything a session knows.
#[derive(Debug, Default)]
pub(super) struct Merge {
    folders: BTreeMap<Folder, Contribution>,
    /// Which folders claim a service.
    claimed: BTreeMap<Arc<str>, BTreeSet<Folder>>,
    reported: BTreeMap<Arc<str>, Reported>,
    unreadable: Vec<Quarantined>,
    /// Dubbo's own rules, once they have been read.
    governance: Option<Governance>,
    said: Option<Vec<GovernanceRule>>,
    touched: BTreeSet<Arc<str>>,
}

impl Merge {
    /// What a folder said last.
    pub(super) fn folder(&self, folder: &Folder) -> Option<&Contribution> {
        self.folders.get(folder)
    }

    /// The folders that are known.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.folders.keys()
    }

    /// Replaces what a folder says. A service it once had stays, empty, as long as the folder does.
    pub(super) fn put(&mut self, folder: Folder, mut contribution: Contribution) {
        if let Some(before) = self.folders.get(&folder) {
            for key in before.services.keys() {
                contribution.services.entry(key.clone()).or_default();
            }
        }
        for key in contribution.services.keys() {
            self.claimed.entry(key.clone()).or_default().insert(folder.clone());
            self.touched.insert(key.clone());
        }
        self.folders.insert(folder, contribution);
    }

    /// Replaces Dubbo's own rules.
    pub(super) fn govern(&mut self, governance: Governance) {
        let before = self.governance.replace(governance);
        let same = before
            .unwrap_or_default()
            .changes_as(self.governance.get_or_insert_default());
        if !same {
            self.touched.extend(self.claimed.keys().cloned());
        }
    }

    /// The folder does not exist any more.
    pub(super) fn remove(&mut self, folder: &Folder) {
        for key in self.folders.remove(folder).unwrap_or_default().services.into_keys() {
            if let Some(folders) = self.claimed.get_mut(&key) {
                folders.remove(folder);
                if folders.is_empty() {
                    self.claimed.remove(&key);
                }
            }
            self.touched.insert(key);
        }
    }

    /// What has changed since the last time.
    pub(super) fn drain(&mut self) -> Vec<Knowledge> {
        let mut news = Vec::new();
        for name in std::mem::take(&mut self.touched) {
            let Some(folders) = self.claimed.get(&name) else {
                if self.reported.remove(&name).is_some() {
                    news.push(Knowledge::Gone { name });
                }
                continue;
            };
            let contributions = || folders.iter().filter_map(|folder| self.folders.get(folder));
            let claims = contributions().filter_map(|folder| folder.services.get(&name));
            let mut instances = joined(claims.flatten());
            if let Some(governance) = &self.governance {
                let mut applications = folders.iter().filter_map(|folder| match folder {
                    Folder::Application(name) => Some(name.as_str()),
                    Folder::Interface(_) => None,
                });
                // A provider that does not say whose it is is its application's, if there is one only.
                let application = applications.next().filter(|_| applications.next().is_none());
                for instance in &mut instances {
                    governance.apply(&name, application, instance);
                }
            }
            let now = Reported {
                instances,
                quarantined: contributions()
                    .filter_map(|c| c.quarantined.get(&name))
                    .flatten()
                    .cloned()
                    .collect(),
            };
            let before = self.reported.get(&name);
            if before == Some(&now) {
                continue;
            }
            let youngest = |set: &Reported| set.instances.iter().filter_map(|instance| instance.changed).max();
            // A node that left took its time with it; only a younger one dates the change.
            let changed = youngest(&now).filter(|time| before.and_then(youngest).is_none_or(|last| *time > last));
            news.push(Knowledge::Service {
                name: name.clone(),
                instances: now.instances.clone(),
                quarantined: now.quarantined.clone(),
                changed,
            });
            self.reported.insert(name, now);
        }
        let of_rules = self.governance.iter().flat_map(|governance| &governance.unreadable);
        let unreadable = self.folders.values().flat_map(|c| &c.unreadable).chain(of_rules);
        let unreadable: Vec<Quarantined> = unreadable.cloned().collect();
        if unreadable != self.unreadable {
            self.unreadable.clone_from(&unreadable);
            news.push(Knowledge::Unreadable(unreadable));
        }
        if let Some(governance) = &self.governance
            && self.said.as_ref() != Some(&governance.rules)
        {
            self.said = Some(governance.rules.clone());
            news.push(Knowledge::Governance(governance.rules.clone()));
        }
        news
    }
}

/// Claims as instances, one for each id, sorted by id.
fn joined<'a>(claims: impl Iterator<Item = &'a Claim>) -> Vec<Instance> {
    let mut by_id: BTreeMap<&Arc<str>, Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        by_id.entry(&claim.instance.id).or_default().push(claim);
    }
    let join = |mut claims: Vec<&Claim>| {
        claims.sort_by(|a, b| rank(a).cmp(&rank(b)));
        let best = claims.pop()?;
        let mut instance = best.instance.clone();
        let other = |level: Level| {
            let same = |claim: &&&Claim| is_native(claim) == is_native(best) && way(claim) == way(best);
            let mut same = claims.iter().filter(same);
            same.find(|claim| claim.level == level)
        };
        let level = match best.level {
            // An application's own record already says what it is.
            Level::Itself => return Some(instance),
            Level::Interface => "interface",
            Level::Application => match other(Level::Interface) {
                Some(interface) => {
                    for (key, value) in &interface.instance.metadata {
                        instance.metadata.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                    "both"
                }
                None => "application",
            },
        };
        instance.metadata.insert("dubbo.level".into(), level.into());
        Some(instance)
    };
    by_id.into_values().filter_map(join).collect()
}

/// The higher is believed. The node's name makes the order total, so that equal trees read equal.
fn rank(claim: &Claim) -> (bool, Reverse<Way<'_>>, Level, Option<SystemTime>, &str) {
    let way = Reverse(way(claim));
    (is_native(claim), way, claim.level, claim.instance.changed, &claim.from)
}

/// Length of the path, path, and cluster of a copy; equal for whatever is none.
type Way<'a> = (usize, Option<&'a str>, Option<&'a str>);

fn way(claim: &Claim) -> Way<'_> {
    let get = |key: &str| claim.instance.metadata.get(key).map(|value| &**value);
    let path = get(mark::PATH);
    let length = path.map_or(0, |path| path.split(',').count());
    (length, path, get(mark::CLUSTER))
}

/// Whether it is nobody's copy. A copy beside its native one is younger as a rule, and must not hide it.
fn is_native(claim: &Claim) -> bool {
    !claim.instance.metadata.contains_key(mark::ORIGIN)
}
