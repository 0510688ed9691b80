//! A call of Dubbo's, explained by the tables that its listener asks.
//!
//! ```text
//!  dubbo://host:20880/org.example.Greeter?version=1.0.0&method=hello&argument.0=Ann&attachment.user=7
//!     └─▶ a call in Hessian2, as a consumer would send it ─▶ read as any call ─▶ DubboTable ─▶ words
//! ```
//!
//! Statuses are Dubbo's own; docs/dubbo.md has the table.

use std::net::{IpAddr, Ipv4Addr};

use http::Uri;
use landfall_codec::{
    dubbo2::{NewRequest, Request, Serialization, Status},
    hessian2::{Heap, Limits, Value},
};
use landfall_model::rules::{DubboRule as Source, Family, Listener};

use super::{BackendView, Explanation, InvalidRequest, MOST_OTHERS, OtherView, Outcome, RequestView, RouteView, words};
use crate::{
    authorize,
    dubbo::View,
    moment::Moment,
    route::{
        Where,
        dubbo::{DubboRule, DubboTable, Facts},
        query,
    },
    runtime::Runtime,
};

/// Where Dubbo's providers listen unless told otherwise.
const WELL_KNOWN_PORT: u16 = 20880;
/// As many parameters as a Java method may have.
const MOST_ARGUMENTS: usize = 255;

/// Explains what would happen to a call.
pub(super) fn explain(runtime: &Runtime, uri: &Uri) -> Result<Explanation, InvalidRequest> {
    let asked = Asked::read(uri)?;
    let request = asked.request().ok_or_else(|| InvalidRequest::Url(uri.to_string()))?;
    let mut notes = Vec::new();
    let (port, listener) = find_listener(runtime, uri, &mut notes);
    let mut explanation = Explanation {
        outcome: Outcome::Forwarded,
        listener: listener.map(|listener| listener.id.to_string()),
        route: None,
        backends: Vec::new(),
        others: Vec::new(),
        more_others: 0,
        notes,
        request: RequestView {
            method: asked.method.clone(),
            scheme: "dubbo",
            host: uri.host().unwrap_or_default().to_owned(),
            port,
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
        },
    };
    let table = listener.and_then(|listener| {
        let own = listener.addresses.first().copied();
        runtime.dubbo(port, own.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    });
    explanation.outcome = match (table, request.identity()) {
        (None, _) => answered(
            Status::SERVICE_NOT_FOUND,
            format!("no listener of protocol Dubbo on port {port}"),
        ),
        (_, Err(error)) => answered(Status::BAD_REQUEST, error.to_string()),
        (Some(table), Ok(identity)) => {
            let method = request.invoked().map(|method| method.to_string()).unwrap_or_default();
            let facts = Facts {
                identity,
                method: &method,
                request: &request,
            };
            judge(runtime, table, &facts, &mut explanation)
        }
    };
    Ok(explanation)
}

/// What the URL says of the call.
#[derive(Debug, Default)]
struct Asked {
    path: String,
    version: Option<String>,
    method: String,
    arguments: Vec<Option<String>>,
    attachments: Vec<(String, String)>,
}

impl Asked {
    fn read(uri: &Uri) -> Result<Self, InvalidRequest> {
        let path = plain(uri.path().trim_start_matches('/'));
        if path.is_empty() {
            return Err(InvalidRequest::Parameter(uri.to_string()));
        }
        let mut asked = Self {
            attachments: vec![("path".to_owned(), path.clone())],
            path,
            ..Self::default()
        };
        let mut interface = asked.path.clone();
        let pairs = uri.query().unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (plain(key), plain(value));
            let unknown = || InvalidRequest::Parameter(pair.to_owned());
            let number = |text: &str, least: usize| {
                let number = text.parse::<usize>().ok();
                let number = number.and_then(|number| number.checked_add(least));
                number.filter(|count| *count <= MOST_ARGUMENTS).ok_or_else(unknown)
            };
            match (key.as_str(), key.split_once('.')) {
                ("interface", _) => interface = value,
                ("method", _) => asked.method = value,
                ("version", _) => {
                    asked.attachments.push((key, value.clone()));
                    asked.version = Some(value);
                }
                ("group", _) => asked.attachments.push((key, value)),
                ("arguments", _) => {
                    let count = number(&value, 0)?;
                    asked.arguments.resize(count.max(asked.arguments.len()), None);
                }
                (_, Some(("argument", index))) => {
                    let count = number(index, 1)?;
                    asked.arguments.resize(count.max(asked.arguments.len()), None);
                    if let Some(argument) = asked.arguments.get_mut(count - 1) {
                        *argument = Some(value);
                    }
                }
                (_, Some(("attachment", name))) => asked.attachments.push((name.to_owned(), value)),
                _ => return Err(unknown()),
            }
        }
        asked.attachments.push(("interface".to_owned(), interface));
        Ok(asked)
    }

    /// The call, read back from its bytes as a listener reads it.
    fn request(&self) -> Option<Request> {
        let attachments: Vec<_> = self.attachments.iter().map(|(key, value)| (&**key, &**value)).collect();
        let types = "Ljava/lang/String;".repeat(self.arguments.len());
        let new = NewRequest {
            path: &self.path,
            version: self.version.as_deref(),
            method: &self.method,
            types: &types,
            attachments: &attachments,
        };
        let arguments = self.arguments.iter();
        let arguments: Vec<_> = arguments
            .map(|text| text.as_deref().map_or(Value::Null, Value::from))
            .collect();
        let body = new.encode(&arguments, &Heap::new()).ok()?;
        Request::read(Serialization::HESSIAN2, body, Limits::default()).ok()
    }
}

fn plain(escaped: &str) -> String {
    let bytes: Vec<u8> = query::decode(escaped).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn answered(status: Status, why: impl Into<String>) -> Outcome {
    Outcome::Answered {
        status: status.0.into(),
        why: why.into(),
    }
}

/// The listener of the port asked, the one of the host's own address before others. A URL without port means the first
/// listener's if 20880 has none.
fn find_listener<'r>(runtime: &'r Runtime, uri: &Uri, notes: &mut Vec<String>) -> (u16, Option<&'r Listener>) {
    let listeners = || {
        let all = runtime.snapshot().listeners.iter();
        all.filter(|listener| listener.family == Family::Dubbo)
    };
    let wanted = uri.port_u16().unwrap_or(WELL_KNOWN_PORT);
    let host: Option<IpAddr> = uri.host().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
    let here = || listeners().filter(|listener| listener.port == wanted);
    let own = here().find(|listener| host.is_some_and(|host| listener.addresses.contains(&host)));
    if let Some(found) = own.or_else(|| here().next()) {
        return (wanted, Some(found));
    }
    match listeners().next() {
        Some(first) if uri.port().is_none() => {
            let port = first.port;
            notes.push(format!(
                "the URL names no port, so port {port} of the first listener for Dubbo is taken"
            ));
            (port, Some(first))
        }
        _ => (wanted, None),
    }
}

fn judge(runtime: &Runtime, table: &DubboTable, facts: &Facts<'_>, explanation: &mut Explanation) -> Outcome {
    let traced = table.trace(facts);
    let winner = traced.iter().position(|traced| traced.broken.is_none());
    let losers: Vec<_> = (0..).zip(&traced).filter(|(place, _)| Some(*place) != winner).collect();
    explanation.more_others = losers.len().saturating_sub(MOST_OTHERS);
    for (_, traced) in losers.into_iter().take(MOST_OTHERS) {
        explanation.others.push(OtherView {
            route: name(traced.rule),
            rule: traced.rule.rule.index,
            matches: words_of(runtime, traced.rule, traced.match_index),
            why: match traced.broken {
                None => "it takes the call too, but comes later in precedence".to_owned(),
                Some(broken) => broken.to_string(),
            },
        });
    }
    let Some(winner) = winner.and_then(|place| traced.get(place)) else {
        return answered(
            Status::SERVICE_NOT_FOUND,
            "no match of any route on this listener takes it",
        );
    };
    explanation.route = Some(RouteView {
        route: name(winner.rule),
        rule: winner.rule.rule.index,
        name: winner.rule.rule.name.as_deref().map(str::to_owned),
        matched: words_of(runtime, winner.rule, winner.match_index),
        filters: source(runtime, winner.rule)
            .into_iter()
            .flat_map(|source| source.filters.iter().map(words::dubbo_filter))
            .collect(),
    });
    take_rule(runtime, winner.rule, facts, explanation)
}

/// Tells the backends, and what becomes of the call.
fn take_rule(runtime: &Runtime, rule: &DubboRule, facts: &Facts<'_>, explanation: &mut Explanation) -> Outcome {
    if let Some(refused) = rule.refuses(Some(facts)) {
        return answered(Status::OK, format!("an exception: {refused}"));
    }
    if let Some(status) = rule.faults.ends_all() {
        return answered(status, "a fault filter of the rule answers every call");
    }
    let slots = rule.rule.backends();
    let total: u64 = slots.iter().map(|slot| u64::from(slot.weight)).sum();
    if total == 0 {
        return answered(Status::SERVICE_ERROR, "the rule has no backend with a weight");
    }
    let mut path = facts.identity.path.to_owned();
    if let Some(mapping) = &rule.mapping {
        let Some((verb, template)) = mapping.requests(facts.method).next() else {
            let what = format!(
                "an exception: no request of HTTP stands for the method `{}`",
                facts.method
            );
            return answered(Status::OK, what);
        };
        let note = format!(
            "the call becomes {verb} {template}; policies that ask for more than the call are judged by that request"
        );
        explanation.notes.push(note);
        path = template;
    }
    let method = authorize::DubboAsked::Method {
        interface: facts.identity.interface,
        method: facts.method,
    };
    let judged = authorize::Asked::dubbo(Ipv4Addr::LOCALHOST.into(), method);
    let attachments = View(Some(&facts.request.attachments));
    for slot in slots {
        let cluster = runtime.cluster(&slot.to).map(|cluster| {
            let (tags, mut view) = (cluster.tag_gate(&attachments), cluster.view(Moment::now()));
            let all = view.endpoints.len();
            view.endpoints.retain(|endpoint| tags.admits(endpoint.tag.as_deref()));
            let others = all - view.endpoints.len();
            if others > 0 {
                let note = format!(
                    "by their tags, {others} of the {all} endpoints of {} are not for this call",
                    view.cluster
                );
                explanation.notes.push(note);
            }
            view
        });
        explanation.backends.push(BackendView {
            backend: words::backend(&slot.backend),
            share: f64::from(slot.weight) * 100.0 / total as f64,
            host: String::new(),
            path: path.clone(),
            filters: Vec::new(),
            cluster,
            missing: match &slot.to {
                Where::Missing(why) => Some(why.to_string()),
                Where::Cluster(_) => None,
            },
            denied: runtime
                .cluster(&slot.to)
                .and_then(|cluster| runtime.denial(&cluster.id, &judged)),
            redirect: None,
        });
    }
    if let Some(why) = super::denied(explanation) {
        return answered(Status::OK, format!("an exception: {why}"));
    }
    let chosen = || explanation.backends.iter().filter(|backend| backend.share > 0.0);
    let is_empty = |backend: &&BackendView| {
        let cluster = backend.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.endpoints.is_empty())
    };
    let (all, missing, empty) = (
        chosen().count(),
        chosen().filter(|backend| backend.cluster.is_none()).count(),
        chosen().filter(is_empty).count(),
    );
    if missing == all {
        return answered(Status::SERVICE_ERROR, "no backend exists");
    }
    if missing + empty == all {
        return answered(Status::SERVER_ERROR, "no backend has an endpoint");
    }
    if missing > 0 {
        let note = "some backends do not exist; their share of calls is answered 70";
        explanation.notes.push(note.into());
    }
    if empty > 0 {
        let note = "some backends have no endpoint; their share of calls is answered 80";
        explanation.notes.push(note.into());
    }
    Outcome::Forwarded
}

/// Rules carry the label of their figures, `dubbo:namespace/name`.
fn name(rule: &DubboRule) -> String {
    let label = &*rule.rule.route;
    label.strip_prefix("dubbo:").unwrap_or(label).to_owned()
}

fn source<'r>(runtime: &'r Runtime, rule: &DubboRule) -> Option<&'r Source> {
    let id = name(rule);
    let route = runtime.snapshot().dubbo_routes.iter().find(|route| *route.id == *id)?;
    route.rules.get(rule.rule.index)
}

fn words_of(runtime: &Runtime, rule: &DubboRule, match_index: usize) -> String {
    let source = source(runtime, rule);
    let matched = source.and_then(|source| source.matches.get(match_index));
    matched.map(words::dubbo_matched).unwrap_or_default()
}

#[cfg(test)]
mod tests;
