//! Finds where a value ends without building it: as fast as the bytes can be looked at, and nothing is allocated but the field
//! count of each class (and room for containers more than sixteen deep).
//!
//! It accepts exactly what the [`Decoder`](super::Decoder) accepts, because both are the same walk; only the decoder's limit on
//! memory is its own.

use std::ops::Range;

use bytes::Bytes;

use crate::Text;

use super::{
    cursor::{Cursor, is_string},
    error::{Error, Limits},
    text::{Gathered, JavaString, Nothing, Pieces},
    walk::{Counts, Scalar, Sink, Walk},
};

/// Skips the values of one body, one after the other.
#[derive(Debug, Clone)]
pub struct Skipper<'a> {
    bytes: &'a [u8],
    walk: Walk<'a>,
}

/// A value that was looked at in passing.
#[derive(Debug, Clone, PartialEq)]
pub enum Glimpse {
    /// Null, a truth value, a number or a date.
    Scalar(Scalar),
    /// A string.
    String(JavaString),
    /// A binary, a list, a map, an object or a reference, skipped.
    Other,
}

impl<'a> Skipper<'a> {
    /// A skipper at the start of a body.
    pub fn new(bytes: &'a [u8], limits: Limits) -> Self {
        Self {
            bytes,
            walk: Walk::new(bytes, limits),
        }
    }

    /// Where the next value begins.
    pub fn position(&self) -> usize {
        self.walk.cursor.at()
    }

    /// The first byte of the next value; `None` at the end of the bytes.
    pub fn peek(&self) -> Option<u8> {
        self.walk.cursor.peek()
    }

    /// What later values may refer to so far.
    pub fn counts(&self) -> Counts {
        self.walk.counts()
    }

    /// Skips one value and tells where it is. After an error the skipper is of no more use.
    pub fn skip(&mut self) -> Result<Range<usize>, Error> {
        let start = self.position();
        self.walk.value(&mut Skip)?;
        Ok(start..self.position())
    }

    /// Skips one value that must be a string, and keeps it. Java would take a number for a string here; we do not, so that nobody
    /// can write a name that reads differently for us and for the provider.
    pub fn string(&mut self) -> Result<JavaString, Error> {
        let tag = self.walk.cursor.byte()?;
        self.walk.cursor.java_string(tag)
    }

    /// As [`string`](Self::string), but text, and where it can be a piece of `body`, which are the bytes that are skipped in.
    pub(crate) fn text(&mut self, body: &Bytes) -> Result<Text, Error> {
        let start = self.position();
        let malformed = |what| Error::Malformed { at: start, what };
        let tag = self.walk.cursor.byte()?;
        let before = self.walk.cursor;
        let mut plain = Plain(true);
        self.walk.cursor.string(tag, &mut plain)?;
        let head = match tag {
            0x00..=0x1f => 1,
            b'S' => 3,
            _ => 2,
        };
        if plain.0 && tag != b'R' {
            let text = body
                .get(start + head..self.position())
                .map(|piece| body.slice_ref(piece));
            return text
                .and_then(Text::of)
                .ok_or(malformed("bytes that are not those of the body"));
        }
        let mut gathered = Gathered::default();
        let mut again = before;
        again.string(tag, &mut gathered)?;
        match gathered.into_string().as_str() {
            Some(text) => Ok(Text::from(text.to_owned())),
            None => Err(malformed("half a character in a name")),
        }
    }

    /// Skips one value that must be an int, and keeps it.
    pub fn int(&mut self) -> Result<i32, Error> {
        let tag = self.walk.cursor.byte()?;
        self.walk.cursor.int(tag)
    }

    /// Skips one value and keeps it if it is small.
    pub fn glimpse(&mut self) -> Result<Glimpse, Error> {
        let mut keep = Keep {
            depth: 0,
            last: Glimpse::Other,
        };
        self.walk.value(&mut keep)?;
        Ok(keep.last)
    }

    /// Goes into the map that comes next: then read key and value in turn until [`leave_map`](Self::leave_map) says `true`.
    /// `false` if the next value is no map; nothing is read then.
    pub fn enter_map(&mut self) -> Result<bool, Error> {
        self.walk.enter_map(&mut Skip)
    }

    /// Goes past the end of the map if it is here.
    pub fn leave_map(&mut self) -> Result<bool, Error> {
        match self.peek() {
            Some(b'Z') => self.walk.cursor.byte().map(|_| true),
            Some(_) => Ok(false),
            None => Err(Error::Truncated { at: self.position() }),
        }
    }

    /// The bytes that are not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position()..).unwrap_or_default()
    }
}

/// The class of the object or exception that these bytes begin with, if they define it there, as the first object of a class in
/// its stream does.
pub fn class_at(bytes: &[u8]) -> Option<JavaString> {
    let mut cursor = Cursor::new(bytes);
    if cursor.byte().ok()? != b'C' {
        return None;
    }
    let tag = cursor.byte().ok().filter(|tag| is_string(*tag))?;
    cursor.java_string(tag).ok()
}

/// Whether a string has nothing but ASCII in it.
struct Plain(bool);

impl Pieces for Plain {
    fn ascii(&mut self, _: &[u8]) {}
    fn code(&mut self, _: u32) {
        self.0 = false;
    }
}

struct Skip;

impl Sink for Skip {
    fn scalar(&mut self, _: usize, _: Scalar) -> Result<(), Error> {
        Ok(())
    }
    fn string(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        cursor.string(tag, &mut Nothing)
    }
    fn binary(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        cursor.binary(tag, |_| ())
    }
    fn reference(&mut self, _: usize, _: usize) -> Result<(), Error> {
        Ok(())
    }
    fn type_name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        cursor.string(tag, &mut Nothing)
    }
    fn class_name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        cursor.string(tag, &mut Nothing)
    }
    fn class_field(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        cursor.string(tag, &mut Nothing)
    }
    fn list(&mut self, _: usize, _: Option<usize>, _: bool) -> Result<(), Error> {
        Ok(())
    }
    fn map(&mut self, _: usize, _: Option<usize>) -> Result<(), Error> {
        Ok(())
    }
    fn object(&mut self, _: usize, _: usize) -> Result<(), Error> {
        Ok(())
    }
    fn end(&mut self) {}
}

/// Skips, and keeps the outermost value.
struct Keep {
    depth: usize,
    last: Glimpse,
}

impl Sink for Keep {
    fn scalar(&mut self, _: usize, scalar: Scalar) -> Result<(), Error> {
        if self.depth == 0 {
            self.last = Glimpse::Scalar(scalar);
        }
        Ok(())
    }
    fn string(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        if self.depth > 0 {
            return cursor.string(tag, &mut Nothing);
        }
        self.last = Glimpse::String(cursor.java_string(tag)?);
        Ok(())
    }
    fn binary(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        Skip.binary(cursor, tag)
    }
    fn reference(&mut self, _: usize, _: usize) -> Result<(), Error> {
        Ok(())
    }
    fn type_name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        Skip.type_name(cursor, tag)
    }
    fn class_name(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        Skip.class_name(cursor, tag)
    }
    fn class_field(&mut self, cursor: &mut Cursor<'_>, tag: u8) -> Result<(), Error> {
        Skip.class_field(cursor, tag)
    }
    fn list(&mut self, _: usize, _: Option<usize>, _: bool) -> Result<(), Error> {
        self.depth += 1;
        Ok(())
    }
    fn map(&mut self, _: usize, _: Option<usize>) -> Result<(), Error> {
        self.depth += 1;
        Ok(())
    }
    fn object(&mut self, _: usize, _: usize) -> Result<(), Error> {
        self.depth += 1;
        Ok(())
    }
    fn end(&mut self) {
        self.depth -= 1;
    }
}
