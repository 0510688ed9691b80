//! Copies of calls: sent beside the call, never in its way.
//!
//! ```text
//!  request body ─▶ try_send ─▶ bounded queue ─▶ task: own connection ─▶ mirror's endpoint ─▶ answer thrown away
//!                     └ full? the copy is given up, the call goes on
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pingora_core::{
    connectors::{ConnectorOptions, http::Connector},
    upstreams::peer::HttpPeer,
};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use tokio::sync::mpsc;

use crate::{
    cluster::{Failure, Lease},
    moment::Moment,
};

/// Chunks of a body that may wait for a mirror.
const QUEUE: usize = 16;
/// The most a copy may take, its answer included.
const LIMIT: Duration = Duration::from_secs(30);
const POOL: usize = 128;

/// The connections of a worker to mirrors.
pub(crate) struct MirrorClient {
    connector: Connector,
}

impl MirrorClient {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            connector: Connector::new(Some(ConnectorOptions::new(POOL))),
        })
    }

    async fn send(&self, head: Box<RequestHeader>, peer: &HttpPeer, mut body: mpsc::Receiver<Part>) -> Result<u16> {
        let (mut session, _) = self.connector.get_http_session(peer).await?;
        session.set_read_timeout(Some(LIMIT));
        session.set_write_timeout(Some(LIMIT));
        session.write_request_header(head).await?;
        loop {
            match body.recv().await {
                Some(Part::Data(data)) => session.write_request_body(data, false).await?,
                Some(Part::End) => break,
                // The connection is dropped in the middle, and the mirror sees a broken request.
                None => return Error::e_explain(ErrorType::Custom(GIVEN_UP), "the mirror does not keep up"),
            }
        }
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session.response_header().map_or(0, |head| head.status.as_u16());
        while session.read_response_body().await?.is_some() {}
        self.connector
            .release_http_session(session, peer, peer.options.idle_timeout)
            .await;
        Ok(status)
    }
}

const GIVEN_UP: &str = "CopyGivenUp";

/// A copy that is to be sent.
pub(super) struct Copy {
    pub(super) head: Box<RequestHeader>,
    pub(super) peer: Box<HttpPeer>,
    pub(super) lease: Lease,
}

enum Part {
    Data(Bytes),
    End,
}

/// The copies of one call that still take its body.
#[derive(Default)]
pub(super) struct Copies {
    queues: Vec<mpsc::Sender<Part>>,
    /// Body bytes copied so far.
    copied: u64,
    /// Body bytes seen in the present try; a retry sees the first ones again.
    seen: u64,
}

impl Copies {
    /// Begins a copy. `bodiless` calls are complete at once.
    pub(super) fn start(&mut self, client: Arc<MirrorClient>, copy: Copy, bodiless: bool) {
        let (queue, body) = mpsc::channel(QUEUE);
        if bodiless {
            let _ = queue.try_send(Part::End);
        } else {
            self.queues.push(queue);
        }
        tokio::spawn(run(client, copy, body));
    }

    /// A new try begins: the body may be seen from its start again.
    pub(super) fn rewind(&mut self) {
        self.seen = 0;
    }

    /// Passes a chunk on to whoever keeps up.
    pub(super) fn chunk(&mut self, data: Option<&Bytes>, end: bool) {
        if self.queues.is_empty() {
            return;
        }
        if let Some(data) = data {
            let known = usize::try_from(self.copied - self.seen)
                .unwrap_or(usize::MAX)
                .min(data.len());
            self.seen += data.len() as u64;
            let fresh = data.slice(known..);
            self.copied = self.copied.max(self.seen);
            if !fresh.is_empty() {
                self.queues
                    .retain(|queue| queue.try_send(Part::Data(fresh.clone())).is_ok());
            }
        }
        if end {
            for queue in self.queues.drain(..) {
                let _ = queue.try_send(Part::End);
            }
        }
    }
}

async fn run(client: Arc<MirrorClient>, copy: Copy, body: mpsc::Receiver<Part>) {
    // The lease lives to the end of the copy: that is when it counts the call out.
    let Copy { head, peer, mut lease } = copy;
    let sent = tokio::time::timeout(LIMIT, client.send(head, &peer, body)).await;
    let now = Moment::now();
    match sent {
        Ok(Ok(status)) => {
            lease.answered(status, now);
        }
        Ok(Err(error)) if *error.etype() == ErrorType::Custom(GIVEN_UP) => {}
        Ok(Err(error)) => {
            tracing::debug!("copy of a call failed: {error}");
            lease.failed(Failure::Reset, now);
        }
        Err(_) => lease.failed(Failure::Timeout, now),
    }
}
