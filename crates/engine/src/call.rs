//! A call: one request as routes, filters, clusters and balancers see it, whatever protocol carried it.
//!
//! ```text
//!  pingora ──┐
//!  HTTP/1.1 ─┼─▶ Call ─▶ runtime::select ─▶ Rule ─▶ filters ─▶ Runtime::backend ─▶ ClusterRuntime::pick ─▶ Lease
//!  Dubbo2 ───┘
//! ```
//!
//! Nothing here owns or copies the request. Next on the path: [`runtime`](crate::runtime).

use std::{borrow::Cow, net::SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

/// One request, borrowed from whoever read it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// As sent, case-sensitive.
    pub method: &'a str,
    /// Whether it came over TLS.
    pub scheme: Scheme,
    /// Lower case, without port, IPv6 in brackets; see [`host_of`]. Empty if the request names none.
    pub host: &'a str,
    /// The raw path as sent, without query. Neither decoded nor normalised: what is matched is what is forwarded.
    pub path: &'a str,
    /// The raw query as sent, without `?`.
    pub query: Option<&'a str>,
    /// The request's headers.
    pub headers: &'a (dyn HeaderView + Sync),
    /// The client's address.
    pub client: SocketAddr,
    /// Who the client is, by its SPIFFE ID; `None` outside of mutual TLS of the mesh.
    pub peer: Option<&'a str>,
}

/// The scheme of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL of this scheme does not have to name.
    pub const fn well_known_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Headers to look at. Every value of a name counts, in the order sent.
pub trait HeaderView {
    /// The first value of that name.
    fn first(&self, name: &HeaderName) -> Option<&[u8]>;
    /// Calls `visit` with every value of that name.
    fn each(&self, name: &HeaderName, visit: &mut dyn FnMut(&[u8]));
}

/// Headers that a filter may change.
pub trait HeaderBlock: HeaderView {
    /// Replaces all values of that name by one, or creates it.
    fn set(&mut self, name: &HeaderName, value: &HeaderValue);
    /// Adds a value behind those that exist, or creates it.
    fn append(&mut self, name: &HeaderName, value: &HeaderValue);
    /// Deletes all values of that name.
    fn remove(&mut self, name: &HeaderName);
}

impl HeaderView for HeaderMap {
    fn first(&self, name: &HeaderName) -> Option<&[u8]> {
        self.get(name).map(HeaderValue::as_bytes)
    }

    fn each(&self, name: &HeaderName, visit: &mut dyn FnMut(&[u8])) {
        for value in self.get_all(name) {
            visit(value.as_bytes());
        }
    }
}

impl HeaderBlock for HeaderMap {
    fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.insert(name, value.clone());
    }

    fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        Self::append(self, name, value.clone());
    }

    fn remove(&mut self, name: &HeaderName) {
        Self::remove(self, name);
    }
}

/// The host of an authority or `Host` header, as [`Call::host`] wants it: without port and final dot, lower case.
/// Allocates only if the text has upper-case letters.
pub fn host_of(authority: &str) -> Cow<'_, str> {
    let host = match authority.strip_prefix('[').and_then(|inner| inner.find(']')) {
        Some(end) => &authority[..end + 2],
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_loses_port_case_and_final_dot_but_keeps_its_brackets() {
        for (authority, host) in [
            ("example.org", "example.org"),
            ("Example.ORG:8080", "example.org"),
            ("example.org.:80", "example.org"),
            ("[::1]:8080", "[::1]"),
            ("[FE80::1]", "[fe80::1]"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), host, "{authority}");
        }
        assert!(matches!(host_of("example.org:1"), Cow::Borrowed(_)));
    }
}
