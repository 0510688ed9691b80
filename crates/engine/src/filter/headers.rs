//! RequestHeaderModifier and ResponseHeaderModifier.

use http::{HeaderName, HeaderValue, header};
use landfall_model::rules::HeaderEdits;

use crate::call::HeaderBlock;

/// Header changes with names and values parsed.
#[derive(Debug)]
pub struct HeaderEditor {
    set: Box<[(HeaderName, HeaderValue)]>,
    add: Box<[(HeaderName, HeaderValue)]>,
    remove: Box<[HeaderName]>,
    host: Option<HeaderValue>,
}

impl HeaderEditor {
    /// Parses names and values.
    ///
    /// # Errors
    /// A name or value that HTTP does not allow.
    pub fn compile(edits: &HeaderEdits) -> Result<Self, String> {
        let mut set = parse_pairs(&edits.set)?;
        // The host is no plain header in HTTP/2, so it travels with the target instead.
        let host = set
            .iter()
            .position(|(name, _)| *name == header::HOST)
            .map(|at| set.remove(at).1);
        Ok(Self {
            set: set.into(),
            add: parse_pairs(&edits.add)?.into(),
            remove: edits
                .remove
                .iter()
                .map(|name| parse_name(name))
                .collect::<Result<_, _>>()?,
            host,
        })
    }

    /// Makes the changes.
    pub fn apply(&self, headers: &mut dyn HeaderBlock) {
        for (name, value) in &self.set {
            headers.set(name, value);
        }
        for (name, value) in &self.add {
            headers.append(name, value);
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }

    /// The new `Host`, when it is among those set.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }
}

fn parse_pairs<T: AsRef<str>>(pairs: &[(T, T)]) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    pairs
        .iter()
        .map(|(name, value)| Ok((parse_name(name.as_ref())?, parse_value(value.as_ref())?)))
        .collect()
}

fn parse_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no header name"))
}

/// A header value, or why the text is none.
pub fn parse_value(value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(value).map_err(|_| format!("{value:?} is no header value"))
}
