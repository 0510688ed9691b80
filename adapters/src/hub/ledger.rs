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
    Host, Instance, RegistryName, RegistryView, Service,
    world::{Hold, Quarantined, ServiceView, Session},
};
use tracing::{info, warn};

use super::entry::{Entry, Existence};
use crate::{
    Knowledge,
    brake::{Brake, Evidence, Held, Loss, Moment, Probed, WINDOW},
};

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
        };
        Some(Published {
            view: Arc::new(view),
            content: std::mem::take(&mut self.content),
            changed: std::mem::take(&mut self.changed),
        })
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
        let (instances, mut unfit) = screen(&name, instances);
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

    fn gone(&mut self, now: Moment, name: &Arc<str>) {
        self.named.remove(name);
        if let Some(entry) = self.entries.get_mut(name) {
            entry.disappear(now, &self.brake);
            self.missing(now, name);
        }
    }

    /// There is something to judge: soon in a live session, else when the session catches up.
    fn missing(&mut self, now: Moment, name: &Arc<str>) {
        self.unjudged.insert(name.clone());
        if self.is_live() {
            self.settle_at.get_or_insert(now.mono + SETTLE);
        }
    }

    fn catch_up(&mut self, now: Moment) {
        let evidence = if self.is_live() {
            Evidence::FullRead
        } else {
            self.session = Session::Live { since: now.wall };
            self.caught_up = Some(now.wall);
            self.lost = None;
            self.dirty = true;
            Evidence::NewSession
        };
        for (name, entry) in &mut self.entries {
            if !self.named.contains(name) && entry.disappear(now, &self.brake) {
                self.unjudged.insert(name.clone());
            }
        }
        if evidence == Evidence::NewSession {
            for name in &self.held {
                if let Some(entry) = self.entries.get_mut(name) {
                    entry.held_all().for_each(|held| held.resume(now));
                }
            }
        }
        self.look_again(now);
        self.judge(now, evidence);
    }

    fn look_again(&mut self, now: Moment) {
        for name in &self.held {
            if let Some(entry) = self.entries.get_mut(name) {
                entry.held_all().for_each(|held| held.look(now, &self.brake));
            }
        }
    }

    /// Removes or holds what is missing. Only ever called in a live session.
    fn judge(&mut self, now: Moment, evidence: Evidence) {
        self.settle_at = None;
        let names = std::mem::take(&mut self.unjudged);
        for name in &names {
            if self.entries.get_mut(name).is_some_and(Entry::drop_replaced) {
                self.shrunk(name, now);
            }
        }
        self.recent.retain(|(at, _)| now.mono.saturating_sub(*at) < WINDOW);
        let recent: usize = self.recent.iter().map(|(_, count)| count).sum();
        let counts = self.entries.values().map(Entry::counts);
        let all = counts.fold(
            Loss {
                gone: recent,
                of: recent,
            },
            |sum, count| Loss {
                gone: sum.gone + count.gone,
                of: sum.of + count.of,
            },
        );
        let wide: Option<Arc<str>> = self.brake.registry(evidence, all).map(Into::into);
        let mut removed = 0;
        for name in names {
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            let suspect = entry.suspect.take();
            if entry.has_missing() {
                let narrow = || self.brake.service(evidence, entry.counts()).map(Into::into);
                match wide.clone().or_else(narrow).or(suspect) {
                    Some(reason) => {
                        let is_wide = wide.is_some() || evidence != Evidence::Report;
                        warn!(registry = %self.name, service = %name, reason = &*reason, "a removal is held; the instances stay in use");
                        entry.hold(|| Held::new(now, reason.clone(), is_wide));
                        entry.doubt(now.wall);
                        self.sort_out_held(&name);
                        self.show(&name);
                    }
                    None => {
                        removed += entry.remove_missing();
                        self.shrunk(&name, now);
                    }
                }
            }
            self.sweep(&name);
        }
        if removed > 0 {
            self.recent.push((now.mono, removed));
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

    /// A service has lost instances.
    fn shrunk(&mut self, name: &Arc<str>, now: Moment) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.shrunk(now.wall);
        }
        self.content = true;
        self.sort_out_held(name);
        self.show(name);
    }

    fn show(&mut self, name: &Arc<str>) {
        self.stale_views.insert(name.clone());
        self.dirty = true;
    }

    fn sort_out_held(&mut self, name: &Arc<str>) {
        if self
            .entries
            .get(name)
            .is_some_and(|entry| entry.held().next().is_some())
        {
            self.held.insert(name.clone());
        } else {
            self.held.remove(name);
        }
    }

    /// Forgets a service that is gone with the last of its instances.
    fn sweep(&mut self, name: &Arc<str>) {
        let is_over = |entry: &Entry| entry.existence == Existence::Gone && entry.counts().of == 0;
        if self.entries.get(name).is_some_and(is_over) {
            self.entries.remove(name);
            self.held.remove(name);
            self.content = true;
            self.show(name);
        }
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

/// What no adapter should let through and any registry may contain: such records are quarantined here.
fn screen(service: &Arc<str>, instances: Vec<Instance>) -> (BTreeMap<Arc<str>, Instance>, Vec<Quarantined>) {
    let mut fit: BTreeMap<Arc<str>, Instance> = BTreeMap::new();
    let mut unfit = Vec::new();
    for instance in instances {
        let reason = if instance.id.is_empty() {
            "it has no id"
        } else if fit.contains_key(&instance.id) {
            "another instance of the service has the same id; the first one is used"
        } else if matches!(&instance.host, Host::Name(name) if name.is_empty()) {
            "it has no host"
        } else if instance.ports.iter().any(|port| port.number == 0) {
            "port 0 is no port"
        } else {
            fit.insert(instance.id.clone(), instance);
            continue;
        };
        unfit.push(Quarantined {
            service: Some(service.clone()),
            record: instance.id.to_string(),
            reason: reason.to_owned(),
        });
    }
    (fit, unfit)
}

#[cfg(test)]
mod tests;
