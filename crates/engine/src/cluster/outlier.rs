//! Passive outlier ejection: an endpoint whose calls keep failing is left out for a while.
//!
//! Each ejection in a row is twice as long as the one before, because each trial in between costs a call. A connection that
//! is refused at once costs a call next to nothing, as it goes to another endpoint: such a trial does not lengthen the
//! ejection, and a process that was down is called again one first ejection after it came back, however long it was gone.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{ClusterRuntime, EndpointState};
use crate::moment::Moment;

/// Ejections get longer up to this many times the first.
const LONGEST: u32 = 10;

impl ClusterRuntime {
    /// Counts a failure of a member; ejects it when the row is long enough and enough others are left. `costly`: the
    /// failure cost the call more than a connection refused at once.
    pub(super) fn note_failure(&self, state: &EndpointState, costly: bool, now: Moment) {
        let outlier = &self.policy.outlier;
        let failures = state.failures.fetch_add(1, Relaxed).saturating_add(1);
        if outlier.consecutive_failures == 0 || failures < outlier.consecutive_failures || state.is_ejected(now) {
            return;
        }
        if self.ejected(now) >= self.most_ejected() {
            return;
        }
        let before = state.ejected_until.load(Relaxed);
        let rounds = state.ejections.load(Relaxed);
        let round = if costly {
            rounds.saturating_add(1)
        } else {
            rounds.max(1)
        };
        let until = now.after(ejection(outlier.base_ejection, round)).nanos();
        // Of several calls that fail at once only one ejects.
        if state
            .ejected_until
            .compare_exchange(before, until, Relaxed, Relaxed)
            .is_ok()
        {
            state.ejections.store(round, Relaxed);
            // On probation: when it comes back, its next failure ejects it again.
            state.failures.store(outlier.consecutive_failures - 1, Relaxed);
            self.state.ejections_end.fetch_max(until, Relaxed);
            self.metrics.ejected();
        }
    }

    /// Ends the row of failures; forgives old ejections once the endpoint has worked for as long as the last one took.
    pub(super) fn note_success(&self, state: &EndpointState, now: Moment) {
        // Nearly always both are 0 already, and a line that is only read stays in every core's cache.
        if state.failures.load(Relaxed) != 0 && !state.is_ejected(now) {
            state.failures.store(0, Relaxed);
        }
        let round = state.ejections.load(Relaxed);
        if round != 0 {
            let until = Moment::from_nanos(state.ejected_until.load(Relaxed));
            if now.since(until) > ejection(self.policy.outlier.base_ejection, round) {
                state.ejections.store(0, Relaxed);
            }
        }
    }

    /// How many members may be ejected at once: the policy's share, at least one of two, never the only one.
    fn most_ejected(&self) -> usize {
        let count = self.members.len();
        let percent = usize::from(self.policy.outlier.max_ejected_percent);
        match (count, percent) {
            (0 | 1, _) | (_, 0) => 0,
            _ => (count * percent / 100).max(1),
        }
    }
}

/// How long the `round`th ejection in a row takes.
fn ejection(base: Duration, round: u32) -> Duration {
    base.saturating_mul(
        1_u32
            .checked_shl(round.saturating_sub(1))
            .unwrap_or(LONGEST)
            .min(LONGEST),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ejections_double_up_to_ten_times() {
        let base = Duration::from_secs(10);
        let seconds = [1, 2, 3, 4, 5, 6, 40].map(|round| ejection(base, round).as_secs());
        assert_eq!(seconds, [10, 20, 40, 80, 100, 100, 100]);
    }
}
