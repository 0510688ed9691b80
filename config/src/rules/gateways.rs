//! Gateways: listeners that can be bound together. Facts: the Gateway API's "distinct listeners".

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use landfall_model::rules::{CertificateFiles, Family, HostPattern, Listener, ListenerId, ListenerTls};

use super::{Report, names::Names};
use crate::{
    document::{At, Document},
    kinds::{
        GATEWAY_API, Kind, LANDFALL, LATER,
        gateway::{self, FromNamespaces, ListenerProtocol},
        text::ObjectName,
    },
    problem::closest,
};

/// A listener as routes see it. One with a fault keeps its place, without `spec`.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub gateway: &'a Document,
    pub name: Option<&'a str>,
    pub spec: Option<gateway::Listener>,
    pub listener: Option<Arc<Listener>>,
}

/// All listeners in document order.
pub(super) fn translate<'a>(
    documents: &'a [Document],
    certificates: &BTreeMap<&str, CertificateFiles>,
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Site<'a>> {
    let mut sites: Vec<Site<'a>> = Vec::new();
    let mut bound: Vec<Bound<'a>> = Vec::new();
    for document in documents.iter().filter(|d| d.kind == Kind::Gateway) {
        let Some(at) = document.spec() else { continue };
        let addresses = addresses(&at, report);
        class(&at, report);
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, at) in at.items("listeners").into_iter().enumerate() {
            let name = at.text("name");
            if let Some(first) = name.and_then(|name| seen.insert(name, i)) {
                let what = format!(
                    "the listener name `{}` is taken by listeners[{first}]",
                    name.unwrap_or_default()
                );
                report
                    .problems
                    .push(at.problem("name", what, "give each listener of a Gateway a name of its own"));
            }
            let spec: Option<gateway::Listener> = at.read();
            let listener = spec.as_ref().and_then(|spec| {
                allowed_routes(&at, spec, report);
                let hostname = hostname(&at, spec, report);
                let tls = tls(&at, spec, certificates, names, report);
                let listener = Listener {
                    id: ListenerId {
                        gateway: gateway_id(document),
                        listener: (*spec.name).into(),
                    },
                    addresses: addresses.clone(),
                    port: spec.port,
                    hostname: hostname?,
                    family: match spec.protocol {
                        ListenerProtocol::Http | ListenerProtocol::Https => Family::Http,
                        ListenerProtocol::Dubbo => Family::Dubbo,
                    },
                    tls: tls?,
                    mutual_tls: None,
                };
                conflict(&at, &listener, spec, &bound, report);
                bound.push(Bound {
                    listener: listener.clone(),
                    place: at.clone(),
                });
                Some(Arc::new(listener))
            });
            sites.push(Site {
                gateway: document,
                name,
                spec,
                listener,
            });
        }
    }
    sites
}

/// `name`, or `namespace/name` outside the default namespace.
fn gateway_id(document: &Document) -> Arc<str> {
    match &*document.namespace {
        "default" => document.name.clone(),
        namespace => format!("{namespace}/{}", document.name).into(),
    }
}

/// A listener that stands already, and where.
struct Bound<'a> {
    listener: Listener,
    place: At<'a>,
}

fn class(at: &At<'_>, report: &mut Report) {
    if at.field("infrastructure").is_some() {
        let what = "it is for objects that a cluster generates and has no effect here";
        report
            .warnings
            .push(at.problem("infrastructure", what, "it may be left out"));
    }
    let class = at.field("gatewayClassName").and_then(|at| at.read::<ObjectName>());
    if let Some(class) = class.filter(|class| &**class != "landfall") {
        let what = format!("the Gateway is of class `{}` and is served all the same", &*class);
        report
            .warnings
            .push(at.problem("gatewayClassName", what, "write `landfall` if it is meant for Landfall"));
    }
}

fn addresses(at: &At<'_>, report: &mut Report) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut every = false;
    for (i, at) in at.items("addresses").into_iter().enumerate() {
        let Some(spec) = at.read::<gateway::Address>() else {
            continue;
        };
        if spec.value.is_empty() {
            every = true;
            continue;
        }
        match spec.value.parse::<IpAddr>() {
            Ok(ip) if addresses.contains(&ip) => {
                let what = format!("the address {ip} stands twice");
                report
                    .problems
                    .push(at.problem("value", what, format!("remove addresses[{i}]")));
            }
            Ok(ip) => addresses.push(ip),
            Err(_) => {
                let what = format!("`{}` is no IP address", spec.value.escape_debug());
                let mend = "write an address of this host such as `127.0.0.1`, or leave it empty for all";
                report.problems.push(at.problem("value", what, mend));
            }
        }
    }
    // An address that is unspecified is all of them.
    if every { Vec::new() } else { addresses }
}

fn hostname(at: &At<'_>, spec: &gateway::Listener, report: &mut Report) -> Option<HostPattern> {
    let text = spec.hostname.as_deref().unwrap_or_default();
    if spec.protocol == ListenerProtocol::Dubbo && !text.is_empty() {
        let what = "Dubbo's calls name no host, so a listener cannot be chosen by one";
        report.problems.push(at.problem("hostname", what, "remove `hostname`"));
        return None;
    }
    if text.parse::<IpAddr>().is_ok() {
        report.problems.push(at.problem(
            "hostname",
            "an IP address is no host name",
            "leave it out, or write a name",
        ));
        return None;
    }
    Some(HostPattern::parse(text))
}

fn tls(
    at: &At<'_>,
    spec: &gateway::Listener,
    certificates: &BTreeMap<&str, CertificateFiles>,
    names: &Names<'_>,
    report: &mut Report,
) -> Option<Option<ListenerTls>> {
    const MEND: &str = "add `tls: { certificateRefs: [{ group: landfall.dev, kind: Certificate, name: … }] }`";
    match (spec.protocol, &spec.tls) {
        (ListenerProtocol::Http | ListenerProtocol::Dubbo, None) => Some(None),
        (ListenerProtocol::Http, Some(_)) => {
            let what = "`tls` on an HTTP listener";
            report
                .problems
                .push(at.problem("tls", what, "write `protocol: HTTPS`, or remove `tls`"));
            None
        }
        (ListenerProtocol::Dubbo, Some(_)) => {
            let what = "`tls` on a Dubbo listener, which speaks clear text only";
            report.problems.push(at.problem("tls", what, "remove `tls`"));
            None
        }
        (ListenerProtocol::Https, None) => {
            report
                .problems
                .push(at.problem("", "an HTTPS listener without `tls`", MEND));
            None
        }
        (ListenerProtocol::Https, Some(tls)) if tls.certificate_refs.is_empty() => {
            report
                .problems
                .push(at.problem("tls", "no certificate to end TLS with", MEND));
            None
        }
        (ListenerProtocol::Https, Some(tls)) => {
            let mut files = Vec::new();
            for (i, reference) in tls.certificate_refs.iter().enumerate() {
                let field = format!("tls.certificateRefs[{i}]");
                let group = reference.group.as_deref().unwrap_or_default();
                let kind = reference.kind.as_deref().unwrap_or("Secret");
                if (group, kind) != (LANDFALL, "Certificate") {
                    let what = match kind {
                        "Secret" => "it refers to a Secret, which is not supported (InvalidCertificateRef)".to_owned(),
                        _ => format!("`{kind}` of group `{group}` is no certificate (InvalidCertificateRef)"),
                    };
                    let mend = "write `group: landfall.dev` and `kind: Certificate`, and a document of that kind \
                                that names the files";
                    report.problems.push(at.problem(&field, what, mend));
                } else if names.need_certificate(at, &format!("{field}.name"), &reference.name, report) {
                    files.extend(certificates.get(&*reference.name).cloned());
                }
            }
            (!files.is_empty()).then_some(Some(ListenerTls { certificates: files }))
        }
    }
}

fn allowed_routes(at: &At<'_>, spec: &gateway::Listener, report: &mut Report) {
    let Some(allowed) = &spec.allowed_routes else { return };
    for (i, kind) in allowed.kinds.iter().enumerate() {
        let field = format!("allowedRoutes.kinds[{i}].kind");
        let group = kind.group.as_deref().unwrap_or(GATEWAY_API);
        let word = &*kind.kind;
        let (right, right_group) = route_kind(spec.protocol);
        if (word, group) == (right.name(), right_group) {
            continue;
        }
        if word == right.name() && kind.group.is_none() {
            let what = format!("`{word}` is of another group than the default (InvalidRouteKinds)");
            let mend = format!("add `group: {right_group}`");
            report.problems.push(at.problem(&field, what, mend));
            continue;
        }
        if LATER.contains(&(word, group)) {
            let what = format!("{word} is not supported yet, so none can attach");
            report.warnings.push(at.problem(&field, what, "it may be left out"));
        } else {
            let what = format!("`{word}` of group `{group}` is no kind of route (InvalidRouteKinds)");
            let mend = match closest(word, [right.name()]) {
                Some(one) => format!("did you mean `{one}`?"),
                None => format!("write `{}`, or leave `kinds` out", right.name()),
            };
            report.problems.push(at.problem(&field, what, mend));
        }
    }
    let namespaces = &allowed.namespaces;
    match (namespaces.from, &namespaces.selector) {
        (FromNamespaces::Selector, None) => {
            let what = "`from: Selector` without a selector";
            let mend = "add `selector: { matchLabels: { … } }`";
            report.problems.push(at.problem("allowedRoutes.namespaces", what, mend));
        }
        (FromNamespaces::Selector, Some(selector)) => {
            for (i, condition) in selector.match_expressions.iter().enumerate() {
                let wants = matches!(
                    condition.operator,
                    gateway::LabelOperator::In | gateway::LabelOperator::NotIn
                );
                if wants == condition.values.is_empty() {
                    let field = format!("allowedRoutes.namespaces.selector.matchExpressions[{i}]");
                    let what = "`values` belong to `In` and `NotIn`, and only there";
                    report.problems.push(at.problem(&field, what, "add or remove `values`"));
                }
            }
        }
        (_, Some(_)) => {
            let what = "a selector without `from: Selector`";
            report
                .problems
                .push(at.problem("allowedRoutes.namespaces.selector", what, "add `from: Selector`"));
        }
        (_, None) => {}
    }
}

/// The kind of route that a listener takes, with its group.
pub(super) fn route_kind(protocol: ListenerProtocol) -> (Kind, &'static str) {
    match protocol {
        ListenerProtocol::Http | ListenerProtocol::Https => (Kind::HttpRoute, GATEWAY_API),
        ListenerProtocol::Dubbo => (Kind::DubboRoute, LANDFALL),
    }
}

/// Two listeners on one port: the host name must tell them apart, and the protocol must be the same.
fn conflict(at: &At<'_>, new: &Listener, spec: &gateway::Listener, bound: &[Bound<'_>], report: &mut Report) {
    let overlap = |other: &Listener| {
        let share = new.addresses.iter().any(|ip| other.addresses.contains(ip));
        new.addresses.is_empty() || other.addresses.is_empty() || share
    };
    let rivals = bound
        .iter()
        .filter(|b| b.listener.port == new.port && overlap(&b.listener));
    for Bound { listener: other, place } in rivals {
        let first = place.problem("", "", "");
        let place = format!("{}:{}", first.file, first.line);
        if (other.tls.is_some(), other.family) != (new.tls.is_some(), new.family) {
            let what = format!(
                "port {} speaks another protocol for the listener {} at {place} (ProtocolConflict)",
                new.port, other.id
            );
            report
                .problems
                .push(at.problem("protocol", what, "use another port, or one protocol"));
            return;
        }
        if other.hostname == new.hostname {
            let field = if spec.hostname.is_some() { "hostname" } else { "port" };
            let what = format!(
                "port {} and host `{}` are taken by the listener {} at {place} (HostnameConflict)",
                new.port, new.hostname, other.id
            );
            report
                .problems
                .push(at.problem(field, what, "use another port or host name"));
            return;
        }
    }
}
