//! HTTPRoutes: rules that can be followed, and their place on listeners.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use landfall_model::rules::{Backend, Family, Filter, HostPattern, HttpRoute, RouteRule, Timeouts};

use super::{Report, attach::attach, backends, filters, gateways::Site, matches, names::Names, time::rfc3339};
use crate::{
    document::{At, Document},
    duration::Duration,
    kinds::{
        Kind, http_route,
        metadata::Metadata,
        text::{Hostname, SectionName},
    },
};

/// The most matches in one route, over all rules.
const MAX_MATCHES: usize = 128;

/// The routes in document order.
pub(super) fn translate(
    documents: &[Document],
    sites: &[Site<'_>],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Arc<HttpRoute>> {
    let routes = documents.iter().filter(|d| d.kind == Kind::HttpRoute);
    routes
        .filter_map(|document| Some(Arc::new(route(document, sites, names, report)?)))
        .collect()
}

fn route(document: &Document, sites: &[Site<'_>], names: &Names<'_>, report: &mut Report) -> Option<HttpRoute> {
    let at = document.spec()?;
    let hostnames = hostnames(&at, report);
    let attachments = attach(&at, hostnames.as_deref(), sites, names, report);
    check_rules(&at, report);
    let mut rules: Vec<RouteRule> = at.items("rules").iter().map(|at| rule(at, names, report)).collect();
    if at.field("rules").is_none() {
        let what = "a route without rules answers every request with 500";
        report
            .warnings
            .push(at.problem("", what, "add `rules` with `backendRefs`"));
        let (matches, _) = matches::translate(&at, report);
        rules.push(RouteRule {
            name: None,
            matches,
            filters: vec![],
            backends: vec![],
            timeouts: Timeouts::default(),
        });
    }
    Some(HttpRoute {
        id: id(document),
        created: created(document, report),
        hostnames: hostnames?,
        attachments,
        rules,
    })
}

/// `namespace/name`.
pub(super) fn id(document: &Document) -> Arc<str> {
    format!("{}/{}", document.namespace, document.name).into()
}

/// What rules of a route must not have together: two of one name, too many matches.
pub(super) fn check_rules(at: &At<'_>, report: &mut Report) {
    let (mut matches, mut seen) = (0, Vec::new());
    for at in at.items("rules") {
        matches += at.items("matches").len();
        if let Some(name) = at.field("name").and_then(|at| at.read::<SectionName>()) {
            if seen.contains(&name) {
                let what = format!("the rule name `{}` stands twice", &*name);
                report
                    .problems
                    .push(at.problem("name", what, "give each rule a name of its own"));
            }
            seen.push(name);
        }
    }
    if matches > MAX_MATCHES {
        let what = format!("{matches} matches in one route, at most {MAX_MATCHES} are allowed");
        report
            .problems
            .push(at.problem("rules", what, "split the route into several"));
    }
}

/// When the route was created, if its document says so.
pub(super) fn created(document: &Document, report: &mut Report) -> Option<SystemTime> {
    let at = document.root().field("metadata")?;
    let text = at.read::<Metadata>()?.creation_timestamp?;
    let time = rfc3339(&text);
    if time.is_none() {
        let what = format!("`{}` is no time", text.escape_debug());
        report
            .problems
            .push(at.problem("creationTimestamp", what, "write a time such as `2026-01-31T12:00:00Z`"));
    }
    time
}

/// The route's own host names; `None` when one has a fault.
fn hostnames(at: &At<'_>, report: &mut Report) -> Option<Vec<HostPattern>> {
    let mut hostnames = Some(Vec::new());
    for at in at.items("hostnames") {
        let Some(text) = at.read::<Hostname>() else {
            hostnames = None;
            continue;
        };
        if text.parse::<IpAddr>().is_ok() {
            report
                .problems
                .push(at.problem("", "an IP address is no host name", "leave it out, or write a name"));
            hostnames = None;
        }
        if let Some(known) = &mut hostnames {
            known.push(HostPattern::parse(&text));
        }
    }
    hostnames
}

fn rule(at: &At<'_>, names: &Names<'_>, report: &mut Report) -> RouteRule {
    let (matches, prefix) = matches::translate(at, report);
    let filters = filters::translate(at, &prefix, names, report);
    let mut backends = backends::translate(at, &prefix, names, report);
    transcoded(at, &filters, &mut backends, report);
    let redirects = filters.iter().any(|filter| matches!(filter, Filter::Redirect(_)));
    if redirects
        && at
            .field("backendRefs")
            .is_some_and(|_| !at.items("backendRefs").is_empty())
    {
        let what = "backends beside a RequestRedirect would never be called";
        report
            .problems
            .push(at.problem("backendRefs", what, "remove `backendRefs`, or the redirect"));
    }
    if !redirects && at.items("backendRefs").is_empty() && at.items("filters").len() == filters.len() {
        let what = "a rule without backend or redirect answers every request with 500";
        report.warnings.push(at.problem("", what, "add `backendRefs`"));
    }
    RouteRule {
        name: rule_name(at),
        matches,
        filters,
        backends,
        timeouts: timeouts(at, report),
    }
}

/// A rule whose requests become calls of Dubbo has backends that speak it, and no filters that ask for HTTP there.
fn transcoded(at: &At<'_>, filters: &[Filter], backends: &mut [Backend], report: &mut Report) {
    let is_transcoding = |filter: &Filter| matches!(filter, Filter::Transcode(_));
    for (i, backend) in backends.iter().enumerate() {
        if backend.filters.iter().any(is_transcoding) {
            let what = "a DubboTranscoding among the filters of a backend";
            report.problems.push(at.problem(
                &format!("backendRefs[{i}].filters"),
                what,
                "put it among the filters of the rule",
            ));
        }
    }
    if !filters.iter().any(is_transcoding) {
        return;
    }
    let own = backends.iter().flat_map(|backend| &backend.filters);
    let of_http = filters.iter().chain(own).find_map(|filter| match filter {
        Filter::Rewrite(_) => Some("URLRewrite"),
        Filter::Redirect(_) => Some("RequestRedirect"),
        Filter::Mirror(_) => Some("RequestMirror"),
        _ => None,
    });
    if let Some(other) = of_http {
        let what = format!("{other} beside a DubboTranscoding (IncompatibleFilters)");
        report
            .problems
            .push(at.problem("filters", what, "keep one of the two, or make another rule"));
    }
    for backend in backends {
        backend.backend.family = Family::Dubbo;
    }
}

/// The rule's own name, if it has one.
pub(super) fn rule_name(at: &At<'_>) -> Option<Arc<str>> {
    let name: SectionName = at.field("name")?.read()?;
    Some((*name).into())
}

/// The rule's own limits.
pub(super) fn timeouts(at: &At<'_>, report: &mut Report) -> Timeouts {
    let Some((at, spec)) = at
        .field("timeouts")
        .and_then(|at| Some((at.clone(), at.read::<http_route::Timeouts>()?)))
    else {
        return Timeouts::default();
    };
    let (request, backend) = (spec.request.map(Duration::get), spec.backend_request.map(Duration::get));
    if let (Some(request), Some(backend)) = (request, backend)
        && backend > request
        && !request.is_zero()
    {
        let what = "one try may take longer than the whole call";
        report
            .problems
            .push(at.problem("backendRequest", what, "write at most what `request` says"));
    }
    Timeouts {
        request,
        backend_request: backend,
    }
}
