//! Services and instances exactly as a registry states them.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{RegistryName, ServiceId};

/// A registry's own word for the state of an instance, kept exactly.
///
/// What traffic makes of it is [`Status::serving`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Eureka: takes traffic. Also the word for registries without states.
    Up,
    /// Eureka: its own health says no.
    Down,
    /// Eureka: not ready yet.
    Starting,
    /// Eureka: taken out by an operator; may finish what it has.
    OutOfService,
    /// Eureka's own word for not known.
    Unknown,
    /// Consul: every check passes (or there is none).
    Passing,
    /// Consul: some check warns; takes traffic, often with a smaller weight.
    Warning,
    /// Consul: some check fails.
    Critical,
    /// Consul: a maintenance check is set.
    Maintenance,
    /// Dubbo, Nacos: switched off in the record itself (`disabled=true`, `enabled=false`).
    Disabled,
}

/// What an instance's status means for new calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Serving {
    /// May get new calls.
    Yes,
    /// Gets no new calls but may finish those it has.
    Draining,
    /// Gets nothing.
    No,
}

impl Status {
    /// What this word means for new calls.
    pub fn serving(self) -> Serving {
        match self {
            Self::Up | Self::Passing | Self::Warning => Serving::Yes,
            Self::OutOfService | Self::Maintenance => Serving::Draining,
            Self::Down | Self::Starting | Self::Unknown | Self::Critical | Self::Disabled => Serving::No,
        }
    }

    /// The word as the registry writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Starting => "STARTING",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Unknown => "UNKNOWN",
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an instance lives: an address, or a name still to be looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A DNS name; looked up, and looked up again, after the registry is read.
    Name(Arc<str>),
}

impl Host {
    /// An address if the text is one (brackets allowed), else a name.
    pub fn parse(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_or_else(|_| Self::Name(text.into()), Self::Ip)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What is spoken on a port, as far as the registry says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The registry does not say. HTTP/1.1 is assumed, and cleartext HTTP/2 for gRPC calls.
    #[default]
    Unknown,
    /// HTTP/1.1.
    Http,
    /// HTTP/2 (prior knowledge without TLS, ALPN with it).
    H2,
    /// gRPC, which is HTTP/2.
    Grpc,
    /// Dubbo's Triple: HTTP/2, since Dubbo 3.3 HTTP/1.1 too.
    Triple,
    /// Dubbo2 over TCP.
    Dubbo,
    /// Bytes.
    Tcp,
}

impl Protocol {
    /// Whether an HTTP request can be sent there.
    pub fn is_http(self) -> bool {
        !matches!(self, Self::Dubbo | Self::Tcp)
    }
}

/// One port of an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whether TLS is spoken there.
    #[serde(default)]
    pub tls: bool,
}

/// One address of a service, as its registry states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// The registry's own id, exactly. Unique within the service.
    pub id: Arc<str>,
    /// Where it lives.
    pub host: Host,
    /// Its ports, the preferred one first. May be empty: then it gets no traffic.
    pub ports: Vec<Port>,
    /// The registry's word for its state.
    pub status: Status,
    /// Share of traffic among the service's instances; 0 gets none. Default 100.
    pub weight: u32,
    /// Availability zone, when the registry knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// The registry's metadata, tags and parameters, in its own keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
    /// When this record last changed: by the registry's own clock; if it stamps nothing
    /// ([`RegistryView::since`](crate::RegistryView::since)), when its answer that told of it was here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<SystemTime>,
}

/// The weight of an instance whose registry knows none.
pub const DEFAULT_WEIGHT: u32 = 100;

/// A service of one registry with all its instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Registry and name.
    pub id: ServiceId,
    /// All instances, sorted by id, whatever their status.
    pub instances: Vec<Arc<Instance>>,
}

/// The registry and instance id a record came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The registry.
    pub registry: RegistryName,
    /// The service's name there.
    pub service: Arc<str>,
    /// The instance's id there.
    pub instance: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.registry, self.service, self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_in_brackets_is_an_address() {
        assert_eq!(Host::parse("[::1]"), Host::Ip("::1".parse().unwrap()));
        assert_eq!(Host::parse("10.0.0.1"), Host::Ip("10.0.0.1".parse().unwrap()));
        assert_eq!(Host::parse("h1.example"), Host::Name("h1.example".into()));
    }
}
