//! JSON to the value of a type: strict, so that what Java gets is what the caller meant, and of errors that tell place and mend.
//!
//! ```text
//!  Type + JSON ──▶ Fit ──▶ Value in a Heap, and how well it fits (for overloads)
//!                   └────▶ Misfit: $.items[2].price is a boolean; write a number
//! ```
//!
//! Members that JSON leaves out stay what Java's class begins with; members that are null are null. A member `class` may name a class
//! of the service, where the declared type is not enough; no other class is ever named to Java.

mod objects;

use std::fmt::Write as _;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    definition::Classes,
    json::Json,
    known,
    number::Decimal,
    types::{Known, Scalar, Type, wire_class},
};
use crate::hessian2::{Heap, JavaString, List, Map, Node, Value};

/// How arguments are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What members of an object mean that its class does not have: an error, which is the default, or nothing.
    pub ignore_unknown_members: bool,
    /// UUIDs as two longs, for providers before Dubbo 2.7.8; newer ones take text. Each takes the other's form for something else. The
    /// default is text. (hessian-lite 3.2.8 has the first `UUIDDeserializer`.)
    pub uuid_as_halves: bool,
}

/// Why a value is none of the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}; {mend}")]
pub struct Misfit {
    /// The place as a JSON path, or the name of a path or query parameter.
    pub at: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// How well a value fits, lower is better. An integer is an int before it is a long, as in Java.
pub(super) type Cost = u8;

/// Different sets of members that the objects of one call may have; each is a class definition on the wire.
const MOST_SHAPES: usize = 1024;

/// Base64 as JSON's writers have it, with its padding or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Makes the values of one call.
pub(super) struct Fit<'a> {
    classes: &'a Classes,
    options: Options,
    /// For `$invoke`: objects as maps and enums by name, which the provider makes into what it wants.
    generic: bool,
    pub(super) heap: Heap,
    at: String,
    cost: Cost,
    shapes: usize,
}

impl<'a> Fit<'a> {
    pub(super) fn new(classes: &'a Classes, options: Options, generic: bool) -> Self {
        Self {
            classes,
            options,
            generic,
            heap: Heap::new(),
            at: String::new(),
            cost: 0,
            shapes: 0,
        }
    }

    /// The argument of a type, and how well the JSON fits it. `at` is where the JSON stands.
    pub(super) fn argument(&mut self, of: &Type, json: &Json, at: &str) -> Result<(Value, Cost), Misfit> {
        self.at.clear();
        self.at.push_str(at);
        self.cost = 0;
        let value = self.value(of, json)?;
        Ok((value, self.cost))
    }

    /// The argument of a type from the texts of a path or query: one, or several for a list.
    pub(super) fn text(&mut self, of: &Type, texts: &[&str], at: &str) -> Result<(Value, Cost), Misfit> {
        let read = |of: &Type, text: &str| match of {
            Type::Primitive(Scalar::Boolean) | Type::Boxed(Scalar::Boolean) if text == "true" => Json::Bool(true),
            Type::Primitive(Scalar::Boolean) | Type::Boxed(Scalar::Boolean) if text == "false" => Json::Bool(false),
            Type::Known(
                Known::Date | Known::SqlDate | Known::SqlTime | Known::SqlTimestamp | Known::Calendar | Known::Year,
            ) if super::json::is_number(text) => Json::Number(text.into()),
            _ => Json::from(text),
        };
        let of_one = if let Type::Optional(inner) = of { inner } else { of };
        let json = match (of_one, texts) {
            (Type::Array(item), _) if !matches!(**item, Type::Primitive(Scalar::Byte | Scalar::Char)) => {
                Json::Array(texts.iter().map(|text| read(item, text)).collect())
            }
            (Type::Collection { item, .. }, _) => Json::Array(texts.iter().map(|text| read(item, text)).collect()),
            (_, [text]) => read(of_one, text),
            _ => {
                return Err(Misfit {
                    at: at.to_owned(),
                    what: format!("it is given {} times", texts.len()),
                    mend: "give it once: it is no list".to_owned(),
                });
            }
        };
        self.argument(of, &json, at)
    }

    fn costs(&mut self, cost: Cost) {
        self.cost = self.cost.max(cost);
    }

    fn misfit(&self, what: impl Into<String>, mend: impl Into<String>) -> Misfit {
        Misfit {
            at: self.at.clone(),
            what: what.into(),
            mend: mend.into(),
        }
    }

    fn wants<T>(&self, json: &Json, of: &Type, form: &str) -> Result<T, Misfit> {
        let mut shown = json.to_string();
        let what = match json {
            Json::Array(_) | Json::Object(_) | Json::Null => json.kind().to_owned(),
            _ => {
                if shown.len() > 60 {
                    shown = shown.chars().take(50).chain("…".chars()).collect();
                }
                format!("{} ({shown})", json.kind())
            }
        };
        Err(self.misfit(format!("{what} is no {of}"), format!("write {form}")))
    }

    fn value(&mut self, of: &Type, json: &Json) -> Result<Value, Misfit> {
        match (of, json) {
            (Type::Optional(inner), _) => {
                let value = self.value(inner, json)?;
                Ok(self.heap.object("java.util.Optional", vec![("value", value)]))
            }
            (Type::Primitive(_), Json::Null) => self.wants(json, of, "a value: this type has no null"),
            (_, Json::Null) => Ok(Value::Null),
            (Type::Primitive(scalar) | Type::Boxed(scalar), _) => self.scalar(*scalar, json, of),
            (Type::Known(known), _) => self.known(*known, json, of),
            (Type::Array(item), _) => self.array(item, json, of),
            (Type::Collection { class, item }, Json::Array(items)) => {
                let items = self.items(item, items)?;
                Ok(self.list(wire_class(class).map(JavaString::from), items))
            }
            (Type::Collection { .. }, _) => self.wants(json, of, "an array"),
            (Type::Map { class, key, value }, _) => {
                self.costs(2);
                let entries = self.entries(key, value, json, of)?;
                Ok(self.map(wire_class(class), entries))
            }
            (Type::Class { name, arguments }, _) => self.class(name, arguments, json, of),
            (Type::Void, _) => self.wants(json, of, "null"),
            (Type::Object | Type::Parameter(_), _) => {
                self.costs(9);
                self.anything(json)
            }
        }
    }

    fn list(&mut self, of: Option<JavaString>, items: Vec<Value>) -> Value {
        Value::Node(self.heap.add(Node::List(List { of, open: false, items })))
    }

    fn map(&mut self, of: Option<&str>, entries: Vec<(Value, Value)>) -> Value {
        Value::Node(self.heap.add(Node::Map(Map {
            of: of.map(JavaString::from),
            entries,
        })))
    }

    fn scalar(&mut self, scalar: Scalar, json: &Json, of: &Type) -> Result<Value, Misfit> {
        let (text, cost) = match json {
            Json::Bool(value) if scalar == Scalar::Boolean => return Ok(Value::Bool(*value)),
            Json::String(text) if scalar == Scalar::Char && text.len_utf16() == 1 => {
                self.costs(1);
                return Ok(Value::String(text.clone()));
            }
            Json::Number(text) => (Some(&**text), 0),
            Json::String(text) => (text.as_str(), 4),
            _ => (None, 0),
        };
        self.costs(cost);
        let whole = |least: i64, most: i64| {
            let value = text.and_then(Decimal::of).and_then(|decimal| decimal.long());
            value.filter(|value| (least..=most).contains(value))
        };
        let int = |value: i64| i32::try_from(value).map_or(Value::Long(value), Value::Int);
        let (value, cost, form) = match scalar {
            Scalar::Boolean => (None, 0, "true or false"),
            Scalar::Char => (None, 0, "a text of one UTF-16 unit"),
            Scalar::Byte => (whole(-0x80, 0x7f).map(int), 3, "an integer from -128 to 127"),
            Scalar::Short => (whole(-0x8000, 0x7fff).map(int), 2, "an integer from -32768 to 32767"),
            Scalar::Int => (
                whole(i64::from(i32::MIN), i64::from(i32::MAX)).map(int),
                0,
                "an integer from -2147483648 to 2147483647",
            ),
            Scalar::Long => (
                whole(i64::MIN, i64::MAX).map(Value::Long),
                1,
                "an integer from -9223372036854775808 to 9223372036854775807",
            ),
            Scalar::Float | Scalar::Double => {
                let named = match text {
                    Some("NaN") => Some(f64::NAN),
                    Some("Infinity") => Some(f64::INFINITY),
                    Some("-Infinity") => Some(f64::NEG_INFINITY),
                    _ => None,
                };
                let number = text.filter(|text| super::json::is_number(text));
                let parsed = if scalar == Scalar::Float {
                    // As Java writes a float: the double of its shortest text.
                    let float = number
                        .and_then(|text| text.parse::<f32>().ok())
                        .filter(|value| value.is_finite());
                    float.and_then(|value| value.to_string().parse().ok())
                } else {
                    number
                        .and_then(|text| text.parse::<f64>().ok())
                        .filter(|value| value.is_finite())
                };
                let integral = number.is_some_and(|text| !text.contains(['.', 'e', 'E']));
                let cost = u8::from(scalar == Scalar::Float) + if integral { 4 } else { 0 };
                (
                    named.or(parsed).map(Value::Double),
                    cost,
                    "a number within its range, or \"NaN\", \"Infinity\", \"-Infinity\"",
                )
            }
        };
        self.costs(cost);
        match value {
            Some(value) => Ok(value),
            None => self.wants(json, of, form),
        }
    }

    fn known(&mut self, of_known: Known, json: &Json, of: &Type) -> Result<Value, Misfit> {
        match known::value(of_known, json, &mut self.heap, self.options.uuid_as_halves) {
            Some(value) => {
                self.costs(match (of_known, json) {
                    (Known::String, _) => 0,
                    (Known::BigDecimal, Json::Number(text)) if text.contains(['.', 'e', 'E']) => 2,
                    (_, Json::Number(_)) => 6,
                    (Known::BigDecimal | Known::BigInteger | Known::Number, _) => 4,
                    (Known::Locale | Known::ZoneId, _) => 4,
                    _ => 2,
                });
                Ok(value)
            }
            None => self.wants(json, of, known::form(of_known)),
        }
    }

    fn array(&mut self, item: &Type, json: &Json, of: &Type) -> Result<Value, Misfit> {
        match (item, json) {
            (Type::Primitive(Scalar::Byte), Json::String(text)) => {
                self.costs(3);
                match text.as_str().and_then(|text| BASE64.decode(text).ok()) {
                    Some(bytes) => Ok(Value::Binary(bytes.into())),
                    None => self.wants(json, of, "the bytes in base64"),
                }
            }
            (Type::Primitive(Scalar::Byte), _) => self.wants(json, of, "the bytes in base64"),
            (Type::Primitive(Scalar::Char), Json::String(text)) => {
                self.costs(3);
                Ok(Value::String(text.clone()))
            }
            (Type::Primitive(Scalar::Char), _) => self.wants(json, of, "text in quotes"),
            (_, Json::Array(items)) => {
                let items = self.items(item, items)?;
                // Maps that stand for objects fit no array of their class; the provider makes one of the list.
                let class = (!self.generic || !is_of_objects(item)).then(|| array_class(item).into());
                Ok(self.list(class, items))
            }
            _ => self.wants(json, of, "an array"),
        }
    }

    fn items(&mut self, of: &Type, items: &[Json]) -> Result<Vec<Value>, Misfit> {
        let length = self.at.len();
        let mut values = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            // Writing into a string cannot fail.
            let _ = write!(self.at, "[{i}]");
            values.push(self.value(of, item)?);
            self.at.truncate(length);
        }
        Ok(values)
    }

    fn below<T>(&mut self, name: &JavaString, then: impl FnOnce(&mut Self) -> Result<T, Misfit>) -> Result<T, Misfit> {
        let length = self.at.len();
        step(&mut self.at, &name.to_text());
        let done = then(self)?;
        self.at.truncate(length);
        Ok(done)
    }
}

/// Whether what is in an array, or in the arrays of an array, are objects of the service's own classes.
fn is_of_objects(item: &Type) -> bool {
    match item {
        Type::Array(inner) => is_of_objects(inner),
        other => matches!(other, Type::Class { .. }),
    }
}

/// The name of an array of these on the wire: `[int`, `[string`, `[[com.x.Order`.
fn array_class(item: &Type) -> String {
    match item {
        Type::Array(inner) => format!("[{}", array_class(inner)),
        Type::Known(Known::String) => "[string".to_owned(),
        Type::Known(Known::Date) => "[date".to_owned(),
        Type::Object | Type::Parameter(_) => "[object".to_owned(),
        other => format!("[{}", other.java_type().name),
    }
}

/// Adds a member's name to a JSON path.
pub(super) fn step(at: &mut String, name: &str) {
    let plain =
        !name.is_empty() && name.len() <= 100 && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    // Writing into a string cannot fail.
    let _ = if plain {
        write!(at, ".{name}")
    } else {
        write!(at, "[{}]", Json::from(name.chars().take(100).collect::<String>()))
    };
}

/// The first of some names, for errors.
pub(super) fn some_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut listed: Vec<&str> = names.take(13).collect();
    if listed.len() > 12 {
        listed.truncate(12);
        listed.push("…");
    }
    listed.join(", ")
}
