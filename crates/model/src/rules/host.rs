//! Host names of listeners and routes: exact, `*.suffix`, or any.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// A host name or a wildcard, in lower case. Ordering by [`HostPattern::specificity`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// Every host.
    #[default]
    Any,
    /// `*.example.com`, kept as `.example.com`: one or more labels in front.
    Suffix(Arc<str>),
    /// Exactly this host.
    Exact(Arc<str>),
}

impl HostPattern {
    /// From the Gateway API's text; empty is [`HostPattern::Any`]. The text is not checked here.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix('*') {
            _ if text.is_empty() => Self::Any,
            Some(suffix) => Self::Suffix(suffix.into()),
            None => Self::Exact(text.into()),
        }
    }

    /// Whether `host` (lower case, without port) is one of those meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
            Self::Exact(exact) => host == &**exact,
        }
    }

    /// What both take: the narrower one if it lies inside the other, else nothing.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, one) | (one, Self::Any) => Some(one.clone()),
            (Self::Exact(a), b) => b.matches(a).then(|| self.clone()),
            (a, Self::Exact(b)) => a.matches(b).then(|| other.clone()),
            (Self::Suffix(a), Self::Suffix(b)) if a.ends_with(&**b) => Some(self.clone()),
            (Self::Suffix(a), Self::Suffix(b)) if b.ends_with(&**a) => Some(other.clone()),
            _ => None,
        }
    }

    /// The Gateway API's precedence: exact before wildcard, longer before shorter, any last.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Suffix(suffix) => (1, suffix.len()),
            Self::Exact(exact) => (2, exact.len()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Exact(exact) => f.write_str(exact),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_and_route_hostnames_intersect_as_the_gateway_api_says() {
        let table = [
            ("", "", Some("*")),
            ("", "a.com", Some("a.com")),
            ("www.a.com", "", Some("www.a.com")),
            ("www.a.com", "*.a.com", Some("www.a.com")),
            ("*.example.com", "x.y.example.com", Some("x.y.example.com")),
            ("*.example.com", "example.com", None),
            ("*.com", "*.example.com", Some("*.example.com")),
            ("*.example.com", "*.com", Some("*.example.com")),
            ("www.a.com", "*.www.a.com", None),
            ("*.a.com", "z.net", None),
        ];
        for (listener, route, expected) in table {
            let got = HostPattern::parse(listener).intersect(&HostPattern::parse(route));
            assert_eq!(got.map(|h| h.to_string()).as_deref(), expected, "{listener} ∩ {route}");
        }
    }

    #[test]
    fn a_wildcard_swallows_one_or_more_labels_but_not_none() {
        let wildcard = HostPattern::parse("*.Example.com");
        assert!(wildcard.matches("a.example.com") && wildcard.matches("a.b.example.com"));
        assert!(!wildcard.matches("example.com") && !wildcard.matches("badexample.com"));
    }
}
