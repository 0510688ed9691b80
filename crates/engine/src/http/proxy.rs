//! pingora's phases, filled in. In the order in which a call meets them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use pingora_core::{protocols::Digest, upstreams::peer::HttpPeer};
use pingora_error::{Error, ErrorSource, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tokio::time::Instant;

use super::{
    Gateway,
    answer::Answer,
    context::{CallState, Kind},
    forward::{self, RequestHeaders, ResponseHeaders},
    peer,
    request::{authority_of, kind_of, scheme_of, with_call},
    select::{filters_of, transcoder_of},
    verdict::{
        HELD_TOO_LONG, OWN_ANSWER, RETRY_STATUS, decide_retry, fail_lease, give, has_begun, log_try, next_endpoint,
        own_fault, whose_fault,
    },
};
use crate::{
    cluster::{Failure, TryOutcome},
    filter::Target,
    listen::connection::Connection,
    moment::Moment,
};

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = CallState;

    fn new_ctx(&self) -> CallState {
        CallState::new(self.runtime.load_full())
    }

    /// None: answers are not compressed here.
    fn init_downstream_modules(&self, _modules: &mut pingora_core::modules::http::HttpModules) {}

    async fn request_filter(&self, session: &mut Session, state: &mut CallState) -> Result<bool> {
        state.connection = session.digest().and_then(Connection::of).cloned();
        state.kind = kind_of(session);
        session.set_write_timeout(Some(self.client_idle));
        forward::add_request_id(session.req_header_mut())?;
        match self.route(session, state) {
            Ok(None) => {}
            Ok(Some(redirection)) => {
                self.redirect(session, state, redirection).await?;
                return Ok(true);
            }
            Err(answer) if transcoder_of(state).is_some() => {
                self.refuse_transcoded(session, state, answer).await?;
                return Ok(true);
            }
            Err(answer) => {
                state.answer = Some(answer);
                state.status = answer.status();
                answer.send(session, state.kind == Kind::Grpc).await?;
                return Ok(true);
            }
        }
        if let Some(transcoder) = transcoder_of(state) {
            self.transcode(session, state, &transcoder).await?;
            return Ok(true);
        }
        self.start_copies(session, state);
        Ok(false)
    }

    async fn upstream_peer(&self, session: &mut Session, state: &mut CallState) -> Result<Box<HttpPeer>> {
        if let Some(wait) = state.next_try.take().filter(|wait| !wait.is_zero()) {
            tokio::time::sleep(wait).await;
        }
        if state.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(give(state, Answer::TimedOut));
        }
        let (Some(rule), Some(cluster)) = (&state.rule, &state.cluster) else {
            return Err(give(state, Answer::Internal));
        };
        let policy = &cluster.policy;
        let now = Moment::now();
        let leased = with_call(session, state, |call| {
            cluster.pick(call, &state.tried, now, fastrand::u64(..))
        });
        let lease = match leased {
            Ok(lease) => lease,
            Err(none) => return Err(give(state, Answer::NoEndpoint(none))),
        };
        let explicit = rule.request_timeout(policy) != policy.request_timeout;
        state.try_deadline = rule.try_timeout(policy).map(|limit| Instant::now() + limit);
        let due = state.due();
        let over_h2 = session.is_http2();
        let limits = peer::Limits {
            connect: policy.connect_timeout,
            // Over HTTP/1 the connection itself keeps every deadline to the point. Over HTTP/2 pingora's timeout
            // between two reads has to do: exact for the answer's head, checked again with each piece of the body.
            read: match (
                over_h2,
                state.kind.is_stream() && !explicit && state.try_deadline.is_none(),
            ) {
                (false, _) => None,
                (true, true) => policy.idle_timeout,
                (true, false) => least(
                    due.map(|due| due.saturating_duration_since(Instant::now())),
                    policy.idle_timeout,
                ),
            },
            write: policy.idle_timeout.or(Some(self.client_idle)),
            due,
        };
        let peer = self.reach.peer(lease.endpoint(), &policy.tls, state.kind, &limits);
        state.lease = Some(lease);
        state.tries += 1;
        state.response_bytes = 0;
        state.answer = None;
        state.connected = false;
        state.copies.rewind();
        state.arm();
        peer.map_err(|problem| {
            tracing::warn!("{problem}");
            give(state, Answer::ConnectFailed)
        })
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        state: &mut CallState,
    ) -> Result<()> {
        state.connected = true;
        if let Some(lease) = &state.lease {
            lease.connected(reused);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        state: &mut CallState,
    ) -> Result<()> {
        let host = request.headers.get(header::HOST).cloned();
        let host = host.or_else(|| HeaderValue::from_str(authority_of(request)?).ok());
        if let Some(connection) = &state.connection {
            let client = connection.client.ip();
            forward::add_forwarded(
                request,
                client,
                scheme_of(connection),
                host.clone(),
                self.trust_forwarded,
            )?;
        }
        let mut target = Target::default();
        let path = session.req_header().uri.path();
        for filters in filters_of(state) {
            filters.on_request(path, &mut RequestHeaders(request), &mut target);
        }
        forward::retarget(request, &target)?;
        if request.version == Version::HTTP_2 {
            // The client waits for a word that HTTP/2 endpoints seldom send.
            if request.remove_header(&header::EXPECT).is_some() && !session.is_http2() {
                session.as_downstream_mut().write_continue_response().await?;
            }
        } else if host.is_none()
            && target.host.is_none()
            && let Some(lease) = &state.lease
        {
            // HTTP/1.0 without Host; every HTTP/1.1 request has one.
            request.insert_header(header::HOST, lease.endpoint().address.to_string())?;
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        state: &mut CallState,
    ) -> Result<()> {
        if let Some(data) = body {
            state.request_bytes += data.len() as u64;
        }
        if let Some(connection) = &state.connection {
            connection.moved();
        }
        state.copies.chunk(body.as_ref(), end);
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        state: &mut CallState,
    ) -> Result<()> {
        let status = response.status.as_u16();
        if response.status.is_informational() && status != 101 {
            return Ok(());
        }
        if let Some(lease) = &mut state.lease {
            state.upstream_time = Some(lease.answered(status, Moment::now()));
        }
        if decide_retry(session, state, TryOutcome::Status(status)) {
            return Err(Error::new_up(RETRY_STATUS));
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        state: &mut CallState,
    ) -> Result<()> {
        let status = response.status.as_u16();
        if response.status.is_informational() && status != 101 {
            return Ok(());
        }
        state.status = status;
        forward::strip_hop_by_hop(response);
        if session.req_header().version == Version::HTTP_10 {
            // HTTP/1.0 knows no chunks; without them and without a length the end of the connection ends the body.
            response.remove_header(&header::TRANSFER_ENCODING);
        }
        for filters in filters_of(state).filter(|filters| filters.changes_response()) {
            filters.on_response(&mut ResponseHeaders(response));
        }
        let idle = state.cluster.as_ref().and_then(|cluster| cluster.policy.idle_timeout);
        let events = response
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if events && state.kind == Kind::Plain {
            state.kind = Kind::Events;
        }
        if let Some(connection) = &state.connection {
            if connection.port.is_closed() && status != 101 {
                session.set_keepalive(None);
            }
            if !connection.h2 {
                connection.set_rest(idle);
                if status == 101 {
                    connection.upgrade();
                    session.set_read_timeout(idle);
                }
                // A stream may outlive the deadline of its beginning.
                if state.kind.is_stream() && (status == 101 || state.kind != Kind::Upgrade) {
                    connection.set_deadline(None);
                }
            }
        }
        self.begin_hold(session, state, response);
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        state: &mut CallState,
    ) -> Result<Option<Duration>> {
        if let Some(data) = body {
            state.response_bytes += data.len() as u64;
        }
        let Some(connection) = &state.connection else {
            return Ok(None);
        };
        connection.moved();
        if connection.h2 && !state.kind.is_stream() && state.due().is_some_and(|due| due <= Instant::now()) {
            return Err(match state.held {
                Some(_) => Error::new_up(HELD_TOO_LONG),
                None => give(state, Answer::TimedOut),
            });
        }
        self.end_idle_hold(session, state, end);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        state: &mut CallState,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let late = state.deadline.is_some_and(|deadline| deadline <= Instant::now());
        fail_lease(state, Failure::Connect);
        log_try(state, &error);
        let again = decide_retry(session, state, TryOutcome::Failed(Failure::Connect));
        state.answer = Some(if late { Answer::TimedOut } else { Answer::ConnectFailed });
        error.set_retry(again);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        state: &mut CallState,
        _reused: bool,
    ) -> Box<Error> {
        if self.end_hold(session, state) {
            // Nothing of it has reached the client.
            state.response_bytes = 0;
        }
        if *error.etype() == RETRY_STATUS {
            next_endpoint(state);
            error.set_retry(true);
            return error;
        }
        if *error.etype() == OWN_ANSWER {
            if state.answer == Some(Answer::TimedOut) {
                fail_lease(state, Failure::Timeout);
            }
            error.set_retry(false);
            return error;
        }
        let Some(failure) = whose_fault(&error, state) else {
            // The client is gone, too slow or malformed; the endpoint is not to blame.
            error.set_retry(false);
            return error;
        };
        fail_lease(state, failure);
        log_try(state, &error);
        state.answer = Some(match failure {
            Failure::Timeout => Answer::TimedOut,
            _ => Answer::BrokenOff,
        });
        let again = decide_retry(session, state, TryOutcome::Failed(failure));
        if again {
            next_endpoint(state);
        }
        error.set_retry(again);
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, state: &mut CallState) -> FailToProxy {
        state.disarm();
        let begun = has_begun(session, state);
        let answer = match (state.answer, own_fault(error, state)) {
            (_, Some(answer)) => Some(answer),
            (Some(answer), None) => Some(answer),
            (None, None) if *error.esource() != ErrorSource::Downstream => Some(Answer::Internal),
            // The client is gone: nobody would read it.
            (None, None) => None,
        };
        state.answer = answer;
        if let Some(answer) = answer.filter(|_| !begun) {
            state.status = answer.status();
            session.set_keepalive(None);
            if answer.send(session, state.kind == Kind::Grpc).await.is_ok() && !session.is_http2() {
                state.ended = Some(Moment::now());
                // Lingers while the client still sends, or it would never see the answer.
                session.as_downstream_mut().shutdown().await;
            }
        }
        FailToProxy {
            error_code: state.status,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, state: &mut CallState) {
        self.end_hold(session, state);
        state.disarm();
        if let Some(error) = error {
            tracing::debug!("call ended early: {error}");
        }
        // Our own answers are counted by nobody else.
        if state.response_bytes == 0 {
            state.response_bytes = session.body_bytes_sent() as u64;
        }
        let took = state.ended.unwrap_or_else(Moment::now).since(state.started);
        state.count(took);
        self.log(session, state, took);
        state.lease = None;
    }

    fn suppress_error_log(&self, _session: &Session, _state: &CallState, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _state: &CallState,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
