//! Which listeners a route belongs to, and for which hosts. The words in brackets are the Gateway API's reasons.

use landfall_model::rules::{Attachment, HostPattern};

use super::{
    Report,
    gateways::{Site, route_kind},
    names::Names,
};
use crate::{
    document::{At, Document},
    kinds::{
        GATEWAY_API, Kind, LANDFALL,
        gateway::{AllowedRoutes, FromNamespaces, LabelOperator, LabelSelector, Listener, RouteKind},
        http_route::ParentRef,
    },
    problem::{closest, one_of},
};

/// Attaches a route by all its parentRefs. `hostnames` is `None` when one of them has a fault.
pub(super) fn attach(
    route: &At<'_>,
    hostnames: Option<&[HostPattern]>,
    sites: &[Site<'_>],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Attachment> {
    let mut attachments: Vec<Attachment> = Vec::new();
    let parents = route.items("parentRefs");
    if parents.is_empty() {
        let mend = "add `parentRefs: [{ name: … }]` with the name of a Gateway";
        report
            .problems
            .push(route.problem("", "the route belongs to no Gateway, so no request would use it", mend));
    }
    let mut seen: Vec<ParentRef> = Vec::new();
    for at in parents {
        let Some(parent) = at.read::<ParentRef>() else { continue };
        if seen.contains(&parent) {
            report.problems.push(at.problem(
                "",
                "the same parent twice",
                "remove one, or tell them apart by sectionName",
            ));
            continue;
        }
        for found in one(&at, &parent, hostnames, sites, names, report) {
            match attachments.iter_mut().find(|known| known.listener == found.listener) {
                Some(known) => known.hostnames.extend(
                    found
                        .hostnames
                        .into_iter()
                        .filter(|h| !known.hostnames.contains(h))
                        .collect::<Vec<_>>(),
                ),
                None => attachments.push(found),
            }
        }
        seen.push(parent);
    }
    attachments
}

fn one(
    at: &At<'_>,
    parent: &ParentRef,
    hostnames: Option<&[HostPattern]>,
    sites: &[Site<'_>],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Attachment> {
    let mut refuse = |field: &str, what: String, mend: String| report.problems.push(at.problem(field, what, mend));
    let route = at.document();
    let group = parent.group.as_deref().unwrap_or(GATEWAY_API);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    match (group, kind) {
        (GATEWAY_API, "Gateway") => {}
        ("", "Service") | (LANDFALL, "MeshService") => {
            let what = format!("routes of a {kind}, inside the mesh, are not supported yet");
            refuse("kind", what, "name a Gateway".to_owned());
            return Vec::new();
        }
        _ => {
            let what = format!("`{kind}` of group `{group}` cannot have routes");
            refuse("kind", what, "name a Gateway: leave `group` and `kind` out".to_owned());
            return Vec::new();
        }
    }
    let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
    if !names.gateways.contains(&(namespace, &parent.name)) {
        let known = || {
            names
                .gateways
                .iter()
                .filter(|(ns, _)| *ns == namespace)
                .map(|(_, name)| *name)
        };
        let elsewhere = names.gateways.iter().find(|(_, name)| *name == &*parent.name);
        let mend = match (closest(&parent.name, known()), elsewhere) {
            (_, Some((other, _))) => format!("it is in namespace `{other}`: add `namespace: {other}`"),
            (Some(one), _) => format!("did you mean `{one}`?"),
            (None, _) if known().next().is_none() => "add a document `kind: Gateway` with that name".to_owned(),
            (None, _) => one_of(known()),
        };
        let what = format!("no Gateway is called `{}` in namespace `{namespace}`", &*parent.name);
        refuse("name", what, mend);
        return Vec::new();
    }
    let all: Vec<_> = sites
        .iter()
        .filter(|site| *site.gateway.name == *parent.name && &*site.gateway.namespace == namespace)
        .collect();
    // With a fault among the listeners nothing can be said about what does not fit.
    let sound = all.iter().all(|site| site.spec.is_some()) && !all.is_empty();

    let named: Vec<_> = all
        .iter()
        .filter(|site| {
            parent
                .section_name
                .as_deref()
                .is_none_or(|name| site.name == Some(name))
        })
        .collect();
    if named.is_empty() {
        if sound && let Some(name) = parent.section_name.as_deref() {
            let known = all.iter().filter_map(|site| site.name);
            let what = format!(
                "the Gateway `{}` has no listener `{name}` (NoMatchingParent)",
                &*parent.name
            );
            refuse("sectionName", what, crate::problem::suggestion(name, known));
        }
        return Vec::new();
    }
    let on_port: Vec<_> = named
        .iter()
        .filter_map(|site| Some((site, site.spec.as_ref()?)))
        .filter(|(_, spec)| parent.port.is_none_or(|port| spec.port == port))
        .collect();
    if on_port.is_empty() {
        if sound {
            let ports: Vec<_> = named
                .iter()
                .filter_map(|s| s.spec.as_ref())
                .map(|s| s.port.to_string())
                .collect();
            let port = parent.port.unwrap_or_default();
            let what = match parent.section_name.as_deref() {
                Some(name) => format!("the listener `{name}` is not on port {port} (NoMatchingParent)"),
                None => format!(
                    "the Gateway `{}` has no listener on port {port} (NoMatchingParent)",
                    &*parent.name
                ),
            };
            refuse("port", what, one_of(ports.iter().map(String::as_str)));
        }
        return Vec::new();
    }
    let allowing: Vec<_> = on_port
        .iter()
        .filter(|(site, spec)| allows(spec, route, site.gateway, names))
        .collect();
    if allowing.is_empty() {
        if sound {
            let what = format!(
                "no listener of the Gateway `{}` takes {}s of namespace `{}` (NotAllowedByListeners)",
                &*parent.name,
                route.kind.name(),
                route.namespace
            );
            let speaks = on_port
                .iter()
                .any(|(_, spec)| route_kind(spec.protocol).0 == route.kind);
            let mend = match route.kind {
                Kind::DubboRoute if !speaks => "name a listener of `protocol: Dubbo`",
                _ if !speaks => "name a listener of `protocol: HTTP` or `HTTPS`",
                _ => "widen the listener's `allowedRoutes`, or move the route",
            };
            refuse("", what, mend.to_owned());
        }
        return Vec::new();
    }
    let Some(hostnames) = hostnames else { return Vec::new() };
    let attachments: Vec<_> = allowing
        .iter()
        .filter_map(|(site, _)| {
            let listener = site.listener.as_ref()?;
            let hostnames = intersect(&listener.hostname, hostnames);
            (!hostnames.is_empty()).then(|| Attachment {
                listener: listener.id.clone(),
                hostnames,
            })
        })
        .collect();
    let certain = sound && allowing.iter().all(|(site, _)| site.listener.is_some());
    if attachments.is_empty() && certain {
        let hosts: Vec<_> = allowing
            .iter()
            .filter_map(|(s, _)| s.listener.as_ref())
            .map(|l| l.hostname.to_string())
            .collect();
        let what = format!(
            "none of the route's host names is one of the listeners' ({}) (NoMatchingListenerHostname)",
            hosts.join(", ")
        );
        refuse(
            "",
            what,
            "mend `hostnames` of the route or `hostname` of the listener".to_owned(),
        );
    }
    attachments
}

/// What both take; the listener's own host name for a route without any.
fn intersect(listener: &HostPattern, route: &[HostPattern]) -> Vec<HostPattern> {
    if route.is_empty() {
        return vec![listener.clone()];
    }
    let mut both: Vec<HostPattern> = Vec::new();
    for hostname in route.iter().filter_map(|own| listener.intersect(own)) {
        if !both.contains(&hostname) {
            both.push(hostname);
        }
    }
    both
}

fn allows(listener: &Listener, route: &Document, gateway: &Document, names: &Names<'_>) -> bool {
    let default = AllowedRoutes::default();
    let allowed = listener.allowed_routes.as_ref().unwrap_or(&default);
    let (right, group) = route_kind(listener.protocol);
    let named = |kind: &RouteKind| &*kind.kind == right.name() && kind.group.as_deref().unwrap_or(GATEWAY_API) == group;
    let kind = route.kind == right && (allowed.kinds.is_empty() || allowed.kinds.iter().any(named));
    let namespace = match allowed.namespaces.from {
        FromNamespaces::All => true,
        FromNamespaces::Same => route.namespace == gateway.namespace,
        // Without a selector it is a problem of the listener, reported there.
        FromNamespaces::Selector => {
            let selector = allowed.namespaces.selector.as_ref();
            selector.is_none_or(|selector| selects(selector, &route.namespace, names))
        }
    };
    kind && namespace
}

fn selects(selector: &LabelSelector, namespace: &str, names: &Names<'_>) -> bool {
    let labels = names.labels_of(namespace);
    let exact = selector
        .match_labels
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value));
    let conditions = selector.match_expressions.iter().all(|condition| {
        let value = labels.get(&condition.key);
        let listed = value.is_some_and(|value| condition.values.contains(value));
        match condition.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    });
    exact && conditions
}
