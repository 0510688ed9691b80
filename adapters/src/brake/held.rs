//! One held instance: how long it has been held, what probes found, and when it may go.
//!
//! The table is in the parent module.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Brake, Moment};

/// A held instance that answers after a registry forgot it is kept this many times `hold`.
const ANSWERING: u32 = 10;
const SECOND_LOOK: Duration = Duration::from_secs(10);
const FAILURES: u8 = 2;
const PROBE_AGAIN: Duration = Duration::from_millis(500);
const PROBE_LATER: Duration = Duration::from_secs(5);

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
