//! Matches and filters in words.

use landfall_model::rules::{
    BackendRef, DubboFilter, DubboMatch, Filter, HeaderEdits, HttpMatch, HttpRoute, Mirror, PathMatch, PathRewrite,
    TextMatch, ValueMatch,
};

/// `host a.com, path prefix /orders, method GET, header x = y`.
pub fn matched(route: &HttpRoute, source: &HttpMatch) -> String {
    let mut parts = Vec::new();
    if !route.hostnames.is_empty() {
        let names: Vec<_> = route.hostnames.iter().map(ToString::to_string).collect();
        parts.push(format!("host {}", names.join(" or ")));
    }
    parts.push(match &source.path {
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Prefix(prefix) => format!("path prefix {}", or_root(prefix)),
        PathMatch::Regex(pattern) => format!("path like {pattern}"),
    });
    parts.extend(source.method.iter().map(|method| format!("method {method}")));
    parts.extend(source.headers.iter().map(|header| value("header", header)));
    parts.extend(source.query.iter().map(|parameter| value("query parameter", parameter)));
    parts.join(", ")
}

fn value(what: &str, source: &ValueMatch) -> String {
    compared(&format!("{what} {}", source.name), &source.value)
}

fn compared(what: &str, wanted: &TextMatch) -> String {
    match wanted {
        TextMatch::Exact(text) => format!("{what} = {text}"),
        TextMatch::Regex(pattern) => format!("{what} like {pattern}"),
    }
}

/// `interface = org.example.Greeter, version like 2[.].*, attachment user = a, argument 0 = b`.
pub fn dubbo_matched(source: &DubboMatch) -> String {
    let named = [
        ("interface", &source.interface),
        ("group", &source.group),
        ("version", &source.version),
        ("method", &source.method),
    ];
    let mut parts: Vec<String> = named
        .into_iter()
        .filter_map(|(what, wanted)| Some(compared(what, wanted.as_ref()?)))
        .collect();
    parts.extend(source.attachments.iter().map(|wanted| value("attachment", wanted)));
    parts.extend(source.arguments.count.map(|count| format!("arguments = {count}")));
    let values = source.arguments.values.iter();
    parts.extend(values.map(|wanted| compared(&format!("argument {}", wanted.index), &wanted.value)));
    if parts.is_empty() {
        return "every call".to_owned();
    }
    parts.join(", ")
}

/// `name.namespace:port`.
pub fn backend(source: &BackendRef) -> String {
    let mut text = source.name.to_string();
    if let Some(namespace) = &source.namespace {
        text.push('.');
        text.push_str(namespace);
    }
    if let Some(port) = source.port {
        text.push_str(&format!(":{port}"));
    }
    text
}

/// What a filter does.
pub fn filter(source: &Filter) -> String {
    match source {
        Filter::RequestHeaders(edits) => format!("request headers: {}", header_edits(edits)),
        Filter::ResponseHeaders(edits) => format!("answer headers: {}", header_edits(edits)),
        Filter::Rewrite(rewrite) => {
            let host = rewrite.hostname.as_ref().map(|host| format!("host becomes {host}"));
            let path = rewrite.path.as_ref().map(path_rewrite);
            format!(
                "rewrite: {}",
                host.into_iter().chain(path).collect::<Vec<_>>().join(", ")
            )
        }
        Filter::Redirect(redirect) => {
            let mut parts = vec![format!("status {}", redirect.status)];
            parts.extend(redirect.scheme.iter().map(|scheme| format!("scheme {scheme}")));
            parts.extend(redirect.hostname.iter().map(|host| format!("host {host}")));
            parts.extend(redirect.port.iter().map(|port| format!("port {port}")));
            parts.extend(redirect.path.iter().map(path_rewrite));
            format!("redirect: {}", parts.join(", "))
        }
        Filter::Mirror(mirror) => mirrored(mirror),
        Filter::Transcode(transcoding) => format!("JSON to Dubbo: {}", transcoding.name),
    }
}

fn mirrored(mirror: &Mirror) -> String {
    let (numerator, denominator) = mirror.fraction;
    format!("mirror: {numerator} of {denominator} to {}", backend(&mirror.backend))
}

/// `fault: 10 of 100 wait 200ms, 1 of 100 are answered 80`.
pub fn dubbo_filter(source: &DubboFilter) -> String {
    match source {
        DubboFilter::Mirror(mirror) => mirrored(mirror),
        DubboFilter::Transcode(transcoding) => format!("Dubbo to HTTP: {}", transcoding.name),
        DubboFilter::Fault(fault) => {
            let delay = fault
                .delay
                .map(|(delay, (part, all))| format!("{part} of {all} wait {delay:?}"));
            let abort = fault
                .abort
                .map(|(status, (part, all))| format!("{part} of {all} are answered {status}"));
            let parts: Vec<String> = delay.into_iter().chain(abort).collect();
            format!("fault: {}", parts.join(", "))
        }
    }
}

fn header_edits(edits: &HeaderEdits) -> String {
    let set = edits.set.iter().map(|(name, value)| format!("set {name}: {value}"));
    let add = edits.add.iter().map(|(name, value)| format!("add {name}: {value}"));
    let remove = edits.remove.iter().map(|name| format!("remove {name}"));
    set.chain(add).chain(remove).collect::<Vec<_>>().join(", ")
}

fn path_rewrite(rewrite: &PathRewrite) -> String {
    match rewrite {
        PathRewrite::Full(path) => format!("path becomes {path}"),
        PathRewrite::Prefix { matched, replacement } => {
            format!("prefix {} becomes {}", or_root(matched), or_root(replacement))
        }
    }
}

/// Prefixes are kept without trailing slash, so the root is empty.
fn or_root(prefix: &str) -> &str {
    if prefix.is_empty() { "/" } else { prefix }
}
