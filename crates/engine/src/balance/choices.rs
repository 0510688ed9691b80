//! The power of two choices: draw two endpoints, take the less loaded one.
//!
//! With equal weights the two are always different. With unequal ones both are drawn by weight, independently: at
//! equal load the shares are then exactly the weights, and load can move the share of an endpoint with weight `w`
//! (of 1) between `w²` and `1 - (1 - w)²`, so that neither weight nor load is ever ignored.

use super::{Balancer, random::Sampler};
use crate::{call::Call, cluster::Gate, moment::Dice};

/// Least request and peak EWMA.
#[derive(Debug)]
pub struct TwoChoices {
    sampler: Sampler,
    /// Weight over mean weight: what "equally loaded" means.
    relative: Box<[f32]>,
    by_latency: bool,
}

impl TwoChoices {
    /// Fewer calls in flight wins.
    pub fn least_request(weights: &[u32]) -> Self {
        Self::new(weights, false)
    }

    /// Lower latency × (calls in flight + 1) wins.
    pub fn peak_ewma(weights: &[u32]) -> Self {
        Self::new(weights, true)
    }

    fn new(weights: &[u32], by_latency: bool) -> Self {
        let mean = weights.iter().map(|weight| *weight as f32).sum::<f32>() / weights.len().max(1) as f32;
        Self {
            sampler: Sampler::new(weights),
            relative: weights.iter().map(|weight| *weight as f32 / mean).collect(),
            by_latency,
        }
    }

    /// A second, open endpoint to compare with.
    fn rival(&self, first: usize, gate: &Gate<'_>, dice: &mut Dice) -> Option<usize> {
        for _ in 0..3 {
            let rival = match self.sampler {
                // One of the others, each as likely.
                Sampler::Even(count) => {
                    let others = count.checked_sub(1).filter(|others| *others > 0)?;
                    (first + 1 + dice.below(others as u64) as usize) % count
                }
                Sampler::Alias(_) => self.sampler.draw(dice)?,
            };
            if rival == first {
                return None;
            }
            if gate.admits_warm(rival, dice) {
                return Some(rival);
            }
        }
        None
    }

    /// Whether `rival` is strictly less loaded than `first`.
    fn is_lighter(&self, rival: usize, first: usize, gate: &Gate<'_>) -> bool {
        let members = gate.members();
        let queue = |index: usize| members[index].state.in_flight() as f32 / self.relative[index];
        if self.by_latency {
            let mean = |index: usize| members[index].state.latency.mean(gate.now());
            // An endpoint without a sample is neither shunned nor flooded: the two are compared by their queues.
            if let (Some(rival_mean), Some(first_mean)) = (mean(rival), mean(first)) {
                return rival_mean * (queue(rival) + 1.0) < first_mean * (queue(first) + 1.0);
            }
        }
        queue(rival) < queue(first)
    }
}

impl Balancer for TwoChoices {
    fn pick(&self, _: &Call<'_>, gate: &Gate<'_>, dice: &mut Dice) -> Option<usize> {
        let first = self.sampler.draw_open(gate, dice)?;
        match self.rival(first, gate, dice) {
            Some(rival) if self.is_lighter(rival, first, gate) => Some(rival),
            _ => Some(first),
        }
    }
}
