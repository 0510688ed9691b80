//! Explain: which listener, route, filters and endpoints a request would meet, and why not others.
//!
//! It asks the same compiled tables that calls ask, so it cannot disagree with them; only texts come from the snapshot.
//! A URL with the scheme `dubbo` is a call of Dubbo's: `dubbo` explains it.
//! Used by `landfall explain` and by the admin API. Next on the path: `words` puts matches and filters into words.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use landfall_model::rules::{Filter, HttpRoute, RouteRule};
use serde::Deserialize;

use crate::{
    authorize::Asked,
    call::{Call, Scheme, host_of},
    filter::Target,
    listen::head::check_path,
    moment::Moment,
    route::{BackendSlot, Rule, Where, table::Lost},
    runtime::{Matched, PortScope, Runtime, Selected},
};

mod dubbo;
mod text;
mod view;
mod words;

pub use view::{BackendView, Explanation, OtherView, Outcome, RequestView, RouteView};

/// A request to explain.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplainRequest {
    /// Upper case. Default GET.
    #[serde(default = "get")]
    pub method: String,
    /// `http://host:port/path?query`, or `/path?query` with a `Host` header; for Dubbo
    /// `dubbo://host:port/interface?version=1.0.0&method=hello&attachment.key=value`.
    pub url: String,
    /// Names and values. A `Host` here wins over the URL's, as with curl.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Why a request cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// The URL.
    #[error("`{0}` is no URL; use http://host:port/path or /path")]
    Url(String),
    /// What is asked of a Dubbo call.
    #[error(
        "`{0}` tells nothing of a Dubbo call; write interface, group, version, method, arguments=COUNT, argument.0=TEXT or \
         attachment.NAME=TEXT, as in dubbo://host:20880/org.example.Greeter?version=1.0.0&method=hello"
    )]
    Parameter(String),
    /// A header's name or value.
    #[error("`{0}` is no header")]
    Header(String),
}

/// Others that are told.
const MOST_OTHERS: usize = 10;

/// Explains what would happen to a request.
///
/// # Errors
/// The request is no request.
pub fn explain(runtime: &Runtime, request: &ExplainRequest) -> Result<Explanation, InvalidRequest> {
    let invalid = || InvalidRequest::Url(request.url.clone());
    let uri: Uri = request.url.parse().map_err(|_| invalid())?;
    if uri.scheme_str() == Some("dubbo") {
        return dubbo::explain(runtime, &uri);
    }
    let scheme = match uri.scheme_str() {
        None | Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(_) => return Err(invalid()),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let pair = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_str(value).ok());
        let (name, value) = pair.ok_or_else(|| InvalidRequest::Header(format!("{name}: {value}")))?;
        headers.append(name, value);
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
        .to_owned();
    let named = headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or(&authority);
    let host = host_of(named).into_owned();
    let asked = uri
        .port_u16()
        .or_else(|| uri.authority().map(|_| scheme.well_known_port()));
    let mut notes = Vec::new();
    let (port, scope) = find_scope(runtime, asked, uri.port().is_some(), scheme, &mut notes);
    let call = Call {
        method: &request.method,
        scheme,
        host: &host,
        path: uri.path(),
        query: uri.query(),
        headers: &headers,
        client: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        peer: None,
    };
    // A client asks for the URL's host in its handshake, unless that is an address.
    let sni = host_of(&authority);
    let sni = (scheme == Scheme::Https && !sni.is_empty() && sni.parse::<IpAddr>().is_err() && !sni.starts_with('['))
        .then_some(&*sni);
    let view = RequestView {
        method: request.method.clone(),
        scheme: scheme.as_str(),
        host: host.clone(),
        port,
        path: call.path.to_owned(),
        query: call.query.map(str::to_owned),
    };
    Ok(explain_call(runtime, scope, &call, sni, view, notes))
}

/// The listeners of the port asked. A URL without port means the first listener's if 80 or 443 has none.
fn find_scope<'r>(
    runtime: &'r Runtime,
    asked: Option<u16>,
    explicit: bool,
    scheme: Scheme,
    notes: &mut Vec<String>,
) -> (u16, Option<&'r PortScope>) {
    // Any address: a scope for one address alone is found by none but that address.
    let scope = |port| {
        let addresses = runtime
            .snapshot()
            .listeners
            .iter()
            .flat_map(|listener| listener.addresses.iter().copied());
        std::iter::once(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
            .chain(addresses)
            .find_map(|local| runtime.scope(port, local, scheme).filter(|scope| !scope.is_empty()))
    };
    let wanted = asked.unwrap_or(scheme.well_known_port());
    if let Some(found) = scope(wanted) {
        return (wanted, Some(found));
    }
    if !explicit
        && let Some(port) = runtime
            .listeners()
            .iter()
            .map(|listener| listener.port)
            .find(|port| scope(*port).is_some())
    {
        notes.push(format!(
            "the URL names no port, so port {port} of the first listener is taken"
        ));
        return (port, scope(port));
    }
    (wanted, None)
}

fn explain_call(
    runtime: &Runtime,
    scope: Option<&PortScope>,
    call: &Call<'_>,
    sni: Option<&str>,
    request: RequestView,
    notes: Vec<String>,
) -> Explanation {
    let listener = scope.and_then(|scope| scope.listener(call.host));
    let mut explanation = Explanation {
        outcome: Outcome::Forwarded,
        listener: listener.map(|listener| listener.id.to_string()),
        route: None,
        backends: Vec::new(),
        others: Vec::new(),
        more_others: 0,
        notes,
        request,
    };
    let answered = |status, why: String| Outcome::Answered { status, why };
    // The same check that every request passes before a route is asked.
    if let Err(refusal) = check_path(call.path.as_bytes()) {
        explanation.outcome = answered(refusal.status, refusal.why.into());
        return explanation;
    }
    let selected = scope.map_or(Selected::NotFound, |scope| scope.select(call, sni));
    let winner = match selected {
        Selected::Route(matched) => Some(matched),
        Selected::NotFound | Selected::Misdirected => None,
    };
    if let Some(listener) = listener {
        others(runtime, &listener.routes.trace(call), winner, &mut explanation);
    }
    explanation.outcome = match (scope, listener, selected) {
        (None, ..) => answered(
            404,
            format!(
                "no {} listener on port {}",
                call.scheme.as_str(),
                explanation.request.port
            ),
        ),
        (_, None, _) => answered(
            404,
            format!("no listener on this port answers for host `{}`", call.host),
        ),
        (_, _, Selected::Misdirected) => answered(
            421,
            "server name of the connection and host lead to different listeners".into(),
        ),
        (_, _, Selected::NotFound) => answered(404, "no match of any route on this listener takes it".into()),
        (_, _, Selected::Route(matched)) => take_route(runtime, call, matched, &mut explanation),
    };
    explanation
}

/// Tells the rule, its filters and backends.
fn take_route(runtime: &Runtime, call: &Call<'_>, matched: Matched<'_>, explanation: &mut Explanation) -> Outcome {
    let rule = matched.rule;
    let source = source(runtime, rule);
    explanation.route = Some(RouteView {
        route: rule.route.to_string(),
        rule: rule.index,
        name: rule.name.as_deref().map(str::to_owned),
        matched: words_of(source, matched.match_index),
        filters: source.map(|(_, rule)| in_words(&rule.filters)).unwrap_or_default(),
    });
    if let Some(redirection) = rule.filters.redirect(call, matched.listener.port) {
        return Outcome::Redirected {
            status: redirection.status,
            location: redirection.location,
        };
    }
    let total: u64 = rule.backends().iter().map(|slot| u64::from(slot.weight)).sum();
    for (index, slot) in rule.backends().iter().enumerate() {
        let filters = source
            .and_then(|(_, rule)| rule.backends.get(index))
            .map(|backend| in_words(&backend.filters));
        explanation.backends.push(backend_view(
            runtime,
            call,
            matched,
            slot,
            total,
            filters.unwrap_or_default(),
        ));
    }
    if total == 0 {
        return Outcome::Answered {
            status: 500,
            why: "the rule has no backend with a weight".into(),
        };
    }
    if let Some(why) = denied(explanation) {
        return Outcome::Answered { status: 403, why };
    }
    let chosen = |wanted: &dyn Fn(&BackendView) -> bool| {
        explanation
            .backends
            .iter()
            .any(|backend| backend.share > 0.0 && wanted(backend))
    };
    if chosen(&|backend| {
        backend
            .cluster
            .as_ref()
            .is_some_and(|cluster| !cluster.endpoints.is_empty())
    }) {
        if chosen(&|backend| backend.missing.is_some()) {
            explanation
                .notes
                .push("some backends do not exist; their share of calls is answered 500".into());
        }
        if chosen(&|backend| {
            backend
                .cluster
                .as_ref()
                .is_some_and(|cluster| cluster.endpoints.is_empty())
        }) {
            explanation
                .notes
                .push("some backends have no endpoint; their share of calls is answered 503".into());
        }
        return Outcome::Forwarded;
    }
    let empty = chosen(&|backend| backend.cluster.is_some());
    Outcome::Answered {
        status: if empty { 503 } else { 500 },
        why: if empty {
            "no backend has an endpoint"
        } else {
            "no backend exists"
        }
        .into(),
    }
}

/// Why policies deny the call to every backend; if only to some, that is noted.
fn denied(explanation: &mut Explanation) -> Option<String> {
    let mut chosen = explanation.backends.iter().filter(|backend| backend.share > 0.0);
    let why = chosen.clone().find_map(|backend| backend.denied.clone())?;
    let is_all = chosen.all(|backend| backend.denied.is_some());
    let note = "policies are asked for a client on this host, 127.0.0.1";
    explanation.notes.push(note.to_owned());
    if is_all {
        return Some(format!("denied: {why}"));
    }
    let note = format!("the share of some backends is denied: {why}");
    explanation.notes.push(note);
    None
}

fn backend_view(
    runtime: &Runtime,
    call: &Call<'_>,
    matched: Matched<'_>,
    slot: &BackendSlot,
    total: u64,
    filters: Vec<String>,
) -> BackendView {
    let mut target = Target::default();
    let mut headers = HeaderMap::new();
    matched.rule.filters.on_request(call.path, &mut headers, &mut target);
    slot.filters.on_request(call.path, &mut headers, &mut target);
    let unchanged = || {
        call.query
            .map_or_else(|| call.path.to_owned(), |query| format!("{}?{query}", call.path))
    };
    let host = target
        .host
        .as_ref()
        .and_then(|host| host.to_str().ok())
        .unwrap_or(call.host);
    BackendView {
        backend: words::backend(&slot.backend),
        share: if total == 0 {
            0.0
        } else {
            f64::from(slot.weight) * 100.0 / total as f64
        },
        host: host.to_owned(),
        path: target.path_and_query(call.query).unwrap_or_else(unchanged),
        filters,
        cluster: runtime.cluster(&slot.to).map(|cluster| cluster.view(Moment::now())),
        missing: match &slot.to {
            Where::Missing(why) => Some(why.to_string()),
            Where::Cluster(_) => None,
        },
        // What becomes a call of Dubbo is judged when its method is known.
        denied: match matched.rule.filters.transcoder() {
            Some(_) => None,
            None => runtime
                .cluster(&slot.to)
                .and_then(|cluster| runtime.denial(&cluster.id, &Asked::http(call))),
        },
        redirect: slot
            .filters
            .redirect(call, matched.listener.port)
            .map(|redirection| redirection.location),
    }
}

/// Tells why other matches did not take the call: those whose path fits first, all in the order of precedence.
fn others(
    runtime: &Runtime,
    traced: &[crate::route::table::Traced<'_>],
    winner: Option<Matched<'_>>,
    explanation: &mut Explanation,
) {
    let is_winner = |rule: &Rule, match_index| {
        winner.is_some_and(|winner| std::ptr::eq(&**winner.rule, rule) && winner.match_index == match_index)
    };
    let mut losers: Vec<_> = traced
        .iter()
        .filter(|traced| !is_winner(traced.rule, traced.match_index))
        .collect();
    losers.sort_by_key(|traced| traced.lost == Some(Lost::Path));
    explanation.more_others = losers.len().saturating_sub(MOST_OTHERS);
    for traced in losers.into_iter().take(MOST_OTHERS) {
        explanation.others.push(OtherView {
            route: traced.rule.route.to_string(),
            rule: traced.rule.index,
            matches: words_of(source(runtime, traced.rule), traced.match_index),
            why: match traced.lost {
                None => "it takes the request too, but comes later in precedence".to_owned(),
                Some(Lost::Path) => "its path does not match".to_owned(),
                Some(Lost::Condition(broken)) => broken.to_string(),
            },
        });
    }
}

fn source<'r>(runtime: &'r Runtime, rule: &Rule) -> Option<(&'r HttpRoute, &'r RouteRule)> {
    let route = runtime.snapshot().routes.iter().find(|route| route.id == rule.route)?;
    Some((route, route.rules.get(rule.index)?))
}

fn words_of(source: Option<(&HttpRoute, &RouteRule)>, match_index: usize) -> String {
    let found = source.and_then(|(route, rule)| Some((route, rule.matches.get(match_index)?)));
    found
        .map(|(route, source)| words::matched(route, source))
        .unwrap_or_default()
}

fn in_words(filters: &[Filter]) -> Vec<String> {
    filters.iter().map(words::filter).collect()
}

#[cfg(test)]
mod tests;
