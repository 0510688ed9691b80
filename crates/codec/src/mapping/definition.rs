//! What a service offers: its methods, and the classes that they name; from the provider's metadata, or declared by hand.
//!
//! ```text
//!  Dubbo 3.x, 2.7.22+                                  Dubbo 2.7
//!  {"canonicalName": "com.x.Shop",                     …
//!   "methods": [{"name": "find",                       … the same …
//!                "parameterTypes": ["long"],
//!                "returnType": "com.x.Order"}],
//!   "types": [{"type": "com.x.Order",                  {"type": "com.x.Order",
//!              "properties": {"id": "long"}},           "properties": {"id": {"type": "long", "typeBuilderName": …}}},
//!             {"type": "com.x.Color",
//!              "enums": ["RED"]}]}                      {"type": "com.x.Color", "enum": ["RED"]}
//! ```
//!
//! In 3.x a type names its properties' types, which stand in `types` by themselves; in 2.7 their definitions are inside of it. Both are
//! read alike, whatever mixture comes. Properties are the fields of the class and its parents that are neither static nor transient,
//! which is just what Hessian writes. Names of parameters are not in the metadata: [`Service::name_parameters`] gives them.
//!
//! Source: `ServiceDefinitionBuilder`, `DefaultTypeBuilder`, `TypeDefinition` of Apache Dubbo 2.7.6 and 3.3.

use std::{collections::HashMap, sync::Arc};

use super::{
    json::{Json, JsonLimits, NotJson},
    types::{NotAType, Type, binary_name},
};

/// What a service offers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Service {
    /// The Java interface.
    pub interface: String,
    /// Its methods, overloads one by one.
    pub methods: Vec<Method>,
    /// The classes that they name.
    pub classes: Classes,
}

/// One method, of one set of parameter types.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// Its name, which overloads share.
    pub name: String,
    /// Its parameters in order.
    pub parameters: Vec<Parameter>,
    /// What it returns. [`Type::Object`] if that is not known: then the value tells.
    pub returns: Type,
}

/// A parameter of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name, if it is known.
    pub name: Option<String>,
    /// Its type.
    pub of: Type,
    /// Whether it may be left out; it is null then, or 0 or false where there is no null.
    pub optional: bool,
}

/// The classes of a service by their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Classes {
    by_name: HashMap<Arc<str>, Class>,
}

/// A class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Class {
    /// Its type parameters, if they were declared; metadata has none.
    pub parameters: Vec<String>,
    /// What it is.
    pub shape: Shape,
}

/// What a class is.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Shape {
    /// Only the name is known: an interface, or a class without fields.
    #[default]
    Unknown,
    /// A class with fields.
    Fields(Vec<(Arc<str>, Type)>),
    /// An enum with the names of its constants. Metadata has what their `toString` says: declare them by hand where it differs.
    Constants(Vec<Arc<str>>),
}

/// Why a definition cannot be used. The service stays without types until it, or the declaration, is mended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The text is no JSON.
    #[error("the service definition is not JSON: {0}")]
    NotJson(#[from] NotJson),
    /// JSON, but no service definition.
    #[error("the service definition has {what} at `{at}`")]
    Malformed {
        /// The place.
        at: String,
        /// What is wrong there.
        what: &'static str,
    },
    /// A type's name cannot be read.
    #[error("at `{at}`: {why}")]
    Type {
        /// The place.
        at: String,
        /// What is wrong.
        #[source]
        why: NotAType,
    },
    /// More than is held.
    #[error("the service definition has more than {most} {what}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
}

const MOST: JsonLimits = JsonLimits {
    bytes: 16 << 20,
    depth: 200,
    values: 1 << 21,
};
const MOST_METHODS: usize = 4096;
const MOST_CLASSES: usize = 16_384;
const MOST_PARAMETERS: usize = 255;

impl Classes {
    /// The class of that name, as Java loads it or as it is written in source.
    pub fn get(&self, name: &str) -> Option<&Class> {
        self.by_name
            .get(name)
            .or_else(|| self.by_name.get(binary_name(name).as_str()))
    }

    /// The name that Java loads, if there is such a class.
    pub(super) fn named(&self, name: &str) -> Option<&str> {
        let found = self.by_name.get_key_value(name);
        found
            .or_else(|| self.by_name.get_key_value(binary_name(name).as_str()))
            .map(|(name, _)| &**name)
    }

    /// All classes in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Class)> {
        let mut all: Vec<_> = self.by_name.iter().map(|(name, class)| (&**name, class)).collect();
        all.sort_by_key(|(name, _)| *name);
        all.into_iter()
    }

    /// Declares a class with fields: `com.x.Page<T>` with `[("items", "java.util.List<T>")]`. Replaces what was known of it.
    pub fn declare(&mut self, class: &str, fields: &[(&str, &str)]) -> Result<(), NotAType> {
        let (name, parameters) = match class.split_once('<') {
            Some((name, rest)) => {
                let names = rest.trim_end().trim_end_matches('>').split(',');
                (name, names.map(|name| name.trim().to_owned()).collect())
            }
            None => (class, Vec::new()),
        };
        let mut shape = Vec::new();
        for (field, of) in fields {
            shape.push(((*field).into(), Type::parse_within(of, &parameters)?));
        }
        let class = Class {
            parameters,
            shape: Shape::Fields(shape),
        };
        self.by_name.insert(binary_name(name.trim()).into(), class);
        Ok(())
    }

    /// Declares an enum by the names of its constants. Replaces what was known of it.
    pub fn declare_enum(&mut self, class: &str, constants: &[&str]) {
        let class_of = Class {
            parameters: Vec::new(),
            shape: Shape::Constants(constants.iter().map(|name| (*name).into()).collect()),
        };
        self.by_name.insert(binary_name(class).into(), class_of);
    }

    /// The first that tells something stays: 2.7 repeats definitions, and cuts those that contain themselves.
    fn learn(&mut self, name: &str, shape: Shape) -> Result<(), DefinitionError> {
        if self.by_name.len() >= MOST_CLASSES {
            return Err(DefinitionError::TooMuch {
                what: "classes",
                most: MOST_CLASSES,
            });
        }
        let known = self.by_name.entry(binary_name(name).into()).or_default();
        let better = match (&known.shape, &shape) {
            (Shape::Unknown, _) => true,
            (Shape::Fields(old), Shape::Fields(new)) => new.len() > old.len(),
            _ => false,
        };
        if better {
            known.shape = shape;
        }
        Ok(())
    }
}

impl Service {
    /// A service of which nothing is known but its interface.
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            ..Self::default()
        }
    }

    /// Reads a service definition as Dubbo 2.7 and 3.x write it into the metadata report.
    pub fn parse(definition: &[u8]) -> Result<Self, DefinitionError> {
        let json = Json::parse(definition, MOST)?;
        let interface = json
            .get("canonicalName")
            .and_then(Json::as_str)
            .ok_or(DefinitionError::Malformed {
                at: "$.canonicalName".to_owned(),
                what: "no name of an interface",
            })?;
        let mut service = Self::new(&binary_name(interface));
        for (i, of) in items(&json, "types", "$.types")?.iter().enumerate() {
            service.read_type(of, &format!("$.types[{i}]"), MOST.depth)?;
        }
        for (i, method) in items(&json, "methods", "$.methods")?.iter().enumerate() {
            service.read_method(method, &format!("$.methods[{i}]"))?;
        }
        Ok(service)
    }

    fn read_method(&mut self, method: &Json, at: &str) -> Result<(), DefinitionError> {
        let name = text(method, "name", at)?;
        let types = items(method, "parameterTypes", &format!("{at}.parameterTypes"))?;
        if types.len() > MOST_PARAMETERS || self.methods.len() >= MOST_METHODS {
            return Err(DefinitionError::TooMuch {
                what: "methods, or parameters of one",
                most: MOST_METHODS,
            });
        }
        let mut parameters = Vec::new();
        for (i, of) in types.iter().enumerate() {
            let at = format!("{at}.parameterTypes[{i}]");
            let of = of.as_str().ok_or_else(|| DefinitionError::Malformed {
                at: at.clone(),
                what: "no name of a type",
            })?;
            parameters.push(Parameter {
                name: None,
                of: read(of, &at)?,
                optional: false,
            });
        }
        // 2.7 can have the definitions of the parameters here too.
        for (i, of) in items(method, "parameters", &format!("{at}.parameters"))?
            .iter()
            .enumerate()
        {
            self.read_type(of, &format!("{at}.parameters[{i}]"), MOST.depth)?;
        }
        let returns = match method.get("returnType") {
            None | Some(Json::Null) => Type::Object,
            Some(_) => read(text(method, "returnType", at)?, &format!("{at}.returnType"))?,
        };
        let method = Method {
            name: name.to_owned(),
            parameters,
            returns,
        };
        // An interface lists a method again that a parent has with another return type.
        if !self.methods.iter().any(|known| known.is_like(&method)) {
            self.methods.push(method);
        }
        Ok(())
    }

    /// Learns a type and those inside of it; returns its name.
    fn read_type<'a>(&mut self, of: &'a Json, at: &str, depth: usize) -> Result<&'a str, DefinitionError> {
        if let Some(name) = of.as_str() {
            return Ok(name);
        }
        let depth = depth.checked_sub(1).ok_or(DefinitionError::TooMuch {
            what: "types inside each other",
            most: MOST.depth,
        })?;
        let name = match (of.get("type"), of.get("$ref")) {
            (Some(Json::String(_)), _) => text(of, "type", at)?,
            (_, Some(Json::String(_))) => text(of, "$ref", at)?,
            _ => {
                return Err(DefinitionError::Malformed {
                    at: at.to_owned(),
                    what: "no name of a type",
                });
            }
        };
        for (i, item) in items(of, "items", &format!("{at}.items"))?.iter().enumerate() {
            self.read_type(item, &below(at, &format!(".items[{i}]")), depth)?;
        }
        let mut fields = Vec::new();
        let properties = match of.get("properties") {
            Some(Json::Object(properties)) => properties.as_slice(),
            _ => &[],
        };
        for (field, property) in properties {
            let field = field.to_text();
            let at = below(at, &format!(".properties.{field}"));
            let of = self.read_type(property, &at, depth)?;
            fields.push((Arc::from(&*field), read(of, &at)?));
        }
        let mut constants = Vec::new();
        for list in ["enums", "enum"] {
            let constant = |json: &Json| json.as_str().map(Arc::from);
            constants.extend(items(of, list, &format!("{at}.{list}"))?.iter().filter_map(constant));
        }
        // Only classes of the service's own: those of the JDK and collections are known by their names.
        if let Type::Class { name, .. } = read(name, &format!("{at}.type"))? {
            self.classes.learn(
                &name,
                match (constants.is_empty(), fields.is_empty()) {
                    (false, _) => Shape::Constants(constants),
                    (true, false) => Shape::Fields(fields),
                    (true, true) => Shape::Unknown,
                },
            )?;
        }
        Ok(name)
    }

    /// Declares a method by hand, as in Java's source: `com.x.Page<com.x.Order> find(long customer, java.util.List<java.lang.String> tags?)`.
    ///
    /// Names of parameters and the return type may be missing; a name with a question mark may be left out of a call. Replaces the
    /// method with these parameter types, if there is one.
    pub fn declare(&mut self, method: &str) -> Result<(), DefinitionError> {
        let malformed = |what| DefinitionError::Malformed {
            at: method.chars().take(200).collect(),
            what,
        };
        let (head, rest) = method
            .split_once('(')
            .ok_or(malformed("no `(` behind the method's name"))?;
        let inside = rest
            .trim_end()
            .strip_suffix(')')
            .ok_or(malformed("no `)` at its end"))?;
        let (returns, name) = match head.trim().rsplit_once([' ', '>']) {
            Some((_, name)) => {
                let of = head.trim().get(..head.trim().len() - name.len()).unwrap_or_default();
                (read(of.trim(), method)?, name)
            }
            None => (Type::Object, head.trim()),
        };
        if name.is_empty() || name.contains(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$'))) {
            return Err(malformed("no name of a method before the `(`"));
        }
        let mut parameters = Vec::new();
        for piece in split_outside(inside) {
            let piece = piece.trim();
            let last = piece
                .rsplit_once([' ', '>', ']'])
                .map(|(_, last)| last)
                .filter(|last| !last.is_empty());
            let optional = last.is_some_and(|last| last.ends_with('?'));
            let of = last.map_or(piece, |last| piece.get(..piece.len() - last.len()).unwrap_or_default());
            parameters.push(Parameter {
                name: last.map(|last| last.trim_end_matches('?').to_owned()),
                of: read(of.trim(), method)?,
                optional,
            });
        }
        if parameters.len() > MOST_PARAMETERS {
            return Err(malformed("more than 255 parameters"));
        }
        let method = Method {
            name: name.to_owned(),
            parameters,
            returns,
        };
        self.methods.retain(|known| !known.is_like(&method));
        self.methods.push(method);
        Ok(())
    }

    /// Names the parameters of the methods of that name that have as many; returns how many methods those are.
    pub fn name_parameters(&mut self, method: &str, names: &[&str]) -> usize {
        let mut named = 0;
        for known in &mut self.methods {
            if known.name == method && known.parameters.len() == names.len() {
                for (parameter, name) in known.parameters.iter_mut().zip(names) {
                    parameter.optional = name.ends_with('?');
                    parameter.name = Some(name.trim_end_matches('?').to_owned());
                }
                named += 1;
            }
        }
        named
    }
}

impl Method {
    /// Whether a caller cannot tell the two apart.
    fn is_like(&self, other: &Method) -> bool {
        self.name == other.name && self.signature() == other.signature()
    }

    /// `find(long,java.util.List)`.
    pub fn signature(&self) -> String {
        let types: Vec<String> = self.parameters.iter().map(|of| of.of.java_type().to_string()).collect();
        format!("{}({})", self.name, types.join(","))
    }
}

/// A place inside of another; what is far inside, or of long names, is told by where it begins.
fn below(at: &str, step: &str) -> String {
    if at.len() + step.len() > 500 {
        at.to_owned()
    } else {
        format!("{at}{step}")
    }
}

/// Splits at commas that stand in no angle brackets.
fn split_outside(text: &str) -> Vec<&str> {
    let (mut pieces, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                pieces.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text.get(start..).unwrap_or_default();
    if !last.trim().is_empty() || !pieces.is_empty() {
        pieces.push(last);
    }
    pieces
}

fn read(text: &str, at: &str) -> Result<Type, DefinitionError> {
    Type::parse(text).map_err(|why| DefinitionError::Type {
        at: at.chars().take(300).collect(),
        why,
    })
}

fn text<'a>(of: &'a Json, member: &str, at: &str) -> Result<&'a str, DefinitionError> {
    of.get(member)
        .and_then(Json::as_str)
        .ok_or_else(|| DefinitionError::Malformed {
            at: format!("{at}.{member}"),
            what: "no text",
        })
}

/// A list; one that is missing or null is empty.
fn items<'a>(of: &'a Json, member: &str, at: &str) -> Result<&'a [Json], DefinitionError> {
    match of.get(member) {
        Some(Json::Array(items)) => Ok(items),
        None | Some(Json::Null) => Ok(&[]),
        Some(_) => Err(DefinitionError::Malformed {
            at: at.to_owned(),
            what: "no list",
        }),
    }
}
