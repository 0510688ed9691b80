//! Values to bytes, as Java's own writer would: always the shortest form, and a reference where a container comes again.
//!
//! The scalar writers at the top take no number in any table; strings can therefore be written in front of, or behind, anything.

use std::collections::HashMap;

use super::{
    text::{JavaString, utf16_len},
    value::{ClassId, Heap, Node, NodeId, Value},
};

/// Units in one chunk of a string, and bytes in one of a binary. Java cuts there too.
const CHUNK: usize = 0x8000;

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

/// Appends null.
pub fn null(out: &mut Vec<u8>) {
    out.push(b'N');
}

/// Appends an int in its shortest form.
pub fn int(out: &mut Vec<u8>, value: i32) {
    match value {
        -0x10..=0x2f => out.push((0x90 + value) as u8),
        -0x800..=0x7ff => out.extend([(0xc8 + (value >> 8)) as u8, value as u8]),
        -0x40000..=0x3ffff => out.extend([(0xd4 + (value >> 16)) as u8, (value >> 8) as u8, value as u8]),
        _ => {
            out.push(b'I');
            out.extend(value.to_be_bytes());
        }
    }
}

/// Appends a long in its shortest form.
pub fn long(out: &mut Vec<u8>, value: i64) {
    match value {
        -8..=15 => out.push((0xe0 + value) as u8),
        -0x800..=0x7ff => out.extend([(0xf8 + (value >> 8)) as u8, value as u8]),
        -0x40000..=0x3ffff => out.extend([(0x3c + (value >> 16)) as u8, (value >> 8) as u8, value as u8]),
        _ => match i32::try_from(value) {
            Ok(value) => {
                out.push(b'Y');
                out.extend(value.to_be_bytes());
            }
            Err(_) => {
                out.push(b'L');
                out.extend(value.to_be_bytes());
            }
        },
    }
}

/// Appends a double in its shortest form that keeps every bit.
pub fn double(out: &mut Vec<u8>, value: f64) {
    let same = |other: f64| other.to_bits() == value.to_bits();
    let (byte, short, thousandths) = (value as i8, value as i16, (value * 1000.0) as i32);
    if same(0.0) {
        out.push(0x5b);
    } else if same(1.0) {
        out.push(0x5c);
    } else if same(f64::from(byte)) {
        out.extend([0x5d, byte as u8]);
    } else if same(f64::from(short)) {
        out.push(0x5e);
        out.extend(short.to_be_bytes());
    } else if same(0.001 * f64::from(thousandths)) {
        out.push(0x5f);
        out.extend(thousandths.to_be_bytes());
    } else {
        out.push(b'D');
        out.extend(value.to_be_bytes());
    }
}

/// Appends a date, in minutes if it is full ones.
pub fn date(out: &mut Vec<u8>, milliseconds: i64) {
    match i32::try_from(milliseconds / 60_000) {
        Ok(minutes) if milliseconds % 60_000 == 0 => {
            out.push(0x4b);
            out.extend(minutes.to_be_bytes());
        }
        _ => {
            out.push(0x4a);
            out.extend(milliseconds.to_be_bytes());
        }
    }
}

/// Appends text as a string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    wtf8(out, text.as_bytes());
}

/// Appends a Java string.
pub fn java_string(out: &mut Vec<u8>, string: &JavaString) {
    wtf8(out, string.as_bytes());
}

fn wtf8(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    let mut units = utf16_len(rest);
    while units > CHUNK {
        let (end, taken) = cut(rest);
        let (piece, after) = rest.split_at(end);
        out.push(b'R');
        out.extend((taken as u16).to_be_bytes());
        characters(out, piece);
        units -= taken;
        rest = after;
    }
    match units {
        0..=0x1f => out.push(units as u8),
        0x20..=0x3ff => out.extend([0x30 + (units >> 8) as u8, units as u8]),
        _ => {
            out.push(b'S');
            out.extend((units as u16).to_be_bytes());
        }
    }
    characters(out, rest);
}

/// Where a full chunk ends, and its units; never inside a character.
fn cut(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut units) = (0, 0);
    while let Some(lead) = bytes.get(at) {
        let (width, count) = match lead {
            0..0x80 => (1, 1),
            0x80..0xe0 => (2, 1),
            0xe0..0xf0 => (3, 1),
            _ => (4, 2),
        };
        if units + count > CHUNK {
            break;
        }
        at += width;
        units += count;
    }
    (at.min(bytes.len()), units)
}

/// Characters above U+FFFF go out as two surrogates of three bytes: Java refuses four.
fn characters(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b >= 0xf0) {
        let (plain, wide) = rest.split_at(at);
        out.extend_from_slice(plain);
        let [a, b, c, d, ..] = *wide else {
            rest = wide;
            break;
        };
        let bits = |byte: u8| u32::from(byte & 0x3f);
        let code = u32::from(a & 7) << 18 | bits(b) << 12 | bits(c) << 6 | bits(d);
        for unit in [0xd7c0 + (code >> 10), 0xdc00 | code & 0x3ff] {
            out.extend([
                (0xe0 | unit >> 12) as u8,
                (0x80 | unit >> 6 & 0x3f) as u8,
                (0x80 | unit & 0x3f) as u8,
            ]);
        }
        rest = &wide[4..];
    }
    out.extend_from_slice(rest);
}

/// Appends a binary.
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while rest.len() > CHUNK {
        let (piece, after) = rest.split_at(CHUNK);
        out.push(b'A');
        out.extend((CHUNK as u16).to_be_bytes());
        out.extend_from_slice(piece);
        rest = after;
    }
    match rest.len() {
        length @ 0..=0xf => out.push(0x20 + length as u8),
        length @ 0x10..=0x3ff => out.extend([0x34 + (length >> 8) as u8, length as u8]),
        length => {
            out.push(b'B');
            out.extend((length as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(rest);
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

    /// Where scalars and strings may be appended between values by the functions of this module.
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
            Value::Null => null(out),
            Value::Bool(value) => out.push(if *value { b'T' } else { b'F' }),
            Value::Int(value) => int(out, *value),
            Value::Long(value) => long(out, *value),
            Value::Double(value) => double(out, *value),
            Value::Date(value) => date(out, *value),
            Value::Binary(bytes) => binary(out, bytes),
            Value::String(string) => java_string(out, string),
            Value::Node(id) => return self.node(*id),
        }
        Ok(())
    }

    fn node(&mut self, id: NodeId) -> Result<(), EncodeError> {
        if let Some(number) = self.written.get(&id) {
            self.out.push(b'Q');
            int(&mut self.out, *number);
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
                    int(&mut self.out, length);
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
                    java_string(&mut self.out, &class.name);
                    int(&mut self.out, class.fields.len() as i32);
                    class.fields.iter().for_each(|field| java_string(&mut self.out, field));
                    next
                });
                match number {
                    0..=15 => self.out.push(0x60 + number as u8),
                    _ => {
                        self.out.push(b'O');
                        int(&mut self.out, number);
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
            Some(number) => int(&mut self.out, *number),
            None => {
                java_string(&mut self.out, of);
                self.types.insert(of.clone(), next);
            }
        }
    }
}
