//! `kind: HTTPTranscoding`: how calls of Dubbo consumers become requests to a service of HTTP. Ours; a DubboRoute's filter
//! `ExtensionRef` names it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    dubbo_transcoding::{Types, Verb},
    text::{FieldName, HeaderName, QueryName, TemplatePath},
};

/// How calls of Dubbo consumers become requests to a service of HTTP.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpTranscodingSpec {
    /// What can be called; any other method is answered with an exception.
    #[schemars(length(min = 1, max = 256))]
    pub methods: Vec<Method>,
    /// Types of the interface. Needed for a method that returns an object of a class, a date or an enum. Default: arguments are read by the
    /// types that a call brings, and results are maps, lists, texts and numbers.
    pub types: Option<Types>,
}

/// A method and the request that it means.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Method {
    /// Its name. Overloads are told apart by how many parameters they have.
    pub method: FieldName,
    /// The whole path of the request; a segment `{id}` is the value of the parameter `id`.
    pub path: TemplatePath,
    /// The HTTP method. Default: POST.
    pub http_method: Option<Verb>,
    /// Its parameters in order. Default: it has none.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub parameters: Vec<Parameter>,
}

/// A parameter of a method, and where it goes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    /// Its name.
    pub name: FieldName,
    /// Where it goes. Default: `Path` if the path has its name, else `Body`.
    pub to: Option<To>,
    /// The name of the query parameter. Default: `name`.
    pub query: Option<QueryName>,
    /// The name of the header. Default: `name`.
    pub header: Option<HeaderName>,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum To {
    /// The path.
    Path,
    /// The query; null is left out, a list comes several times.
    Query,
    /// A header; null is left out, a list comes several times.
    Header,
    /// The body: its member of that name, or the whole if it is the only parameter that goes there.
    Body,
}
