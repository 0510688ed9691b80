//! An explanation, as `-o json` and the admin API show it. The names of the fields are stable; a field
//! without a value is left out.

use serde::Serialize;

use crate::cluster::view::ClusterView;

/// What a request would meet.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The request as it was understood.
    pub request: RequestView,
    /// What the client would get.
    pub outcome: Outcome,
    /// `gateway/listener` that the host chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// The rule that takes the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteView>,
    /// Where the rule sends it.
    pub backends: Vec<BackendView>,
    /// Other matches for this host, in the order of precedence, and why they do not take it. The nearest only.
    pub others: Vec<OtherView>,
    /// How many more there are.
    pub more_others: usize,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// A request as it was understood.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestView {
    /// As given; of a Dubbo call the one in its URL.
    pub method: String,
    /// `http`, `https` or `dubbo`.
    pub scheme: &'static str,
    /// Lower case, without port.
    pub host: String,
    /// The port asked.
    pub port: u16,
    /// Raw.
    pub path: String,
    /// Raw.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// What the client would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Outcome {
    /// The answer of an endpoint.
    Forwarded,
    /// A redirect.
    Redirected {
        /// Its status.
        status: u16,
        /// Where to.
        location: String,
    },
    /// An answer of ours.
    Answered {
        /// Its status, in the numbers of the protocol.
        status: u16,
        /// Why.
        why: String,
    },
}

/// A rule that takes a request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// `namespace/name`.
    pub route: String,
    /// Its place in the route, from 0.
    pub rule: usize,
    /// Its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The match that took it, in words.
    pub matched: String,
    /// Its filters, in words.
    pub filters: Vec<String>,
}

/// A backend of the rule.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendView {
    /// As the route names it: `name.namespace:port`.
    pub backend: String,
    /// Per cent of the rule's calls.
    pub share: f64,
    /// Host that the endpoint sees; empty for Dubbo, which has none.
    pub host: String,
    /// Path and query that the endpoint sees; of a Dubbo call the service.
    pub path: String,
    /// Filters of this backend, in words.
    pub filters: Vec<String>,
    /// What it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterView>,
    /// Why it stands for nothing; its share is answered 500, or 70 by Dubbo's numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Which AuthorizationPolicy denies its share to a client on this host; it is answered 403, or by an exception by Dubbo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// Where its share is redirected to, when the backend's own filters do that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
}

/// A match that does not take a request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherView {
    /// `namespace/name`.
    pub route: String,
    /// The rule's place, from 0.
    pub rule: usize,
    /// The match in words.
    pub matches: String,
    /// Why not.
    pub why: String,
}
