//! A request of our own making to an endpoint, and its whole answer: for calls of Dubbo that go to services of HTTP.
//!
//! ```text
//!  HttpRequest ─▶ peer ─▶ pooled connection ─▶ head, body ─▶ answer's head ─▶ its body, up to a limit ─▶ Fetched
//! ```

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use pingora_core::{
    connectors::{ConnectorOptions, http::Connector},
    upstreams::peer::HttpPeer,
};
use pingora_error::{Error, ErrorType, OrErr, Result};
use pingora_http::RequestHeader;
use tokio::time::{Instant, timeout_at};

use super::{
    context::Kind,
    forward,
    peer::{self, Limits, Reach},
};
use crate::{cluster::Lease, transcode::HttpRequest};

/// The longest answer that is read, in bytes: as much as Dubbo's consumers take unless they say otherwise.
pub(crate) const MOST_ANSWER: usize = 8 << 20;
const POOL: usize = 128;

/// The connections of a worker to services of HTTP that Dubbo's consumers call.
pub(crate) struct Fetcher {
    connector: Connector,
    reach: Reach,
}

/// A whole answer.
pub(crate) struct Fetched {
    pub(crate) status: u16,
    /// Its content type, or nothing.
    pub(crate) kind: String,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nothing was sent.
    Connect,
    /// The endpoint may have the request.
    Sent,
    /// Out of time.
    Late,
    /// The answer, of this status, is too long.
    TooLarge(u16),
}

impl Fetcher {
    pub(crate) fn new(reach: Reach) -> Self {
        Self {
            connector: Connector::new(Some(ConnectorOptions::new(POOL))),
            reach,
        }
    }

    /// Asks the endpoint of a lease.
    ///
    /// # Errors
    /// Why it has no answer by then.
    pub(crate) async fn fetch(
        &self,
        lease: &Lease,
        request: &HttpRequest,
        due: Option<Instant>,
    ) -> std::result::Result<Fetched, Broken> {
        let work = self.ask(lease, request, due);
        match due {
            Some(due) => timeout_at(due, work).await.unwrap_or(Err(Broken::Late)),
            None => work.await,
        }
    }

    async fn ask(
        &self,
        lease: &Lease,
        request: &HttpRequest,
        due: Option<Instant>,
    ) -> std::result::Result<Fetched, Broken> {
        let (endpoint, policy) = (lease.endpoint(), &lease.cluster().policy);
        let limits = Limits {
            connect: policy.connect_timeout,
            read: policy.idle_timeout,
            write: policy.idle_timeout,
            due,
        };
        let peer = self.reach.peer(endpoint, &policy.tls, Kind::Plain, &limits);
        let peer = peer.map_err(|problem| {
            tracing::debug!("no connection for a call of Dubbo: {problem}");
            Broken::Connect
        })?;
        let h2 = peer::speaks_h2(endpoint, Kind::Plain);
        let secured = peer::is_secured(endpoint);
        let host = match &policy.tls.server_name {
            Some(name) if secured => name.to_string(),
            _ => endpoint.address.to_string(),
        };
        let head = head(request, &host, h2, secured).map_err(|error| {
            tracing::warn!("a call of Dubbo makes no request: {error}");
            Broken::Connect
        })?;
        self.exchange(lease, head, request.body.clone(), &peer).await
    }

    async fn exchange(
        &self,
        lease: &Lease,
        head: Box<RequestHeader>,
        body: Option<Bytes>,
        peer: &HttpPeer,
    ) -> std::result::Result<Fetched, Broken> {
        let (mut session, reused) = self.connector.get_http_session(peer).await.map_err(|error| {
            tracing::debug!("no connection for a call of Dubbo: {error}");
            Broken::Connect
        })?;
        lease.connected(reused);
        session.set_read_timeout(peer.options.read_timeout);
        session.set_write_timeout(peer.options.write_timeout);
        let broken = |error: Box<Error>| {
            tracing::debug!("a call of Dubbo as a request failed: {error}");
            match error.etype() {
                ErrorType::ReadTimedout | ErrorType::WriteTimedout => Broken::Late,
                _ => Broken::Sent,
            }
        };
        session.write_request_header(head).await.map_err(broken)?;
        if let Some(body) = body {
            session.write_request_body(body, false).await.map_err(broken)?;
        }
        session.finish_request_body().await.map_err(broken)?;
        // What says 1xx comes before the answer.
        let (status, kind) = loop {
            session.read_response_header().await.map_err(broken)?;
            let head = session.response_header().ok_or(Broken::Sent)?;
            let status = head.status.as_u16();
            if status >= 200 {
                let kind = head.headers.get(header::CONTENT_TYPE);
                let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
                break (status, kind.trim().to_ascii_lowercase());
            }
        };
        let mut whole = BytesMut::new();
        while let Some(data) = session.read_response_body().await.map_err(broken)? {
            if whole.len() + data.len() > MOST_ANSWER {
                return Err(Broken::TooLarge(status));
            }
            whole.extend_from_slice(&data);
        }
        let idle = peer.options.idle_timeout;
        self.connector.release_http_session(session, peer, idle).await;
        Ok(Fetched {
            status,
            kind,
            body: whole.freeze(),
        })
    }
}

fn head(request: &HttpRequest, host: &str, h2: bool, tls: bool) -> Result<Box<RequestHeader>> {
    let path = match &request.query {
        Some(query) => format!("{}?{query}", request.path),
        None => request.path.clone(),
    };
    let mut head = Box::new(RequestHeader::build(&*request.verb, path.as_bytes(), Some(8))?);
    for (name, value) in &request.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    let length = request.body.as_ref().map_or(0, Bytes::len);
    if request.body.is_some() || !matches!(&*request.verb, "GET" | "DELETE") {
        head.insert_header(header::CONTENT_LENGTH, length)?;
    }
    let host = HeaderValue::from_str(host).or_err(ErrorType::InvalidHTTPHeader, "host of a request")?;
    forward::address_copy(&mut head, Some(&host), h2, tls, true)?;
    Ok(head)
}
