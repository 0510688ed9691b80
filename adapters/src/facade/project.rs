//! An [`Instance`] of any registry as a record of Eureka's, Consul's or Nacos'.
//!
//! | | in Eureka | in Consul |
//! |---|---|---|
//! | service | application, in upper case; `vipAddress` as it is written | as it is written |
//! | id | as it is | of a Consul registry node and id again; else the node is the registry's name |
//! | host | `ipAddr` and `hostName` | `Service.Address` |
//! | ports | the first without TLS and the first with it | the first |
//! | status | one of the five words | one check; a maintenance check for what finishes what it has |
//! | weight | metadata `weight`, if any instance has another than the usual | `Weights`, hundredths |
//! | metadata | as it is, without the `eureka.` keys that following added | `Meta`, and `tag.x` as tags |
//!
//! `STARTING` and `DOWN` are both critical in Consul, and `warning` is `UP` in Eureka: those words are lost.
//!
//! In Nacos a service has its group before `@@`, or the one that is given for all; a Dubbo provider has Dubbo's name there again. Host
//! and first port are `ip` and `port`; the weight is in hundredths; what finishes what it has is not `enabled`, what
//! serves nobody is not `healthy`. TLS is the metadata `secure`, another protocol than HTTP `protocol`.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Host, Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT};

use super::{
    consul::{
        book::Mirrored,
        record::{Check, Health, Owner, Probe, Service},
    },
    nacos::{
        book::{Key, Limits},
        record::{DEFAULT_CLUSTER, Record},
    },
};
use crate::{
    eureka::{
        convert,
        wire::{DataCenter, InstanceInfo, LeaseInfo, PortField, exact_status},
    },
    nacos::name::JOINT,
};

/// Keys that following an Eureka registry adds.
const EUREKA: &str = "eureka.";

/// As Eureka shows it. `weighted`: whether any instance of the service has another weight than the usual.
pub(crate) fn eureka(service: &str, instance: &Instance, weighted: bool) -> InstanceInfo {
    let stated = |key: &str| instance.metadata.get(key).map(|value| value.to_string());
    let host = instance.host.to_string();
    let is_ip = matches!(instance.host, Host::Ip(_));
    let other = if is_ip {
        stated(convert::HOST_NAME)
    } else {
        stated(convert::IP)
    };
    let (ip, host_name) = if is_ip {
        (host.clone(), other.unwrap_or_else(|| host.clone()))
    } else {
        (other.unwrap_or_else(|| host.clone()), host.clone())
    };
    let plain = instance.ports.iter().find(|port| !port.tls);
    let secure = instance.ports.iter().find(|port| port.tls);
    let field = |port: Option<&Port>| PortField {
        number: port.map_or(0, |port| port.number.into()),
        enabled: port.is_some(),
    };
    let mut metadata: BTreeMap<String, String> = instance
        .metadata
        .iter()
        .filter(|(key, _)| !key.starts_with(EUREKA))
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    if let Some(zone) = &instance.zone {
        metadata.entry("zone".to_owned()).or_insert_with(|| zone.to_string());
    }
    if weighted {
        metadata.insert("weight".to_owned(), instance.weight.to_string());
    }
    let vip = stated(convert::VIP).unwrap_or_else(|| service.to_owned());
    let overridden = stated(convert::OVERRIDDEN).and_then(|word| exact_status(&word));
    InstanceInfo {
        instance_id: instance.id.to_string(),
        app: service.to_uppercase(),
        home_page: stated(convert::HOME_PAGE)
            .or_else(|| instance.ports.first().map(|port| convert::home_page(&host_name, port))),
        status_page: stated(convert::STATUS_PAGE),
        health_check: stated(convert::HEALTH_CHECK),
        host_name,
        ip,
        port: field(plain),
        secure_port: field(secure),
        secure_vip: Some(stated(convert::SECURE_VIP).unwrap_or_else(|| vip.clone())),
        vip: Some(vip),
        data_center: Some(DataCenter {
            name: "MyOwn".to_owned(),
            ..DataCenter::default()
        }),
        status: Some(match instance.status {
            Status::Up | Status::Passing | Status::Warning => Status::Up,
            Status::Down | Status::Critical => Status::Down,
            Status::Starting => Status::Starting,
            Status::OutOfService | Status::Maintenance | Status::Disabled => Status::OutOfService,
            Status::Unknown => Status::Unknown,
        }),
        overridden: overridden.unwrap_or(Status::Unknown),
        lease: LeaseInfo {
            renewal_interval: crate::eureka::book::lease::DEFAULT_INTERVAL,
            duration: crate::eureka::book::lease::DEFAULT_DURATION,
            ..LeaseInfo::default()
        },
        metadata,
        ..InstanceInfo::default()
    }
}

/// Where a Consul record of another registry stands.
pub(crate) struct Place<'a> {
    /// Node for what names none: the registry's name.
    pub registry: &'a str,
    /// Whether its ids are `node/id`, as those of a Consul registry.
    pub is_consul: bool,
}

/// As Consul shows it.
pub(crate) fn consul(place: &Place<'_>, service: &str, instance: &Instance) -> Mirrored {
    let of_node = instance.id.split_once('/').filter(|_| place.is_consul);
    let (node, id) = of_node.unwrap_or((place.registry, &instance.id));
    let address = instance.host.to_string();
    let port = instance.ports.first();
    let mut tags = Vec::new();
    let mut meta = BTreeMap::new();
    for (key, value) in &instance.metadata {
        match key.strip_prefix("tag.").filter(|_| **value == *"true") {
            Some(tag) => tags.push(tag.to_owned()),
            None if key.starts_with(EUREKA) => {}
            None => {
                meta.insert(key.to_string(), value.to_string());
            }
        }
    }
    if let Some(port) = port {
        // Spring's consumers read it.
        meta.entry("secure".to_owned()).or_insert_with(|| port.tls.to_string());
    }
    if let Some(zone) = &instance.zone {
        meta.entry("zone".to_owned()).or_insert_with(|| zone.to_string());
    }
    let weight = u16::try_from(instance.weight.div_ceil(DEFAULT_WEIGHT).clamp(1, 65_535)).unwrap_or(u16::MAX);
    let number = port.map_or(0, |port| port.number);
    let tagged = match &instance.host {
        Host::Ip(ip) => {
            let tags: [&str; 2] = if ip.is_ipv4() {
                ["lan_ipv4", "wan_ipv4"]
            } else {
                ["lan_ipv6", "wan_ipv6"]
            };
            tags.map(|tag| (tag.to_owned(), (address.clone(), number))).into()
        }
        Host::Name(_) => BTreeMap::new(),
    };
    Mirrored {
        node: node.to_owned(),
        node_address: address.clone(),
        checks: checks(id, service, instance),
        service: Service {
            id: id.to_owned(),
            name: service.to_owned(),
            tags,
            address,
            port: number,
            tagged,
            meta,
            weights: (weight, weight),
            tag_override: false,
            owner: Owner::Mirror,
        },
    }
}

/// One check that says how it stands in its own registry, and perhaps one that takes it out.
fn checks(id: &str, service: &str, instance: &Instance) -> Vec<Check> {
    let check = |check_id: String, name: String, status, output: String| Check {
        id: check_id,
        name,
        status,
        notes: String::new(),
        output,
        service: id.to_owned(),
        probe: Probe::Stated,
        interval: 0,
        timeout: 0,
        deregister_after: 0,
        good_before: 0,
        bad_before: 0,
    };
    // Weight 0 has no word in Consul: no share of the traffic is maintenance.
    let out = matches!(
        instance.status,
        Status::OutOfService | Status::Maintenance | Status::Disabled
    ) || (instance.weight == 0 && instance.status.serving() == landfall_model::Serving::Yes);
    let status = match instance.status {
        Status::Warning => Health::Warning,
        Status::Down | Status::Starting | Status::Unknown | Status::Critical => Health::Critical,
        _ => Health::Passing,
    };
    let name = format!("Service '{service}' check");
    let output = format!("{} in its own registry", instance.status);
    let mut checks = vec![check(format!("service:{id}"), name, status, output.clone())];
    if out {
        let name = "Service Maintenance Mode".to_owned();
        checks.push(check(
            format!("_service_maintenance:{id}"),
            name,
            Health::Critical,
            output,
        ));
    }
    checks
}

/// As Nacos shows it, in the namespace `public`; `None` for what has no name or no address there. `group` is for services that have none.
pub(crate) fn nacos(service: &str, group: &str, instance: &Instance) -> Option<(Key, Record)> {
    let limits = Limits::default();
    let stated = |key: &str| instance.metadata.get(key).map(|value| &**value);
    let (group, bare) = service.split_once(JOINT).unwrap_or((group, service));
    let port = instance.ports.first();
    let dubbo = stated("interface").filter(|_| {
        let is_dubbo = |port: &Port| matches!(port.protocol, Protocol::Dubbo | Protocol::Triple);
        port.is_some_and(is_dubbo)
    });
    let name = match dubbo {
        // Dubbo's consumers ask for these four parts.
        Some(interface) => {
            let (version, variant) = (
                stated("version").unwrap_or_default(),
                stated("group").unwrap_or_default(),
            );
            format!("providers:{interface}:{version}:{variant}")
        }
        None => bare.to_owned(),
    };
    let key = Key::new("", group, &name, &limits).ok()?;
    let mut record = Record::at(&instance.host.to_string(), port.map_or(0, |port| port.number));
    record.enabled = !matches!(
        instance.status,
        Status::OutOfService | Status::Maintenance | Status::Disabled
    );
    record.healthy = !record.enabled || instance.status.serving() == landfall_model::Serving::Yes;
    record.ephemeral = stated("nacos.ephemeral") != Some("false");
    record.weight = (f64::from(instance.weight) / f64::from(DEFAULT_WEIGHT)).min(10_000.0);
    let fine = |cluster: &&str| cluster.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    record.cluster = stated("nacos.cluster")
        .filter(fine)
        .unwrap_or(DEFAULT_CLUSTER)
        .to_owned();
    record.metadata = instance
        .metadata
        .iter()
        .filter(|(key, _)| !key.starts_with(EUREKA) && !key.starts_with("nacos."))
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let mut add = |key: &str, value: &str| {
        let entry = record.metadata.entry(key.to_owned());
        entry.or_insert_with(|| value.to_owned());
    };
    if let Some(port) = port {
        if port.tls {
            add("secure", "true");
        }
        if let Some(word) = word(port.protocol) {
            add("protocol", word);
        }
    }
    if let Some(interface) = dubbo {
        add("path", interface);
        add("category", "providers");
        add("side", "provider");
    }
    if let Some(zone) = &instance.zone
        && **zone != *record.cluster
    {
        record
            .metadata
            .entry("zone".to_owned())
            .or_insert_with(|| zone.to_string());
    }
    record.check(&limits).ok()?;
    Some((key, record))
}

/// What Nacos' applications call a protocol; nothing for HTTP, which everybody expects.
fn word(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Unknown | Protocol::Http => None,
        Protocol::H2 => Some("h2"),
        Protocol::Grpc => Some("grpc"),
        Protocol::Triple => Some("tri"),
        Protocol::Dubbo => Some("dubbo"),
        Protocol::Tcp => Some("tcp"),
    }
}

/// Whether the weights of a service's instances say anything.
pub(crate) fn weighted(instances: &[Arc<Instance>]) -> bool {
    instances.iter().any(|instance| instance.weight != DEFAULT_WEIGHT)
}
