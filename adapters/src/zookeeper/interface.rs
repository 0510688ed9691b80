//! Interface level: the children of `/dubbo/<interface>/providers` as claims. Pure.
//!
//! A child is one provider of one service key; its name is its URL. URLs that are no providers (`empty`,
//! `consumer`, `override`, `route` …, another category) are skipped in silence, as Dubbo's consumers do; a
//! child that is no URL is set aside and its siblings live. If its address can be read all the same, it is set aside
//! under the id of that instance, which then keeps its last known form.
//!
//! Next on the path: [`merge`](super::merge).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use landfall_model::{Host, Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT, world::Quarantined};

use super::{
    merge::{Claim, Contribution, Level},
    url::{self, DubboUrl},
};

/// Schemes of URLs that say something about providers but are none.
pub(super) const NO_PROVIDER: [&str; 9] = [
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
/// How much of a znode name, or of a reason, is shown.
const SHOWN: usize = 200;
/// Where the parameters of a URL begin, as it is or encoded.
const MARKS: [&str; 3] = ["%3F", "%3f", "?"];

/// The children of one interface's `providers`, by name, with the time of their last change. `before` is what they
/// claimed last.
pub(super) fn contribution(
    interface: &str,
    children: &BTreeMap<Arc<str>, Option<SystemTime>>,
    before: Option<&Contribution>,
) -> Contribution {
    let mut contribution = Contribution::default();
    for (name, changed) in children {
        let read = DubboUrl::from_node_name(name).map_err(|error| error.to_string());
        let reason = match read.and_then(|url| provider(interface, &url, *changed)) {
            Ok(Some((key, instance))) => {
                contribution.services.entry(key).or_default().push(Claim {
                    from: name.clone(),
                    level: Level::Interface,
                    instance,
                });
                continue;
            }
            Ok(None) => continue,
            Err(reason) => brief(&reason),
        };
        let place = format!("{interface}/providers/{}", shortened(name));
        let mut services = BTreeSet::new();
        let outline = outline(interface, name);
        if let Some((id, stated)) = &outline {
            let keys = before.into_iter().flat_map(|before| before.keys_of(id));
            services.extend(keys);
            if services.is_empty() {
                services.extend(stated.clone());
            }
            for service in &services {
                contribution.set_aside(service.clone(), id, &place, &reason);
            }
        }
        if services.is_empty() {
            contribution.unreadable.push(Quarantined {
                service: Some(interface.into()),
                record: place,
                reason,
            });
        }
    }
    contribution
}

/// The instance's id and the service key of a provider whose URL is bad in its parameters only: what stands before
/// them must be right. The key is known if group and version can be read.
fn outline(interface: &str, name: &str) -> Option<(Arc<str>, Option<Arc<str>>)> {
    let end = MARKS
        .iter()
        .filter_map(|mark| name.find(mark))
        .min()
        .unwrap_or(name.len());
    let (address, parameters) = name.split_at(end);
    let url = DubboUrl::from_node_name(address).ok()?;
    host(&url.host).ok()?;
    let id = instance_id(&url.protocol, &url.host, url.port?);
    let parameter = |wanted: &str| {
        let parts = parameters.split(['?', '&', ';']);
        let mut parts = ["%3F", "%3f", "%26"]
            .iter()
            .fold(parts.collect::<Vec<_>>(), |parts, mark| {
                parts.into_iter().flat_map(|part| part.split(mark)).collect()
            });
        parts.retain(|part| !part.is_empty());
        let value = parts.into_iter().find_map(|part| {
            let rest = part.strip_prefix(wanted)?;
            ["%3D", "%3d", "="].iter().find_map(|mark| rest.strip_prefix(*mark))
        });
        value.map(url::decode).transpose()
    };
    let key = match (parameter("group"), parameter("version")) {
        (Ok(group), Ok(version)) => Some(service_key(interface, group.as_deref(), version.as_deref())),
        _ => None,
    };
    Some((id, key))
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
    let host = host(&url.host)?;
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
        host,
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
pub(crate) fn service_key(interface: &str, group: Option<&str>, version: Option<&str>) -> Arc<str> {
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

/// The host that a text names: an address, or a name that can be looked up.
pub(super) fn host(text: &str) -> Result<Host, String> {
    let bad = || format!("`{text}` is no host");
    let name = match Host::parse(text) {
        ip @ Host::Ip(_) => return Ok(ip),
        Host::Name(name) => name,
    };
    if let Some((address, _scope)) = name.split_once('%') {
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(Host::Name(name)),
            Err(_) => Err(bad()),
        };
    }
    let labels: Vec<&str> = name.strip_suffix('.').unwrap_or(&name).split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    // What ends in a number is an address, or none: `300.1.1.1` is never asked of a DNS.
    let is_number = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit());
    let fits = name.len() <= 253 && labels.iter().all(is_label) && !labels.last().is_some_and(is_number);
    if fits { Ok(Host::Name(name)) } else { Err(bad()) }
}

/// A reason that quotes what it found, no longer than can be shown.
pub(super) fn brief(reason: &str) -> String {
    match reason.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
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
pub(crate) fn ports<'a>(protocol: &str, number: u16, get: &impl Fn(&str) -> Option<&'a str>) -> Vec<Port> {
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
pub(super) fn protocol_of(word: &str) -> Protocol {
    match word {
        "dubbo" => Protocol::Dubbo,
        "tri" => Protocol::Triple,
        "grpc" => Protocol::Grpc,
        "rest" | "http" | "https" | "hessian" | "webservice" | "jsonrpc" => Protocol::Http,
        _ => Protocol::Tcp,
    }
}

/// Default 100; 0 gets nothing; what is no number is the default, what is negative is 0 (AbstractLoadBalance.java).
pub(crate) fn weight(text: Option<&str>) -> u32 {
    match text.and_then(|text| text.trim().parse::<i64>().ok()) {
        Some(weight) => u32::try_from(weight.max(0)).unwrap_or(u32::MAX),
        None => DEFAULT_WEIGHT,
    }
}

/// What is worth keeping of a provider's parameters: not what is secret, changes with every start, or only
/// concerns the provider's own process.
pub(crate) fn useful<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<Arc<str>, Arc<str>> {
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
pub(super) fn shortened(name: &str) -> String {
    let end = MARKS
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
