//! Bytes to values: every kind of value that Hessian2 has, as it was.
//!
//! Next on the path: [`Heap`](super::Heap), where containers go; [`Encoder`](super::Encoder) for the way back.

use std::mem::size_of;

use super::{
    cursor::Cursor,
    error::{Error, Limits},
    text::JavaString,
    value::{Class, ClassId, Heap, List, Map, Node, NodeId, Object, Value},
    walk::{Scalar, Sink, Walk},
};

/// Decodes the values of one body, one after the other. They share one heap, since later ones may refer into earlier ones.
#[derive(Debug)]
pub struct Decoder<'a> {
    walk: Walk<'a>,
    build: Build,
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of a body.
    pub fn new(bytes: &'a [u8], limits: Limits) -> Self {
        let build = Build {
            memory: limits.memory,
            held: 0,
            heap: Heap::new(),
            types: Vec::new(),
            open: Vec::new(),
            done: Value::Null,
        };
        Self {
            walk: Walk::new(bytes, limits),
            build,
        }
    }

    /// The next value. After an error the decoder is of no more use.
    pub fn value(&mut self) -> Result<Value, Error> {
        self.walk.value(&mut self.build)?;
        Ok(std::mem::replace(&mut self.build.done, Value::Null))
    }

    /// Where the next value begins.
    pub fn position(&self) -> usize {
        self.walk.cursor.at()
    }

    /// Whether all bytes are read.
    pub fn is_at_end(&self) -> bool {
        self.walk.cursor.left() == 0
    }

    /// What the values so far hold.
    pub fn heap(&self) -> &Heap {
        &self.build.heap
    }

    /// What the values hold, when all are read.
    pub fn into_heap(self) -> Heap {
        self.build.heap
    }
}

/// One value from bytes that hold nothing else, as an argument in Triple's wrapper does.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<(Value, Heap), Error> {
    let mut decoder = Decoder::new(bytes, limits);
    let value = decoder.value()?;
    if !decoder.is_at_end() {
        return Err(Error::Malformed {
            at: decoder.position(),
            what: "bytes after the value",
        });
    }
    Ok((value, decoder.into_heap()))
}

#[derive(Debug)]
struct Build {
    memory: usize,
    held: usize,
    heap: Heap,
    types: Vec<JavaString>,
    /// Containers that are not complete, and for a map the key that waits for its value.
    open: Vec<(NodeId, Option<Value>)>,
    done: Value,
}

impl Build {
    fn hold(&mut self, at: usize, bytes: usize) -> Result<(), Error> {
        self.held = self.held.saturating_add(bytes);
        if self.held > self.memory {
            return Err(Error::TooMuch {
                at,
                what: "bytes of memory",
                most: self.memory,
            });
        }
        Ok(())
    }

    fn put(&mut self, at: usize, value: Value) -> Result<(), Error> {
        self.hold(at, size_of::<Value>())?;
        let Some((id, key)) = self.open.last_mut() else {
            self.done = value;
            return Ok(());
        };
        match self.heap.get_mut(*id) {
            Some(Node::List(list)) => list.items.push(value),
            Some(Node::Object(object)) => object.fields.push(value),
            Some(Node::Map(map)) => match key.take() {
                Some(key) => map.entries.push((key, value)),
                None => *key = Some(value),
            },
            None => debug_assert!(false, "what is open is in the heap"),
        }
        Ok(())
    }

    fn begin(&mut self, at: usize, node: Node) -> Result<(), Error> {
        self.hold(at, size_of::<Node>())?;
        let id = NodeId(self.heap.len() as u32);
        // Into the parent first: while it waits inside, its own number is known already.
        self.put(at, Value::Node(id))?;
        self.heap.add(node);
        self.open.push((id, None));
        Ok(())
    }

    fn name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<JavaString, Error> {
        let at = cursor.at();
        let name = cursor.java_string(tag)?;
        self.hold(at, size_of::<JavaString>() + name.as_bytes().len())?;
        Ok(name)
    }

    fn type_at(&self, of: Option<usize>) -> Option<JavaString> {
        self.types.get(of?).cloned()
    }
}

impl Sink for Build {
    fn scalar(&mut self, at: usize, scalar: Scalar) -> Result<(), Error> {
        self.put(
            at,
            match scalar {
                Scalar::Null => Value::Null,
                Scalar::Bool(value) => Value::Bool(value),
                Scalar::Int(value) => Value::Int(value),
                Scalar::Long(value) => Value::Long(value),
                Scalar::Double(value) => Value::Double(value),
                Scalar::Date(value) => Value::Date(value),
            },
        )
    }

    fn string(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        let at = cursor.at();
        let name = self.name(cursor, tag)?;
        self.put(at, Value::String(name))
    }

    fn binary(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        let at = cursor.at();
        let mut bytes = Vec::new();
        cursor.binary(tag, |piece| bytes.extend_from_slice(piece))?;
        self.hold(at, bytes.len())?;
        self.put(at, Value::Binary(bytes.into()))
    }

    fn reference(&mut self, at: usize, number: usize) -> Result<(), Error> {
        self.put(at, Value::Node(NodeId(number as u32)))
    }

    fn type_name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        let name = self.name(cursor, tag)?;
        self.types.push(name);
        Ok(())
    }

    fn class_name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        let name = self.name(cursor, tag)?;
        // Not `Heap::define`: a class that is defined twice has two numbers on the wire.
        self.heap.classes.push(Class {
            name,
            fields: Vec::new(),
        });
        Ok(())
    }

    fn class_field(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        let name = self.name(cursor, tag)?;
        if let Some(class) = self.heap.classes.last_mut() {
            class.fields.push(name);
        }
        Ok(())
    }

    fn list(&mut self, at: usize, of: Option<usize>, open: bool) -> Result<(), Error> {
        let of = self.type_at(of);
        self.begin(
            at,
            Node::List(List {
                of,
                open,
                items: Vec::new(),
            }),
        )
    }

    fn map(&mut self, at: usize, of: Option<usize>) -> Result<(), Error> {
        let of = self.type_at(of);
        self.begin(
            at,
            Node::Map(Map {
                of,
                entries: Vec::new(),
            }),
        )
    }

    fn object(&mut self, at: usize, class: usize) -> Result<(), Error> {
        self.begin(
            at,
            Node::Object(Object {
                class: ClassId(class as u32),
                fields: Vec::new(),
            }),
        )
    }

    fn end(&mut self) {
        self.open.pop();
    }
}
