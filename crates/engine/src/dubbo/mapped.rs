//! A call that is carried as a request of HTTP: its rule has an HTTPTranscoding.
//!
//! ```text
//!  frame ─▶ Mapped::of ─▶ tries: endpoint ─▶ http::fetch ─▶ Mapped's answer ─▶ frame
//!              └ no request: fault               └ broken, late: another try, if that is allowed
//! ```
//!
//! Retries, budgets, limits of a try and the figures of endpoints are those of any call, see [`tries`](super::tries). An answer of HTTP
//! that says that it failed is judged and tried again as in HTTP; its caller sees it as an exception.

use std::net::SocketAddr;

use landfall_codec::dubbo2::{Frame, Header, Request, Serialization, Status};
use tokio::time::Instant;

use super::{
    Proxy,
    fault::Fault,
    tries::{Tally, Trial, Try, Way},
};
use crate::{
    authorize::{Asked, DubboAsked},
    call::{Call, Scheme},
    cluster::{Failure, Lease, Tried, TryOutcome},
    http::fetch::{Broken, MOST_ANSWER},
    moment::Moment,
    transcode::{HttpMapping, HttpRequest},
};

/// A call with the request that it means.
pub(super) struct Mapped<'a> {
    proxy: &'a Proxy,
    mapping: &'a HttpMapping,
    header: Header,
    request: HttpRequest,
}

/// What policies are asked: the request, and the call that it was.
pub(super) struct MappedAsked<'a> {
    call: Call<'a>,
    dubbo: DubboAsked<'a>,
}

impl MappedAsked<'_> {
    pub(super) fn of(&self) -> Asked<'_> {
        Asked {
            dubbo: Some(self.dubbo),
            ..Asked::http(&self.call)
        }
    }
}

impl<'a> Mapped<'a> {
    /// Makes the request of a call.
    ///
    /// # Errors
    /// Why it means none.
    pub(super) fn of(
        proxy: &'a Proxy,
        mapping: &'a HttpMapping,
        frame: &Frame,
        request: &Request,
    ) -> Result<Self, Fault> {
        let serialization = frame.header.serialization;
        if serialization != Serialization::HESSIAN2 {
            return Err(Fault::Foreign(serialization));
        }
        Ok(Self {
            request: mapping.request(request)?,
            header: frame.header,
            proxy,
            mapping,
        })
    }

    /// The HTTP method.
    pub(super) fn verb(&self) -> &str {
        &self.request.verb
    }

    /// What policies of the service are asked.
    pub(super) fn asked<'b>(&'b self, client: SocketAddr, dubbo: DubboAsked<'b>) -> MappedAsked<'b> {
        let request = &self.request;
        MappedAsked {
            call: Call {
                method: &request.verb,
                scheme: Scheme::Http,
                host: "",
                path: &request.path,
                query: request.query.as_deref(),
                headers: &request.headers,
                client,
                peer: None,
            },
            dubbo,
        }
    }
}

impl Way for Mapped<'_> {
    async fn once(
        &self,
        trial: &Trial<'_>,
        mut lease: Lease,
        tried: &mut Tried,
        tally: &mut Tally,
    ) -> Result<Try, Fault> {
        tried.add(&lease);
        tally.endpoint = Some(lease.endpoint().address);
        tally.tries += 1;
        let due = trial.due(Instant::now());
        let fetched = self.proxy.fetcher.fetch(&lease, &self.request, due).await;
        let now = Moment::now();
        let failure = match fetched {
            Ok(answer) => {
                let status = answer.status;
                tally.upstream = Some(lease.answered(status, now));
                let body = self
                    .mapping
                    .reply(&self.request, (status, &answer.kind), &answer.body)?;
                let reply = Frame::new(self.header.answer(Status::OK, 0), body);
                let outcome = (status >= 400).then_some(TryOutcome::Status(status));
                return Ok(Try::Answered(reply, outcome));
            }
            Err(Broken::TooLarge(status)) => {
                tally.upstream = Some(lease.answered(status, now));
                let what = format!("the answer is longer than {MOST_ANSWER} bytes");
                return Err(Fault::NoResult(what));
            }
            Err(Broken::Connect) => Failure::Connect,
            Err(Broken::Sent) => Failure::Reset,
            Err(Broken::Late) => Failure::Timeout,
        };
        lease.failed(failure, now);
        Ok(Try::Failed(failure, failure != Failure::Connect))
    }
}
