//! Values to bytes: each container once, and a reference where it comes again.

use std::collections::HashMap;

use super::{
    encode,
    text::JavaString,
    value::{ClassId, Heap, Node, NodeId, Value},
};

/// Why values cannot be written. It is a mistake in their making, never in the bytes they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A value names a container that its heap does not have.
    #[error("a value names a container that is not in the heap")]
    NoSuchNode,
    /// An object's class is not there, or has another number of fields than the object has values.
    #[error("an object does not fit its class")]
    NotItsClass,
    /// More than two thousand million in one list.
    #[error("a list is longer than Java can count")]
    TooLong,
}

/// Encodes the values of one body, one after the other; containers that come again are written as references.
#[derive(Debug)]
pub struct Encoder<'h> {
    heap: &'h Heap,
    out: Vec<u8>,
    /// The reference number of each container that has been written.
    written: HashMap<NodeId, i32>,
    classes: HashMap<ClassId, i32>,
    types: HashMap<JavaString, i32>,
    open: Vec<(NodeId, usize)>,
}

impl<'h> Encoder<'h> {
    /// An encoder for values whose containers are in this heap.
    pub fn new(heap: &'h Heap) -> Self {
        Self {
            heap,
            out: Vec::new(),
            written: HashMap::new(),
            classes: HashMap::new(),
            types: HashMap::new(),
            open: Vec::new(),
        }
    }

    /// Appends one value with all that it holds.
    pub fn value(&mut self, value: &Value) -> Result<(), EncodeError> {
        self.open.clear();
        self.one(value)?;
        while let Some((id, next)) = self.open.last_mut() {
            let (id, at) = (*id, *next);
            *next += 1;
            let heap = self.heap;
            let (child, open_ended) = match heap.get(id).ok_or(EncodeError::NoSuchNode)? {
                Node::List(list) => (list.items.get(at), list.open),
                Node::Object(object) => (object.fields.get(at), false),
                Node::Map(map) => {
                    let side = |(key, value): &'h (Value, Value)| if at % 2 == 0 { key } else { value };
                    (map.entries.get(at / 2).map(side), true)
                }
            };
            match child {
                Some(child) => self.one(child)?,
                None => {
                    if open_ended {
                        self.out.push(b'Z');
                    }
                    self.open.pop();
                }
            }
        }
        Ok(())
    }

    /// Where scalars and strings may be appended between values by the functions of [`encode`](super::encode).
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn one(&mut self, value: &Value) -> Result<(), EncodeError> {
        let out = &mut self.out;
        match value {
            Value::Null => encode::null(out),
            Value::Bool(value) => out.push(if *value { b'T' } else { b'F' }),
            Value::Int(value) => encode::int(out, *value),
            Value::Long(value) => encode::long(out, *value),
            Value::Double(value) => encode::double(out, *value),
            Value::Date(value) => encode::date(out, *value),
            Value::Binary(bytes) => encode::binary(out, bytes),
            Value::String(string) => encode::java_string(out, string),
            Value::Node(id) => return self.node(*id),
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId) -> Result<(), EncodeError> {
        if let Some(number) = self.written.get(&id) {
            self.out.push(b'Q');
            encode::int(&mut self.out, *number);
            return Ok(());
        }
        let number = i32::try_from(self.written.len()).map_err(|_| EncodeError::TooLong)?;
        self.written.insert(id, number);
        let heap = self.heap;
        match heap.get(id).ok_or(EncodeError::NoSuchNode)? {
            Node::List(list) => {
                let length = i32::try_from(list.items.len()).map_err(|_| EncodeError::TooLong)?;
                let (open, fixed, short) = match list.of {
                    Some(_) => (b'U', b'V', 0x70),
                    None => (b'W', b'X', 0x78),
                };
                let short_length = u8::try_from(length).ok().filter(|length| !list.open && *length < 8);
                self.out.push(match short_length {
                    Some(length) => short + length,
                    None if list.open => open,
                    None => fixed,
                });
                if let Some(of) = &list.of {
                    self.type_name(of);
                }
                if !list.open && short_length.is_none() {
                    encode::int(&mut self.out, length);
                }
            }
            Node::Map(map) => match &map.of {
                None => self.out.push(b'H'),
                Some(of) => {
                    self.out.push(b'M');
                    self.type_name(of);
                }
            },
            Node::Object(object) => {
                let class = heap.class(object.class).ok_or(EncodeError::NotItsClass)?;
                if class.fields.len() != object.fields.len() {
                    return Err(EncodeError::NotItsClass);
                }
                let next = self.classes.len() as i32;
                let number = *self.classes.entry(object.class).or_insert_with(|| {
                    self.out.push(b'C');
                    encode::java_string(&mut self.out, &class.name);
                    encode::int(&mut self.out, class.fields.len() as i32);
                    class
                        .fields
                        .iter()
                        .for_each(|field| encode::java_string(&mut self.out, field));
                    next
                });
                match number {
                    0..=15 => self.out.push(0x60 + number as u8),
                    _ => {
                        self.out.push(b'O');
                        encode::int(&mut self.out, number);
                    }
                }
            }
        }
        self.open.push((id, 0));
        Ok(())
    }

    fn type_name(&mut self, of: &JavaString) {
        let next = self.types.len() as i32;
        match self.types.get(of) {
            Some(number) => encode::int(&mut self.out, *number),
            None => {
                encode::java_string(&mut self.out, of);
                self.types.insert(of.clone(), next);
            }
        }
    }
}
