//! The ledger: what is believed of one registry, and why. No task, no socket, no clock of its own.
//!
//! ```text
//! (now, Event) ──▶ Ledger ──▶ publish()   the view, if it reads differently now
//!                         ──▶ probes()    held instances whose ports should be tried
//!                         ──▶ wake_at()   when `tick` has something to do
//! ```
//!
//! Replaying the same events at the same moments gives the same views, so any failure can be replayed.
//!
//! # The rules (registries fail; services do not)
//!
//! - What a report adds or changes is believed at once, in any session.
//! - What a report lacks is *missing*: still in use, not yet judged. Missing instances are judged together,
//!   either when the session catches up, or 50 ms after the first of them in a session that already has
//!   (a registry that forgets everything says so in a burst). Judged means removed, or [held](crate::brake).
//! - A service that a session did not name before it caught up is missing with all its instances.
//! - An instance whose record is quarantined keeps its last known form.
//! - The end of a session removes nothing: it makes every service stale, with the time and the reason.
//!
//! Next on the path: the follower task ([`hub`](super)) publishes the view.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_model::{
    Instance, RegistryName, RegistryView, Service,
    world::{GovernanceRule, Quarantined, ServiceView, Session},
};
use tracing::info;

use super::entry::Entry;
use crate::{
    Knowledge,
    brake::{Brake, Evidence, Moment, Probed},
};

mod judge;
mod screen;
mod view;

/// Missing instances of a live session are judged together after this long.
const SETTLE: Duration = Duration::from_millis(50);

/// What happens to a ledger.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An attempt at a session begins.
    Opened,
    /// The session says something.
    Said(Knowledge),
    /// The session is over.
    Ended {
        /// Why, without secrets.
        why: String,
        /// When the next attempt begins.
        retry_at: SystemTime,
    },
    /// What a probe asked for by [`Ledger::probes`] found.
    Probed {
        /// Of which service.
        service: Arc<str>,
        /// Of which instance.
        instance: Arc<str>,
        /// What.
        found: Probed,
    },
}

/// A held instance that should be probed.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeTarget {
    /// Its service.
    pub service: Arc<str>,
    /// The instance.
    pub instance: Arc<Instance>,
}

/// What [`Ledger::publish`] gives.
#[derive(Clone, Debug)]
pub struct Published {
    /// The registry as it is believed now.
    pub view: Arc<RegistryView>,
    /// Whether services or instances differ from the last time, not only their age.
    pub content: bool,
    /// When the registry says the changes in it happened, for those of a live session.
    pub changed: Vec<SystemTime>,
}

/// What is believed of one registry.
#[derive(Debug)]
pub struct Ledger {
    name: RegistryName,
    kind: &'static str,
    address: String,
    brake: Brake,
    session: Session,
    /// Since when the session has been lost, over all attempts.
    lost: Option<SystemTime>,
    caught_up: Option<SystemTime>,
    last_good: Option<SystemTime>,
    entries: BTreeMap<Arc<str>, Entry>,
    /// Of each entry, shared with what was published.
    views: BTreeMap<Arc<str>, Arc<ServiceView>>,
    /// Named in this session.
    named: BTreeSet<Arc<str>>,
    /// Services with something to judge.
    unjudged: BTreeSet<Arc<str>>,
    /// Services with something held.
    held: BTreeSet<Arc<str>>,
    /// Services whose view is out of date.
    stale_views: BTreeSet<Arc<str>>,
    settle_at: Option<Duration>,
    /// Removals that were let through, for the share of the registry "at once".
    recent: Vec<(Duration, usize)>,
    unreadable: Vec<Quarantined>,
    governance: Vec<GovernanceRule>,
    dirty: bool,
    content: bool,
    changed: Vec<SystemTime>,
}

impl Ledger {
    /// Knows nothing yet.
    pub fn new(name: RegistryName, kind: &'static str, address: String, brake: Brake, now: Moment) -> Self {
        Self {
            name,
            kind,
            address,
            brake,
            session: Session::Connecting { since: now.wall },
            lost: None,
            caught_up: None,
            last_good: None,
            entries: BTreeMap::new(),
            views: BTreeMap::new(),
            named: BTreeSet::new(),
            unjudged: BTreeSet::new(),
            held: BTreeSet::new(),
            stale_views: BTreeSet::new(),
            settle_at: None,
            recent: Vec::new(),
            unreadable: Vec::new(),
            governance: Vec::new(),
            dirty: true,
            content: false,
            changed: Vec::new(),
        }
    }

    /// Starts from the last good view: every service is stale, since `saved_at`.
    pub fn restore(&mut self, services: impl IntoIterator<Item = Arc<Service>>, from: &str, saved_at: SystemTime) {
        let why = format!("from the last good view of {from}; not confirmed since this process started");
        for service in services {
            let name = service.id.name.clone();
            let entry = Entry::restored(&service, saved_at, why.clone());
            self.entries.insert(name.clone(), entry);
            self.stale_views.insert(name);
        }
        self.last_good = Some(saved_at);
        self.dirty = true;
    }

    /// The registry is reached in another way from now on; what was known stays.
    pub fn relocate(&mut self, kind: &'static str, address: String) {
        self.dirty |= self.kind != kind || self.address != address;
        (self.kind, self.address) = (kind, address);
    }

    /// Other limits from now on.
    pub fn limit(&mut self, brake: Brake) {
        self.brake = brake;
    }

    /// Kind and address.
    pub fn place(&self) -> (&'static str, &str) {
        (self.kind, &self.address)
    }

    /// Takes one event.
    pub fn apply(&mut self, now: Moment, event: Event) {
        match event {
            Event::Opened => self.named.clear(),
            Event::Said(knowledge) => {
                if !matches!(self.session, Session::Live { .. } | Session::CatchingUp { .. }) {
                    self.session = Session::CatchingUp { since: now.wall };
                    self.dirty = true;
                }
                self.learn(now, knowledge);
            }
            Event::Ended { why, retry_at } => self.end(now, why, retry_at),
            Event::Probed {
                service,
                instance,
                found,
            } => {
                if let Some(held) = self.entries.get_mut(&service).and_then(|e| e.held_mut(&instance)) {
                    held.probed(now, found);
                }
            }
        }
        self.tick(now);
    }

    /// Does what is due at this moment.
    pub fn tick(&mut self, now: Moment) {
        if self.settle_at.is_some_and(|at| at <= now.mono) {
            self.judge(now, Evidence::Report);
        }
        let held: Vec<_> = self.held.iter().cloned().collect();
        for name in held {
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            let released = entry.release(now, &self.brake);
            for (id, why) in &released {
                info!(registry = %self.name, service = %name, instance = %id, why = why.words(), "a held removal takes effect");
            }
            if !released.is_empty() {
                self.shrunk(&name, now);
                self.sweep(&name);
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do next, on the monotonic clock.
    pub fn wake_at(&self, now: Moment) -> Option<Duration> {
        let holds = self
            .held
            .iter()
            .filter_map(|name| self.entries.get(name))
            .flat_map(Entry::held)
            .filter_map(|(_, held)| held.deadline(now, &self.brake));
        holds.chain(self.settle_at).min()
    }

    /// Held instances whose ports should be tried now; each is named once until its result is applied.
    pub fn probes(&mut self, now: Moment) -> Vec<ProbeTarget> {
        let mut due = Vec::new();
        for name in &self.held {
            if let Some(entry) = self.entries.get_mut(name) {
                due.extend(entry.take_probes(now).into_iter().map(|instance| ProbeTarget {
                    service: name.clone(),
                    instance,
                }));
            }
        }
        due
    }

    /// Whether [`publish`](Self::publish) would give something.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether what is believed is what the registry says now.
    pub fn is_live(&self) -> bool {
        matches!(self.session, Session::Live { .. })
    }

    fn learn(&mut self, now: Moment, knowledge: Knowledge) {
        match knowledge {
            Knowledge::Service {
                name,
                instances,
                quarantined,
                changed,
            } => self.service(now, name, instances, quarantined, changed),
            Knowledge::Gone { name } => self.gone(now, &name),
            Knowledge::CaughtUp => self.catch_up(now),
            Knowledge::Confirmed => self.look_again(now),
            Knowledge::Unreadable(records) => {
                self.dirty |= self.unreadable != records;
                self.unreadable = records;
            }
            Knowledge::Governance(rules) => {
                self.dirty |= self.governance != rules;
                self.governance = rules;
            }
        }
    }

    fn service(
        &mut self,
        now: Moment,
        name: Arc<str>,
        instances: Vec<Instance>,
        quarantined: Vec<Quarantined>,
        changed: Option<SystemTime>,
    ) {
        self.named.insert(name.clone());
        let (instances, mut unfit) = screen::screen(&name, instances);
        unfit.extend(quarantined);
        let is_live = self.is_live();
        let is_new = !self.entries.contains_key(&name);
        let entry = self.entries.entry(name.clone()).or_insert_with(|| Entry::new(now.wall));
        let outcome = entry.report(now, instances, unfit, &self.brake);
        entry.fresh(now.wall, outcome.altered);
        if let Some(changed) = changed.filter(|changed| entry.changed != Some(*changed)) {
            entry.changed = Some(changed);
            if is_live && (outcome.altered || outcome.to_judge) {
                self.changed.push(changed);
            }
        }
        self.make_up_for(outcome.added);
        if outcome.dropped_holds > 0 {
            info!(registry = %self.name, service = %name, instances = outcome.dropped_holds, "held removals are dropped: the registry names the instances again");
        }
        if outcome.to_judge {
            self.missing(now, &name);
        }
        self.sort_out_held(&name);
        self.content |= outcome.altered || is_new;
        if outcome.visible || is_new {
            self.show(&name);
        }
    }

    fn end(&mut self, now: Moment, why: String, retry_at: SystemTime) {
        let first = match &self.session {
            Session::Connecting { since } => *since,
            Session::Stale { since, .. } => *since,
            Session::CatchingUp { .. } | Session::Live { .. } => now.wall,
        };
        let since = *self.lost.get_or_insert(first);
        self.settle_at = None;
        for (name, entry) in &mut self.entries {
            entry.held_all().for_each(|held| held.pause(now));
            if entry.stale(now.wall, &why) {
                self.stale_views.insert(name.clone());
            }
        }
        self.session = Session::Stale { since, why, retry_at };
        self.dirty = true;
    }
}

#[cfg(test)]
mod tests;
