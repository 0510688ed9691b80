//! Leave to write, which ends by itself.
//!
//! The elected writer extends its permit each time its lock is confirmed; everybody who sends asks it right
//! before. A process that was frozen and wakes up after its lock was lost finds the permit run out, because the
//! time is taken from a clock that goes on while the process, or the machine, sleeps.
//!
//! ```text
//! election ── extend(until) ──▶ Permit ◀── holds()? ── publisher, before each send
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Never runs out.
const FOREVER: u64 = u64::MAX;

/// Leave to write. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Permit {
    /// In ms of [`now`]; 0 is refused.
    until: Arc<AtomicU64>,
    /// Grows with each writer elected.
    epoch: Arc<AtomicU64>,
}

impl Permit {
    /// For a process that has no rival: always holds, in the given epoch.
    pub fn always(epoch: u64) -> Self {
        Self {
            until: Arc::new(AtomicU64::new(FOREVER)),
            epoch: Arc::new(AtomicU64::new(epoch)),
        }
    }

    /// Holds once it is extended.
    pub fn refused() -> Self {
        Self {
            until: Arc::default(),
            epoch: Arc::default(),
        }
    }

    /// Whether sending is allowed at this moment.
    pub fn holds(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until == FOREVER || now() < until
    }

    /// Which writer this one is, counted over all that were elected.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Allows sending for this long from `asked`, the moment ([`now`]) before the lock was asked for.
    pub fn extend(&self, asked: u64, lasts: Duration, epoch: u64) {
        let lasts = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        self.epoch.store(epoch, Ordering::Release);
        self.until.store(asked.saturating_add(lasts), Ordering::Release);
    }

    /// Ends it now.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
}

/// Milliseconds since some moment before the process began, by a clock that also runs while everything sleeps.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_holds_from_the_moment_the_lock_was_asked_for_and_no_longer() {
        let permit = Permit::refused();
        assert!(!permit.holds());
        permit.extend(now(), Duration::from_secs(60), 7);
        assert!(permit.holds());
        assert_eq!(permit.epoch(), 7);
        permit.extend(now().saturating_sub(1000), Duration::from_millis(900), 7);
        assert!(!permit.holds(), "the answer took longer than the lock lasts");
        permit.extend(now(), Duration::from_secs(60), 8);
        permit.clone().end();
        assert!(!permit.holds());
    }

    #[test]
    fn without_rivals_it_always_holds() {
        assert!(Permit::always(1).holds());
    }
}
