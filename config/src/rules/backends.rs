//! Backend references: names that can stand for something.

use std::sync::Arc;

use landfall_model::rules::{Backend, BackendRef, Family};

use super::{Report, filters, matches::Prefix, names::Names};
use crate::{
    document::At,
    kinds::{
        Kind, LANDFALL, dubbo_route,
        filter::MirrorBackend,
        http_route,
        text::{Group, KindName, NamespaceName, ServiceName},
    },
};

/// The backends of a rule. Those with a fault are left out.
pub(super) fn translate(rule: &At<'_>, prefix: &Prefix, names: &Names<'_>, report: &mut Report) -> Vec<Backend> {
    let mut backends = Vec::new();
    for at in rule.items("backendRefs") {
        let filters = filters::translate(&at, prefix, names, report);
        let Some(spec) = at.read::<http_route::BackendRef>() else {
            continue;
        };
        let (group, kind) = (spec.group.as_ref(), spec.kind.as_ref());
        let backend = resolve(
            &at,
            group,
            kind,
            &spec.name,
            spec.namespace.as_ref(),
            spec.port,
            names,
            report,
        );
        if let Some(backend) = backend {
            backends.push(Backend {
                backend,
                weight: spec.weight.unwrap_or(1),
                filters,
            });
        }
    }
    let what = "every backend has weight 0, so every request is answered 500";
    warn_of_no_weight(rule, &backends, what, report);
    backends
}

/// The backends of a DubboRoute's rule. Those with a fault are left out.
pub(super) fn of_dubbo(rule: &At<'_>, names: &Names<'_>, report: &mut Report) -> Vec<Backend> {
    let mut backends = Vec::new();
    for at in rule.items("backendRefs") {
        let Some(spec) = at.read::<dubbo_route::BackendRef>() else {
            continue;
        };
        let (group, kind) = (spec.group.as_ref(), spec.kind.as_ref());
        let registry = spec.namespace.as_ref();
        let backend = resolve(&at, group, kind, &spec.name, registry, spec.port, names, report);
        backends.extend(backend.map(|backend| Backend {
            backend,
            weight: spec.weight.unwrap_or(1),
            filters: Vec::new(),
        }));
    }
    let what = "every backend has weight 0, so every call is answered with an error";
    warn_of_no_weight(rule, &backends, what, report);
    backends
}

fn warn_of_no_weight(rule: &At<'_>, backends: &[Backend], what: &str, report: &mut Report) {
    if !backends.is_empty() && backends.iter().all(|backend| backend.weight == 0) {
        let mend = "give one of them a weight";
        report.warnings.push(rule.problem("backendRefs", what, mend));
    }
}

/// The backend of a mirror.
pub(super) fn mirror(at: &At<'_>, spec: &MirrorBackend, names: &Names<'_>, report: &mut Report) -> Option<BackendRef> {
    let (group, kind) = (spec.group.as_ref(), spec.kind.as_ref());
    resolve(
        at,
        group,
        kind,
        &spec.name,
        spec.namespace.as_ref(),
        spec.port,
        names,
        report,
    )
}

#[expect(
    clippy::too_many_arguments,
    reason = "the fields of the two kinds of reference, which share no type"
)]
fn resolve(
    at: &At<'_>,
    group: Option<&Group>,
    kind: Option<&KindName>,
    name: &ServiceName,
    namespace: Option<&NamespaceName>,
    port: Option<u16>,
    names: &Names<'_>,
    report: &mut Report,
) -> Option<BackendRef> {
    let group = group.map_or("", |group| group);
    let kind = kind.map_or("Service", |kind| kind);
    match (group, kind) {
        ("", "Service") => {
            if let Some(registry) = namespace {
                names.need_registry(at, "namespace", registry, report);
            }
        }
        (LANDFALL, "MeshService") => {
            if namespace.is_some() {
                let what = "a MeshService belongs to no registry";
                report
                    .problems
                    .push(at.problem("namespace", what, "remove `namespace`"));
            }
            names.need_mesh_service(at, "name", name, report);
        }
        (_, "MeshService") => {
            let what = format!("`MeshService` of group `{group}` is unknown (InvalidKind)");
            report
                .problems
                .push(at.problem("kind", what, "add `group: landfall.dev`"));
            return None;
        }
        _ => {
            let what = format!("`{kind}` of group `{group}` cannot be a backend (InvalidKind)");
            let mend =
                "leave `group` and `kind` out for a service, or write `group: landfall.dev`, `kind: MeshService`";
            report.problems.push(at.problem("kind", what, mend));
            return None;
        }
    }
    let namespace = namespace.map(|registry| Arc::from(&**registry));
    let family = match at.document().kind {
        Kind::DubboRoute => Family::Dubbo,
        _ => Family::Http,
    };
    Some(BackendRef {
        name: (**name).into(),
        namespace,
        port,
        family,
    })
}
