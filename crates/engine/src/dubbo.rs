//! Dubbo2: calls of many clients on one shared connection per worker and endpoint.
//!
//! ```text
//!  client a ── id 7 ──▶ session ─┐ call: read, route, pick ─┐            ┌─▶ link ── id 41 ──▶ endpoint
//!  client a ── id 8 ──▶ session ─┤                          ├─▶ pool ────┤          id 42
//!  client b ── id 7 ──▶ session ─┘                          ┘            └─▶ link …
//!           ◀── id 7 ── outbox ◀──────────── reply, its id put back ◀──────── (any order)
//! ```
//!
//! Bodies are bytes from end to end: a request is read as far as its rule needs, and of what is passed on only the id in
//! the header differs. Nothing is answered by a closed connection: what goes wrong is a reply with Dubbo's own status
//! ([`fault`]), except one that its caller does not wait for.
//!
//! Rules, clusters, balancers, retry budget and outlier ejection are those of HTTP: they see a [`Call`](crate::call::Call).
//! Next on the path: [`session`], then [`call`], then [`tries`], then [`link`]. Calls made of JSON begin at [`tries`]; calls
//! that become requests of HTTP go by [`mapped`] instead of [`link`].

mod call;
mod exported;
mod fault;
mod link;
mod mapped;
mod mirror;
mod outbox;
mod pending;
mod pool;
mod pulse;
mod session;
mod tries;
mod view;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

pub(crate) use self::{
    fault::Fault,
    session::serve,
    tries::{Tally, Trial, status_of},
    view::View,
};
use self::{mirror::Copies, pool::Pool};
use crate::{
    access_log::AccessLog,
    http::{fetch::Fetcher, peer::Reach},
    runtime::Runtime,
};

/// What Dubbo's connections may take and hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DubboOptions {
    /// The largest body of a call or an answer, in bytes. Default 64 MiB: Dubbo's own limit (`payload`, 8 MiB) is kept by
    /// the providers, as large as each has it.
    pub payload: u32,
    /// Calls in flight of one client connection; more are answered at once with status 100. Also copies for mirrors in
    /// flight of one worker; more are not made. Default 4096.
    pub calls: usize,
    /// Bytes of requests in flight, or of answers that wait to be written, of one client connection; beyond it no more is
    /// read from the client for the time being. Also bytes that the copies for mirrors of one worker hold; beyond it no
    /// more are made. Default 64 MiB.
    pub held: usize,
    /// Silence after which a heartbeat is sent, to clients and endpoints; after three times as long the connection is
    /// given up. Default 60 s, as in Dubbo.
    pub heartbeat: Duration,
    /// How long a client of a closing port may still begin calls after it was told not to. Default 500 ms.
    pub last_call: Duration,
    /// Silence of a peer that is being written to. Default 30 s.
    pub stall: Duration,
    /// How long a connection to an endpoint is kept without a call. Default 5 min.
    pub idle: Duration,
}

impl Default for DubboOptions {
    fn default() -> Self {
        Self {
            payload: 64 << 20,
            calls: 4096,
            held: 64 << 20,
            heartbeat: Duration::from_secs(60),
            last_call: Duration::from_millis(500),
            stall: Duration::from_secs(30),
            idle: Duration::from_secs(300),
        }
    }
}

/// What all calls of a worker share.
pub(crate) struct Proxy {
    runtime: Arc<ArcSwap<Runtime>>,
    access_log: Option<Arc<AccessLog>>,
    options: DubboOptions,
    pool: Pool,
    copies: Copies,
    /// Asks services of HTTP.
    fetcher: Fetcher,
}

impl Proxy {
    pub(crate) fn new(
        runtime: Arc<ArcSwap<Runtime>>,
        reach: Reach,
        access_log: Option<Arc<AccessLog>>,
        options: DubboOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            access_log,
            options,
            pool: Pool::new(options),
            copies: Copies::default(),
            fetcher: Fetcher::new(reach),
        })
    }
}
