//! Eureka's REST surface over a [`Book`]: paths, formats, status codes and bodies as real clients need them.
//!
//! ```text
//! request ──▶ path ──▶ Operation ──▶ Book ──▶ answer
//!             /eureka/… = /eureka/v2/…        200/204/404 with an empty body, or a list in JSON or XML
//! ```
//!
//! - JSON only if `Accept` contains the word `json`, else XML: python's client says nothing and reads XML.
//! - `X-Eureka-Accept: compact` leaves out of lists what is not needed for a call, as in the original.
//! - Errors have no body but for the 400 of a registration, whose plain text says what is missing: Spring's
//!   older clients try to read the body of a 404.
//! - A registration is answered 204, a cancel 200: JavaScript's client takes nothing else.
//!
//! A facade in front of a real registry ([`Writes`]) answers reads from what it knows and passes everything else on.
//!
//! Not answered: peer replication (nobody is told that we are a peer), ASG and server status.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, VARY},
    request::Parts,
};
use landfall_model::Status;

use self::operation::{Operation, operation};
use super::{
    book::{Book, Refusal},
    wire::{Detail, Format, exact_status, read, write},
};
use crate::facade::{consul::surface::plain, gzip, shared::Shared, writes::Writes};

mod operation;

/// The largest registration that is read.
pub const MAX_BODY: usize = 1 << 20;
/// How long a client may take to send one.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP service.
#[derive(Clone, Debug)]
pub struct Surface {
    shared: Arc<Shared<Book>>,
    writes: Writes,
}

impl Surface {
    /// Over this book; writes go where `writes` says.
    pub fn new(shared: Arc<Shared<Book>>, writes: Writes) -> Self {
        Self { shared, writes }
    }

    /// Answers a request, and is used up.
    pub(crate) async fn answered(self, request: Request) -> Response {
        self.answer(request).await
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Response {
        let operation = operation(request.method(), request.uri().path());
        if let Some(elsewhere) = self.writes.elsewhere()
            && !operation.as_ref().is_ok_and(Operation::reads)
        {
            let path = request.uri().path().to_owned();
            return match below(&path) {
                Some(rest) => elsewhere.answer(request, rest).await,
                None => empty(StatusCode::NOT_FOUND),
            };
        }
        let (parts, body) = request.into_parts();
        let operation = match operation {
            Ok(operation) => operation,
            Err(status) => return empty(status),
        };
        // Jersey's clients send `{}` with a heartbeat; only a registration's body means something.
        if let Operation::Register(app) = operation {
            let body = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await;
            return match body {
                Ok(Ok(body)) => register(&self.shared, &app, &parts.headers, &body),
                Ok(Err(_)) => empty(StatusCode::PAYLOAD_TOO_LARGE),
                Err(_) => empty(StatusCode::REQUEST_TIMEOUT),
            };
        }
        perform(&self.shared, operation, &parts)
    }
}

/// What a request is for, in one word.
pub(crate) fn kind(method: &Method, path: &str) -> &'static str {
    operation(method, path).map_or("other", |operation| operation.kind())
}

/// The part of a path that a registry's base URL is followed by.
fn below(path: &str) -> Option<&str> {
    let rest = path.trim_start_matches('/').strip_prefix("eureka")?.strip_prefix('/')?;
    let (first, after) = rest.split_once('/').unwrap_or((rest, ""));
    Some(if first.eq_ignore_ascii_case("v2") { after } else { rest })
}

fn register(shared: &Shared<Book>, app: &str, headers: &HeaderMap, body: &Bytes) -> Response {
    let json = text_of(headers, CONTENT_TYPE.as_str()).contains("json") || body.trim_ascii_start().starts_with(b"{");
    let format = if json { Format::Json } else { Format::Xml };
    match read::instance(body, format) {
        Ok(info) => done(
            shared.write(|book, now| book.register(app, info, now)),
            StatusCode::NO_CONTENT,
        ),
        Err(error) => plain(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

fn perform(shared: &Shared<Book>, operation: Operation, parts: &Parts) -> Response {
    let query = Query::of(parts.uri.query());
    let dirty = query.get("lastDirtyTimestamp").and_then(|text| text.parse().ok());
    let reply = Reply::of(&parts.headers);
    match operation {
        Operation::All => {
            let all = shared.read(Book::all);
            reply.body(write::applications(&all, reply.format, reply.detail))
        }
        Operation::Delta => {
            let delta = shared.read(|book| book.delta(shared.now()));
            reply.body(write::applications(&delta, reply.format, reply.detail))
        }
        Operation::Application(app) => match shared.read(|book| book.application(&app)) {
            Some(application) => reply.body(write::application(&application, reply.format, reply.detail)),
            None => empty(StatusCode::NOT_FOUND),
        },
        Operation::Instance(app, id) => match shared.read(|book| book.instance(&app, &id).cloned()) {
            Some(info) => reply.body(write::instance(&info, reply.format)),
            None => empty(StatusCode::NOT_FOUND),
        },
        Operation::ById(id) => match shared.read(|book| book.instance_by_id(&id).cloned()) {
            Some(info) => reply.body(write::instance(&info, reply.format)),
            None => empty(StatusCode::NOT_FOUND),
        },
        Operation::Vip { name, secure } => {
            let found = shared.read(|book| book.vip(&name, secure));
            reply.body(write::applications(&found, reply.format, reply.detail))
        }
        Operation::Renew(app, id) => done(
            shared.write(|book, now| book.renew(&app, &id, dirty, now)),
            StatusCode::OK,
        ),
        Operation::Cancel(app, id) => done(shared.write(|book, now| book.cancel(&app, &id, now)), StatusCode::OK),
        Operation::SetStatus(app, id) => match query.get("value").map(exact_status) {
            Some(Some(status)) => done(
                shared.write(|book, now| book.set_override(&app, &id, status, dirty, now)),
                StatusCode::OK,
            ),
            // The original's answer to a word it does not know.
            _ => empty(StatusCode::INTERNAL_SERVER_ERROR),
        },
        Operation::RemoveStatus(app, id) => {
            let status: Option<Status> = query.get("value").and_then(exact_status);
            done(
                shared.write(|book, now| book.remove_override(&app, &id, status, dirty, now)),
                StatusCode::OK,
            )
        }
        Operation::Metadata(app, id) => done(
            shared.write(|book, now| book.add_metadata(&app, &id, query.first_of_each(), now)),
            StatusCode::OK,
        ),
        Operation::Register(_) => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// A query string, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Of a name that comes twice the first value counts.
    fn first_of_each(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().rev()
    }
}

/// In which form an answer is given.
struct Reply {
    format: Format,
    detail: Detail,
    gzip: bool,
}

impl Reply {
    fn of(headers: &HeaderMap) -> Self {
        Self {
            format: match text_of(headers, ACCEPT.as_str()).contains("json") {
                true => Format::Json,
                false => Format::Xml,
            },
            detail: match text_of(headers, "x-eureka-accept").trim() {
                "compact" => Detail::Compact,
                _ => Detail::Full,
            },
            gzip: gzip::is_taken(headers),
        }
    }

    fn body(&self, body: Vec<u8>) -> Response {
        let content_type = match self.format {
            Format::Json => "application/json",
            Format::Xml => "application/xml",
        };
        let response = Response::builder()
            .header(CONTENT_TYPE, content_type)
            .header(VARY, "Accept, Accept-Encoding, X-Eureka-Accept");
        let built = match self.gzip.then(|| gzip::pack(&body)).flatten() {
            Some(packed) => response.header(CONTENT_ENCODING, "gzip").body(Body::from(packed)),
            None => response.body(Body::from(body)),
        };
        built.unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> String {
    let texts: Vec<_> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    texts.join(",").to_ascii_lowercase()
}

fn done(result: Result<(), Refusal>, good: StatusCode) -> Response {
    match result {
        Ok(()) => empty(good),
        Err(Refusal::Unknown) => empty(StatusCode::NOT_FOUND),
        Err(refusal @ Refusal::Invalid(_)) => plain(StatusCode::BAD_REQUEST, refusal.to_string()),
        Err(refusal @ Refusal::TooLarge(_)) => plain(StatusCode::PAYLOAD_TOO_LARGE, refusal.to_string()),
        // Java's clients try the next server on a 5xx.
        Err(refusal @ Refusal::Full(_)) => plain(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()),
    }
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
