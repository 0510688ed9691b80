//! Which method a request means, by its path and verb, and the arguments that it brings as texts.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName};
use landfall_codec::mapping::Problem;
use landfall_model::rules::{ParameterSource, PathPart, TranscodedMethod, TranscodedParameter, Transcoding};

use crate::route::query;

/// What is looked at of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// The HTTP method.
    pub(crate) verb: &'a str,
    /// As it was sent.
    pub(crate) path: &'a str,
    /// As it was sent.
    pub(crate) query: Option<&'a str>,
    /// All of them.
    pub(crate) headers: &'a HeaderMap,
}

/// Why a request is no call, and which verbs would have been one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The answer.
    pub(crate) problem: Box<Problem>,
    /// For 405: the verbs, joined by commas.
    pub(crate) allow: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem::new(status, detail)),
            allow: None,
        }
    }

    fn verbs(verb: &str, allowed: &[&str]) -> Self {
        let allow = allowed.join(", ");
        let detail = format!("{verb} is not for this path; use {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(405, detail)
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            allow: None,
        }
    }
}

/// What a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen<'t> {
    /// The method, perhaps with its parameter types.
    pub(super) method: Cow<'t, str>,
    /// The place of its rule; `None` where every method can be called.
    pub(super) rule: Option<usize>,
    /// Names of parameters, or places from 0, and the texts for them.
    pub(super) texts: Vec<(String, String)>,
    /// The parameters, if the rule says which they are.
    pub(super) parameters: Option<&'t [TranscodedParameter]>,
}

/// The rules of a transcoding.
#[derive(Debug)]
pub(super) struct Chooser {
    rules: Box<[Entry]>,
}

#[derive(Debug)]
struct Entry {
    rule: TranscodedMethod,
    /// The headers of its parameters, by the parameters' places.
    headers: Box<[(usize, HeaderName)]>,
}

impl Chooser {
    pub(super) fn compile(source: &Arc<Transcoding>) -> Self {
        let entry = |rule: &TranscodedMethod| Entry {
            headers: rule
                .parameters
                .iter()
                .flatten()
                .enumerate()
                .filter_map(|(place, parameter)| match &parameter.from {
                    ParameterSource::Header(name) => Some((place, name.parse().ok()?)),
                    _ => None,
                })
                .collect(),
            rule: rule.clone(),
        };
        Self {
            rules: source.methods.iter().map(entry).collect(),
        }
    }

    /// What the request means.
    pub(super) fn choose<'t>(&'t self, ask: Ask<'_>) -> Result<Chosen<'t>, Refusal> {
        let segments: Vec<&str> = ask.path.split('/').skip(1).collect();
        if self.rules.is_empty() {
            return any_method(&segments, ask);
        }
        let mut others: Vec<&str> = Vec::new();
        for (place, entry) in self.rules.iter().enumerate() {
            let Some(found) = fits(&entry.rule, &segments) else {
                continue;
            };
            if !entry.rule.verbs.iter().any(|verb| **verb == *ask.verb) {
                others.extend(entry.rule.verbs.iter().map(|verb| &**verb));
                continue;
            }
            return Ok(Chosen {
                texts: entry.texts(found, ask)?,
                method: Cow::Borrowed(&*entry.rule.method),
                rule: Some(place),
                parameters: entry.rule.parameters.as_deref(),
            });
        }
        others.sort_unstable();
        others.dedup();
        Err(match others.is_empty() {
            true => Refusal::new(404, "no method of the service has this path"),
            false => Refusal::verbs(ask.verb, &others),
        })
    }
}

/// Where no rule says otherwise, the last segment is the method. Only POST: whoever follows a link changes nothing by it.
fn any_method<'t>(segments: &[&str], ask: Ask<'_>) -> Result<Chosen<'t>, Refusal> {
    if ask.verb != "POST" {
        return Err(Refusal::verbs(ask.verb, &["POST"]));
    }
    let method = decoded(segments.last().copied().unwrap_or_default())?;
    if method.is_empty() {
        return Err(Refusal::new(404, "the path does not end in the name of a method"));
    }
    Ok(Chosen {
        method: Cow::Owned(method),
        rule: None,
        texts: pairs(ask.query).collect::<Result<_, _>>()?,
        parameters: None,
    })
}

/// The parameters of the path, still escaped, if the rule takes it.
fn fits<'r, 'a>(rule: &'r TranscodedMethod, segments: &[&'a str]) -> Option<Vec<(&'r str, &'a str)>> {
    let Some(parts) = &rule.path else {
        let name = rule.method.split('(').next().unwrap_or_default();
        return (segments.last().copied() == Some(name)).then(Vec::new);
    };
    if parts.len() != segments.len() {
        return None;
    }
    let mut found = Vec::new();
    for (part, segment) in parts.iter().zip(segments) {
        match part {
            PathPart::Text(text) if **text == **segment => {}
            PathPart::Parameter(name) if !segment.is_empty() => found.push((&**name, *segment)),
            _ => return None,
        }
    }
    Some(found)
}

impl Entry {
    fn texts(&self, in_path: Vec<(&str, &str)>, ask: Ask<'_>) -> Result<Vec<(String, String)>, Refusal> {
        let mut texts = Vec::new();
        for (name, escaped) in &in_path {
            texts.push(((*name).to_owned(), decoded(escaped)?));
        }
        let unknown = |name: &str| Refusal::new(400, format!("the query parameter `{name}` is not known here"));
        let Some(parameters) = &self.rule.parameters else {
            for pair in pairs(ask.query) {
                let (name, text) = pair?;
                if in_path.iter().any(|(known, _)| *known == name) {
                    return Err(unknown(&name));
                }
                texts.push((name, text));
            }
            return Ok(texts);
        };
        for pair in pairs(ask.query) {
            let (name, text) = pair?;
            let of_query =
                |wanted: &&TranscodedParameter| matches!(&wanted.from, ParameterSource::Query(own) if **own == *name);
            let wanted = parameters.iter().find(of_query).ok_or_else(|| unknown(&name))?;
            texts.push((wanted.name.to_string(), text));
        }
        for (place, header) in &self.headers {
            let Some(wanted) = parameters.get(*place) else { continue };
            for value in ask.headers.get_all(header) {
                let bad = |_| Refusal::new(400, format!("the header `{header}` is not plain text"));
                let text = value.to_str().map_err(bad)?;
                texts.push((wanted.name.to_string(), text.to_owned()));
            }
        }
        // What must come from one place never comes from the body instead.
        for wanted in parameters {
            let what = match &wanted.from {
                ParameterSource::Body | ParameterSource::Path => continue,
                ParameterSource::Query(name) => format!("query parameter `{name}`"),
                ParameterSource::Header(name) => format!("header `{name}`"),
            };
            if texts.iter().any(|(name, _)| *name == *wanted.name) {
                continue;
            }
            match &wanted.default {
                Some(text) => texts.push((wanted.name.to_string(), text.to_string())),
                None => return Err(Refusal::new(400, format!("the {what} is missing"))),
            }
        }
        Ok(texts)
    }
}

/// The parameters of a query, decoded.
fn pairs(query: Option<&str>) -> impl Iterator<Item = Result<(String, String), Refusal>> + '_ {
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((utf8(query::decode(name))?, utf8(query::decode(text))?))
    })
}

/// A segment of a path, in which `+` is itself.
fn decoded(segment: &str) -> Result<String, Refusal> {
    utf8(query::decode(&segment.replace('+', "%2B")))
}

fn utf8(bytes: impl Iterator<Item = u8>) -> Result<String, Refusal> {
    String::from_utf8(bytes.collect()).map_err(|_| Refusal::new(400, "path or query is not UTF-8"))
}
