//! From a JSON Schema (inlined, as schemars writes it) to a [`Shape`].

use regex::Regex;
use serde_json::{Map, Value};

use super::{Field, Object, Shape, Text};

/// Compiles a schema of our own types. What it does not understand becomes [`Shape::Any`]; the tests of the
/// kinds make sure that nothing does unmeant.
pub(crate) fn compile(schema: &Value) -> Shape {
    let Some(schema) = schema.as_object() else {
        return Shape::Any;
    };
    for word in ["anyOf", "oneOf"] {
        if let Some(branches) = schema.get(word).and_then(Value::as_array) {
            return union(schema, branches);
        }
    }
    match type_of(schema) {
        Some("string") => Shape::Text(Box::new(text(schema))),
        Some("integer") => Shape::Integer {
            min: schema.get("minimum").and_then(integer).unwrap_or(least(schema)),
            max: schema
                .get("maximum")
                .and_then(integer)
                .unwrap_or_else(|| widest(schema)),
            mend: string(schema, "x-mend"),
        },
        Some("boolean") => Shape::Bool,
        Some("array") => Shape::List {
            item: Box::new(schema.get("items").map_or(Shape::Any, compile)),
            min: count(schema, "minItems").unwrap_or(0),
            max: count(schema, "maxItems").unwrap_or(usize::MAX),
        },
        Some("object") => match schema.get("additionalProperties") {
            Some(free) if free.is_object() => Shape::Map {
                value: Box::new(compile(free)),
                max: count(schema, "maxProperties").unwrap_or(usize::MAX),
            },
            _ => Shape::Object(object(schema)),
        },
        _ if schema.contains_key("const") || schema.contains_key("enum") => Shape::Text(Box::new(text(schema))),
        _ => Shape::Any,
    }
}

/// Choices of one text, an optional value, or values told apart by what they are made of.
fn union(schema: &Map<String, Value>, branches: &[Value]) -> Shape {
    let real: Vec<&Value> = branches
        .iter()
        .filter(|b| b.get("type") != Some(&"null".into()))
        .collect();
    let is_choice = |b: &&Value| b.get("const").is_some() || b.get("enum").is_some();
    match &real[..] {
        all if all.iter().all(is_choice) => {
            let mut text = text(schema);
            for branch in all {
                text.choices
                    .extend(branch.get("const").and_then(Value::as_str).map(str::to_owned));
                text.choices.extend(branch.get("enum").map(strings).unwrap_or_default());
                text.later
                    .extend(branch.get("x-later-values").map(strings).unwrap_or_default());
            }
            Shape::Text(Box::new(text))
        }
        [one] => compile(one),
        several => Shape::Either(several.iter().map(|b| compile(b)).collect()),
    }
}

fn text(schema: &Map<String, Value>) -> Text {
    let mut choices = schema.get("enum").map(strings).unwrap_or_default();
    choices.extend(string(schema, "const"));
    Text {
        pattern: string(schema, "pattern").and_then(|pattern| Regex::new(&pattern).ok()),
        min: count(schema, "minLength").unwrap_or(0),
        max: count(schema, "maxLength").unwrap_or(usize::MAX),
        choices,
        later: schema.get("x-later-values").map(strings).unwrap_or_default(),
        hidden: schema.get("writeOnly") == Some(&Value::Bool(true)),
        mend: string(schema, "x-mend"),
    }
}

fn object(schema: &Map<String, Value>) -> Object {
    let required = schema.get("required").map(strings).unwrap_or_default();
    let mut object = Object {
        later: schema.get("x-later").map(strings).unwrap_or_default(),
        ..Object::default()
    };
    for (name, schema) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let about = about.split_once(". ").map_or(about, |(first, _)| first);
        object.fields.insert(
            name.clone(),
            Field {
                shape: compile(schema),
                required: required.contains(name),
                about: about.trim_end_matches('.').replace('\n', " "),
            },
        );
    }
    object
}

fn type_of(schema: &Map<String, Value>) -> Option<&str> {
    match schema.get("type")? {
        Value::String(one) => Some(one),
        Value::Array(several) => several.iter().filter_map(Value::as_str).find(|t| *t != "null"),
        _ => None,
    }
}

/// The least that the Rust type behind the number holds.
fn least(schema: &Map<String, Value>) -> i64 {
    match schema.get("format").and_then(Value::as_str) {
        Some("int32") => i32::MIN.into(),
        _ => i64::MIN,
    }
}

/// The most that the Rust type behind the number holds.
fn widest(schema: &Map<String, Value>) -> i64 {
    match schema.get("format").and_then(Value::as_str) {
        Some("uint8") => u8::MAX.into(),
        Some("uint16") => u16::MAX.into(),
        Some("uint32") => u32::MAX.into(),
        Some("int32") => i32::MAX.into(),
        _ => i64::MAX,
    }
}

/// schemars writes limits that come from attributes as they are, which may be as `1.0`.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|f| f as i64))
}

fn count(schema: &Map<String, Value>, key: &str) -> Option<usize> {
    schema
        .get(key)
        .and_then(Value::as_u64)
        .and_then(|n| usize::try_from(n).ok())
}

fn string(schema: &Map<String, Value>, key: &str) -> Option<String> {
    schema.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
