//! Filters: type and field agree, each at most once, and together they make sense. Facts: the Gateway API, 2.4.

use std::{net::IpAddr, sync::Arc};

use landfall_model::rules::{Filter, HeaderEdits, Mirror, PathRewrite, Redirect, UrlRewrite};

use super::{
    Report, backends,
    matches::{Prefix, wrong_path},
    names::Names,
    transcodings,
};
use crate::{
    document::At,
    kinds::filter::{self, FilterType, PathModifierType, Scheme},
};

/// The filters of a rule or backendRef, in order. Those with a fault are left out.
pub(super) fn translate(owner: &At<'_>, prefix: &Prefix, names: &Names<'_>, report: &mut Report) -> Vec<Filter> {
    let mut filters = Vec::new();
    let mut types: Vec<FilterType> = Vec::new();
    for at in owner.items("filters") {
        let Some(spec) = at.read::<filter::Filter>() else {
            continue;
        };
        if spec.type_ != FilterType::RequestMirror && types.contains(&spec.type_) {
            let what = format!("a second {:?} in one list", spec.type_);
            report.problems.push(at.problem("type", what, "join the two"));
        }
        let rivals = [FilterType::RequestRedirect, FilterType::UrlRewrite];
        let rival = types
            .iter()
            .any(|known| rivals.contains(known) && rivals.contains(&spec.type_) && *known != spec.type_);
        if rival {
            let what = "RequestRedirect and URLRewrite in one list (IncompatibleFilters)";
            report.problems.push(at.problem("type", what, "keep one of the two"));
        }
        types.push(spec.type_);
        if fields_agree(&at, spec.type_, &fields(&spec), report) {
            filters.extend(one(&at, spec, prefix, names, report));
        }
    }
    filters
}

/// Each field, the type it is for, and whether it is there.
type Field<T> = (&'static str, T, bool);

fn fields(spec: &filter::Filter) -> [Field<FilterType>; 6] {
    [
        (
            "requestHeaderModifier",
            FilterType::RequestHeaderModifier,
            spec.request_header_modifier.is_some(),
        ),
        (
            "responseHeaderModifier",
            FilterType::ResponseHeaderModifier,
            spec.response_header_modifier.is_some(),
        ),
        ("urlRewrite", FilterType::UrlRewrite, spec.url_rewrite.is_some()),
        (
            "requestRedirect",
            FilterType::RequestRedirect,
            spec.request_redirect.is_some(),
        ),
        (
            "requestMirror",
            FilterType::RequestMirror,
            spec.request_mirror.is_some(),
        ),
        ("extensionRef", FilterType::ExtensionRef, spec.extension_ref.is_some()),
    ]
}

/// Whether the field of the type is there, and no other.
pub(super) fn fields_agree<T: Copy + PartialEq>(
    at: &At<'_>,
    type_: T,
    fields: &[Field<T>],
    report: &mut Report,
) -> bool {
    let mut agree = true;
    for (field, kind, given) in fields.iter().copied() {
        if given && kind != type_ {
            agree = false;
            let what = format!("`{field}` in a filter of another type");
            report
                .problems
                .push(at.problem(field, what, "make a filter of its own for it, or mend `type`"));
        } else if !given && kind == type_ {
            agree = false;
            report.problems.push(at.problem(
                "type",
                format!("the field `{field}` is missing"),
                format!("add `{field}`"),
            ));
        }
    }
    agree
}

fn one(at: &At<'_>, spec: filter::Filter, prefix: &Prefix, names: &Names<'_>, report: &mut Report) -> Option<Filter> {
    if let Some(edits) = spec.request_header_modifier {
        return headers(&at.field("requestHeaderModifier")?, &edits, true, report).map(Filter::RequestHeaders);
    }
    if let Some(edits) = spec.response_header_modifier {
        return headers(&at.field("responseHeaderModifier")?, &edits, false, report).map(Filter::ResponseHeaders);
    }
    if let Some(spec) = spec.url_rewrite {
        return rewrite(&at.field("urlRewrite")?, &spec, prefix, report).map(Filter::Rewrite);
    }
    if let Some(spec) = spec.request_redirect {
        return redirect(&at.field("requestRedirect")?, &spec, prefix, report).map(Filter::Redirect);
    }
    if let Some(spec) = spec.extension_ref {
        return transcodings::referenced(&at.field("extensionRef")?, &spec, names, report).map(Filter::Transcode);
    }
    mirror(&at.field("requestMirror")?, &spec.request_mirror?, names, report).map(Filter::Mirror)
}

/// Headers that belong to the connection: changing them would break the message apart.
const FRAMING: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

fn headers(at: &At<'_>, spec: &filter::HeaderModifier, request: bool, report: &mut Report) -> Option<HeaderEdits> {
    let before = report.problems.len();
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut edits = HeaderEdits::default();
    let set = spec.set.iter().map(|h| ("set", &*h.name, Some(&*h.value)));
    let add = spec.add.iter().map(|h| ("add", &*h.name, Some(&*h.value)));
    let remove = spec.remove.iter().map(|name| ("remove", &**name, None));
    let mut index = 0;
    let mut list_before = "";
    for (list, name, value) in set.chain(add).chain(remove) {
        index = if list == list_before { index + 1 } else { 0 };
        list_before = list;
        let lower = name.to_ascii_lowercase();
        let field = match value {
            Some(_) => format!("{list}[{index}].name"),
            None => format!("{list}[{index}]"),
        };
        if let Some((_, first)) = seen.iter().find(|(known, _)| *known == lower) {
            let what = format!("a second action on the header `{lower}`, the first is {first}");
            report
                .problems
                .push(at.problem(&field, what, "keep one action for each header"));
        } else if FRAMING.contains(&&*lower) {
            let what = format!("the header `{lower}` frames the message and is written by the gateway itself");
            report.problems.push(at.problem(&field, what, "leave it out"));
        } else if request && lower == "host" && list != "set" {
            let what = format!("`{list}` on Host would leave a request without one host");
            report
                .problems
                .push(at.problem(&field, what, "use `set`, or URLRewrite with `hostname`"));
        }
        let key: Arc<str> = lower.as_str().into();
        match (list, value) {
            ("set", Some(value)) => edits.set.push((key, value.into())),
            ("add", Some(value)) => edits.add.push((key, value.into())),
            _ => edits.remove.push(key),
        }
        seen.push((lower, field));
    }
    if seen.is_empty() {
        report
            .warnings
            .push(at.problem("", "the filter changes nothing", "add `set`, `add` or `remove`"));
    }
    (report.problems.len() == before).then_some(edits)
}

fn host(at: &At<'_>, name: Option<&str>, report: &mut Report) -> Option<Arc<str>> {
    let name = name?;
    if name.parse::<IpAddr>().is_ok() {
        report
            .problems
            .push(at.problem("hostname", "an IP address is no host name", "write a name"));
    }
    Some(name.into())
}

fn rewrite(at: &At<'_>, spec: &filter::UrlRewrite, prefix: &Prefix, report: &mut Report) -> Option<UrlRewrite> {
    let hostname = host(at, spec.hostname.as_deref(), report);
    if hostname.is_none() && spec.path.is_none() {
        report
            .warnings
            .push(at.problem("", "the filter changes nothing", "add `hostname` or `path`"));
    }
    let path = match &spec.path {
        Some(spec) => Some(path(at, spec, prefix, report)?),
        None => None,
    };
    Some(UrlRewrite { hostname, path })
}

fn redirect(at: &At<'_>, spec: &filter::RequestRedirect, prefix: &Prefix, report: &mut Report) -> Option<Redirect> {
    let hostname = host(at, spec.hostname.as_deref(), report);
    let status = spec.status_code.unwrap_or(302);
    if ![301, 302, 303, 307, 308].contains(&status) {
        let what = format!("{status} is no status of a redirect");
        report
            .problems
            .push(at.problem("statusCode", what, "write 301, 302, 303, 307 or 308"));
    }
    let path = match &spec.path {
        Some(spec) => Some(path(at, spec, prefix, report)?),
        None => None,
    };
    let scheme = spec.scheme.map(|scheme| match scheme {
        Scheme::Http => "http".into(),
        Scheme::Https => "https".into(),
    });
    Some(Redirect {
        scheme,
        hostname,
        port: spec.port,
        path,
        status,
    })
}

fn path(at: &At<'_>, spec: &filter::PathModifier, prefix: &Prefix, report: &mut Report) -> Option<PathRewrite> {
    let at = at.field("path")?;
    let mut refuse = |field: &str, what: &str, mend: &str| report.problems.push(at.problem(field, what, mend));
    let (field, other, value) = match spec.type_ {
        PathModifierType::ReplaceFullPath => (
            "replaceFullPath",
            "replacePrefixMatch",
            spec.replace_full_path.as_deref(),
        ),
        PathModifierType::ReplacePrefixMatch => (
            "replacePrefixMatch",
            "replaceFullPath",
            spec.replace_prefix_match.as_deref(),
        ),
    };
    let other_given = at.field(other).is_some();
    if other_given {
        refuse(
            other,
            &format!("`{other}` does not belong to this type"),
            &format!("write `{field}`, or mend `type`"),
        );
    }
    let Some(value) = value else {
        if !other_given {
            refuse(
                "type",
                &format!("the field `{field}` is missing"),
                &format!("add `{field}`"),
            );
        }
        return None;
    };
    let whole = spec.type_ == PathModifierType::ReplaceFullPath;
    if let Some(what) = wrong_path(value).filter(|_| whole || !value.is_empty()) {
        let mend = if whole {
            "write a path such as `/orders`"
        } else {
            "write a path such as `/orders`, or nothing"
        };
        refuse(field, &what, mend);
        return None;
    }
    if whole {
        return Some(PathRewrite::Full(value.into()));
    }
    match prefix {
        Prefix::Unknown => None,
        Prefix::None => {
            let what = "the rule does not have exactly one match by PathPrefix, so there is no prefix to replace";
            refuse(
                field,
                what,
                "keep one match of type PathPrefix in the rule, or use ReplaceFullPath",
            );
            None
        }
        Prefix::Only(matched) => {
            let replacement = value.strip_suffix('/').unwrap_or(value).into();
            Some(PathRewrite::Prefix {
                matched: matched.clone(),
                replacement,
            })
        }
    }
}

/// A mirror, of whatever kind of route.
pub(super) fn mirror(
    at: &At<'_>,
    spec: &filter::RequestMirror,
    names: &Names<'_>,
    report: &mut Report,
) -> Option<Mirror> {
    let backend = backends::mirror(&at.field("backendRef")?, &spec.backend_ref, names, report);
    let fraction = fraction(at, spec.percent, spec.fraction, report)?;
    Some(Mirror {
        backend: backend?,
        fraction,
    })
}

/// How many of how many, said in one of two ways; all if in none.
pub(super) fn fraction(
    at: &At<'_>,
    percent: Option<u32>,
    fraction: Option<filter::Fraction>,
    report: &mut Report,
) -> Option<(u32, u32)> {
    Some(match (percent, fraction) {
        (Some(_), Some(_)) => {
            report
                .problems
                .push(at.problem("fraction", "`fraction` beside `percent`", "keep one of the two"));
            return None;
        }
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) => {
            let denominator = fraction.denominator.unwrap_or(100);
            if fraction.numerator > denominator {
                let what = format!("{} of {denominator} is more than all", fraction.numerator);
                report
                    .problems
                    .push(at.problem("fraction", what, "write a numerator up to the denominator"));
            }
            (fraction.numerator, denominator)
        }
        (None, None) => (100, 100),
    })
}
