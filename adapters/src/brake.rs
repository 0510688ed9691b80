//! The brake: holds a removal that is too large to be true until something confirms it.
//!
//! One instance that leaves is news; half a service that leaves in one breath is more often a
//! registry that has just lost its memory. What is held stays in use, and shows as a
//! [`Hold`](landfall_model::world::Hold) with its reason and age. Additions are never held.
//!
//! # When is a removal held?
//!
//! The weight of a removal depends on how we learned of it ([`Evidence`]). `G` is what would be gone
//! (with what is held already), `N` what there was. Per cent are those of [`Brake`].
//!
//! | learned by | of a service | of the registry |
//! |---|---|---|
//! | a single report in a live session | `G/N` ≥ 50 % and `G` ≥ 2 | `G/N` ≥ 25 % and `G` ≥ 3, or all and `G` ≥ 2; within 10 s |
//! | a full read in a live session | `G/N` ≥ 50 % | `G/N` ≥ 25 % and `G` ≥ 3; within 10 s |
//! | the first full read of a new session | `G/N` ≥ 50 % | `G/N` ≥ 25 % |
//! | a report with newly unreadable records | always | |
//!
//! So the one instance of a service that deregisters leaves at once (somebody said so, in a session that
//! goes on), and the same instance missing after a reconnect waits (a registry that restarted empty looks
//! just like that). An instance whose address is registered again under another id has not vanished: it is replaced.
//!
//! # When is it let go?
//!
//! Time counts only while the session is live: a registry that is down confirms nothing.
//!
//! | what happens | then |
//! |---|---|
//! | the registry names the instance again | the hold is dropped, the instance stays |
//! | two probes of its port in a row fail | removed |
//! | the registry says the same after a third of `hold` (at most 10 s), and the last probe did not succeed | removed |
//! | `hold` has passed, and the last probe did not succeed | removed |
//! | `hold` has passed, the last probe succeeded, only this service was concerned by a single report | removed |
//! | the last probe succeeded, after a full read or of the whole registry | kept for ten times `hold`, then removed |
//! | the session ends | everything stays; its time stands still |
//!
//! Ten times `hold` is 5 minutes by default: Eureka's clients renew every 30 s and its server caches its answers for
//! another 30 s, so one that restarted empty is complete again after a minute or two.

use std::time::{Duration, SystemTime};

use landfall_config::kinds::registry::BrakeSpec;

mod held;

pub use held::{Held, Probed, Release};

/// A point in time, handed in: `wall` is shown to people, `mono` is what deadlines are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, which may jump.
    pub wall: SystemTime,
    /// Time since an arbitrary start, which only grows.
    pub mono: Duration,
}

impl Moment {
    /// The same moment on the wall clock, `mono` apart from this one.
    pub fn wall_at(&self, mono: Duration) -> SystemTime {
        match mono.checked_sub(self.mono) {
            Some(ahead) => self.wall.checked_add(ahead),
            None => self.wall.checked_sub(self.mono.saturating_sub(mono)),
        }
        .unwrap_or(self.wall)
    }
}

/// How we learned that instances are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Reports on single services in a session that has caught up and goes on.
    Report,
    /// A full read in such a session.
    FullRead,
    /// The first full read of a session.
    NewSession,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Instances that would be gone.
    pub gone: usize,
    /// Instances there were.
    pub of: usize,
}

impl Loss {
    fn reaches(self, percent: u8) -> bool {
        self.gone > 0 && self.gone.saturating_mul(100) >= self.of.saturating_mul(usize::from(percent))
    }
}

/// Removals of this long ago still count as "at once" for the share of a registry.
pub const WINDOW: Duration = Duration::from_secs(10);

/// The limits of one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// This share of one service's instances, or more, is held.
    pub service_percent: u8,
    /// This share of the registry's instances, or more, is held.
    pub registry_percent: u8,
    /// How long.
    pub hold: Duration,
}

impl Brake {
    /// Holds nothing: for services that are listed by an operator.
    pub const OFF: Self = Self {
        service_percent: 100,
        registry_percent: 100,
        hold: Duration::ZERO,
    };

    /// Why losing that much of a service is suspicious, if it is.
    pub fn service(&self, evidence: Evidence, loss: Loss) -> Option<String> {
        let least = match evidence {
            Evidence::Report => 2,
            Evidence::FullRead | Evidence::NewSession => 1,
        };
        (self.is_on() && loss.gone >= least && loss.reaches(self.service_percent)).then(|| {
            format!(
                "{} of the service's {} instances are missing {}, which is {} % or more",
                loss.gone,
                loss.of,
                evidence.words(),
                self.service_percent
            )
        })
    }

    /// Why losing that much of the registry is suspicious, if it is.
    pub fn registry(&self, evidence: Evidence, loss: Loss) -> Option<String> {
        let least = match evidence {
            Evidence::Report if loss.gone >= loss.of => 2,
            Evidence::Report | Evidence::FullRead => 3,
            Evidence::NewSession => 1,
        };
        (self.is_on() && loss.gone >= least && loss.reaches(self.registry_percent)).then(|| {
            format!(
                "{} of the registry's {} instances are missing {}, which is {} % or more",
                loss.gone,
                loss.of,
                evidence.words(),
                self.registry_percent
            )
        })
    }

    fn is_on(&self) -> bool {
        !self.hold.is_zero()
    }
}

impl From<&BrakeSpec> for Brake {
    fn from(spec: &BrakeSpec) -> Self {
        Self {
            service_percent: spec.service_percent,
            registry_percent: spec.registry_percent,
            hold: spec.hold.get(),
        }
    }
}

impl Evidence {
    fn words(self) -> &'static str {
        match self {
            Self::Report => "at once",
            Self::FullRead => "in a full read",
            Self::NewSession => "since the session was opened again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRAKE: Brake = Brake {
        service_percent: 50,
        registry_percent: 25,
        hold: Duration::from_secs(30),
    };

    #[test]
    fn the_share_of_a_service_is_judged_as_the_table_says() {
        use Evidence::{FullRead, NewSession, Report};
        for (evidence, gone, of, is_held) in [
            (Report, 1, 1, false),
            (Report, 1, 2, false),
            (Report, 2, 2, true),
            (Report, 2, 4, true),
            (Report, 2, 5, false),
            (Report, 3, 5, true),
            (FullRead, 1, 1, true),
            (FullRead, 1, 2, true),
            (FullRead, 1, 3, false),
            (NewSession, 1, 1, true),
            (NewSession, 1, 2, true),
            (NewSession, 1, 3, false),
            (NewSession, 0, 0, false),
        ] {
            let found = BRAKE.service(evidence, Loss { gone, of });
            assert_eq!(found.is_some(), is_held, "{evidence:?} {gone} of {of}");
        }
    }

    #[test]
    fn the_share_of_a_registry_is_judged_as_the_table_says() {
        use Evidence::{FullRead, NewSession, Report};
        for (evidence, gone, of, is_held) in [
            (Report, 1, 3, false),
            (Report, 2, 3, false),
            (Report, 3, 3, true),
            (Report, 2, 2, true),
            (Report, 1, 1, false),
            (Report, 3, 12, true),
            (Report, 3, 13, false),
            (FullRead, 2, 4, false),
            (FullRead, 3, 4, true),
            (NewSession, 1, 3, true),
            (NewSession, 1, 4, true),
            (NewSession, 1, 5, false),
            (NewSession, 0, 0, false),
        ] {
            let found = BRAKE.registry(evidence, Loss { gone, of });
            assert_eq!(found.is_some(), is_held, "{evidence:?} {gone} of {of}");
        }
    }

    #[test]
    fn a_brake_without_time_holds_nothing() {
        let all = Loss { gone: 9, of: 9 };
        assert_eq!(Brake::OFF.service(Evidence::NewSession, all), None);
        let brake = Brake {
            hold: Duration::ZERO,
            ..BRAKE
        };
        assert_eq!(brake.registry(Evidence::NewSession, all), None);
    }
}
