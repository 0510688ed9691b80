//! The protobuf messages that carry calls of Java methods, by hand: three fields each.
//!
//! Source: `triple_wrapper.proto` of Apache Dubbo.

use bytes::Bytes;

use crate::{Text, dubbo2::Serialization};

/// More arguments than a Java method can have.
const MOST: usize = 255;

/// The bytes are no wrapper: the call is one of protobuf's own methods, or bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no wrapper of Triple: {what}, at offset {at}")]
pub struct NotAWrapper {
    /// Where.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// A call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestWrapper {
    /// How the arguments are written: `hessian4` is Hessian2, other names are Dubbo's ([`serialization_of`]).
    pub serialize_type: Text,
    /// The arguments, each written by itself.
    pub args: Vec<Bytes>,
    /// The parameter types as `Class.getName` tells them: `java.lang.String`, `[I`. They tell overloads apart.
    pub arg_types: Vec<Text>,
}

/// A result, or an exception if the response has the header `tri-exception-code`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseWrapper {
    /// As in the request.
    pub serialize_type: Text,
    /// The value.
    pub data: Bytes,
    /// Its Java class.
    pub value_type: Text,
}

/// What a wrapper's `serializeType` stands for.
pub fn serialization_of(serialize_type: &str) -> Option<Serialization> {
    match serialize_type {
        "hessian4" => Some(Serialization::HESSIAN2),
        name => Serialization::named(name),
    }
}

impl RequestWrapper {
    /// Reads a message. Fields that are not known are passed over, as protobuf has it.
    pub fn decode(message: &Bytes) -> Result<Self, NotAWrapper> {
        let mut wrapper = Self::default();
        each(message, |at, field, bytes| {
            match field {
                1 => wrapper.serialize_type = text(at, bytes)?,
                2 => wrapper.args.push(bytes),
                3 => wrapper.arg_types.push(text(at, bytes)?),
                _ => {}
            }
            if wrapper.args.len() > MOST || wrapper.arg_types.len() > MOST {
                return Err(NotAWrapper {
                    at,
                    what: "more arguments than a Java method can have",
                });
            }
            Ok(())
        })?;
        Ok(wrapper)
    }

    /// The message.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        if !self.serialize_type.is_empty() {
            put(&mut out, 1, self.serialize_type.as_bytes());
        }
        self.args.iter().for_each(|arg| put(&mut out, 2, arg));
        self.arg_types.iter().for_each(|of| put(&mut out, 3, of.as_bytes()));
        out.into()
    }
}

impl ResponseWrapper {
    /// Reads a message. Fields that are not known are passed over, as protobuf has it.
    pub fn decode(message: &Bytes) -> Result<Self, NotAWrapper> {
        let mut wrapper = Self::default();
        each(message, |at, field, bytes| {
            match field {
                1 => wrapper.serialize_type = text(at, bytes)?,
                2 => wrapper.data = bytes,
                3 => wrapper.value_type = text(at, bytes)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(wrapper)
    }

    /// The message.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        let fields: [(u8, &[u8]); 3] = [
            (1, self.serialize_type.as_bytes()),
            (2, &self.data),
            (3, self.value_type.as_bytes()),
        ];
        for (field, bytes) in fields {
            if !bytes.is_empty() {
                put(&mut out, field, bytes);
            }
        }
        out.into()
    }
}

fn text(at: usize, bytes: Bytes) -> Result<Text, NotAWrapper> {
    Text::of(bytes).ok_or(NotAWrapper {
        at,
        what: "a string that is not UTF-8",
    })
}

fn put(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    let mut length = bytes.len() as u64;
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// Every field that has a length, with its number; others are passed over.
fn each(
    message: &Bytes,
    mut found: impl FnMut(usize, u64, Bytes) -> Result<(), NotAWrapper>,
) -> Result<(), NotAWrapper> {
    let mut at = 0;
    while at < message.len() {
        let start = at;
        let wrong = |what| NotAWrapper { at: start, what };
        let cut = wrong("it ends inside a field");
        let key = varint(message, &mut at).ok_or(cut)?;
        if key >> 3 == 0 || key >> 3 > 0x1fff_ffff {
            return Err(wrong("a field without a number"));
        }
        let length = match key & 7 {
            0 => {
                varint(message, &mut at).ok_or(cut)?;
                continue;
            }
            1 => 8,
            2 => varint(message, &mut at).ok_or(cut)?,
            5 => 4,
            _ => return Err(wrong("a field of a kind that protobuf does not have any more")),
        };
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| at.checked_add(length))
            .ok_or(cut)?;
        if end > message.len() {
            return Err(cut);
        }
        if key & 7 == 2 {
            found(start, key >> 3, message.slice(at..end))?;
        }
        at = end;
    }
    Ok(())
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_call_of_a_java_method_is_read() {
        let message = b"\x0a\x08hessian4\x12\x06\x05world\x1a\x10java.lang.String";
        let wrapper = RequestWrapper::decode(&Bytes::from_static(message)).expect("a good wrapper");
        assert_eq!(serialization_of(&wrapper.serialize_type), Some(Serialization::HESSIAN2));
        assert_eq!(
            (&wrapper.args[..], &wrapper.arg_types[..]),
            (
                &[Bytes::from("\x05world")][..],
                &["java.lang.String".to_owned().into()][..]
            )
        );
        assert_eq!(&wrapper.encode()[..], message);
    }

    #[test]
    fn unknown_fields_are_passed_over_and_bad_ones_refused() {
        let read = |bytes: &'static [u8]| ResponseWrapper::decode(&Bytes::from_static(bytes));
        let known = read(b"\x20\x81\x01\x12\x01x\x4d....\x51........\x3a\x00").expect("only the second field is known");
        assert_eq!(known.data, "x");
        for bytes in [
            &b"\x12\x05x"[..],
            b"\x12",
            b"\x0a\x01\xff",
            b"\x02\x00",
            b"\x13",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
        ] {
            assert!(read(bytes).is_err(), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn wrappers_come_back_and_any_bytes_are_borne(
            kind in "[a-z0-9]{0,9}", args in vec(vec(any::<u8>(), 0..300), 0..5), types in vec("\\PC{0,9}", 0..5),
            noise in vec(any::<u8>(), 0..60),
        ) {
            let args: Vec<Bytes> = args.into_iter().map(Bytes::from).collect();
            let response =
                ResponseWrapper { serialize_type: kind.clone().into(), data: noise.clone().into(), value_type: kind.clone().into() };
            prop_assert_eq!(ResponseWrapper::decode(&response.encode()), Ok(response));
            let request =
                RequestWrapper { serialize_type: kind.into(), args, arg_types: types.into_iter().map(Text::from).collect() };
            prop_assert_eq!(RequestWrapper::decode(&request.encode()), Ok(request));
            let _ = RequestWrapper::decode(&noise.into());
        }
    }
}
