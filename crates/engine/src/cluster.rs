//! Clusters: the endpoints behind a backend reference, and what is known of them while calls run.
//!
//! ```text
//!            ┌──────────── ClusterRuntime (one per snapshot version, immutable) ───────────┐
//! pick ────▶ │ policy · balancer ─▶ Member{ Endpoint, Arc<EndpointState> } ─▶ limits       │ ─▶ Lease
//!            └───────────────────────────────┬─────────────────────────────────────────────┘     │
//!                    carried over: EndpointState (in flight, latency, failures, ejected)  ◀───────┘
//!                                  ClusterState  (in flight, retry budget, turn)        answered / failed / drop
//! ```
//!
//! Nothing on this path locks. Next on the path: [`balance`] chooses, [`lease`] reports back.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use landfall_model::{Cluster, ClusterId, Endpoint, rules::TrafficPolicy};

pub mod budget;
pub mod endpoint;
pub mod gate;
pub mod latency;
pub mod lease;
pub mod outlier;
pub mod retry;
pub mod tag;
pub mod tried;
pub mod view;

use self::{budget::RetryBudget, retry::RetryPolicy};
pub use self::{
    endpoint::EndpointState,
    gate::Gate,
    lease::{Failure, Lease},
    retry::TryOutcome,
    tag::TagGate,
    tried::Tried,
};
use crate::{
    balance::{self, Balancer},
    call::Call,
    metrics::{ClusterMetrics, Metrics},
    moment::{Dice, Moment},
};

/// A cluster, ready for calls.
pub struct ClusterRuntime {
    /// Which.
    pub id: ClusterId,
    /// What applies to calls.
    pub policy: Arc<TrafficPolicy>,
    /// Figures of the cluster.
    pub metrics: Arc<ClusterMetrics>,
    source: Arc<Cluster>,
    members: Box<[Member]>,
    /// Some member has a tag.
    tagged: bool,
    balancer: Box<dyn Balancer>,
    retry: RetryPolicy,
    state: Arc<ClusterState>,
}

/// An endpoint with what is known of it.
#[derive(Debug)]
pub struct Member {
    /// From the snapshot.
    pub endpoint: Arc<Endpoint>,
    /// Carried over from snapshot to snapshot as long as the address stays in the cluster.
    pub state: Arc<EndpointState>,
}

/// What is known of a whole cluster; lives as long as the cluster is in every snapshot.
#[derive(Debug, Default)]
pub struct ClusterState {
    in_flight: AtomicU32,
    /// No endpoint is ejected from this moment on, so that calls need not look while all is well.
    ejections_end: AtomicU64,
    budget: RetryBudget,
    turn: AtomicUsize,
}

/// Why a call gets no endpoint. Each is answered 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The cluster has none.
    #[error("no endpoint")]
    Empty,
    /// It has some, but none is for a call with this tag, or without one.
    #[error("no endpoint for the call's tag")]
    Tag,
    /// Every endpoint is ejected and the panic threshold is 0.
    #[error("every endpoint is ejected")]
    Ejected,
    /// A limit of the cluster or of every usable endpoint is reached.
    #[error("too many calls in flight")]
    Overloaded,
}

impl ClusterRuntime {
    /// Compiles a cluster. What `previous` knows of the same cluster and its endpoints is carried over.
    pub fn compile(source: &Arc<Cluster>, previous: Option<&Arc<Self>>, metrics: &Metrics, now: Moment) -> Arc<Self> {
        if let Some(previous) = previous
            && (Arc::ptr_eq(&previous.source, source) || previous.source == *source)
        {
            return previous.clone();
        }
        let known: HashMap<SocketAddr, &Arc<EndpointState>> = previous
            .iter()
            .flat_map(|previous| previous.members.iter())
            .map(|member| (member.endpoint.address, &member.state))
            .collect();
        let members: Box<[Member]> = source
            .endpoints
            .iter()
            .map(|endpoint| Member {
                endpoint: endpoint.clone(),
                state: match known.get(&endpoint.address) {
                    Some(state) => (*state).clone(),
                    // Endpoints of a new cluster are all equally new: there is nobody to warm up behind.
                    None if known.is_empty() => Arc::new(EndpointState::new(Moment::NEVER)),
                    None => Arc::new(EndpointState::new(now)),
                },
            })
            .collect();
        let state = previous.map_or_else(Arc::default, |previous| previous.state.clone());
        Arc::new(Self {
            id: source.id.clone(),
            policy: source.policy.clone(),
            metrics: metrics.cluster(&source.id),
            balancer: balance::build(&source.policy.balancer, &source.endpoints),
            retry: RetryPolicy::compile(&source.policy.retries),
            source: source.clone(),
            tagged: members.iter().any(|member| member.endpoint.tag.is_some()),
            members,
            state,
        })
    }

    /// Leases an endpoint for one try of a call. Endpoints in `tried` are taken only if no other is open.
    ///
    /// # Errors
    /// Nobody can take the call; see [`NoEndpoint`].
    pub fn pick(
        self: &Arc<Self>,
        call: &Call<'_>,
        tried: &Tried,
        now: Moment,
        random: u64,
    ) -> Result<Lease, NoEndpoint> {
        let in_flight = self.state.in_flight.fetch_add(1, Relaxed);
        let overloaded = self.policy.limits.max_requests.is_some_and(|max| in_flight >= max);
        let choice = if overloaded {
            Err(NoEndpoint::Overloaded)
        } else {
            self.choose(call, tried, now, &mut Dice::new(random))
        };
        match choice {
            Ok(index) => Ok(Lease::new(self.clone(), index, now)),
            Err(reason) => {
                self.state.in_flight.fetch_sub(1, Relaxed);
                self.metrics.no_endpoint(reason);
                Err(reason)
            }
        }
    }

    /// Chooses a member and counts the call in.
    fn choose(&self, call: &Call<'_>, tried: &Tried, now: Moment, dice: &mut Dice) -> Result<usize, NoEndpoint> {
        if self.members.is_empty() {
            return Err(NoEndpoint::Empty);
        }
        let tags = self.tag_gate(call.headers);
        if tags != TagGate::Any && !self.members.iter().any(|m| tags.admits(m.endpoint.tag.as_deref())) {
            return Err(NoEndpoint::Tag);
        }
        let gate = Gate::new(self, tags, tried, now);
        // The limit is checked by the gate and again while counting in; another call may come between.
        for _ in 0..4 {
            let choice = self.balancer.pick(call, &gate, dice);
            let choice = choice.or_else(|| self.balancer.pick(call, &gate.with_tried()?, dice));
            let Some(index) = choice else {
                return Err(gate.why_closed());
            };
            if self.members[index]
                .state
                .begin(self.policy.limits.max_requests_per_endpoint)
            {
                return Ok(index);
            }
        }
        Err(NoEndpoint::Overloaded)
    }

    /// Its endpoints, sorted by address.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Calls in flight to the cluster now.
    pub fn in_flight(&self) -> u32 {
        self.state.in_flight.load(Relaxed)
    }

    /// Endpoints that are ejected now.
    pub fn ejected(&self, now: Moment) -> usize {
        if self.state.ejections_end.load(Relaxed) <= now.nanos() {
            return 0;
        }
        self.members
            .iter()
            .filter(|member| member.state.is_ejected(now))
            .count()
    }

    /// Whether so many endpoints are ejected that ejections are ignored.
    pub fn in_panic(&self, now: Moment) -> bool {
        let usable = self.members.len() - self.ejected(now).min(self.members.len());
        usable * 100 < self.members.len() * usize::from(self.policy.panic_threshold)
    }
}

impl std::fmt::Debug for ClusterRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterRuntime")
            .field("id", &self.id)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
