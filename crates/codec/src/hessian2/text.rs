//! A Java string: UTF-16 code units, which need not be good Unicode.
//!
//! Kept as UTF-8 where it is text. Where a surrogate stands alone it is kept as WTF-8 (that surrogate as three bytes), so that
//! nothing is lost on the way through. A pair of surrogates is always joined: two strings are equal if Java says so.

use std::{borrow::Cow, fmt, sync::Arc};

/// A string as Java has it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JavaString(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Text(Arc<str>),
    /// WTF-8 with at least one surrogate that stands alone.
    Units(Arc<[u8]>),
}

impl JavaString {
    /// The text, unless a surrogate stands alone in it.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Repr::Text(text) => Some(text),
            Repr::Units(_) => None,
        }
    }

    /// The text, with U+FFFD for every surrogate that stands alone.
    pub fn to_text(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Text(text) => Cow::Borrowed(text),
            Repr::Units(bytes) => {
                let units = utf16(bytes);
                char::decode_utf16(units)
                    .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect()
            }
        }
    }

    /// The bytes that it is kept in: UTF-8, or WTF-8 if [`as_str`](Self::as_str) is `None`.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Text(text) => text.as_bytes(),
            Repr::Units(bytes) => bytes,
        }
    }

    /// From UTF-16 code units, as `String.toCharArray` gives them.
    pub fn from_units(units: impl IntoIterator<Item = u16>) -> Self {
        let mut gathered = Gathered::default();
        for unit in units {
            gathered.code(u32::from(unit));
        }
        gathered.into_string()
    }

    /// The UTF-16 code units, as `String.toCharArray` gives them.
    pub fn units(&self) -> impl Iterator<Item = u16> {
        utf16(self.as_bytes())
    }

    /// The length as Java tells it.
    pub fn len_utf16(&self) -> usize {
        utf16_len(self.as_bytes())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

/// UTF-16 length of WTF-8: every lead byte is one unit, that of four bytes is two.
pub(crate) fn utf16_len(bytes: &[u8]) -> usize {
    if bytes.is_ascii() {
        return bytes.len();
    }
    bytes
        .iter()
        .map(|b| usize::from(*b & 0xc0 != 0x80) + usize::from(*b >= 0xf0))
        .sum()
}

fn utf16(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let mut rest = bytes;
    let mut low = None;
    std::iter::from_fn(move || {
        if let Some(unit) = low.take() {
            return Some(unit);
        }
        let (first, cont) = (*rest.first()?, |i: usize| {
            u32::from(rest.get(i).copied().unwrap_or(0) & 0x3f)
        });
        let lead = u32::from(first);
        let (code, width) = match first {
            0..0x80 => (lead, 1),
            0x80..0xe0 => ((lead & 0x1f) << 6 | cont(1), 2),
            0xe0..0xf0 => ((lead & 0xf) << 12 | cont(1) << 6 | cont(2), 3),
            _ => ((lead & 7) << 18 | cont(1) << 12 | cont(2) << 6 | cont(3), 4),
        };
        rest = rest.get(width..).unwrap_or_default();
        if code < 0x10000 {
            return Some(code as u16);
        }
        low = Some((0xdc00 | code & 0x3ff) as u16);
        Some((0xd7c0 + (code >> 10)) as u16)
    })
}

impl From<&str> for JavaString {
    fn from(text: &str) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl From<String> for JavaString {
    fn from(text: String) -> Self {
        Self(Repr::Text(text.into()))
    }
}

impl PartialEq<str> for JavaString {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for JavaString {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Debug for JavaString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_text(), f)
    }
}

/// Takes what a string is made of, piece by piece.
pub(crate) trait Pieces {
    /// Bytes below 0x80: as many units.
    fn ascii(&mut self, bytes: &[u8]);
    /// One unit, or a whole character above U+FFFF.
    fn code(&mut self, code: u32);
}

/// Keeps nothing.
pub(crate) struct Nothing;

impl Pieces for Nothing {
    fn ascii(&mut self, _: &[u8]) {}
    fn code(&mut self, _: u32) {}
}

/// Keeps WTF-8.
#[derive(Default)]
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    /// A high surrogate that waits for its low one.
    high: Option<u32>,
    lone: bool,
}

impl Gathered {
    pub(crate) fn into_string(mut self) -> JavaString {
        self.settle();
        if self.lone {
            return JavaString(Repr::Units(self.bytes.into()));
        }
        match String::from_utf8(self.bytes) {
            Ok(text) => JavaString(Repr::Text(text.into())),
            Err(error) => JavaString(Repr::Units(error.into_bytes().into())),
        }
    }

    fn settle(&mut self) {
        if let Some(high) = self.high.take() {
            self.lone = true;
            self.put(high);
        }
    }

    fn put(&mut self, code: u32) {
        let cont = |shift: u32| (0x80 | code >> shift & 0x3f) as u8;
        match code {
            0..0x80 => self.bytes.push(code as u8),
            0x80..0x800 => self.bytes.extend([(0xc0 | code >> 6) as u8, cont(0)]),
            0x800..0x10000 => self.bytes.extend([(0xe0 | code >> 12) as u8, cont(6), cont(0)]),
            _ => self
                .bytes
                .extend([(0xf0 | code >> 18) as u8, cont(12), cont(6), cont(0)]),
        }
    }
}

impl Pieces for Gathered {
    fn ascii(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.settle();
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn code(&mut self, code: u32) {
        match (self.high, code) {
            (Some(high), 0xdc00..0xe000) => {
                self.high = None;
                self.put(0x10000 + ((high & 0x3ff) << 10 | code & 0x3ff));
            }
            (_, 0xd800..0xdc00) => {
                self.settle();
                self.high = Some(code);
            }
            (_, _) => {
                self.settle();
                self.lone |= (0xdc00..0xe000).contains(&code);
                self.put(code);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogates_alone_survive_and_pairs_are_joined() {
        let units = [0x41, 0xd83d, 0xde00, 0xd83d, 0x42, 0xdc00];
        let string = JavaString::from_units(units);
        assert_eq!(string.as_str(), None);
        assert_eq!(string.to_text(), "A😀\u{fffd}B\u{fffd}");
        assert_eq!(string.len_utf16(), 6);
        assert_eq!(utf16(string.as_bytes()).collect::<Vec<_>>(), units);
        assert_eq!(JavaString::from_units([0xd83d, 0xde00]), JavaString::from("😀"));
    }
}
