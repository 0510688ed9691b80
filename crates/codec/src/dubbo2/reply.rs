//! Frames that are made here: answers to calls that go nowhere, heartbeats, and the notice that we are leaving.
//!
//! An answer is written in the request's serialization: consumers of late 2.7 and 3.x insist.

use bytes::Bytes;

use super::{
    Serialization,
    frame::Frame,
    header::{Header, Kind, Status},
    response::{Outcome, encode_response},
};
use crate::hessian2::{Heap, Value, encode};

/// What a frame with the event bit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// "Are you there": answered with [`heartbeat_answer`] if an answer is wanted.
    Heartbeat,
    /// The sender takes no new calls on this connection; those in flight go on. No answer.
    ReadOnly,
    /// It does again (3.x).
    Writable,
    /// Something newer. Ignored, as Java does.
    Unknown,
}

impl Event {
    /// The event of a frame; `None` if it is none. A body that cannot be read is a heartbeat's: MOSN writes two nulls, others
    /// nothing.
    pub fn of(frame: &Frame) -> Option<Self> {
        if !frame.header.event {
            return None;
        }
        let text = match frame.header.serialization {
            Serialization::HESSIAN2 => match frame.body.split_first() {
                Some((length @ 0x01..=0x1f, text)) if text.len() == usize::from(*length) => text,
                _ => return Some(Self::Heartbeat),
            },
            Serialization::FASTJSON2 => match frame.body.get(4..) {
                Some([tag @ 0x4a..=0x78, text @ ..]) if text.len() == usize::from(tag - 0x49) => text,
                _ => return Some(Self::Heartbeat),
            },
            Serialization::FASTJSON => frame.body.trim_ascii(),
            _ => return Some(Self::Heartbeat),
        };
        Some(match text {
            b"R" | b"\"R\"" => Self::ReadOnly,
            b"W" | b"\"W\"" => Self::Writable,
            b"null" => Self::Heartbeat,
            _ => Self::Unknown,
        })
    }
}

/// The body that says null; `None` for a serialization we cannot write.
fn null(serialization: Serialization) -> Option<Bytes> {
    Some(match serialization {
        Serialization::HESSIAN2 => Bytes::from_static(b"N"),
        Serialization::FASTJSON2 => Bytes::from_static(&[0, 0, 0, 1, 0xaf]),
        Serialization::FASTJSON => Bytes::from_static(b"null\n"),
        _ => return None,
    })
}

/// A body of one string; `None` for a serialization we cannot write.
fn string(serialization: Serialization, text: &str) -> Option<Bytes> {
    match serialization {
        Serialization::HESSIAN2 => {
            let mut out = Vec::new();
            encode::string(&mut out, text);
            Some(out.into())
        }
        Serialization::FASTJSON2 => {
            let mut out = vec![0; 4];
            match u8::try_from(text.len()) {
                Ok(length @ 0..=0x2f) if text.is_ascii() => out.push(0x49 + length),
                _ => {
                    // UTF-8 with its length as an int of four bytes.
                    out.extend([0x7a, 0x48]);
                    out.extend(u32::try_from(text.len()).ok()?.to_be_bytes());
                }
            }
            out.extend_from_slice(text.as_bytes());
            let length = u32::try_from(out.len() - 4).ok()?;
            out.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
            Some(out.into())
        }
        _ => None,
    }
}

/// A heartbeat to send, which wants an answer.
pub fn heartbeat(id: u64) -> Frame {
    let header = Header {
        kind: Kind::Request { two_way: true },
        event: true,
        serialization: Serialization::HESSIAN2,
        id,
        length: 0,
    };
    Frame::new(header, Bytes::from_static(b"N"))
}

/// The answer to a heartbeat. In a serialization we cannot write its body is empty.
pub fn heartbeat_answer(request: &Header) -> Frame {
    Frame::new(
        request.answer(Status::OK, 0),
        null(request.serialization).unwrap_or_default(),
    )
}

/// The notice that no new calls are wanted on this connection. It is not answered.
pub fn read_only(id: u64) -> Frame {
    let header = Header {
        kind: Kind::Request { two_way: false },
        event: true,
        serialization: Serialization::HESSIAN2,
        id,
        length: 0,
    };
    Frame::new(header, Bytes::from_static(b"\x01R"))
}

/// An answer with a status other than OK. `None` if none is wanted (one-way), or none can be written in the request's
/// serialization: then the call is left to time out, or the connection is closed.
pub fn error(request: &Header, status: Status, message: &str) -> Option<Frame> {
    if !request.wants_answer() {
        return None;
    }
    let body = string(request.serialization, message)?;
    Some(Frame::new(
        Header {
            event: false,
            ..request.answer(status, 0)
        },
        body,
    ))
}

/// A result that throws: unlike [`error`] it is not tried again elsewhere. The exception is `java.lang.RuntimeException`, which every
/// consumer has and lets in. `None` as for [`error`], and for what is not Hessian2.
pub fn exception(request: &Header, protocol: &str, message: &str) -> Option<Frame> {
    if !request.wants_answer() || request.serialization != Serialization::HESSIAN2 {
        return None;
    }
    let mut heap = Heap::new();
    let thrown = heap.object(
        "java.lang.RuntimeException",
        vec![("detailMessage", Value::from(message))],
    );
    let body = encode_response(Outcome::Exception, &thrown, &heap, protocol, &[]).ok()?;
    Some(Frame::new(request.answer(Status::OK, 0), body))
}
