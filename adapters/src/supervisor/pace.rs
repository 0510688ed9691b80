//! How long to wait before the next session, by the error that ended the last one.
//!
//! | error | pause |
//! |---|---|
//! | unreachable, not ready, malformed | exponential from 250 ms to the registry's patience (30 s), full jitter |
//! | denied | exponential from 30 s to 5 min, half jitter |
//! | session over | none, if the session lasted a second; else as unreachable |
//!
//! A session that was caught up for ten seconds was healthy: the next error starts from the smallest pause again.

use std::time::Duration;

use crate::RegistryError;

const FIRST: Duration = Duration::from_millis(250);
const FIRST_DENIED: Duration = Duration::from_secs(30);
const LONGEST_DENIED: Duration = Duration::from_secs(300);
const HEALTHY: Duration = Duration::from_secs(10);
const LASTED: Duration = Duration::from_secs(1);

/// The pace of attempts at one registry.
#[derive(Clone, Debug)]
pub struct Pace {
    longest: Duration,
    failures: u32,
    denials: u32,
}

impl Pace {
    /// Nothing has failed yet. `longest` bounds the pause after errors other than denials.
    pub fn new(longest: Duration) -> Self {
        Self {
            longest,
            failures: 0,
            denials: 0,
        }
    }

    /// The pause after a session that lasted `lasted` and was caught up for `healthy`, if it got so far.
    pub fn after(&mut self, error: &RegistryError, lasted: Duration, healthy: Option<Duration>) -> Duration {
        if healthy.is_some_and(|healthy| healthy >= HEALTHY) {
            self.failures = 0;
        }
        match error {
            RegistryError::Denied { .. } => {
                let ceiling = doubled(FIRST_DENIED, self.denials).min(LONGEST_DENIED);
                self.denials = self.denials.saturating_add(1);
                ceiling.mul_f64(0.5 + fastrand::f64() / 2.0).max(FIRST_DENIED)
            }
            RegistryError::SessionOver { .. } if lasted >= LASTED => {
                self.denials = 0;
                Duration::ZERO
            }
            RegistryError::Unreachable { .. }
            | RegistryError::NotReady { .. }
            | RegistryError::Malformed { .. }
            | RegistryError::SessionOver { .. } => {
                self.denials = 0;
                let ceiling = doubled(FIRST, self.failures).min(self.longest);
                self.failures = self.failures.saturating_add(1);
                ceiling.mul_f64(fastrand::f64())
            }
        }
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1u32.checked_shl(times.min(16)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_ready() -> RegistryError {
        RegistryError::NotReady {
            address: "a".into(),
            what: "b".into(),
        }
    }

    fn longest_of(pace: &Pace, error: &RegistryError, lasted: u64, healthy: Option<u64>) -> Duration {
        let pause = || {
            pace.clone()
                .after(error, Duration::from_secs(lasted), healthy.map(Duration::from_secs))
        };
        (0..500).map(|_| pause()).max().unwrap_or_default()
    }

    #[test]
    fn pauses_double_up_to_the_patience_and_start_again_after_a_healthy_session() {
        let mut pace = Pace::new(Duration::from_secs(30));
        assert!(longest_of(&pace, &not_ready(), 0, None) <= FIRST);
        for _ in 0..40 {
            assert!(pace.after(&not_ready(), Duration::ZERO, None) <= Duration::from_secs(30));
        }
        assert!(longest_of(&pace, &not_ready(), 0, None) > Duration::from_secs(20));
        assert!(longest_of(&pace, &not_ready(), 9, Some(9)) > Duration::from_secs(20));
        assert!(longest_of(&pace, &not_ready(), 11, Some(10)) <= FIRST);
    }

    #[test]
    fn a_denial_is_retried_slowly() {
        let denied = RegistryError::Denied {
            address: "a".into(),
            what: "b".into(),
        };
        let mut pace = Pace::new(Duration::from_secs(30));
        for _ in 0..40 {
            let pause = pace.after(&denied, Duration::ZERO, None);
            assert!(pause >= FIRST_DENIED && pause <= LONGEST_DENIED, "{pause:?}");
        }
        assert!(longest_of(&pace, &denied, 0, None) > Duration::from_secs(240));
    }

    #[test]
    fn an_expired_session_is_opened_again_at_once_unless_it_hardly_lived() {
        let over = RegistryError::SessionOver {
            address: "a".into(),
            what: "b".into(),
        };
        let mut pace = Pace::new(Duration::from_secs(30));
        assert_eq!(pace.after(&over, Duration::from_secs(60), None), Duration::ZERO);
        for _ in 0..8 {
            pace.after(&over, Duration::ZERO, None);
        }
        assert!(longest_of(&pace, &over, 0, None) > Duration::from_secs(1));
    }
}
