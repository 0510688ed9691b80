//! How fast one registry is written: a bucket of tokens whose rate gives way when the registry suffers. Pure:
//! moments are handed in, as time since some start.
//!
//! ```text
//! throttled, slow ──▶ rate / 2, down to 1/s        each second of good writes ──▶ rate + limit / 10
//! unavailable     ──▶ nothing for 0.5 s, 1 s … 30 s
//! denied          ──▶ nothing for 60 s
//! ```

use std::time::Duration;

use crate::publish::WriteError;

/// The first wait after a failure; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An operator has to do something first.
const DENIED_WAIT: Duration = Duration::from_secs(60);
/// A call that takes longer than this, and longer than its records should, says that the registry suffers.
const SLOW: Duration = Duration::from_secs(1);

/// The pace of writes into one registry.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Records a second that are asked for.
    limit: f64,
    burst: f64,
    /// Records a second now.
    rate: f64,
    tokens: f64,
    /// When tokens were counted last.
    counted: Duration,
    /// No write before.
    closed_until: Duration,
    /// In a row.
    failures: u32,
    /// When the rate was changed last.
    changed: Duration,
}

impl Pace {
    /// Full at `now`.
    pub fn new(per_second: u32, burst: u32, now: Duration) -> Self {
        let limit = f64::from(per_second.max(1));
        let burst = f64::from(burst.max(1));
        Self {
            limit,
            burst,
            rate: limit,
            tokens: burst,
            counted: now,
            closed_until: Duration::ZERO,
            failures: 0,
            changed: now,
        }
    }

    /// Other limits; the rate stays as far as it may.
    pub fn limit(&mut self, per_second: u32, burst: u32) {
        let limit = f64::from(per_second.max(1));
        self.rate = if self.rate >= self.limit {
            limit
        } else {
            self.rate.min(limit)
        };
        self.limit = limit;
        self.burst = f64::from(burst.max(1));
        self.tokens = self.tokens.min(self.burst);
    }

    /// Records a second now.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// How many records may be written at `now`.
    ///
    /// # Errors
    /// How long to wait until one may be.
    pub fn allowance(&mut self, now: Duration) -> Result<usize, Duration> {
        if now < self.closed_until {
            return Err(self.closed_until - now);
        }
        self.count(now);
        if self.tokens >= 1.0 {
            // Bounded by burst, which is a u32.
            return Ok(self.tokens as usize);
        }
        let wait = Duration::from_secs_f64((1.0 - self.tokens) / self.rate);
        Err(wait.max(Duration::from_millis(1)))
    }

    /// So many records were sent.
    pub fn take(&mut self, records: usize) {
        self.tokens -= records as f64;
    }

    /// A call with so many records was answered well.
    pub fn went_well(&mut self, now: Duration, took: Duration, records: usize) {
        self.failures = 0;
        let due = Duration::from_secs_f64(2.0 * records as f64 / self.rate);
        if took > SLOW && took > due {
            self.slow_down(now);
        } else if self.rate < self.limit && now.saturating_sub(self.changed) >= Duration::from_secs(1) {
            self.count(now);
            self.rate = (self.rate + self.limit / 10.0).min(self.limit);
            self.changed = now;
        }
    }

    /// A call failed. What concerns one record alone changes nothing.
    pub fn failed(&mut self, now: Duration, error: &WriteError) {
        let wait = match error {
            WriteError::Rejected { .. } | WriteError::NotPermitted => return,
            WriteError::Denied { .. } => DENIED_WAIT,
            WriteError::Throttled { wait, .. } => {
                self.slow_down(now);
                *wait
            }
            WriteError::Unavailable { .. } => {
                let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(10));
                self.failures += 1;
                doubled.min(LONGEST_WAIT)
            }
        };
        self.closed_until = self.closed_until.max(now + wait);
    }

    /// Forgets waits: the reason for them may be gone.
    pub fn open(&mut self) {
        self.closed_until = Duration::ZERO;
        self.failures = 0;
    }

    fn slow_down(&mut self, now: Duration) {
        self.count(now);
        self.rate = (self.rate / 2.0).max(1.0_f64.min(self.limit));
        self.tokens = self.tokens.min(0.0);
        self.changed = now;
    }

    fn count(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.counted).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn unavailable() -> WriteError {
        WriteError::Unavailable {
            address: String::new(),
            what: String::new(),
        }
    }

    #[test]
    fn after_the_burst_comes_the_rate() {
        let mut pace = Pace::new(10, 20, ms(0));
        assert_eq!(pace.allowance(ms(0)), Ok(20));
        pace.take(20);
        assert_eq!(pace.allowance(ms(0)), Err(ms(100)));
        assert_eq!(pace.allowance(ms(350)), Ok(3));
        assert_eq!(pace.allowance(ms(60_000)), Ok(20));
    }

    #[test]
    fn a_throttling_target_gets_half_and_recovers() {
        let mut pace = Pace::new(40, 40, ms(0));
        let throttled = WriteError::Throttled {
            address: String::new(),
            wait: ms(3000),
        };
        pace.failed(ms(0), &throttled);
        assert_eq!(pace.allowance(ms(0)), Err(ms(3000)));
        assert_eq!(pace.rate(), 20.0);
        for second in 4..=9 {
            pace.went_well(ms(second * 1000), ms(10), 1);
        }
        assert_eq!(pace.rate(), 40.0);
        pace.went_well(ms(10_000), ms(5000), 10);
        assert_eq!(pace.rate(), 20.0, "slow");
    }

    #[test]
    fn a_target_that_is_away_is_asked_ever_more_rarely() {
        let mut pace = Pace::new(10, 10, ms(0));
        let mut waits = Vec::new();
        let mut now = ms(0);
        for _ in 0..8 {
            pace.failed(now, &unavailable());
            let wait = pace.allowance(now).unwrap_err();
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        pace.went_well(now, ms(1), 1);
        pace.failed(now, &unavailable());
        assert_eq!(pace.allowance(now), Err(ms(500)));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_allow(
            rate in 1u32..100, burst in 1u32..100, steps in prop::collection::vec((0u64..500, 1usize..50), 1..50)
        ) {
            let mut pace = Pace::new(rate, burst, ms(0));
            let (mut now, mut sent) = (0, 0);
            for (pause, wanted) in steps {
                now += pause;
                if let Ok(allowed) = pace.allowance(ms(now)) {
                    pace.take(wanted.min(allowed));
                    sent += wanted.min(allowed);
                }
                let most = f64::from(burst) + f64::from(rate) * (now as f64) / 1000.0;
                prop_assert!(sent as f64 <= most + 0.001, "{} at {} ms", sent, now);
            }
        }
    }
}
