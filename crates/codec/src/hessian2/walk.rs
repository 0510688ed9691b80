//! The one walk over Hessian2 that skipping and decoding share, so that they cannot disagree.
//!
//! ```text
//!            ┌──────────────── for every value ────────────────┐
//!   bytes ──▶│ close what is complete ▶ tag ▶ scalar | container │──▶ Sink: keeps it (decode) or not (skip)
//!            └──────────────────────────┬──────────────────────┘
//!                                       ▼
//!                 Tables: fields of each class · how many types · how many references
//! ```
//!
//! Nothing recurses: `79 79 79 …` nests one level a byte. Nothing is allocated from a claimed length. The tables live as long as
//! the [`Walk`], which is one body: class numbers, type numbers and references go on counting from value to value.

use super::{
    cursor::{Cursor, is_int, is_string},
    error::{Error, Limits},
    nested::{Nested, Open},
};

/// A value that is not a container, a string or a binary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// Java's int; byte, short and their like come as this.
    Int(i32),
    /// Java's long.
    Long(i64),
    /// Java's double; float comes as this.
    Double(f64),
    /// Milliseconds since 1970 in UTC.
    Date(i64),
}

/// What is done with what the walk finds.
pub(crate) trait Sink {
    fn scalar(&mut self, at: usize, scalar: Scalar) -> Result<(), Error>;
    fn string(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error>;
    fn binary(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error>;
    /// A number below the count of containers begun.
    fn reference(&mut self, at: usize, number: usize) -> Result<(), Error>;
    /// The name of the next type.
    fn type_name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error>;
    /// The name of the next class.
    fn class_name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error>;
    /// The next field of that class.
    fn class_field(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error>;
    fn list(&mut self, at: usize, of: Option<usize>, open: bool) -> Result<(), Error>;
    fn map(&mut self, at: usize, of: Option<usize>) -> Result<(), Error>;
    fn object(&mut self, at: usize, class: usize) -> Result<(), Error>;
    /// The container begun last is complete.
    fn end(&mut self);
}

/// What the values of one body share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Class definitions so far.
    pub classes: usize,
    /// Type names so far.
    pub types: usize,
    /// Lists, maps and objects so far: the next one gets this number.
    pub references: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Walk<'a> {
    pub(crate) cursor: Cursor<'a>,
    limits: Limits,
    /// How many fields each class has.
    classes: Vec<u32>,
    types: usize,
    references: usize,
    values: usize,
    open: Nested,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self {
            cursor: Cursor::new(bytes),
            limits,
            classes: Vec::new(),
            types: 0,
            references: 0,
            values: 0,
            open: Nested::default(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            classes: self.classes.len(),
            types: self.types,
            references: self.references,
        }
    }

    /// Begins a map that the caller will walk pair by pair; `None` if there is none here, and nothing was read.
    pub(crate) fn enter_map<S: Sink>(&mut self, sink: &mut S) -> Result<bool, Error> {
        match self.cursor.peek() {
            Some(b'H') => self.cursor.byte().map(drop)?,
            Some(b'M') => {
                self.cursor.byte()?;
                self.type_of(sink)?;
            }
            _ => return Ok(false),
        }
        self.references += 1;
        Ok(true)
    }

    /// One whole value. After an error the walk is of no more use.
    pub(crate) fn value<S: Sink>(&mut self, sink: &mut S) -> Result<(), Error> {
        self.open.clear();
        self.one(sink)?;
        while let Some(top) = self.open.top() {
            let ended = match top {
                Open::Values(0) => true,
                Open::Values(left) => {
                    *left -= 1;
                    false
                }
                Open::UntilEnd => self.cursor.peek() == Some(b'Z'),
                Open::Key => {
                    let ended = self.cursor.peek() == Some(b'Z');
                    *top = Open::MapValue;
                    ended
                }
                Open::MapValue => {
                    *top = Open::Key;
                    false
                }
            };
            if !ended {
                self.one(sink)?;
                continue;
            }
            if !matches!(top, Open::Values(_)) {
                self.cursor.byte()?;
            }
            self.open.pop();
            sink.end();
        }
        Ok(())
    }

    /// One tag with what belongs to it; a container stays open.
    fn one<S: Sink>(&mut self, sink: &mut S) -> Result<(), Error> {
        let mut tag = self.cursor.byte()?;
        // A definition is no value: the value comes behind it.
        while tag == b'C' {
            self.definition(sink)?;
            tag = self.cursor.byte()?;
        }
        let at = self.cursor.at() - 1;
        self.values += 1;
        if self.values > self.limits.values {
            return Err(Error::TooMuch {
                at,
                what: "values",
                most: self.limits.values,
            });
        }
        let cursor = &mut self.cursor;
        let double = |value| Scalar::Double(value);
        let scalar = match tag {
            b'N' => Scalar::Null,
            b'T' => Scalar::Bool(true),
            b'F' => Scalar::Bool(false),
            b'I' | 0x80..=0xd7 => Scalar::Int(cursor.int(tag)?),
            0xd8..=0xef => Scalar::Long(i64::from(tag) - 0xe0),
            0xf0..=0xff => Scalar::Long((i64::from(tag) - 0xf8) << 8 | i64::from(cursor.byte()?)),
            0x38..=0x3f => Scalar::Long((i64::from(tag) - 0x3c) << 16 | i64::from(u16::from_be_bytes(cursor.array()?))),
            b'Y' => Scalar::Long(i64::from(i32::from_be_bytes(cursor.array()?))),
            b'L' => Scalar::Long(i64::from_be_bytes(cursor.array()?)),
            0x5b => double(0.0),
            0x5c => double(1.0),
            0x5d => double(f64::from(i8::from_be_bytes(cursor.array()?))),
            0x5e => double(f64::from(i16::from_be_bytes(cursor.array()?))),
            // Thousandths, as the writers and readers of Dubbo have it; the published text says otherwise.
            0x5f => double(0.001 * f64::from(i32::from_be_bytes(cursor.array()?))),
            b'D' => double(f64::from_be_bytes(cursor.array()?)),
            0x4a => Scalar::Date(i64::from_be_bytes(cursor.array()?)),
            0x4b => Scalar::Date(i64::from(i32::from_be_bytes(cursor.array()?)) * 60_000),
            _ if is_string(tag) => return sink.string(cursor, tag),
            b'A' | b'B' | 0x20..=0x2f | 0x34..=0x37 => return sink.binary(cursor, tag),
            b'Q' => {
                let number = cursor.count()?;
                if number >= self.references {
                    return Err(Error::Malformed {
                        at,
                        what: "a reference to what has not begun",
                    });
                }
                return sink.reference(at, number);
            }
            _ => return self.container(sink, tag, at),
        };
        sink.scalar(at, scalar)
    }

    fn container<S: Sink>(&mut self, sink: &mut S, tag: u8, at: usize) -> Result<(), Error> {
        if self.open.len() >= self.limits.depth {
            return Err(Error::TooMuch {
                at,
                what: "containers inside each other",
                most: self.limits.depth,
            });
        }
        let opened = match tag {
            b'H' | b'M' => {
                let of = if tag == b'M' { Some(self.type_of(sink)?) } else { None };
                sink.map(at, of)?;
                Open::Key
            }
            b'U' | b'V' | 0x70..=0x77 | b'W' | b'X' | 0x78..=0x7f => {
                let typed = matches!(tag, b'U' | b'V' | 0x70..=0x77);
                let of = if typed { Some(self.type_of(sink)?) } else { None };
                let length = match tag {
                    b'U' | b'W' => None,
                    b'V' | b'X' => Some(self.claimed()?),
                    _ => Some(usize::from(tag & 7)),
                };
                sink.list(at, of, length.is_none())?;
                length.map_or(Open::UntilEnd, Open::Values)
            }
            b'O' | 0x60..=0x6f => {
                let class = if tag == b'O' {
                    self.cursor.count()?
                } else {
                    usize::from(tag - 0x60)
                };
                let Some(fields) = self.classes.get(class) else {
                    return Err(Error::Malformed {
                        at,
                        what: "an object of a class that has not been defined",
                    });
                };
                let fields = *fields as usize;
                sink.object(at, class)?;
                Open::Values(fields)
            }
            b'Z' => {
                return Err(Error::Malformed {
                    at,
                    what: "an end with nothing to end",
                });
            }
            _ => {
                return Err(Error::Malformed {
                    at,
                    what: "no value begins with this byte",
                });
            }
        };
        self.references += 1;
        self.open.push(opened);
        Ok(())
    }

    /// A length that cannot be true is refused before anything is made of it: every value costs at least a byte.
    fn claimed(&mut self) -> Result<usize, Error> {
        let at = self.cursor.at();
        let length = self.cursor.count()?;
        if length > self.cursor.left() {
            return Err(Error::Malformed {
                at,
                what: "a list longer than the bytes it is in",
            });
        }
        Ok(length)
    }

    fn type_of<S: Sink>(&mut self, sink: &mut S) -> Result<usize, Error> {
        let tag = self.cursor.byte()?;
        if is_string(tag) {
            sink.type_name(&mut self.cursor, tag)?;
            self.types += 1;
            return Ok(self.types - 1);
        }
        if !is_int(tag) {
            return Err(self.cursor.wrong("a type is a string, or the number of one"));
        }
        let at = self.cursor.at() - 1;
        let number = usize::try_from(self.cursor.int(tag)?).unwrap_or(usize::MAX);
        if number >= self.types {
            return Err(Error::Malformed {
                at,
                what: "a type that has not been named",
            });
        }
        Ok(number)
    }

    fn definition<S: Sink>(&mut self, sink: &mut S) -> Result<(), Error> {
        let at = self.cursor.at() - 1;
        if self.classes.len() >= self.limits.classes {
            return Err(Error::TooMuch {
                at,
                what: "class definitions",
                most: self.limits.classes,
            });
        }
        let tag = self.cursor.byte()?;
        sink.class_name(&mut self.cursor, tag)?;
        let fields = self.cursor.count()?;
        if fields > self.limits.fields {
            return Err(Error::TooMuch {
                at,
                what: "fields of a class",
                most: self.limits.fields,
            });
        }
        for _ in 0..fields {
            let tag = self.cursor.byte()?;
            sink.class_field(&mut self.cursor, tag)?;
        }
        self.classes.push(fields as u32);
        Ok(())
    }
}
