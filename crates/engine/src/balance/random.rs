//! At random, by weight, in constant time (Vose's alias method).

use super::Balancer;
use crate::{
    call::Call,
    cluster::Gate,
    moment::{Dice, scale},
};

/// How often an open endpoint is drawn for before the rest is searched in order.
const DRAWS: usize = 8;

/// The random balancer.
#[derive(Debug)]
pub struct Random(Sampler);

impl Random {
    /// Over endpoints with these weights, none of them 0.
    pub fn new(weights: &[u32]) -> Self {
        Self(Sampler::new(weights))
    }
}

impl Balancer for Random {
    fn pick(&self, _: &Call<'_>, gate: &Gate<'_>, dice: &mut Dice) -> Option<usize> {
        self.0.draw_open(gate, dice)
    }
}

/// Draws indexes by weight.
#[derive(Debug)]
pub enum Sampler {
    /// All weights are equal: this many indexes.
    Even(usize),
    /// Per index: the chance (of 2^32) to keep it, and the index to take otherwise.
    Alias(Box<[(u32, u32)]>),
}

impl Sampler {
    /// Over these weights, none of them 0.
    pub fn new(weights: &[u32]) -> Self {
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self::Even(weights.len());
        }
        let count = weights.len() as f64;
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mut scaled: Vec<f64> = weights.iter().map(|weight| f64::from(*weight) * count / sum).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|at| scaled[*at] < 1.0);
        let mut table: Vec<(u32, u32)> = (0..weights.len() as u32).map(|at| (u32::MAX, at)).collect();
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            table[poor] = ((scaled[poor] * f64::from(u32::MAX)) as u32, rich as u32);
            scaled[rich] -= 1.0 - scaled[poor];
            if scaled[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self::Alias(table.into())
    }

    /// One index; `None` if there is none.
    pub fn draw(&self, dice: &mut Dice) -> Option<usize> {
        match self {
            Self::Even(0) => None,
            Self::Even(count) => Some(dice.below(*count as u64) as usize),
            Self::Alias(table) => {
                let bits = dice.bits();
                let at = scale(bits, table.len() as u64) as usize;
                let (keep, other) = table[at];
                // The place used the upper bits; the lower ones are still fresh.
                Some(if bits as u32 <= keep { at } else { other as usize })
            }
        }
    }

    /// One index that the gate admits. Falls back to searching when draws keep hitting closed endpoints.
    pub fn draw_open(&self, gate: &Gate<'_>, dice: &mut Dice) -> Option<usize> {
        for _ in 0..DRAWS {
            let index = self.draw(dice)?;
            if gate.admits_warm(index, dice) {
                return Some(index);
            }
        }
        gate.open_from(dice.below(gate.members().len().max(1) as u64) as usize)
    }
}
