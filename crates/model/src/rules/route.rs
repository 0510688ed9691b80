//! Routes: what a request must look like, what is done to it, and where it goes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{HostPattern, ListenerId, Transcoding};

/// An HTTPRoute after its checks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRoute {
    /// `namespace/name`; the default namespace is `default`.
    pub id: Arc<str>,
    /// `metadata.creationTimestamp`: the older route wins a tie; none counts as newest.
    pub created: Option<SystemTime>,
    /// The route's own host names; empty means any.
    pub hostnames: Vec<HostPattern>,
    /// The listeners it is attached to, with the host names it serves there. Never empty.
    pub attachments: Vec<Attachment>,
    /// In document order. Never empty.
    pub rules: Vec<RouteRule>,
}

/// A route on a listener.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attachment {
    /// The listener.
    pub listener: ListenerId,
    /// Host names of listener and route, intersected. Never empty; [`HostPattern::Any`] if neither names one.
    pub hostnames: Vec<HostPattern>,
}

/// One rule of a route: any of the matches, then all filters, then one backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    /// Optional name, for people.
    pub name: Option<Arc<str>>,
    /// Any of these. Never empty: no `matches` in the document means prefix `/`.
    pub matches: Vec<HttpMatch>,
    /// In order.
    pub filters: Vec<Filter>,
    /// By weight. May be empty: a redirect answers, anything else is 500.
    pub backends: Vec<Backend>,
    /// Limits of the whole call and of each try.
    pub timeouts: Timeouts,
}

/// All conditions must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HttpMatch {
    /// The path.
    pub path: PathMatch,
    /// The method in upper case, if one is asked for.
    pub method: Option<Arc<str>>,
    /// Names in lower case, each once; values joined by `,` before they are compared.
    pub headers: Vec<ValueMatch>,
    /// Names as written, each once; the first value, decoded, is compared.
    pub query: Vec<ValueMatch>,
}

/// How the path is compared, without the query, on the bytes as sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    /// Byte for byte.
    Exact(Arc<str>),
    /// By whole elements; kept without a trailing `/`, so `/` is the empty text.
    Prefix(Arc<str>),
    /// Anchored at both ends; known to compile.
    Regex(Arc<str>),
}

/// A named value that must be present and match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueMatch {
    /// Of the header or query parameter.
    pub name: Arc<str>,
    /// What it must be.
    pub value: TextMatch,
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TextMatch {
    /// Byte for byte.
    Exact(Arc<str>),
    /// Anchored at both ends; known to compile.
    Regex(Arc<str>),
}

/// What is done to a request or its answer on the way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    /// RequestHeaderModifier.
    RequestHeaders(HeaderEdits),
    /// ResponseHeaderModifier.
    ResponseHeaders(HeaderEdits),
    /// URLRewrite.
    Rewrite(UrlRewrite),
    /// RequestRedirect: answers, nothing is forwarded.
    Redirect(Redirect),
    /// RequestMirror: a copy whose answer is ignored.
    Mirror(Mirror),
    /// ExtensionRef to a DubboTranscoding: the request becomes a call of a Dubbo service, and its result JSON. Of a rule
    /// alone, whose backends then are of the family Dubbo.
    Transcode(Arc<Transcoding>),
}

/// Header changes; names in lower case, each at most once over the three lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HeaderEdits {
    /// Replaces all values, or creates.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Appends a value, or creates.
    pub add: Vec<(Arc<str>, Arc<str>)>,
    /// Deletes.
    pub remove: Vec<Arc<str>>,
}

/// A change of host or path towards the backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UrlRewrite {
    /// Replaces the Host header.
    pub hostname: Option<Arc<str>>,
    /// Changes the path; the query survives.
    pub path: Option<PathRewrite>,
}

/// A change of path.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathRewrite {
    /// The whole path.
    Full(Arc<str>),
    /// The prefix that the rule's only match names; kept without trailing `/`.
    Prefix {
        /// What the match named, without trailing `/`.
        matched: Arc<str>,
        /// What stands there instead, without trailing `/`.
        replacement: Arc<str>,
    },
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Redirect {
    /// `http` or `https`; the listener's if none.
    pub scheme: Option<Arc<str>>,
    /// The request's host if none.
    pub hostname: Option<Arc<str>>,
    /// The scheme's port if a scheme is set, else the listener's.
    pub port: Option<u16>,
    /// The request's path if none.
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A copy of requests to another backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mirror {
    /// Where copies go.
    pub backend: BackendRef,
    /// How many requests of how many are copied: `(1, 100)` is one per cent.
    pub fraction: (u32, u32),
}

/// A share of a rule's traffic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backend {
    /// Which service.
    pub backend: BackendRef,
    /// 0 to 1,000,000; its part of the sum over the rule.
    pub weight: u32,
    /// Run after the rule's own when this backend is chosen.
    pub filters: Vec<Filter>,
}

/// A reference by name; what it stands for is decided when a snapshot is composed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BackendRef {
    /// Of the service or MeshService.
    pub name: Arc<str>,
    /// The registry. None: a MeshService of that name, else the only registry that has it, else by priority.
    pub namespace: Option<Arc<str>>,
    /// The instance port to use. None: the port that the instance prefers for the family.
    pub port: Option<u16>,
    /// What is spoken there: that of the route's listeners.
    #[serde(skip_serializing_if = "super::Family::is_http")]
    pub family: super::Family,
}

/// Limits of a rule; `None` means the policy's or the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// The whole call. `Some(ZERO)` switches the limit off.
    pub request: Option<Duration>,
    /// One try at one endpoint. `Some(ZERO)` switches the limit off.
    pub backend_request: Option<Duration>,
}
