//! RegistrySyncs: registries that exist and can be written, names that can be told apart again, and no two
//! documents that want one service of one edge to be written in two ways.

use std::collections::BTreeMap;

use super::{Report, names::Names};
use crate::{
    document::{At, Document},
    duration::Duration,
    kinds::{
        Kind,
        registry_sync::{GatewayAddress, Labels, RegistrySyncSpec, Rename, SyncAddress},
        text::NamespaceName,
    },
    load::SyncConfig,
    problem::suggestion,
};

/// Blocks of a Registry that nothing can be written into.
const READ_ONLY: [&str; 3] = ["file", "static", "embedded"];
/// Protocols that a gateway's ports are for.
const PORTS: [&str; 7] = ["http", "h2", "grpc", "triple", "dubbo", "tcp", "other"];
/// The states of all registries, as they write them.
const STATUSES: [&str; 10] = [
    "UP",
    "DOWN",
    "STARTING",
    "OUT_OF_SERVICE",
    "UNKNOWN",
    "passing",
    "warning",
    "critical",
    "maintenance",
    "disabled",
];
/// Metadata keys that begin like this are our marks.
const MARKS: &str = "landfall-";

/// The syncs in document order.
pub(super) fn translate(documents: &[Document], names: &Names<'_>, report: &mut Report) -> Vec<SyncConfig> {
    let registries = Registries::new(documents, names);
    let mut syncs: Vec<(SyncConfig, At<'_>)> = Vec::new();
    for document in documents.iter().filter(|d| d.kind == Kind::RegistrySync) {
        let Some(at) = document.spec() else { continue };
        edges(&at, &registries, report);
        targets(&at, report);
        parts(&at, report);
        for target in at.items("targets") {
            parts(&target, report);
        }
        statuses(&at, report);
        settle(&at, report);
        let Some(spec) = at.read::<RegistrySyncSpec>() else {
            continue;
        };
        let sync = SyncConfig {
            name: document.name.clone(),
            spec,
        };
        contradictions(&at, &sync, &syncs, report);
        syncs.push((sync, at));
    }
    syncs.into_iter().map(|(sync, _)| sync).collect()
}

/// The registries of a configuration, and which of them cannot be written.
struct Registries<'a> {
    names: &'a Names<'a>,
    read_only: BTreeMap<&'a str, &'static str>,
}

impl<'a> Registries<'a> {
    fn new(documents: &'a [Document], names: &'a Names<'a>) -> Self {
        let mut read_only = BTreeMap::new();
        // In reverse, so that of two with one name, a fault told elsewhere, the first counts.
        for document in documents.iter().filter(|d| d.kind == Kind::Registry).rev() {
            let block = document
                .spec()
                .and_then(|at| READ_ONLY.into_iter().find(|block| at.field(block).is_some()));
            match block {
                Some(block) => drop(read_only.insert(&*document.name, block)),
                None => drop(read_only.remove(&*document.name)),
            }
        }
        Self { names, read_only }
    }
}

fn edges(at: &At<'_>, registries: &Registries<'_>, report: &mut Report) {
    let given = |field: &str| at.field(field).is_some();
    match (given("from"), given("to"), given("between")) {
        (false, false, false) => {
            let mend = "add `from` and `to`, or `between` for every direction";
            report
                .problems
                .push(at.problem("", "the document names no registries", mend));
        }
        (from, to, true) if from || to => {
            let what = format!("`between` beside `{}`", if from { "from" } else { "to" });
            let mend = "write either `from` and `to`, or `between`";
            report.problems.push(at.problem("between", what, mend));
        }
        (true, false, false) => {
            report
                .problems
                .push(at.problem("from", "`from` without `to`", "add `to`"));
        }
        (false, true, false) => {
            report
                .problems
                .push(at.problem("to", "`to` without `from`", "add `from`"));
        }
        _ => {}
    }
    for field in ["from", "to", "between"] {
        let items = at.items(field);
        let mut seen: Vec<NamespaceName> = Vec::new();
        for item in &items {
            let Some(name) = item.read::<NamespaceName>() else {
                continue;
            };
            if seen.contains(&name) {
                report
                    .problems
                    .push(item.problem("", format!("`{}` stands twice", &*name), "remove one of the two"));
            }
            let exists = registries.names.need_registry(item, "", &name, report);
            if let Some(block) = registries.read_only.get(&*name).filter(|_| exists && field != "from") {
                let what = format!(
                    "`{}` is a `{block}` registry, which nothing can be written into",
                    &*name
                );
                let mend = match field {
                    "between" => "write `from` and `to`, with this one in `from` only",
                    _ => "name one that is a eureka, consul, zookeeper or nacos registry",
                };
                report.problems.push(item.problem("", what, mend));
            }
            seen.push(name);
        }
        match (field, given(field), items.len()) {
            ("between", true, 0 | 1) => {
                let mend = "name two registries or more";
                report
                    .problems
                    .push(at.problem(field, "between fewer than two registries", mend));
            }
            (_, true, 0) => {
                report
                    .problems
                    .push(at.problem(field, "an empty list", "name a registry"));
            }
            _ => {}
        }
    }
    if let (Some(from), Some(to)) = (read_all(at, "from"), read_all(at, "to"))
        && let ([from], [to]) = (&from[..], &to[..])
        && from == to
    {
        let what = format!("from `{}` to itself", &**from);
        report
            .problems
            .push(at.problem("to", what, "name another registry in one of the two"));
    }
}

fn read_all(at: &At<'_>, field: &str) -> Option<Vec<NamespaceName>> {
    at.field(field)?.read()
}

/// Overrides are for targets of the document, once each.
fn targets(at: &At<'_>, report: &mut Report) {
    let field = if at.field("between").is_some() { "between" } else { "to" };
    let known = read_all(at, field).unwrap_or_default();
    let mut seen: Vec<NamespaceName> = Vec::new();
    for target in at.items("targets") {
        let Some(name) = target.field("registry").and_then(|at| at.read::<NamespaceName>()) else {
            continue;
        };
        if !known.is_empty() && !known.contains(&name) {
            let what = format!("`{}` is no target of this document", &*name);
            let mend = suggestion(&name, known.iter().map(|known| &**known));
            report.problems.push(target.problem("registry", what, mend));
        }
        if seen.contains(&name) {
            let what = format!("the target `{}` stands twice", &*name);
            report
                .problems
                .push(target.problem("registry", what, "join the two entries"));
        }
        seen.push(name);
    }
}

/// Rename, labels and address, of the document or of one target.
fn parts(at: &At<'_>, report: &mut Report) {
    if let Some(at) = at.field("rename") {
        rename(&at, report);
    }
    if let Some(at) = at.field("labels")
        && let Some(labels) = at.read::<Labels>()
    {
        let set = labels.set.keys().map(|key| (format!("set.{key}"), key));
        let removed = labels.remove.iter().enumerate();
        let removed = removed.map(|(i, key)| (format!("remove[{i}]"), key));
        for (field, key) in set.chain(removed).filter(|(_, key)| key.starts_with(MARKS)) {
            let what = format!("`{}` is a mark by which loops are prevented", key.escape_debug());
            let mend = "choose a key that does not begin with `landfall-`";
            report.problems.push(at.problem(&field, what, mend));
        }
    }
    if let Some(at) = at.field("address")
        && let Some(SyncAddress::Through(address)) = at.read::<SyncAddress>()
    {
        gateway(&at, &address, report);
    }
}

fn rename(at: &At<'_>, report: &mut Report) {
    let Some(rename) = at.read::<Rename>() else { return };
    // Registries compare names without regard to case, so two that differ in it alone are one.
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for (name, other) in &rename.names {
        if other.trim().is_empty() {
            let field = format!("names.{name}");
            report
                .problems
                .push(at.problem(&field, "an empty name", "write what the service is to be called"));
        } else if let Some(first) = owners.insert(other.to_lowercase(), name) {
            let what = format!(
                "`{}` and `{}` both become `{}`, and could not be told apart again",
                first.escape_debug(),
                name.escape_debug(),
                other.escape_debug()
            );
            let field = format!("names.{name}");
            report
                .problems
                .push(at.problem(&field, what, "give each a name of its own"));
        }
    }
}

fn gateway(at: &At<'_>, address: &GatewayAddress, report: &mut Report) {
    let is_name = address
        .host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !is_name && address.host.parse::<std::net::IpAddr>().is_err() {
        let what = format!("`{}` is no host", address.host.escape_debug());
        let mend = "write an IP address or a host name, without scheme and port";
        report.problems.push(at.problem("host", what, mend));
    }
    if address.ports.is_empty() {
        let mend = "write the gateway's port for each protocol, such as `ports: { http: 8080 }`";
        report
            .problems
            .push(at.problem("ports", "an address without a port", mend));
    }
    for (protocol, port) in &address.ports {
        let field = format!("ports.{protocol}");
        if !PORTS.contains(&protocol.as_str()) {
            let what = format!("`{}` is no protocol", protocol.escape_debug());
            report
                .problems
                .push(at.problem(&field, what, suggestion(protocol, PORTS)));
        }
        if *port == 0 {
            report
                .problems
                .push(at.problem(&field, "port 0", "write a port from 1 to 65535"));
        }
    }
}

fn statuses(at: &At<'_>, report: &mut Report) {
    let Some(at) = at.field("instances") else { return };
    for item in at.items("statuses") {
        let Some(word) = item.read::<String>() else { continue };
        if !STATUSES.contains(&word.as_str()) {
            let what = format!("`{}` is no state of an instance", word.escape_debug());
            report
                .problems
                .push(item.problem("", what, suggestion(&word, STATUSES)));
        }
    }
}

fn settle(at: &At<'_>, report: &mut Report) {
    let Some(at) = at.field("limits") else { return };
    let Some(settle) = at.field("settle").and_then(|at| at.read::<Duration>()) else {
        return;
    };
    if settle.get() > std::time::Duration::from_secs(60) {
        let what = format!("{settle} is longer than a change should wait");
        report.problems.push(at.problem("settle", what, "write at most `60s`"));
    }
}

/// Two documents may share an edge if no service is to be written in two ways there.
fn contradictions(at: &At<'_>, sync: &SyncConfig, before: &[(SyncConfig, At<'_>)], report: &mut Report) {
    for (other, other_at) in before {
        if !sync.spec.services.overlaps(&other.spec.services) {
            continue;
        }
        let edges = other.spec.edges();
        for (from, to) in sync.spec.edges() {
            if !edges.contains(&(from, to)) {
                continue;
            }
            let Some(what) = difference(&sync.spec, &other.spec, to) else {
                continue;
            };
            let what = format!(
                "what goes from `{from}` to `{to}` has another `{what}` in the RegistrySync `{}` ({})",
                other.name,
                other_at.document().place()
            );
            let mend = "let the two say the same, or select services that do not overlap";
            report.problems.push(at.problem("", what, mend));
            // One edge shows it; a mesh would repeat it for each pair.
            break;
        }
    }
}

fn difference(one: &RegistrySyncSpec, other: &RegistrySyncSpec, target: &str) -> Option<&'static str> {
    if one.rename_for(target) != other.rename_for(target) {
        Some("rename")
    } else if one.labels_for(target) != other.labels_for(target) {
        Some("labels")
    } else if one.address_for(target) != other.address_for(target) {
        Some("address")
    } else if one.instances != other.instances {
        Some("instances")
    } else if one.mode != other.mode {
        Some("mode")
    } else {
        None
    }
}
