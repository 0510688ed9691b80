//! URLRewrite, and the path rule that RequestRedirect shares.

use std::sync::Arc;

use http::HeaderValue;
use landfall_model::rules::{PathRewrite, UrlRewrite};

use super::{Target, headers::parse_value};

/// A change of host or path towards the backend.
#[derive(Debug)]
pub struct Rewriter {
    host: Option<HeaderValue>,
    path: Option<PathRewrite>,
}

impl Rewriter {
    /// Parses the host.
    ///
    /// # Errors
    /// A host that is no header value.
    pub fn compile(source: &UrlRewrite) -> Result<Self, String> {
        Ok(Self {
            host: source.hostname.as_deref().map(parse_value).transpose()?,
            path: source.path.clone(),
        })
    }

    /// Notes the changes for a request with that path.
    pub fn apply(&self, path: &str, target: &mut Target) {
        if let Some(host) = &self.host {
            target.host = Some(host.clone());
        }
        if let Some(rewrite) = &self.path {
            target.path = Some(rewritten(rewrite, path));
        }
    }
}

/// The path that `rewrite` makes of `path`. A path that lacks the matched prefix stays as it is.
///
/// Gateway API, HTTPPathModifier: what follows the matched prefix is kept, and nothing at all becomes `/`.
pub fn rewritten(rewrite: &PathRewrite, path: &str) -> String {
    match rewrite {
        PathRewrite::Full(full) => full.to_string(),
        PathRewrite::Prefix { matched, replacement } => rest_after(matched, path).map_or_else(
            || path.to_owned(),
            |rest| match (&**replacement, rest) {
                ("", "") => "/".to_owned(),
                (replacement, rest) => [replacement, rest].concat(),
            },
        ),
    }
}

/// What follows the prefix: nothing, or a text that starts with `/`.
fn rest_after<'p>(matched: &Arc<str>, path: &'p str) -> Option<&'p str> {
    path.strip_prefix(&**matched)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}
