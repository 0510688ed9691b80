//! Answers of our own: what the client gets when no endpoint answers it.
//!
//! The status and a few words; never an address, a host name or an error text of ours, which are for the log.
//! A gRPC caller gets the same as a gRPC status, or its library would report nothing but "bad content type".

use bytes::Bytes;
use pingora_core::protocols::http::HttpTask;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::cluster::NoEndpoint;

/// Names the reason in an answer of our own, so that it is not taken for the service's.
pub(crate) const ERROR_HEADER: &str = "x-landfall-error";

/// Why we answer ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The request cannot be read in exactly one way.
    Malformed(&'static str),
    /// A limit on its size.
    TooLarge(u16, &'static str),
    /// No listener or no rule takes it.
    NoRoute,
    /// A policy of the service does not let it through.
    Denied,
    /// HTTP/2 over a connection whose certificate is another listener's.
    Misdirected,
    /// The rule names no backend that exists.
    NoBackend,
    /// The cluster has nobody to take it.
    NoEndpoint(NoEndpoint),
    /// No connection to an endpoint, and no further try.
    ConnectFailed,
    /// An endpoint broke off, or what it sent is no HTTP.
    BrokenOff,
    /// The time of the call or of its last try is over.
    TimedOut,
    /// The client did not send its body in time.
    SlowClient,
    /// Something that should not happen.
    Internal,
}

impl Answer {
    /// The HTTP status.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::TooLarge(status, _) => status,
            Self::Denied => 403,
            Self::NoRoute => 404,
            Self::SlowClient => 408,
            Self::Misdirected => 421,
            Self::NoBackend | Self::Internal => 500,
            Self::ConnectFailed | Self::BrokenOff => 502,
            Self::NoEndpoint(_) => 503,
            Self::TimedOut => 504,
        }
    }

    /// The reason in a few words: body, header and access log.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Malformed(why) | Self::TooLarge(_, why) => why,
            Self::Denied => "RBAC: access denied",
            Self::NoRoute => "no route",
            Self::SlowClient => "request body not complete in time",
            Self::Misdirected => "misdirected request",
            Self::NoBackend => "no such backend",
            Self::Internal => "internal error",
            Self::ConnectFailed => "no connection to the endpoint",
            Self::BrokenOff => "endpoint broke off",
            Self::NoEndpoint(NoEndpoint::Empty | NoEndpoint::Tag) => "no endpoint",
            Self::NoEndpoint(NoEndpoint::Ejected) => "no healthy endpoint",
            Self::NoEndpoint(NoEndpoint::Overloaded) => "too many calls in flight",
            Self::TimedOut => "timed out",
        }
    }

    /// The gRPC status code (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>). The Gateway API asks for
    /// UNIMPLEMENTED where no route matches and UNAVAILABLE where a backend is invalid.
    fn grpc_status(self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::TooLarge(..) | Self::Internal => "13",
            Self::NoRoute => "12",
            Self::Denied => "7",
            Self::SlowClient | Self::TimedOut => "4",
            Self::Misdirected | Self::NoBackend | Self::NoEndpoint(_) | Self::ConnectFailed | Self::BrokenOff => "14",
        }
    }

    fn head(self, grpc: bool, length: usize) -> Result<ResponseHeader> {
        let words = self.words();
        if grpc {
            let mut head = ResponseHeader::build(200, Some(4))?;
            head.insert_header("content-type", "application/grpc")?;
            head.insert_header("grpc-status", self.grpc_status())?;
            head.insert_header("grpc-message", words)?;
            head.insert_header(ERROR_HEADER, words)?;
            return Ok(head);
        }
        let mut head = ResponseHeader::build(self.status(), Some(4))?;
        head.insert_header("content-type", "text/plain; charset=utf-8")?;
        head.insert_header("content-length", length.to_string())?;
        head.insert_header(ERROR_HEADER, words)?;
        Ok(head)
    }

    /// Sends it, if no answer has begun.
    pub(crate) async fn send(self, session: &mut Session, grpc: bool) -> Result<()> {
        if session
            .response_written()
            .is_some_and(|head| !head.status.is_informational())
        {
            return Ok(());
        }
        let body = match grpc {
            true => Bytes::new(),
            false => Bytes::from(format!("{}\n", self.words())),
        };
        let mut head = Box::new(self.head(grpc, body.len())?);
        let bodiless = grpc || session.req_header().method == http::Method::HEAD;
        if grpc && !session.is_http2() {
            head.insert_header("content-length", "0")?;
        }
        if bodiless {
            return end_with_head(session, head).await;
        }
        session.write_response_header(head, false).await?;
        session.write_response_body(Some(body), true).await
    }
}

/// Sends an answer that is a head only. Over HTTP/2 the head itself must end the stream: a gRPC client takes a status
/// in it for the call's only then.
pub(super) async fn end_with_head(session: &mut Session, head: Box<ResponseHeader>) -> Result<()> {
    session
        .as_downstream_mut()
        .response_duplex_vec(vec![HttpTask::Header(head, true)])
        .await?;
    Ok(())
}
