//! Facades: one protocol each, a place of its own, and registries that exist and speak it.

use std::net::SocketAddr;

use super::{Report, names::Names};
use crate::{
    document::{At, Document},
    kinds::{
        Kind,
        facade::{FacadeSpec, FacadeView, FacadeWrites},
    },
    load::{FacadeConfig, RegistryConfig},
};

/// The facades in document order.
pub(super) fn translate(
    documents: &[Document],
    registries: &[RegistryConfig],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<FacadeConfig> {
    let mut facades: Vec<FacadeConfig> = Vec::new();
    for document in documents.iter().filter(|document| document.kind == Kind::Facade) {
        let Some(at) = document.spec() else { continue };
        one_protocol(&at, report);
        place(&at, report);
        let Some(spec) = at.read::<FacadeSpec>() else { continue };
        if let FacadeView::Native(view) = &spec.view {
            names.need_registry(&at, "view.registry", &view.registry, report);
        }
        if let FacadeWrites::Forward(writes) = &spec.writes
            && names.need_registry(&at, "writes.forward", &writes.forward, report)
        {
            speaks(&at, &spec, &writes.forward, registries, report);
        }
        alone(&at, &spec, &facades, registries, report);
        facades.push(FacadeConfig {
            name: document.name.to_string(),
            spec,
        });
    }
    facades
}

fn one_protocol(at: &At<'_>, report: &mut Report) {
    match (at.field("eureka").is_some(), at.field("consul").is_some()) {
        (true, true) => {
            let mend = "keep one, and give the other a Facade of its own (it may share the address)";
            let what = "`consul` beside `eureka`: a facade speaks one protocol";
            report.problems.push(at.problem("consul", what, mend));
        }
        (false, false) => {
            let what = "the facade does not say which protocol it answers";
            report
                .problems
                .push(at.problem("", what, "add `eureka: {}` or `consul: {}`"));
        }
        _ => {}
    }
}

fn place(at: &At<'_>, report: &mut Report) {
    if let Some(at) = at.field("address") {
        super::registries::listen_address(&at, report);
    }
    let Some(path) = at.field("path").and_then(|at| at.read::<String>()) else {
        return;
    };
    let inside = path.trim_end_matches('/');
    let good = |part: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(fine)
    };
    if !inside.strip_prefix('/').is_some_and(|rest| rest.split('/').all(good)) {
        let what = format!("`{}` is no path to stand before others", path.escape_debug());
        let mend = "write `/` and names of letters, digits, `-`, `_`, `.`, such as `/mesh`";
        report.problems.push(at.problem("path", what, mend));
    }
}

/// What is written in a protocol can be passed on only to a registry that speaks it.
fn speaks(at: &At<'_>, spec: &FacadeSpec, name: &str, registries: &[RegistryConfig], report: &mut Report) {
    let Some(registry) = registries.iter().find(|registry| registry.name.as_str() == name) else {
        return;
    };
    let embedded = registry.spec.embedded.as_ref();
    let good = match spec.protocol() {
        "consul" => registry.spec.consul.is_some() || embedded.is_some_and(|embedded| embedded.consul.is_some()),
        _ => registry.spec.eureka.is_some() || embedded.is_some_and(|embedded| embedded.eureka.is_some()),
    };
    if !good {
        let protocol = spec.protocol();
        let what = format!("the registry `{name}` does not speak the protocol of the facade, `{protocol}`");
        let mend = format!("name a Registry with a block `{protocol}`, or write `writes: refuse`");
        report.problems.push(at.problem("writes.forward", what, mend));
    }
}

/// Two facades at one place, or a facade where a registry of our own listens.
fn alone(at: &At<'_>, spec: &FacadeSpec, facades: &[FacadeConfig], registries: &[RegistryConfig], report: &mut Report) {
    let Ok(address) = spec.address.parse::<SocketAddr>() else {
        return;
    };
    let same = |other: &str| address.port() != 0 && other.parse() == Ok(address);
    for other in facades {
        if same(&other.spec.address) && other.spec.prefix() == spec.prefix() {
            let what = format!("the facade `{}` answers at the same address and path", other.name);
            let mend = "give one of them another `address` or `path`";
            report.problems.push(at.problem("address", what, mend));
        }
    }
    for registry in registries {
        let embedded = registry.spec.embedded.as_ref();
        let eureka = embedded
            .and_then(|embedded| embedded.eureka.as_ref())
            .map(|one| one.address.as_str());
        let consul = embedded
            .and_then(|embedded| embedded.consul.as_ref())
            .map(|one| one.address.as_str());
        if [eureka, consul].into_iter().flatten().any(same) {
            let what = format!("the registry `{}` listens on the same address", registry.name);
            report
                .problems
                .push(at.problem("address", what, "give one of them another address"));
        }
    }
}
