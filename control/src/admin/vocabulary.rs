//! Matches and filters of routes in the words of the Gateway API, as they stand in the configuration.

use serde_json::{Map, Value, json};

use landfall_model::rules::{
    ArgumentMatch, ArgumentsMatch, DubboFilter, DubboMatch, Filter, HeaderEdits, HttpMatch, Mirror, PathMatch,
    PathRewrite, Redirect, TextMatch, Timeouts, UrlRewrite, ValueMatch,
};

use super::answer::seconds;
use crate::compose::reference;

/// An object of those that are there.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let fields = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn some<T>(values: &[T], one: impl Fn(&T) -> Value) -> Option<Value> {
    (!values.is_empty()).then(|| values.iter().map(one).collect())
}

/// `HTTPRouteMatch`
pub fn matched(matched: &HttpMatch) -> Value {
    let (kind, value) = match &matched.path {
        PathMatch::Exact(path) => ("Exact", &**path),
        // The model keeps prefixes without a trailing slash.
        PathMatch::Prefix(path) if path.is_empty() => ("PathPrefix", "/"),
        PathMatch::Prefix(path) => ("PathPrefix", &**path),
        PathMatch::Regex(path) => ("RegularExpression", &**path),
    };
    object([
        ("path", Some(json!({ "type": kind, "value": value }))),
        ("method", matched.method.as_ref().map(|method| json!(method))),
        ("headers", some(&matched.headers, named)),
        ("queryParams", some(&matched.query, named)),
    ])
}

/// A match of a DubboRoute.
pub fn dubbo_matched(matched: &DubboMatch) -> Value {
    let one = |wanted: &Option<TextMatch>| wanted.as_ref().map(text);
    object([
        ("interface", one(&matched.interface)),
        ("group", one(&matched.group)),
        ("version", one(&matched.version)),
        ("method", one(&matched.method)),
        ("attachments", some(&matched.attachments, named)),
        ("arguments", arguments(&matched.arguments)),
    ])
}

fn arguments(wanted: &ArgumentsMatch) -> Option<Value> {
    let value = |wanted: &ArgumentMatch| {
        let (kind, value) = compared(&wanted.value);
        json!({ "type": kind, "index": wanted.index, "value": value })
    };
    (wanted.conditions() > 0).then(|| {
        object([
            ("count", wanted.count.map(|count| json!(count))),
            ("values", some(&wanted.values, value)),
        ])
    })
}

/// How a text is compared.
pub fn text(wanted: &TextMatch) -> Value {
    let (kind, value) = compared(wanted);
    json!({ "type": kind, "value": value })
}

fn named(matched: &ValueMatch) -> Value {
    let (kind, value) = compared(&matched.value);
    json!({ "type": kind, "name": matched.name, "value": value })
}

fn compared(wanted: &TextMatch) -> (&'static str, &str) {
    match wanted {
        TextMatch::Exact(value) => ("Exact", value),
        TextMatch::Regex(value) => ("RegularExpression", value),
    }
}

/// `HTTPRouteFilter`
pub fn filter(filter: &Filter) -> Value {
    match filter {
        Filter::RequestHeaders(edits) => {
            json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": headers(edits) })
        }
        Filter::ResponseHeaders(edits) => {
            json!({ "type": "ResponseHeaderModifier", "responseHeaderModifier": headers(edits) })
        }
        Filter::Rewrite(change) => json!({ "type": "URLRewrite", "urlRewrite": rewrite(change) }),
        Filter::Redirect(answer) => json!({ "type": "RequestRedirect", "requestRedirect": redirect(answer) }),
        Filter::Mirror(mirror) => mirrored(mirror),
        Filter::Transcode(transcoding) => json!({
            "type": "ExtensionRef",
            "extensionRef": { "group": "landfall.dev", "kind": "DubboTranscoding", "name": transcoding.name },
        }),
    }
}

fn mirrored(mirror: &Mirror) -> Value {
    json!({
        "type": "RequestMirror",
        "requestMirror": { "backendRef": reference::text(&mirror.backend), "fraction": fraction(mirror.fraction) },
    })
}

fn fraction((numerator, denominator): (u32, u32)) -> Value {
    json!({ "numerator": numerator, "denominator": denominator })
}

/// A filter of a DubboRoute.
pub fn dubbo_filter(filter: &DubboFilter) -> Value {
    match filter {
        DubboFilter::Mirror(mirror) => mirrored(mirror),
        DubboFilter::Transcode(transcoding) => json!({
            "type": "ExtensionRef",
            "extensionRef": { "group": "landfall.dev", "kind": "HTTPTranscoding", "name": transcoding.name },
        }),
        DubboFilter::Fault(fault) => {
            let delay = fault
                .delay
                .map(|(delay, share)| json!({ "durationSeconds": seconds(delay), "fraction": fraction(share) }));
            let abort = fault
                .abort
                .map(|(status, share)| json!({ "status": status, "fraction": fraction(share) }));
            json!({ "type": "Fault", "fault": object([("delay", delay), ("abort", abort)]) })
        }
    }
}

fn headers(edits: &HeaderEdits) -> Value {
    let pair = |(name, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| json!({ "name": name, "value": value });
    object([
        ("set", some(&edits.set, pair)),
        ("add", some(&edits.add, pair)),
        ("remove", some(&edits.remove, |name| json!(name))),
    ])
}

fn rewrite(rewrite: &UrlRewrite) -> Value {
    object([
        ("hostname", rewrite.hostname.as_ref().map(|hostname| json!(hostname))),
        ("path", rewrite.path.as_ref().map(path)),
    ])
}

fn redirect(redirect: &Redirect) -> Value {
    object([
        ("scheme", redirect.scheme.as_ref().map(|scheme| json!(scheme))),
        ("hostname", redirect.hostname.as_ref().map(|hostname| json!(hostname))),
        ("port", redirect.port.map(|port| json!(port))),
        ("path", redirect.path.as_ref().map(path)),
        ("statusCode", Some(json!(redirect.status))),
    ])
}

fn path(rewrite: &PathRewrite) -> Value {
    match rewrite {
        PathRewrite::Full(path) => json!({ "type": "ReplaceFullPath", "replaceFullPath": path }),
        PathRewrite::Prefix { replacement, .. } => {
            let replacement = if replacement.is_empty() { "/" } else { replacement };
            json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": replacement })
        }
    }
}

/// `HTTPRouteTimeouts`; in seconds, 0 is off. `None` if the policy's apply.
pub fn timeouts(timeouts: &Timeouts) -> Option<Value> {
    let shown = object([
        ("requestSeconds", timeouts.request.map(|limit| json!(seconds(limit)))),
        (
            "backendRequestSeconds",
            timeouts.backend_request.map(|limit| json!(seconds(limit))),
        ),
    ]);
    shown
        .as_object()
        .is_some_and(|fields| !fields.is_empty())
        .then_some(shown)
}
