//! The gate: which endpoints a balancer may choose for the call at hand.

use super::{ClusterRuntime, Member, NoEndpoint, TagGate, Tried};
use crate::moment::{Dice, Moment};

/// Which members of a cluster are open to one try of one call.
#[derive(Clone, Copy)]
pub struct Gate<'g> {
    cluster: &'g ClusterRuntime,
    tags: TagGate<'g>,
    tried: Option<&'g Tried>,
    now: Moment,
    heed_ejections: bool,
}

impl<'g> Gate<'g> {
    pub(super) fn new(cluster: &'g ClusterRuntime, tags: TagGate<'g>, tried: &'g Tried, now: Moment) -> Self {
        Self {
            cluster,
            tags,
            tried: Some(tried).filter(|tried| !tried.is_empty()),
            now,
            heed_ejections: cluster.ejected(now) > 0 && !cluster.in_panic(now),
        }
    }

    /// The same gate with the endpoints tried before let in again, if there are any.
    pub(super) fn with_tried(&self) -> Option<Self> {
        self.tried.map(|_| Self { tried: None, ..*self })
    }

    /// All members, open or not.
    pub fn members(&self) -> &'g [Member] {
        &self.cluster.members
    }

    /// When the choice is made.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The next number of the cluster's turn counter, which outlives the balancer.
    pub fn next_turn(&self) -> usize {
        self.cluster
            .state
            .turn
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether the member may be chosen.
    pub fn admits(&self, index: usize) -> bool {
        let member = &self.cluster.members[index];
        if !self.tags.admits(member.endpoint.tag.as_deref()) {
            return false;
        }
        let state = &member.state;
        let limit = self.cluster.policy.limits.max_requests_per_endpoint;
        let tried = self.tried.is_some_and(|tried| tried.has(index));
        let ejected = self.heed_ejections && state.is_ejected(self.now);
        let full = limit.is_some_and(|limit| state.in_flight() >= limit);
        !(tried || ejected || full)
    }

    /// Like [`Gate::admits`], but a new endpoint is refused as often as its share has yet to grow.
    pub fn admits_warm(&self, index: usize, dice: &mut Dice) -> bool {
        self.admits(index)
            && self.cluster.policy.slow_start.is_none_or(|over| {
                let share = self.cluster.members[index].state.warmth(self.now, over);
                share >= 1.0 || (dice.bits() >> 11) as f64 / (1_u64 << 53) as f64 <= share
            })
    }

    /// The first open member from `start` on, around the end.
    pub fn open_from(&self, start: usize) -> Option<usize> {
        let count = self.members().len();
        (0..count)
            .map(|step| (start + step) % count)
            .find(|index| self.admits(*index))
    }

    /// Why nobody is open, once a balancer has found nobody.
    pub(super) fn why_closed(&self) -> NoEndpoint {
        let tagged = |member: &&Member| self.tags.admits(member.endpoint.tag.as_deref());
        let mut meant = self.members().iter().filter(tagged);
        let all_ejected = self.heed_ejections && meant.all(|member| member.state.is_ejected(self.now));
        if all_ejected {
            NoEndpoint::Ejected
        } else {
            NoEndpoint::Overloaded
        }
    }
}
