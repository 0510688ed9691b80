//! Nacos' JSON as instances. Pure: bytes in, knowledge out.
//!
//! | of Nacos | becomes |
//! |---|---|
//! | `ip#port#clusterName`; `landfall~ip#port` of a record of ours | the instance's id |
//! | `ip`, `port` | host and port; port 0 is legal and means: no port, no traffic |
//! | `enabled` false, else `healthy` false, else | disabled, DOWN, UP |
//! | `weight` | × 100, because Nacos' default is 1 and ours 100; of a Dubbo provider also × its own `weight` / 100 |
//! | meta `zone`, else `clusterName` unless it is `DEFAULT` | zone |
//! | meta `secure=true` (Spring Cloud Alibaba) | TLS on that port |
//! | meta `protocol`; meta `gRPC_port`, `gRPC.port` | what is spoken there; one more port, for gRPC |
//! | a Dubbo provider's `protocol`, `ext.protocol`, `ssl-enabled` | as in ZooKeeper |
//! | meta `dubbo.endpoints` (application level) | the ports of that application |
//! | `metadata` | metadata, of a record of ours without the times of its lease; besides `nacos.cluster`, `nacos.ephemeral` = `false`, `nacos.health` = `protected` |
//!
//! One address may stand there twice: natively, by a connection, and as a copy that we wrote. So an id says which it is.
//!
//! `reachProtectionThreshold` says that Nacos calls every instance healthy because too few are. Then each keeps the
//! last real word of its health; one that has never had one counts as healthy, as Nacos wants it.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Host, Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT, world::Quarantined};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{publish::mark, zookeeper::interface};

/// In the metadata of an instance whose health is not told.
pub(crate) const HEALTH: &str = "nacos.health";
/// In the metadata of an instance in another cluster than [`DEFAULT_CLUSTER`].
pub(crate) const CLUSTER: &str = "nacos.cluster";
/// In the metadata of an instance that is not ephemeral.
pub(crate) const EPHEMERAL: &str = "nacos.ephemeral";
/// The cluster of whoever names none.
pub(crate) const DEFAULT_CLUSTER: &str = "DEFAULT";
/// Metadata that is word to the server: how long an instance is healthy without a beat, in ms.
pub(crate) const BEAT_TIMEOUT: &str = "preserved.heart.beat.timeout";
/// And how long it stays without one, in ms.
pub(crate) const DELETE_TIMEOUT: &str = "preserved.ip.delete.timeout";
/// Highest weight that is taken; Nacos' console allows 10,000.
const HIGHEST_WEIGHT: f64 = 10_000.0;

/// A `serviceInfo`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info {
    /// Perhaps with `group@@`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) group_name: String,
    // A missing list is not an empty one.
    pub(crate) hosts: Vec<Box<RawValue>>,
    /// The server's clock in ms when it made this; 0 if it does not say.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) last_ref_time: i64,
    #[serde(default, deserialize_with = "null_is_default")]
    reach_protection_threshold: bool,
}

impl Info {
    /// Of an API that gives the hosts alone.
    pub(crate) fn of_hosts(hosts: Vec<Box<RawValue>>) -> Self {
        Self {
            name: String::new(),
            group_name: String::new(),
            hosts,
            last_ref_time: 0,
            reach_protection_threshold: false,
        }
    }
}

/// What was read of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Sorted by id.
    pub(crate) instances: Vec<Instance>,
    /// Records that could not be understood.
    pub(crate) quarantined: Vec<Quarantined>,
}

/// The last real health of each instance.
pub(crate) type Health = BTreeMap<Arc<str>, bool>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    ip: String,
    port: i64,
    #[serde(default = "one")]
    weight: f64,
    #[serde(default = "yes")]
    healthy: bool,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default = "yes")]
    ephemeral: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    cluster_name: String,
    #[serde(default, deserialize_with = "null_is_default")]
    metadata: BTreeMap<String, Option<String>>,
}

/// Reads a service's instances. `health` is that of the reading before, and becomes that of this one.
pub(crate) fn read(service: &Arc<str>, dubbo: bool, info: &Info, health: &mut Health) -> Reading {
    let mut reading = Reading::default();
    let mut now = Health::new();
    for (position, raw) in info.hosts.iter().enumerate() {
        let record = serde_json::from_str::<Record>(raw.get()).map_err(|error| error.to_string());
        let read = record.and_then(|record| {
            let id = record.id();
            let protected = info.reach_protection_threshold && record.healthy;
            let healthy = match protected {
                true => health.get(&id).copied(),
                false => Some(record.healthy),
            };
            let mut instance = record.instance(id.clone(), healthy.unwrap_or(true), dubbo)?;
            if protected {
                instance.metadata.insert(HEALTH.into(), "protected".into());
            }
            if let Some(healthy) = healthy {
                now.insert(id, healthy);
            }
            Ok(instance)
        });
        match read {
            Ok(instance) => reading.instances.push(instance),
            Err(reason) => {
                let record = id_of(raw).unwrap_or_else(|| format!("host {position}"));
                // What is not understood now was perhaps understood before, and keeps its health too.
                if let Some((id, healthy)) = health.get_key_value(record.as_str()) {
                    now.insert(id.clone(), *healthy);
                }
                reading.quarantined.push(Quarantined {
                    service: Some(service.clone()),
                    record,
                    reason,
                });
            }
        }
    }
    *health = now;
    // Nacos keeps them in a hash set: a new order is no change. One that has come back by another connection stands
    // there twice until the old one is given up.
    let rank = |instance: &Instance| instance.status != Status::Up;
    reading
        .instances
        .sort_by(|a, b| a.id.cmp(&b.id).then_with(|| rank(a).cmp(&rank(b))));
    reading.instances.dedup_by(|later, first| later.id == first.id);
    reading.quarantined.sort_by(|a, b| a.record.cmp(&b.record));
    reading
}

/// Reads what a registry of our own shows; nothing there is protected, so every health is real.
pub(crate) fn read_own(service: &Arc<str>, dubbo: bool, info: &serde_json::Value) -> Option<Reading> {
    let info: Info = serde_json::from_str(&info.to_string()).ok()?;
    Some(read(service, dubbo, &info, &mut Health::new()))
}

/// `ip#port#cluster`. Of a copy that we wrote the cluster does not count: Nacos holds one for an address.
fn instance_id(ip: &str, port: i64, cluster: &str, is_ours: bool) -> Arc<str> {
    if is_ours {
        return copy_id(ip, port);
    }
    let cluster = if cluster.is_empty() { DEFAULT_CLUSTER } else { cluster };
    format!("{ip}#{port}#{cluster}").into()
}

/// The id of a copy that we, or another Landfall, wrote.
pub(crate) fn copy_id(ip: &str, port: i64) -> Arc<str> {
    format!("{}{ip}#{port}", mark::TAG).into()
}

/// The id of a record that is otherwise not understood, so that its last known form can be kept.
fn id_of(raw: &RawValue) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(raw.get()).ok()?;
    let cluster = value.get("clusterName").and_then(|cluster| cluster.as_str());
    let id = instance_id(
        value.get("ip")?.as_str()?,
        value.get("port")?.as_i64()?,
        cluster.unwrap_or_default(),
        value
            .get("metadata")
            .is_some_and(|metadata| metadata.get(mark::ORIGIN).is_some()),
    );
    Some(id.to_string())
}

impl Record {
    fn id(&self) -> Arc<str> {
        instance_id(&self.ip, self.port, &self.cluster_name, self.is_ours())
    }

    /// Whether it is a copy that we, or another Landfall, wrote.
    fn is_ours(&self) -> bool {
        self.metadata.contains_key(mark::ORIGIN)
    }

    fn instance(self, id: Arc<str>, healthy: bool, dubbo: bool) -> Result<Instance, String> {
        let ip = self.ip.trim();
        if ip.is_empty() {
            return Err("it has no address".to_owned());
        }
        let number = u16::try_from(self.port).map_err(|_| format!("{} is no port", self.port))?;
        let get = |name: &str| self.metadata.get(name)?.as_deref().filter(|value| !value.is_empty());
        let disabled = !self.enabled || dubbo && (get("disabled") == Some("true") || get("enabled") == Some("false"));
        let ports = match (number, dubbo) {
            (0, _) => Vec::new(),
            (_, true) => interface::ports(get("protocol").unwrap_or("dubbo"), number, &get),
            (_, false) => ports(number, &get),
        };
        let weight = weight(self.weight, if dubbo { get("weight") } else { None });
        let zone =
            get("zone").or_else(|| Some(&*self.cluster_name).filter(|name| !["", DEFAULT_CLUSTER].contains(name)));
        let pairs = self
            .metadata
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
        let mut metadata: BTreeMap<Arc<str>, Arc<str>> = match dubbo {
            true => interface::useful(pairs),
            false => pairs.map(|(name, value)| (name.into(), value.into())).collect(),
        };
        if self.is_ours() {
            metadata.remove(BEAT_TIMEOUT);
            metadata.remove(DELETE_TIMEOUT);
        }
        if !["", DEFAULT_CLUSTER].contains(&&*self.cluster_name) {
            metadata.insert(CLUSTER.into(), self.cluster_name.as_str().into());
        }
        if !self.ephemeral {
            metadata.insert(EPHEMERAL.into(), "false".into());
        }
        Ok(Instance {
            id,
            host: Host::parse(ip),
            ports,
            status: match (disabled, healthy) {
                (true, _) => Status::Disabled,
                (false, false) => Status::Down,
                (false, true) => Status::Up,
            },
            weight,
            zone: zone.map(Into::into),
            metadata,
            changed: None,
        })
    }
}

/// What is spoken where, of an application that is no provider of Dubbo's interface level.
fn ports<'a>(number: u16, get: &impl Fn(&str) -> Option<&'a str>) -> Vec<Port> {
    let yes = |name: &str| get(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    let word = get("protocol").unwrap_or_default().trim().to_ascii_lowercase();
    let tls = word == "https" || yes("secure");
    let mut ports = vec![Port {
        number,
        protocol: match word.as_str() {
            "" if yes("gRPC") => Protocol::Grpc,
            word => protocol(word),
        },
        tls,
    }];
    let mut add = |number: u16, protocol: Protocol| match ports.iter_mut().find(|port| port.number == number) {
        Some(port) if port.protocol == Protocol::Unknown => port.protocol = protocol,
        Some(_) => {}
        None => ports.push(Port {
            number,
            protocol,
            tls: false,
        }),
    };
    // As the gRPC starters for Spring write it beside the HTTP port.
    let grpc = ["gRPC_port", "gRPC.port", "grpc_port"].into_iter().find_map(get);
    if let Some(number) = grpc
        .and_then(|text| text.trim().parse().ok())
        .filter(|number| *number != 0)
    {
        add(number, Protocol::Grpc);
    }
    #[derive(Deserialize)]
    struct Endpoint {
        port: u16,
        protocol: String,
    }
    let endpoints = get("dubbo.endpoints").and_then(|text| serde_json::from_str::<Vec<Endpoint>>(text).ok());
    for endpoint in endpoints
        .unwrap_or_default()
        .into_iter()
        .filter(|endpoint| endpoint.port != 0)
    {
        add(endpoint.port, protocol(&endpoint.protocol));
    }
    ports
}

fn protocol(word: &str) -> Protocol {
    match word {
        "http" | "https" | "http1" | "http1.1" | "rest" => Protocol::Http,
        "h2" | "h2c" | "http2" => Protocol::H2,
        "grpc" => Protocol::Grpc,
        "tri" | "triple" => Protocol::Triple,
        "dubbo" => Protocol::Dubbo,
        "tcp" => Protocol::Tcp,
        _ => Protocol::Unknown,
    }
}

/// Nacos' share, 1 by default, and that of a Dubbo provider, 100 by default.
fn weight(share: f64, own: Option<&str>) -> u32 {
    let share = if share.is_finite() {
        share.clamp(0.0, HIGHEST_WEIGHT)
    } else {
        1.0
    };
    let hundredths = share * f64::from(DEFAULT_WEIGHT);
    // What is asked for gets something.
    let rounded = if hundredths > 0.0 {
        hundredths.round().max(1.0)
    } else {
        0.0
    };
    let own = u64::from(own.map_or(DEFAULT_WEIGHT, |own| interface::weight(Some(own))));
    let both = rounded as u64 * own / u64::from(DEFAULT_WEIGHT);
    u32::try_from(both).unwrap_or(u32::MAX)
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

/// Nacos writes `null` for what is empty, in some versions and places.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
