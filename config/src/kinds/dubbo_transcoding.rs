//! `kind: DubboTranscoding`: how HTTP requests with JSON become calls of a Dubbo service. Ours; an HTTPRoute's filter
//! `ExtensionRef` names it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::text::{
    ClassPattern, FieldName, HeaderName, JavaClass, JavaMethod, JavaSignature, JavaType, QueryName, ServicePart,
    TemplatePath,
};

/// How HTTP requests with JSON become calls of a Dubbo service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DubboTranscodingSpec {
    /// The Java interface. Default: that in the backend's name, which is `group/interface:version`.
    pub interface: Option<JavaClass>,
    /// The group; an empty text is none. Default: that in the backend's name.
    pub group: Option<ServicePart>,
    /// The version; an empty text is none. Default: that in the backend's name.
    pub version: Option<ServicePart>,
    /// Whether methods are called by `$invoke`, with objects as maps; then types need not be known. Default: no.
    pub generic: Option<bool>,
    /// What can be called, the first that fits. Default: every method, by a POST whose last path segment is its name.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub methods: Vec<Method>,
    /// Types declared by hand: more than the registry's metadata has, or all where there is none.
    pub types: Option<Types>,
    /// HTTP statuses of the service's exceptions, the first that fits. Default: 500 for all but Dubbo's own.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub exceptions: Vec<ExceptionStatus>,
    /// How results are written.
    pub results: Option<Results>,
}

/// A method and the requests that mean it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Method {
    /// Its name, or `find(long)` to choose among overloads.
    pub method: JavaMethod,
    /// The whole path of the request; a segment `{id}` is the value of the parameter `id`. Default: any path whose last
    /// segment is the method's name.
    pub path: Option<TemplatePath>,
    /// The HTTP methods. Default: POST.
    #[serde(default)]
    #[schemars(length(max = 5))]
    pub http_methods: Vec<Verb>,
    /// Its parameters in order. Default: as the types name them; what neither path nor query has comes from the body.
    #[schemars(length(max = 64))]
    pub parameters: Option<Vec<Parameter>>,
}

/// An HTTP method. Which ones are tried again when a provider may have run the call is the ServicePolicy's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// Reads.
    Get,
    /// Does something.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Deletes.
    Delete,
}

/// A parameter of a method, and where it comes from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    /// Its name.
    pub name: FieldName,
    /// Where it comes from, and from nowhere else. Default: `Path` if the path has its name, else `Body`.
    pub from: Option<From>,
    /// The name of the query parameter. Default: `name`.
    pub query: Option<QueryName>,
    /// The name of the header. Default: `name`.
    pub header: Option<HeaderName>,
    /// The text that stands for one that is not sent. Default: none, it must be sent.
    pub default: Option<String>,
    /// Whether it may be left out of the body; it is then null, or 0 or false where there is no null. Default: no.
    pub optional: Option<bool>,
}

/// Where a parameter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum From {
    /// The path.
    Path,
    /// The query.
    Query,
    /// A header.
    Header,
    /// The body: its member of that name, or the whole if it is the only parameter from there.
    Body,
}

/// Types declared by hand.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Types {
    /// A service definition as Dubbo writes it into a metadata centre, in JSON. Stands instead of the registry's.
    pub definition: Option<String>,
    /// Methods as in Java's source: `com.x.Order find(long id, java.util.List<java.lang.String> tags?)`. Names of
    /// parameters and the type of the result may be missing; one with a question mark may be left out of a call.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub methods: Vec<JavaSignature>,
    /// Classes and enums.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub classes: Vec<Class>,
}

/// A class or an enum.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Class {
    /// Its name: `com.x.Order`, `com.x.Page<T>`.
    pub name: JavaType,
    /// Fields and their types. Neither static nor transient ones, but those of its parents.
    #[schemars(extend("maxProperties" = 512))]
    pub fields: Option<BTreeMap<String, JavaType>>,
    /// The constants of an enum.
    #[schemars(length(min = 1, max = 4096))]
    pub constants: Option<Vec<FieldName>>,
}

/// The HTTP status of an exception.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExceptionStatus {
    /// Its class, or `com.x.*` for all of a package.
    pub class: ClassPattern,
    /// 400 to 599.
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Results {
    /// Objects say their Java class in a member `class`. Default: no.
    pub class_names: Option<bool>,
    /// Moments are milliseconds since 1970, not ISO 8601. Default: no.
    pub millis: Option<bool>,
    /// Integers beyond 2^53, BigInteger and BigDecimal are strings. Default: no.
    pub big_numbers_as_text: Option<bool>,
    /// An object inside of itself becomes null and does not fail the call. Default: no.
    pub cut_cycles: Option<bool>,
}
