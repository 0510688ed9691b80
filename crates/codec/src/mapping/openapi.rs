//! An OpenAPI 3.1 document of methods that are reached by HTTP.
//!
//! ```text
//!  Exposed { POST /shop/find/{id}, Shop.find(long, Filter) } ─▶ paths: /shop/find/{id}: post: parameters, requestBody, 200, default
//!                                     └─ Filter, Color, Page<T> ─▶ components.schemas, each once, those in themselves by $ref
//! ```

use std::collections::BTreeMap;

use super::{
    definition::{Classes, Method, Parameter, Service, Shape},
    json::Json,
    problem::CONTENT_TYPE,
    types::{Known, Scalar, Type},
};

/// A method and where it is reached.
#[derive(Debug, Clone, Copy)]
pub struct Exposed<'a> {
    /// The service that has the method.
    pub service: &'a Service,
    /// The method.
    pub method: &'a Method,
    /// `GET`, `POST`, …; in a document one path has each but once.
    pub verb: &'a str,
    /// `/orders/{id}`: what is in braces is the name, or the place from 0, of a parameter of the method.
    pub path: &'a str,
    /// Parameters of the method that come from neither path nor body, by their names.
    pub places: &'a [(&'a str, Place<'a>)],
}

/// Where else a parameter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// The query parameter of this name; whether it must be there.
    Query(&'a str, bool),
    /// The header of this name; whether it must be there.
    Header(&'a str, bool),
}

/// Schemas of one document; a class whose arguments grow with every step would have no end.
const MOST_SCHEMAS: usize = 4096;

/// The document. The paths come in the order of their texts.
pub fn document(title: &str, version: &str, exposed: &[Exposed<'_>]) -> Json {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<&str, BTreeMap<String, Json>> = BTreeMap::new();
    for of in exposed {
        let operation = operation(of, &mut schemas);
        paths
            .entry(of.path)
            .or_default()
            .insert(of.verb.to_ascii_lowercase(), operation);
    }
    let paths = paths
        .into_iter()
        .map(|(path, verbs)| {
            let verbs = verbs
                .into_iter()
                .map(|(verb, operation)| (verb.into(), operation))
                .collect();
            (path.into(), Json::Object(verbs))
        })
        .collect();
    schemas.done.insert("Problem".to_owned(), problem());
    let schemas = schemas
        .done
        .into_iter()
        .map(|(name, schema)| (name.into(), schema))
        .collect();
    Json::object([
        ("openapi", "3.1.0".into()),
        (
            "info",
            Json::object([("title", title.into()), ("version", version.into())]),
        ),
        ("paths", Json::Object(paths)),
        ("components", Json::object([("schemas", Json::Object(schemas))])),
    ])
}

fn operation(of: &Exposed<'_>, schemas: &mut Schemas) -> Json {
    let classes = &of.service.classes;
    let in_path = |place: usize, parameter: &Parameter| {
        let name = parameter.name.clone().unwrap_or_else(|| place.to_string());
        of.path.contains(&format!("{{{name}}}")) || of.path.contains(&format!("{{{place}}}"))
    };
    let has_body = !["get", "head", "delete", "options"].contains(&of.verb.to_ascii_lowercase().as_str());
    let (mut parameters, mut rest) = (Vec::new(), Vec::new());
    for (place, parameter) in of.method.parameters.iter().enumerate() {
        let path = in_path(place, parameter);
        let own = parameter.name.as_deref();
        if let Some((_, elsewhere)) = of.places.iter().find(|(name, _)| Some(*name) == own) {
            let (kind, name, required) = match elsewhere {
                Place::Query(name, required) => ("query", *name, *required),
                Place::Header(name, required) => ("header", *name, *required),
            };
            parameters.push(Json::object([
                ("name", name.into()),
                ("in", kind.into()),
                ("required", Json::Bool(required)),
                ("schema", schemas.of(&parameter.of, classes)),
            ]));
            continue;
        }
        if !path && has_body {
            rest.push(parameter);
            continue;
        }
        let place_text = place.to_string();
        let name = match parameter.name.as_deref() {
            Some(name) if !of.path.contains(&format!("{{{place}}}")) => name,
            _ => &place_text,
        };
        parameters.push(Json::object([
            ("name", name.into()),
            ("in", if path { "path" } else { "query" }.into()),
            ("required", Json::Bool(path || !parameter.optional)),
            ("schema", schemas.of(&parameter.of, classes)),
        ]));
    }
    let mut members = vec![
        ("operationId", Json::from(operation_id(of))),
        (
            "summary",
            Json::from(format!("{}.{}", of.service.interface, of.method.signature())),
        ),
        ("tags", Json::Array(vec![of.service.interface.as_str().into()])),
    ];
    if !parameters.is_empty() {
        members.push(("parameters", Json::Array(parameters)));
    }
    if !rest.is_empty() {
        let required = rest.iter().any(|parameter| !parameter.optional);
        let schema = body(&rest, classes, schemas);
        members.push((
            "requestBody",
            Json::object([
                ("required", Json::Bool(required)),
                ("content", content("application/json", schema)),
            ]),
        ));
    }
    let problem = content(CONTENT_TYPE, reference("Problem"));
    let failed = Json::object([("description", "What went wrong".into()), ("content", problem)]);
    let success = match &of.method.returns {
        Type::Void => ("204", Json::object([("description", "Done".into())])),
        returns => {
            let schema = schemas.nullable(returns, classes);
            let content = content("application/json", schema);
            (
                "200",
                Json::object([("description", "The result".into()), ("content", content)]),
            )
        }
    };
    members.push(("responses", Json::object([success, ("default", failed)])));
    Json::object(members)
}

/// One for each verb and path, as the document must have it.
fn operation_id(of: &Exposed<'_>) -> String {
    let path: String = of
        .path
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    format!("{}{path}", of.verb.to_ascii_lowercase())
}

fn content(kind: &str, schema: Json) -> Json {
    Json::object([(kind, Json::object([("schema", schema)]))])
}

fn reference(name: &str) -> Json {
    Json::object([("$ref", Json::from(format!("#/components/schemas/{name}")))])
}

/// One parameter is the body itself; several are an object if they have names, else an array.
fn body(rest: &[&Parameter], classes: &Classes, schemas: &mut Schemas) -> Json {
    if let [one] = rest {
        return schemas.of(&one.of, classes);
    }
    let named: Option<Vec<&str>> = rest.iter().map(|parameter| parameter.name.as_deref()).collect();
    let mut schema_of = |parameter: &Parameter| schemas.nullable(&parameter.of, classes);
    match named {
        Some(names) => {
            let properties = names
                .iter()
                .zip(rest)
                .map(|(name, parameter)| ((*name).into(), schema_of(parameter)));
            let properties = Json::Object(properties.collect());
            let required = rest.iter().filter(|parameter| !parameter.optional);
            let required = required
                .filter_map(|parameter| parameter.name.as_deref())
                .map(Json::from);
            Json::object([
                ("type", "object".into()),
                ("properties", properties),
                ("required", Json::Array(required.collect())),
                ("additionalProperties", Json::Bool(false)),
            ])
        }
        None => {
            let count = Json::from(i64::try_from(rest.len()).unwrap_or(i64::MAX));
            Json::object([
                ("type", "array".into()),
                (
                    "prefixItems",
                    Json::Array(rest.iter().map(|parameter| schema_of(parameter)).collect()),
                ),
                ("minItems", count.clone()),
                ("maxItems", count),
            ])
        }
    }
}

fn problem() -> Json {
    let kind = |of: &str| Json::object([("type", of.into())]);
    Json::object([
        ("type", "object".into()),
        ("description", "RFC 9457".into()),
        (
            "properties",
            Json::object([
                ("type", kind("string")),
                ("title", kind("string")),
                ("status", kind("integer")),
                ("detail", kind("string")),
                ("exception", kind("string")),
                ("dubboStatus", kind("integer")),
            ]),
        ),
        (
            "required",
            Json::Array(vec!["type".into(), "title".into(), "status".into()]),
        ),
    ])
}

#[derive(Default)]
struct Schemas {
    done: BTreeMap<String, Json>,
}

impl Schemas {
    /// The schema of a type where null may stand too.
    fn nullable(&mut self, of: &Type, classes: &Classes) -> Json {
        let schema = self.of(of, classes);
        if of.is_primitive() {
            return schema;
        }
        match schema {
            Json::Object(members) if members.is_empty() => Json::Object(members),
            Json::Object(mut members) if matches!(members.first(), Some((name, Json::String(_))) if *name == "type") => {
                if let Some((_, kind)) = members.first_mut() {
                    *kind = Json::Array(vec![kind.clone(), "null".into()]);
                }
                Json::Object(members)
            }
            other => Json::object([(
                "anyOf",
                Json::Array(vec![other, Json::object([("type", "null".into())])]),
            )]),
        }
    }

    fn of(&mut self, of: &Type, classes: &Classes) -> Json {
        let simple = |kind: &str| Json::object([("type", kind.into())]);
        let formatted = |kind: &str, format: &str| Json::object([("type", kind.into()), ("format", format.into())]);
        match of {
            Type::Void => simple("null"),
            Type::Primitive(scalar) | Type::Boxed(scalar) => match scalar {
                Scalar::Boolean => simple("boolean"),
                Scalar::Byte | Scalar::Short => {
                    let most: i64 = if *scalar == Scalar::Byte { 0x7f } else { 0x7fff };
                    let bounds = [("minimum", Json::from(-most - 1)), ("maximum", Json::from(most))];
                    Json::object([("type", "integer".into())].into_iter().chain(bounds))
                }
                Scalar::Int => formatted("integer", "int32"),
                Scalar::Long => formatted("integer", "int64"),
                Scalar::Float => formatted("number", "float"),
                Scalar::Double => formatted("number", "double"),
                Scalar::Char => Json::object([
                    ("type", "string".into()),
                    ("minLength", 1.into()),
                    ("maxLength", 1.into()),
                ]),
            },
            Type::Known(known) => match known {
                Known::String | Known::ZoneId | Known::ZoneOffset | Known::Locale | Known::Period => simple("string"),
                Known::Number | Known::BigDecimal => simple("number"),
                Known::BigInteger | Known::Year => simple("integer"),
                Known::Date
                | Known::SqlDate
                | Known::SqlTime
                | Known::SqlTimestamp
                | Known::Calendar
                | Known::Instant
                | Known::OffsetDateTime => formatted("string", "date-time"),
                Known::LocalDate => formatted("string", "date"),
                Known::OffsetTime => formatted("string", "time"),
                Known::Duration => formatted("string", "duration"),
                Known::Uuid => formatted("string", "uuid"),
                Known::LocalTime => example("07:08:09"),
                Known::LocalDateTime => example("2024-05-06T07:08:09"),
                Known::ZonedDateTime => example("2024-05-06T07:08:09+08:00[Asia/Shanghai]"),
                Known::YearMonth => example("2024-05"),
                Known::MonthDay => example("--05-06"),
            },
            Type::Array(item) if **item == Type::Primitive(Scalar::Byte) => {
                Json::object([("type", "string".into()), ("contentEncoding", "base64".into())])
            }
            Type::Array(item) if **item == Type::Primitive(Scalar::Char) => simple("string"),
            Type::Array(item) | Type::Collection { item, .. } => {
                Json::object([("type", "array".into()), ("items", self.nullable(item, classes))])
            }
            Type::Map { value, .. } => Json::object([
                ("type", "object".into()),
                ("additionalProperties", self.nullable(value, classes)),
            ]),
            Type::Optional(inner) => self.nullable(inner, classes),
            Type::Object | Type::Parameter(_) => Json::Object(Vec::new()),
            Type::Class { name, arguments } => self.class(name, arguments, classes),
        }
    }

    fn class(&mut self, name: &str, arguments: &[Type], classes: &Classes) -> Json {
        let key = key(name, arguments);
        if !self.done.contains_key(&key) {
            if self.done.len() >= MOST_SCHEMAS {
                return Json::Object(Vec::new());
            }
            // There before its members are looked at, which may lead back to it.
            self.done.insert(key.clone(), Json::Null);
            let schema = match classes.get(name).map(|class| &class.shape) {
                Some(Shape::Constants(names)) => Json::object([
                    ("type", "string".into()),
                    (
                        "enum",
                        Json::Array(names.iter().map(|name| Json::from(&**name)).collect()),
                    ),
                ]),
                Some(Shape::Fields(fields)) => {
                    let mut properties: Vec<(crate::hessian2::JavaString, Json)> = Vec::new();
                    for (field, of) in fields {
                        let schema = self.nullable(&of.with(arguments), classes);
                        properties.push((field.as_ref().into(), schema));
                    }
                    Json::object([
                        ("type", "object".into()),
                        ("title", name.into()),
                        ("properties", Json::Object(properties)),
                    ])
                }
                Some(Shape::Unknown) | None => Json::object([("title", name.into())]),
            };
            self.done.insert(key.clone(), schema);
        }
        reference(&key)
    }
}

fn example(text: &str) -> Json {
    Json::object([("type", "string".into()), ("examples", Json::Array(vec![text.into()]))])
}

/// A name that a component may have: letters, digits, dots, dashes and underscores.
fn key(name: &str, arguments: &[Type]) -> String {
    let whole = Type::Class {
        name: name.into(),
        arguments: arguments.to_vec(),
    };
    let mut key = String::new();
    for c in whole.to_string().chars() {
        match c {
            '.' | '_' | '-' => key.push(c),
            c if c.is_ascii_alphanumeric() => key.push(c),
            '$' => key.push('.'),
            '<' | ',' => key.push('_'),
            '[' => key.push_str("-list"),
            '>' | ']' | ' ' => {}
            other => key.push_str(&format!("-{:x}-", u32::from(other))),
        }
    }
    key
}
