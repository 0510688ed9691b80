//! The state of an Eureka server: who is registered, how long their leases last, what changed lately.
//!
//! Pure: no clock and no socket. Every operation is handed the [`Moment`] it happens at, so any history can
//! be played again. [`surface`](super::surface) puts it on HTTP; `embedded` follows it without HTTP.
//!
//! The rules are those of Netflix's server, as far as its clients can see them:
//! - **Leases** ([`lease`]): before the first heartbeat a lease ends one duration after the registration,
//!   after it *two* durations after the last heartbeat. That is a known slip of the original (a renewal stores
//!   now + duration, the check adds the duration again) on which its users' settings rest. There is no
//!   self-preservation: what has not renewed for that long is gone.
//! - **Statuses** ([`Book::register`]): DOWN, STARTING and UNKNOWN are taken as they come; else an
//!   override wins; else an UP or OUT_OF_SERVICE instance keeps its status over a new registration.
//! - **lastDirtyTimestamp**: a registration older than what is known renews the lease but changes nothing; a
//!   heartbeat newer than what is known is answered *unknown*, so that the client registers again.
//! - **Delta**: the last three minutes, one entry for each instance, with the hash of the full registry.
//!
//! Records can also be *mirrored*: shown as another registry has them, without a lease. Nobody renews or cancels
//! them here, and who registers under the id of one takes its place.
//!
//! Different on purpose: a status that changes with a heartbeat shows in the delta; an override is stored even
//! if the instance already has that status; `versions__delta` grows with every change, in full answers too.

use std::collections::{BTreeMap, HashMap};

use landfall_model::Status;

use self::{check::check, lease::Lease};
use super::wire::{Action, InstanceInfo};
use crate::facade::{shared::Versioned, traffic::Leases};

pub use self::{check::Limits, saved::Saved};
pub use crate::facade::shared::Moment;

mod answers;
mod check;
pub mod lease;
mod mirror;
mod saved;

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such instance, or the client knows more than we do: it shall register (again).
    #[error("no such instance")]
    Unknown,
    /// The record lacks something; the text is what Netflix's server says.
    #[error("{0}")]
    Invalid(String),
    /// The record is larger than the limits.
    #[error("{0}")]
    TooLarge(String),
    /// The registry is full.
    #[error("the registry holds {0} instances, which is its limit")]
    Full(usize),
}

/// How long a change stays in the delta, ms. (Eureka's `retentionTimeInMSInDeltaQueue`.)
pub const DELTA_WINDOW: u64 = 180_000;
/// How long an override lives after its last use, ms.
pub const OVERRIDE_LIFE: u64 = 3_600_000;

/// The registry.
#[derive(Debug, Default)]
pub struct Book {
    limits: Limits,
    applications: BTreeMap<String, BTreeMap<String, Lease>>,
    /// By instance id alone, as the original keeps them.
    overrides: HashMap<String, (Status, u64)>,
    recent: BTreeMap<(String, String), Recent>,
    /// When each application last changed, as a version; those without instances are dropped.
    touched: BTreeMap<String, u64>,
    version: u64,
    /// Leases that have run out since the start.
    evicted: u64,
}

#[derive(Debug)]
struct Recent {
    at: u64,
    /// The record at its end; `None` while it is still registered.
    removed: Option<Box<InstanceInfo>>,
}

impl Book {
    /// An empty registry.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// An empty registry whose version begins there: a client that remembers the version of an earlier run must
    /// not take a new one for it.
    pub fn starting_at(limits: Limits, version: u64) -> Self {
        Self {
            limits,
            version,
            ..Self::default()
        }
    }

    /// Grows with every change that readers can see, except renewal times.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many instances are registered.
    pub fn len(&self) -> usize {
        self.applications.values().map(BTreeMap::len).sum()
    }

    /// How many clients have registered here, and how many were taken out.
    pub fn leases(&self) -> Leases {
        let all = self.applications.values().flat_map(BTreeMap::values);
        Leases {
            held: all.filter(|lease| !lease.mirrored).count(),
            evicted: self.evicted,
        }
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.applications.is_empty()
    }

    /// Registers an instance, or registers it again. `app` is from the path, in any case.
    pub fn register(&mut self, app: &str, mut info: InstanceInfo, now: Moment) -> Result<(), Refusal> {
        let app = app.to_uppercase();
        check(&app, &info, &self.limits)?;
        let id = info.instance_id.clone();
        if self.lease(&app, &id).is_some_and(|known| known.mirrored)
            && let Some(leases) = self.applications.get_mut(&app)
        {
            leases.remove(&id);
        }
        let known = self.lease(&app, &id);
        if known.is_none() && self.len() >= self.limits.instances {
            return Err(Refusal::Full(self.limits.instances));
        }
        info.app = app.clone();
        let incoming = info.status.unwrap_or(Status::Up);
        let dirty = info.last_dirty.unwrap_or(now.wall);
        info.status = Some(incoming);
        info.last_dirty = Some(dirty);
        if let Some(known) = known.filter(|known| known.info.last_dirty > Some(dirty)) {
            info = known.info.clone();
        }
        if info.overridden != Status::Unknown && self.override_of(&id, now).is_none() {
            self.overrides.insert(id.clone(), (info.overridden, now.steady));
        }
        if let Some(status) = self.override_of(&id, now) {
            info.overridden = status;
        }
        let existing = self.lease(&app, &id).map(|known| known.info.known_status());
        info.status = Some(self.status_rule(&id, info.known_status(), existing, now));
        info.action = Some(Action::Added);
        info.last_updated = now.wall;
        let before = self.lease(&app, &id).map(|known| known.info.lease);
        let lease = Lease::new(info, before, now);
        self.applications
            .entry(app.clone())
            .or_default()
            .insert(id.clone(), lease);
        self.changed(app, id, None, now);
        Ok(())
    }

    /// A heartbeat. `dirty` is the client's `lastDirtyTimestamp`, if it sent one.
    pub fn renew(&mut self, app: &str, id: &str, dirty: Option<i64>, now: Moment) -> Result<(), Refusal> {
        let app = app.to_uppercase();
        let current = self.native(&app, id).ok_or(Refusal::Unknown)?.info.known_status();
        let status = self.status_rule(id, current, Some(current), now);
        // The original fails the renewal of an UNKNOWN instance, so its client registers again.
        if status == Status::Unknown {
            return Err(Refusal::Unknown);
        }
        let lease = self.lease_mut(&app, id).ok_or(Refusal::Unknown)?;
        lease.renew(now);
        let known = lease.info.last_dirty;
        if status != current {
            lease.set_status(status, now);
            lease.info.action = Some(Action::Modified);
            self.changed(app, id.to_owned(), None, now);
        }
        match dirty {
            Some(dirty) if Some(dirty) > known => Err(Refusal::Unknown),
            _ => Ok(()),
        }
    }

    /// Takes an instance out.
    pub fn cancel(&mut self, app: &str, id: &str, now: Moment) -> Result<(), Refusal> {
        let app = app.to_uppercase();
        self.native(&app, id).ok_or(Refusal::Unknown)?;
        self.remove(&app, id, now).then_some(()).ok_or(Refusal::Unknown)
    }

    /// Overrides the status until it is taken back, the instance is cancelled, or nobody asks for an hour.
    pub fn set_override(
        &mut self,
        app: &str,
        id: &str,
        status: Status,
        dirty: Option<i64>,
        now: Moment,
    ) -> Result<(), Refusal> {
        let app = app.to_uppercase();
        let lease = self.lease_mut(&app, id).ok_or(Refusal::Unknown)?;
        lease.override_status(status, status, dirty, now);
        self.overrides.insert(id.to_owned(), (status, now.steady));
        self.changed(app, id.to_owned(), None, now);
        Ok(())
    }

    /// Takes the override back. Without a status to go on with, the instance is UNKNOWN until its next
    /// heartbeat, which makes it register again.
    pub fn remove_override(
        &mut self,
        app: &str,
        id: &str,
        status: Option<Status>,
        dirty: Option<i64>,
        now: Moment,
    ) -> Result<(), Refusal> {
        let app = app.to_uppercase();
        let lease = self.lease_mut(&app, id).ok_or(Refusal::Unknown)?;
        lease.renew(now);
        if self.overrides.remove(id).is_some() {
            if let Some(lease) = self.lease_mut(&app, id) {
                lease.override_status(status.unwrap_or(Status::Unknown), Status::Unknown, dirty, now);
            }
            self.changed(app, id.to_owned(), None, now);
        }
        Ok(())
    }

    /// Adds and replaces metadata. As in the original this registers the instance again.
    pub fn add_metadata(
        &mut self,
        app: &str,
        id: &str,
        pairs: impl IntoIterator<Item = (String, String)>,
        now: Moment,
    ) -> Result<(), Refusal> {
        let mut info = self
            .native(&app.to_uppercase(), id)
            .ok_or(Refusal::Unknown)?
            .info
            .clone();
        info.metadata.extend(pairs);
        self.register(app, info, now)
    }

    /// Ends the leases that have run out. Returns how many.
    pub fn expire(&mut self, now: Moment) -> usize {
        let over: Vec<(String, String)> = self
            .applications
            .iter()
            .flat_map(|(app, leases)| leases.iter().map(move |(id, lease)| (app, id, lease)))
            .filter(|(_, _, lease)| lease.is_over(now))
            .map(|(app, id, _)| (app.clone(), id.clone()))
            .collect();
        for (app, id) in &over {
            self.remove(app, id, now);
        }
        self.evicted += over.len() as u64;
        self.recent
            .retain(|_, recent| now.steady.saturating_sub(recent.at) <= DELTA_WINDOW);
        self.overrides
            .retain(|_, (_, used)| now.steady.saturating_sub(*used) <= OVERRIDE_LIFE);
        over.len()
    }

    /// The status an instance gets: the first rule that fits (Netflix/eureka: `registry/rule`).
    fn status_rule(&mut self, id: &str, incoming: Status, existing: Option<Status>, now: Moment) -> Status {
        let serves = |status: &Status| matches!(status, Status::Up | Status::OutOfService);
        if !serves(&incoming) {
            return incoming;
        }
        self.override_of(id, now)
            .or(existing.filter(serves))
            .unwrap_or(incoming)
    }

    fn override_of(&mut self, id: &str, now: Moment) -> Option<Status> {
        let (status, used) = self.overrides.get_mut(id)?;
        if now.steady.saturating_sub(*used) > OVERRIDE_LIFE {
            return None;
        }
        *used = now.steady;
        Some(*status)
    }

    fn lease(&self, app: &str, id: &str) -> Option<&Lease> {
        self.applications.get(app)?.get(id)
    }

    /// One that a client has registered here.
    fn native(&self, app: &str, id: &str) -> Option<&Lease> {
        self.lease(app, id).filter(|lease| !lease.mirrored)
    }

    /// One that a client has registered here.
    fn lease_mut(&mut self, app: &str, id: &str) -> Option<&mut Lease> {
        self.applications
            .get_mut(app)?
            .get_mut(id)
            .filter(|lease| !lease.mirrored)
    }

    fn remove(&mut self, app: &str, id: &str, now: Moment) -> bool {
        let Some(leases) = self.applications.get_mut(app) else {
            return false;
        };
        let Some(lease) = leases.remove(id) else {
            return false;
        };
        if leases.is_empty() {
            self.applications.remove(app);
        }
        self.overrides.remove(id);
        let mut info = lease.info;
        info.action = Some(Action::Deleted);
        info.last_updated = now.wall;
        info.lease.evicted = now.wall;
        self.changed(app.to_owned(), id.to_owned(), Some(Box::new(info)), now);
        true
    }

    fn changed(&mut self, app: String, id: String, removed: Option<Box<InstanceInfo>>, now: Moment) {
        self.version += 1;
        if self.applications.contains_key(&app) {
            self.touched.insert(app.clone(), self.version);
        } else {
            self.touched.remove(&app);
        }
        self.recent.insert(
            (app, id),
            Recent {
                at: now.steady,
                removed,
            },
        );
        // Someone who registers under ever new ids must not fill the memory. Readers of the delta that miss
        // an entry for it see that the hash disagrees, and fetch everything.
        while self.recent.len() > self.limits.instances.saturating_mul(2) {
            let oldest = self.recent.iter().min_by_key(|(_, recent)| recent.at);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            self.recent.remove(&key);
        }
    }
}

impl Versioned for Book {
    fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests;
