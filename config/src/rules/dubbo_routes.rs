//! DubboRoutes: rules that can be followed, on listeners that speak Dubbo.

use std::sync::Arc;

use landfall_model::rules::{DubboMatch, DubboRoute, DubboRule, TextMatch, ValueMatch};

use super::{Report, attach::attach, backends, gateways::Site, matches::value, names::Names, routes};
use crate::{
    document::{At, Document},
    kinds::{
        Kind,
        dubbo_route::{self, Match},
    },
};

/// The routes in document order.
pub(super) fn translate(
    documents: &[Document],
    sites: &[Site<'_>],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Arc<DubboRoute>> {
    let routes = documents.iter().filter(|d| d.kind == Kind::DubboRoute);
    routes
        .filter_map(|document| Some(Arc::new(route(document, sites, names, report)?)))
        .collect()
}

fn route(document: &Document, sites: &[Site<'_>], names: &Names<'_>, report: &mut Report) -> Option<DubboRoute> {
    let at = document.spec()?;
    let attachments = attach(&at, Some(&[]), sites, names, report);
    routes::check_rules(&at, report);
    let rules = at.items("rules");
    Some(DubboRoute {
        id: routes::id(document),
        created: routes::created(document, report),
        listeners: attachments.into_iter().map(|attachment| attachment.listener).collect(),
        rules: rules.iter().map(|at| rule(at, names, report)).collect(),
    })
}

fn rule(at: &At<'_>, names: &Names<'_>, report: &mut Report) -> DubboRule {
    let items = at.items("matches");
    let matches = if items.is_empty() {
        vec![DubboMatch::default()]
    } else {
        items.iter().filter_map(|at| matched(at, report)).collect()
    };
    let backends = backends::of_dubbo(at, names, report);
    if at.items("backendRefs").is_empty() {
        let what = "a rule without backend answers every call with an error";
        report.warnings.push(at.problem("", what, "add `backendRefs`"));
    }
    let idempotent = at.items("idempotentMethods");
    DubboRule {
        name: routes::rule_name(at),
        matches,
        backends,
        timeouts: routes::timeouts(at, report),
        idempotent: idempotent.iter().filter_map(|at| text(at, report)).collect(),
    }
}

fn matched(at: &At<'_>, report: &mut Report) -> Option<DubboMatch> {
    let spec: Match = at.read()?;
    let mut one = |field: &str| at.field(field).and_then(|at| text(&at, report));
    let (interface, group, version, method) = (one("interface"), one("group"), one("version"), one("method"));
    let mut attachments: Vec<ValueMatch> = Vec::new();
    for (i, wanted) in spec.attachments.iter().enumerate() {
        let name = &*wanted.name;
        if attachments.iter().any(|known| *known.name == *name) {
            let what = format!("a second condition on the attachment `{name}` is ignored");
            let mend = "join the two, or write two matches";
            report
                .warnings
                .push(at.problem(&format!("attachments[{i}]"), what, mend));
            continue;
        }
        let field = format!("attachments[{i}].value");
        if let Some(value) = value(at, &field, wanted.type_, &wanted.value, report) {
            attachments.push(ValueMatch {
                name: name.into(),
                value,
            });
        }
    }
    Some(DubboMatch {
        interface,
        group,
        version,
        method,
        attachments,
    })
}

fn text(at: &At<'_>, report: &mut Report) -> Option<TextMatch> {
    let spec: dubbo_route::TextMatch = at.read()?;
    value(at, "value", spec.type_, &spec.value, report)
}
