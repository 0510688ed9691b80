//! A place in the bytes, and the scalars that can be read there. Every read is bounded by what is left.
//!
//! Next on the path: [`walk`](super::walk), which knows what may follow what.

use super::{
    error::Error,
    text::{Gathered, JavaString, Pieces},
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Whether a string begins with this tag.
pub(crate) const fn is_string(tag: u8) -> bool {
    matches!(tag, 0x00..=0x1f | 0x30..=0x33 | b'R' | b'S')
}

/// Whether an int begins with this tag.
pub(crate) const fn is_int(tag: u8) -> bool {
    matches!(tag, b'I' | 0x80..=0xd7)
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        let byte = self.peek().ok_or(Error::Truncated { at: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or(Error::Truncated { at: self.bytes.len() })?;
        self.at += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// What is wrong with the byte that was just read.
    pub(crate) fn wrong(&self, what: &'static str) -> Error {
        Error::Malformed {
            at: self.at.saturating_sub(1),
            what,
        }
    }

    /// An int whose tag has been read.
    pub(crate) fn int(&mut self, tag: u8) -> Result<i32, Error> {
        Ok(match tag {
            0x80..=0xbf => i32::from(tag) - 0x90,
            0xc0..=0xcf => (i32::from(tag) - 0xc8) << 8 | i32::from(self.byte()?),
            0xd0..=0xd7 => (i32::from(tag) - 0xd4) << 16 | i32::from(u16::from_be_bytes(self.array()?)),
            b'I' => i32::from_be_bytes(self.array()?),
            _ => return Err(self.wrong("an int is wanted here")),
        })
    }

    /// A number that counts something: an int that is not negative.
    pub(crate) fn count(&mut self) -> Result<usize, Error> {
        let tag = self.byte()?;
        let at = self.at;
        usize::try_from(self.int(tag)?).map_err(|_| Error::Malformed {
            at,
            what: "a negative count",
        })
    }

    /// A string whose tag has been read, with all of its chunks.
    pub(crate) fn string(&mut self, tag: u8, into: &mut impl Pieces) -> Result<(), Error> {
        let mut tag = tag;
        loop {
            let units = match tag {
                0x00..=0x1f => usize::from(tag),
                0x30..=0x33 => usize::from(tag - 0x30) << 8 | usize::from(self.byte()?),
                b'R' | b'S' => usize::from(u16::from_be_bytes(self.array()?)),
                _ => return Err(self.wrong("a string is wanted here")),
            };
            self.units(units, into)?;
            if tag != b'R' {
                return Ok(());
            }
            tag = self.byte()?;
        }
    }

    /// A whole string, kept.
    pub(crate) fn java_string(&mut self, tag: u8) -> Result<JavaString, Error> {
        let mut gathered = Gathered::default();
        self.string(tag, &mut gathered)?;
        Ok(gathered.into_string())
    }

    // Continuation bytes are masked and not checked, and long forms are taken, because Java does so: what we read must be
    // what the provider will read. Four bytes, which Java's writer never makes and its reader refuses, are two units.
    fn units(&mut self, count: usize, into: &mut impl Pieces) -> Result<(), Error> {
        let mut left = count;
        while left > 0 {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let run = &rest[..rest.len().min(left)];
            let ascii = if run.is_ascii() {
                run.len()
            } else {
                run.iter().take_while(|b| b.is_ascii()).count()
            };
            into.ascii(&run[..ascii]);
            self.at += ascii;
            left -= ascii;
            if left == 0 {
                break;
            }
            let lead = u32::from(self.byte()?);
            let mut cont = || Ok::<u32, Error>(u32::from(self.byte()? & 0x3f));
            let (code, width) = match lead {
                0..0x80 => (lead, 1),
                0xc0..0xe0 => ((lead & 0x1f) << 6 | cont()?, 1),
                0xe0..0xf0 => ((lead & 0xf) << 12 | cont()? << 6 | cont()?, 1),
                0xf0..0xf8 => ((lead & 7) << 18 | cont()? << 12 | cont()? << 6 | cont()?, 2),
                _ => return Err(self.wrong("no character begins with this byte")),
            };
            let possible = if width == 2 {
                (0x10000..0x110000).contains(&code)
            } else {
                true
            };
            if !possible || width > left {
                return Err(self.wrong("a character of four bytes that is none, or that its string has no room for"));
            }
            into.code(code);
            left -= width;
        }
        Ok(())
    }

    /// A binary whose tag has been read, with all of its chunks.
    pub(crate) fn binary(&mut self, tag: u8, mut piece: impl FnMut(&'a [u8])) -> Result<(), Error> {
        let mut tag = tag;
        loop {
            let length = match tag {
                0x20..=0x2f => usize::from(tag - 0x20),
                0x34..=0x37 => usize::from(tag - 0x34) << 8 | usize::from(self.byte()?),
                b'A' | b'B' => usize::from(u16::from_be_bytes(self.array()?)),
                _ => return Err(self.wrong("a binary is wanted here")),
            };
            piece(self.take(length)?);
            if tag != b'A' {
                return Ok(());
            }
            tag = self.byte()?;
        }
    }
}
