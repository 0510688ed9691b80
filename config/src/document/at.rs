//! A finger to point into a document: reads what it points at, and reports problems there.

use serde::de::DeserializeOwned;

use super::{Document, join};
use crate::{
    problem::Problem,
    shape::{self, Shape},
    yaml::Node,
};

/// A value of a document: what it is, what it should be, where it stands.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub(super) document: &'a Document,
    pub(super) node: &'a Node,
    pub(super) shape: &'a Shape,
    pub(super) path: String,
}

impl<'a> At<'a> {
    /// The document it belongs to.
    pub fn document(&self) -> &'a Document {
        self.document
    }

    /// The value of a field, unless it is empty or not there.
    pub fn field(&self, name: &str) -> Option<At<'a>> {
        let node = self.node.get(name).filter(|node| !node.is_null())?;
        let (document, shape) = (self.document, self.shape.field(name)?);
        Some(At {
            document,
            node,
            shape,
            path: join(&self.path, name),
        })
    }

    /// The items of a list under a field; none if there is no such list.
    pub fn items(&self, name: &str) -> Vec<At<'a>> {
        let Some(list) = self.field(name) else {
            return Vec::new();
        };
        let Some(shape) = list.shape.item() else {
            return Vec::new();
        };
        let numbered = list.node.items().iter().enumerate();
        let at = |(i, node)| At {
            document: self.document,
            node,
            shape,
            path: format!("{}[{i}]", list.path),
        };
        numbered.map(at).collect()
    }

    /// The value as its type, if nothing inside has a fault.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        if self.document.broken.range(self.node.id..self.node.end).next().is_some() {
            return None;
        }
        match serde_json::from_value(shape::value(self.node, self.shape)) {
            Ok(value) => Some(value),
            Err(error) => {
                // The shape is made from the type, so what passes it also deserialises.
                debug_assert!(false, "{}: {error}", self.path);
                None
            }
        }
    }

    /// The text of a field, sound or not.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.node.get(name).and_then(Node::as_text)
    }

    /// A problem at `field` (a path such as `matches[1].path.value`, or empty), or at the nearest place around it.
    pub fn problem(&self, field: &str, what: impl Into<String>, mend: impl Into<String>) -> Problem {
        let mut node = self.node;
        for step in field.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match step.strip_suffix(']') {
                Some(index) => index.parse::<usize>().ok().and_then(|i| node.items().get(i)),
                None => node.get(step),
            };
            match next {
                Some(inner) => node = inner,
                None => break,
            }
        }
        Problem {
            file: self.document.file.clone(),
            line: node.line,
            column: node.column,
            path: join(&self.path, field),
            what: what.into(),
            mend: mend.into(),
        }
    }
}
