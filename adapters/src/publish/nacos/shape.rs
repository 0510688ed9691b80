//! What Nacos can hold of a record. Pure.
//!
//! | of the record | stands in Nacos as |
//! |---|---|
//! | service | group and service (`nacos/name.rs`); of a provider of Dubbo's `providers:interface:version:group` |
//! | host, first port | `ip`, `port`; without a port 0 |
//! | a port for gRPC besides | metadata `gRPC_port` |
//! | protocol, TLS | metadata `protocol`, `secure`; of a provider as in its URL |
//! | status | `healthy`; one that is `enabled: false` would be shown to nobody, us included |
//! | weight | `weight` in hundredths; of a provider its parameter |
//! | zone | metadata `zone`, unless the cluster says it |
//! | metadata `nacos.cluster` | `clusterName` |
//! | metadata | metadata, together with our marks at most [`MAX_METADATA`] characters; the longest are lost first |
//!
//! What is shaped is read by the follower's own code before it is given out, so what it will report is what it says.
//!
//! Next on the path: [`send`](super::send).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use landfall_model::{Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT};
use serde_json::{json, value::to_raw_value};

use crate::{
    nacos::{
        name::{Meaning, Source, split},
        record::{self, BEAT_TIMEOUT, CLUSTER, DEFAULT_CLUSTER, DELETE_TIMEOUT, EPHEMERAL, HEALTH, Health, Info},
    },
    publish::{
        Key, Record, Shaped, Unfit,
        escape::{escape, undo},
        mark,
        rules::{self, Losses, shown, unfit},
        zookeeper::shape::{ESSENTIAL, Provider, provider},
    },
};

/// Characters of all keys and values together, as Java counts them (ParamCheckRule.java, 2.3 and later).
const MAX_METADATA: usize = 1024;
/// Of those, what the times of the lease take.
const LEASE: usize = BEAT_TIMEOUT.len() + DELETE_TIMEOUT.len() + 2 * "3600000".len();
/// Bytes of an address.
const MAX_HOST: usize = 128;
/// Bytes of a cluster's name.
const MAX_CLUSTER: usize = 64;
/// Largest weight, in hundredths (Constants.java).
const MAX_WEIGHT: u32 = 10_000 * DEFAULT_WEIGHT;
/// Names under which starters announce a port for gRPC, as the follower reads them.
const GRPC_PORTS: [&str; 3] = ["gRPC_port", "gRPC.port", "grpc_port"];
/// Metadata that is word from an instance to its own server.
const LEASES: [&str; 4] = [
    BEAT_TIMEOUT,
    DELETE_TIMEOUT,
    "preserved.heart.beat.interval",
    "preserved.instance.id.generator",
];
/// What is left out last: without these it is called wrongly, or not at all.
const FIRST: [&str; 8] = [
    "protocol",
    "secure",
    "gRPC_port",
    "zone",
    "path",
    "category",
    "weight",
    "ext.protocol",
];

type Metadata = BTreeMap<Arc<str>, Arc<str>>;

/// A record as it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wire {
    pub(super) source: Source,
    pub(super) ip: String,
    pub(super) port: u16,
    pub(super) cluster: String,
    /// In hundredths of Nacos' own.
    weight: u32,
    pub(super) healthy: bool,
    metadata: Metadata,
}

/// What Nacos makes of a record, if these groups are followed.
pub(super) fn shape(record: &Record, groups: &[Arc<str>]) -> Result<Shaped, Unfit> {
    rules::name(&record.service)?;
    let host = rules::host(&record.instance.host)?;
    if host.len() > MAX_HOST {
        return Err(unfit(format!("Nacos takes addresses of {MAX_HOST} bytes at most")));
    }
    let mut losses = Losses::default();
    let mut cleaned = record.clone();
    let cluster = clean(&mut cleaned.instance.metadata, &mut losses);
    let is_provider = is_provider(&cleaned.instance.metadata);
    let mut wire = match is_provider {
        true => as_provider(&cleaned, groups, &mut losses)?,
        false => as_plain(&cleaned, groups, &mut losses)?,
    };
    wire.ip = host;
    wire.cluster = cluster;
    if let Some(zone) = &record.instance.zone
        && !zone.is_empty()
        && (**zone != *wire.cluster || wire.metadata.contains_key("zone"))
    {
        wire.metadata.insert("zone".into(), zone.clone());
    }
    let mut marks = Metadata::new();
    record.mark.write(&"0".repeat(24), &mut marks);
    bound(
        &mut wire.metadata,
        MAX_METADATA.saturating_sub(LEASE + size(&marks)),
        &mut losses,
    );
    wire.metadata.extend(marks);

    let mut instance = wire.read(is_provider)?;
    let is_given = |port: &Port| record.instance.ports.contains(port);
    if !instance.ports.iter().all(is_given) && wire.metadata.remove("dubbo.endpoints").is_some() {
        losses.add("dubbo.endpoints", "it names ports that the record does not have");
        instance = wire.read(is_provider)?;
    }
    // A provider's are reported by what made it one.
    if !is_provider {
        for port in record
            .instance
            .ports
            .iter()
            .filter(|port| !instance.ports.contains(port))
        {
            losses.add(
                format!("port {}", port.number),
                "Nacos has room for one port, and one for gRPC in the metadata",
            );
        }
    }
    let Meaning::Service { name: service, .. } = wire.source.meaning() else {
        return Err(unfit(format!(
            "`{}` is no name of a service in Nacos",
            shown(&wire.source.service)
        )));
    };
    if service != record.service {
        losses.add("service", format!("written as `{}`", shown(&service)));
    }
    let key = Key {
        service: service.clone(),
        id: instance.id.clone(),
    };
    let record = Record {
        service,
        instance,
        mark: record.mark.clone(),
    };
    Ok(rules::finish(key, record, losses))
}

/// Takes out what has a meaning of its own in Nacos. The cluster.
fn clean(metadata: &mut Metadata, losses: &mut Losses) -> String {
    for key in mark::KEYS {
        metadata.remove(key);
    }
    for key in [crate::eureka::convert::APP, crate::eureka::convert::OVERRIDDEN] {
        metadata.remove(key);
    }
    for key in LEASES {
        if metadata.remove(key).is_some() {
            losses.add(key, "it is about the lease that the origin has in a Nacos of its own");
        }
    }
    for key in [EPHEMERAL, HEALTH] {
        if metadata.remove(key).is_some() {
            losses.add(key, "what we write is ephemeral, and its health is the record's");
        }
    }
    let Some(cluster) = metadata.remove(CLUSTER) else {
        return DEFAULT_CLUSTER.to_owned();
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if cluster.is_empty() || cluster.len() > MAX_CLUSTER || !cluster.chars().all(plain) {
        losses.add(CLUSTER, "Nacos takes letters, digits and `-` only");
        return DEFAULT_CLUSTER.to_owned();
    }
    cluster.to_string()
}

/// Whether it is a provider of one of Dubbo's interfaces.
fn is_provider(metadata: &Metadata) -> bool {
    let has_interface = metadata.get("interface").is_some_and(|interface| !interface.is_empty());
    has_interface && rules::is_dubbo(metadata)
}

/// As Dubbo's own `NacosRegistry` writes it: the parameters of the URL, and what of the URL is none.
fn as_provider(record: &Record, groups: &[Arc<str>], losses: &mut Losses) -> Result<Wire, Unfit> {
    let (group, key) = split(&record.service, groups).map_err(unfit)?;
    let mut record = record.clone();
    record.service = key.into();
    let Provider {
        record,
        scheme,
        losses: more,
        ..
    } = provider(&record, |_| true)?;
    losses.join(more);
    let mut metadata = record.instance.metadata;
    let interface = metadata.get("interface").cloned().unwrap_or_default();
    metadata.insert("protocol".into(), scheme.into());
    metadata.entry("path".into()).or_insert_with(|| interface.clone());
    metadata.entry("category".into()).or_insert_with(|| "providers".into());
    Ok(Wire {
        source: source_of_provider(group, &metadata)?,
        ip: String::new(),
        port: record.instance.ports.first().map_or(0, |port| port.number),
        cluster: String::new(),
        weight: DEFAULT_WEIGHT,
        healthy: record.instance.status == Status::Up,
        metadata,
    })
}

fn source_of_provider(group: Arc<str>, metadata: &Metadata) -> Result<Source, Unfit> {
    let get = |name: &str| metadata.get(name).map(|value| &**value);
    let interface = get("interface").unwrap_or_default();
    Source::provider(group, interface, get("version"), get("group")).map_err(unfit)
}

fn as_plain(record: &Record, groups: &[Arc<str>], losses: &mut Losses) -> Result<Wire, Unfit> {
    let source = Source::plain(&record.service, groups).map_err(unfit)?;
    let instance = &record.instance;
    let mut given = instance.metadata.clone();
    if rules::is_dubbo(&given) {
        given.remove("weight");
    }
    for key in GRPC_PORTS {
        given.remove(key);
    }
    let first = instance.ports.first();
    let tls = first.is_some_and(|port| port.tls);
    let word = first.and_then(|port| rules::word(port.protocol));
    if given.remove("protocol").is_some() && word.is_none() {
        losses.add("protocol", "the key is ours: it says what is spoken on the port");
    }
    if word.is_none() && given.remove("gRPC").is_some() {
        losses.add("gRPC", "it would make another protocol of the port");
    }
    let mut metadata: Metadata = given
        .iter()
        // What looks like our own escape would be undone by whoever reads it.
        .map(|(key, value)| (escape(key, |_, _| true).into(), value.clone()))
        .collect();
    if let Some(word) = word {
        metadata.insert("protocol".into(), word.into());
    }
    if tls || given.contains_key("secure") {
        metadata.insert("secure".into(), if tls { "true" } else { "false" }.into());
    }
    let number = first.map_or(0, |port| port.number);
    let is_grpc = |port: &&Port| port.protocol == Protocol::Grpc && !port.tls && port.number != number;
    if let Some(beside) = instance.ports.iter().skip(1).find(is_grpc) {
        metadata.insert("gRPC_port".into(), beside.number.to_string().into());
    }
    let weight = rules::weight(instance);
    if weight > MAX_WEIGHT {
        losses.add("weight", "Nacos' largest is 10000");
    }
    Ok(Wire {
        source,
        ip: String::new(),
        port: number,
        cluster: String::new(),
        weight: weight.min(MAX_WEIGHT),
        healthy: healthy(instance.status, losses),
        metadata,
    })
}

fn healthy(status: Status, losses: &mut Losses) -> bool {
    let (healthy, exact) = match status {
        Status::Up | Status::Passing => (true, true),
        Status::Warning => (true, false),
        Status::Down | Status::Critical => (false, true),
        _ => (false, false),
    };
    if !exact {
        let written = if healthy { Status::Up } else { Status::Down };
        losses.add("status", format!("{status} is written as {written}"));
    }
    healthy
}

fn size(metadata: &Metadata) -> usize {
    metadata.iter().map(|(key, value)| length(key, value)).sum()
}

/// As Java counts.
fn length(key: &str, value: &str) -> usize {
    key.encode_utf16().count() + value.encode_utf16().count()
}

/// Leaves out the longest until all fit, what calls need last.
fn bound(metadata: &mut Metadata, limit: usize, losses: &mut Losses) {
    let mut total = size(metadata);
    while total > limit {
        let is_first = |key: &str| FIRST.contains(&key) || ESSENTIAL.contains(&key) && key != "methods";
        let longest = metadata
            .iter()
            .max_by_key(|(key, value)| (!is_first(key), length(key, value)))
            .map(|(key, _)| key.clone());
        let Some(key) = longest else { return };
        let length = metadata.remove(&key).map_or(0, |value| length(&key, &value));
        total -= length;
        losses.add(
            shown(&undo(&key)),
            format!("{length} characters: Nacos takes {MAX_METADATA} for all metadata together"),
        );
    }
}

/// A shaped record as it is sent.
pub(super) fn wire(shaped: &Shaped, groups: &[Arc<str>]) -> Result<Wire, Unfit> {
    let instance = &shaped.record.instance;
    let mut metadata = instance.metadata.clone();
    let cluster = metadata.remove(CLUSTER);
    for key in [EPHEMERAL, HEALTH] {
        metadata.remove(key);
    }
    let is_provider = is_provider(&metadata);
    let source = match is_provider {
        true => {
            let (group, _) = split(&shaped.key.service, groups).map_err(unfit)?;
            source_of_provider(group, &metadata)?
        }
        false => Source::candidates(&shaped.key.service, groups)
            .into_iter()
            .next()
            .ok_or_else(|| unfit("its group is not followed"))?,
    };
    Ok(Wire {
        source,
        ip: instance.host.to_string(),
        port: instance.ports.first().map_or(0, |port| port.number),
        cluster: cluster.map_or_else(|| DEFAULT_CLUSTER.to_owned(), |cluster| cluster.to_string()),
        // A provider's stands in its parameters.
        weight: if is_provider { DEFAULT_WEIGHT } else { instance.weight },
        healthy: instance.status == Status::Up,
        metadata,
    })
}

impl Wire {
    /// As Nacos will show it, with the times of the lease.
    pub(super) fn host(&self, lease: Duration) -> serde_json::Value {
        json!({
            "ip": self.ip, "port": self.port, "weight": f64::from(self.weight) / f64::from(DEFAULT_WEIGHT),
            "healthy": self.healthy, "enabled": true, "ephemeral": true, "clusterName": self.cluster,
            "serviceName": self.source.grouped(), "metadata": self.with_lease(lease),
        })
    }

    /// As the parameters of a registration.
    pub(super) fn parameters(&self, lease: Duration) -> Vec<(&'static str, String)> {
        vec![
            ("weight", format!("{}.{:02}", self.weight / 100, self.weight % 100)),
            ("enabled", "true".to_owned()),
            ("healthy", self.healthy.to_string()),
            ("metadata", json!(self.with_lease(lease)).to_string()),
        ]
    }

    fn with_lease(&self, lease: Duration) -> BTreeMap<&str, String> {
        let mut all: BTreeMap<&str, String> = self
            .metadata
            .iter()
            .map(|(key, value)| (&**key, value.to_string()))
            .collect();
        let lease = lease.as_millis().to_string();
        all.insert(BEAT_TIMEOUT, lease.clone());
        all.insert(DELETE_TIMEOUT, lease);
        all
    }

    /// As the follower will read it.
    fn read(&self, is_provider: bool) -> Result<Instance, Unfit> {
        let host = to_raw_value(&self.host(Duration::ZERO)).map_err(|error| unfit(error.to_string()))?;
        let service = self.source.service.clone();
        let mut reading = record::read(&service, is_provider, &Info::of_hosts(vec![host]), &mut Health::new());
        match (reading.instances.pop(), reading.quarantined.pop()) {
            (Some(instance), _) => Ok(instance),
            (None, why) => Err(unfit(why.map_or_else(String::new, |why| why.reason))),
        }
    }
}
