//! Interface level: the children of `/dubbo/<interface>/providers` as claims. Pure.
//!
//! A child is one provider of one service key; its name is its URL. URLs that are no providers (`empty`,
//! `consumer`, `override`, `route` …, another category) are skipped in silence, as Dubbo's consumers do; a
//! child that is no URL is set aside and its siblings live.
//!
//! Next on the path: [`merge`](super::merge).

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use landfall_model::{Host, Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT, world::Quarantined};

use super::{
    merge::{Claim, Contribution, Level},
    url::DubboUrl,
};

/// Schemes of URLs that say something about providers but are none.
const NO_PROVIDER: [&str; 9] = [
    "empty",
    "consumer",
    "override",
    "absent",
    "route",
    "condition",
    "script",
    "tag",
    "injvm",
];
/// How much of a znode name is shown.
const SHOWN: usize = 200;

/// The children of one interface's `providers`, by name, with the time of their last change.
pub(super) fn contribution(interface: &str, children: &BTreeMap<String, Option<SystemTime>>) -> Contribution {
    let mut contribution = Contribution::default();
    for (name, changed) in children {
        let read = DubboUrl::from_node_name(name).map_err(|error| error.to_string());
        match read.and_then(|url| provider(interface, &url, *changed)) {
            Ok(Some((key, instance))) => contribution.services.entry(key).or_default().push(Claim {
                from: name.as_str().into(),
                level: Level::Interface,
                instance,
            }),
            Ok(None) => {}
            Err(reason) => contribution.unreadable.push(Quarantined {
                service: Some(interface.into()),
                record: format!("{interface}/providers/{}", shortened(name)),
                reason,
            }),
        }
    }
    contribution
}

/// The provider that a URL states, with its service key; `None` if it states none.
fn provider(
    interface: &str,
    url: &DubboUrl,
    changed: Option<SystemTime>,
) -> Result<Option<(Arc<str>, Instance)>, String> {
    let category = url.get("category").unwrap_or("providers");
    if NO_PROVIDER.contains(&url.protocol.as_str()) || !category.split(',').any(|c| c.trim() == "providers") {
        return Ok(None);
    }
    let named = url.get("interface").unwrap_or(&url.path);
    if named != interface {
        // Consumers compare this and would not call it.
        return Err(format!("its interface is `{named}`"));
    }
    let port = url.port.ok_or("it has no port")?;
    let parameters = url.plain();
    let get = |name: &str| parameters.get(name).copied();
    let off = match get("disabled") {
        Some(disabled) => disabled == "true",
        None => get("enabled") == Some("false"),
    };
    let key = service_key(interface, get("group"), get("version"));
    let mut metadata = useful(parameters.iter().map(|(name, value)| (*name, *value)));
    if url.path != interface && !url.path.is_empty() {
        metadata
            .entry("path".into())
            .or_insert_with(|| url.path.as_str().into());
    }
    let instance = Instance {
        id: instance_id(&url.protocol, &url.host, port),
        host: Host::parse(&url.host),
        ports: ports(&url.protocol, port, &get),
        status: if off { Status::Disabled } else { Status::Up },
        weight: weight(get("weight")),
        zone: get("zone").map(Into::into),
        metadata,
        changed,
    };
    Ok(Some((key, instance)))
}

/// Dubbo's service key, `[group/]interface[:version]`; version `0.0.0` is none (ServiceKey.java, URL.java).
pub(super) fn service_key(interface: &str, group: Option<&str>, version: Option<&str>) -> Arc<str> {
    let group = group.filter(|group| !group.is_empty());
    let version = version.filter(|version| !version.is_empty() && *version != "0.0.0");
    let mut key = String::new();
    if let Some(group) = group {
        key = format!("{group}/");
    }
    key += interface;
    if let Some(version) = version {
        key = format!("{key}:{version}");
    }
    key.into()
}

/// One port of one provider. The same at both levels.
pub(super) fn instance_id(protocol: &str, host: &str, port: u16) -> Arc<str> {
    if host.contains(':') {
        format!("{protocol}://[{host}]:{port}")
    } else {
        format!("{protocol}://{host}:{port}")
    }
    .into()
}

/// The protocols that are spoken on a provider's port, the preferred one first. Dubbo 3.2 and later may speak
/// several there (`ext.protocol`) and name the one to use (`preferred.protocol`).
pub(super) fn ports<'a>(protocol: &str, number: u16, get: &impl Fn(&str) -> Option<&'a str>) -> Vec<Port> {
    let tls = get("ssl-enabled") == Some("true");
    let more = get("ext.protocol").unwrap_or_default();
    let mut words: Vec<&str> = std::iter::once(protocol)
        .chain(more.split(',').map(str::trim))
        .collect();
    words.retain(|word| !word.is_empty());
    if let Some(preferred) = get("preferred.protocol") {
        // Stable: the others keep their order.
        words.sort_by_key(|word| *word != preferred);
    }
    let mut ports = Vec::new();
    for word in words {
        let port = Port {
            number,
            protocol: protocol_of(word),
            tls: tls || word == "https",
        };
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

/// Dubbo's word for a protocol.
fn protocol_of(word: &str) -> Protocol {
    match word {
        "dubbo" => Protocol::Dubbo,
        "tri" => Protocol::Triple,
        "grpc" => Protocol::Grpc,
        "rest" | "http" | "https" | "hessian" | "webservice" | "jsonrpc" => Protocol::Http,
        _ => Protocol::Tcp,
    }
}

/// Default 100; 0 gets nothing; what is no number is the default, what is negative is 0 (AbstractLoadBalance.java).
pub(super) fn weight(text: Option<&str>) -> u32 {
    match text.and_then(|text| text.trim().parse::<i64>().ok()) {
        Some(weight) => u32::try_from(weight.max(0)).unwrap_or(u32::MAX),
        None => DEFAULT_WEIGHT,
    }
}

/// What is worth keeping of a provider's parameters: not what is secret, changes with every start, or only
/// concerns the provider's own process.
pub(super) fn useful<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<Arc<str>, Arc<str>> {
    let kept = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let secret = [
            "token",
            "password",
            "passwd",
            "secret",
            "username",
            "accesskey",
            "credential",
        ];
        let own = [
            "pid",
            "timestamp",
            "anyhost",
            "threads",
            "threadpool",
            "queues",
            "corethreads",
            "iothreads",
        ];
        !secret.iter().any(|word| lower.contains(word))
            && !own.contains(&lower.as_str())
            && !lower.ends_with(".timestamp")
            && !["bind.", "qos.", "qos-"].iter().any(|prefix| lower.starts_with(prefix))
    };
    parameters
        .filter(|(name, value)| !value.is_empty() && kept(name))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// The beginning of a name, without its parameters: they may hold a token.
fn shortened(name: &str) -> String {
    let end = ["%3F", "%3f", "?"]
        .iter()
        .filter_map(|mark| name.find(mark))
        .min()
        .unwrap_or(name.len());
    let start = &name[..end];
    // User and password, if any, stand before the `@`.
    let start = ["%40", "@"]
        .iter()
        .filter_map(|mark| start.rfind(mark))
        .max()
        .map_or(start, |at| &start[at..]);
    let mut shown: String = start.chars().take(SHOWN).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown
}
