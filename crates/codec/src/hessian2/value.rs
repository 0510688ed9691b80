//! Values as we hold them: scalars in place, containers in a [`Heap`] beside them.
//!
//! ```text
//!   Value::Node(0) ──▶ nodes[0]  Object class 0  [ Int 7, String "Ann", Node(0) ]  ◀─┐ a cycle is a number,
//!                      nodes[1]  List            [ Node(0), Node(0) ]  ───────────────┘ and two places that share
//!                                                                                      a thing have the same one
//! ```
//!
//! So identity is kept: what Java shares is shared after the way back, cycles are finite to hold, and dropping a value that is
//! nested a million deep needs no stack.

use super::text::JavaString;

/// A Java value. What Java has more kinds of than Hessian2 comes as the kind that carries it: byte and short as [`Int`](Self::Int),
/// float as [`Double`](Self::Double), char as [`String`](Self::String), an enum as an object with a field `name`, BigDecimal as
/// one with a string in `value`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// Java's int, short and byte.
    Int(i32),
    /// Java's long.
    Long(i64),
    /// Java's double and float.
    Double(f64),
    /// `java.util.Date`: milliseconds since 1970 in UTC.
    Date(i64),
    /// `byte[]`.
    Binary(Box<[u8]>),
    /// Java's String and char.
    String(JavaString),
    /// A list, map or object in the heap.
    Node(NodeId),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

/// Where a container is in its [`Heap`]. Of no meaning in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub(super) u32);

/// Where a class is in its [`Heap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClassId(pub(super) u32);

impl ClassId {
    /// Its place among the classes of its heap, from 0.
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// The containers and classes of one body.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heap {
    pub(super) nodes: Vec<Node>,
    pub(super) classes: Vec<Class>,
}

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A list, a set or an array.
    List(List),
    /// A map.
    Map(Map),
    /// An instance of a class.
    Object(Object),
}

/// A list, a set or an array.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct List {
    /// The Java class, or the name of an array: `[int`, `[string`, `[object`, `[java.lang.StackTraceElement`. `None` is an
    /// `ArrayList` to Java.
    pub of: Option<JavaString>,
    /// Written without a length, up to an end mark.
    pub open: bool,
    /// What is in it.
    pub items: Vec<Value>,
}

/// A map. Keys may be anything; order is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// The Java class. `None` is a `HashMap` to Java.
    pub of: Option<JavaString>,
    /// Keys and their values. A key that comes twice is kept twice; Java keeps the last.
    pub entries: Vec<(Value, Value)>,
}

/// An instance of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its class.
    pub class: ClassId,
    /// A value for each field, in the order of the class.
    pub fields: Vec<Value>,
}

/// A class as its definition tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Class {
    /// `java.math.BigDecimal`.
    pub name: JavaString,
    /// The names of the fields.
    pub fields: Vec<JavaString>,
}

impl Heap {
    /// An empty heap.
    pub fn new() -> Self {
        Self::default()
    }

    /// The container of that number.
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)
    }

    /// The container of that number, to change it.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize)
    }

    /// The class of that number.
    pub fn class(&self, id: ClassId) -> Option<&Class> {
        self.classes.get(id.0 as usize)
    }

    /// How many containers there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no container.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A new container. Those that hold each other are made empty first and filled by [`get_mut`](Self::get_mut).
    pub fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// A list without a class, which Java takes for an `ArrayList`.
    pub fn list(&mut self, items: Vec<Value>) -> Value {
        Value::Node(self.add(Node::List(List {
            items,
            ..List::default()
        })))
    }

    /// An array or a list of a class: `[string`, `java.util.LinkedList`.
    pub fn typed_list(&mut self, of: &str, items: Vec<Value>) -> Value {
        Value::Node(self.add(Node::List(List {
            of: Some(of.into()),
            items,
            open: false,
        })))
    }

    /// A map without a class, which Java takes for a `HashMap`.
    pub fn map(&mut self, entries: Vec<(Value, Value)>) -> Value {
        Value::Node(self.add(Node::Map(Map { of: None, entries })))
    }

    /// An object; its class is defined if no class of that name has these very fields.
    pub fn object(&mut self, class: &str, fields: Vec<(&str, Value)>) -> Value {
        let (names, fields): (Vec<JavaString>, Vec<Value>) =
            fields.into_iter().map(|(name, value)| (name.into(), value)).unzip();
        let class = self.define(Class {
            name: class.into(),
            fields: names,
        });
        Value::Node(self.add(Node::Object(Object { class, fields })))
    }

    /// The number of a class, which is new if there is none like it.
    pub fn define(&mut self, class: Class) -> ClassId {
        let place = self
            .classes
            .iter()
            .position(|known| *known == class)
            .unwrap_or_else(|| {
                self.classes.push(class);
                self.classes.len() - 1
            });
        ClassId(place as u32)
    }

    /// An object's value for the field of that name.
    pub fn field<'a>(&self, object: &'a Object, name: &str) -> Option<&'a Value> {
        let class = self.class(object.class)?;
        object.fields.get(class.fields.iter().position(|field| *field == name)?)
    }
}
