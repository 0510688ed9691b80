//! What a value must look like, read from the JSON Schema of the types, and the check against it.
//!
//! ```text
//! Rust types ─(schemars)─▶ JSON Schema ─┬─▶ editors
//!                                       └─▶ Shape ─▶ check: every problem at its place
//!                                                 └▶ value: sound parts back into the Rust types (serde)
//! ```
//!
//! So one definition of a field serves serde, editors and error texts. Besides the standard keywords the
//! schemas carry four of our own: `x-mend` (what to write instead), `x-later` and `x-later-values` (fields
//! and values that the Gateway API knows and we do not implement), and the standard `writeOnly` for what
//! is never shown. Next on the path: [`document`](crate::document).

mod check;
mod compile;

pub(crate) use check::{Fault, check, value};
pub(crate) use compile::compile;

use std::collections::BTreeMap;

use regex::Regex;

/// What a value must look like.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// Anything at all.
    Any,
    Text(Box<Text>),
    Integer {
        min: i64,
        max: i64,
        mend: Option<String>,
    },
    Bool,
    List {
        item: Box<Shape>,
        min: usize,
        max: usize,
    },
    /// Free keys.
    Map {
        value: Box<Shape>,
        max: usize,
    },
    Object(Object),
    /// Decided by whether a scalar, list or mapping is found.
    Either(Vec<Shape>),
}

/// A text and its limits.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub pattern: Option<Regex>,
    pub min: usize,
    pub max: usize,
    /// Empty: any text.
    pub choices: Vec<String>,
    /// Values that others know and we do not implement.
    pub later: Vec<String>,
    /// Never shown.
    pub hidden: bool,
    pub mend: Option<String>,
}

/// Named fields, no others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    pub fields: BTreeMap<String, Field>,
    /// Fields that others know and we do not implement.
    pub later: Vec<String>,
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub shape: Shape,
    pub required: bool,
    /// The first sentence of its description.
    pub about: String,
}

impl Shape {
    /// The shape of a field of an object.
    pub fn field(&self, name: &str) -> Option<&Shape> {
        match self {
            Self::Object(object) => object.fields.get(name).map(|field| &field.shape),
            Self::Map { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The shape of a list's items.
    pub fn item(&self) -> Option<&Shape> {
        match self {
            Self::List { item, .. } => Some(item),
            _ => None,
        }
    }

    /// What it wants, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::Integer { min, max, .. } => {
                let (low, high) = (
                    *min > i64::from(i32::MIN),
                    *max < i64::from(u32::MAX) && *max != i64::from(i32::MAX),
                );
                match (low, high) {
                    (true, true) => format!("a whole number from {min} to {max}"),
                    (true, false) => format!("a whole number of at least {min}"),
                    _ => "a whole number".to_owned(),
                }
            }
            Self::Bool => "`true` or `false`".to_owned(),
            Self::List { .. } => "a list".to_owned(),
            Self::Map { .. } | Self::Object(_) => "a mapping".to_owned(),
            Self::Either(shapes) => {
                let words: Vec<_> = shapes.iter().map(Self::describe).collect();
                words.join(" or ")
            }
        }
    }
}
