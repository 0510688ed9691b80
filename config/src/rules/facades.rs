//! Facades: one protocol each, a place of its own, and registries that exist and speak it.

use std::net::SocketAddr;

use super::{Report, names::Names};
use crate::{
    document::{At, Document},
    kinds::{
        Kind,
        facade::{FacadeSpec, FacadeView, FacadeWrites},
        registry::{EmbeddedSpec, nacos_grpc},
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
    let given = ["eureka", "consul", "nacos"].map(|word| at.field(word).map(|_| word));
    let given: Vec<&str> = given.into_iter().flatten().collect();
    match given[..] {
        [] => {
            let what = "the facade does not say which protocol it answers";
            let mend = "add `eureka: {}`, `consul: {}` or `nacos: {}`";
            report.problems.push(at.problem("", what, mend));
        }
        [_] => {}
        [first, ref more @ ..] => {
            for word in more {
                let mend = "keep one, and give the other a Facade of its own (it may share the address)";
                let what = format!("`{word}` beside `{first}`: a facade speaks one protocol");
                report.problems.push(at.problem(word, what, mend));
            }
        }
    }
}

fn place(at: &At<'_>, report: &mut Report) {
    let is_nacos = at.field("nacos").is_some();
    if let Some(at) = at.field("address") {
        super::registries::listen_address(&at, report);
        if is_nacos {
            super::registries::nacos_port(&at, report);
        }
    }
    if is_nacos && at.field("path").is_some() {
        let what = "a path before Nacos' own: its clients speak gRPC, which has none";
        let mend = "take `path` away, and give the facade an address of its own";
        report.problems.push(at.problem("path", what, mend));
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
        "nacos" => registry.spec.nacos.is_some() || embedded.is_some_and(|embedded| embedded.nacos.is_some()),
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
    let grpc_of = |spec: &FacadeSpec| spec.nacos.as_ref().and_then(|_| nacos_grpc(&spec.address));
    let grpc = grpc_of(spec);
    for other in facades {
        if same(&other.spec.address) && other.spec.prefix() == spec.prefix() {
            let what = format!("the facade `{}` answers at the same address and path", other.name);
            let mend = "give one of them another `address` or `path`";
            report.problems.push(at.problem("address", what, mend));
        }
        let meets = grpc.is_some() && other.spec.address.parse().ok() == grpc || grpc_of(&other.spec) == Some(address);
        if meets {
            let what = format!(
                "the facade `{}` and this one meet at the port of Nacos' gRPC",
                other.name
            );
            let mend = "give one of them another `address`: gRPC is answered at the port + 1000";
            report.problems.push(at.problem("address", what, mend));
        }
    }
    for registry in registries {
        let taken = registry.spec.embedded.as_ref().map(EmbeddedSpec::addresses);
        let ours = |one: &SocketAddr| one.port() != 0 && (*one == address || Some(*one) == grpc);
        if taken.unwrap_or_default().iter().any(ours) {
            let what = format!("the registry `{}` listens on the same address", registry.name);
            report
                .problems
                .push(at.problem("address", what, "give one of them another address"));
        }
    }
}
