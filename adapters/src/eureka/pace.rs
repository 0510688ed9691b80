//! When to ask for everything and when a delta will do. Pure: the clock is handed in.
//!
//! A full fetch is due at the start, after `full_fetch`, when the last good answer is so old that the
//! three minutes of a delta may not reach back to it, while the server refuses deltas, and when the hash
//! disagrees. A disagreement right after a change is normal (the server caches both answers separately
//! for up to 30 s), so if it lasts, full fetches become rarer instead of coming with every poll.

use std::time::Duration;

use tokio::time::Instant;

/// A delta covers 180 s, but may have been made 30 s before it was read, and so may the answer before it.
pub const DELTA_REACH: Duration = Duration::from_secs(150);

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Everything.
    Full,
    /// The changes of the last three minutes.
    Delta,
}

/// Remembers what was answered when.
#[derive(Debug)]
pub struct Pace {
    full_every: Duration,
    last_full: Option<Instant>,
    last_good: Option<Instant>,
    no_delta_until: Option<Instant>,
    mismatches: u32,
}

impl Pace {
    /// At the start of a session: nothing has been answered yet.
    pub fn new(full_every: Duration) -> Self {
        Self {
            full_every,
            last_full: None,
            last_good: None,
            no_delta_until: None,
            mismatches: 0,
        }
    }

    /// What to ask for now.
    pub fn ask(&self, now: Instant) -> Ask {
        let (Some(full), Some(good)) = (self.last_full, self.last_good) else {
            return Ask::Full;
        };
        let refused = self.no_delta_until.is_some_and(|until| now < until);
        if refused || now.duration_since(full) >= self.full_every || now.duration_since(good) > DELTA_REACH {
            Ask::Full
        } else {
            Ask::Delta
        }
    }

    /// A full fetch that was begun at `asked` has been read.
    pub fn full_read(&mut self, asked: Instant) {
        self.last_full = Some(asked);
        self.last_good = Some(asked);
    }

    /// A delta that was begun at `asked` has been applied and agrees.
    pub fn delta_agrees(&mut self, asked: Instant) {
        self.last_good = Some(asked);
        self.mismatches = 0;
    }

    /// A delta has been applied and its hash disagrees. Whether a full fetch is due for it: after the first,
    /// second, fourth, eighth time, then every eighth.
    pub fn delta_disagrees(&mut self, asked: Instant) -> bool {
        self.last_good = Some(asked);
        self.mismatches = self.mismatches.saturating_add(1);
        self.mismatches.is_power_of_two() || self.mismatches.is_multiple_of(8)
    }

    /// The server does not give deltas (403, 404). It is asked again after the time of a full fetch.
    pub fn delta_refused(&mut self, now: Instant) {
        self.no_delta_until = Some(now + self.full_every);
    }

    /// Another server answers from now on: what the last one refused says nothing.
    pub fn server_changed(&mut self) {
        self.no_delta_until = None;
        self.mismatches = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn everything_is_asked_for_first_then_deltas_until_it_is_time_again() {
        let start = Instant::now();
        let mut pace = Pace::new(5 * MINUTE);
        assert_eq!(pace.ask(start), Ask::Full);
        pace.full_read(start);
        for seconds in (5..300).step_by(5) {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(pace.ask(now), Ask::Delta, "{seconds}");
            pace.delta_agrees(now);
        }
        assert_eq!(pace.ask(start + 5 * MINUTE), Ask::Full);
    }

    #[test]
    fn a_gap_longer_than_a_delta_reaches_needs_everything() {
        let start = Instant::now();
        let mut pace = Pace::new(60 * MINUTE);
        pace.full_read(start);
        assert_eq!(pace.ask(start + DELTA_REACH), Ask::Delta);
        assert_eq!(pace.ask(start + 3 * MINUTE + Duration::from_secs(1)), Ask::Full);
    }

    #[test]
    fn a_server_without_deltas_is_asked_for_everything_and_for_a_delta_now_and_then() {
        let start = Instant::now();
        let mut pace = Pace::new(2 * MINUTE);
        pace.full_read(start);
        pace.delta_refused(start);
        assert_eq!(pace.ask(start + MINUTE), Ask::Full);
        pace.full_read(start + MINUTE);
        assert_eq!(pace.ask(start + 2 * MINUTE), Ask::Delta);
        pace.delta_refused(start + 2 * MINUTE);
        pace.server_changed();
        assert_eq!(pace.ask(start + 2 * MINUTE), Ask::Delta);
    }

    #[test]
    fn a_lasting_disagreement_does_not_fetch_everything_with_every_poll() {
        let now = Instant::now();
        let mut pace = Pace::new(5 * MINUTE);
        let due: Vec<u32> = (1..=24).filter(|_| pace.delta_disagrees(now)).collect();
        assert_eq!(due.len(), 6, "the 1st, 2nd, 4th, 8th, 16th, 24th");
        pace.delta_agrees(now);
        assert!(pace.delta_disagrees(now), "agreement starts the count anew");
    }
}
