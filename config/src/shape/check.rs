//! A node against its shape: all faults at once, and the sound parts as values for serde.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Object, Shape, Text};
use crate::{
    problem::{MAX_PROBLEMS, one_of, suggestion},
    yaml::{Content, Node, Scalar},
};

/// Something wrong with one node, before it has a file name.
#[derive(Debug)]
pub(crate) struct Fault {
    pub line: u32,
    pub column: u32,
    pub path: String,
    pub what: String,
    pub mend: String,
}

/// Checks everything below `node`. The ids of nodes that are wrong themselves go into `broken`.
pub(crate) fn check(node: &Node, shape: &Shape, path: &str, faults: &mut Vec<Fault>, broken: &mut BTreeSet<u32>) {
    Check { faults, broken }.node(node, shape, path, "");
}

struct Check<'a> {
    faults: &'a mut Vec<Fault>,
    broken: &'a mut BTreeSet<u32>,
}

impl Check<'_> {
    fn fault(&mut self, node: &Node, path: &str, what: String, mend: String) {
        self.broken.insert(node.id);
        let (line, column) = (node.line, node.column);
        self.report(Fault {
            line,
            column,
            path: path.to_owned(),
            what,
            mend,
        });
    }

    fn report(&mut self, fault: Fault) {
        if self.faults.len() <= MAX_PROBLEMS {
            self.faults.push(fault);
        }
    }

    fn node(&mut self, node: &Node, shape: &Shape, path: &str, about: &str) {
        match (shape, &node.content) {
            (Shape::Any, _) => {}
            (_, Content::Scalar(scalar)) if scalar.unresolved => drop(self.broken.insert(node.id)),
            (Shape::Text(text), Content::Scalar(scalar)) => self.text(node, scalar, text, path, about),
            (Shape::Integer { min, max, mend }, Content::Scalar(scalar)) => {
                let mend = || {
                    let wanted = mend.clone().unwrap_or_else(|| format!("write {}", shape.describe()));
                    with_about(wanted, about)
                };
                match scalar.as_integer() {
                    Some(number) if (*min..=*max).contains(&number) => {}
                    Some(number) => self.fault(node, path, format!("{number} is out of range"), mend()),
                    None if scalar.text.parse::<i64>().is_ok() => {
                        let what = format!("`{}` is a text, not a number", scalar.shown());
                        self.fault(node, path, what, "remove the quotes".to_owned());
                    }
                    None => {
                        let what = format!("{} is not a whole number", node.describe());
                        self.fault(node, path, what, mend());
                    }
                }
            }
            (Shape::Bool, Content::Scalar(scalar)) => {
                if scalar.as_bool().is_none() {
                    let what = format!("{} is neither `true` nor `false`", node.describe());
                    self.fault(
                        node,
                        path,
                        what,
                        with_about("write `true` or `false`".to_owned(), about),
                    );
                }
            }
            (Shape::List { item, min, max }, Content::List(items)) => {
                if items.len() < *min {
                    let what = format!("{} items, at least {min} needed", items.len());
                    self.fault(
                        node,
                        path,
                        what,
                        with_about("add what is missing, or remove the field".into(), about),
                    );
                }
                if items.len() > *max {
                    let what = format!("{} items, at most {max} allowed", items.len());
                    self.fault(node, path, what, "remove some, or split the document".to_owned());
                }
                for (i, one) in items.iter().enumerate() {
                    self.node(one, item, &format!("{path}[{i}]"), about);
                }
            }
            (Shape::Map { value, max }, Content::Map(entries)) => {
                if entries.len() > *max {
                    let what = format!("{} entries, at most {max} allowed", entries.len());
                    self.fault(node, path, what, "remove some".to_owned());
                }
                for entry in entries {
                    self.node(&entry.value, value, &join(path, &entry.key), "");
                }
            }
            (Shape::Object(object), Content::Map(_)) => self.object(node, object, path),
            (Shape::Either(shapes), _) => match choose(shapes, node) {
                Some(shape) => self.node(node, shape, path, about),
                None => self.mismatch(node, shape, path, about),
            },
            _ => self.mismatch(node, shape, path, about),
        }
    }

    fn mismatch(&mut self, node: &Node, shape: &Shape, path: &str, about: &str) {
        let what = format!("{} where {} is wanted", node.describe(), shape.describe());
        let what = if hidden(shape) {
            format!("not {}", shape.describe())
        } else {
            what
        };
        let mend = match shape {
            Shape::List { .. } if !matches!(node.content, Content::Map(_)) => "write `[ … ]`, or lines with `- `",
            Shape::List { .. } => "put `- ` in front: it is a list",
            Shape::Map { .. } | Shape::Object(_) => "write `{ … }`, or indented lines with `key: value`",
            _ => "write a single value",
        };
        self.fault(node, path, what, with_about(mend.to_owned(), about));
    }

    fn text(&mut self, node: &Node, scalar: &Scalar, text: &Text, path: &str, about: &str) {
        let shown = || {
            if text.hidden {
                "the value".to_owned()
            } else {
                format!("`{}`", scalar.shown())
            }
        };
        let mend = || {
            let wanted = text.mend.clone().unwrap_or_else(|| "write a text".to_owned());
            with_about(wanted, if text.mend.is_some() { "" } else { about })
        };
        let length = scalar.text.chars().count();
        if scalar.is_null() {
            let mend = if text.choices.is_empty() {
                mend()
            } else {
                one_of(text.choices.iter().map(String::as_str))
            };
            self.fault(node, path, "no value".to_owned(), mend);
        } else if !text.choices.is_empty() {
            if text.later.contains(&scalar.text) {
                let what = format!("{} is known to the Gateway API, but not supported yet", shown());
                self.fault(node, path, what, one_of(text.choices.iter().map(String::as_str)));
            } else if !text.choices.contains(&scalar.text) {
                let what = format!("{} is none of the known values", shown());
                self.fault(
                    node,
                    path,
                    what,
                    suggestion(&scalar.text, text.choices.iter().map(String::as_str)),
                );
            }
        } else if !scalar.is_text() {
            let what = format!("{} is not a text", shown());
            self.fault(node, path, what, "put it in quotes".to_owned());
        } else if length < text.min {
            let what = if length == 0 {
                "an empty text".to_owned()
            } else {
                format!("{} is too short", shown())
            };
            self.fault(node, path, what, mend());
        } else if length > text.max {
            let what = format!("{length} characters, at most {} allowed", text.max);
            self.fault(node, path, what, "shorten it".to_owned());
        } else if text
            .pattern
            .as_ref()
            .is_some_and(|pattern| !pattern.is_match(&scalar.text))
        {
            self.fault(node, path, format!("{} is not allowed here", shown()), mend());
        }
    }

    fn object(&mut self, node: &Node, object: &Object, path: &str) {
        for entry in node.entries() {
            if let Some(field) = object.fields.get(&entry.key) {
                // An empty optional field is the same as none, as in Kubernetes.
                if field.required || !entry.value.is_null() {
                    self.node(&entry.value, &field.shape, &join(path, &entry.key), &field.about);
                }
                continue;
            }
            let key = entry.key.escape_debug();
            let (what, mend) = if object.later.contains(&entry.key) {
                let what = format!("the field `{key}` is known to the Gateway API, but not supported yet");
                (what, "remove it: what it asks for would not happen".to_owned())
            } else if entry.key == "<<" {
                let what = "the merge key `<<` is not YAML 1.2".to_owned();
                (what, "write the fields out".to_owned())
            } else {
                let what = format!("unknown field `{key}`");
                (what, suggestion(&entry.key, object.fields.keys().map(String::as_str)))
            };
            self.broken.insert(node.id);
            let (line, column, path) = (entry.line, entry.column, join(path, &entry.key));
            self.report(Fault {
                line,
                column,
                path,
                what,
                mend,
            });
        }
        for (name, field) in &object.fields {
            if field.required && node.get(name).is_none() {
                let mend = if field.about.is_empty() {
                    "add it".to_owned()
                } else {
                    format!("add it ({})", field.about)
                };
                self.fault(node, path, format!("the field `{name}` is missing"), mend);
            }
        }
    }
}

fn with_about(mend: String, about: &str) -> String {
    if about.is_empty() {
        mend
    } else {
        format!("{mend} ({about})")
    }
}

fn hidden(shape: &Shape) -> bool {
    matches!(shape, Shape::Text(text) if text.hidden)
}

fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/<".contains(&b));
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[\"{}\"]", key.escape_debug()),
    }
}

/// Of several shapes the one that fits the kind of node.
fn choose<'s>(shapes: &'s [Shape], node: &Node) -> Option<&'s Shape> {
    let fits = |shape: &&Shape| match &node.content {
        Content::Scalar(_) => matches!(shape, Shape::Any | Shape::Text(_) | Shape::Integer { .. } | Shape::Bool),
        Content::List(_) => matches!(shape, Shape::Any | Shape::List { .. }),
        Content::Map(_) => matches!(shape, Shape::Any | Shape::Map { .. } | Shape::Object(_)),
    };
    shapes.iter().find(fits)
}

/// The node as a value for serde: typed as the shape says, without empty or unknown fields.
pub(crate) fn value(node: &Node, shape: &Shape) -> Value {
    match (&node.content, shape) {
        (_, Shape::Either(shapes)) => choose(shapes, node).map_or(Value::Null, |shape| value(node, shape)),
        (Content::Scalar(scalar), Shape::Text(_)) => Value::String(scalar.text.clone()),
        (Content::Scalar(scalar), Shape::Integer { .. }) => scalar.as_integer().map_or(Value::Null, Value::from),
        (Content::Scalar(scalar), Shape::Bool) => scalar.as_bool().map_or(Value::Null, Value::from),
        (Content::List(items), Shape::List { item, .. }) => items.iter().map(|one| value(one, item)).collect(),
        (Content::Map(entries), Shape::Map { value: shape, .. }) => {
            let pairs = entries.iter().map(|e| (e.key.clone(), value(&e.value, shape)));
            Value::Object(pairs.collect())
        }
        (Content::Map(entries), Shape::Object(object)) => {
            let known = entries.iter().filter(|e| !e.value.is_null());
            let pairs = known.filter_map(|e| Some((e.key.clone(), value(&e.value, &object.fields.get(&e.key)?.shape))));
            Value::Object(pairs.collect())
        }
        _ => Value::Null,
    }
}
