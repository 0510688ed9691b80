//! Second chances: whether a failed try is followed by another, and after which wait.

use std::time::Duration;

use landfall_model::rules::Retries;

use super::{ClusterRuntime, Failure};
use crate::moment::{Moment, scale};

/// How a try ended, as far as a retry is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryOutcome {
    /// An answer with this status, of which nothing has reached the client.
    Status(u16),
    /// No answer.
    Failed(Failure),
}

/// The policy's retries, ready to be asked.
#[derive(Debug)]
pub(super) struct RetryPolicy {
    source: Retries,
}

impl RetryPolicy {
    pub(super) fn compile(source: &Retries) -> Self {
        Self { source: source.clone() }
    }

    /// Whether the outcome may be tried again, leaving budget and number of tries aside.
    fn allows(&self, repeatable: bool, outcome: TryOutcome, sent: bool) -> bool {
        match outcome {
            TryOutcome::Failed(Failure::Connect) => true,
            TryOutcome::Failed(Failure::Reset) => !sent || repeatable,
            TryOutcome::Failed(Failure::Timeout) => repeatable,
            TryOutcome::Status(status) => self.source.statuses.contains(&status) && repeatable,
        }
    }

    /// Whether calls of that HTTP method may be repeated after they were sent.
    fn repeats(&self, method: &str) -> bool {
        self.source.methods.iter().any(|known| **known == *method)
    }

    /// The wait before the try after `tries`: doubled each time, between a half and all of it at random.
    fn backoff(&self, tries: u32, outcome: TryOutcome, random: u64) -> Duration {
        if tries == 1 && outcome == TryOutcome::Failed(Failure::Connect) {
            return Duration::ZERO;
        }
        let full = self
            .source
            .backoff
            .saturating_mul(1_u32 << tries.saturating_sub(1).min(10));
        let full = u64::try_from(full.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(full / 2 + scale(random, full / 2 + 1))
    }
}

impl ClusterRuntime {
    /// Notes a call for the budget. Once per call, before its first try.
    pub fn begin_call(&self, now: Moment) {
        if self.policy.retries.attempts > 0 && self.policy.retries.budget_percent > 0 {
            self.state.budget.call(now);
        }
    }

    /// Whether there could be another try after `tries` tries if the last one broke off in the middle of its answer.
    /// The budget is asked only when it does.
    pub fn may_retry(&self, tries: u32, method: &str) -> bool {
        let broken = TryOutcome::Failed(Failure::Reset);
        tries <= self.policy.retries.attempts && self.retry.allows(self.retry.repeats(method), broken, true)
    }

    /// Whether calls of that HTTP method may be repeated although an endpoint may have run them.
    pub fn repeats(&self, method: &str) -> bool {
        self.retry.repeats(method)
    }

    /// Whether to try again after `tries` tries (1 after the first), and after which wait. `sent`: whether any byte of
    /// the request has been written to the endpoint. The caller checks that it still has the request's body, and
    /// that the wait fits into what is left of the call's time. A yes is counted as a retry.
    pub fn retry(
        &self,
        tries: u32,
        method: &str,
        outcome: TryOutcome,
        sent: bool,
        now: Moment,
        random: u64,
    ) -> Option<Duration> {
        self.retry_if(tries, self.retry.repeats(method), outcome, sent, now, random)
    }

    /// The same for a call of which its protocol tells whether it may be repeated after it was sent.
    pub fn retry_if(
        &self,
        tries: u32,
        repeatable: bool,
        outcome: TryOutcome,
        sent: bool,
        now: Moment,
        random: u64,
    ) -> Option<Duration> {
        let retries = &self.policy.retries;
        if tries > retries.attempts || !self.retry.allows(repeatable, outcome, sent) {
            return None;
        }
        let fits = self
            .state
            .budget
            .withdraw(retries.budget_percent, retries.budget_min_per_second, now);
        self.metrics.retry(fits);
        fits.then(|| self.retry.backoff(tries, outcome, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_repeated_only_for_repeatable_methods() {
        let policy = RetryPolicy::compile(&Retries::default());
        let connect = TryOutcome::Failed(Failure::Connect);
        let reset = TryOutcome::Failed(Failure::Reset);
        let timeout = TryOutcome::Failed(Failure::Timeout);
        assert!(policy.allows(policy.repeats("POST"), connect, false));
        assert!(
            policy.allows(policy.repeats("POST"), reset, false),
            "a kept connection was dead before anything was sent"
        );
        for outcome in [reset, timeout, TryOutcome::Status(503)] {
            assert!(policy.allows(policy.repeats("GET"), outcome, true), "{outcome:?}");
            assert!(!policy.allows(policy.repeats("POST"), outcome, true), "{outcome:?}");
        }
        assert!(!policy.allows(policy.repeats("GET"), TryOutcome::Status(500), true));
    }

    #[test]
    fn waits_double_with_jitter_and_a_refused_connection_does_not_wait_at_first() {
        let policy = RetryPolicy::compile(&Retries::default());
        let refused = TryOutcome::Failed(Failure::Connect);
        assert_eq!(policy.backoff(1, refused, u64::MAX), Duration::ZERO);
        assert_eq!(policy.backoff(2, refused, 0), Duration::from_millis(25));
        for (tries, full) in [(1, 25), (2, 50), (3, 100)] {
            let full = Duration::from_millis(full);
            assert_eq!(policy.backoff(tries, TryOutcome::Status(503), 0), full / 2);
            assert_eq!(policy.backoff(tries, TryOutcome::Status(503), u64::MAX), full);
        }
    }
}
