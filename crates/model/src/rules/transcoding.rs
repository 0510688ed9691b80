//! JSON for Dubbo services: which request means which method, and what is known of the service beforehand.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// A DubboTranscoding after its checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transcoding {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// The Java interface. `None`: that of the service key which is the backend's name.
    pub interface: Option<Arc<str>>,
    /// The group; the empty text is none. `None`: that of the backend's name.
    pub group: Option<Arc<str>>,
    /// The version; the empty text is none. `None`: that of the backend's name.
    pub version: Option<Arc<str>>,
    /// Whether calls go by `$invoke`.
    pub generic: bool,
    /// What can be called, the first that fits. Empty: a POST whose last path segment is the method's name.
    pub methods: Vec<TranscodedMethod>,
    /// What is known of the service before, or instead of, its metadata.
    pub types: DeclaredTypes,
    /// HTTP statuses of exceptions by class, or `com.x.*` for a package; the first that fits.
    pub exceptions: Vec<(Arc<str>, u16)>,
    /// How results are written.
    pub results: ResultForm,
}

impl Transcoding {
    /// Who is called behind a registry's name of a service.
    pub fn service(&self, name: &str) -> DubboService {
        let stated = DubboService::of_name(name);
        let or = |own: &Option<Arc<str>>, stated: String| own.as_deref().map_or(stated, str::to_owned);
        DubboService {
            interface: or(&self.interface, stated.interface),
            group: or(&self.group, stated.group),
            version: or(&self.version, stated.version),
        }
    }
}

/// A service of Dubbo. Its text is the service key, `group/interface:version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DubboService {
    /// The Java interface.
    pub interface: String,
    /// The empty text is none.
    pub group: String,
    /// The empty text is none.
    pub version: String,
}

impl DubboService {
    /// The service that a registry's name stands for: `group/interface:version`, as ZooKeeper's services are named, or
    /// `providers:interface:version:group`, as Dubbo writes it into Nacos.
    pub fn of_name(name: &str) -> Self {
        let of = |interface: &str, group: &str, version: &str| Self {
            interface: interface.to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
        };
        if let Some(rest) = name.strip_prefix("providers:") {
            let mut parts = rest.split(':');
            let mut next = || parts.next().unwrap_or_default();
            let (interface, version) = (next(), next());
            return of(interface, next(), version);
        }
        let (group, rest) = name.rsplit_once('/').unwrap_or(("", name));
        let (interface, version) = rest.split_once(':').unwrap_or((rest, ""));
        of(interface, group, version)
    }
}

impl fmt::Display for DubboService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        f.write_str(&self.interface)?;
        match self.version.is_empty() {
            true => Ok(()),
            false => write!(f, ":{}", self.version),
        }
    }
}

/// A method and the requests that mean it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscodedMethod {
    /// `find`, or `find(long)` to choose among overloads.
    pub method: Arc<str>,
    /// The whole path by its segments. `None`: any whose last segment is the method's name.
    pub path: Option<Vec<PathPart>>,
    /// In upper case. Never empty.
    pub verbs: Vec<Arc<str>>,
    /// The method's parameters in order. `None`: named by the types, if they have names.
    pub parameters: Option<Vec<TranscodedParameter>>,
}

/// A segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathPart {
    /// This text, as it is sent.
    Text(Arc<str>),
    /// Anything: the value of the parameter of that name, or of that place from 0.
    Parameter(Arc<str>),
}

/// A parameter of a method, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscodedParameter {
    /// Its name; in a path, a query and a body it has this one.
    pub name: Arc<str>,
    /// Where it comes from.
    pub from: ParameterSource,
    /// What stands for a text that is not sent.
    pub default: Option<Arc<str>>,
    /// Whether it may be left out of the body.
    pub optional: bool,
}

/// Where a parameter comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ParameterSource {
    /// The path, where the template has its name; never anywhere else.
    Path,
    /// The query parameter of this name; never anywhere else.
    Query(Arc<str>),
    /// The header of this name, in lower case; never anywhere else.
    Header(Arc<str>),
    /// The body.
    Body,
}

/// Types that are declared by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredTypes {
    /// A service definition as providers write it, in JSON. Stands instead of the registry's.
    pub definition: Option<Arc<str>>,
    /// `com.x.Order find(long id, java.util.List<java.lang.String> tags?)`: more methods, or others of these parameters.
    pub methods: Vec<Arc<str>>,
    /// Classes, in place of what else is known of them.
    pub classes: Vec<DeclaredClass>,
}

impl DeclaredTypes {
    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A class that is declared by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredClass {
    /// `com.x.Order`, `com.x.Page<T>`.
    pub name: Arc<str>,
    /// What it is.
    pub shape: DeclaredShape,
}

/// What a declared class is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DeclaredShape {
    /// Fields and their types, in order.
    Fields(Vec<(Arc<str>, Arc<str>)>),
    /// An enum's constants.
    Constants(Vec<Arc<str>>),
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultForm {
    /// Objects say their Java class in a member `class`.
    pub class_names: bool,
    /// Moments as milliseconds since 1970.
    pub millis: bool,
    /// Numbers that a double does not hold exactly, as texts.
    pub big_numbers_as_text: bool,
    /// A thing inside of itself becomes null.
    pub cut_cycles: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_registry_is_a_service_key() {
        for (name, key) in [
            ("org.x.Shop", "org.x.Shop"),
            ("g/org.x.Shop:1.0.0", "g/org.x.Shop:1.0.0"),
            ("providers:org.x.Shop:1.0.0:", "org.x.Shop:1.0.0"),
            ("providers:org.x.Shop:1.0.0:g", "g/org.x.Shop:1.0.0"),
            ("providers:org.x.Shop::g", "g/org.x.Shop"),
        ] {
            assert_eq!(DubboService::of_name(name).to_string(), key);
        }
        let own = Transcoding {
            interface: Some("org.x.Shop".into()),
            version: Some("".into()),
            ..Transcoding::default()
        };
        assert_eq!(own.service("g/shop:2.0.0").to_string(), "g/org.x.Shop");
    }
}
