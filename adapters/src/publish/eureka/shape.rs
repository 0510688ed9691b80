//! What Eureka can hold of a record. Pure.
//!
//! | of the record | stands in Eureka as |
//! |---|---|
//! | service | `app` in upper case, `vipAddress` in lower case; what would break a path or a list is escaped |
//! | id | `instanceId`: [`Mark::id`](crate::publish::Mark::id) |
//! | host | `hostName` and `ipAddr`, so that every client finds it whichever it reads |
//! | first plain port, first port with TLS | `port`, `securePort`, each with its switch |
//! | a port for gRPC besides | metadata `gRPC_port` |
//! | protocol | metadata `protocol` |
//! | status | Eureka's five words but UNKNOWN, which no lease survives |
//! | weight | metadata `weight`, counted from 1, when it is not 1 |
//! | zone | metadata `zone` |
//! | metadata | metadata; keys that are no names of XML elements are escaped: one such key makes the XML list unreadable for all |
//!
//! Next on the path: [`send`](super::send).

use std::sync::Arc;

use landfall_model::{Host, Port, Protocol, Status, service::DEFAULT_WEIGHT};

use crate::{
    eureka::{
        convert::{OF_ITS_REGISTRY, PROTOCOL, VIP},
        wire::{DataCenter, InstanceInfo, LeaseInfo, PortField},
    },
    publish::{
        Key, Record, Shaped, Unfit,
        escape::escape,
        rules::{self, Losses, shown},
    },
};

/// Which port the usual starters announce for gRPC.
const GRPC_PORT: &str = "gRPC_port";

/// What Eureka makes of a record.
pub(super) fn shape(record: &Record) -> Result<Shaped, Unfit> {
    rules::name(&record.service)?;
    rules::host(&record.instance.host)?;
    let mut losses = Losses::default();
    let mut record = record.clone();
    let service = service(&record.service, &mut losses);
    let instance = &mut record.instance;

    let share = rules::share(instance, &mut losses);
    let dubbo = rules::is_dubbo(&instance.metadata);
    let mut metadata = std::mem::take(&mut instance.metadata);
    for key in OF_ITS_REGISTRY {
        metadata.remove(key);
    }
    // Spring's consumers look a service up by this: under a new name the old one would hide it.
    let vip = metadata
        .remove(VIP)
        .filter(|_| record.mark.origin.service.eq_ignore_ascii_case(&record.service));
    for (key, value) in metadata {
        let name = escape(&key, is_xml_name);
        if key.is_empty() {
            losses.add("metadata", "an empty key is no name of an XML element");
        } else if value.contains(no_xml) {
            losses.add(
                shown(&key),
                "its value has control characters: the XML list would be unreadable for all",
            );
        } else {
            instance.metadata.insert(name.into(), value);
        }
    }
    if let Some(zone) = instance
        .zone
        .clone()
        .filter(|zone| !zone.is_empty() && !zone.contains(no_xml))
    {
        instance.metadata.insert("zone".into(), zone);
    }
    rules::bound(&mut instance.metadata, rules::MAX_METADATA, &mut losses);
    instance.ports = ports(&instance.ports, &mut losses);
    let written = instance.ports.iter().find(|port| port.protocol != Protocol::Grpc);
    if let Some(word) = written
        .or(instance.ports.first())
        .and_then(|port| rules::word(port.protocol))
    {
        instance.metadata.insert(PROTOCOL.into(), word.into());
    } else if instance.metadata.remove(PROTOCOL).is_some() {
        losses.add(PROTOCOL, "the key is ours: it says what is spoken on the port");
    }
    let beside = instance
        .ports
        .iter()
        .skip(1)
        .find(|port| !port.tls && port.protocol == Protocol::Grpc);
    if let Some(port) = beside {
        instance
            .metadata
            .insert(GRPC_PORT.into(), port.number.to_string().into());
    }
    for key in ["gRPC_port", "gRPC.port", "grpc.port"] {
        let number = instance
            .metadata
            .get(key)
            .and_then(|text| text.trim().parse::<u16>().ok());
        if number.is_some_and(|number| instance.ports.iter().all(|port| port.number != number)) {
            instance.metadata.remove(key);
            losses.add(key, "the record has no such port");
        }
    }
    if share != 1 || (instance.metadata.contains_key("weight") && !dubbo) {
        instance.metadata.insert("weight".into(), share.to_string().into());
        instance.weight = share;
        if share == 0 {
            losses.add("weight", "Spring's load balancer takes 0 for 1");
        }
    } else {
        instance.metadata.remove("weight");
        instance.weight = DEFAULT_WEIGHT;
    }
    instance.zone = instance.metadata.get("zone").filter(|zone| !zone.is_empty()).cloned();
    let vip = vip.filter(|vip| (1..=512).contains(&vip.len()) && !vip.contains(no_xml) && **vip != *service);
    if let Some(vip) = vip {
        instance.metadata.insert(VIP.into(), vip);
    }

    instance.status = status(instance.status, &mut losses);
    instance.id = record.mark.id();
    instance.changed = None;
    let key = Key {
        service: service.clone(),
        id: instance.id.clone(),
    };
    record.service = service;
    Ok(rules::finish(key, record, losses))
}

/// The name as our follower, and Spring's consumers, write it.
fn service(name: &str, losses: &mut Losses) -> Arc<str> {
    let dots = name.chars().all(|c| c == '.');
    let plain = |_: usize, c: char| !dots && !no_xml(c) && !c.is_control() && !"/\\;%?#,".contains(c);
    // There and back: what the registry turns into upper case need not have been lower case before.
    let written = escape(name, plain).to_uppercase().to_lowercase();
    if written != name {
        losses.add(
            "service",
            format!(
                "written as `{}`: Eureka keeps no case, and its paths and lists not every character",
                shown(&written)
            ),
        );
    }
    written.into()
}

/// The ports that Eureka has room for, in the order in which they are read again.
fn ports(ports: &[Port], losses: &mut Losses) -> Vec<Port> {
    let secure = ports.iter().find(|port| port.tls);
    let other = |port: &&Port| !port.tls && port.protocol != Protocol::Grpc;
    let grpc = ports.iter().find(|port| !port.tls && port.protocol == Protocol::Grpc);
    let plain = ports.iter().find(other).or(grpc.filter(|_| secure.is_none()));
    let beside = grpc.filter(|grpc| {
        [plain, secure]
            .into_iter()
            .flatten()
            .all(|port| port.number != grpc.number)
    });
    let mut kept: Vec<Port> = [secure, plain, beside].into_iter().flatten().cloned().collect();
    for port in ports.iter().filter(|port| !kept.contains(port)) {
        losses.add(
            format!("port {}", port.number),
            "Eureka has room for one plain port, one with TLS, and one for gRPC in the metadata",
        );
    }
    if ports.len() > 1 && ports.first() != kept.first() && kept.len() > 1 {
        losses.add("ports", "consumers prefer the port with TLS: the order cannot be told");
    }
    if let [first, second, ..] = &mut kept[..]
        && second.protocol != first.protocol
        && Some(&*second) != beside
    {
        losses.add(
            format!("port {}", second.number),
            format!(
                "said to speak what port {} speaks: there is one word for both",
                first.number
            ),
        );
        first.protocol = second.protocol;
    }
    kept
}

fn status(status: Status, losses: &mut Losses) -> Status {
    let (written, exact) = match status {
        Status::Up | Status::Down | Status::Starting | Status::OutOfService => return status,
        Status::Passing => (Status::Up, true),
        Status::Critical => (Status::Down, true),
        Status::Maintenance => (Status::OutOfService, true),
        Status::Disabled => (Status::OutOfService, false),
        Status::Warning => (Status::Up, false),
        Status::Unknown => (Status::Down, false),
    };
    if !exact {
        let reason = match status {
            Status::Unknown => "written as DOWN: Eureka renews no lease of an UNKNOWN instance".to_owned(),
            _ => format!("{status} is written as {written}"),
        };
        losses.add("status", reason);
    }
    written
}

/// The record as it is sent. `dirty` and the lease are the sender's.
pub(super) fn wire(shaped: &Shaped, lease: LeaseInfo) -> InstanceInfo {
    let instance = &shaped.record.instance;
    let host = instance.host.to_string();
    let port = |tls: bool| {
        let found = instance.ports.iter().find(|port| port.tls == tls);
        PortField {
            number: found.map_or(0, |port| port.number.into()),
            enabled: found.is_some(),
        }
    };
    // The port for gRPC beside one with TLS stands in the metadata alone.
    let announced = instance
        .metadata
        .get(GRPC_PORT)
        .and_then(|text| text.parse::<i64>().ok());
    let mut plain = port(false);
    if instance.ports.len() > 1 && Some(plain.number) == announced {
        plain = PortField::default();
    }
    let vip = instance.metadata.get(VIP).unwrap_or(&shaped.key.service).to_string();
    InstanceInfo {
        instance_id: instance.id.to_string(),
        // A consumer puts it into a URL as it is.
        host_name: match instance.host {
            Host::Ip(ip) if ip.is_ipv6() => format!("[{ip}]"),
            _ => host.clone(),
        },
        app: shaped.key.service.to_uppercase(),
        ip: host,
        port: plain,
        secure_port: port(true),
        data_center: Some(DataCenter {
            name: "MyOwn".to_owned(),
            ..DataCenter::default()
        }),
        vip: Some(vip.clone()),
        secure_vip: Some(vip),
        status: Some(instance.status),
        lease,
        metadata: instance
            .metadata
            .iter()
            .filter(|(key, _)| ***key != *VIP)
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        ..InstanceInfo::default()
    }
}

/// How a follower reports what was written.
#[cfg(test)]
pub(super) fn read_back(info: &InstanceInfo) -> landfall_model::Instance {
    let service = crate::eureka::convert::service_name(&info.app);
    crate::eureka::convert::instance(info, &service, landfall_config::kinds::registry::EurekaAddress::Ip)
        .expect("what we write is understood")
}

fn is_xml_name(at: usize, c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || at > 0 && (c.is_ascii_digit() || c == '-' || c == '.')
}

/// What XML 1.0 cannot hold in any form.
fn no_xml(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\n' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}')
}
