//! Consul's JSON as services and instances. Pure: bytes in, knowledge out.
//!
//! | of Consul | becomes |
//! |---|---|
//! | `Node.Node` + `/` + `Service.ID` | the instance's id: a service id alone is unique only on its node |
//! | `Service.Address`, else `Node.Address` | host |
//! | `Service.Port` | port; 0 or missing is legal and means: no port, no traffic |
//! | meta `secure=true` (Spring) or tag `secure=true` | TLS on that port |
//! | meta `protocol` = http, https, h2, grpc, triple, dubbo, tcp; meta `gRPC=true` | what is spoken there |
//! | meta `gRPC_port` or `gRPC.port` | one more port, for gRPC |
//! | worst of `Checks`, node checks included | status; a maintenance check wins; no check is passing |
//! | `Weights.Passing`, `.Warning` while warning | weight × 100, because Consul's default is 1 and ours 100 |
//! | meta `zone` (Spring), else `Locality.Zone` | zone |
//! | `Meta`, and `tag.<tag>` = `true` for each tag | metadata |
//!
//! Entries with a `Kind` are proxies and gateways of Consul's own mesh and are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::SystemTime,
};

use landfall_model::{Host, Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT, world::Quarantined};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Scope;

/// What a health answer says about one service.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    /// A service with these instances.
    Service {
        /// Sorted by id.
        instances: Vec<Instance>,
        /// Entries that could not be understood.
        quarantined: Vec<Quarantined>,
    },
    /// Only proxies and gateways: no service of anybody's.
    Machinery,
}

impl Reading {
    /// Whether nothing is there to be called.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::Service { instances, quarantined } => instances.is_empty() && quarantined.is_empty(),
            Self::Machinery => true,
        }
    }

    /// Notes in each instance when it was first heard of in this form: that of `last`, or `heard` if it has another.
    pub(super) fn note_changes(&mut self, last: Option<&Self>, heard: Option<SystemTime>) {
        let Self::Service { instances, .. } = self else {
            return;
        };
        let known = match last {
            Some(Self::Service { instances, .. }) => instances.as_slice(),
            Some(Self::Machinery) | None => &[],
        };
        for instance in instances {
            let before = known.binary_search_by(|known| known.id.cmp(&instance.id));
            let before = before.ok().map(|at| &known[at]);
            instance.changed = before.and_then(|before| before.changed);
            if before != Some(instance) {
                instance.changed = heard;
            }
        }
    }
}

/// A health answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Health {
    /// What it says of the service.
    pub(super) reading: Reading,
    /// Which of its entries make the reading.
    pub(super) read: BTreeSet<Id>,
    /// Every entry that says which one it is, those that are left out included.
    pub(super) named: BTreeSet<Id>,
    /// An entry does not even say which one it is, so nobody can tell what is missing.
    pub(super) nameless: bool,
}

/// Which entry: Consul's ids are unique on their node alone. Shown as the instance's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    /// `Node.Node`.
    pub(super) node: String,
    /// `Service.ID`.
    pub(super) service: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.service)
    }
}

/// The names of a catalog listing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listing {
    /// The names that are followed.
    pub(super) names: Vec<Arc<str>>,
    /// Whether the answer named any service at all, `consul` included.
    pub(super) any: bool,
}

/// `/v1/catalog/services`: name → union of the instances' tags.
pub(super) fn listing(body: &[u8], scope: &Scope) -> Result<Listing, String> {
    let all: BTreeMap<String, Option<Vec<String>>> =
        serde_json::from_slice(body).map_err(|error| format!("/v1/catalog/services is not a map of names: {error}"))?;
    let wanted = |name: &str, tags: &[String]| {
        name != "consul" && !scope.exclude.iter().any(|e| e == name) && scope.tags.iter().all(|t| tags.contains(t))
    };
    let names = all
        .iter()
        .filter(|(name, tags)| wanted(name, tags.as_deref().unwrap_or_default()));
    Ok(Listing {
        names: names.map(|(name, _)| Arc::from(name.as_str())).collect(),
        any: !all.is_empty(),
    })
}

/// `/v1/health/service/:name`: an entry that is not understood is set aside, its siblings live. Consul answers for every
/// name that differs by case alone (its index is in lower case); those entries are another service's.
pub(super) fn health(service: &Arc<str>, body: &[u8], scope: &Scope) -> Result<Health, String> {
    let entries: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| format!("/v1/health/service/{service} is not a list of entries: {error}"))?;
    let (mut instances, mut quarantined, mut machinery, mut twins) = (Vec::new(), Vec::new(), 0, 0);
    let (mut read, mut named, mut nameless) = (BTreeSet::new(), BTreeSet::new(), false);
    for (position, raw) in entries.iter().enumerate() {
        let mut id = None;
        let parsed = serde_json::from_str::<Entry>(raw.get()).map_err(|error| error.to_string());
        let parsed = parsed.and_then(|entry| {
            id = Some(entry.id());
            if entry.service.name.as_deref().is_some_and(|name| name != &**service) {
                twins += 1;
                Ok(None)
            } else if !entry.service.kind.is_empty() {
                machinery += 1;
                Ok(None)
            } else if scope.tags.iter().all(|tag| entry.service.tags.contains(tag)) {
                entry.instance().map(Some)
            } else {
                Ok(None)
            }
        });
        let id = id.or_else(|| id_of(raw));
        match &id {
            Some(id) => {
                named.insert(id.clone());
            }
            None => nameless = true,
        }
        if !matches!(parsed, Ok(None)) {
            read.extend(id.clone());
        }
        match parsed {
            Ok(instance) => instances.extend(instance),
            Err(reason) => quarantined.push(Quarantined {
                service: Some(service.clone()),
                record: id.map_or_else(|| format!("entry {position}"), |id| id.to_string()),
                reason,
            }),
        }
    }
    // Consul promises no order, and a new order is no change.
    instances.sort_by(|a, b| a.id.cmp(&b.id));
    let reading = if machinery > 0 && machinery + twins == entries.len() {
        Reading::Machinery
    } else {
        Reading::Service { instances, quarantined }
    };
    Ok(Health {
        reading,
        read,
        named,
        nameless,
    })
}

/// The id of an entry that is otherwise not understood, so that its last known form can be kept.
fn id_of(raw: &RawValue) -> Option<Id> {
    let value: serde_json::Value = serde_json::from_str(raw.get()).ok()?;
    let text = |path: &str| Some(value.pointer(path)?.as_str()?.to_owned());
    Some(Id {
        node: text("/Node/Node")?,
        service: text("/Service/ID")?,
    })
}

/// What the catalog has on one node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OnNode {
    // Read only for being there: `null` is a node that does not exist or that our rights hide.
    #[serde(deserialize_with = "Option::deserialize")]
    node: Option<serde::de::IgnoredAny>,
    #[serde(deserialize_with = "null_is_default")]
    services: Vec<Registered>,
}

#[derive(Debug, Deserialize)]
struct Registered {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Service")]
    name: String,
}

impl OnNode {
    /// Whether it shows the node at all.
    pub(super) fn shows_node(&self) -> bool {
        self.node.is_some()
    }

    /// Whether that id is registered there for that service. Consul takes names as the same whatever their case.
    pub(super) fn has(&self, id: &str, service: &str) -> bool {
        let same = |name: &str| name.to_lowercase() == service.to_lowercase();
        self.services.iter().any(|on| on.id == id && same(&on.name))
    }
}

/// `/v1/catalog/node-services/:node`.
pub(super) fn on_node(node: &str, body: &[u8]) -> Result<OnNode, String> {
    let wrong = |why: &str| format!("/v1/catalog/node-services/{node} is not a node with its services: {why}");
    // serde would take a list for the fields in turn.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong("it is no object"));
    }
    serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
    #[serde(default, deserialize_with = "null_is_default")]
    checks: Vec<Check>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
    #[serde(default, deserialize_with = "null_is_default")]
    address: String,
    #[serde(default)]
    locality: Option<Locality>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Service", default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    kind: String,
    #[serde(default, deserialize_with = "null_is_default")]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    address: String,
    #[serde(default, deserialize_with = "null_is_default")]
    port: i64,
    #[serde(default, deserialize_with = "null_is_default")]
    meta: BTreeMap<String, String>,
    #[serde(default)]
    weights: Option<Weights>,
    #[serde(default)]
    locality: Option<Locality>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    #[serde(default = "one")]
    passing: i64,
    #[serde(default = "one")]
    warning: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Locality {
    #[serde(default, deserialize_with = "null_is_default")]
    zone: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", default, deserialize_with = "null_is_default")]
    id: String,
    status: String,
}

impl Entry {
    fn id(&self) -> Id {
        Id {
            node: self.node.node.clone(),
            service: self.service.id.clone(),
        }
    }

    fn instance(self) -> Result<Instance, String> {
        let status = self.status()?;
        let address = match self.service.address.trim() {
            "" => self.node.address.trim(),
            address => address,
        };
        if address.is_empty() {
            return Err("neither the service nor its node has an address".to_owned());
        }
        let ports = self.service.ports()?;
        let zone = self.service.meta.get("zone").filter(|zone| !zone.is_empty()).cloned();
        let zone = zone.or_else(|| {
            let places = [&self.service.locality, &self.node.locality];
            let mut zones = places.into_iter().flatten().map(|place| place.zone.clone());
            zones.find(|zone| !zone.is_empty())
        });
        let mut metadata: BTreeMap<Arc<str>, Arc<str>> = self
            .service
            .meta
            .iter()
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect();
        for tag in &self.service.tags {
            metadata
                .entry(format!("tag.{tag}").into())
                .or_insert_with(|| "true".into());
        }
        Ok(Instance {
            id: self.id().to_string().into(),
            host: Host::parse(address),
            ports,
            status,
            weight: self.service.weight(status),
            zone: zone.map(Into::into),
            metadata,
            changed: None,
        })
    }

    /// The worst check. `maintenance` is no check's status but the id of a check (agent/structs/structs.go).
    fn status(&self) -> Result<Status, String> {
        let mut worst = Status::Passing;
        for check in &self.checks {
            let status = match check.status.as_str() {
                _ if check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:") => {
                    Status::Maintenance
                }
                "passing" => Status::Passing,
                "warning" => Status::Warning,
                "critical" => Status::Critical,
                other => return Err(format!("check `{}` has the unknown status `{other}`", check.id)),
            };
            worst = worst.max(status);
        }
        Ok(worst)
    }
}

impl Service {
    fn ports(&self) -> Result<Vec<Port>, String> {
        let meta = |key: &str| self.meta.get(key).map(|value| value.trim());
        let yes = |value: &str| value.eq_ignore_ascii_case("true");
        let word = meta("protocol").unwrap_or_default().to_ascii_lowercase();
        let tls = word == "https"
            || meta("secure").is_some_and(yes)
            || self.tags.iter().any(|tag| tag.eq_ignore_ascii_case("secure=true"));
        let protocol = match word.as_str() {
            "http" | "https" | "http1" | "http1.1" => Protocol::Http,
            "h2" | "h2c" | "http2" => Protocol::H2,
            "grpc" => Protocol::Grpc,
            "tri" | "triple" => Protocol::Triple,
            "dubbo" => Protocol::Dubbo,
            "tcp" => Protocol::Tcp,
            _ if meta("gRPC").is_some_and(yes) => Protocol::Grpc,
            _ => Protocol::Unknown,
        };
        let mut ports = Vec::new();
        if self.port != 0 {
            let number = u16::try_from(self.port).map_err(|_| format!("{} is no port", self.port))?;
            ports.push(Port { number, protocol, tls });
        }
        // As the gRPC starters for Spring write it beside the HTTP port.
        let grpc = ["gRPC_port", "gRPC.port", "grpc_port"].into_iter().find_map(meta);
        if let Some(number) = grpc
            .and_then(|text| text.parse::<u16>().ok())
            .filter(|number| *number != 0)
        {
            match ports.first_mut().filter(|port| port.number == number) {
                Some(port) => port.protocol = Protocol::Grpc,
                None => ports.push(Port {
                    number,
                    protocol: Protocol::Grpc,
                    tls: false,
                }),
            }
        }
        Ok(ports)
    }

    fn weight(&self, status: Status) -> u32 {
        let Some(weights) = &self.weights else {
            return DEFAULT_WEIGHT;
        };
        let share = if status == Status::Warning {
            weights.warning
        } else {
            weights.passing
        };
        // Consul allows 0 to 65535.
        u32::try_from(share.clamp(0, 65_535)).unwrap_or(0) * DEFAULT_WEIGHT
    }
}

fn one() -> i64 {
    1
}

/// Consul writes `null` for what is empty, in some versions and places.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
