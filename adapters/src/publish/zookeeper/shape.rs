//! What Dubbo's registry can hold of a record: the URL of a provider. Pure.
//!
//! | of the record | stands in the URL as |
//! |---|---|
//! | service `[group/]interface[:version]` | folder and `interface`, `group`, `version`; an interface must be named in the metadata |
//! | host, port, protocol | `dubbo://host:port` or `tri://host:port`; as at the origin where that was a provider |
//! | metadata `path` | the path, else the interface |
//! | status | `disabled=true` for whoever gets no calls |
//! | weight, zone, TLS | `weight`, `zone`, `ssl-enabled` |
//! | metadata | parameters; names that break the URL are escaped, values that do are lost |
//!
//! A service that is none of Dubbo's is refused: nobody could call it by an interface that it does not have.
//!
//! Next on the path: [`nodes`](super::nodes) writes it.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Host, Instance, Protocol, Status, service::DEFAULT_WEIGHT};

use crate::{
    eureka::convert::OF_ITS_REGISTRY,
    publish::{
        Key, Record, Shaped, Unfit,
        escape::{escape, undo},
        rules::{self, Losses, shown, unfit},
    },
    zookeeper::{
        access::{self, Access},
        url::{DubboUrl, encode},
    },
};

/// Bytes of a node's name without the marks. A folder's listing is limited to 1 MiB for Java clients.
const MAX_NAME: usize = 16 << 10;
/// Bytes of a name of Java's, a group, a version.
pub(super) const MAX_PLAIN: usize = 255;
/// What our own follower adds to what it reads.
pub(super) const ADDED: [&str; 4] = [
    "dubbo.level",
    "dubbo.interfaces",
    "dubbo.metadata.document",
    landfall_model::world::CONFIGURED_BY,
];
/// Without these nobody can call it.
pub(in crate::publish) const ESSENTIAL: [&str; 8] = [
    "interface",
    "group",
    "version",
    "methods",
    "side",
    "dubbo",
    "ssl-enabled",
    "disabled",
];

type Parameters = BTreeMap<Arc<str>, Arc<str>>;

/// What Dubbo's registry makes of a record.
pub(super) fn shape(record: &Record, access: &Access) -> Result<Shaped, Unfit> {
    let Provider {
        key, record, losses, ..
    } = provider(record, |interface| access.providers(interface).is_some())?;
    Ok(rules::finish(key, record, losses))
}

/// A record as a provider of Dubbo's, whichever registry it is to stand in.
pub(in crate::publish) struct Provider {
    /// Service key and `scheme://host:port`.
    pub(in crate::publish) key: Key,
    /// With the parameters of its URL as metadata, without marks.
    pub(in crate::publish) record: Record,
    /// Dubbo's word for what is spoken on the port.
    pub(in crate::publish) scheme: String,
    /// What Dubbo cannot hold.
    pub(in crate::publish) losses: Losses,
}

/// Makes a provider of a record. `is_free` refuses interfaces whose names mean something else in the registry.
pub(in crate::publish) fn provider(record: &Record, is_free: impl Fn(&str) -> bool) -> Result<Provider, Unfit> {
    rules::name(&record.service)?;
    let host = rules::host(&record.instance.host)?;
    let mut losses = Losses::default();
    let mut record = record.clone();
    let is_dubbo = rules::is_dubbo(&record.instance.metadata);
    let interface = interface(&record, is_free)?;
    let (scheme, number) = address(&record, is_dubbo)?;
    let instance = &mut record.instance;
    if matches!(instance.host, Host::Ip(ip) if ip.is_ipv6()) {
        losses.add("host", "Dubbo 2 does not reliably read IPv6 addresses");
    }

    let weight = rules::weight(instance);
    let mut parameters = parameters(std::mem::take(&mut instance.metadata), &mut losses);
    let (group, version) = variant(&record.service, &interface, &parameters, &mut losses);
    for (name, value) in [("group", group), ("version", version)] {
        match value {
            Some(value) => drop(parameters.insert(name.into(), value)),
            None => drop(parameters.remove(name)),
        }
    }
    parameters.insert("interface".into(), interface.as_str().into());
    place(&interface, &mut parameters, &mut losses);
    defaults(is_dubbo, &mut parameters);
    instance.status = status(instance.status, &mut losses);
    for name in ["disabled", "enabled"] {
        parameters.remove(name);
    }
    let stated = parameters.remove("weight").is_some();
    if instance.status == Status::Disabled {
        parameters.insert("disabled".into(), "true".into());
    }
    instance.weight = weight.min(i32::MAX.unsigned_abs());
    if instance.weight != weight {
        losses.add("weight", format!("Dubbo's largest is {}", i32::MAX));
    }
    if stated || instance.weight != DEFAULT_WEIGHT {
        parameters.insert("weight".into(), instance.weight.to_string().into());
    }
    if let Some(zone) = instance.zone.take() {
        match value(&zone) {
            Ok(()) => drop(parameters.insert("zone".into(), zone)),
            Err(reason) => losses.add("zone", reason),
        }
    }
    ports(instance, &mut parameters, &scheme, number, &mut losses);
    bound(&mut parameters, &mut losses);
    let get = |name: &str| parameters.get(name).map(|value| &**value);
    // What did not fit may have said something of the port or the weight.
    instance.ports = access::ports(&scheme, number, &get);
    instance.weight = get("weight")
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_WEIGHT);
    instance.zone = get("zone").map(Into::into);
    instance.id = access::instance_id(&scheme, &host, number);
    instance.changed = None;
    let service = access::service_key(&interface, get("group"), get("version"));
    if interface_of(&service) != interface {
        // The record could not be found again by its key.
        return Err(unfit(format!(
            "`{}` is not clear: leave `/` and `:` out of group and version",
            shown(&service)
        )));
    }
    instance.metadata = parameters;
    let key = Key {
        service: service.clone(),
        id: instance.id.clone(),
    };
    record.service = service;
    Ok(Provider {
        key,
        record,
        scheme,
        losses,
    })
}

/// The interface: what the metadata says.
fn interface(record: &Record, is_free: impl Fn(&str) -> bool) -> Result<String, Unfit> {
    let metadata = &record.instance.metadata;
    let Some(interface) = metadata.get("interface").filter(|interface| !interface.is_empty()) else {
        return Err(unfit(match metadata.get("dubbo.level") {
            Some(_) => "it is an application's own record; the interfaces it serves are written one by one",
            None => {
                "it is no Dubbo service: set metadata `interface`, and `group` and `version` if it has them, at its origin"
            }
        }));
    };
    let plain = interface
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._$-".contains(c));
    let dots = interface.chars().all(|c| c == '.');
    if !plain || dots || interface.len() > MAX_PLAIN || !is_free(interface) {
        return Err(unfit(format!("`{}` is no name of an interface", shown(interface))));
    }
    Ok(interface.to_string())
}

/// Group and version: those in the service's name, if it is one of this interface.
fn variant(
    name: &str,
    interface: &str,
    given: &Parameters,
    losses: &mut Losses,
) -> (Option<Arc<str>>, Option<Arc<str>>) {
    let get = |name: &str| given.get(name).cloned();
    let stated = (get("group"), get("version"));
    let key = access::service_key(interface, stated.0.as_deref(), stated.1.as_deref());
    if *key == *name {
        return stated;
    }
    let (group, rest) = match name.rsplit_once('/') {
        Some((group, rest)) => (Some(group), rest),
        None => (None, name),
    };
    let (named, version) = match rest.split_once(':') {
        Some((named, version)) => (named, Some(version)),
        None => (rest, None),
    };
    let fits = |text: Option<&str>| text.is_none_or(|text| text.len() <= MAX_PLAIN && value(text).is_ok());
    if named == interface && fits(group) && fits(version) {
        return (group.map(Into::into), version.map(Into::into));
    }
    losses.add(
        "service",
        format!("written as `{}`: consumers know it by its interface", shown(&key)),
    );
    stated
}

/// Scheme and port.
fn address(record: &Record, is_dubbo: bool) -> Result<(String, u16), Unfit> {
    let instance = &record.instance;
    let port_of = |protocol: Protocol| instance.ports.iter().find(|port| port.protocol == protocol);
    // A provider's scheme says more than its protocol: `rest`, `hessian` and `http` are all HTTP.
    if is_dubbo
        && let Some((scheme, _)) = instance.id.split_once("://")
        && access::is_provider(scheme)
        && let Some(port) = port_of(access::protocol_of(scheme))
    {
        return Ok((scheme.to_owned(), port.number));
    }
    for (protocol, scheme) in [(Protocol::Dubbo, "dubbo"), (Protocol::Triple, "tri")] {
        if let Some(port) = port_of(protocol) {
            return Ok((scheme.to_owned(), port.number));
        }
    }
    Err(unfit(if instance.ports.is_empty() {
        "it has no port"
    } else {
        "none of its ports speaks Dubbo or Triple"
    }))
}

/// Metadata as parameters.
fn parameters(given: Parameters, losses: &mut Losses) -> Parameters {
    let mut parameters = Parameters::new();
    for (key, text) in given {
        if ADDED.contains(&&*key) || OF_ITS_REGISTRY.contains(&&*key) {
            continue;
        }
        let name = escape(&key, |_, c| c.is_ascii_alphanumeric() || "_.-:*~".contains(c));
        let cut = || {
            let pair = encode(&format!("{name}={text}"));
            ["timestamp%3D", "pid%3D"].iter().any(|cut| pair.contains(cut))
        };
        let reason = if key.is_empty() {
            "a parameter has a name"
        } else if key.starts_with("default.") {
            "Dubbo reads it as another parameter"
        } else if !access::is_kept(&key) || !access::is_kept(&name) {
            "it concerns the origin's own process, or is a secret"
        } else if let Err(reason) = value(&text) {
            reason
        } else if text.len() > MAX_PLAIN && *key != *"methods" && ESSENTIAL.contains(&&*key) {
            "no consumer has such a long one"
        } else if cut() {
            "Dubbo 3 cuts what looks like `timestamp=` or `pid=` out of the URL"
        } else {
            parameters.insert(name.into(), text);
            continue;
        };
        losses.add(shown(&key), reason);
    }
    parameters
}

/// Values stand in the URL as they are.
fn value(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("empty is the same as absent")
    } else if text.contains(['&', ';']) || text.contains(char::is_control) {
        Err("`&`, `;` and control characters break the URL")
    } else if text.trim() != text {
        Err("Dubbo cuts blanks off")
    } else {
        Ok(())
    }
}

/// The path, and a category that is none of providers.
fn place(interface: &str, parameters: &mut Parameters, losses: &mut Losses) {
    if let Some(path) = parameters.remove("path").filter(|path| **path != *interface) {
        let odd = |c: char| c.is_whitespace() || "?#%\\".contains(c);
        if path.contains(odd) || path.starts_with('/') {
            losses.add("path", "written as the interface: the URL cannot hold it");
        } else {
            parameters.insert("path".into(), path);
        }
    }
    let category = parameters.get("category");
    if category.is_some_and(|category| !category.split(',').any(|word| word.trim() == "providers")) {
        parameters.remove("category");
        losses.add("category", "it would be no provider");
    }
}

fn defaults(is_dubbo: bool, parameters: &mut Parameters) {
    let always = [
        ("application", "landfall"),
        ("dubbo", "2.0.2"),
        ("dynamic", "true"),
        ("generic", "false"),
        ("side", "provider"),
    ];
    // What every version understands.
    let unknown = [("serialization", "hessian2"), ("prefer.serialization", "hessian2")];
    let more = unknown.into_iter().filter(|_| !is_dubbo);
    for (name, value) in always.into_iter().chain(more) {
        parameters.entry(name.into()).or_insert_with(|| value.into());
    }
}

fn bound(parameters: &mut Parameters, losses: &mut Losses) {
    let size = |key: &str, value: &str| encode(key).len() + encode(value).len() + 6;
    let mut total: usize = parameters.iter().map(|(key, value)| size(key, value)).sum();
    while total > MAX_NAME {
        let spare = parameters.iter().filter(|(key, _)| !ESSENTIAL.contains(&&***key));
        let longest = spare.max_by_key(|(key, value)| size(key, value));
        // The methods only serve consumers of Dubbo 2.6, which otherwise take the provider for all of them.
        let key = longest.map_or_else(|| "methods".into(), |(key, _)| key.clone());
        let Some(value) = parameters.remove(&key) else { return };
        let bytes = size(&key, &value);
        total -= bytes;
        losses.add(
            shown(&undo(&key)),
            format!("{bytes} bytes: the URL would be over {MAX_NAME}, and a folder is read in one answer of 1 MiB"),
        );
    }
}

/// Makes parameters and ports agree, as the follower reads them.
fn ports(instance: &Instance, parameters: &mut Parameters, scheme: &str, number: u16, losses: &mut Losses) {
    parameters.remove("ssl-enabled");
    let own = access::protocol_of(scheme);
    let mut same = instance
        .ports
        .iter()
        .filter(|port| port.number == number && port.protocol == own);
    if scheme != "https" && same.next().is_some_and(|port| port.tls) {
        parameters.insert("ssl-enabled".into(), "true".into());
    }
    let read = |parameters: &Parameters| {
        access::ports(scheme, number, &|name: &str| parameters.get(name).map(|value| &**value))
    };
    let mut written = read(parameters);
    if written.iter().any(|port| !instance.ports.contains(port)) {
        parameters.remove("ext.protocol");
        parameters.remove("preferred.protocol");
        written = read(parameters);
    }
    for port in instance.ports.iter().filter(|port| !written.contains(port)) {
        losses.add(format!("port {}", port.number), "a provider's URL has one port");
    }
}

fn status(status: Status, losses: &mut Losses) -> Status {
    let (written, exact) = match status {
        Status::Up | Status::Passing => (Status::Up, true),
        Status::Warning => (Status::Up, false),
        Status::Disabled | Status::Down | Status::Critical => (Status::Disabled, true),
        _ => (Status::Disabled, false),
    };
    if !exact {
        losses.add("status", format!("{status} is written as {written}"));
    }
    written
}

/// The URL of a shaped record.
pub(super) fn url(shaped: &Shaped) -> DubboUrl {
    let instance = &shaped.record.instance;
    let get = |name: &str| instance.metadata.get(name).map(|value| value.to_string());
    let (protocol, rest) = shaped.key.id.split_once("://").unwrap_or(("dubbo", ""));
    // What is held as it was seen carries what the follower has added.
    let is_written = |name: &str| name != "path" && !ADDED.contains(&name);
    let pairs = instance.metadata.iter().filter(|(name, _)| is_written(name));
    DubboUrl {
        protocol: protocol.to_owned(),
        host: instance.host.to_string(),
        port: rest.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
        path: get("path").or_else(|| get("interface")).unwrap_or_default(),
        parameters: pairs
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    }
}

/// The interface of a service key.
pub(super) fn interface_of(service: &str) -> &str {
    let rest = service.rsplit_once('/').map_or(service, |(_, rest)| rest);
    rest.split_once(':').map_or(rest, |(interface, _)| interface)
}
