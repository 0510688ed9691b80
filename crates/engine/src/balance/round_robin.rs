//! In turn, by weight. The order of a round is laid out beforehand, so a pick is one atomic addition.

use std::collections::BTreeMap;

use super::Balancer;
use crate::{call::Call, cluster::Gate, moment::Dice};

/// The longest round that is laid out. Weights that need a longer one are rounded to fit.
const LONGEST_ROUND: u64 = 4096;

/// The round robin balancer.
#[derive(Debug)]
pub struct RoundRobin {
    /// Endpoints in the order of their turns; an endpoint of twice the weight stands there twice as often.
    round: Box<[u32]>,
}

impl RoundRobin {
    /// Over endpoints with these weights, none of them 0.
    pub fn new(weights: &[u32]) -> Self {
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
        let sum: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
        let longest = LONGEST_ROUND.max(weights.len() as u64);
        let turns = |weight: u32| {
            let turns = u64::from(weight / divisor);
            if sum <= longest {
                turns
            } else {
                (turns * longest / sum).max(1)
            }
        };
        // Turn k of n is due at (k + phase) / n of the round, which spreads an endpoint's turns evenly. Endpoints with
        // as many turns have different phases, else they would all be due at once.
        let mut alike: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for weight in weights {
            alike.entry(turns(*weight)).or_default().0 += 1;
        }
        let mut due: Vec<(f64, u32)> = Vec::new();
        for (index, weight) in weights.iter().enumerate() {
            let turns = turns(*weight);
            let (count, seen) = alike.entry(turns).or_default();
            let phase = (*seen as f64 + 0.5) / *count as f64;
            *seen += 1;
            due.extend((0..turns).map(|turn| ((turn as f64 + phase) / turns as f64, index as u32)));
        }
        due.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Self {
            round: due.into_iter().map(|(_, index)| index).collect(),
        }
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl Balancer for RoundRobin {
    fn pick(&self, _: &Call<'_>, gate: &Gate<'_>, dice: &mut Dice) -> Option<usize> {
        if self.round.is_empty() {
            return None;
        }
        // A closed endpoint passes its turn on. After one look at everybody the rest is searched in order.
        for _ in 0..gate.members().len().min(64) {
            let index = self.round[gate.next_turn() % self.round.len()] as usize;
            if gate.admits_warm(index, dice) {
                return Some(index);
            }
        }
        gate.open_from(gate.next_turn() % gate.members().len().max(1))
    }
}
