//! One lease: an instance's record and how long it stands without a heartbeat.
//!
//! ```text
//! register            no heartbeat:  over after        1 × duration
//! renew  t  ──▶ t + duration stored; over after t + 2 × duration
//! ```

use landfall_model::Status;

use super::Moment;
use crate::eureka::wire::{InstanceInfo, LeaseInfo};

/// Seconds of a lease whose client states none.
pub const DEFAULT_DURATION: i64 = 90;
/// Seconds between heartbeats when the client states none.
pub const DEFAULT_INTERVAL: i64 = 30;

/// An instance's record and its lease.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The record as readers see it, with the lease's times in it.
    pub info: InstanceInfo,
    /// Shown as another registry has it: it has no lease here and does not run out.
    pub mirrored: bool,
    duration: u64,
    /// The time of registration, or of the last renewal plus the duration.
    updated: u64,
}

impl Lease {
    /// Registered at `now`. `before` is what the record's lease said until now.
    pub fn new(mut info: InstanceInfo, before: Option<LeaseInfo>, now: Moment) -> Self {
        let or = |stated: i64, default: i64| match stated {
            1.. => stated.min(i64::from(i32::MAX)),
            _ => default,
        };
        let duration = or(info.lease.duration, DEFAULT_DURATION);
        let up_since = before.map_or(0, |lease| lease.up_since);
        info.lease = LeaseInfo {
            renewal_interval: or(info.lease.renewal_interval, DEFAULT_INTERVAL),
            duration,
            registered: now.wall,
            renewed: now.wall,
            evicted: 0,
            up_since,
        };
        let mut lease = Self {
            info,
            mirrored: false,
            duration: duration.unsigned_abs() * 1000,
            updated: now.steady,
        };
        lease.note_up(now);
        lease
    }

    /// As another registry has it.
    pub fn mirrored(info: InstanceInfo) -> Self {
        Self {
            info,
            mirrored: true,
            duration: 0,
            updated: 0,
        }
    }

    /// How long it stands without another heartbeat, ms.
    pub fn remaining(&self, now: Moment) -> u64 {
        (self.updated + self.duration).saturating_sub(now.steady)
    }

    /// Stands for that long from `now` on, and at least for one duration.
    pub fn stand_for(&mut self, remaining: u64, now: Moment) {
        self.updated = now.steady + remaining.min(2 * self.duration).saturating_sub(self.duration);
    }

    /// A heartbeat.
    pub fn renew(&mut self, now: Moment) {
        self.updated = now.steady + self.duration;
        self.info.lease.renewed = now.wall.saturating_add_unsigned(self.duration);
    }

    /// Whether it has run out.
    pub fn is_over(&self, now: Moment) -> bool {
        !self.mirrored && now.steady > self.updated + self.duration
    }

    /// Another status, seen by readers from now on.
    pub fn set_status(&mut self, status: Status, now: Moment) {
        self.info.status = Some(status);
        self.info.last_updated = now.wall;
        self.note_up(now);
    }

    /// An operator's word, or the end of it. Renews the lease, as the original does.
    pub fn override_status(&mut self, status: Status, overridden: Status, dirty: Option<i64>, now: Moment) {
        self.renew(now);
        self.set_status(status, now);
        self.info.overridden = overridden;
        self.info.last_dirty = self.info.last_dirty.max(dirty);
        self.info.action = Some(crate::eureka::wire::Action::Modified);
    }

    fn note_up(&mut self, now: Moment) {
        if self.info.status == Some(Status::Up) && self.info.lease.up_since == 0 {
            self.info.lease.up_since = now.wall;
        }
    }
}
