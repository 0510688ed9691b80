//! The retry budget: retries may be a share of the calls of the last ten seconds, and a few are always allowed.
//!
//! Two rings of counters, one slot per second. A slot holds the second it counts for, so nobody has to clear it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::moment::Moment;

/// Seconds that count.
const WINDOW: u64 = 10;
/// Slots; more than the window, so that a slot is never read while it is reused.
const SLOTS: usize = 16;

/// Counts calls and retries of the last ten seconds.
#[derive(Debug, Default)]
pub struct RetryBudget {
    calls: Window,
    retries: Window,
}

impl RetryBudget {
    /// A call has begun (its first try).
    pub fn call(&self, now: Moment) {
        self.calls.add(now.seconds());
    }

    /// Whether one more retry fits; if so it is counted.
    pub fn withdraw(&self, percent: u8, min_per_second: u32, now: Moment) -> bool {
        let second = now.seconds();
        let fits = self.retries.at(second) < u64::from(min_per_second)
            || self.retries.sum(second) * 100 < self.calls.sum(second) * u64::from(percent);
        if fits {
            self.retries.add(second);
        }
        fits
    }
}

/// A ring of per-second counters: the second above, the count below, 32 bits each.
#[derive(Debug, Default)]
struct Window([AtomicU64; SLOTS]);

impl Window {
    fn slot(&self, second: u64) -> &AtomicU64 {
        &self.0[second as usize % SLOTS]
    }

    fn add(&self, second: u64) {
        let slot = self.slot(second);
        let tag = second << 32;
        if slot.load(Relaxed) >> 32 == second & 0xffff_ffff {
            slot.fetch_add(1, Relaxed);
            return;
        }
        // First of this second; a call that counts for an older second by now is lost, which harms nobody.
        let _ = slot.fetch_update(Relaxed, Relaxed, |old| {
            Some(if old & !0xffff_ffff == tag { old + 1 } else { tag | 1 })
        });
    }

    fn at(&self, second: u64) -> u64 {
        let packed = self.slot(second).load(Relaxed);
        if packed >> 32 == second & 0xffff_ffff {
            packed & 0xffff_ffff
        } else {
            0
        }
    }

    fn sum(&self, second: u64) -> u64 {
        (0..WINDOW).map(|back| self.at(second.saturating_sub(back))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Moment {
        Moment::from_nanos((1000 + second) * 1_000_000_000)
    }

    #[test]
    fn retries_are_a_share_of_the_last_ten_seconds() {
        let budget = RetryBudget::default();
        for second in 0..5 {
            (0..20).for_each(|_| budget.call(at(second)));
        }
        let granted = (0..100).filter(|_| budget.withdraw(20, 0, at(5))).count();
        assert_eq!(granted, 20);
        assert!(
            !budget.withdraw(20, 0, at(14)),
            "the last calls are nine seconds old, all retries still count"
        );
        assert!(!budget.withdraw(20, 0, at(40)), "no call, no retry");
    }

    #[test]
    fn a_few_retries_a_second_are_always_allowed() {
        let budget = RetryBudget::default();
        for second in [0, 1, 17] {
            let granted = (0..10).filter(|_| budget.withdraw(0, 3, at(second))).count();
            assert_eq!(granted, 3);
        }
    }

    #[test]
    fn counting_from_many_threads_loses_nothing_within_a_second() {
        let budget = RetryBudget::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| budget.call(at(3))));
            }
        });
        assert_eq!(budget.calls.sum(at(3).seconds()), 4000);
    }
}
