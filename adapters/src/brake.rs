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
//! | a single report in a live session | `G/N` > 50 % and `G` ≥ 2 | `G/N` > 25 % and `G` ≥ 3, or all and `G` ≥ 2; within 10 s |
//! | a full read in a live session | `G/N` > 50 % | `G/N` > 25 % and `G` ≥ 3; within 10 s |
//! | the first full read of a new session | `G/N` > 50 % | `G/N` > 25 % |
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

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::kinds::registry::BrakeSpec;

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
    fn exceeds(self, percent: u8) -> bool {
        self.gone.saturating_mul(100) > self.of.saturating_mul(usize::from(percent))
    }
}

/// Removals of this long ago still count as "at once" for the share of a registry.
pub const WINDOW: Duration = Duration::from_secs(10);

/// A held instance that answers after a registry forgot it is kept this many times `hold`.
const ANSWERING: u32 = 10;
const SECOND_LOOK: Duration = Duration::from_secs(10);
const FAILURES: u8 = 2;
const PROBE_AGAIN: Duration = Duration::from_millis(500);
const PROBE_LATER: Duration = Duration::from_secs(5);

/// The limits of one registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// Over this share of one service's instances is held.
    pub service_percent: u8,
    /// Over this share of the registry's instances is held.
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
        (self.is_on() && loss.gone >= least && loss.exceeds(self.service_percent)).then(|| {
            format!(
                "{} of the service's {} instances are missing {}, more than {} %",
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
        (self.is_on() && loss.gone >= least && loss.exceeds(self.registry_percent)).then(|| {
            format!(
                "{} of the registry's {} instances are missing {}, more than {} %",
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

/// What a probe of an instance found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// Something accepts connections there.
    Answers,
    /// Nothing does: refused, unreachable or no answer in time.
    Fails,
    /// It cannot be asked: no port, or a name that cannot be looked up.
    Unknown,
}

/// Why a held instance is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Probes failed.
    ProbesFailed,
    /// The registry said the same again.
    SecondLook,
    /// Its time has run out.
    TimeIsUp,
}

impl Release {
    /// For the log.
    pub fn words(self) -> &'static str {
        match self {
            Self::ProbesFailed => "its port does not answer",
            Self::SecondLook => "the registry said so again",
            Self::TimeIsUp => "its time has run out",
        }
    }
}

/// One instance that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// What made its removal suspicious.
    pub reason: Arc<str>,
    /// Since when.
    pub since: SystemTime,
    /// Whether more than its service, or more than a single report, was concerned.
    wide: bool,
    /// Live time before `running`.
    lived: Duration,
    /// Since when the session has been live; `None` while it is not.
    running: Option<Duration>,
    seen_twice: bool,
    answers: bool,
    failures: u8,
    /// `None` while a probe is under way.
    next_probe: Option<Duration>,
}

impl Held {
    /// Holds from now on, in a live session.
    pub fn new(now: Moment, reason: Arc<str>, wide: bool) -> Self {
        Self {
            reason,
            since: now.wall,
            wide,
            lived: Duration::ZERO,
            running: Some(now.mono),
            seen_twice: false,
            answers: false,
            failures: 0,
            next_probe: Some(now.mono),
        }
    }

    /// The session has ended: time stands still.
    pub fn pause(&mut self, now: Moment) {
        self.lived = self.lived(now);
        self.running = None;
    }

    /// A session has caught up.
    pub fn resume(&mut self, now: Moment) {
        self.running.get_or_insert(now.mono);
    }

    /// The registry says again that it does not have the instance.
    pub fn look(&mut self, now: Moment, brake: &Brake) {
        if self.lived(now) >= SECOND_LOOK.min(brake.hold / 3) {
            self.seen_twice = true;
        }
    }

    /// What a probe found.
    pub fn probed(&mut self, now: Moment, found: Probed) {
        self.answers = found == Probed::Answers;
        self.failures = match found {
            Probed::Fails => self.failures.saturating_add(1),
            Probed::Answers | Probed::Unknown => 0,
        };
        let pause = if self.failures > 0 { PROBE_AGAIN } else { PROBE_LATER };
        self.next_probe = Some(now.mono + pause);
    }

    /// Whether it is time for a probe; the caller then makes one and says what it found.
    pub fn take_probe(&mut self, now: Moment) -> bool {
        let due = self.running.is_some() && self.next_probe.is_some_and(|at| at <= now.mono);
        if due {
            self.next_probe = None;
        }
        due
    }

    /// Whether it may go now.
    pub fn release(&self, now: Moment, brake: &Brake) -> Option<Release> {
        self.running?;
        if self.failures >= FAILURES {
            Some(Release::ProbesFailed)
        } else if self.seen_twice && !self.answers {
            Some(Release::SecondLook)
        } else if self.lived(now) >= self.bound(brake) {
            Some(Release::TimeIsUp)
        } else {
            None
        }
    }

    /// When its time runs out if the session stays live.
    pub fn until(&self, now: Moment, brake: &Brake) -> Duration {
        now.mono + self.bound(brake).saturating_sub(self.lived(now))
    }

    /// When it must be looked at again, if the session is live.
    pub fn deadline(&self, now: Moment, brake: &Brake) -> Option<Duration> {
        self.running?;
        let end = self.until(now, brake);
        Some(self.next_probe.map_or(end, |probe| probe.min(end)))
    }

    fn bound(&self, brake: &Brake) -> Duration {
        if self.answers && self.wide {
            brake.hold.saturating_mul(ANSWERING)
        } else {
            brake.hold
        }
    }

    fn lived(&self, now: Moment) -> Duration {
        let running = self
            .running
            .map_or(Duration::ZERO, |from| now.mono.saturating_sub(from));
        self.lived + running
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

    fn at(seconds: u64) -> Moment {
        let mono = Duration::from_secs(seconds);
        Moment {
            wall: SystemTime::UNIX_EPOCH + mono,
            mono,
        }
    }

    fn held(wide: bool) -> Held {
        Held::new(at(0), "test".into(), wide)
    }

    #[test]
    fn the_share_of_a_service_is_judged_as_the_table_says() {
        use Evidence::{FullRead, NewSession, Report};
        for (evidence, gone, of, is_held) in [
            (Report, 1, 1, false),
            (Report, 1, 2, false),
            (Report, 2, 2, true),
            (Report, 2, 4, false),
            (Report, 3, 5, true),
            (FullRead, 1, 1, true),
            (FullRead, 1, 2, false),
            (NewSession, 1, 1, true),
            (NewSession, 1, 2, false),
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
            (Report, 3, 12, false),
            (Report, 4, 12, true),
            (FullRead, 2, 4, false),
            (FullRead, 3, 4, true),
            (NewSession, 1, 3, true),
            (NewSession, 1, 4, false),
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

    #[test]
    fn two_failing_probes_in_a_row_release() {
        let mut held = held(true);
        held.probed(at(1), Probed::Fails);
        assert_eq!(held.release(at(1), &BRAKE), None);
        held.probed(at(2), Probed::Answers);
        held.probed(at(3), Probed::Fails);
        assert_eq!(held.release(at(3), &BRAKE), None);
        held.probed(at(4), Probed::Fails);
        assert_eq!(held.release(at(4), &BRAKE), Some(Release::ProbesFailed));
    }

    #[test]
    fn a_second_look_counts_only_when_it_is_late_enough_and_nothing_answers() {
        let mut held = held(false);
        held.look(at(9), &BRAKE);
        assert_eq!(held.release(at(9), &BRAKE), None);
        held.look(at(10), &BRAKE);
        assert_eq!(held.release(at(10), &BRAKE), Some(Release::SecondLook));
        held.probed(at(11), Probed::Answers);
        assert_eq!(held.release(at(11), &BRAKE), None);
        assert_eq!(held.release(at(30), &BRAKE), Some(Release::TimeIsUp));
    }

    #[test]
    fn an_instance_that_answers_after_a_registry_forgot_it_is_kept_longer_but_not_for_ever() {
        let mut held = held(true);
        held.probed(at(1), Probed::Answers);
        held.look(at(20), &BRAKE);
        assert_eq!(held.release(at(299), &BRAKE), None);
        assert_eq!(held.release(at(300), &BRAKE), Some(Release::TimeIsUp));
    }

    #[test]
    fn time_stands_still_while_the_session_is_down() {
        let mut held = held(false);
        held.pause(at(5));
        assert_eq!(held.release(at(1000), &BRAKE), None);
        assert!(!held.take_probe(at(1000)));
        held.resume(at(1000));
        assert_eq!(held.until(at(1000), &BRAKE), Duration::from_secs(1025));
        assert_eq!(held.release(at(1024), &BRAKE), None);
        assert_eq!(held.release(at(1025), &BRAKE), Some(Release::TimeIsUp));
    }
}
