//! HTTP services for Dubbo's consumers: which method means which request. The other way round of
//! [`transcoding`](super::transcoding), whose words it shares.

use std::sync::Arc;

use serde::Serialize;

use super::{DeclaredTypes, PathPart};

/// An HTTPTranscoding after its checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpTranscoding {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// What can be called. No two of one name and so many parameters.
    pub methods: Vec<HttpMethod>,
    /// The types of the interface. Without them a call's own types say how its arguments are read, and its result tells its own.
    pub types: DeclaredTypes,
}

/// A method and the request that it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpMethod {
    /// Its name.
    pub method: Arc<str>,
    /// The HTTP method, in upper case.
    pub verb: Arc<str>,
    /// The whole path by its segments.
    pub path: Vec<PathPart>,
    /// The method's parameters in order.
    pub parameters: Vec<HttpParameter>,
}

/// A parameter of a method, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpParameter {
    /// Its name; in a path and a body it has this one.
    pub name: Arc<str>,
    /// Where it goes.
    pub to: ParameterTarget,
}

/// Where a parameter goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ParameterTarget {
    /// The segment of the path that has its name.
    Path,
    /// The query parameter of this name; null is left out, a list comes several times.
    Query(Arc<str>),
    /// The header of this name, in lower case; null is left out, a list comes several times.
    Header(Arc<str>),
    /// The body: its member of that name, or the whole if it is the only parameter that goes there.
    Body,
}
