//! Try after try at the endpoints of a cluster, until one answers or there is no further try.
//!
//! A call is tried again if it provably reached nobody, or if it may be repeated although a provider may have run it; budget,
//! number of tries and waits are the cluster's policy, as for HTTP. The same for calls that came in as Dubbo's, for those
//! that were made of JSON, and for those that become requests of HTTP ([`mapped`](super::mapped)).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use landfall_codec::dubbo2::{Frame, Header, Kind, Status};
use landfall_model::Endpoint;
use tokio::time::{Instant, sleep};

use super::{
    Proxy,
    fault::{Fault, class},
    link::Broken,
};
use crate::{
    cluster::{ClusterRuntime, Failure, Lease, NoEndpoint, Tried, TryOutcome},
    moment::Moment,
    route::Rule,
};

/// Where a call goes, and what it may cost.
pub(crate) struct Trial<'a> {
    /// Whose connections are used.
    pub(crate) proxy: &'a Proxy,
    /// Whose endpoints are tried.
    pub(crate) cluster: &'a Arc<ClusterRuntime>,
    /// Has the limit of one try.
    pub(crate) rule: &'a Rule,
    /// When the whole call is over.
    pub(crate) deadline: Option<Instant>,
    /// Whether it may be sent again although a provider may have run it.
    pub(crate) repeatable: bool,
}

/// How far a call has come; kept up to date for whoever gives it up in the middle.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of the last try.
    pub(crate) endpoint: Option<SocketAddr>,
    /// Tries begun.
    pub(crate) tries: u32,
    /// From the choice of the endpoint to its answer.
    pub(crate) upstream: Option<Duration>,
}

/// How one try ended.
pub(super) enum Try {
    /// With a reply; with how it may be tried again, if its status is no result.
    Answered(Frame, Option<TryOutcome>),
    /// One way: nobody waits for more.
    HandedOver,
    /// The endpoint takes no new calls, and another may.
    Elsewhere,
    /// With a reply that is too large.
    TooLarge,
    /// Without a reply; whether the endpoint may have the call.
    Failed(Failure, bool),
}

/// How an endpoint is asked.
pub(super) trait Way: Sync {
    /// One try; the lease is told how it ended.
    ///
    /// # Errors
    /// Why there is no other try and no reply.
    fn once(
        &self,
        trial: &Trial<'_>,
        lease: Lease,
        tried: &mut Tried,
        tally: &mut Tally,
    ) -> impl Future<Output = Result<Try, Fault>> + Send;
}

/// By a frame, which this makes for an endpoint.
struct ByFrame<F>(F);

impl<F: Fn(&Endpoint) -> Result<Frame, Fault> + Sync> Way for ByFrame<F> {
    async fn once(&self, trial: &Trial<'_>, lease: Lease, tried: &mut Tried, tally: &mut Tally) -> Result<Try, Fault> {
        let frame = (self.0)(lease.endpoint())?;
        Ok(trial.once(lease, frame, tried, tally).await)
    }
}

/// The status of a reply.
pub(crate) fn status_of(header: &Header) -> Status {
    match header.kind {
        Kind::Response(status) => status,
        Kind::Request { .. } => Status::OK,
    }
}

impl Trial<'_> {
    /// The reply; `None` if the call was handed over one way. `frame` makes the call for an endpoint.
    ///
    /// # Errors
    /// Why there is no reply, or that `frame` has failed.
    pub(crate) async fn run(
        &self,
        pick: impl Fn(&Tried) -> Result<Lease, NoEndpoint>,
        frame: impl Fn(&Endpoint) -> Result<Frame, Fault> + Sync,
        tally: &mut Tally,
    ) -> Result<Option<Frame>, Fault> {
        self.run_by(pick, &ByFrame(frame), tally).await
    }

    /// The same, however endpoints are asked.
    ///
    /// # Errors
    /// Why there is no reply.
    pub(super) async fn run_by(
        &self,
        pick: impl Fn(&Tried) -> Result<Lease, NoEndpoint>,
        way: &impl Way,
        tally: &mut Tally,
    ) -> Result<Option<Frame>, Fault> {
        let mut tried = Tried::default();
        loop {
            let lease = pick(&tried)?;
            let (outcome, sent, repeatable, fault) = match way.once(self, lease, &mut tried, tally).await? {
                Try::Answered(reply, outcome) => {
                    // A provider whose threads are all busy has refused the call without running it.
                    let refused = status_of(&reply.header) == Status::BUSY;
                    match outcome {
                        Some(outcome) => (outcome, true, self.repeatable || refused, Ok(Some(reply))),
                        None => return Ok(Some(reply)),
                    }
                }
                Try::HandedOver => return Ok(None),
                Try::Elsewhere => continue,
                Try::TooLarge => return Err(Fault::AnswerTooLarge(self.proxy.options.payload)),
                Try::Failed(failure, sent) => (
                    TryOutcome::Failed(failure),
                    sent,
                    self.repeatable,
                    Err(Fault::Failed(failure)),
                ),
            };
            let is_over = |wait: Duration| self.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline);
            if is_over(Duration::ZERO) {
                return fault;
            }
            let again = self
                .cluster
                .retry_if(tally.tries, repeatable, outcome, sent, Moment::now(), fastrand::u64(..));
            match again {
                Some(wait) if !is_over(wait) => sleep(wait).await,
                _ => return fault,
            }
        }
    }

    /// When a try that begins now is over.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        match (self.rule.try_timeout(&self.cluster.policy), self.deadline) {
            (Some(limit), Some(deadline)) => Some(deadline.min(now + limit)),
            (Some(limit), None) => Some(now + limit),
            (None, deadline) => deadline,
        }
    }

    async fn once(&self, mut lease: Lease, frame: Frame, tried: &mut Tried, tally: &mut Tally) -> Try {
        let policy = &self.cluster.policy;
        let address = lease.endpoint().address;
        let known = tried.contains(&lease);
        tried.add(&lease);
        tally.endpoint = Some(address);
        let now = Instant::now();
        let count = policy.limits.dubbo_connections.unwrap_or(1) as usize;
        let left = self.deadline.map_or(policy.connect_timeout, |deadline| {
            policy.connect_timeout.min(deadline.saturating_duration_since(now))
        });
        let pool = &self.proxy.pool;
        let link = match pool.link(address, count, policy.connect_timeout, now + left).await {
            Ok((link, reused)) => {
                lease.connected(reused);
                link
            }
            Err(_) => {
                tally.tries += 1;
                lease.failed(Failure::Connect, Moment::now());
                return Try::Failed(Failure::Connect, false);
            }
        };
        if link.is_read_only() && !known && self.cluster.members().len() > 1 {
            // Not its fault, and no try of the call. If nobody else can take it, it will be chosen again.
            lease.unjudged();
            return Try::Elsewhere;
        }
        tally.tries += 1;
        let due = self.due(now);
        if !frame.header.wants_answer() {
            return match link.tell(frame) {
                Ok(()) => {
                    lease.unjudged();
                    Try::HandedOver
                }
                Err(_) => {
                    lease.failed(Failure::Reset, Moment::now());
                    Try::Failed(Failure::Reset, false)
                }
            };
        }
        let answer = match link.call(frame, due) {
            Ok(waiting) => waiting.answer().await,
            Err(broken) => Err(broken),
        };
        match answer {
            Ok(reply) => {
                let class = class(status_of(&reply.header));
                tally.upstream = Some(lease.answered(class, Moment::now()));
                Try::Answered(reply, (class != 200).then_some(TryOutcome::Status(class)))
            }
            Err(Broken::TooLarge) => {
                tally.upstream = Some(lease.answered(200, Moment::now()));
                Try::TooLarge
            }
            Err(Broken::Late) => {
                lease.failed(Failure::Timeout, Moment::now());
                Try::Failed(Failure::Timeout, true)
            }
            Err(broken @ (Broken::NotSent | Broken::Sent)) => {
                lease.failed(Failure::Reset, Moment::now());
                Try::Failed(Failure::Reset, broken == Broken::Sent)
            }
        }
    }
}
