//! Results to JSON: objects as their fields and nothing more, enums by name, numbers by every digit.
//!
//! What a value is, it says itself; the declared type helps where Hessian keeps less than Java has: a float is a double on the wire,
//! the keys of a map may be anything, a class may be an enum.
//!
//! Hessian can say one thing twice by number. A thing that is written out again and again could fill the memory, so there is a limit on
//! the size; one that holds itself has no end, and is refused or cut.

use std::fmt::Write as _;

use base64::Engine as _;

use super::{
    call::Call,
    definition::{Classes, Shape},
    fit::{BASE64, step},
    json::Json,
    known::{self, Said},
    number, time,
    types::{Scalar, Type},
};
use crate::hessian2::{Heap, JavaString, Map, Node, NodeId, Object, Value};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultOptions {
    /// Objects say their Java class in a member `class`. Default: no.
    pub class_names: bool,
    /// Moments (`java.util.Date` and its kin) as milliseconds since 1970 and not as ISO 8601 in UTC. Default: no.
    pub millis: bool,
    /// Integers beyond 2^53, BigInteger and BigDecimal as strings, for readers whose numbers are doubles, as JavaScript's. Default:
    /// no; all digits are written in any case.
    pub big_numbers_as_text: bool,
    /// A thing inside of itself becomes null and does not fail the call. Default: no.
    pub cut_cycles: bool,
    /// Things inside each other. Default 64; 256 is the most.
    pub depth: usize,
    /// Bytes of JSON, about. Default 8 MiB.
    pub size: usize,
}

impl Default for ResultOptions {
    fn default() -> Self {
        Self {
            class_names: false,
            millis: false,
            big_numbers_as_text: false,
            cut_cycles: false,
            depth: 64,
            size: 8 << 20,
        }
    }
}

/// Why a result cannot be JSON. The call has been made; answered with 502.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// A thing that holds itself.
    #[error("the result holds itself at {at}, which JSON cannot")]
    Cycle {
        /// The place.
        at: String,
    },
    /// More than is written.
    #[error("the result has more than {most} {what}, at {at}")]
    TooMuch {
        /// The place.
        at: String,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A value that points to nothing.
    #[error("the result points to nothing at {at}")]
    Broken {
        /// The place.
        at: String,
    },
}

const MOST_DEPTH: usize = 256;

/// The JSON of what a call returned.
pub fn result(
    call: &Call,
    value: &Value,
    heap: &Heap,
    classes: &Classes,
    options: ResultOptions,
) -> Result<Json, ResultError> {
    json_of(value, heap, &call.returns, classes, call.generic, options)
}

/// The JSON of a value of a type. In what a generic call returned (`generic`) objects are maps with their class inside.
pub fn json_of(
    value: &Value,
    heap: &Heap,
    of: &Type,
    classes: &Classes,
    generic: bool,
    options: ResultOptions,
) -> Result<Json, ResultError> {
    json_within(value, heap, of, classes, generic, options, &mut { options.size })
}

/// As [`json_of`], for one of several values that share a size: `left` is what is left of it.
pub(super) fn json_within(
    value: &Value,
    heap: &Heap,
    of: &Type,
    classes: &Classes,
    generic: bool,
    options: ResultOptions,
    left: &mut usize,
) -> Result<Json, ResultError> {
    let mut writer = Writer {
        heap,
        classes,
        options,
        generic,
        open: Vec::new(),
        left: *left,
        at: "$".to_owned(),
    };
    let json = writer.value(value, of)?;
    *left = writer.left;
    Ok(json)
}

struct Writer<'a> {
    heap: &'a Heap,
    classes: &'a Classes,
    options: ResultOptions,
    generic: bool,
    /// What the value stands in.
    open: Vec<NodeId>,
    left: usize,
    at: String,
}

impl Writer<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), ResultError> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| ResultError::TooMuch {
            at: self.at.clone(),
            what: "bytes",
            most: self.options.size,
        })?;
        Ok(())
    }

    fn value(&mut self, value: &Value, of: &Type) -> Result<Json, ResultError> {
        // An Optional is no place of its own.
        let of = if let Type::Optional(inner) = of { inner } else { of };
        Ok(match value {
            Value::Null => {
                self.spend(5)?;
                Json::Null
            }
            Value::Bool(value) => {
                self.spend(6)?;
                Json::Bool(*value)
            }
            Value::Int(value) => self.number(value.to_string())?,
            Value::Long(value) => {
                let beyond = value.unsigned_abs() > 1 << 53;
                self.big_number(value.to_string(), beyond)?
            }
            Value::Double(value) => {
                let is_float = matches!(of, Type::Primitive(Scalar::Float) | Type::Boxed(Scalar::Float));
                let text = if is_float {
                    number::float_text(*value)
                } else {
                    number::double_text(*value)
                };
                match text {
                    Some(text) => self.number(text)?,
                    None if value.is_nan() => self.text("NaN".into())?,
                    None if *value > 0.0 => self.text("Infinity".into())?,
                    None => self.text("-Infinity".into())?,
                }
            }
            Value::Date(millis) => self.moment(*millis)?,
            Value::Binary(bytes) => {
                self.spend(bytes.len() / 3 * 4 + 6)?;
                Json::from(BASE64.encode(bytes))
            }
            Value::String(text) => self.text(text.clone())?,
            Value::Node(id) => return self.node(*id, of),
        })
    }

    fn number(&mut self, text: String) -> Result<Json, ResultError> {
        self.spend(text.len() + 1)?;
        Ok(Json::Number(text.into()))
    }

    fn big_number(&mut self, text: String, beyond: bool) -> Result<Json, ResultError> {
        if beyond && self.options.big_numbers_as_text {
            self.text(text.into())
        } else {
            self.number(text)
        }
    }

    fn text(&mut self, text: JavaString) -> Result<Json, ResultError> {
        self.spend(text.as_bytes().len() + 3)?;
        Ok(Json::String(text))
    }

    fn moment(&mut self, millis: i64) -> Result<Json, ResultError> {
        if self.options.millis {
            self.number(millis.to_string())
        } else {
            self.text(time::millis_text(millis).into())
        }
    }

    fn node(&mut self, id: NodeId, of: &Type) -> Result<Json, ResultError> {
        if self.open.contains(&id) {
            if self.options.cut_cycles {
                self.spend(5)?;
                return Ok(Json::Null);
            }
            return Err(ResultError::Cycle { at: self.at.clone() });
        }
        let most = self.options.depth.min(MOST_DEPTH);
        if self.open.len() >= most {
            return Err(ResultError::TooMuch {
                at: self.at.clone(),
                what: "things inside each other",
                most,
            });
        }
        self.spend(3)?;
        self.open.push(id);
        let heap = self.heap;
        let json = match heap.get(id) {
            Some(Node::List(list)) => {
                let item = match of {
                    Type::Array(item) | Type::Collection { item, .. } => item,
                    _ => &Type::Object,
                };
                self.items(&list.items, item).map(Json::Array)
            }
            Some(Node::Map(map)) => self.map(map, of),
            Some(Node::Object(object)) => self.object(object, of),
            None => Err(ResultError::Broken { at: self.at.clone() }),
        }?;
        self.open.pop();
        Ok(json)
    }

    fn items(&mut self, items: &[Value], of: &Type) -> Result<Vec<Json>, ResultError> {
        let length = self.at.len();
        let mut done = Vec::new();
        for (i, item) in items.iter().enumerate() {
            // Writing into a string cannot fail.
            let _ = write!(self.at, "[{i}]");
            done.push(self.value(item, of)?);
            self.at.truncate(length);
        }
        Ok(done)
    }

    fn below(&mut self, name: &JavaString, value: &Value, of: &Type) -> Result<Json, ResultError> {
        let length = self.at.len();
        step(&mut self.at, &name.to_text());
        self.spend(name.as_bytes().len() + 4)?;
        let json = self.value(value, of)?;
        self.at.truncate(length);
        Ok(json)
    }

    fn map(&mut self, map: &Map, of: &Type) -> Result<Json, ResultError> {
        if let Type::Class { name, arguments } = of {
            return self.map_of_object(map, name, arguments);
        }
        let (of_key, of_value) = match of {
            Type::Map { key, value, .. } => (&**key, &**value),
            _ => (&Type::Object, &Type::Object),
        };
        let mut keys = Vec::with_capacity(map.entries.len());
        let mut seen = std::collections::HashSet::new();
        for (key, _) in &map.entries {
            let name = match key {
                Value::String(text) => Some(text.clone()),
                // A container as a key may be an enum, a date, a BigDecimal: what it is in JSON tells.
                key => match self.value(key, of_key)? {
                    Json::String(text) => Some(text),
                    Json::Number(text) => Some((&*text).into()),
                    Json::Bool(value) => Some(value.to_string().into()),
                    _ => None,
                },
            };
            keys.push(name.filter(|name| seen.insert(name.clone())));
        }
        if keys.iter().all(Option::is_some) {
            let mut members = Vec::with_capacity(keys.len());
            for (name, (_, value)) in keys.into_iter().flatten().zip(&map.entries) {
                if self.generic && name == "class" && !self.options.class_names {
                    continue;
                }
                let json = self.below(&name, value, of_value)?;
                members.push((name, json));
            }
            return Ok(Json::Object(members));
        }
        let mut entries = Vec::with_capacity(map.entries.len());
        for (key, value) in &map.entries {
            let (name, of_entry) = (JavaString::from("key"), JavaString::from("value"));
            let key = self.below(&name, key, of_key)?;
            let value = self.below(&of_entry, value, of_value)?;
            entries.push(Json::Object(vec![(name, key), (of_entry, value)]));
        }
        Ok(Json::Array(entries))
    }

    /// An object that came as a map, as `$invoke` returns them.
    fn map_of_object(&mut self, map: &Map, name: &str, arguments: &[Type]) -> Result<Json, ResultError> {
        let mut members: Vec<(JavaString, Json)> = Vec::with_capacity(map.entries.len());
        for (key, value) in &map.entries {
            let Value::String(field) = key else {
                return self.map(map, &Type::Object);
            };
            if (*field == "class" && !self.options.class_names) || members.iter().any(|(known, _)| known == field) {
                continue;
            }
            let of = self.type_of_field(name, arguments, field);
            let json = self.below(field, value, &of)?;
            members.push((field.clone(), json));
        }
        Ok(Json::Object(members))
    }

    fn type_of_field(&self, class: &str, arguments: &[Type], field: &JavaString) -> Type {
        let fields = match self.classes.get(class).map(|class| &class.shape) {
            Some(Shape::Fields(fields)) => fields.as_slice(),
            _ => &[],
        };
        let found = fields.iter().find(|(name, _)| *field == **name);
        found.map_or(Type::Object, |(_, of)| of.with(arguments))
    }

    fn object(&mut self, object: &Object, of: &Type) -> Result<Json, ResultError> {
        let heap = self.heap;
        let Some(class) = heap.class(object.class) else {
            return Err(ResultError::Broken { at: self.at.clone() });
        };
        let name = class.name.to_text();
        match known::said(&name, object, heap) {
            Some(Said::Text(text)) => return self.text(text),
            Some(Said::Number(text)) => return self.big_number(text, name.starts_with("java.math.")),
            Some(Said::Moment(millis)) => return self.moment(millis),
            None => {}
        }
        if name == "java.util.Optional" {
            return match heap.field(object, "value") {
                Some(value) => self.value(value, of),
                None => Ok(Json::Null),
            };
        }
        if let Some(Value::String(constant)) = self.enum_constant(object, &name) {
            return self.text(constant.clone());
        }
        let is_thrown = heap.field(object, "stackTrace").is_some() && heap.field(object, "detailMessage").is_some();
        let arguments: &[Type] = match of {
            Type::Class {
                name: declared,
                arguments,
            } if **declared == *name => arguments,
            _ => &[],
        };
        let mut members: Vec<(JavaString, Json)> = Vec::with_capacity(object.fields.len());
        if self.options.class_names {
            let json = self.text(class.name.clone())?;
            members.push(("class".into(), json));
        }
        for (field, value) in class.fields.iter().zip(&object.fields) {
            // Of a throwable only what it says: stacks are for the provider's own eyes, and a cause without one is itself.
            if is_thrown
                && ["stackTrace", "cause", "suppressedExceptions"]
                    .iter()
                    .any(|hidden| *field == **hidden)
            {
                continue;
            }
            // A class and its parent may both have a field of that name; the first is the class's own.
            if members.iter().any(|(known, _)| known == field) {
                continue;
            }
            let of = self.type_of_field(&name, arguments, field);
            let json = self.below(field, value, &of)?;
            members.push((field.clone(), json));
        }
        Ok(Json::Object(members))
    }

    /// The constant's name, if the object is one of an enum. Of a class that is not known it is guessed: its one field is `name`, and
    /// what is in it is written as constants are.
    fn enum_constant<'v>(&self, object: &'v Object, class: &str) -> Option<&'v Value> {
        let [constant] = object.fields.as_slice() else {
            return None;
        };
        let name = self.heap.field(object, "name")?;
        match self.classes.get(class).map(|class| &class.shape) {
            Some(Shape::Constants(_)) => Some(constant),
            Some(Shape::Fields(_)) => None,
            _ => {
                let Value::String(text) = name else { return None };
                let text = text.as_str()?;
                let like = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
                (text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(like)).then_some(constant)
            }
        }
    }
}
