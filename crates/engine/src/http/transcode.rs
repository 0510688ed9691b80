//! A request that becomes a call of Dubbo: read whole, called, and answered here instead of by pingora's proxy.
//!
//! ```text
//!  head, rule ─▶ body, to its end ─▶ Transcoder::request ─▶ dubbo::Trial ─▶ Transcoder's answer ─▶ client
//!                   │ too long, late       │ no call            │ nobody, broken, late
//!                   └──────────────────────┴────────────────────┴──▶ a problem (RFC 9457)
//! ```

use std::{net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header};
use landfall_codec::mapping::Problem;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tokio::time::{Instant, timeout};

use super::{
    Gateway,
    answer::{Answer, ERROR_HEADER, end_with_head},
    context::CallState,
    forward::{RequestHeaders, ResponseHeaders},
    request::{authority_of, scheme_of},
    select::filters_of,
};
use crate::{
    authorize::{Asked, DubboAsked},
    call::{Call, Scheme, host_of},
    cluster::{Failure, Tried},
    dubbo::{Fault, Tally, Trial},
    filter::Target,
    moment::Moment,
    transcode::{self, Answered, Ask, Refusal, Transcoder},
};

/// The longest body, in bytes: what Dubbo's providers take unless they say otherwise.
const MOST_BODY: usize = 8 << 20;

/// What an answer is, and what else its head says.
struct Reply {
    answered: Answered,
    allow: Option<String>,
    /// Set when it is ours and not the service's.
    own: Option<Answer>,
    /// Whether the client may still be sending.
    unread: bool,
}

impl Reply {
    fn own(answer: Answer, detail: &str) -> Self {
        Self {
            own: Some(answer),
            ..Self::refused(Problem::new(answer.status(), detail).into())
        }
    }

    fn refused(refusal: Refusal) -> Self {
        Self {
            answered: Answered::from(&*refusal.problem),
            allow: refusal.allow,
            own: None,
            unread: false,
        }
    }
}

/// A request in parts of our own: the session is pingora's, and cannot be looked at while we wait.
struct Parts {
    head: RequestHeader,
    host: String,
    scheme: Scheme,
    client: SocketAddr,
    peer: Option<Arc<str>>,
}

impl Parts {
    fn call(&self) -> Call<'_> {
        Call {
            method: self.head.method.as_str(),
            scheme: self.scheme,
            host: &self.host,
            path: self.head.uri.path(),
            query: self.head.uri.query(),
            headers: &self.head.headers as &HeaderMap,
            client: self.client,
            peer: self.peer.as_deref(),
        }
    }
}

impl Gateway {
    /// Answers the request by a call of Dubbo. Its rule and cluster are chosen.
    pub(super) async fn transcode(
        &self,
        session: &mut Session,
        state: &mut CallState,
        transcoder: &Arc<Transcoder>,
    ) -> Result<()> {
        let reply = match self.whole_body(session, state).await? {
            Ok(body) => self.called(session, state, transcoder, &body).await,
            Err(reply) => reply,
        };
        reply_with(session, state, reply).await
    }

    /// An answer of ours to a request whose rule makes calls of Dubbo.
    pub(super) async fn refuse_transcoded(
        &self,
        session: &mut Session,
        state: &mut CallState,
        answer: Answer,
    ) -> Result<()> {
        reply_with(session, state, Reply::own(answer, answer.words())).await
    }

    /// The body to its end.
    async fn whole_body(
        &self,
        session: &mut Session,
        state: &mut CallState,
    ) -> Result<std::result::Result<Bytes, Reply>> {
        let head = session.req_header();
        let too_long = || {
            let detail = format!("the body is longer than {MOST_BODY} bytes");
            Reply {
                unread: true,
                ..Reply::own(Answer::TooLarge(413, "request body too large"), &detail)
            }
        };
        let text = |name| {
            head.headers
                .get(name)
                .map_or("", |value: &HeaderValue| value.to_str().unwrap_or(""))
        };
        if text(header::CONTENT_LENGTH)
            .parse::<usize>()
            .is_ok_and(|length| length > MOST_BODY)
        {
            return Ok(Err(too_long()));
        }
        if head.headers.contains_key(header::EXPECT) {
            session.as_downstream_mut().write_continue_response().await?;
        }
        let mut body = BytesMut::new();
        loop {
            let now = Instant::now();
            let left = state.deadline.map(|due| due.saturating_duration_since(now));
            let patience = left.map_or(self.client_idle, |left| left.min(self.client_idle));
            let read = match timeout(patience, session.as_downstream_mut().read_request_body()).await {
                Ok(read) => read.map_err(|error| error.into_down())?,
                Err(_) => return Err(Error::new_down(ErrorType::ReadTimedout)),
            };
            let Some(data) = read else { break };
            state.request_bytes += data.len() as u64;
            if let Some(connection) = &state.connection {
                connection.moved();
            }
            if body.len() + data.len() > MOST_BODY {
                return Ok(Err(too_long()));
            }
            body.extend_from_slice(&data);
        }
        Ok(Ok(body.freeze()))
    }

    async fn called(
        &self,
        session: &Session,
        state: &mut CallState,
        transcoder: &Arc<Transcoder>,
        body: &[u8],
    ) -> Reply {
        let parts = parts(session, state);
        self.call_of(parts, state, transcoder, body).await
    }

    async fn call_of(&self, parts: Parts, state: &mut CallState, transcoder: &Arc<Transcoder>, body: &[u8]) -> Reply {
        let (Some(rule), Some(cluster)) = (state.rule.clone(), state.cluster.clone()) else {
            return Reply::own(Answer::Internal, "internal error");
        };
        if !body.is_empty() && !is_json(&parts.head) {
            let detail = "the body is not declared as JSON; send it with `Content-Type: application/json`";
            return Reply::refused(Problem::new(415, detail).into());
        }
        let ask = Ask {
            verb: parts.head.method.as_str(),
            path: parts.head.uri.path(),
            query: parts.head.uri.query(),
            headers: &parts.head.headers,
        };
        let request = match transcoder.request(&cluster.id, ask, body) {
            Ok(request) => request,
            Err(refusal) => return Reply::refused(refusal),
        };
        let trial = Trial {
            proxy: &self.dubbo,
            cluster: &cluster,
            rule: &rule,
            deadline: state.deadline,
            repeatable: cluster.repeats(parts.head.method.as_str()),
        };
        let pick = |tried: &Tried| cluster.pick(&parts.call(), tried, Moment::now(), fastrand::u64(..));
        let (deadline, runtime) = (state.deadline, state.runtime.clone());
        let frame = |endpoint: &landfall_model::Endpoint| {
            let (interface, method) = transcoder.target(&request, endpoint);
            let dubbo = DubboAsked::Method {
                interface: &interface,
                method: &method,
            };
            let call = parts.call();
            let asked = Asked {
                dubbo: Some(dubbo),
                ..Asked::http(&call)
            };
            if !runtime.admits(&cluster.id, &asked) {
                return Err(Fault::Denied);
            }
            let left = deadline.map(|due| due.saturating_duration_since(Instant::now()));
            transcoder.frame(&request, endpoint, left).map_err(Fault::Unwritable)
        };
        let mut tally = Tally::default();
        let done = trial.run(pick, frame, &mut tally).await;
        state.called = tally.endpoint;
        state.tries = tally.tries;
        state.upstream_time = tally.upstream;
        match done {
            Ok(Some(reply)) => Reply {
                answered: transcode::answer(transcoder, &request, reply),
                allow: None,
                own: None,
                unread: false,
            },
            Ok(None) => Reply::own(Answer::Internal, "internal error"),
            Err(fault) => Reply::own(own(&fault), &fault.to_string()),
        }
    }
}

fn parts(session: &Session, state: &CallState) -> Parts {
    let mut head = session.req_header().clone();
    let path = head.uri.path().to_owned();
    // Neither host nor path is asked of an endpoint that speaks Dubbo.
    let mut target = Target::default();
    for filters in filters_of(state) {
        filters.on_request(&path, &mut RequestHeaders(&mut head), &mut target);
    }
    let connection = state.connection.as_ref();
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    Parts {
        host: host_of(authority_of(session.req_header()).unwrap_or("")).into_owned(),
        scheme: connection.map_or(Scheme::Http, |connection| scheme_of(connection)),
        client: connection.map_or(nobody, |connection| connection.client),
        peer: connection.and_then(|connection| connection.peer()).cloned(),
        head,
    }
}

/// Which of our answers a fault is.
fn own(fault: &Fault) -> Answer {
    match fault {
        Fault::Denied => Answer::Denied,
        Fault::NoEndpoint(none) => Answer::NoEndpoint(*none),
        Fault::Failed(Failure::Connect) => Answer::ConnectFailed,
        Fault::Failed(Failure::Reset) | Fault::AnswerTooLarge(_) => Answer::BrokenOff,
        Fault::Failed(Failure::Timeout) => Answer::TimedOut,
        _ => Answer::Internal,
    }
}

/// A page of another origin can send other types without asking; JSON only if it may.
fn is_json(head: &RequestHeader) -> bool {
    let kind = head.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

async fn reply_with(session: &mut Session, state: &mut CallState, reply: Reply) -> Result<()> {
    state.disarm();
    state.answer = reply.own;
    state.status = reply.answered.status;
    let mut head = Box::new(ResponseHeader::build(reply.answered.status, Some(6))?);
    if let Some((text, kind)) = &reply.answered.body {
        head.insert_header(header::CONTENT_TYPE, *kind)?;
        head.insert_header(header::CONTENT_LENGTH, text.len())?;
    }
    if let Some(allow) = reply.allow {
        head.insert_header(header::ALLOW, allow)?;
    }
    if let Some(own) = reply.own {
        head.insert_header(ERROR_HEADER, own.words())?;
    }
    for filters in filters_of(state).filter(|filters| filters.changes_response()) {
        filters.on_response(&mut ResponseHeaders(&mut head));
    }
    let closing = state
        .connection
        .as_ref()
        .is_some_and(|connection| connection.port.is_closed());
    if reply.unread || closing {
        session.set_keepalive(None);
    }
    match reply.answered.body {
        Some((text, _)) if session.req_header().method != Method::HEAD => {
            session.write_response_header(head, false).await?;
            session.write_response_body(Some(Bytes::from(text)), true).await?;
        }
        _ => end_with_head(session, head).await?,
    }
    Ok(())
}
