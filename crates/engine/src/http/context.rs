//! What is kept of a call while pingora carries it, from its head to its last byte.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{answer::Answer, hold::Held, mirror::Copies};
use crate::{
    cluster::{ClusterRuntime, Lease, Tried},
    listen::connection::Connection,
    moment::Moment,
    route::{BackendSlot, Rule},
    runtime::Runtime,
};

/// The state of one call.
pub struct CallState {
    /// Taken at the start and kept to the end, whatever is configured meanwhile.
    pub(super) runtime: Arc<Runtime>,
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) started: Moment,
    pub(super) rule: Option<Arc<Rule>>,
    pub(super) backend: Option<Arc<BackendSlot>>,
    pub(super) cluster: Option<Arc<ClusterRuntime>>,
    /// The endpoint of the present try.
    pub(super) lease: Option<Lease>,
    pub(super) tried: Tried,
    /// The endpoint of a call of Dubbo.
    pub(super) called: Option<SocketAddr>,
    /// Tries begun.
    pub(super) tries: u32,
    /// What the present try may do until, and the call.
    pub(super) try_deadline: Option<Instant>,
    pub(super) deadline: Option<Instant>,
    /// The wait before the next try, once it is decided that there is one.
    pub(super) next_try: Option<Duration>,
    /// Whether a connection to the endpoint of the present try stood.
    pub(super) connected: bool,
    pub(super) kind: Kind,
    /// Set while an answer is held until it is whole.
    pub(super) held: Option<Held>,
    /// Set when a hold has passed on some of an answer.
    pub(super) answer_begun: bool,
    /// Set when we answer ourselves.
    pub(super) answer: Option<Answer>,
    /// Status of the answer, ours or the endpoint's.
    pub(super) status: u16,
    /// From the choice of the endpoint to its answer's head.
    pub(super) upstream_time: Option<Duration>,
    pub(super) copies: Copies,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// When an answer of ours was out, if that is before the end of the connection.
    pub(super) ended: Option<Moment>,
    /// Whether its figures were taken.
    counted: bool,
}

/// What sort of call it is, as far as its transport differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// Request and answer.
    #[default]
    Plain,
    /// gRPC: HTTP/2 to the endpoint, errors as gRPC status, streams may live long.
    Grpc,
    /// WebSocket: HTTP/1 to the endpoint, bytes after the 101.
    Upgrade,
    /// The client waits for server-sent events.
    Events,
}

impl Kind {
    /// Whether the call may go on long after the answer has begun, in silence too: the whole-request deadline
    /// ends with the answer's head then, and only silence beyond the idle timeout ends it.
    pub(super) fn is_stream(self) -> bool {
        self != Self::Plain
    }
}

impl CallState {
    pub(super) fn new(runtime: Arc<Runtime>) -> Self {
        Self {
            runtime,
            connection: None,
            started: Moment::now(),
            rule: None,
            backend: None,
            cluster: None,
            lease: None,
            called: None,
            tried: Tried::default(),
            tries: 0,
            try_deadline: None,
            deadline: None,
            next_try: None,
            connected: false,
            kind: Kind::Plain,
            held: None,
            answer_begun: false,
            answer: None,
            status: 0,
            upstream_time: None,
            copies: Copies::default(),
            request_bytes: 0,
            response_bytes: 0,
            ended: None,
            counted: false,
        }
    }

    /// Takes the figures of the call, once.
    pub(super) fn count(&mut self, took: Duration) {
        if std::mem::replace(&mut self.counted, true) {
            return;
        }
        let unrouted = &self.runtime.metrics().unrouted;
        let metrics = self.rule.as_ref().map_or(unrouted, |rule| &rule.metrics);
        if self.rule.is_none() {
            unrouted.started();
        }
        metrics.finished(self.status, took, self.request_bytes, self.response_bytes);
        if let Some(backend) = &self.backend {
            backend.metrics.finished(self.status);
        }
    }

    /// When the present try must be over.
    pub(super) fn due(&self) -> Option<Instant> {
        match (self.try_deadline, self.deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Hands the present deadline to the connection, which ends reads and writes by it; an answer that rested belongs
    /// to the try before. HTTP/2 connections are shared by many calls and have no deadline.
    pub(super) fn arm(&self) {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.h2) {
            connection.set_deadline(self.due());
            connection.set_rest(None);
        }
    }

    /// Lifts deadline and rest, so that an answer of our own gets through.
    pub(super) fn disarm(&self) {
        if let Some(connection) = self.connection.as_ref().filter(|connection| !connection.h2) {
            connection.set_deadline(None);
            connection.set_rest(None);
        }
    }
}

impl Drop for CallState {
    /// A call whose connection is cut gets no other notice of its end.
    fn drop(&mut self) {
        self.status = 0;
        self.count(Moment::now().since(self.started));
    }
}
