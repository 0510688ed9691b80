//! From an instance to its endpoints, or to the reason why it gets no calls.
//!
//! This is the only place that decides: `compose` takes the endpoints, `landfall why` shows the reason.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use landfall_model::{
    Endpoint, Host, Instance, Origin, Port, Protocol, ServiceId, Serving, Status,
    rules::{DubboService, Family, TrafficPolicy},
    snapshot::{Change, Since},
};

use crate::resolve::Names;

/// Why an instance gets no calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Its registry says that it must not get any.
    Status(Status),
    /// Its weight is 0.
    NoWeight,
    /// Its registry names no port.
    NoPort,
    /// None of its ports takes HTTP.
    NoHttpPort(Vec<Port>),
    /// None of its ports takes Dubbo2 without TLS.
    NoDubboPort(Vec<Port>),
    /// The port that the backendRef asks for is none of its ports.
    PortAbsent {
        /// The port asked for.
        asked: u16,
        /// What it has.
        has: Vec<Port>,
    },
    /// The port that the backendRef asks for takes no HTTP.
    PortNotHttp(Port),
    /// The port that the backendRef of a DubboRoute asks for takes no Dubbo2, or only under TLS.
    PortNotDubbo(Port),
    /// `0.0.0.0` or `::`: where a process listens, not where it can be called.
    Unspecified(IpAddr),
    /// Its host name has not been looked up yet.
    NotLookedUp(Arc<str>),
    /// Its host name has no address, and never had one since this process started.
    NoAddress {
        /// The name.
        name: Arc<str>,
        /// What the resolver said.
        why: Arc<str>,
    },
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) if status.serving() == Serving::Draining => {
                write!(
                    f,
                    "its status is {status}: it may finish what it has but gets no new calls"
                )
            }
            Self::Status(status) => write!(f, "its status is {status}"),
            Self::NoWeight => f.write_str("its weight is 0"),
            Self::NoPort => f.write_str("its registry names no port for it"),
            Self::NoHttpPort(has) => write!(f, "none of its ports takes HTTP: it has {}", Ports(has)),
            Self::NoDubboPort(has) => {
                write!(f, "none of its ports takes Dubbo2 without TLS: it has {}", Ports(has))
            }
            Self::PortAbsent { asked, has } if has.is_empty() => {
                write!(
                    f,
                    "the backendRef asks for port {asked}, and its registry names no port for it"
                )
            }
            Self::PortAbsent { asked, has } => {
                write!(f, "the backendRef asks for port {asked}: it has {}", Ports(has))
            }
            Self::PortNotHttp(port) => {
                write!(
                    f,
                    "the backendRef asks for a port that takes no HTTP: {}",
                    Ports(std::slice::from_ref(port))
                )
            }
            Self::PortNotDubbo(port) => {
                write!(
                    f,
                    "the backendRef asks for a port that takes no Dubbo2 without TLS: {}",
                    Ports(std::slice::from_ref(port))
                )
            }
            Self::Unspecified(ip) => {
                write!(
                    f,
                    "it is registered as {ip}, which is where a process listens, not where it can be called"
                )
            }
            Self::NotLookedUp(name) => write!(f, "its host name {name} has not been looked up yet"),
            Self::NoAddress { name, why } => write!(f, "its host name {name} has no address: {why}"),
        }
    }
}

/// Ports as a person reads them: `20880 (dubbo), 8443 (http, TLS)`.
struct Ports<'a>(&'a [Port]);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, port) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let protocol = protocol_text(port.protocol);
            let tls = if port.tls { ", TLS" } else { "" };
            write!(f, "{comma}{} ({protocol}{tls})", port.number)?;
        }
        Ok(())
    }
}

/// A protocol as configuration and answers write it.
pub fn protocol_text(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Unknown => "unknown",
        Protocol::Http => "http",
        Protocol::H2 => "h2",
        Protocol::Grpc => "grpc",
        Protocol::Triple => "triple",
        Protocol::Dubbo => "dubbo",
        Protocol::Tcp => "tcp",
    }
}

/// Where a Dubbo provider tells which calls it is for.
const TAG: &str = "dubbo.tag";

/// What a Dubbo provider exports, by its metadata, which are the parameters of its URL; `0.0.0` is no version.
fn exported(instance: &Instance) -> Option<DubboService> {
    let stated = |name: &str| instance.metadata.get(name).map(|text| text.to_string());
    Some(DubboService {
        interface: stated("interface")?,
        group: stated("group").unwrap_or_default(),
        version: stated("version")
            .filter(|version| version != "0.0.0")
            .unwrap_or_default(),
    })
}

/// The endpoints of an instance: one for an address, one for each address of a name. Never empty.
///
/// The addresses of a name divide the instance's weight, so a name with three addresses gets no more than its share.
/// `asked` is the port asked for, with what is to be spoken there. `since` is by whose word the instance has changed when it says so.
pub fn admit(
    service: &ServiceId,
    instance: &Instance,
    (asked, family): (Option<u16>, Family),
    policy: &TrafficPolicy,
    names: &Names,
    since: Since,
) -> Result<Vec<Endpoint>, LeftOut> {
    if instance.status.serving() != Serving::Yes {
        return Err(LeftOut::Status(instance.status));
    }
    if instance.weight == 0 {
        return Err(LeftOut::NoWeight);
    }
    let port = choose_port(instance, asked, family)?;
    let addresses = addresses(&instance.host, names)?;
    let server_name = || {
        let text = policy.tls.server_name.clone();
        text.unwrap_or_else(|| instance.host.to_string().into())
    };
    let tls = port.tls.then(server_name);
    let tag = instance
        .metadata
        .get(TAG)
        .filter(|tag| family == Family::Dubbo && !tag.is_empty());
    let exported = (family == Family::Dubbo)
        .then(|| exported(instance))
        .flatten()
        .map(Arc::new);
    let parts = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    Ok(addresses
        .into_iter()
        .map(|ip| Endpoint {
            address: SocketAddr::new(ip, port.number),
            protocol: port.protocol,
            tls: tls.clone(),
            sidecar: None,
            weight: (instance.weight / parts).max(1),
            zone: instance.zone.clone(),
            tag: tag.cloned(),
            exported: exported.clone(),
            origin: Origin {
                registry: service.registry.clone(),
                service: service.name.clone(),
                instance: instance.id.clone(),
            },
            changed: instance.changed.map(|at| Change { at, since }),
        })
        .collect())
}

/// How sure it is that a port takes what is to be spoken; the smaller the surer, `None` if it does not.
fn fitness(port: &Port, family: Family) -> Option<u8> {
    Some(match (family, port.protocol) {
        (Family::Http, Protocol::Http) => 0,
        (Family::Http, Protocol::Unknown) => 1,
        (Family::Http, Protocol::H2) => 2,
        (Family::Http, Protocol::Grpc) => 3,
        (Family::Http, Protocol::Triple) => 4,
        (Family::Http, Protocol::Dubbo | Protocol::Tcp) => return None,
        (Family::Dubbo, _) if port.tls => return None,
        (Family::Dubbo, Protocol::Dubbo) => 0,
        (Family::Dubbo, Protocol::Unknown) => 1,
        (Family::Dubbo, Protocol::Tcp) => 2,
        // Since 3.3 Dubbo speaks both on one port, but then its record names both.
        (Family::Dubbo, Protocol::Http | Protocol::H2 | Protocol::Grpc | Protocol::Triple) => return None,
    })
}

/// The port asked for, else the first that is surest to take what is to be spoken; the registry's order decides among
/// equals.
fn choose_port(instance: &Instance, asked: Option<u16>, family: Family) -> Result<&Port, LeftOut> {
    // Port 0 stands in a record for "none" (Eureka's disabled port, for one).
    let ports = || instance.ports.iter().filter(|port| port.number != 0);
    if let Some(asked) = asked {
        let mut found = ports().filter(|port| port.number == asked).peekable();
        let Some(first) = found.peek().copied() else {
            return Err(LeftOut::PortAbsent {
                asked,
                has: ports().cloned().collect(),
            });
        };
        return found
            .find(|port| fitness(port, family).is_some())
            .ok_or_else(|| match family {
                Family::Http => LeftOut::PortNotHttp(first.clone()),
                Family::Dubbo => LeftOut::PortNotDubbo(first.clone()),
            });
    }
    if ports().next().is_none() {
        return Err(LeftOut::NoPort);
    }
    ports()
        .filter_map(|port| Some((fitness(port, family)?, port)))
        // `min_by_key` keeps the first of equals.
        .min_by_key(|(fitness, _)| *fitness)
        .map(|(_, port)| port)
        .ok_or_else(|| {
            let has = ports().cloned().collect();
            match family {
                Family::Http => LeftOut::NoHttpPort(has),
                Family::Dubbo => LeftOut::NoDubboPort(has),
            }
        })
}

fn addresses(host: &Host, names: &Names) -> Result<Vec<IpAddr>, LeftOut> {
    match host {
        Host::Ip(ip) => {
            // An IPv4 address written as IPv6 is the same place, and must be merged with it.
            let ip = ip.to_canonical();
            if ip.is_unspecified() {
                return Err(LeftOut::Unspecified(ip));
            }
            Ok(vec![ip])
        }
        Host::Name(name) => {
            let lookup = names.get(name).ok_or_else(|| LeftOut::NotLookedUp(name.clone()))?;
            let usable: Vec<IpAddr> = lookup
                .addresses
                .iter()
                .map(IpAddr::to_canonical)
                .filter(|ip| !ip.is_unspecified())
                .collect();
            // A name with both families is nearly always one process, which may listen on one of them only;
            // IPv4 is what registries' clients use.
            let v4 = usable.iter().any(IpAddr::is_ipv4);
            let mut chosen: Vec<IpAddr> = usable.into_iter().filter(|ip| ip.is_ipv4() == v4).collect();
            chosen.sort_unstable();
            chosen.dedup();
            if chosen.is_empty() {
                let why = lookup
                    .error
                    .clone()
                    .unwrap_or_else(|| "the resolver returned none".into());
                return Err(LeftOut::NoAddress {
                    name: name.clone(),
                    why,
                });
            }
            Ok(chosen)
        }
    }
}
