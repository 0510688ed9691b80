//! The index of one blocking query, and how fast it may be asked again.
//!
//! Consul's rules (api-docs/features/blocking, agent/blockingquery): an index belongs to one query; it may
//! go backwards (a restored snapshot, another server), then everything is read anew; coming back is no
//! proof of change. A watch that is woken over and over is slowed down, but never past half a second,
//! because the next wake may be the change that matters.

use std::time::Duration;

/// Quick returns in a row that cost nothing.
const FREE: u32 = 6;
/// A query that took this long was a wait, not a wake.
const WAITED: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Where one blocking query stands.
#[derive(Debug, Default)]
pub(super) struct Index {
    last: u64,
    quick: u32,
}

impl Index {
    /// What to ask for: changes after this; 0 answers at once.
    pub(super) fn after(&self) -> u64 {
        self.last
    }

    /// Takes an answer's index (at least 1) and says how long to pause before asking again.
    pub(super) fn take(&mut self, index: u64, took: Duration) -> Duration {
        self.last = if index < self.last { 0 } else { index };
        self.quick = if took >= WAITED {
            0
        } else {
            self.quick.saturating_add(1)
        };
        match self.quick.saturating_sub(FREE) {
            0 => Duration::ZERO,
            n => FIRST_PAUSE.saturating_mul(1 << n.min(10)).min(LONGEST_PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_backwards_starts_again_at_nothing() {
        let mut index = Index::default();
        assert_eq!(index.after(), 0);
        index.take(40, WAITED);
        assert_eq!(index.after(), 40);
        index.take(40, WAITED);
        assert_eq!(index.after(), 40, "unchanged after a time-out");
        index.take(12, WAITED);
        assert_eq!(index.after(), 0, "lower: read everything at once");
        index.take(12, WAITED);
        assert_eq!(index.after(), 12);
    }

    #[test]
    fn wakes_in_a_row_are_slowed_down_and_a_real_wait_forgives() {
        let mut index = Index::default();
        let pauses: Vec<u128> = (1..=15).map(|n| index.take(n, Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses[..6], [0; 6]);
        assert_eq!(pauses[6..], [40, 80, 160, 320, 500, 500, 500, 500, 500]);
        assert_eq!(index.take(20, WAITED), Duration::ZERO);
        assert_eq!(index.take(21, Duration::ZERO), Duration::ZERO);
    }
}
