//! What Dubbo's application level can hold of a record: an application's instance, and the metadata document of the
//! services that it serves. Pure.
//!
//! ```text
//! record of the application ─▶ shape ─▶ /services/<application>/<host:port>          Curator's JSON, with marks
//!                                          │ dubbo.metadata.revision
//! copies of its providers ───▶ compose ─▶ /dubbo/metadata/<application>/<revision>   each service with marks of its own
//! ```
//!
//! The document is made of the providers that are written at the interface level and name the application, on the same
//! host and one of its ports. So nobody asks the real provider for it (`storage-type` remote), and both levels say the
//! same. A consumer takes the revision as the document's name and nothing more, so it is a digest of our own, and begins with
//! the cluster's: that tells whose documents they are when no instance names them any more.
//!
//! Next on the path: [`applications`](super::applications) writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_model::{Protocol, Status, service::DEFAULT_WEIGHT};
use serde_json::{Value, json};

use super::shape::{ADDED, MAX_PLAIN, interface_of};
use crate::{
    eureka::convert::OF_ITS_REGISTRY,
    publish::{
        Key, Record, Shaped, Unfit,
        escape::escape,
        mark,
        rules::{self, Losses, shown, unfit},
    },
    zookeeper::access::{self, Access},
};

/// Bytes of an instance's metadata. A node's data is limited to 1 MiB, and an application's instances are read together.
const MAX_METADATA: usize = 16 << 10;
/// What is said anew of each copy, or concerns the origin's own process.
const OF_THE_PROCESS: [&str; 12] = [
    "dubbo.endpoints",
    "dubbo.metadata.revision",
    "dubbo.metadata.storage-type",
    "dubbo.metadata.cluster",
    "dubbo.metadata-service.url-params",
    "dubbo.metadata-service.urls",
    "ext.protocol",
    "instance_status",
    "meta-v",
    "preferred.protocol",
    "ssl-enabled",
    "weight",
];
const REVISION: &str = "dubbo.metadata.revision";

/// Whether a record is that of a Dubbo application itself, not of one of its services.
pub(super) fn is_application(record: &Record) -> bool {
    let metadata = &record.instance.metadata;
    let says = |name: &str, value: &str| metadata.get(name).is_some_and(|text| **text == *value);
    !metadata.contains_key("interface") && (says("dubbo.level", "application") || metadata.contains_key(REVISION))
}

/// Whether a key is that of an application's instance; a provider's id is a URL.
pub(super) fn is_key_of_application(key: &Key) -> bool {
    !key.id.contains("://")
}

/// What Dubbo's application level makes of a record.
pub(super) fn shape(record: &Record, access: &Access) -> Result<Shaped, Unfit> {
    rules::name(&record.service)?;
    name(record, access)?;
    let host = rules::host(&record.instance.host)?;
    let mut losses = Losses::default();
    let mut record = record.clone();
    let weight = rules::weight(&record.instance);
    let instance = &mut record.instance;
    let mut metadata = BTreeMap::new();
    for (key, text) in std::mem::take(&mut instance.metadata) {
        let is_said = [&ADDED[..], &OF_ITS_REGISTRY, &OF_THE_PROCESS, &["zone"]].concat();
        if is_said.contains(&&*key) {
            continue;
        }
        let reason = if key.is_empty() || text.is_empty() {
            "empty is the same as absent"
        } else if !access::is_kept(&key) {
            "it concerns the origin's own process, or is a secret"
        } else {
            metadata.insert(escape(&key, |_, _| true).into(), text);
            continue;
        };
        losses.add(shown(&key), reason);
    }
    rules::bound(&mut metadata, MAX_METADATA, &mut losses);
    let mut say = |name: &str, value: String| drop(metadata.insert(name.into(), value.into()));
    if weight != DEFAULT_WEIGHT {
        say("weight", weight.to_string());
    }
    if let Some(zone) = instance.zone.as_deref().filter(|zone| !zone.is_empty()) {
        say("zone", zone.to_owned());
    }
    let (is_called, is_exact) = match instance.status {
        Status::Up | Status::Passing => (true, true),
        Status::Warning => (true, false),
        Status::OutOfService => (false, true),
        _ => (false, false),
    };
    if !is_called {
        say("instance_status", "OUT_OF_SERVICE".to_owned());
    }
    if instance.ports.iter().any(|port| port.tls) {
        say("ssl-enabled", "true".to_owned());
    }
    instance.metadata = metadata;
    let first = instance
        .ports
        .iter()
        .find(|port| word(port.protocol).is_some())
        .ok_or_else(|| unfit("none of its ports speaks Dubbo, Triple, gRPC or HTTP"))?;
    let id: Arc<str> = format!("{host}:{}", first.number).into();
    // What stands there is what the follower will read.
    let (read, _) = access::read_instance(&id, &curator(&record, &id, "none")).map_err(unfit)?;
    let instance = &mut record.instance;
    if !is_exact {
        losses.add("status", format!("{} is written as {}", instance.status, read.status));
    }
    for port in instance.ports.iter().filter(|port| !read.ports.contains(port)) {
        losses.add(
            format!("port {}", port.number),
            "an application's endpoint has Dubbo's word for what it speaks",
        );
    }
    if read.zone != instance.zone {
        losses.add("zone", "empty is the same as absent");
    }
    instance.ports = read.ports;
    instance.status = read.status;
    instance.weight = read.weight;
    instance.zone = read.zone;
    instance.id = id.clone();
    instance.changed = None;
    let key = Key {
        service: record.service.clone(),
        id,
    };
    Ok(rules::finish(key, record, losses))
}

/// An application's name is a folder, and stands in a list and in each of its providers.
fn name(record: &Record, access: &Access) -> Result<(), Unfit> {
    let name = &*record.service;
    let odd = |c: char| c.is_control() || c.is_whitespace() || "/,".contains(c);
    if name.contains(odd) || name.len() > MAX_PLAIN || matches!(name, "." | "..") || access.application(name).is_none()
    {
        return Err(unfit(format!("`{}` is no name of an application", shown(name))));
    }
    if *record.mark.origin.service != *name {
        return Err(unfit(format!(
            "an application's name stands in each of its providers: leave `{}` as it is",
            shown(&record.mark.origin.service)
        )));
    }
    Ok(())
}

/// Dubbo's word for what is spoken on a port.
fn word(protocol: Protocol) -> Option<&'static str> {
    Some(match protocol {
        Protocol::Dubbo => "dubbo",
        Protocol::Triple => "tri",
        Protocol::Grpc => "grpc",
        Protocol::Http => "rest",
        Protocol::Unknown | Protocol::H2 | Protocol::Tcp => return None,
    })
}

/// The node of an instance: Curator's JSON with Dubbo's payload, no field more (old versions of Curator refuse them).
fn curator(record: &Record, id: &str, revision: &str) -> Vec<u8> {
    let instance = &record.instance;
    let endpoints: Vec<Value> = instance
        .ports
        .iter()
        .filter_map(|port| Some(json!({ "port": port.number, "protocol": word(port.protocol)? })))
        .collect();
    let mut metadata: BTreeMap<&str, String> = instance
        .metadata
        .iter()
        .filter(|(name, _)| !ADDED.contains(&&***name))
        .map(|(name, value)| (&**name, value.to_string()))
        .collect();
    metadata.insert("dubbo.endpoints", Value::from(endpoints).to_string());
    metadata.insert(REVISION, revision.to_owned());
    metadata.insert("dubbo.metadata.storage-type", "remote".to_owned());
    let port = id.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    json!({
        "name": record.service,
        "id": id,
        "address": instance.host.to_string(),
        "port": port,
        "sslPort": null,
        "payload": {
            "@class": "org.apache.dubbo.registry.zookeeper.ZookeeperInstance",
            "id": id,
            "name": record.service,
            "metadata": metadata,
        },
        // The time of the copy would make each new session's node another one.
        "registrationTimeUTC": 0,
        "serviceType": "DYNAMIC",
        "uriSpec": null,
    })
    .to_string()
    .into_bytes()
}

/// What is written for one instance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Composed {
    /// Name of the document.
    pub(super) revision: String,
    /// The document.
    pub(super) document: Vec<u8>,
    /// The instance's node.
    pub(super) data: Vec<u8>,
    /// Interfaces that are mapped to the application.
    pub(super) interfaces: BTreeSet<String>,
}

/// Whether a provider is one of an application's instance.
pub(super) fn serves(application: &Record, provider: &Record) -> bool {
    let named = provider.instance.metadata.get("application");
    let port = number_of(provider);
    named.is_some_and(|named| **named == *application.service)
        && provider.instance.host == application.instance.host
        && application.instance.ports.iter().any(|own| Some(own.number) == port)
}

fn number_of(provider: &Record) -> Option<u16> {
    let (_, number) = provider.instance.id.rsplit_once(':')?;
    number.parse().ok()
}

/// The instance with those of the providers that it serves, but for interfaces that are to be left alone.
pub(super) fn compose<'a>(
    record: &Record,
    providers: impl Iterator<Item = &'a Record>,
    is_left_alone: impl Fn(&str) -> bool,
    cluster: &str,
) -> Composed {
    let mut services: BTreeMap<String, Value> = BTreeMap::new();
    let mut interfaces = BTreeSet::new();
    let is_called = record.instance.status == Status::Up;
    for provider in providers.filter(|provider| is_called && serves(record, provider)) {
        let interface = interface_of(&provider.service);
        let metadata = &provider.instance.metadata;
        let (Some((scheme, _)), Some(number)) = (provider.instance.id.split_once("://"), number_of(provider)) else {
            continue;
        };
        if is_left_alone(interface) {
            continue;
        }
        let get = |name: &str| metadata.get(name).map(|value| &**value);
        let params: BTreeMap<&str, &str> = metadata
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .filter(|(name, _)| *name != "path" && !ADDED.contains(name))
            .collect();
        let service = json!({
            "name": interface,
            "group": get("group"),
            "version": get("version"),
            "protocol": scheme,
            "port": number,
            "path": get("path").unwrap_or(interface),
            "params": params,
        });
        interfaces.insert(interface.to_owned());
        // Of two ports for one service and protocol a document holds one.
        services
            .entry(format!("{}:{scheme}", provider.service))
            .or_insert(service);
    }
    let id = &*record.instance.id;
    // Another writer changes the epoch and nothing else: consumers need not read the document again.
    let mut lasting = services.clone();
    for service in lasting.values_mut() {
        if let Some(params) = service.get_mut("params").and_then(Value::as_object_mut) {
            params.remove(mark::EPOCH);
        }
    }
    let digest = mark::digest_of(&[
        record.service.as_bytes(),
        id.as_bytes(),
        json!(lasting).to_string().as_bytes(),
    ]);
    let revision = format!("{}{digest}", revisions_of(cluster));
    let document = json!({ "app": record.service, "revision": revision, "services": services });
    Composed {
        data: curator(record, id, &revision),
        document: document.to_string().into_bytes(),
        revision,
        interfaces,
    }
}

/// How the revisions of a cluster begin.
pub(super) fn revisions_of(cluster: &str) -> String {
    format!("landfall-{}-", &mark::digest_of(&[cluster.as_bytes()])[..8])
}

/// Whose an instance's node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// This cluster's copy.
    Ours,
    /// Another cluster's.
    Another,
    /// Nobody's copy, or nothing that could be read.
    Native,
}

/// Reads whose a node is.
pub(super) fn owner(data: &[u8], cluster: &str) -> Owner {
    let metadata = access::instance_metadata(data).unwrap_or_default();
    match (metadata.get(mark::ORIGIN), metadata.get(mark::CLUSTER)) {
        (Some(_), Some(writer)) if writer == cluster => Owner::Ours,
        (Some(_), _) => Owner::Another,
        (None, _) => Owner::Native,
    }
}

/// The document that a node names.
pub(super) fn revision_in(data: &[u8]) -> Option<String> {
    access::instance_metadata(data)?.remove(REVISION)
}

/// Whether an instance is read by Dubbo's consumers. Others (Spring's) write other payloads into the same kind of folder, and
/// whoever reads one fails with one of the other.
pub(super) fn is_of_dubbo(data: &[u8]) -> bool {
    access::read_instance(&"".into(), data).is_ok_and(|(_, is_dubbo)| is_dubbo)
}
