//! A lease: one try at one endpoint, from the choice to the end.

use std::{sync::Arc, time::Duration};

use landfall_model::Endpoint;

use super::{ClusterRuntime, EndpointState};
use crate::moment::Moment;

/// A connection refused within this time cost its call next to nothing.
const REFUSED_AT_ONCE: Duration = Duration::from_millis(100);

/// An endpoint taken for one try.
///
/// Hold it until the answer's body has ended, then drop it: that counts the call out. Dropped without
/// [`Lease::answered`] or [`Lease::failed`] it was given up by the client, and the endpoint is not blamed.
#[derive(Debug)]
pub struct Lease {
    cluster: Arc<ClusterRuntime>,
    index: usize,
    started: Moment,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    None,
    Good(Moment),
    Bad,
    Unjudged,
}

/// How a try failed without a usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, unreachable, too slow to stand, TLS refused. The request was not sent.
    Connect,
    /// The connection broke after the request was begun, or the answer made no sense.
    Reset,
    /// The time for the try ran out.
    Timeout,
}

impl Lease {
    pub(super) fn new(cluster: Arc<ClusterRuntime>, index: usize, started: Moment) -> Self {
        Self {
            cluster,
            index,
            started,
            verdict: Verdict::None,
        }
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.cluster.members()[self.index].endpoint
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> &Arc<ClusterRuntime> {
        &self.cluster
    }

    /// The live figures of the endpoint.
    pub fn state(&self) -> &EndpointState {
        &self.cluster.members()[self.index].state
    }

    /// When the endpoint was chosen.
    pub fn started(&self) -> Moment {
        self.started
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// A connection stands, new or kept from an earlier call.
    pub fn connected(&self, reused: bool) {
        self.cluster.metrics.connected(reused);
    }

    /// The head of an answer has arrived. 5xx counts against the endpoint. Returns the time it took.
    pub fn answered(&mut self, status: u16, now: Moment) -> Duration {
        let took = now.since(self.started);
        self.cluster.metrics.answered(status, took);
        if status >= 500 {
            // An endpoint that fails quickly must not look attractive: failures never lower its latency.
            self.sample_failure(took, now);
            self.blame(true, now);
        } else {
            self.state().latency.sample(took, now);
            if self.verdict == Verdict::None {
                self.verdict = Verdict::Good(now);
            }
        }
        took
    }

    /// The try has failed; after an answer's head, that its body broke off.
    pub fn failed(&mut self, failure: Failure, now: Moment) {
        let took = now.since(self.started);
        self.cluster.metrics.failed(failure);
        self.sample_failure(took, now);
        self.blame(failure != Failure::Connect || took > REFUSED_AT_ONCE, now);
    }

    /// Nothing can be said about the endpoint: a call was handed over that has no answer, or it was passed by.
    pub fn unjudged(&mut self) {
        if self.verdict == Verdict::None {
            self.verdict = Verdict::Unjudged;
        }
    }

    fn sample_failure(&self, took: Duration, now: Moment) {
        let latency = &self.state().latency;
        if latency.mean(now).is_some_and(|mean| took.as_secs_f32() * 1e6 > mean) {
            latency.sample(took, now);
        }
    }

    fn blame(&mut self, costly: bool, now: Moment) {
        if self.verdict != Verdict::Bad {
            self.verdict = Verdict::Bad;
            self.cluster.note_failure(self.state(), costly, now);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.verdict {
            Verdict::Good(when) => self.cluster.note_success(self.state(), when),
            Verdict::None => self.cluster.metrics.cancelled(),
            Verdict::Bad | Verdict::Unjudged => {}
        }
        self.state().end();
        self.cluster
            .state
            .in_flight
            .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}
