//! Filters of an HTTPRoute: what is done to a request or its answer. A DubboRoute has its mirrors.

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{
    Group, HeaderName, HeaderValue, KindName, NamespaceName, ObjectName, PathValue, PreciseHostname, ServiceName,
};

/// One filter: a type and the field of that name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-later" = ["cors", "externalAuth"]))]
pub struct Filter {
    /// Which of the fields is filled.
    #[serde(rename = "type")]
    pub type_: FilterType,
    /// Changes the request's headers.
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes the answer's headers.
    pub response_header_modifier: Option<HeaderModifier>,
    /// Changes host or path towards the backend.
    pub url_rewrite: Option<UrlRewrite>,
    /// Sends the client elsewhere.
    pub request_redirect: Option<RequestRedirect>,
    /// Sends a copy to another backend and ignores its answer.
    pub request_mirror: Option<RequestMirror>,
    /// A filter that is a document of its own: a DubboTranscoding.
    pub extension_ref: Option<ExtensionRef>,
}

/// A filter that is a document of its own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtensionRef {
    /// Group of the kind: `landfall.dev`.
    pub group: Group,
    /// Kind of the document: `DubboTranscoding` in an HTTPRoute, `HTTPTranscoding` in a DubboRoute.
    pub kind: KindName,
    /// Its name.
    pub name: ObjectName,
}

/// Which filter it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(extend("x-later-values" = ["CORS", "ExternalAuth"]))]
pub enum FilterType {
    /// `requestHeaderModifier`.
    RequestHeaderModifier,
    /// `responseHeaderModifier`.
    ResponseHeaderModifier,
    /// `urlRewrite`.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// `requestRedirect`.
    RequestRedirect,
    /// `requestMirror`.
    RequestMirror,
    /// `extensionRef`.
    ExtensionRef,
}

/// Changes of headers; each header in one of the lists only.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderModifier {
    /// Replaces all values, or creates the header.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub set: Vec<Header>,
    /// Appends a value, or creates the header.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub add: Vec<Header>,
    /// Deletes the header.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub remove: Vec<HeaderName>,
}

/// A header.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Name of the header.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderValue,
}

/// A change of host or path towards the backend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlRewrite {
    /// Replaces the Host header.
    pub hostname: Option<PreciseHostname>,
    /// Changes the path.
    pub path: Option<PathModifier>,
}

/// A change of path: a type and the field of that name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathModifier {
    /// Which of the fields is filled.
    #[serde(rename = "type")]
    pub type_: PathModifierType,
    /// What stands instead of the whole path.
    pub replace_full_path: Option<PathValue>,
    /// What stands instead of the matched prefix.
    pub replace_prefix_match: Option<PathValue>,
}

/// How a path is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum PathModifierType {
    /// `replaceFullPath`.
    ReplaceFullPath,
    /// `replacePrefixMatch`; the rule has exactly one match, by `PathPrefix`.
    ReplacePrefixMatch,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestRedirect {
    /// `http` or `https`. Default: the listener's.
    pub scheme: Option<Scheme>,
    /// Host to go to. Default: the request's.
    pub hostname: Option<PreciseHostname>,
    /// Path to go to. Default: the request's.
    pub path: Option<PathModifier>,
    /// Port to go to. Default: the scheme's if a scheme is set, else the listener's.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// 301, 302 (default), 303, 307 or 308.
    pub status_code: Option<u16>,
}

/// A scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// A copy to another backend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMirror {
    /// Where copies go.
    pub backend_ref: MirrorBackend,
    /// How many of a hundred requests are copied. Default: all.
    #[schemars(range(max = 100))]
    pub percent: Option<u32>,
    /// How many of how many requests are copied, instead of `percent`.
    pub fraction: Option<Fraction>,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fraction {
    /// How many; at most the denominator.
    pub numerator: u32,
    /// Of how many. Default 100.
    #[schemars(range(min = 1))]
    pub denominator: Option<u32>,
}

/// Where copies go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MirrorBackend {
    /// Group of the kind: empty for `Service` (default), `landfall.dev` for `MeshService`.
    pub group: Option<Group>,
    /// Kind of the backend: `Service` (default) or `MeshService`.
    pub kind: Option<KindName>,
    /// Name of the service as its registry writes it, or of the MeshService.
    pub name: ServiceName,
    /// The registry. Default: a MeshService of that name, else the only registry that has it, else by priority.
    pub namespace: Option<NamespaceName>,
    /// Port of the instances. Default: their preferred one for what the route is for.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}
