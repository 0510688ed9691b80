//! What Consul can hold of a record. Pure.
//!
//! | of the record | stands in Consul as |
//! |---|---|
//! | service | `Service`, exactly: Spring's consumers ask for the name they know. What would break a path is escaped |
//! | id | `ID` on one of the nodes of the writer's cluster, always the same |
//! | host, first port | `Address`, `Port` |
//! | a port for gRPC besides | meta `gRPC_port` |
//! | protocol, TLS | meta `protocol`, `secure` |
//! | status | one check of the service: passing, warning, critical, or Consul's own maintenance check |
//! | weight | `Weights`, counted from 1; 0 is a warning check with warning weight 0 |
//! | zone | meta `zone` |
//! | metadata `tag.x` = `true` | tag `x` |
//! | metadata | meta; keys that Consul does not allow are escaped, values over 512 bytes and pairs over 64 are lost |
//!
//! Next on the path: [`operation`](super::operation).

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Port, Protocol, Status, service::DEFAULT_WEIGHT};

use super::nodes::Nodes;
use crate::publish::{
    Key, Record, Shaped, Unfit,
    escape::escape,
    mark,
    rules::{self, Losses, shown},
};

/// Pairs of metadata (agent/structs: metaMaxKeyPairs).
const MAX_PAIRS: usize = 64;
/// Bytes of a key (metaKeyMaxLength).
const MAX_KEY: usize = 128;
/// Bytes of a value (metaValueMaxLength).
const MAX_VALUE: usize = 512;
/// Largest weight.
const MAX_WEIGHT: u32 = 65_535;
/// Names under which starters announce a port for gRPC.
const GRPC_PORTS: [&str; 4] = ["gRPC_port", "gRPC.port", "grpc.port", "grpc_port"];

/// What the follower of this Consul looks at.
pub(super) struct Scope {
    pub(super) nodes: Nodes,
    pub(super) tags: Vec<String>,
    pub(super) exclude: Vec<String>,
}

/// What Consul makes of a record.
pub(super) fn shape(record: &Record, scope: &Scope) -> Result<Shaped, Unfit> {
    rules::name(&record.service)?;
    rules::host(&record.instance.host)?;
    let mut losses = Losses::default();
    let mut record = record.clone();
    let service = service(&record.service, &mut losses);
    if *service == *"consul" || scope.exclude.iter().any(|name| **name == *service) {
        return Err(rules::unfit(format!(
            "`{}` is left out of this Consul (`consul.exclude`, or its own name): rename it",
            shown(&service)
        )));
    }
    let instance = &mut record.instance;
    let share = rules::share(instance, &mut losses);
    let dubbo = rules::is_dubbo(&instance.metadata);
    let mut given = std::mem::take(&mut instance.metadata);
    for key in crate::eureka::convert::OF_ITS_REGISTRY {
        given.remove(key);
    }
    if dubbo {
        given.remove("weight");
    }
    for key in GRPC_PORTS {
        given.remove(key);
    }
    instance.ports = ports(&instance.ports, &mut losses);
    let first = instance.ports.first();
    let tls = first.is_some_and(|port| port.tls);
    if given.remove("gRPC").is_some() && first.is_none_or(|port| port.protocol != Protocol::Grpc) {
        losses.add("gRPC", "it would make another protocol of the port");
    }
    let word = first.and_then(|port| rules::word(port.protocol));
    if given.remove("protocol").is_some() && word.is_none() {
        losses.add("protocol", "the key is ours: it says what is spoken on the port");
    }

    // What must fit comes first.
    let mut meta: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    if let Some(word) = word {
        meta.insert("protocol".into(), word.into());
    }
    if tls || given.contains_key("secure") {
        let secure = if tls { "true" } else { "false" };
        meta.insert("secure".into(), secure.into());
    }
    given.remove("secure");
    if let Some(beside) = instance.ports.get(1) {
        meta.insert("gRPC_port".into(), beside.number.to_string().into());
    }
    if let Some(zone) = instance.zone.clone().filter(|zone| !zone.is_empty()) {
        given.insert("zone".into(), zone);
    }
    let mut tags: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
    let room = MAX_PAIRS - mark::KEYS.len();
    // The zone counts, so it is not left out for a key that comes earlier.
    let zone = given.remove_entry("zone");
    for (key, value) in zone.into_iter().chain(given) {
        if let Some(tag) = key
            .strip_prefix("tag.")
            .filter(|tag| !tag.is_empty() && *value == *"true")
        {
            if tls || !tag.eq_ignore_ascii_case("secure=true") {
                tags.insert(key, value);
            } else {
                losses.add(shown(&key), "it would say that the port speaks TLS");
            }
            continue;
        }
        let reserved = key.starts_with("consul-");
        let written = escape(&key, |at, c| {
            (c.is_ascii_alphanumeric() || c == '_' || c == '-') && !(reserved && at == 0)
        });
        let reason = if written.is_empty() || written.len() > MAX_KEY {
            format!("Consul's keys have 1 to {MAX_KEY} bytes, and what it does not allow is written longer")
        } else if value.len() > MAX_VALUE {
            format!("{} bytes: Consul's values have at most {MAX_VALUE}", value.len())
        } else if meta.len() >= room {
            format!("Consul holds {MAX_PAIRS} pairs, {} of them ours", mark::KEYS.len())
        } else {
            meta.insert(written.into(), value);
            continue;
        };
        losses.add(shown(&key), reason);
    }
    for tag in &scope.tags {
        tags.insert(format!("tag.{tag}").into(), "true".into());
    }
    instance.zone = meta.get("zone").filter(|zone| !zone.is_empty()).cloned();
    meta.extend(tags);
    instance.metadata = meta;

    instance.status = status(instance.status, &mut losses);
    instance.weight = share.min(MAX_WEIGHT).saturating_mul(DEFAULT_WEIGHT);
    if share > MAX_WEIGHT {
        losses.add("weight", format!("Consul's largest is {MAX_WEIGHT}"));
    } else if share == 0 && matches!(instance.status, Status::Passing | Status::Warning) {
        // The only 0 that Consul has.
        instance.status = Status::Warning;
        losses.add("status", "written as warning, because only then a weight can be 0");
    } else if share == 0 {
        instance.weight = DEFAULT_WEIGHT;
        losses.add("weight", "0 is written as 1: it gets no traffic by its status");
    }
    let id = record.mark.id();
    instance.id = format!("{}/{id}", scope.nodes.of_record(&id)).into();
    instance.changed = None;
    let key = Key {
        service: service.clone(),
        id: instance.id.clone(),
    };
    record.service = service;
    Ok(rules::finish(key, record, losses))
}

/// A path with this name must stay the path it is: Go's server tidies `//` and `..` and sends clients elsewhere.
fn service(name: &str, losses: &mut Losses) -> Arc<str> {
    let dots = name.chars().all(|c| c == '.');
    let written = escape(name, |_, c| !dots && !c.is_control() && !"/\\%?#\"<>".contains(c));
    if written != name {
        losses.add(
            "service",
            format!("written as `{}`: a path cannot hold the name", shown(&written)),
        );
    }
    written.into()
}

/// The first port, and one for gRPC besides.
fn ports(ports: &[Port], losses: &mut Losses) -> Vec<Port> {
    let mut kept: Vec<Port> = ports.first().into_iter().cloned().collect();
    let beside = ports.iter().skip(1).find(|port| {
        port.protocol == Protocol::Grpc && !port.tls && kept.iter().all(|first| first.number != port.number)
    });
    kept.extend(beside.cloned());
    for port in ports.iter().filter(|port| !kept.contains(port)) {
        losses.add(
            format!("port {}", port.number),
            "Consul has room for one port, and one for gRPC in the meta",
        );
    }
    kept
}

fn status(status: Status, losses: &mut Losses) -> Status {
    let (written, exact) = match status {
        Status::Up | Status::Passing => (Status::Passing, true),
        Status::Warning => (Status::Warning, true),
        Status::Down | Status::Critical => (Status::Critical, true),
        Status::OutOfService | Status::Maintenance => (Status::Maintenance, true),
        Status::Starting | Status::Unknown => (Status::Critical, false),
        Status::Disabled => (Status::Maintenance, false),
    };
    if !exact {
        losses.add("status", format!("{status} is written as {written}"));
    }
    written
}
