//! The conditions of a match besides host and path: method, headers, query parameters.

use std::sync::Arc;

use http::HeaderName;
use landfall_model::rules::{HttpMatch, TextMatch, ValueMatch};
use regex::bytes::Regex;

use super::{query, regexes::Regexes};
use crate::call::{Call, HeaderView};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    method: Option<Arc<str>>,
    headers: Box<[(HeaderName, Test)]>,
    query: Box<[(Arc<str>, Test)]>,
}

/// How a value is compared.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Exact(Arc<str>),
    Regex(Regex),
}

impl Conditions {
    /// Compiles the conditions of a match.
    ///
    /// # Errors
    /// What cannot be compiled, in words. The configuration has checked this before, so it is our own mistake.
    pub fn compile(source: &HttpMatch, regexes: &mut Regexes, previous: Option<&Regexes>) -> Result<Self, String> {
        let mut test = |source: &ValueMatch| Test::compile(&source.value, regexes, previous);
        let mut headers: Vec<(HeaderName, Test)> = Vec::with_capacity(source.headers.len());
        for header in &source.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| format!("`{}` is no header name", header.name))?;
            // "Subsequent entries with an equivalent header name MUST be ignored."
            if headers.iter().all(|(known, _)| *known != name) {
                headers.push((name, test(header)?));
            }
        }
        let mut query: Vec<(Arc<str>, Test)> = Vec::with_capacity(source.query.len());
        for parameter in &source.query {
            if query.iter().all(|(known, _)| *known != parameter.name) {
                query.push((parameter.name.clone(), test(parameter)?));
            }
        }
        Ok(Self {
            method: source.method.clone(),
            headers: headers.into(),
            query: query.into(),
        })
    }

    /// Whether the call satisfies all of them.
    pub fn hold(&self, call: &Call<'_>) -> bool {
        self.first_broken(call).is_none()
    }

    /// The first condition that the call does not satisfy.
    pub fn first_broken(&self, call: &Call<'_>) -> Option<Broken<'_>> {
        if let Some(method) = &self.method
            && **method != *call.method
        {
            return Some(Broken::Method(method));
        }
        if let Some((name, _)) = self
            .headers
            .iter()
            .find(|(name, test)| !test.header(call.headers, name))
        {
            return Some(Broken::Header(name.as_str()));
        }
        let parameters = call.query.unwrap_or("");
        let broken = self
            .query
            .iter()
            .find(|(name, test)| !query::first(parameters, name).is_some_and(|value| test.parameter(value)));
        broken.map(|(name, _)| Broken::Query(name))
    }
}

/// A condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken<'a> {
    /// The method asked for.
    Method(&'a str),
    /// The header with another value or none.
    Header(&'a str),
    /// The query parameter with another value or none.
    Query(&'a str),
}

impl std::fmt::Display for Broken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Method(method) => write!(f, "its method is {method}"),
            Self::Header(name) => write!(f, "its header `{name}` does not match"),
            Self::Query(name) => write!(f, "its query parameter `{name}` does not match"),
        }
    }
}

impl Test {
    /// Compiles a condition.
    ///
    /// # Errors
    /// What cannot be compiled, in words.
    pub(super) fn compile(
        source: &TextMatch,
        regexes: &mut Regexes,
        previous: Option<&Regexes>,
    ) -> Result<Self, String> {
        match source {
            TextMatch::Exact(text) => Ok(Self::Exact(text.clone())),
            TextMatch::Regex(text) => regexes
                .get(text, previous)
                .map(Self::Regex)
                .map_err(|error| format!("`{text}` is no regular expression: {error}")),
        }
    }

    /// Compares a text.
    pub(super) fn text(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => expected.as_bytes() == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    /// Compares all values of a header, joined by `,` as RFC 9110, section 5.3 allows.
    fn header(&self, headers: &dyn HeaderView, name: &HeaderName) -> bool {
        match self {
            Self::Exact(expected) => {
                // What of `expected` the values seen so far leave; None once they differ.
                let mut rest = Some(expected.as_bytes());
                let mut values = 0_usize;
                headers.each(name, &mut |value| {
                    if values > 0 {
                        rest = rest.and_then(|rest| rest.strip_prefix(b","));
                    }
                    rest = rest.and_then(|rest| rest.strip_prefix(value));
                    values += 1;
                });
                values > 0 && rest.is_some_and(<[u8]>::is_empty)
            }
            Self::Regex(regex) => {
                let mut values = 0_usize;
                headers.each(name, &mut |_| values += 1);
                match values {
                    0 => false,
                    1 => headers.first(name).is_some_and(|value| regex.is_match(value)),
                    _ => {
                        let mut joined = Vec::new();
                        headers.each(name, &mut |value| {
                            joined.extend_from_slice(value);
                            joined.push(b',');
                        });
                        joined.pop();
                        regex.is_match(&joined)
                    }
                }
            }
        }
    }

    fn parameter(&self, escaped: &str) -> bool {
        match self {
            Self::Exact(expected) => query::equals(escaped, expected.as_bytes()),
            Self::Regex(regex) if !escaped.contains(['%', '+']) => regex.is_match(escaped.as_bytes()),
            Self::Regex(regex) => regex.is_match(&query::decode(escaped).collect::<Vec<_>>()),
        }
    }
}
