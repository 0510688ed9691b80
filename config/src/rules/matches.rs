//! Matches: paths that can occur, patterns that compile, each header once.

use std::sync::Arc;

use landfall_model::rules::{HttpMatch, PathMatch, TextMatch, ValueMatch};
use regex::RegexBuilder;

use super::Report;
use crate::{
    document::At,
    kinds::http_route::{self, Match, PathMatchType, ValueMatchType},
};

/// The prefix that a `replacePrefixMatch` replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    /// The only match names it; without trailing `/`.
    Only(Arc<str>),
    /// There is none, or more than one.
    None,
    /// A match has a fault, so nothing can be said.
    Unknown,
}

/// A pattern that needs more memory than this is refused.
const MAX_REGEX: usize = 1024 * 1024;

/// The matches of a rule, at least one, and the prefix they name.
pub(super) fn translate(rule: &At<'_>, report: &mut Report) -> (Vec<HttpMatch>, Prefix) {
    let items = rule.items("matches");
    if items.is_empty() {
        let everything = HttpMatch {
            path: PathMatch::Prefix("".into()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        };
        return (vec![everything], Prefix::Only("".into()));
    }
    let mut matches = Vec::new();
    for at in &items {
        let Some(spec) = at.read::<Match>() else { continue };
        let path = path(at, &spec, report);
        let headers = headers(at, &spec, report);
        let query = query(at, &spec, report);
        if let Some(path) = path {
            let method = spec.method.map(|method| method.as_str().into());
            matches.push(HttpMatch {
                path,
                method,
                headers,
                query,
            });
        }
    }
    let prefix = match &matches[..] {
        all if all.len() < items.len() && items.len() == 1 => Prefix::Unknown,
        [
            HttpMatch {
                path: PathMatch::Prefix(prefix),
                ..
            },
        ] if items.len() == 1 => Prefix::Only(prefix.clone()),
        _ => Prefix::None,
    };
    (matches, prefix)
}

fn path(at: &At<'_>, spec: &Match, report: &mut Report) -> Option<PathMatch> {
    let Some(path) = &spec.path else {
        return Some(PathMatch::Prefix("".into()));
    };
    let value = path.value.as_deref().unwrap_or("/");
    if path.type_ == PathMatchType::RegularExpression {
        return pattern(at, "path.value", value, report).map(PathMatch::Regex);
    }
    if let Some(what) = wrong_path(value) {
        let mend = "write a path that begins with `/`, without query, `//`, `.`, `..` and `%2f`, such as `/orders`";
        report.problems.push(at.problem("path.value", what, mend));
        return None;
    }
    Some(match path.type_ {
        PathMatchType::Exact => PathMatch::Exact(value.into()),
        _ => PathMatch::Prefix(value.strip_suffix('/').unwrap_or(value).into()),
    })
}

/// Why a text is no path to compare requests with, if it is none. The Gateway API's rules (2.3).
pub(super) fn wrong_path(value: &str) -> Option<String> {
    let shown = value.escape_debug();
    if !value.starts_with('/') {
        return Some(format!("the path `{shown}` does not begin with `/`"));
    }
    if let Some(part) = ["//", "/./", "/../", "%2f", "%2F", "#", "?"]
        .into_iter()
        .find(|part| value.contains(part))
    {
        return Some(format!(
            "the path `{shown}` contains `{part}`, which no request path does"
        ));
    }
    if value.ends_with("/.") || value.ends_with("/..") {
        return Some(format!("the path `{shown}` ends in a dot segment"));
    }
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => {
                let (a, b) = (bytes.next(), bytes.next());
                a.is_some_and(|b| b.is_ascii_hexdigit()) && b.is_some_and(|b| b.is_ascii_hexdigit())
            }
            byte => byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&byte),
        };
        if !fine {
            return Some(format!(
                "the path `{shown}` contains a character that must be written as `%` and two digits"
            ));
        }
    }
    None
}

/// A pattern that compiles, anchored at both ends.
fn pattern(at: &At<'_>, field: &str, text: &str, report: &mut Report) -> Option<Arc<str>> {
    match RegexBuilder::new(&format!("^(?:{text})$"))
        .size_limit(MAX_REGEX)
        .build()
    {
        Ok(_) => Some(text.into()),
        Err(error) => {
            let what = match error {
                regex::Error::CompiledTooBig(_) => "the regular expression needs too much memory".to_owned(),
                error => {
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    format!("no valid regular expression: {}", last.trim_start_matches("error: "))
                }
            };
            let mend = "write RE2-like syntax; look-around and back-references do not exist";
            report.problems.push(at.problem(field, what, mend));
            None
        }
    }
}

/// A text to compare with.
pub(super) fn value(
    at: &At<'_>,
    field: &str,
    kind: ValueMatchType,
    text: &str,
    report: &mut Report,
) -> Option<TextMatch> {
    match kind {
        ValueMatchType::Exact => Some(TextMatch::Exact(text.into())),
        ValueMatchType::RegularExpression => pattern(at, field, text, report).map(TextMatch::Regex),
    }
}

fn headers(at: &At<'_>, spec: &Match, report: &mut Report) -> Vec<ValueMatch> {
    let mut found: Vec<ValueMatch> = Vec::new();
    for (
        i,
        http_route::HeaderMatch {
            type_,
            name,
            value: text,
        },
    ) in spec.headers.iter().enumerate()
    {
        let lower = name.to_ascii_lowercase();
        if found.iter().any(|known| *known.name == *lower) {
            let what = format!("a second condition on the header `{lower}` is ignored");
            report
                .warnings
                .push(at.problem(&format!("headers[{i}]"), what, "join the two, or write two matches"));
            continue;
        }
        if let Some(value) = value(at, &format!("headers[{i}].value"), *type_, text, report) {
            found.push(ValueMatch {
                name: lower.into(),
                value,
            });
        }
    }
    found
}

fn query(at: &At<'_>, spec: &Match, report: &mut Report) -> Vec<ValueMatch> {
    let mut found: Vec<ValueMatch> = Vec::new();
    for (
        i,
        http_route::QueryMatch {
            type_,
            name,
            value: text,
        },
    ) in spec.query_params.iter().enumerate()
    {
        if found.iter().any(|known| *known.name == **name) {
            let what = format!("a second condition on the parameter `{}` is ignored", &**name);
            report
                .warnings
                .push(at.problem(&format!("queryParams[{i}]"), what, "join the two, or write two matches"));
            continue;
        }
        if let Some(value) = value(at, &format!("queryParams[{i}].value"), *type_, text, report) {
            found.push(ValueMatch {
                name: (**name).into(),
                value,
            });
        }
    }
    found
}
