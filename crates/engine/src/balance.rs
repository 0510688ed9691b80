//! Balancers: which endpoint of a cluster gets a call.
//!
//! | balancer | how | weights |
//! |---|---|---|
//! | [peak EWMA](choices) (default) | of two random endpoints the one with less latency × calls in flight | yes |
//! | [least request](choices) | of two random endpoints the one with fewer calls in flight | yes |
//! | [round robin](round_robin) | in turn, spread evenly over the round | exactly |
//! | [random] | at random | exactly |
//! | [ring hash](ring) | the same key goes to the same endpoint | as points on the ring |
//!
//! What a balancer may choose from is the [`Gate`]'s business: endpoints tried before, ejected or full are closed.

use std::sync::Arc;

use landfall_model::{Endpoint, rules};

use crate::{call::Call, cluster::Gate, moment::Dice};

pub mod choices;
pub mod random;
pub mod ring;
pub mod round_robin;

/// Picks an endpoint for a call.
///
/// Built once per endpoint set and never changed, so `pick` needs no lock. Figures that live longer than a set
/// (in flight, latency, whose turn it is) are reached through the gate.
pub trait Balancer: Send + Sync + 'static {
    /// An index into [`Gate::members`]; `None` only if every endpoint is closed to the call.
    fn pick(&self, call: &Call<'_>, gate: &Gate<'_>, dice: &mut Dice) -> Option<usize>;
}

/// The balancer a policy asks for, over these endpoints.
pub fn build(kind: &rules::Balancer, endpoints: &[Arc<Endpoint>]) -> Box<dyn Balancer> {
    let weights: Vec<u32> = endpoints.iter().map(|endpoint| endpoint.weight.max(1)).collect();
    match kind {
        rules::Balancer::PeakEwma => Box::new(choices::TwoChoices::peak_ewma(&weights)),
        rules::Balancer::LeastRequest => Box::new(choices::TwoChoices::least_request(&weights)),
        rules::Balancer::RoundRobin => Box::new(round_robin::RoundRobin::new(&weights)),
        rules::Balancer::Random => Box::new(random::Random::new(&weights)),
        rules::Balancer::RingHash(key) => Box::new(ring::RingHash::new(key, endpoints)),
    }
}

#[cfg(test)]
mod tests;
