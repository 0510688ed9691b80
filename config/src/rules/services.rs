//! Services listed in place or in a file: each once, with addresses that are addresses.

use std::collections::BTreeMap;

use super::Report;
use crate::{document::At, kinds::registry::StaticInstance, problem::suggestion};

/// The services of a `static` block or of a services file.
pub(crate) fn services(at: &At<'_>, report: &mut Report) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, service) in at.items("services").into_iter().enumerate() {
        if let Some(name) = service.text("name") {
            if name.trim().is_empty() {
                report
                    .problems
                    .push(service.problem("name", "an empty name", "write the service's name"));
            } else if let Some(first) = seen.insert(name, i) {
                let what = format!(
                    "the service `{}` is listed twice, first as services[{first}]",
                    name.escape_debug()
                );
                report
                    .problems
                    .push(service.problem("name", what, "put all its instances into one entry"));
            }
        }
        let mut ids: BTreeMap<String, usize> = BTreeMap::new();
        for (n, instance) in service.items("instances").into_iter().enumerate() {
            let Some(spec) = instance.read::<StaticInstance>() else {
                continue;
            };
            let (field, address) = match &spec {
                StaticInstance::Address(address) => ("", address),
                StaticInstance::Detailed(details) => ("address", &details.address),
            };
            if let Some(what) = host_and_port(address) {
                report
                    .problems
                    .push(instance.problem(field, what, "write `host:port`, such as `127.0.0.1:8080`"));
            }
            let id = match &spec {
                StaticInstance::Detailed(details) => details.id.as_ref().unwrap_or(address),
                StaticInstance::Address(address) => address,
            };
            if let Some(first) = ids.insert(id.clone(), n) {
                let what = format!("the id `{}` is taken by instances[{first}]", id.escape_debug());
                report
                    .problems
                    .push(instance.problem("", what, "give each instance an id of its own"));
            }
            if let StaticInstance::Detailed(details) = &spec {
                let words = [
                    (
                        "protocol",
                        &details.protocol,
                        &["http", "h2", "grpc", "triple", "dubbo", "tcp"][..],
                    ),
                    (
                        "status",
                        &details.status,
                        &["UP", "DOWN", "STARTING", "OUT_OF_SERVICE"][..],
                    ),
                ];
                for (field, word, known) in words {
                    if let Some(word) = word.as_deref().filter(|word| !known.contains(word)) {
                        let what = format!("`{}` is none of the known values", word.escape_debug());
                        let mend = suggestion(word, known.iter().copied());
                        report.problems.push(instance.problem(field, what, mend));
                    }
                }
            }
        }
    }
}

/// Why a text is no `host:port`, if it is none.
pub(super) fn host_and_port(text: &str) -> Option<String> {
    let shown = text.escape_debug();
    let Some((host, port)) = text.rsplit_once(':') else {
        return Some(format!("`{shown}` has no port"));
    };
    let in_brackets = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let valid_host = match in_brackets {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    if !valid_host {
        Some(format!("`{shown}` has no valid host"))
    } else if port.bytes().any(|b| !b.is_ascii_digit()) || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        Some(format!("`{shown}` has no port from 1 to 65535"))
    } else {
        None
    }
}
