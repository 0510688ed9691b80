//! One service in the ledger: its instances, and how each of them stands.
//!
//! ```text
//!            in the report
//!          ┌───────────────┐
//!          ▼               │
//! Said ──▶ Missing ──▶ Held ──▶ removed
//!   │         └───────────────▶ removed
//!   └──▶ Unreadable: its record is quarantined, its last form stays
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use landfall_model::{
    Freshness, Instance, RegistryName, Service, ServiceId,
    world::{Quarantined, ServiceView},
};

use crate::brake::{Brake, Held, Loss, Moment, Release};

/// What the registry says of the service as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existence {
    Exists,
    /// It says, or by catching up without it implies, that there is no such service.
    Gone,
}

/// How an instance stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// As the registry says.
    Said,
    /// Its record is there but could not be understood.
    Unreadable,
    /// No longer in the registry; not judged yet.
    Missing,
    /// No longer in the registry; held by the brake.
    Held(Box<Held>),
}

#[derive(Debug)]
struct Kept {
    instance: Arc<Instance>,
    standing: Standing,
}

/// One service.
#[derive(Debug)]
pub(super) struct Entry {
    kept: BTreeMap<Arc<str>, Kept>,
    pub(super) existence: Existence,
    freshness: Freshness,
    /// Since when it reads as it does.
    reads_since: SystemTime,
    pub(super) quarantined: Vec<Quarantined>,
    /// When the registry says it last changed.
    pub(super) changed: Option<SystemTime>,
    /// Why the last report should not be believed in what it lacks.
    pub(super) suspect: Option<Arc<str>>,
}

/// What a report did to an entry.
#[derive(Default)]
pub(super) struct Outcome {
    /// Instances were added, or read differently.
    pub(super) altered: bool,
    /// The view has changed, if only in its age, holds or quarantine.
    pub(super) visible: bool,
    /// Instances are missing, or held ones may have been replaced.
    pub(super) to_judge: bool,
    pub(super) added: usize,
    pub(super) dropped_holds: usize,
}

impl Standing {
    /// Whether the instance would go if nothing held it.
    fn is_leaving(&self) -> bool {
        matches!(self, Self::Missing | Self::Held(_))
    }
}

impl Entry {
    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            kept: BTreeMap::new(),
            existence: Existence::Exists,
            freshness: Freshness::Fresh { since: now },
            reads_since: now,
            quarantined: Vec::new(),
            changed: None,
            suspect: None,
        }
    }

    pub(super) fn restored(service: &Service, since: SystemTime, why: String) -> Self {
        let kept = |instance: &Arc<Instance>| Kept {
            instance: instance.clone(),
            standing: Standing::Said,
        };
        let instances = service.instances.iter();
        Self {
            kept: instances.map(|i| (i.id.clone(), kept(i))).collect(),
            freshness: Freshness::Stale { since, why },
            ..Self::new(since)
        }
    }

    /// Takes a complete report: adds and changes at once, marks what is missing.
    pub(super) fn report(
        &mut self,
        now: Moment,
        instances: BTreeMap<Arc<str>, Instance>,
        quarantined: Vec<Quarantined>,
        brake: &Brake,
    ) -> Outcome {
        let mut outcome = Outcome {
            visible: self.quarantined != quarantined || self.existence == Existence::Gone,
            ..Outcome::default()
        };
        self.existence = Existence::Exists;
        let unreadable: BTreeSet<&str> = quarantined.iter().map(|record| &*record.record).collect();
        for (id, kept) in &mut self.kept {
            if instances.contains_key(id) {
                continue;
            }
            if unreadable.contains(&**id) {
                outcome.dropped_holds += usize::from(matches!(kept.standing, Standing::Held(_)));
                kept.standing = Standing::Unreadable;
                continue;
            }
            outcome.to_judge = true;
            match &mut kept.standing {
                Standing::Held(held) => held.look(now, brake),
                standing => *standing = Standing::Missing,
            }
        }
        // Records that cannot be read and name nobody may be the very instances that are missing.
        let known: BTreeSet<&str> = self.quarantined.iter().map(|record| &*record.record).collect();
        let nameless = unreadable
            .iter()
            .filter(|record| {
                !known.contains(*record) && !self.kept.contains_key(**record) && !instances.contains_key(**record)
            })
            .count();
        if nameless > 0 && outcome.to_judge {
            self.suspect = Some(format!("{nameless} records of the service have become unreadable").into());
        }
        for (id, instance) in instances {
            match self.kept.get_mut(&id) {
                Some(kept) => {
                    outcome.dropped_holds += usize::from(matches!(kept.standing, Standing::Held(_)));
                    kept.standing = Standing::Said;
                    if *kept.instance != instance {
                        kept.instance = Arc::new(instance);
                        outcome.altered = true;
                    }
                }
                None => {
                    let kept = Kept {
                        instance: Arc::new(instance),
                        standing: Standing::Said,
                    };
                    self.kept.insert(id, kept);
                    outcome.added += 1;
                    outcome.altered = true;
                }
            }
        }
        self.quarantined = quarantined;
        outcome.visible |= outcome.altered || outcome.dropped_holds > 0 || !self.is_fresh();
        outcome
    }

    /// The registry does not have the service: all of it is missing. Whether that is news.
    pub(super) fn disappear(&mut self, now: Moment, brake: &Brake) -> bool {
        let is_news = self.existence == Existence::Exists;
        self.existence = Existence::Gone;
        self.suspect = None;
        for kept in self.kept.values_mut() {
            match &mut kept.standing {
                Standing::Held(held) => held.look(now, brake),
                standing => *standing = Standing::Missing,
            }
        }
        is_news || self.has_missing()
    }

    /// Removes leaving instances whose address is registered under another id. Whether there were any.
    pub(super) fn drop_replaced(&mut self) -> bool {
        let place = |instance: &Instance| Some((instance.host.clone(), instance.ports.first()?.number));
        let staying: BTreeSet<_> = self
            .kept
            .values()
            .filter(|kept| matches!(kept.standing, Standing::Said))
            .filter_map(|kept| place(&kept.instance))
            .collect();
        let before = self.kept.len();
        self.kept.retain(|_, kept| {
            !kept.standing.is_leaving() || place(&kept.instance).is_none_or(|place| !staying.contains(&place))
        });
        self.kept.len() < before
    }

    /// Instances that are leaving, of all.
    pub(super) fn counts(&self) -> Loss {
        Loss {
            gone: self.kept.values().filter(|kept| kept.standing.is_leaving()).count(),
            of: self.kept.len(),
        }
    }

    pub(super) fn has_missing(&self) -> bool {
        self.kept
            .values()
            .any(|kept| matches!(kept.standing, Standing::Missing))
    }

    /// Holds what is missing.
    pub(super) fn hold(&mut self, held: impl Fn() -> Held) {
        for kept in self.kept.values_mut() {
            if matches!(kept.standing, Standing::Missing) {
                kept.standing = Standing::Held(Box::new(held()));
            }
        }
    }

    /// Removes what is missing and says how many that were.
    pub(super) fn remove_missing(&mut self) -> usize {
        let before = self.kept.len();
        self.kept.retain(|_, kept| !matches!(kept.standing, Standing::Missing));
        before - self.kept.len()
    }

    /// Removes held instances that may go now.
    pub(super) fn release(&mut self, now: Moment, brake: &Brake) -> Vec<(Arc<str>, Release)> {
        let released: Vec<_> = self
            .held()
            .filter_map(|(id, held)| Some((id.clone(), held.release(now, brake)?)))
            .collect();
        for (id, _) in &released {
            self.kept.remove(id);
        }
        released
    }

    pub(super) fn held(&self) -> impl Iterator<Item = (&Arc<str>, &Held)> {
        self.kept.iter().filter_map(|(id, kept)| match &kept.standing {
            Standing::Held(held) => Some((id, &**held)),
            _ => None,
        })
    }

    pub(super) fn held_all(&mut self) -> impl Iterator<Item = &mut Held> {
        self.kept.values_mut().filter_map(|kept| match &mut kept.standing {
            Standing::Held(held) => Some(&mut **held),
            _ => None,
        })
    }

    pub(super) fn held_mut(&mut self, id: &str) -> Option<&mut Held> {
        match &mut self.kept.get_mut(id)?.standing {
            Standing::Held(held) => Some(held),
            _ => None,
        }
    }

    /// Held instances whose probe is due.
    pub(super) fn take_probes(&mut self, now: Moment) -> Vec<Arc<Instance>> {
        let mut due = Vec::new();
        for kept in self.kept.values_mut() {
            if let Standing::Held(held) = &mut kept.standing
                && held.take_probe(now)
            {
                due.push(kept.instance.clone());
            }
        }
        due
    }

    fn is_fresh(&self) -> bool {
        matches!(self.freshness, Freshness::Fresh { .. })
    }

    /// The registry has just named it.
    pub(super) fn fresh(&mut self, now: SystemTime, altered: bool) {
        if altered {
            self.reads_since = now;
        }
        self.freshness = Freshness::Fresh {
            since: self.reads_since,
        };
    }

    /// Instances were removed.
    pub(super) fn shrunk(&mut self, now: SystemTime) {
        self.reads_since = now;
        if self.is_fresh() {
            self.freshness = Freshness::Fresh { since: now };
        }
    }

    /// What is left of a service that the registry does not name is not fresh, even if the registry is there again.
    pub(super) fn doubt(&mut self, now: SystemTime) {
        if self.existence == Existence::Gone {
            let since = match self.freshness {
                Freshness::Stale { since, .. } => since,
                Freshness::Fresh { .. } => now,
            };
            let why = "the registry does not name it any more; its removal is held".to_owned();
            self.freshness = Freshness::Stale { since, why };
        }
    }

    /// The session has ended. Whether that is news.
    pub(super) fn stale(&mut self, now: SystemTime, why: &str) -> bool {
        let is_news = self.is_fresh();
        if is_news {
            self.freshness = Freshness::Stale {
                since: now,
                why: why.to_owned(),
            };
        }
        is_news
    }

    /// As it is published. `before` is used again if nothing in it has changed.
    pub(super) fn view(&self, registry: &RegistryName, name: &Arc<str>, before: Option<&Arc<Service>>) -> ServiceView {
        let instances = || self.kept.values().map(|kept| &kept.instance);
        let same = before.filter(|service| {
            service.instances.len() == self.kept.len()
                && service
                    .instances
                    .iter()
                    .zip(instances())
                    .all(|(a, b)| Arc::ptr_eq(a, b))
        });
        let service = same.cloned().unwrap_or_else(|| {
            Arc::new(Service {
                id: ServiceId::new(registry.clone(), name.clone()),
                instances: instances().cloned().collect(),
            })
        });
        ServiceView {
            service,
            freshness: self.freshness.clone(),
        }
    }
}
