//! Registries: exactly one way to reach each, with addresses that are addresses.

use std::{net::SocketAddr, path::PathBuf};

use landfall_model::RegistryName;

use super::{
    Report,
    services::{host_and_port, services},
};
use crate::{
    document::{At, Document},
    duration::Duration,
    kinds::{
        Kind,
        registry::{NACOS_GRPC_OFFSET, RegistrySpec, nacos_grpc},
    },
    load::RegistryConfig,
    problem::one_of,
};

/// The registries in document order, and their names in order of precedence.
pub(super) fn translate(documents: &[Document], report: &mut Report) -> (Vec<RegistryConfig>, Vec<RegistryName>) {
    let mut registries = Vec::new();
    for document in documents.iter().filter(|d| d.kind == Kind::Registry) {
        let name = match RegistryName::new(&document.name) {
            Ok(name) => Some(name),
            Err(_) if document.name.is_empty() => None,
            Err(error) => {
                let mend = "use 1 to 63 of a-z, 0-9 and `-`: the name is also a namespace";
                let what = format!("`{}` is no name for a registry", error.0.escape_debug());
                report
                    .problems
                    .push(document.root().problem("metadata.name", what, mend));
                None
            }
        };
        let Some(at) = document.spec() else { continue };
        one_block(&at, report);
        blocks(&at, report);
        if let (Some(name), Some(spec)) = (name, at.read::<RegistrySpec>()) {
            registries.push(RegistryConfig {
                name,
                spec,
                base: document.base.to_path_buf(),
            });
        }
    }
    let mut order: Vec<_> = registries.iter().collect();
    order.sort_by_key(|registry| std::cmp::Reverse(registry.spec.priority));
    let precedence = order.into_iter().map(|registry| registry.name.clone()).collect();
    (registries, precedence)
}

const BLOCKS: [&str; 7] = ["eureka", "consul", "zookeeper", "nacos", "file", "static", "embedded"];

fn one_block(at: &At<'_>, report: &mut Report) {
    let given: Vec<_> = BLOCKS.into_iter().filter(|block| at.field(block).is_some()).collect();
    match given[..] {
        [_] => {}
        [] => {
            let what = "the registry does not say what it is";
            report.problems.push(at.problem("", what, one_of(BLOCKS)));
        }
        [first, ref others @ ..] => {
            for block in others {
                let what = format!("`{block}` beside `{first}`: a registry is one of them");
                let mend = "keep one block, and give the other a Registry of its own";
                report.problems.push(at.problem(block, what, mend));
            }
        }
    }
}

/// Each field for itself, so that a fault in one does not hide the others'.
fn blocks(at: &At<'_>, report: &mut Report) {
    if let Some(at) = at.field("eureka") {
        eureka(&at, report);
    }
    if let Some(at) = at.field("consul") {
        consul(&at, report);
    }
    if let Some(at) = at.field("zookeeper") {
        zookeeper(&at, report);
    }
    if let Some(at) = at.field("nacos") {
        nacos(&at, report);
    }
    if let Some(path) = at.field("file").and_then(|at| at.field("path")) {
        file(&path, report);
    }
    if let Some(at) = at.field("static") {
        services(&at, report);
    }
    if let Some(at) = at.field("embedded") {
        embedded(&at, report);
    }
}

fn eureka(at: &At<'_>, report: &mut Report) {
    let mut seen: Vec<String> = Vec::new();
    for at in at.items("urls") {
        let Some(url) = at.read::<String>() else { continue };
        web_address(&at, &url, "http://127.0.0.1:8761/eureka", report);
        if seen.contains(&url) {
            report
                .problems
                .push(at.problem("", "the same URL twice", "remove one of the two"));
        }
        seen.push(url);
    }
    pair(at, "username", "password", report);
    at_least(at, "poll", 100, report);
    at_least(at, "fullFetch", 1000, report);
}

fn consul(at: &At<'_>, report: &mut Report) {
    if let Some(at) = at.field("address")
        && let Some(url) = at.read::<String>()
    {
        web_address(&at, &url, "http://127.0.0.1:8500", report);
    }
    at_least(at, "wait", 1000, report);
    if let Some(wait) = at.field("wait").and_then(|at| at.read::<Duration>())
        && wait.get() > std::time::Duration::from_secs(600)
    {
        let what = format!("{wait} is longer than Consul waits");
        report.problems.push(at.problem("wait", what, "write at most `10m`"));
    }
}

fn zookeeper(at: &At<'_>, report: &mut Report) {
    if let Some(address) = at.field("address").and_then(|at| at.read::<String>()) {
        if address.contains("://") {
            let mend = "write `127.0.0.1:2181`, several separated by commas";
            report
                .problems
                .push(at.problem("address", "an address without a scheme is wanted", mend));
        } else {
            for what in address.split(',').filter_map(|one| host_and_port(one.trim())) {
                let mend = "write `host:port`, several separated by commas, such as `127.0.0.1:2181`";
                report.problems.push(at.problem("address", what, mend));
            }
        }
    }
    for field in ["root", "servicesRoot"] {
        let Some(root) = at.field(field).and_then(|at| at.read::<String>()) else {
            continue;
        };
        let inside = root.strip_prefix('/').unwrap_or(&root);
        if inside.is_empty()
            || inside
                .split('/')
                .any(|part| part.is_empty() || part == "." || part == "..")
        {
            let what = format!("`{}` is no path in ZooKeeper", root.escape_debug());
            report
                .problems
                .push(at.problem(field, what, "write names joined by `/`, such as `/services`"));
        }
    }
    pair(at, "username", "password", report);
    at_least(at, "sessionTimeout", 1000, report);
}

fn nacos(at: &At<'_>, report: &mut Report) {
    for at in at.items("addresses") {
        let Some(address) = at.read::<String>() else { continue };
        let with_scheme = match address.contains("://") {
            true => address,
            false => format!("http://{address}"),
        };
        web_address(&at, &with_scheme, "http://127.0.0.1:8848", report);
    }
    for at in at.items("groups") {
        let Some(group) = at.read::<String>() else { continue };
        if group.is_empty() || group.contains("@@") || group.chars().any(char::is_whitespace) {
            let what = format!("`{}` is no group of Nacos", group.escape_debug());
            let mend = "write the name of one group, such as `DEFAULT_GROUP`, without `@@` and blanks";
            report.problems.push(at.problem("", what, mend));
        }
    }
    pair(at, "username", "password", report);
    at_least(at, "poll", 100, report);
}

fn file(at: &At<'_>, report: &mut Report) {
    let Some(path) = at.read::<PathBuf>() else { return };
    if path.as_os_str().is_empty() {
        report
            .problems
            .push(at.problem("", "an empty path", "write the path of a YAML file with `services:`"));
    } else if !at.document().base.join(&path).exists() {
        let what = format!("`{}` does not exist yet", path.display());
        report
            .warnings
            .push(at.problem("", what, "it is read as soon as it appears"));
    }
}

fn embedded(at: &At<'_>, report: &mut Report) {
    let (eureka, consul, nacos) = (at.field("eureka"), at.field("consul"), at.field("nacos"));
    if eureka.is_none() && consul.is_none() && nacos.is_none() {
        let what = "the registry of our own answers no protocol";
        let mend = "add `eureka: { address: \"127.0.0.1:8761\" }`, `consul: { address: \"127.0.0.1:8500\" }` or \
                    `nacos: { address: \"127.0.0.1:8848\" }`";
        report.problems.push(at.problem("", what, mend));
    }
    let mut taken: Vec<(SocketAddr, &str)> = Vec::new();
    let blocks = [("eureka", &eureka), ("consul", &consul), ("nacos", &nacos)];
    for (protocol, block) in blocks {
        let Some(stated) = block.as_ref().and_then(|block| block.field("address")) else {
            continue;
        };
        let Some(address) = listen_address(&stated, report) else {
            continue;
        };
        let grpc = match protocol {
            "nacos" => nacos_port(&stated, report),
            _ => None,
        };
        for address in [Some(address), grpc]
            .into_iter()
            .flatten()
            .filter(|address| address.port() != 0)
        {
            if let Some((_, other)) = taken.iter().find(|(known, _)| *known == address) {
                let what = match Some(address) == grpc {
                    true => format!(
                        "gRPC at port {} is the same address as that of `{other}`",
                        address.port()
                    ),
                    false => format!("the same address as that of `{other}`"),
                };
                let mend = "give each protocol a port of its own";
                report
                    .problems
                    .push(at.problem(&format!("{protocol}.address"), what, mend));
            }
            taken.push((address, protocol));
        }
    }
    let Some(consul) = consul else { return };
    for field in ["datacenter", "node"] {
        let Some(name) = consul.field(field).and_then(|at| at.read::<String>()) else {
            continue;
        };
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(good) {
            let what = format!("`{}` is no name in Consul", name.escape_debug());
            let mend = "use 1 to 63 letters, digits, `-`, `_` and `.`";
            report.problems.push(consul.problem(field, what, mend));
        }
    }
}

/// Where gRPC is answered beside an address of Nacos' HTTP; says so if that is not possible.
pub(super) fn nacos_port(at: &At<'_>, report: &mut Report) -> Option<SocketAddr> {
    let address = at.read::<String>()?;
    let parsed: SocketAddr = address.parse().ok()?;
    let grpc = nacos_grpc(&address);
    if grpc.is_none() && parsed.port() != 0 {
        let what = format!("Nacos' clients speak gRPC at the port + {NACOS_GRPC_OFFSET}, and {address} leaves none");
        let mend = format!("choose a port up to {}", u16::MAX - NACOS_GRPC_OFFSET);
        report.problems.push(at.problem("", what, mend));
    }
    grpc
}

/// An address to listen on, if it is one.
pub(super) fn listen_address(at: &At<'_>, report: &mut Report) -> Option<SocketAddr> {
    let address = at.read::<String>()?;
    match address.parse::<SocketAddr>() {
        Ok(address) => Some(address),
        Err(_) => {
            let what = format!("`{}` is no address to listen on", address.escape_debug());
            report
                .problems
                .push(at.problem("", what, "write `ip:port`, such as `127.0.0.1:8761`"));
            None
        }
    }
}

/// An `http` or `https` URL. What may be a password is never shown.
fn web_address(at: &At<'_>, text: &str, example: &str, report: &mut Report) {
    let mend = format!("write a URL such as `{example}`");
    let refuse = |what: &str| at.problem("", what, mend.clone());
    let url = match url::Url::parse(text) {
        Ok(url) => url,
        Err(error) => {
            report.problems.push(refuse(&format!("this is no URL ({error})")));
            return;
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        report
            .problems
            .push(refuse("the URL begins with neither `http://` nor `https://`"));
    } else if url.host_str().is_none_or(str::is_empty) {
        report.problems.push(refuse("the URL has no host"));
    } else if url.query().is_some() || url.fragment().is_some() {
        report.problems.push(refuse("the URL has a query or fragment"));
    } else if url.password().is_some() {
        let what = "a password stands in the URL, readable by everyone who reads the file";
        report
            .warnings
            .push(at.problem("", what, "name it by reference instead, as `file:` or `env:`"));
    }
}

fn pair(at: &At<'_>, one: &str, other: &str, report: &mut Report) {
    let (given, missing) = match (at.field(one).is_some(), at.field(other).is_some()) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        _ => return,
    };
    let problem = at.problem(
        given,
        format!("`{given}` without `{missing}`"),
        format!("add `{missing}`"),
    );
    report.problems.push(problem);
}

fn at_least(at: &At<'_>, field: &str, millis: u64, report: &mut Report) {
    let Some(duration) = at.field(field).and_then(|at| at.read::<Duration>()) else {
        return;
    };
    let least = std::time::Duration::from_millis(millis);
    if duration.get() < least {
        let problem = at.problem(
            field,
            format!("{duration} is too short"),
            format!("write at least `{millis}ms`"),
        );
        report.problems.push(problem);
    }
}
