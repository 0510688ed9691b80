//! What is called, and how an answer is known for its own call's.
//!
//! ```text
//!  call    │ da bb c2 00 │ id │ length │ "2.0.2" path version method types │ R… "<id in hex>xxxx…" │ attachments │
//!  answer  │ da bb 02 14 │ id │ length │ 94 (value, attachments)           │ R… "<id in hex>xxxx…" │ attachments │
//! ```
//!
//! Both are made once; of a call only the id in the header and its copy in the argument are written anew. A proxy puts ids
//! of its own into headers, but not into arguments: an answer that came back to the wrong caller shows by its argument.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use landfall_codec::{
    dubbo2::{Frame, HEADER, Header, Kind, NewRequest, Serialization, Status, rewrite_id},
    hessian2::{Heap, Value, encode},
};

use crate::Outcome;

/// The service that is called; peers/*-dubbo.* route by it.
pub const INTERFACE: &str = "org.example.Echo";
/// Digits of an id in the argument.
const DIGITS: usize = 16;
/// Stands in the argument where the id will.
const MARK: &[u8; DIGITS] = b"0123456789abcdef";

/// A call and its answer, to be stamped with ids.
pub struct Template {
    call: Vec<u8>,
    call_mark: Range<usize>,
    answer: Vec<u8>,
    answer_mark: Range<usize>,
}

impl Template {
    /// A call with one string of so many bytes.
    pub fn new(size: usize) -> Outcome<Self> {
        if size < DIGITS {
            return Err(format!("a payload has at least {DIGITS} bytes").into());
        }
        let mut text = String::from_utf8(MARK.to_vec())?;
        text.extend(std::iter::repeat_n('x', size - DIGITS));
        let argument = Value::from(text.as_str());
        let new = NewRequest {
            path: INTERFACE,
            version: Some("1.0.0"),
            method: "echo",
            types: "Ljava/lang/String;",
            attachments: &[
                ("path", INTERFACE),
                ("interface", INTERFACE),
                ("version", "1.0.0"),
                ("timeout", "10000"),
            ],
        };
        let body = new.encode(&[argument], &Heap::new())?;
        let header = Header {
            kind: Kind::Request { two_way: true },
            event: false,
            serialization: Serialization::HESSIAN2,
            id: 0,
            length: 0,
        };
        let mut call = BytesMut::new();
        Frame::new(header, body.clone()).encode(&mut call);
        let limits = landfall_codec::hessian2::Limits::default();
        let read = landfall_codec::dubbo2::Request::read(Serialization::HESSIAN2, body, limits)?;
        let answer = answer(&header, &read.arguments()).body.to_vec();
        Ok(Self {
            call_mark: mark(&call)?,
            call: call.to_vec(),
            answer_mark: mark(&answer)?,
            answer,
        })
    }

    /// Bytes of one call, its header among them.
    #[cfg(test)]
    pub fn length(&self) -> usize {
        self.call.len()
    }

    /// Appends the call of that id.
    pub fn write(&self, id: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.call);
        if let Some(frame) = out.get_mut(start..) {
            rewrite_id(frame, id);
            if let Some(place) = frame.get_mut(self.call_mark.clone()) {
                place.copy_from_slice(&digits(id));
            }
        }
    }

    /// Whether this is what the call of the header's id is answered with; if not, what is wrong.
    pub fn check(&self, frame: &Frame) -> Result<(), String> {
        let Kind::Response(status) = frame.header.kind else {
            return Err("a call came instead of an answer".to_owned());
        };
        if status != Status::OK {
            let text: String = String::from_utf8_lossy(&frame.body).chars().take(200).collect();
            return Err(format!("status {}: {text}", status.0));
        }
        let body = &frame.body[..];
        let Range { start, end } = self.answer_mark;
        if body.len() != self.answer.len() || body[..start] != self.answer[..start] || body[end..] != self.answer[end..]
        {
            return Err("an answer that is no echo of its call".to_owned());
        }
        if body[start..end] != digits(frame.header.id) {
            return Err("the answer to another call".to_owned());
        }
        Ok(())
    }
}

/// The answer to a call with these arguments.
pub fn answer(call: &Header, arguments: &[u8]) -> Frame {
    let mut body = Vec::with_capacity(arguments.len() + HEADER);
    encode::int(&mut body, 4);
    body.extend_from_slice(arguments);
    body.push(b'H');
    encode::string(&mut body, "dubbo");
    encode::string(&mut body, "2.0.2");
    body.push(b'Z');
    Frame::new(call.answer(Status::OK, 0), Bytes::from(body))
}

fn digits(id: u64) -> [u8; DIGITS] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    std::array::from_fn(|place| HEX[(id >> (60 - 4 * place) & 0xf) as usize])
}

fn mark(bytes: &[u8]) -> Outcome<Range<usize>> {
    let start = bytes.windows(DIGITS).position(|window| window == MARK);
    let start = start.ok_or("the argument is not written as one piece at its beginning")?;
    Ok(start..start + DIGITS)
}

#[cfg(test)]
mod tests {
    use landfall_codec::dubbo2::{Decoded, Decoder, Request};

    use super::*;

    fn echo(template: &Template, id: u64) -> Frame {
        let mut out = Vec::new();
        template.write(id, &mut out);
        assert_eq!(out.len(), template.length());
        let Ok(Decoded::Frame(call)) = Decoder::default().decode(&mut BytesMut::from(&out[..])) else {
            panic!("a call is a whole frame")
        };
        assert_eq!(call.header.id, id);
        let read = Request::read(Serialization::HESSIAN2, call.body, Default::default()).expect("a good call");
        assert_eq!(
            read.identity().map(|of| (of.path, of.version)),
            Ok((INTERFACE, "1.0.0"))
        );
        answer(&call.header, &read.arguments())
    }

    #[test]
    fn the_echo_of_a_call_is_its_answer_and_nobody_elses() {
        for size in [16, 100, 1024, 64 << 10] {
            let template = Template::new(size).expect("large enough");
            let right = echo(&template, 0x0123_4567_89ab_cdef);
            assert_eq!(template.check(&right), Ok(()));
            let mut wrong = echo(&template, 8);
            wrong.header.id = 7;
            assert_eq!(template.check(&wrong), Err("the answer to another call".to_owned()));
        }
    }

    #[test]
    fn an_answer_with_one_byte_changed_or_another_status_is_refused() {
        let template = Template::new(100).expect("large enough");
        let right = echo(&template, 7);
        for place in 0..right.body.len() {
            let mut body = right.body.to_vec();
            body[place] ^= 1;
            assert!(
                template.check(&Frame::new(right.header, body.into())).is_err(),
                "byte {place}"
            );
        }
        let mut busy = right.clone();
        busy.header.kind = Kind::Response(Status::BUSY);
        assert!(
            template
                .check(&busy)
                .is_err_and(|error| error.starts_with("status 100"))
        );
        assert!(template.check(&Frame::new(right.header, Bytes::new())).is_err());
    }

    #[test]
    fn a_payload_without_room_for_an_id_is_refused() {
        assert!(Template::new(15).is_err());
    }
}
