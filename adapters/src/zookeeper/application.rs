//! Application level: the instances of `/services/<application>` as claims. Pure.
//!
//! ```text
//! node 10.0.0.5:20880 ── Curator JSON ─▶ address, port, metadata{endpoints, revision, storage-type}
//!                                             │ revision
//! /dubbo/metadata/<application>/<revision> ───┴─▶ services: key, protocol, port, parameters
//! ```
//!
//! Each node is one instance of the application itself, and with its document one instance of every service
//! key in there. Facts: ServiceInstance.java of Curator, MetadataInfo.java, ZookeeperInstance.java of Dubbo.
//!
//! Next on the path: [`merge`](super::merge).

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use landfall_model::{Instance, Status, world::Quarantined};
use serde::Deserialize;

use super::{
    curator::Known,
    interface::{brief, instance_id, ports, service_key, useful, weight},
    merge::{Claim, Contribution, Level},
};
use crate::publish::mark;

/// An instance node as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Its data.
    pub(super) data: Vec<u8>,
    /// ZooKeeper's time of its last change.
    pub(super) changed: Option<SystemTime>,
}

/// What is known of a metadata document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Document {
    /// There is no such node.
    Absent,
    /// Its data.
    Data(Vec<u8>),
}

/// The parts of one application.
pub(super) struct Application<'a> {
    pub(super) name: &'a str,
    pub(super) nodes: &'a BTreeMap<Arc<str>, Node>,
    /// By revision; a revision that was not looked for counts as absent.
    pub(super) documents: &'a BTreeMap<String, Document>,
    /// The interfaces whose mapping names this application.
    pub(super) interfaces: Vec<&'a str>,
}

#[derive(Deserialize)]
struct MetadataInfo {
    #[serde(default)]
    services: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct ServiceInfo {
    name: String,
    #[serde(default)]
    group: Option<String>,
    #[serde(default)]
    version: Option<String>,
    protocol: String,
    #[serde(default)]
    port: Option<i64>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    params: BTreeMap<String, String>,
}

/// The revision an instance names, if its node can be read and it serves anything.
pub(super) fn revision(data: &[u8]) -> Option<String> {
    Known::read(data).ok()?.revision().map(str::to_owned)
}

/// What one application claims. `before` is what it claimed last: a node whose data or document has become
/// unreadable keeps its services from there.
pub(super) fn contribution(application: &Application<'_>, before: Option<&Contribution>) -> Contribution {
    let mut out = Contribution::default();
    let app: Arc<str> = application.name.into();
    // The folder is the service, even when nobody is in it.
    out.services.entry(app.clone()).or_default();
    for (name, node) in application.nodes {
        let from = name.clone();
        let mut set_aside = |record: String, reason: String| {
            let service = Some(app.clone());
            out.quarantined.entry(app.clone()).or_default().push(Quarantined {
                service,
                record,
                reason,
            });
        };
        let known = match Known::read(&node.data) {
            Ok(known) => known,
            Err(reason) => {
                set_aside(name.to_string(), reason);
                keep(&mut out, before, &from, |claimed| claimed != &*app);
                continue;
            }
        };
        if known.dubbo && known.revision().is_none() {
            continue;
        }
        let mut itself = known.itself(&from, node.changed);
        if known.dubbo {
            let revision = known.revision().unwrap_or_default();
            let document = application.documents.get(revision).unwrap_or(&Document::Absent);
            match (document, known.remote()) {
                (Document::Data(data), _) => match services(&known, data, node.changed) {
                    Ok(services) => {
                        let mut interfaces: Vec<String> = Vec::new();
                        for service in services {
                            match service {
                                Ok((interface, key, instance)) => {
                                    interfaces.push(interface);
                                    let level = Level::Application;
                                    let claim = Claim {
                                        from: from.clone(),
                                        level,
                                        instance,
                                    };
                                    out.services.entry(key).or_default().push(claim);
                                }
                                Err((key, id, reason)) => {
                                    // The key in the document is the service key and `:protocol`.
                                    let service = key.rsplit_once(':').map_or(key.as_str(), |(service, _)| service);
                                    let service = service.strip_suffix(":0.0.0").unwrap_or(service);
                                    keep(&mut out, before, &from, |claimed| claimed == service);
                                    let record = format!("metadata/{app}/{revision} {key}");
                                    let Some(id) = id else {
                                        out.unreadable.push(Quarantined {
                                            service: Some(app.clone()),
                                            record,
                                            reason,
                                        });
                                        continue;
                                    };
                                    out.set_aside(service.into(), &id, &record, &reason);
                                }
                            }
                        }
                        interfaces.sort();
                        interfaces.dedup();
                        itself
                            .metadata
                            .insert("dubbo.interfaces".into(), interfaces.join(",").into());
                    }
                    Err(reason) => {
                        set_aside(format!("metadata/{app}/{revision}"), reason);
                        keep(&mut out, before, &from, |claimed| claimed != &*app);
                    }
                },
                (Document::Absent, true) => {
                    let reason = "there is no such node, although the instance says its metadata is stored remotely";
                    set_aside(format!("metadata/{app}/{revision}"), reason.to_owned());
                    keep(&mut out, before, &from, |claimed| claimed != &*app);
                }
                (Document::Absent, false) => {
                    let text = "not published: the provider keeps it (storage-type local)";
                    itself.metadata.insert("dubbo.metadata.document".into(), text.into());
                    if !application.interfaces.is_empty() {
                        let interfaces = application.interfaces.join(",");
                        itself.metadata.insert("dubbo.interfaces".into(), interfaces.into());
                    }
                }
            }
        }
        let claim = Claim {
            from,
            level: Level::Itself,
            instance: itself,
        };
        out.services.entry(app.clone()).or_default().push(claim);
    }
    out
}

/// Repeats what a node claimed before of the services that are asked for. Never of the application itself,
/// whose record is either fresh or quarantined.
fn keep(out: &mut Contribution, before: Option<&Contribution>, from: &Arc<str>, which: impl Fn(&str) -> bool) {
    let kept = before
        .into_iter()
        .flat_map(|before| &before.services)
        .filter(|(key, _)| which(key));
    for (key, claims) in kept {
        let claims = claims.iter().filter(|claim| claim.from == *from).cloned();
        out.services.entry(key.clone()).or_default().extend(claims);
    }
}

/// A service of a document with its instance at a node; else its key, the instance's id if that much is known, and why not.
type Service = Result<(String, Arc<str>, Instance), (String, Option<Arc<str>>, String)>;

/// The services of a metadata document as instances at this node.
fn services(node: &Known, document: &[u8], changed: Option<SystemTime>) -> Result<Vec<Service>, String> {
    let info: MetadataInfo =
        serde_json::from_slice(document).map_err(|error| brief(&format!("no metadata document: {error}")))?;
    let read = |(key, value): (String, serde_json::Value)| {
        let port = value.get("port").and_then(serde_json::Value::as_i64);
        let bad = |reason: String| (key.clone(), id_of(node, &key, port), brief(&reason));
        let info: ServiceInfo = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
        service(node, info, changed).map_err(bad)
    };
    Ok(info.services.into_iter().map(read).collect())
}

/// The id of a service's instance, from no more than its key in the document and its port there.
fn id_of(node: &Known, key: &str, port: Option<i64>) -> Option<Arc<str>> {
    let (_, protocol) = key.rsplit_once(':')?;
    let own = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let of_protocol = || {
        node.endpoints
            .iter()
            .find(|(_, name)| name == protocol)
            .map(|(port, _)| *port)
    };
    Some(instance_id(
        protocol,
        &node.host,
        own.or_else(of_protocol).or(node.port)?,
    ))
}

fn service(
    node: &Known,
    info: ServiceInfo,
    changed: Option<SystemTime>,
) -> Result<(String, Arc<str>, Instance), String> {
    // What the service does not say, its instance may: `dubbo.tag`, `weight`, `ssl-enabled` …
    // A copy that Landfall wrote says all by itself, and is not what its application's copy is.
    let is_copy = info.params.contains_key(mark::ORIGIN);
    let get = |name: &str| {
        let own = info
            .params
            .get(name)
            .or_else(|| info.params.get(&format!("default.{name}")));
        own.or_else(|| node.metadata.get(name).filter(|_| !is_copy))
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    let own = match info.port {
        Some(port) if port > 0 => Some(u16::try_from(port).map_err(|_| format!("{port} is no port"))?),
        _ => node
            .endpoints
            .iter()
            .find(|(_, protocol)| *protocol == info.protocol)
            .map(|(port, _)| *port),
    };
    let port = own
        .or(node.port)
        .ok_or("neither the service nor its instance has a port")?;
    let group = info
        .group
        .as_deref()
        .filter(|text| !text.is_empty())
        .or_else(|| get("group"));
    let version = info
        .version
        .as_deref()
        .filter(|text| !text.is_empty())
        .or_else(|| get("version"));
    let key = service_key(&info.name, group, version);
    let off = match get("disabled") {
        Some(disabled) => disabled == "true",
        None => get("enabled") == Some("false"),
    };
    let shared = node
        .metadata
        .iter()
        .filter(|(key, _)| !is_copy && !key.starts_with("dubbo.metadata") && *key != "dubbo.endpoints");
    let pairs = shared
        .chain(&info.params)
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let mut metadata = useful(pairs);
    if let Some(path) = info
        .path
        .as_deref()
        .filter(|path| !path.is_empty() && *path != info.name)
    {
        metadata.insert("path".into(), path.into());
    }
    let instance = Instance {
        id: instance_id(&info.protocol, &node.host, port),
        host: node.place.clone(),
        ports: ports(&info.protocol, port, &get),
        status: if off { Status::Disabled } else { Status::Up },
        weight: weight(get("weight")),
        zone: get("zone").map(Into::into),
        metadata,
        changed,
    };
    Ok((info.name, key, instance))
}
