//! The OpenAPI document of all methods that can be called with JSON.

use landfall_codec::mapping::{
    Json, Method, Service,
    openapi::{Exposed, Place, document},
};
use landfall_model::rules::{HttpMatch, ParameterSource, PathMatch, PathPart, TranscodedMethod};

use super::{Transcoder, known::Known};

/// A method with what it is reached by.
struct Reached<'a> {
    service: &'a Service,
    method: &'a Method,
    verb: &'a str,
    path: String,
    places: Vec<(&'a str, Place<'a>)>,
}

/// A transcoding, one of the clusters that it calls, and how its rule is reached.
pub(crate) struct Told<'a> {
    pub(crate) transcoder: &'a Transcoder,
    pub(crate) cluster: &'a landfall_model::ClusterId,
    pub(crate) matches: &'a [HttpMatch],
}

/// The document. A method whose path cannot be told, since its route's is a pattern, is left out.
pub(crate) fn describe(all: &[Told<'_>]) -> Json {
    let learnt: Vec<_> = all
        .iter()
        .map(|told| (told, told.transcoder.learnt.load().get(told.cluster).cloned()))
        .collect();
    let mut reached = Vec::new();
    for (told, learnt) in &learnt {
        if let Some(Ok(Some(known))) = learnt.as_deref().map(|learnt| &learnt.known) {
            reach(told, known, &mut reached);
        }
    }
    let exposed: Vec<Exposed<'_>> = reached
        .iter()
        .map(|one| Exposed {
            service: one.service,
            method: one.method,
            verb: one.verb,
            path: &one.path,
            places: &one.places,
        })
        .collect();
    document("Dubbo services", "1", &exposed)
}

fn reach<'a>(told: &Told<'a>, known: &'a Known, reached: &mut Vec<Reached<'a>>) {
    let rules = &told.transcoder.source.methods;
    if rules.is_empty() {
        let service: &Service = &known.service;
        for method in &service.methods {
            let overloaded = service.methods.iter().filter(|other| other.name == method.name).count() > 1;
            let name = if overloaded {
                method.signature()
            } else {
                method.name.clone()
            };
            for path in paths(told.matches, &name) {
                reached.push(Reached {
                    service,
                    method,
                    verb: "POST",
                    path,
                    places: Vec::new(),
                });
            }
        }
    }
    for (place, rule) in rules.iter().enumerate() {
        let service: &Service = known.service(Some(place));
        let bare = rule.method.replace(' ', "");
        let name = bare.split('(').next().unwrap_or_default();
        let meant = |method: &&Method| method.name == name && (bare == name || method.signature() == bare);
        let own = match &rule.path {
            Some(parts) => vec![written(parts)],
            None => paths(told.matches, name),
        };
        for method in service.methods.iter().filter(meant) {
            for path in &own {
                reached.extend(rule.verbs.iter().map(|verb| Reached {
                    service,
                    method,
                    verb,
                    path: path.clone(),
                    places: places(rule),
                }));
            }
        }
    }
}

fn places(rule: &TranscodedMethod) -> Vec<(&str, Place<'_>)> {
    let parameters = rule.parameters.iter().flatten();
    parameters
        .filter_map(|parameter| {
            let required = parameter.default.is_none();
            let place = match &parameter.from {
                ParameterSource::Query(name) => Place::Query(name, required),
                ParameterSource::Header(name) => Place::Header(name, required),
                ParameterSource::Path | ParameterSource::Body => return None,
            };
            Some((&*parameter.name, place))
        })
        .collect()
}

fn written(parts: &[PathPart]) -> String {
    let part = |part: &PathPart| match part {
        PathPart::Text(text) => format!("/{text}"),
        PathPart::Parameter(name) => format!("/{{{name}}}"),
    };
    parts.iter().map(part).collect()
}

/// The paths by which a route is reached that end in this name.
fn paths(matches: &[HttpMatch], name: &str) -> Vec<String> {
    let mut paths: Vec<String> = matches
        .iter()
        .filter_map(|matched| match &matched.path {
            PathMatch::Prefix(prefix) => Some(format!("{prefix}/{name}")),
            PathMatch::Exact(path) => (path.rsplit('/').next() == Some(name)).then(|| path.to_string()),
            PathMatch::Regex(_) => None,
        })
        .collect();
    paths.sort();
    paths.dedup();
    paths
}
