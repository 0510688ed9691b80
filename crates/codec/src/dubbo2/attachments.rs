//! Attachments: the map at the end of a request or response, read in passing and changed in place.
//!
//! ```text
//!  … arguments │ 48 │ key value │ key value │ key value │ 5a │ trailing
//!              └─ start         └── copied, replaced or left out ──┘
//! ```
//!
//! Arguments and attachments share the tables of classes, types and references. Strings take no number in any of them, so pairs of
//! strings can come and go without a byte of the rest being touched. A pair whose value takes numbers is *bound*: what follows may
//! refer to it, or count from it, so it stays.

use std::ops::Range;

use bytes::Bytes;

use super::BodyError;
use crate::{
    Text,
    hessian2::{Error, Glimpse, Scalar, Skipper, encode, is_string},
};

/// Pairs in one map.
const MOST: usize = 1024;
/// Pairs that a consumer of today sends with a call, or a little more.
const USUAL: usize = 8;

/// The value of an attachment.
#[derive(Debug, Clone, PartialEq)]
pub enum Attachment {
    /// Text, which nearly all are.
    Text(Text),
    /// Null, a truth value, a number or a date: late 2.7 and 3.x let these through.
    Scalar(Scalar),
    /// Anything else. Passed on, not opened.
    Other,
}

impl Attachment {
    /// The text, or the number as text, as Java's `getAttachment` would tell it.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.to_string()),
            Self::Scalar(Scalar::Int(n)) => Some(n.to_string()),
            Self::Scalar(Scalar::Long(n)) => Some(n.to_string()),
            Self::Scalar(Scalar::Bool(b)) => Some(b.to_string()),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Pair {
    /// `None` for a key that is no text.
    key: Option<Text>,
    value: Attachment,
    key_at: Range<usize>,
    value_at: Range<usize>,
    bound: bool,
}

impl Pair {
    fn is(&self, key: &str) -> bool {
        self.key.as_ref().is_some_and(|own| *own == key)
    }
}

/// The attachments of a call or a result, in their order.
#[derive(Debug, Clone, Default)]
pub struct Attachments {
    /// From the map's first byte to behind its last.
    at: Range<usize>,
    pairs: Vec<Pair>,
    is_null: bool,
}

impl Attachments {
    pub(super) fn read(skipper: &mut Skipper<'_>, body: &Bytes) -> Result<Self, BodyError> {
        let start = skipper.position();
        if skipper.peek() == Some(b'N') {
            let at = skipper.skip()?;
            return Ok(Self {
                at,
                pairs: Vec::new(),
                is_null: true,
            });
        }
        if !skipper.enter_map()? {
            return Err(match skipper.peek() {
                None => Error::Truncated { at: start }.into(),
                Some(_) => BodyError::Malformed("the attachments are no map"),
            });
        }
        let mut pairs = Vec::with_capacity(USUAL);
        while !skipper.leave_map()? {
            if pairs.len() == MOST {
                return Err(Error::TooMuch {
                    at: skipper.position(),
                    what: "attachments",
                    most: MOST,
                }
                .into());
            }
            let before = skipper.counts();
            let key_start = skipper.position();
            let key = match skipper.peek().is_some_and(is_string) {
                true => Some(skipper.text(body)?),
                false => skipper.skip().map(|_| None)?,
            };
            let value_start = skipper.position();
            let value = match skipper.peek().is_some_and(is_string) {
                true => Attachment::Text(skipper.text(body)?),
                false => match skipper.glimpse()? {
                    Glimpse::Scalar(scalar) => Attachment::Scalar(scalar),
                    Glimpse::String(_) | Glimpse::Other => Attachment::Other,
                },
            };
            let bound = before != skipper.counts();
            let (key_at, value_at) = (key_start..value_start, value_start..skipper.position());
            pairs.push(Pair {
                key,
                value,
                key_at,
                value_at,
                bound,
            });
        }
        Ok(Self {
            at: start..skipper.position(),
            pairs,
            is_null: false,
        })
    }

    /// The value of that key; the last one if it comes twice, as in Java.
    pub fn get(&self, key: &str) -> Option<&Attachment> {
        let mut pairs = self.pairs.iter().rev();
        pairs.find(|pair| pair.is(key)).map(|pair| &pair.value)
    }

    /// The text of that key; `None` also if its value is something else.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Attachment::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of that key, in their order: one, unless it comes more than once.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &Attachment> {
        let pairs = self.pairs.iter().filter(move |pair| pair.is(key));
        pairs.map(|pair| &pair.value)
    }

    /// Keys that are text, with their values.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &Attachment)> {
        self.pairs
            .iter()
            .filter_map(|pair| Some((pair.key.as_ref()?.as_str(), &pair.value)))
    }

    /// Where the map is in the body.
    pub fn range(&self) -> Range<usize> {
        self.at.clone()
    }

    /// Appends the map to `out` with these changes.
    ///
    /// # Errors
    /// [`BodyError::Bound`] for a pair that cannot go, and [`Error::TooMuch`] if there would be more pairs than [`MOST`]: the next of
    /// us on the way would refuse them.
    pub(super) fn rewrite(
        &self,
        body: &[u8],
        set: &[(&str, &str)],
        remove: &[&str],
        out: &mut Vec<u8>,
    ) -> Result<(), BodyError> {
        let raw = |range: Range<usize>| body.get(range).unwrap_or_default();
        if self.is_null && set.is_empty() {
            out.extend_from_slice(raw(self.at.clone()));
            return Ok(());
        }
        let first = self
            .pairs
            .first()
            .map_or(self.at.end.saturating_sub(1), |pair| pair.key_at.start);
        match self.is_null {
            true => out.push(b'H'),
            false => out.extend_from_slice(raw(self.at.start..first)),
        }
        let mut written = 0;
        for (place, pair) in self.pairs.iter().enumerate() {
            let key = pair.key.as_deref();
            let wanted = set.iter().rev().find(|(name, _)| Some(*name) == key);
            let unwanted = key.is_some_and(|key| remove.contains(&key));
            if wanted.is_none() && !unwanted {
                out.extend_from_slice(raw(pair.key_at.start..pair.value_at.end));
                written += 1;
                continue;
            }
            if pair.bound {
                return Err(BodyError::Bound(key.unwrap_or_default().to_owned()));
            }
            // Of a key that comes twice the last one counts, so that is the one to carry the new value.
            let comes_again = self
                .pairs
                .iter()
                .skip(place + 1)
                .any(|later| later.key.as_deref() == key);
            if let Some((_, value)) = wanted
                && !comes_again
            {
                out.extend_from_slice(raw(pair.key_at.clone()));
                encode::string(out, value);
                written += 1;
            }
        }
        for (place, (key, value)) in set.iter().enumerate() {
            let known = self.pairs.iter().any(|pair| pair.key.as_deref() == Some(*key));
            let said_again = set.iter().skip(place + 1).any(|(later, _)| later == key);
            if !known && !said_again {
                encode::string(out, key);
                encode::string(out, value);
                written += 1;
            }
        }
        if written > MOST {
            return Err(Error::TooMuch {
                at: self.at.start,
                what: "attachments",
                most: MOST,
            }
            .into());
        }
        out.push(b'Z');
        Ok(())
    }
}

/// Appends a map of text.
pub(super) fn write<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
    out.push(b'H');
    for (key, value) in pairs {
        encode::string(out, key);
        encode::string(out, value);
    }
    out.push(b'Z');
}
