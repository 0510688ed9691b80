//! Nacos' HTTP API of naming, v1 and v2, over a [`Book`]: paths, parameters, status codes and bodies as real clients need them.
//!
//! ```text
//! /nacos/v1/ns/… ─┬▶ read  ──────────────────────▶ text or bare JSON
//! /nacos/v2/ns/… ─┴▶ write: here, passed on ─────▶ {"code":0,"message":"success","data":…}
//!                    to the real Nacos, or refused
//! /nacos/v1/auth/login                             a token that nobody asks for, or the real Nacos' own
//! ```
//!
//! Errors of v1 are plain text, those of v2 an envelope with Nacos' own code, as since 2.3 (2.2 writes text there, too); status codes are
//! the same.
//!
//! Not answered: services without instances (`POST /service`), the configuration half (501), the console, clusters, raft.

mod parameters;

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, body::Body, extract::Request, response::Response};
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use self::parameters::Parameters;
use super::{
    book::{Asked, Book, Key, Refusal},
    record::{self, DEFAULT_CLUSTER, Record},
};
use crate::facade::{
    consul::surface::plain,
    shared::Shared,
    writes::{Elsewhere, Writes},
};

/// Time between two beats, ms (naming: `SwitchDomain`).
const BEAT: u64 = 5000;
/// A beat that was taken (naming: `NamingResponseCode.OK`).
const TAKEN: u32 = 10_200;
/// A beat of somebody unknown, who is to send all of it (`RESOURCE_NOT_FOUND`).
const NOT_FOUND: u32 = 20_404;
/// The server whose answers these are.
const VERSION: &str = "2.2.4";

/// The HTTP service.
#[derive(Clone, Debug)]
pub struct Surface {
    shared: Arc<Shared<Book>>,
    writes: Writes,
}

/// Which form the answers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Why a request has no good answer.
struct Fault {
    status: StatusCode,
    /// Of v2.
    code: u32,
    what: String,
}

impl Fault {
    fn new(status: StatusCode, code: u32, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { status, code, what }
    }

    /// A parameter that is missing or wrong.
    fn parameter(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 10_000, what)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let what = refusal.to_string();
        match refusal {
            Refusal::Invalid(_) | Refusal::Unregistered => Self::new(StatusCode::BAD_REQUEST, 10_002, what),
            Refusal::Unknown(_) => Self::new(StatusCode::NOT_FOUND, 20_004, what),
            Refusal::Full(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, 30_000, what),
        }
    }
}

type Answer = Result<Value, Fault>;

impl Surface {
    /// Over this book; writes go where `writes` says.
    pub fn new(shared: Arc<Shared<Book>>, writes: Writes) -> Self {
        Self { shared, writes }
    }

    /// As a service of its own.
    pub fn router(self) -> Router {
        Router::new().fallback(move |request: Request| {
            let surface = self.clone();
            async move { surface.answer(request).await }
        })
    }

    /// Answers a request.
    pub async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix("/nacos/") else {
            return plain(StatusCode::NOT_FOUND, "Landfall answers Nacos' API below /nacos/ here");
        };
        let segments: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let is_login = matches!(segments[..], ["v1" | "v3", "auth", ..]);
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let shown_here = is_read && matches!(segments[..], ["v1" | "v2", "ns", ..] | ["v1" | "v2", "console", ..]);
        if let Some(elsewhere) = self.writes.elsewhere().filter(|_| !shown_here) {
            let own = is_login && matches!(elsewhere, Elsewhere::Refused);
            if !own {
                return elsewhere.answer(request, rest).await;
            }
        }
        let version = if segments.first() == Some(&"v2") {
            Version::V2
        } else {
            Version::V1
        };
        let (parts, body) = request.into_parts();
        let parameters = match Parameters::read(&parts, body).await {
            Ok(parameters) => parameters,
            Err(refused) => return refused,
        };
        let method = parts.method.as_str();
        let method = if method == "HEAD" { "GET" } else { method };
        let answered = match (method, &segments[..]) {
            ("POST", ["v1", "auth", "login"] | ["v1", "auth", "users", "login"] | ["v3", "auth", "user", "login"]) => {
                return bare(&login(&parameters));
            }
            (_, ["v1" | "v2", "ns", what @ ..]) => self.naming(version, method, what, &parameters),
            ("GET", ["v1" | "v2", "console", "health", "liveness" | "readiness"]) if version == Version::V1 => {
                return plain(StatusCode::OK, "OK");
            }
            ("GET", ["v2", "console", "health", "liveness" | "readiness"]) => Ok(json!("ok")),
            ("GET", ["v1", "console", "server", "state"]) => {
                return bare(&json!({ "version": VERSION, "standalone_mode": "standalone", "function_mode": null }));
            }
            (_, ["v1" | "v2", "cs", ..]) => Err(Fault::new(
                StatusCode::NOT_IMPLEMENTED,
                30_000,
                "not supported: Landfall answers Nacos' naming half alone; name a real Nacos as server of the configuration",
            )),
            _ => return plain(StatusCode::NOT_FOUND, "Landfall answers Nacos' naming API here"),
        };
        respond(version, answered)
    }

    fn naming(&self, version: Version, method: &str, what: &[&str], given: &Parameters) -> Answer {
        match (method, what) {
            ("POST", ["instance"]) => self.register(given),
            ("DELETE", ["instance"]) => self.remove(given),
            ("PUT", ["instance"]) => self.update(given),
            ("GET", ["instance"]) => self.detail(version, given),
            ("GET", ["instance", "list"]) => self.list(version, given),
            ("PUT", ["instance", "beat"]) => self.beat(given),
            ("GET", ["service", "list"]) => self.services(version, given),
            ("GET", ["service"]) => self.service(version, given),
            (_, ["service"]) => Err(Fault::new(
                StatusCode::NOT_IMPLEMENTED,
                30_000,
                "a service is there as soon as an instance is registered in it, and as long as one is",
            )),
            ("GET", ["operator" | "ops", "metrics"]) => Ok(json!({ "status": "UP" })),
            (_, ["instance" | "operator" | "ops" | "service", ..]) if method != "GET" => Err(Fault::new(
                StatusCode::METHOD_NOT_ALLOWED,
                30_000,
                format!("Request method '{method}' not supported"),
            )),
            _ => Err(Fault::new(
                StatusCode::NOT_FOUND,
                20_004,
                "this part of Nacos' naming API is not answered here",
            )),
        }
    }

    fn key(&self, given: &Parameters) -> Result<Key, Fault> {
        let service = given.need("serviceName")?;
        let (namespace, group) = (given.get("namespaceId"), given.get("groupName"));
        Ok(self.shared.read(|book| book.key(namespace, group, service))?)
    }

    /// The instance that a request names, with what it says of it.
    fn record(&self, given: &Parameters) -> Result<Record, Fault> {
        let mut record = Record::at(given.need("ip")?, record::port(given.number("port")?)?);
        if let Some(cluster) = [given.get("cluster"), given.get("clusterName")]
            .into_iter()
            .find(|one| !one.is_empty())
        {
            record.cluster = cluster.to_owned();
        }
        if let Some(weight) = given.parsed("weight")? {
            record.weight = weight;
        }
        record.healthy = given.flag("healthy", true);
        record.enabled = given.flag("enabled", given.flag("enable", true));
        record.ephemeral = given.flag("ephemeral", true);
        record.metadata = given.metadata()?.unwrap_or_default();
        let limits = self.shared.read(|book| *book.limits());
        record.check(&limits)?;
        Ok(record)
    }

    fn register(&self, given: &Parameters) -> Answer {
        let (key, record) = (self.key(given)?, self.record(given)?);
        self.shared.write(|book, now| book.beat_register(&key, record, now))?;
        Ok(json!("ok"))
    }

    fn remove(&self, given: &Parameters) -> Answer {
        let (key, record) = (self.key(given)?, self.record(given)?);
        self.shared.write(|book, now| book.beat_remove(&key, &record.id(), now));
        Ok(json!("ok"))
    }

    fn update(&self, given: &Parameters) -> Answer {
        let (key, fresh) = (self.key(given)?, self.record(given)?);
        let has_metadata = given.metadata()?.is_some();
        let has = |name: &str| !given.get(name).is_empty();
        let id = fresh.id();
        let change = |record: &mut Record| {
            if has("weight") {
                record.weight = fresh.weight;
            }
            if has("enabled") || has("enable") {
                record.enabled = fresh.enabled;
            }
            if has_metadata {
                record.metadata.clone_from(&fresh.metadata);
            }
        };
        match self.shared.write(|book, now| book.update(&key, &id, change, now)) {
            true => Ok(json!("ok")),
            false => Err(Fault::new(
                StatusCode::BAD_REQUEST,
                20_004,
                format!(
                    "service not found, namespace: {}, service: {}, instance {id}",
                    key.namespace,
                    key.grouped()
                ),
            )),
        }
    }

    fn detail(&self, version: Version, given: &Parameters) -> Answer {
        let key = self.key(given)?;
        let (ip, port) = (given.need("ip")?, record::port(given.number("port")?)?);
        let cluster = [given.get("cluster"), given.get("clusterName")]
            .into_iter()
            .find(|one| !one.is_empty());
        let cluster = cluster.unwrap_or(DEFAULT_CLUSTER);
        let id = record::instance_id(ip, port, cluster);
        let found = self.shared.read(|book| book.instance(&key, &id));
        let record = found.ok_or_else(|| Fault::new(StatusCode::NOT_FOUND, 20_004, "no matched ip found!"))?;
        let (service, name) = match version {
            Version::V1 => ("service", key.grouped()),
            Version::V2 => ("serviceName", key.grouped()),
        };
        let id = &record.json(&key)["instanceId"];
        Ok(json!({
            "instanceId": id, service: name, "ip": record.ip, "port": record.port, "clusterName": record.cluster,
            "weight": record.weight, "healthy": record.healthy, "metadata": record.metadata,
        }))
    }

    fn list(&self, version: Version, given: &Parameters) -> Answer {
        let key = self.key(given)?;
        let clusters = [given.get("clusters"), given.get("clusterName")]
            .into_iter()
            .find(|one| !one.is_empty());
        let asked = Asked {
            clusters: clusters.unwrap_or_default().to_owned(),
            healthy_only: given.flag("healthyOnly", false),
        };
        let (mut info, _) = self.shared.read(|book| book.info(&key, &asked, self.shared.now()));
        let (ip, port) = (given.get("ip"), given.number("port")?.filter(|port| *port > 0));
        if version == Version::V2
            && !ip.is_empty()
            && let (Some(port), Some(hosts)) = (port, info["hosts"].as_array_mut())
        {
            hosts.retain(|host| host["ip"] == ip && host["port"] == port);
        }
        info["name"] = key.grouped().into();
        Ok(info)
    }

    fn beat(&self, given: &Parameters) -> Answer {
        let key = self.key(given)?;
        let whole = match given.get("beat") {
            "" => None,
            text => Some(
                serde_json::from_str::<Value>(text)
                    .map_err(|error| Fault::parameter(format!("Param 'beat' cannot be read: {error}")))?,
            ),
        };
        let limits = self.shared.read(|book| *book.limits());
        let id = match &whole {
            Some(beat) => Record::read(beat, &limits)?.id(),
            None => {
                let port = record::port(given.number("port")?)?;
                let cluster = match given.get("clusterName") {
                    "" => DEFAULT_CLUSTER,
                    cluster => cluster,
                };
                record::instance_id(given.need("ip")?, port, cluster)
            }
        };
        let known = self.shared.write(|book, now| book.beat(&key, &id, now));
        let code = match (known, &whole) {
            (true, _) => TAKEN,
            (false, None) => NOT_FOUND,
            (false, Some(beat)) => {
                let record = Record {
                    healthy: true,
                    ..Record::read(beat, &limits)?
                };
                self.shared.write(|book, now| book.beat_register(&key, record, now))?;
                TAKEN
            }
        };
        let interval = self
            .shared
            .read(|book| book.instance(&key, &id).map_or(BEAT, |record| record.beat_interval()));
        Ok(json!({ "clientBeatInterval": interval, "code": code, "lightBeatEnabled": true }))
    }

    fn services(&self, version: Version, given: &Parameters) -> Answer {
        let number = |name: &str, usual: Option<i64>| match (given.number(name)?, usual) {
            (Some(number), _) | (None, Some(number)) => Ok(usize::try_from(number).unwrap_or(0)),
            (None, None) => Err(Fault::parameter(format!("Param '{name}' is required."))),
        };
        let usual = |number| (version == Version::V2).then_some(number);
        let (page, size) = (number("pageNo", usual(1))?, number("pageSize", usual(20))?);
        let (namespace, group) = (given.get("namespaceId"), given.get("groupName"));
        // Only for the namespace and the group: any name does.
        let key = self.shared.read(|book| book.key(namespace, group, "any"))?;
        let (count, names) = self
            .shared
            .read(|book| book.page(&key.namespace, &key.group, page, size));
        Ok(match version {
            Version::V1 => json!({ "count": count, "doms": names }),
            Version::V2 => json!({ "count": count, "services": names }),
        })
    }

    fn service(&self, version: Version, given: &Parameters) -> Answer {
        let key = self.key(given)?;
        if !self.shared.read(|book| book.has(&key)) {
            let what = format!(
                "service not found, namespace: {}, serviceName: {}",
                key.namespace,
                key.grouped()
            );
            return Err(Fault::new(StatusCode::BAD_REQUEST, 20_004, what));
        }
        let clusters = self.shared.read(|book| book.clusters(&key));
        let checker = json!({ "type": "TCP" });
        Ok(match version {
            Version::V1 => {
                let clusters = clusters
                    .iter()
                    .map(|name| json!({ "name": name, "healthChecker": checker, "metadata": {} }));
                json!({
                    "namespaceId": key.namespace, "groupName": key.group, "name": key.service, "protectThreshold": 0.0,
                    "metadata": {}, "selector": { "type": "none", "contextType": "NONE" },
                    "clusters": clusters.collect::<Vec<_>>(),
                })
            }
            Version::V2 => {
                let clusters = clusters.iter().map(|name| {
                    (
                        name.clone(),
                        json!({ "clusterName": name, "healthChecker": checker, "metadata": {}, "hosts": null }),
                    )
                });
                json!({
                    "namespace": key.namespace, "groupName": key.group, "serviceName": key.service,
                    "clusterMap": clusters.collect::<BTreeMap<_, _>>(), "metadata": {}, "protectThreshold": 0.0,
                    "selector": { "type": "none", "contextType": "NONE" }, "ephemeral": true,
                })
            }
        })
    }
}

/// Nobody is asked for a token, but some clients insist on having one.
fn login(given: &Parameters) -> Value {
    let user = match given.get("username") {
        "" => "nacos",
        user => user,
    };
    json!({ "accessToken": "none-is-needed", "tokenTtl": 18_000, "globalAdmin": false, "username": user })
}

fn respond(version: Version, answered: Answer) -> Response {
    match (version, answered) {
        (Version::V1, Ok(Value::String(text))) => plain(StatusCode::OK, text),
        (Version::V1, Ok(value)) => bare(&value),
        (Version::V1, Err(fault)) => plain(fault.status, format!("caused: {};", fault.what)),
        (Version::V2, Ok(value)) => bare(&json!({ "code": 0, "message": "success", "data": value })),
        (Version::V2, Err(fault)) => {
            let mut response = bare(&json!({ "code": fault.code, "message": meaning(fault.code), "data": fault.what }));
            *response.status_mut() = fault.status;
            response
        }
    }
}

/// Nacos' words for its codes (api: `ErrorCode`).
fn meaning(code: u32) -> &'static str {
    match code {
        10_000 => "parameter missing",
        10_002 => "parameter validate error",
        20_004 => "resource not found",
        _ => "server error",
    }
}

fn bare(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    response
}

#[cfg(test)]
mod tests;
