//! pingora's phases, filled in. In the order in which a call meets them.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version, header};
use pingora_core::{protocols::Digest, upstreams::peer::HttpPeer};
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tokio::time::Instant;

use super::{
    Gateway,
    answer::{Answer, end_with_head},
    context::{CallState, Kind},
    forward::{self, RequestHeaders, ResponseHeaders},
    mirror::Copy,
    peer,
};
use crate::{
    call::{Call, Scheme, host_of},
    cluster::{Failure, TryOutcome},
    filter::{Filters, Redirection, Target},
    listen::{connection::Connection, head},
    moment::Moment,
    runtime::{Choice, Selected},
};

/// What pingora is told when we decide to answer ourselves; which answer is in the call's state.
const OWN_ANSWER: ErrorType = ErrorType::Custom("OwnAnswer");
/// … or to try again because of the answer's status.
const RETRY_STATUS: ErrorType = ErrorType::Custom("RetryStatus");

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
            Err(answer) => {
                state.answer = Some(answer);
                state.status = answer.status();
                answer.send(session, state.kind == Kind::Grpc).await?;
                return Ok(true);
            }
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
        let peer = peer::peer(
            lease.endpoint(),
            &policy.tls,
            &self.authorities.load(),
            state.kind,
            &limits,
        );
        state.lease = Some(lease);
        state.tries += 1;
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
        let Some(connection) = &state.connection else {
            return Ok(());
        };
        if connection.port.is_closing() && status != 101 {
            session.set_keepalive(None);
        }
        if connection.h2 {
            return Ok(());
        }
        connection.set_rest(idle);
        if status == 101 {
            connection.upgrade();
            session.set_read_timeout(idle);
        }
        // A stream may outlive the deadline of its beginning.
        if state.kind.is_stream() && (status == 101 || state.kind != Kind::Upgrade) {
            connection.set_deadline(None);
        }
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
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
            return Err(give(state, Answer::TimedOut));
        }
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
        let begun = session
            .response_written()
            .is_some_and(|head| !head.status.is_informational());
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
        state.disarm();
        if let Some(error) = error {
            tracing::debug!("call ended early: {error}");
        }
        // Our own answers are counted by nobody else.
        if state.response_bytes == 0 {
            state.response_bytes = session.body_bytes_sent() as u64;
        }
        let took = Moment::now().since(state.started);
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

impl Gateway {
    /// Finds the rule and the backend; `Some` is a redirect.
    fn route(&self, session: &Session, state: &mut CallState) -> std::result::Result<Option<Redirection>, Answer> {
        if session.is_http2() {
            check_h2(session.req_header())?;
        }
        let Some(connection) = state.connection.clone() else {
            return Err(Answer::Internal);
        };
        let sni = connection.tls.as_ref().and_then(|tls| tls.sni.as_deref());
        let port = connection.port.number();
        if let Some(last) = connection.port.last_runtime() {
            state.runtime = last;
        }
        let runtime = state.runtime.clone();
        let scope = runtime.scope(port, connection.local.ip(), scheme_of(&connection));
        let selected = scope.ok_or(Answer::NoRoute).and_then(|scope| {
            with_call(session, state, |call| match scope.select(call, sni) {
                Selected::Route(found) => Ok((found.rule.clone(), found.rule.filters.redirect(call, port))),
                Selected::NotFound => Err(Answer::NoRoute),
                Selected::Misdirected => Err(Answer::Misdirected),
            })
        });
        let (rule, redirection) = selected?;
        rule.metrics.started();
        state.rule = Some(rule.clone());
        if redirection.is_some() {
            return Ok(redirection);
        }
        let (backend, cluster) = match runtime.backend(&rule, fastrand::u64(..)) {
            Choice::Cluster { backend, cluster } => (backend, Some(cluster)),
            Choice::Missing { backend, .. } => (backend, None),
            Choice::None => return Err(Answer::NoBackend),
        };
        state.backend = Some(backend.clone());
        let redirection = with_call(session, state, |call| backend.filters.redirect(call, port));
        if redirection.is_some() {
            return Ok(redirection);
        }
        let cluster = cluster.ok_or(Answer::NoBackend)?;
        let now = Instant::now();
        state.deadline = rule.request_timeout(&cluster.policy).map(|limit| now + limit);
        cluster.begin_call(Moment::now());
        state.cluster = Some(cluster.clone());
        Ok(None)
    }

    async fn redirect(&self, session: &mut Session, state: &mut CallState, to: Redirection) -> Result<()> {
        state.status = to.status;
        let mut head = ResponseHeader::build(to.status, Some(4))?;
        head.insert_header(header::LOCATION, to.location)?;
        head.insert_header(header::CONTENT_LENGTH, 0)?;
        for filters in filters_of(state) {
            filters.on_response(&mut ResponseHeaders(&mut head));
        }
        end_with_head(session, Box::new(head)).await
    }

    /// Sends copies to the mirrors of rule and backend.
    fn start_copies(&self, session: &mut Session, state: &mut CallState) {
        let wanted = filters_of(state).any(|filters| !filters.mirrors().is_empty());
        if !wanted {
            return;
        }
        let bodiless = session.as_downstream_mut().is_body_empty();
        let mut copies = Vec::new();
        for filters in filters_of(state) {
            for mirror in filters
                .mirrors()
                .iter()
                .filter(|mirror| mirror.wants(fastrand::u64(..)))
            {
                let Some(cluster) = state.runtime.cluster(mirror.to()) else {
                    continue;
                };
                let now = Moment::now();
                let leased = with_call(session, state, |call| {
                    cluster.pick(call, &Default::default(), now, fastrand::u64(..))
                });
                let Ok(lease) = leased else { continue };
                if let Ok(copy) = self.copy(session, state, filters, mirror, lease, bodiless) {
                    copies.push(copy);
                }
            }
        }
        for copy in copies {
            state.copies.start(self.mirrors.clone(), copy, bodiless);
        }
    }

    fn copy(
        &self,
        session: &Session,
        state: &CallState,
        filters: &Filters,
        mirror: &crate::filter::MirrorSlot,
        lease: crate::cluster::Lease,
        bodiless: bool,
    ) -> Result<Copy> {
        let original = session.req_header();
        let mut head = Box::new(original.clone());
        let mut target = Target::default();
        filters.on_mirrored(mirror, original.uri.path(), &mut RequestHeaders(&mut head), &mut target);
        let host = head.headers.get(header::HOST).cloned();
        let host = host.or_else(|| HeaderValue::from_str(authority_of(&head)?).ok());
        if let Some(connection) = &state.connection {
            let client = connection.client.ip();
            forward::add_forwarded(
                &mut head,
                client,
                scheme_of(connection),
                host.clone(),
                self.trust_forwarded,
            )?;
        }
        forward::retarget(&mut head, &target)?;
        let endpoint = lease.endpoint();
        let policy = &lease.cluster().policy;
        for name in [
            "connection",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "te",
            "expect",
        ] {
            head.remove_header(name);
        }
        let h2 = peer::speaks_h2(endpoint, state.kind);
        let host = target.host.clone().or(host);
        forward::address_copy(&mut head, host.as_ref(), h2, endpoint.tls.is_some(), bodiless)?;
        let limits = peer::Limits {
            connect: policy.connect_timeout,
            read: policy.idle_timeout,
            write: policy.idle_timeout,
            due: None,
        };
        let kind = if state.kind == Kind::Upgrade {
            Kind::Plain
        } else {
            state.kind
        };
        let peer = peer::peer(endpoint, &policy.tls, &self.authorities.load(), kind, &limits)
            .map_err(|problem| Error::explain(ErrorType::InternalError, problem))?;
        Ok(Copy { head, peer, lease })
    }
}

/// The filters of the rule, then those of the backend.
fn filters_of(state: &CallState) -> impl Iterator<Item = &Filters> {
    let rule = state.rule.iter().map(|rule| &rule.filters);
    rule.chain(state.backend.iter().map(|backend| &backend.filters))
}

/// Notes which answer of our own ends the call.
fn give(state: &mut CallState, answer: Answer) -> Box<Error> {
    state.answer = Some(answer);
    let mut error = Error::new_in(OWN_ANSWER);
    error.set_retry(false);
    error
}

fn fail_lease(state: &mut CallState, failure: Failure) {
    if let Some(lease) = &mut state.lease {
        lease.failed(failure, Moment::now());
    }
}

/// Lets the endpoint go and remembers it.
fn next_endpoint(state: &mut CallState) {
    if let Some(lease) = state.lease.take() {
        state.tried.add(&lease);
    }
    state.try_deadline = None;
    state.arm();
}

/// Whether there is a further try: nothing has reached the client, the body can be sent again, the policy says so,
/// and the wait fits into what is left of the call's time.
fn decide_retry(session: &Session, state: &mut CallState, outcome: TryOutcome) -> bool {
    let begun = session
        .response_written()
        .is_some_and(|head| !head.status.is_informational());
    let Some(cluster) = state
        .cluster
        .as_ref()
        .filter(|_| !begun && !session.as_downstream().retry_buffer_truncated())
    else {
        return false;
    };
    let left = state
        .deadline
        .map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return false;
    }
    let method = session.req_header().method.as_str();
    let again = cluster.retry(
        state.tries,
        method,
        outcome,
        state.connected,
        Moment::now(),
        fastrand::u64(..),
    );
    let again = again.filter(|wait| left.is_none_or(|left| *wait < left));
    state.next_try = again;
    if again.is_some() && outcome == TryOutcome::Failed(Failure::Connect) {
        next_endpoint(state);
    }
    again.is_some()
}

/// How the endpoint failed; `None` if it was the client.
fn whose_fault(error: &Error, state: &CallState) -> Option<Failure> {
    let timed_out = matches!(
        error.etype(),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout | ErrorType::ConnectTimedout
    );
    if *error.esource() != ErrorSource::Downstream {
        return Some(if timed_out { Failure::Timeout } else { Failure::Reset });
    }
    // Deadlines of HTTP/1 calls end the client's reads and writes; that is not the client's doing.
    let connection = state.connection.as_ref().filter(|connection| !connection.h2)?;
    let due = connection.due().is_some_and(|due| due <= Instant::now());
    due.then_some(Failure::Timeout)
}

/// The answer to what the client did wrong, if it can still be told.
fn own_fault(error: &Error, state: &CallState) -> Option<Answer> {
    if *error.esource() != ErrorSource::Downstream || state.answer == Some(Answer::TimedOut) {
        return None;
    }
    if let Some(refusal) = state.connection.as_ref().and_then(|connection| connection.refusal()) {
        return Some(Answer::Malformed(refusal.why));
    }
    match error.etype() {
        ErrorType::ReadTimedout => Some(Answer::SlowClient),
        ErrorType::InvalidHTTPHeader => Some(Answer::Malformed("malformed request")),
        _ => None,
    }
}

fn log_try(state: &CallState, error: &Error) {
    let address = state.lease.as_ref().map(|lease| lease.endpoint().address);
    tracing::debug!(?address, tries = state.tries, "try failed: {error}");
}

fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

pub(super) fn scheme_of(connection: &Connection) -> Scheme {
    match connection.tls {
        Some(_) => Scheme::Https,
        None => Scheme::Http,
    }
}

/// Host and port as the client sent them.
pub(super) fn authority_of(request: &RequestHeader) -> Option<&str> {
    match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers.get(header::HOST)?.to_str().ok(),
    }
}

/// Looks at the request as a call.
fn with_call<T>(session: &Session, state: &CallState, look: impl FnOnce(&Call<'_>) -> T) -> T {
    let request = session.req_header();
    let host = host_of(authority_of(request).unwrap_or(""));
    let nobody = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let connection = state.connection.as_ref();
    look(&Call {
        method: request.method.as_str(),
        scheme: connection.map_or(Scheme::Http, |connection| scheme_of(connection)),
        host: &host,
        path: request.uri.path(),
        query: request.uri.query(),
        headers: &request.headers as &HeaderMap,
        client: connection.map_or(nobody, |connection| connection.client),
    })
}

fn kind_of(session: &Session) -> Kind {
    let request = session.req_header();
    let value = |name| request.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    if session.is_upgrade_req() && value(header::UPGRADE).eq_ignore_ascii_case(b"websocket") {
        return Kind::Upgrade;
    }
    let kind = value(header::CONTENT_TYPE);
    if let Some(rest) = kind.strip_prefix(b"application/grpc")
        && matches!(rest.first(), None | Some(b'+' | b';'))
    {
        return Kind::Grpc;
    }
    if value(header::ACCEPT).starts_with(b"text/event-stream") {
        return Kind::Events;
    }
    Kind::Plain
}

/// What the h2 crate and pingora leave to check of an HTTP/2 request; of HTTP/1 nothing is left.
fn check_h2(request: &RequestHeader) -> std::result::Result<(), Answer> {
    const MAX_FIELDS: usize = 256;
    const MAX_TARGET: usize = 16 * 1024;
    let malformed = |refusal: crate::listen::refusal::Refusal| Answer::Malformed(refusal.why);
    let path = request.raw_path();
    if path.len() > MAX_TARGET {
        return Err(Answer::TooLarge(414, "request target too long"));
    }
    if request.headers.len() > MAX_FIELDS {
        return Err(Answer::TooLarge(431, "too many header fields"));
    }
    let asterisk = request.method == http::Method::OPTIONS && path == b"*";
    if !asterisk {
        if path.first() != Some(&b'/') {
            return Err(Answer::Malformed("malformed request target"));
        }
        head::check_path(path).map_err(malformed)?;
    }
    let authority = authority_of(request).ok_or(Answer::Malformed("Host missing"))?;
    head::check_host(authority.as_bytes()).map_err(malformed)?;
    let expects = request.headers.get(header::EXPECT);
    if expects.is_some_and(|expects| !expects.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Answer::TooLarge(417, "expectation not supported"));
    }
    Ok(())
}
