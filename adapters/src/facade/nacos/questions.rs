//! What each request that comes by gRPC means, and what Nacos answers to it.
//!
//! | code | when |
//! |---|---|
//! | 300 | what is to be shown has not been read yet |
//! | 301 | the connection is not set up, or not any more: the client connects anew |
//! | 302 | nobody here answers such a request, the configuration half among them |
//! | 400 | the request makes no sense, or asks for a persistent instance |
//! | 403 | nothing is written here |
//! | 500 | the real Nacos cannot be reached |
//! | 502 | the request cannot be read |
//! | 503 | there is no room |

use std::sync::{Arc, atomic::Ordering::Relaxed};

use serde_json::{Value, json};

use super::{
    book::{Asked, Key, Refusal},
    grpc::Writes,
    link::Link,
    record::Record,
};
use crate::nacos::{
    name::{DEFAULT_GROUP, JOINT},
    wire::{self, Payload},
};

/// An error as it is answered.
struct Fault {
    code: u16,
    what: String,
}

impl Fault {
    fn new(code: u16, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { code, what }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Unregistered => 301,
            Refusal::Unknown(_) | Refusal::Invalid(_) => 400,
            Refusal::Full(_) => 503,
        };
        Self::new(code, refusal.to_string())
    }
}

/// A type and its fields.
type Answer = Result<(&'static str, Value), Fault>;

/// Answers a request.
pub(super) async fn answer(link: &Arc<Link>, request: Payload) -> Payload {
    link.heard();
    let id = wire::request_id(&request);
    let is_write = matches!(
        request.kind(),
        "InstanceRequest" | "BatchInstanceRequest" | "PersistentInstanceRequest"
    );
    let answered = match (is_usable(link, request.kind()), &link.server.writes) {
        (Err(fault), _) => Err(fault),
        (Ok(()), Writes::Forward(upstreams)) if is_write => match upstreams.pass(link, request).await {
            Ok(answer) => return answer,
            Err(fault) => Err(Fault::new(
                500,
                format!("the real Nacos cannot be reached, nothing was written here: {fault:?}"),
            )),
        },
        (Ok(()), Writes::Refused) if is_write => Err(Fault::new(
            403,
            "this facade is for reading; its document says `writes: refuse`: name the real Nacos there, as `writes: { forward: NAME }`",
        )),
        (Ok(()), _) => understood(link, &request),
    };
    let (kind, mut body) = answered.unwrap_or_else(|fault| {
        let body = json!({ "resultCode": 500, "errorCode": fault.code, "message": fault.what, "success": false });
        ("ErrorResponse", body)
    });
    if body.get("resultCode").is_none() {
        body["resultCode"] = 200.into();
        body["errorCode"] = 0.into();
        body["success"] = true.into();
    }
    if !id.is_empty() {
        body["requestId"] = id.into();
    }
    Payload::new(kind, &body, "")
}

/// What comes before the meaning of a request, in Nacos' order (core: `GrpcRequestAcceptor`).
fn is_usable(link: &Link, kind: &str) -> Result<(), Fault> {
    if !link.server.ready.load(Relaxed) {
        return Err(Fault::new(300, "Server is starting,please try later."));
    }
    match kind {
        "ServerCheckRequest" => Ok(()),
        "HealthCheckRequest"
        | "InstanceRequest"
        | "BatchInstanceRequest"
        | "PersistentInstanceRequest"
        | "ServiceQueryRequest"
        | "ServiceListRequest"
        | "SubscribeServiceRequest" => match link.is_set_up() {
            true => Ok(()),
            false => Err(Refusal::Unregistered.into()),
        },
        config if config.starts_with("Config") || config.starts_with("ClientConfig") => Err(Fault::new(
            302,
            "not supported: Landfall answers Nacos' naming half alone; name a real Nacos as server of the configuration",
        )),
        _ => Err(Fault::new(302, "RequestHandler Not Found")),
    }
}

fn understood(link: &Link, request: &Payload) -> Answer {
    let body: Value = serde_json::from_slice(request.json())
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| Fault::new(502, "Invalid request"))?;
    match request.kind() {
        "ServerCheckRequest" => Ok(("ServerCheckResponse", json!({ "connectionId": link.id }))),
        "HealthCheckRequest" => Ok(("HealthCheckResponse", json!({}))),
        "InstanceRequest" => instance(link, &body),
        "BatchInstanceRequest" => batch(link, &body),
        "PersistentInstanceRequest" => {
            let record = record(link, &body["instance"])?;
            Err(super::book::persistent(&record).into())
        }
        "ServiceQueryRequest" => query(link, &body),
        "SubscribeServiceRequest" => subscribe(link, &body),
        _ => list(link, &body),
    }
}

fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body[field].as_str().unwrap_or_default()
}

fn key(link: &Link, body: &Value) -> Result<Key, Refusal> {
    let (namespace, group, service) = (
        text(body, "namespace"),
        text(body, "groupName"),
        text(body, "serviceName"),
    );
    link.server.shared.read(|book| book.key(namespace, group, service))
}

fn record(link: &Link, stated: &Value) -> Result<Record, Refusal> {
    let limits = link.server.shared.read(|book| *book.limits());
    Record::read(stated, &limits)
}

fn instance(link: &Link, body: &Value) -> Answer {
    let (key, record) = (key(link, body)?, record(link, &body["instance"])?);
    let shared = &link.server.shared;
    let kind = text(body, "type");
    match kind {
        "registerInstance" => shared.write(|book, now| book.register(link.number, &key, vec![record], now))?,
        "deregisterInstance" => shared.write(|book, now| book.deregister(link.number, &key, &record, now))?,
        other => {
            let other: String = other.chars().take(40).collect();
            return Err(Fault::new(
                400,
                format!("Unsupported request type {}", other.escape_debug()),
            ));
        }
    }
    Ok(("InstanceResponse", json!({ "type": kind })))
}

fn batch(link: &Link, body: &Value) -> Answer {
    let kind = text(body, "type");
    if kind != "batchRegisterInstance" {
        let other: String = kind.chars().take(40).collect();
        return Err(Fault::new(
            400,
            format!("Unsupported request type {}", other.escape_debug()),
        ));
    }
    let key = key(link, body)?;
    let limits = link.server.shared.read(|book| *book.limits());
    let stated = body["instances"].as_array().map_or(&[][..], Vec::as_slice);
    if stated.len() > limits.batch {
        return Err(Refusal::Full(format!("a batch has at most {} instances", limits.batch)).into());
    }
    let records = stated
        .iter()
        .map(|one| Record::read(one, &limits))
        .collect::<Result<_, _>>()?;
    link.server
        .shared
        .write(|book, now| book.register(link.number, &key, records, now))?;
    Ok(("BatchInstanceResponse", json!({ "type": kind })))
}

fn query(link: &Link, body: &Value) -> Answer {
    let key = key(link, body)?;
    let asked = Asked {
        clusters: text(body, "cluster").to_owned(),
        healthy_only: body["healthyOnly"].as_bool().unwrap_or(false),
    };
    let shared = &link.server.shared;
    let (info, _) = shared.read(|book| book.info(&key, &asked, shared.now()));
    Ok(("QueryServiceResponse", json!({ "serviceInfo": info })))
}

fn subscribe(link: &Link, body: &Value) -> Answer {
    let key = key(link, body)?;
    let asked = Asked {
        clusters: text(body, "clusters").to_owned(),
        healthy_only: false,
    };
    let shared = &link.server.shared;
    let (info, mark) = shared.read(|book| book.info(&key, &asked, shared.now()));
    let limits = shared.read(|book| *book.limits());
    match body["subscribe"].as_bool().unwrap_or(false) {
        true => {
            link.subscriptions(|pushes| pushes.subscribe(key, text(body, "namespace"), asked, mark, &limits))?;
        }
        false => link.subscriptions(|pushes| pushes.unsubscribe(&key)),
    }
    Ok(("SubscribeServiceResponse", json!({ "serviceInfo": info })))
}

fn list(link: &Link, body: &Value) -> Answer {
    // Only for the namespace and the group: any name does.
    let key = link
        .server
        .shared
        .read(|book| book.key(text(body, "namespace"), text(body, "groupName"), "any"))?;
    let number = |field: &str, usual: u64| body[field].as_u64().unwrap_or(usual);
    let page = usize::try_from(number("pageNo", 1)).unwrap_or(usize::MAX);
    let size = usize::try_from(number("pageSize", 10)).unwrap_or(usize::MAX);
    let (count, names) = link
        .server
        .shared
        .read(|book| book.page(&key.namespace, &key.group, page, size));
    let group = if key.group.is_empty() {
        DEFAULT_GROUP
    } else {
        &key.group
    };
    let names: Vec<String> = names.iter().map(|name| format!("{group}{JOINT}{name}")).collect();
    Ok(("ServiceListResponse", json!({ "count": count, "serviceNames": names })))
}
