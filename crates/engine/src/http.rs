//! HTTP by pingora: a call from the client's head to the last byte of its answer.
//!
//! ```text
//!  request_filter        strict checks (HTTP/2) ─▶ route ─▶ redirect? answer ─▶ backend ─▶ mirrors
//!                        JSON to Dubbo? called and answered here                   [transcode]
//!  upstream_peer         per try: wait, pick an endpoint, how to reach it            [peer]
//!  upstream_request_     filters, forwarded headers                                  [forward]
//!  … bodies …            both ways, in pieces; deadlines by the connection           [wire]
//!  upstream_response_    outcome to the endpoint; a status that is tried again
//!  response_filter       filters, 101, draining; a small answer is held until whole           [hold]
//!  error_while_proxy,    tried again, or which answer                                [answer]
//!  fail_to_connect
//!  logging               figures, access log
//! ```
//!
//! [`proxy`] is that list in code, in the same order. Only this module and [`listen`](crate::listen) know pingora.

pub(crate) mod answer;
mod context;
mod copy;
pub(crate) mod fetch;
mod forward;
mod hold;
mod log;
mod mirror;
pub(crate) mod peer;
mod proxy;
mod request;
mod select;
mod server;
mod transcode;
mod verdict;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

pub(crate) use self::server::http_proxy;
use self::{hold::Holds, mirror::MirrorClient, peer::Reach};
use crate::{access_log::AccessLog, dubbo, runtime::Runtime};

/// What all calls of a worker share.
pub(crate) struct Gateway {
    pub(crate) runtime: Arc<ArcSwap<Runtime>>,
    pub(crate) reach: Reach,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// Whether clients' own X-Forwarded headers are believed.
    pub(crate) trust_forwarded: bool,
    /// Silence of a client in the middle of a body.
    pub(crate) client_idle: Duration,
    /// Calls what speaks Dubbo.
    dubbo: Arc<dubbo::Proxy>,
    mirrors: Arc<MirrorClient>,
    holds: Holds,
}

impl Gateway {
    pub(crate) fn new(
        runtime: Arc<ArcSwap<Runtime>>,
        reach: Reach,
        access_log: Option<Arc<AccessLog>>,
        trust_forwarded: bool,
        client_idle: Duration,
        dubbo: Arc<dubbo::Proxy>,
    ) -> Self {
        Self {
            runtime,
            reach,
            access_log,
            trust_forwarded,
            client_idle,
            dubbo,
            mirrors: MirrorClient::new(),
            holds: Holds::default(),
        }
    }
}
