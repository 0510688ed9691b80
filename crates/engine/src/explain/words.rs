//! Matches and filters in words.

use landfall_model::rules::{
    BackendRef, Filter, HeaderEdits, HttpMatch, HttpRoute, PathMatch, PathRewrite, TextMatch, ValueMatch,
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
    match &source.value {
        TextMatch::Exact(text) => format!("{what} {} = {text}", source.name),
        TextMatch::Regex(pattern) => format!("{what} {} like {pattern}", source.name),
    }
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
        Filter::Mirror(mirror) => {
            let (numerator, denominator) = mirror.fraction;
            format!("mirror: {numerator} of {denominator} to {}", backend(&mirror.backend))
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
