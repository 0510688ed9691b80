//! RequestRedirect: an answer with a `Location`.

use std::sync::Arc;

use landfall_model::rules::{PathRewrite, Redirect};

use super::rewrite::rewritten;
use crate::call::{Call, Scheme};

/// Answers instead of forwarding.
#[derive(Debug)]
pub struct Redirector {
    scheme: Option<Scheme>,
    hostname: Option<Arc<str>>,
    port: Option<u16>,
    path: Option<PathRewrite>,
    status: u16,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Absolute, with the request's query.
    pub location: String,
}

impl Redirector {
    /// Reads the scheme.
    ///
    /// # Errors
    /// A scheme other than `http` and `https`.
    pub fn compile(source: &Redirect) -> Result<Self, String> {
        let scheme = match source.scheme.as_deref() {
            None => None,
            Some("http") => Some(Scheme::Http),
            Some("https") => Some(Scheme::Https),
            Some(other) => return Err(format!("`{other}` is no scheme to redirect to; use http or https")),
        };
        Ok(Self {
            scheme,
            hostname: source.hostname.clone(),
            port: source.port,
            path: source.path.clone(),
            status: source.status,
        })
    }

    /// The answer to a call that came in through a listener with that port.
    ///
    /// Gateway API, HTTPRequestRedirectFilter `port`: the port named, else that of the scheme named, else the
    /// listener's; left out where the scheme implies it.
    pub fn answer(&self, call: &Call<'_>, listener_port: u16) -> Redirection {
        let scheme = self.scheme.unwrap_or(call.scheme);
        let port = self
            .port
            .or(self.scheme.map(Scheme::well_known_port))
            .unwrap_or(listener_port);
        let mut location = String::with_capacity(call.host.len() + call.path.len() + 32);
        location.push_str(scheme.as_str());
        location.push_str("://");
        location.push_str(self.hostname.as_deref().unwrap_or(call.host));
        if port != scheme.well_known_port() {
            location.push(':');
            location.push_str(&port.to_string());
        }
        match &self.path {
            Some(rewrite) => location.push_str(&rewritten(rewrite, call.path)),
            None => location.push_str(call.path),
        }
        if let Some(query) = call.query {
            location.push('?');
            location.push_str(query);
        }
        Redirection {
            status: self.status,
            location,
        }
    }
}
