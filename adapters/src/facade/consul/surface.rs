//! Consul's HTTP API over a [`Book`]: paths, parameters, waiting, status codes and headers as real clients need them.
//!
//! ```text
//! request ──▶ path ─┬▶ read  (waits until its index has moved, if asked to) ──▶ JSON with X-Consul-Index
//!                   └▶ write: here, passed on to the real agent, or refused (see `Writes`)
//! ```
//!
//! - `?index=N&wait=30s` is answered when the index of *what is shown* is above N, else after the wait and up to a
//!   sixteenth more, with what stands then. At most ten minutes; five if nothing is said.
//! - `?dc=` must be ours; `ns`, `partition`, `near`, `stale`, `consistent`, `cached` and `pretty` mean nothing here.
//! - `?filter=` as in [`filter`]; where it is not understood it is refused, for leaving it out would answer another question.
//! - Nobody's service is an empty list with 200, nobody's check is 404: clients register again by that.
//! - Answers are gzipped if the client takes that, as a real agent's.
//!
//! What is not there (sessions, transactions and so on) says so: `absent`.

mod absent;
mod agent;
mod kv;

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
    request::Parts,
};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tracing::warn;

use super::{
    body,
    book::{Book, Filter, Identity, Refusal, Watch},
    filter::{self, Expression},
    record::Health,
    time,
};
use crate::facade::{gzip, shared::Shared, traffic::Why, writes::Writes};

/// The largest body that is read: Consul's values have 512 kB.
const MAX_BODY: usize = 1 << 20;
/// How long a client may take to send one.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Wait of a query that says nothing about it.
const USUAL_WAIT: u64 = 300_000;
/// Longest wait.
const LONGEST_WAIT: u64 = 600_000;

/// The HTTP service.
#[derive(Clone, Debug)]
pub struct Surface {
    shared: Arc<Shared<Book>>,
    identity: Identity,
    writes: Writes,
}

/// What a request asks, taken apart.
struct Asked<'a> {
    parts: &'a Parts,
    query: Query,
    /// Which rows of the answer are wanted.
    wanted: Option<Expression>,
}

impl Surface {
    /// Over this book; writes go where `writes` says.
    pub fn new(shared: Arc<Shared<Book>>, writes: Writes) -> Self {
        Self {
            identity: shared.read(|book| book.identity().clone()),
            shared,
            writes,
        }
    }

    /// Answers a request, and is used up.
    pub(crate) async fn answered(self, request: Request) -> Response {
        self.answer(request).await
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix("/v1/") else {
            return plain(StatusCode::NOT_FOUND, "Landfall answers Consul's API below /v1/ here");
        };
        let segments: Vec<String> = rest
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        // What is no read of the catalog or of health belongs to the agent or the store that keeps it.
        let shown_here = matches!(segments[..], ["catalog" | "health" | "status", ..])
            && !matches!(segments[..], ["catalog", "register" | "deregister"]);
        if let (false, Some(elsewhere)) = (shown_here, self.writes.elsewhere()) {
            return elsewhere.answer(request, rest).await;
        }
        let (parts, body) = request.into_parts();
        let query = Query::of(parts.uri.query());
        if let Some(problem) = self.check(&query) {
            return problem;
        }
        let wanted = match wanted(&segments, &query) {
            Ok(wanted) => wanted,
            Err(what) => return plain(StatusCode::BAD_REQUEST, what),
        };
        let asked = Asked {
            query,
            parts: &parts,
            wanted,
        };
        let response = match segments[..] {
            ["catalog", ref rest @ ..] if shown_here => self.catalog(rest, &asked).await,
            ["health", ref rest @ ..] => self.health(rest, &asked).await,
            ["status", what] => self.status(what, &asked),
            ["kv", ..] => {
                let key = rest.strip_prefix("kv/").unwrap_or_default();
                let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                self.kv(&key, &asked, body).await
            }
            ["agent", ref rest @ ..] => self.agent(rest, &asked, body).await,
            ["catalog", what] => self.catalog_write(what, &asked, body).await,
            _ => self.absent(&segments, &asked).await,
        };
        gzip::packed(&parts.headers, response).await
    }

    /// What stands in the query and cannot be done.
    fn check(&self, query: &Query) -> Option<Response> {
        let own = &self.identity.datacenter;
        if query.get("dc").is_some_and(|dc| !dc.is_empty() && dc != own) {
            return Some(plain(StatusCode::INTERNAL_SERVER_ERROR, "No path to datacenter"));
        }
        if query.has("stale") && query.has("consistent") {
            return Some(plain(
                StatusCode::BAD_REQUEST,
                "Cannot specify ?stale with ?consistent, conflicting semantics.",
            ));
        }
        None
    }

    async fn catalog(&self, path: &[&str], asked: &Asked<'_>) -> Response {
        if let Some(refused) = asked.only(&[Method::GET]) {
            return refused;
        }
        let filter = match asked.query.filter() {
            Ok(filter) => filter,
            Err(what) => return plain(StatusCode::BAD_REQUEST, what),
        };
        match *path {
            ["datacenters"] => json_response(&json!([self.identity.datacenter]), None),
            ["services"] => {
                let show = |book: &Book| match &asked.wanted {
                    Some(wanted) => book.listing_of(&filter, |row| wanted.takes(row)),
                    None => book.listing(&filter),
                };
                // Which instances there are decides, and not names and tags alone.
                let watch = match &asked.wanted {
                    Some(_) => Watch::Any,
                    None => Watch::Listing,
                };
                self.read(asked, watch, show).await
            }
            ["nodes"] => self.read(asked, Watch::Nodes, |book| book.catalog_nodes(&filter)).await,
            ["service", name] => {
                let watch = Watch::Service(name.to_owned());
                self.read(asked, watch, |book| book.catalog_service(name, &filter))
                    .await
            }
            ["node", name] => {
                self.read(asked, Watch::Any, |book| book.catalog_node(name).unwrap_or(Value::Null))
                    .await
            }
            ["node-services", name] => {
                self.read(asked, Watch::Any, |book| {
                    book.catalog_node_services(name).unwrap_or(Value::Null)
                })
                .await
            }
            // Connect's proxies: there are none.
            ["connect", _] => self.read(asked, Watch::Any, |_| json!([])).await,
            _ => not_found(),
        }
    }

    async fn health(&self, path: &[&str], asked: &Asked<'_>) -> Response {
        if let Some(refused) = asked.only(&[Method::GET]) {
            return refused;
        }
        let filter = match asked.query.filter() {
            Ok(filter) => filter,
            Err(what) => return plain(StatusCode::BAD_REQUEST, what),
        };
        match *path {
            ["service", name] => {
                let watch = Watch::Service(name.to_owned());
                self.read(asked, watch, |book| book.health_service(name, &filter)).await
            }
            ["checks", name] => {
                let watch = Watch::Service(name.to_owned());
                self.read(asked, watch, |book| book.health_checks(name)).await
            }
            ["node", name] => self.read(asked, Watch::Checks, |book| book.health_node(name)).await,
            ["state", "any"] => self.read(asked, Watch::Checks, |book| book.health_state(None)).await,
            ["state", word] => match Health::parse(word) {
                Some(state) => {
                    self.read(asked, Watch::Checks, |book| book.health_state(Some(state)))
                        .await
                }
                // Consul's answer to a word it does not know.
                None => self.read(asked, Watch::Checks, |_| json!([])).await,
            },
            ["connect" | "ingress", _] => self.read(asked, Watch::Any, |_| json!([])).await,
            _ => not_found(),
        }
    }

    fn status(&self, what: &str, asked: &Asked<'_>) -> Response {
        if let Some(refused) = asked.only(&[Method::GET]) {
            return refused;
        }
        let leader = format!("{}:8300", self.identity.address);
        match what {
            "leader" => json_response(&json!(leader), None),
            "peers" => json_response(&json!([leader]), None),
            _ => not_found(),
        }
    }

    async fn catalog_write(&self, what: &str, asked: &Asked<'_>, body: Body) -> Response {
        if let Some(refused) = asked.only(&[Method::PUT]) {
            return refused;
        }
        let body = match bytes(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let foreign = |dc: &str| !dc.is_empty() && dc != self.identity.datacenter;
        let no_path = || plain(StatusCode::INTERNAL_SERVER_ERROR, "No path to datacenter");
        if what == "register" {
            return match body::catalog_registration(&body) {
                Ok(read) if foreign(&read.datacenter) => no_path(),
                Ok(read) => done(
                    self.shared.write(|book, now| {
                        let (node, service, checks) = (read.node, read.service, read.checks);
                        book.catalog_register(&read.name, node, read.skip_node_update, service, checks, now)
                    }),
                    "true",
                ),
                Err(what) => misread(&what),
            };
        }
        match body::catalog_deregistration(&body) {
            Ok((dc, ..)) if foreign(&dc) => no_path(),
            Ok((_, node, service, check)) => {
                self.shared
                    .write(|book, _| book.catalog_deregister(&node, service.as_deref(), check.as_deref()));
                done(Ok(()), "true")
            }
            Err(what) => misread(&what),
        }
    }

    /// Waits as asked, and answers what stands then, with its index.
    async fn read(&self, asked: &Asked<'_>, watch: Watch, show: impl Fn(&Book) -> Value) -> Response {
        if let Err(what) = self.wait(&asked.query, &watch).await {
            return plain(StatusCode::BAD_REQUEST, what);
        }
        let (index, body) = self.shared.read(|book| (book.index_of(&watch), show(book)));
        json_response(&asked.rows(body), Some(index))
    }

    /// Returns when the index is above the one that is asked for, or after the wait. `Err` with what is wrong.
    async fn wait(&self, query: &Query, watch: &Watch) -> Result<(), &'static str> {
        let known: u64 = match query.get("index") {
            None | Some("") => 0,
            Some(text) => text.parse().map_err(|_| "Invalid index")?,
        };
        let wait = match query.get("wait") {
            None | Some("") => USUAL_WAIT,
            Some(text) => time::millis(text).ok_or("Invalid wait time")?,
        };
        if known == 0 {
            return Ok(());
        }
        let wait = match wait.min(LONGEST_WAIT) {
            0 => USUAL_WAIT,
            wait => wait,
        };
        let wait = Duration::from_millis(wait + fastrand::u64(0..=wait / 16));
        let mut changes = self.shared.watch();
        let moved = async {
            loop {
                changes.borrow_and_update();
                if self.shared.read(|book| book.index_of(watch)) > known {
                    return;
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whoever waited in vain is answered what stands.
        let _ = tokio::time::timeout(wait, moved).await;
        Ok(())
    }
}

impl Asked<'_> {
    /// The rows that are wanted: of a list, or of a map by id.
    fn rows(&self, mut body: Value) -> Value {
        let Some(wanted) = &self.wanted else { return body };
        match &mut body {
            Value::Array(rows) => rows.retain(|row| wanted.takes(row)),
            // A map of names and tags has been looked through already.
            Value::Object(rows) => rows.retain(|_, row| !row.is_object() || wanted.takes(row)),
            _ => {}
        }
        body
    }

    /// A refusal if the method is none of these.
    fn only(&self, methods: &[Method]) -> Option<Response> {
        let method = &self.parts.method;
        if methods.contains(method) || (*method == Method::HEAD && methods.contains(&Method::GET)) {
            return None;
        }
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, format!("method {method} not allowed"));
        let allowed: Vec<&str> = methods.iter().map(Method::as_str).chain(["OPTIONS"]).collect();
        if let Ok(allowed) = HeaderValue::from_str(&allowed.join(",")) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        Some(response)
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

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `true`, `1`, or the bare word; `Err` for what is neither yes nor no.
    fn flag(&self, name: &str) -> Result<bool, ()> {
        match self.get(name) {
            None => Ok(false),
            Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(()),
        }
    }

    fn filter(&self) -> Result<Filter, &'static str> {
        let meta = self.all("node-meta").map(|pair| {
            let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        });
        Ok(Filter {
            tags: self
                .all("tag")
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect(),
            passing: self.flag("passing").map_err(|()| "Invalid value for ?passing")?,
            node_meta: meta.collect(),
        })
    }
}

/// What `?filter=` asks for; `Err` if it is not understood, or this answer cannot be filtered.
fn wanted(path: &[&str], query: &Query) -> Result<Option<Expression>, String> {
    let Some(text) = query.get("filter").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let shape = match path {
        ["health", "service", _] => filter::ENTRY,
        ["health", "checks" | "node" | "state", _] | ["agent", "checks"] => filter::CHECK,
        ["catalog", "service", _] | ["catalog", "services"] => filter::CATALOG,
        ["catalog", "nodes"] => filter::NODE,
        ["agent", "services"] => filter::SERVICE,
        ["catalog" | "health" | "agent", ..] => return Err("filter is not supported for this answer here".to_owned()),
        // As Consul, which looks at it nowhere else.
        _ => return Ok(None),
    };
    let expression = Expression::read(text, shape).map_err(|what| format!("Failed to read the filter: {what}"))?;
    Ok(Some(expression))
}

async fn bytes(body: Body) -> Result<Bytes, Response> {
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Request body too large, max allowed is {MAX_BODY} bytes"),
        )),
        Err(_) => Err(plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// The catalog's answer to a body: its server, not its agent, finds out what is missing, which is a 500 there.
fn misread(what: &str) -> Response {
    let status = match what.starts_with("Request decode failed") {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    };
    plain(status, what)
}

fn done(result: Result<(), Refusal>, good: &'static str) -> Response {
    match result {
        Ok(()) if good.is_empty() => Response::new(Body::empty()),
        Ok(()) => text_json(good.to_owned()),
        Err(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Unknown(_) => StatusCode::NOT_FOUND,
        Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
        Refusal::Full(limit) => {
            warn!(%limit, "the embedded registry is full");
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    plain(status, refusal.to_string())
}

/// JSON, with the headers of a query if it has an index.
fn json_response(body: &Value, index: Option<u64>) -> Response {
    let mut response = text_json(body.to_string());
    if let Some(index) = index {
        query_headers(response.headers_mut(), index);
    }
    response
}

fn query_headers(headers: &mut HeaderMap, index: u64) {
    headers.insert("x-consul-index", HeaderValue::from(index));
    headers.insert("x-consul-knownleader", HeaderValue::from_static("true"));
    headers.insert("x-consul-lastcontact", HeaderValue::from_static("0"));
    headers.insert("x-consul-effective-consistency", HeaderValue::from_static("leader"));
}

fn text_json(body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn not_found() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// Consul's errors are plain text.
pub(crate) fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    let text = text.into();
    let why = Why(text.as_str().into());
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.extensions_mut().insert(why);
    response
}

#[cfg(test)]
mod tests;
