//! `kind: HTTPRoute`: which requests go where. Fields and limits: `apis/v1/httproute_types.go`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    filter::Filter,
    text::{Group, HeaderName, HeaderValue, Hostname, KindName, NamespaceName, ObjectName, PathValue, QueryValue},
    text::{SectionName, ServiceName},
};
use crate::duration::Duration;

/// Which requests go where.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-later" = ["useDefaultGateways"]))]
pub struct HttpRouteSpec {
    /// The Gateways, or their listeners, that it belongs to.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// Hosts that it is for, exact or `*.suffix`. Default: those of the listener.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub hostnames: Vec<Hostname>,
    /// What to do with which requests. Default: one rule for every path, without backend.
    #[serde(default)]
    #[schemars(length(min = 1, max = 16))]
    pub rules: Vec<Rule>,
}

/// A Gateway or one of its listeners.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// Group of the kind. Default `gateway.networking.k8s.io`.
    pub group: Option<Group>,
    /// Kind of the parent. Default `Gateway`.
    pub kind: Option<KindName>,
    /// Namespace of the parent. Default: the route's own.
    pub namespace: Option<NamespaceName>,
    /// Name of the parent.
    pub name: ObjectName,
    /// Name of a listener. Default: all of them.
    pub section_name: Option<SectionName>,
    /// Port of listeners. Default: every port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}

/// Any of the matches, then all filters, then one backend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-later" = ["retry", "sessionPersistence"]))]
pub struct Rule {
    /// Name of the rule, for people; unique in the route.
    pub name: Option<SectionName>,
    /// What requests must look like, any of these. Default: every request.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub matches: Vec<Match>,
    /// What is done to a request or its answer, in order.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub filters: Vec<Filter>,
    /// Where requests go, by weight.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<BackendRef>,
    /// How long a call may take. Default: the ServicePolicy's.
    pub timeouts: Option<Timeouts>,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// The path. Default: every one.
    pub path: Option<PathMatch>,
    /// Headers that must be there.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub headers: Vec<HeaderMatch>,
    /// Query parameters that must be there.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub query_params: Vec<QueryMatch>,
    /// The method.
    pub method: Option<Method>,
}

/// A condition on the path.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// How it is compared. Default `PathPrefix`.
    #[serde(rename = "type", default)]
    pub type_: PathMatchType,
    /// What it is compared with. Default `/`.
    pub value: Option<PathValue>,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// Byte for byte.
    Exact,
    /// By whole elements: `/a` takes `/a`, `/a/`, `/a/b`, not `/ab`.
    #[default]
    PathPrefix,
    /// The whole path by a regular expression; ranks between `Exact` and `PathPrefix`.
    RegularExpression,
}

/// A condition on a header.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// How it is compared. Default `Exact`.
    #[serde(rename = "type", default)]
    pub type_: ValueMatchType,
    /// Name of the header.
    pub name: HeaderName,
    /// What its value is compared with.
    pub value: HeaderValue,
}

/// A condition on a query parameter.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryMatch {
    /// How it is compared. Default `Exact`.
    #[serde(rename = "type", default)]
    pub type_: ValueMatchType,
    /// Name of the parameter.
    pub name: HeaderName,
    /// What its value is compared with.
    pub value: QueryValue,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ValueMatchType {
    /// Byte for byte.
    #[default]
    Exact,
    /// The whole value by a regular expression.
    RegularExpression,
}

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(extend("x-mend" = "write it in upper case"))]
#[allow(missing_docs, reason = "the words are RFC 9110's")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

/// A share of a rule's traffic.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// Group of the kind: empty for `Service` (default), `landfall.dev` for `MeshService`.
    pub group: Option<Group>,
    /// Kind of the backend: `Service` (default) or `MeshService`.
    pub kind: Option<KindName>,
    /// Name of the service as its registry writes it, or of the MeshService.
    pub name: ServiceName,
    /// The registry. Default: a MeshService of that name, else the only registry that has it, else by priority.
    pub namespace: Option<NamespaceName>,
    /// Port of the instances. Default: their preferred HTTP port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Share of the rule's traffic; 0 gets none. Default 1.
    #[schemars(range(max = 1_000_000))]
    pub weight: Option<u32>,
    /// Filters for this backend alone, after the rule's.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub filters: Vec<Filter>,
}

/// How long a call may take. `0s` switches a limit off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// The whole call, retries included.
    pub request: Option<Duration>,
    /// One try at one endpoint; at most `request`.
    pub backend_request: Option<Duration>,
}
