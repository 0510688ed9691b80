//! The body of a result (status 20): one number that tells what follows.
//!
//! ```text
//!  0  exception              3  exception, attachments
//!  1  value                  4  value, attachments
//!  2  (null or void)         5  (null) attachments
//! ```
//!
//! 3, 4 and 5 are for callers who say protocol 2.0.2 to 2.0.99 ([`knows_attachments`]). dubbo-go appends a null that nobody
//! reads; such trailing bytes are kept.

use std::ops::Range;

use bytes::Bytes;

use super::{Attachments, BodyError, Serialization, attachments};
use crate::hessian2::{
    Decoder, EncodeError, Encoder, Error, Heap, JavaString, Limits, Skipper, Value, class_at, encode,
};

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The method threw; the value is a `Throwable`.
    Exception,
    /// The method returned the value.
    Value,
    /// The method returned null or nothing.
    Null,
}

/// A result.
#[derive(Debug, Clone)]
pub struct Response {
    body: Bytes,
    limits: Limits,
    /// What it came to.
    pub outcome: Outcome,
    /// What came with it, if the form has attachments at all.
    pub attachments: Option<Attachments>,
    value: Range<usize>,
}

impl Response {
    /// Reads the body of a response with status 20.
    pub fn read(serialization: Serialization, body: Bytes, limits: Limits) -> Result<Self, BodyError> {
        if serialization != Serialization::HESSIAN2 {
            return Err(BodyError::Opaque(serialization));
        }
        let mut skipper = Skipper::new(&body, limits);
        let flag = skipper.int()?;
        let outcome = match flag {
            0 | 3 => Outcome::Exception,
            1 | 4 => Outcome::Value,
            2 | 5 => Outcome::Null,
            _ => return Err(BodyError::Malformed("a result begins with a number from 0 to 5")),
        };
        let value = match outcome {
            Outcome::Null => skipper.position()..skipper.position(),
            Outcome::Exception | Outcome::Value => skipper.skip()?,
        };
        let attachments = if flag > 2 {
            Some(Attachments::read(&mut skipper, &body)?)
        } else {
            None
        };
        Ok(Self {
            limits,
            outcome,
            attachments,
            value,
            body,
        })
    }

    /// The value or exception as it came; empty for null. It can be read by itself, since nothing but a number is before it.
    pub fn value(&self) -> Bytes {
        self.body.slice(self.value.clone())
    }

    /// The value or exception.
    pub fn decode_value(&self) -> Result<(Value, Heap), Error> {
        if self.value.is_empty() {
            return Ok((Value::Null, Heap::new()));
        }
        let value = self.value();
        let mut decoder = Decoder::new(&value, self.limits);
        Ok((decoder.value()?, decoder.into_heap()))
    }

    /// The Java class of the exception, found without reading it.
    pub fn exception_class(&self) -> Option<JavaString> {
        if self.outcome != Outcome::Exception {
            return None;
        }
        class_at(self.body.get(self.value.clone())?)
    }

    /// The body with these attachments added or replaced; `None` if its form has no attachments, since its caller could not read
    /// them.
    pub fn rewrite(&self, set: &[(&str, &str)], remove: &[&str]) -> Option<Result<Bytes, BodyError>> {
        let attachments = self.attachments.as_ref()?;
        let map = attachments.range();
        let mut out = Vec::with_capacity(self.body.len() + 64);
        out.extend_from_slice(self.body.get(..map.start).unwrap_or_default());
        Some(attachments.rewrite(&self.body, set, remove, &mut out).map(|()| {
            out.extend_from_slice(self.body.get(map.end..).unwrap_or_default());
            out.into()
        }))
    }
}

/// Whether who says this protocol version can read results with attachments.
pub fn knows_attachments(protocol: &str) -> bool {
    let mut parts = protocol.split('.');
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    let (major, minor, patch) = (number(parts.next()), number(parts.next()), number(parts.next()));
    (major, minor) == (Some(2), Some(0)) && patch.is_some_and(|patch| (2..=99).contains(&patch))
}

/// A result's body in Hessian2, with attachments if the caller's protocol knows them.
pub fn encode_response(
    outcome: Outcome,
    value: &Value,
    heap: &Heap,
    protocol: &str,
    pairs: &[(&str, &str)],
) -> Result<Bytes, EncodeError> {
    let with_attachments = knows_attachments(protocol);
    let flag = match outcome {
        Outcome::Exception => 0,
        Outcome::Value => 1,
        Outcome::Null => 2,
    };
    let mut encoder = Encoder::new(heap);
    encode::int(encoder.out(), if with_attachments { flag + 3 } else { flag });
    if outcome != Outcome::Null {
        encoder.value(value)?;
    }
    if with_attachments {
        attachments::write(
            [("dubbo", "2.0.2")].into_iter().chain(pairs.iter().copied()),
            encoder.out(),
        );
    }
    Ok(encoder.finish().into())
}
