//! DubboRoutes: rules that can be followed, on listeners that speak Dubbo.

use std::sync::Arc;

use landfall_model::rules::{
    ArgumentMatch, ArgumentsMatch, DubboFault, DubboFilter, DubboMatch, DubboRoute, DubboRule, Family, FrameworkCalls,
    TextMatch, ValueMatch,
};

use super::{
    Report, attach::attach, backends, filters, gateways::Site, http_transcodings, matches::value, names::Names, routes,
};
use crate::{
    document::{At, Document},
    kinds::{
        Kind,
        dubbo_route::{self, FilterType, Match},
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
    let mut backends = backends::of_dubbo(at, names, report);
    let filters = filters(at, names, report);
    if filters.iter().any(|filter| matches!(filter, DubboFilter::Transcode(_))) {
        for backend in &mut backends {
            backend.backend.family = Family::Http;
        }
        if filters.iter().any(|filter| matches!(filter, DubboFilter::Mirror(_))) {
            let what = "RequestMirror beside an HTTPTranscoding (IncompatibleFilters)";
            let mend = "keep one of the two, or make another rule";
            report.problems.push(at.problem("filters", what, mend));
        }
    }
    // A rule may be there to refuse calls.
    let ends_all = |filter: &DubboFilter| matches!(filter, DubboFilter::Fault(DubboFault { abort: Some((_, (part, all))), .. }) if part >= all);
    if at.items("backendRefs").is_empty() && !filters.iter().any(ends_all) {
        let what = "a rule without backend answers every call with an error";
        report.warnings.push(at.problem("", what, "add `backendRefs`"));
    }
    let idempotent = at.items("idempotentMethods");
    DubboRule {
        name: routes::rule_name(at),
        matches,
        filters,
        refuse: refuse(at, report),
        backends,
        timeouts: routes::timeouts(at, report),
        idempotent: idempotent.iter().filter_map(|at| text(at, report)).collect(),
    }
}

fn refuse(rule: &At<'_>, report: &mut Report) -> Vec<FrameworkCalls> {
    let mut kinds = Vec::new();
    for at in rule.items("refuse") {
        let Some(kind) = at.read::<dubbo_route::FrameworkCalls>() else {
            continue;
        };
        let kind = match kind {
            dubbo_route::FrameworkCalls::Generic => FrameworkCalls::Generic,
            dubbo_route::FrameworkCalls::Echo => FrameworkCalls::Echo,
            dubbo_route::FrameworkCalls::Metadata => FrameworkCalls::Metadata,
        };
        if kinds.contains(&kind) {
            report
                .warnings
                .push(at.problem("", "it is there twice", "remove one of the two"));
        } else {
            kinds.push(kind);
        }
    }
    kinds
}

/// The filters of a rule. Those with a fault are left out.
fn filters(rule: &At<'_>, names: &Names<'_>, report: &mut Report) -> Vec<DubboFilter> {
    let mut filters = Vec::new();
    for at in rule.items("filters") {
        let Some(spec) = at.read::<dubbo_route::Filter>() else {
            continue;
        };
        let second = filters.iter().any(|filter| matches!(filter, DubboFilter::Fault(_)));
        if spec.type_ == FilterType::Fault && second {
            let what = "a second Fault in one list";
            report.problems.push(at.problem("type", what, "join the two"));
        }
        let second = filters.iter().any(|filter| matches!(filter, DubboFilter::Transcode(_)));
        if spec.type_ == FilterType::ExtensionRef && second {
            let what = "a second HTTPTranscoding in one list";
            report.problems.push(at.problem("type", what, "keep one of the two"));
        }
        let fields = [
            (
                "requestMirror",
                FilterType::RequestMirror,
                spec.request_mirror.is_some(),
            ),
            ("fault", FilterType::Fault, spec.fault.is_some()),
            ("extensionRef", FilterType::ExtensionRef, spec.extension_ref.is_some()),
        ];
        if !filters::fields_agree(&at, spec.type_, &fields, report) {
            continue;
        }
        if let (Some(spec), Some(at)) = (&spec.request_mirror, at.field("requestMirror")) {
            filters.extend(filters::mirror(&at, spec, names, report).map(DubboFilter::Mirror));
        }
        if let (Some(spec), Some(at)) = (&spec.fault, at.field("fault")) {
            filters.push(DubboFilter::Fault(fault(&at, spec, report)));
        }
        if let (Some(spec), Some(at)) = (&spec.extension_ref, at.field("extensionRef")) {
            filters.extend(http_transcodings::referenced(&at, spec, names, report).map(DubboFilter::Transcode));
        }
    }
    filters
}

/// What a provider may say when it fails.
const STATUSES: [u8; 7] = [31, 40, 50, 60, 70, 80, 100];

fn fault(at: &At<'_>, spec: &dubbo_route::FaultFilter, report: &mut Report) -> DubboFault {
    let mut fault = DubboFault::default();
    if let (Some(spec), Some(at)) = (&spec.delay, at.field("delay")) {
        let fraction = filters::fraction(&at, spec.percent, spec.fraction, report);
        fault.delay = fraction.map(|fraction| (spec.duration.get(), fraction));
    }
    if let (Some(spec), Some(at)) = (&spec.abort, at.field("abort")) {
        let status = spec.status.unwrap_or(80);
        if !STATUSES.contains(&status) {
            let what = format!("{status} is no status that a provider fails with");
            let mend = "write 31, 40, 50, 60, 70, 80 or 100";
            report.problems.push(at.problem("status", what, mend));
        }
        let fraction = filters::fraction(&at, spec.percent, spec.fraction, report);
        fault.abort = fraction.map(|fraction| (status, fraction));
    }
    if spec.delay.is_none() && spec.abort.is_none() {
        let what = "the filter changes nothing";
        report.warnings.push(at.problem("", what, "add `delay` or `abort`"));
    }
    fault
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
        arguments: arguments(at, &spec.arguments, report),
    })
}

fn arguments(at: &At<'_>, spec: &dubbo_route::Arguments, report: &mut Report) -> ArgumentsMatch {
    let mut values: Vec<ArgumentMatch> = Vec::new();
    for (i, wanted) in spec.values.iter().enumerate() {
        let index = wanted.index;
        let field = |name: &str| format!("arguments.values[{i}]{name}");
        if let Some(count) = spec.count.filter(|count| index >= *count) {
            let what = format!("no call with {count} arguments has one of index {index}");
            let mend = "the first argument has the index 0; lower `index` or raise `count`";
            report.problems.push(at.problem(&field(".index"), what, mend));
        }
        if values.iter().any(|known| known.index == index) {
            let what = format!("a second condition on the argument {index} is ignored");
            let mend = "join the two, or write two matches";
            report.warnings.push(at.problem(&field(""), what, mend));
            continue;
        }
        if let Some(value) = value(at, &field(".value"), wanted.type_, &wanted.value, report) {
            values.push(ArgumentMatch { index, value });
        }
    }
    ArgumentsMatch {
        count: spec.count,
        values,
    }
}

fn text(at: &At<'_>, report: &mut Report) -> Option<TextMatch> {
    let spec: dubbo_route::TextMatch = at.read()?;
    value(at, "value", spec.type_, &spec.value, report)
}
