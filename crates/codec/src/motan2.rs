//! Motan2, the protocol of Weibo's RPC: everything that routing needs stands in front, as text; the body is never opened.
//!
//! ```text
//!  0      2      3         4               5            13         17            17+n     21+n
//!  +------+------+---------+---------------+------------+----------+-------------+--------+------+
//!  | f1f1 | kind | version | serialization | request id | n        | metadata    | m      | body |
//!  |      |      | status  |               |            |          | k\nv\nk\nv  |        |      |
//!  +------+------+---------+---------------+------------+----------+-------------+--------+------+
//!          4 heartbeat · 3 gzip · 2 one-way · 1 proxy · 0 response
//! ```
//!
//! Motan1 begins with the same two bytes and has another version in byte 3.
//! Source: `MotanV2Header.java`, `MotanV2Codec.java` of weibocom/motan.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Text;

/// The first two bytes of every frame.
pub const MAGIC: [u8; 2] = [0xf1, 0xf1];

/// Metadata and body together, in bytes, unless told otherwise (`maxContentLength`).
pub const DEFAULT_CONTENT: u32 = 10 << 20;

/// Metadata alone, in bytes: it is names and short values.
const MOST_METADATA: u32 = 256 << 10;

const HEAD: usize = 17;
const HEARTBEAT: u8 = 0x10;
const GZIP: u8 = 0x08;
const ONE_WAY: u8 = 0x04;
const PROXY: u8 = 0x02;
const RESPONSE: u8 = 0x01;

/// A frame's fixed part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// No call, but a sign of life; answered by the same with `response`.
    pub heartbeat: bool,
    /// The body is compressed.
    pub gzip: bool,
    /// No answer is expected.
    pub one_way: bool,
    /// Made by a proxy.
    pub proxy: bool,
    /// An answer.
    pub response: bool,
    /// 0 is good, 1 an exception: the key `M_e` tells which.
    pub status: u8,
    /// 0 hessian2, 1 grpc-pb, 2 json, 3 msgpack, 4 hprose, 5 pb, 6 simple, 7 grpc-pb-json.
    pub serialization: u8,
    /// Pairs a response with its request.
    pub id: u64,
}

/// A frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The fixed part.
    pub header: Header,
    /// Keys and values in their order; [`get`](Self::get) finds one.
    pub metadata: Vec<(Text, Text)>,
    /// The body as it came.
    pub body: Bytes,
}

/// What the bytes so far amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Nothing yet. So many bytes more bring the next step, at least.
    NeedMore(usize),
    /// A frame.
    Frame(Frame),
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No Motan at all.
    #[error("expected a Motan frame (f1 f1), found {0:02x} {1:02x}")]
    NotMotan(u8, u8),
    /// Motan, but not its version 2.
    #[error("Motan version {0} is not spoken here, only 2")]
    Version(u8),
    /// Longer than allowed; `id` is there for an answer before the close.
    #[error("the frame of request {id} has {length} bytes or more; at most {most} are taken")]
    TooLong {
        /// Whose it is.
        id: u64,
        /// What it says of its length.
        length: u64,
        /// The limit.
        most: u32,
    },
    /// Metadata that are no pairs of text.
    #[error("the metadata of request {id} are no pairs of lines of text")]
    Metadata {
        /// Whose they are.
        id: u64,
    },
}

impl Frame {
    /// The value of a key; the last one if it comes twice, as in Java.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata
            .iter()
            .rev()
            .find(|(name, _)| name.as_str() == key)
            .map(|(_, value)| value.as_str())
    }

    /// The interface that is called (`M_p`).
    pub fn interface(&self) -> Option<&str> {
        self.get("M_p")
    }

    /// The method that is called (`M_m`).
    pub fn method(&self) -> Option<&str> {
        self.get("M_m")
    }

    /// The group (`M_g`).
    pub fn group(&self) -> Option<&str> {
        self.get("M_g")
    }

    /// The version (`M_v`).
    pub fn version(&self) -> Option<&str> {
        self.get("M_v")
    }

    /// Sets a key's value, or adds it. `false`, and nothing done, if one of them has a line end: it would make another pair of it.
    pub fn set(&mut self, key: &str, value: &str) -> bool {
        if key.contains('\n') || value.contains('\n') {
            return false;
        }
        let value = Text::from(value.to_owned());
        match self.metadata.iter_mut().rev().find(|(name, _)| name.as_str() == key) {
            Some((_, place)) => *place = value,
            None => self.metadata.push((key.to_owned().into(), value)),
        }
        true
    }

    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        let head = &self.header;
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let kind = bit(head.heartbeat, HEARTBEAT)
            | bit(head.gzip, GZIP)
            | bit(head.one_way, ONE_WAY)
            | bit(head.proxy, PROXY)
            | bit(head.response, RESPONSE);
        out.put_slice(&MAGIC);
        out.put_slice(&[kind, 1 << 3 | head.status & 7, head.serialization << 3]);
        out.put_u64(head.id);
        let lines: usize = self
            .metadata
            .iter()
            .map(|(key, value)| key.len() + value.len() + 2)
            .sum();
        out.put_u32(lines.saturating_sub(1) as u32);
        for (place, (key, value)) in self.metadata.iter().enumerate() {
            if place > 0 {
                out.put_u8(b'\n');
            }
            out.put_slice(key.as_bytes());
            out.put_u8(b'\n');
            out.put_slice(value.as_bytes());
        }
        out.put_u32(self.body.len() as u32);
        out.put_slice(&self.body);
    }
}

/// The answer to a heartbeat.
pub fn heartbeat_answer(request: &Header) -> Frame {
    Frame {
        header: Header {
            response: true,
            ..*request
        },
        ..Frame::default()
    }
}

/// The answer to a call that went nowhere. `None` if none is wanted. Its exception is told in `M_e`, as JSON.
pub fn error(request: &Header, code: u16, message: &str) -> Option<Frame> {
    if request.one_way || request.response {
        return None;
    }
    let mut text = String::new();
    for c in message.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    let header = Header {
        response: true,
        status: 1,
        gzip: false,
        ..*request
    };
    let mut frame = Frame {
        header,
        ..Frame::default()
    };
    frame.set(
        "M_e",
        &format!("{{\"errcode\":{code},\"errmsg\":\"{text}\",\"errtype\":1}}"),
    );
    Some(frame)
}

/// Cuts a connection's bytes into frames.
#[derive(Debug, Clone)]
pub struct Decoder {
    most: u32,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(DEFAULT_CONTENT)
    }
}

impl Decoder {
    /// A decoder that takes metadata and body of at most so many bytes together.
    pub fn new(most: u32) -> Self {
        Self { most }
    }

    /// The next frame of what has arrived; its bytes are taken from `input` when it is whole.
    pub fn decode(&self, input: &mut BytesMut) -> Result<Decoded, FrameError> {
        let begun = &input[..input.len().min(2)];
        if !MAGIC.starts_with(begun) {
            let at = |n: usize| begun.get(n).copied().unwrap_or_default();
            return Err(FrameError::NotMotan(at(0), at(1)));
        }
        if let Some(version) = input.get(3).map(|byte| byte >> 3).filter(|version| *version != 1) {
            return Err(FrameError::Version(version));
        }
        let Some(head) = input.first_chunk::<HEAD>() else {
            return Ok(Decoded::NeedMore(HEAD - input.len()));
        };
        let [
            _,
            _,
            kind,
            status,
            serialization,
            i0,
            i1,
            i2,
            i3,
            i4,
            i5,
            i6,
            i7,
            l0,
            l1,
            l2,
            l3,
        ] = *head;
        let id = u64::from_be_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
        let metadata = u32::from_be_bytes([l0, l1, l2, l3]);
        let too_long = |length: u64, most: u32| Err(FrameError::TooLong { id, length, most });
        let most_metadata = self.most.min(MOST_METADATA);
        if metadata > most_metadata {
            return too_long(metadata.into(), most_metadata);
        }
        let body_at = HEAD + metadata as usize + 4;
        if input.len() < body_at {
            return Ok(Decoded::NeedMore(body_at - input.len()));
        }
        let length = input
            .get(body_at - 4..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let content = u64::from(metadata) + u64::from(length);
        if content > u64::from(self.most) {
            return too_long(content, self.most);
        }
        let whole = body_at + length as usize;
        if input.len() < whole {
            return Ok(Decoded::NeedMore(whole - input.len()));
        }
        input.advance(HEAD);
        let lines = input.split_to(metadata as usize).freeze();
        input.advance(4);
        let body = input.split_to(length as usize).freeze();
        let header = Header {
            heartbeat: kind & HEARTBEAT != 0,
            gzip: kind & GZIP != 0,
            one_way: kind & ONE_WAY != 0,
            proxy: kind & PROXY != 0,
            response: kind & RESPONSE != 0,
            status: status & 7,
            serialization: serialization >> 3,
            id,
        };
        Ok(Decoded::Frame(Frame {
            header,
            metadata: pairs(&lines).ok_or(FrameError::Metadata { id })?,
            body,
        }))
    }
}

fn pairs(lines: &Bytes) -> Option<Vec<(Text, Text)>> {
    if lines.is_empty() {
        return Some(Vec::new());
    }
    let mut pieces = lines
        .split(|byte| *byte == b'\n')
        .map(|piece| Text::of(lines.slice_ref(piece)));
    let mut pairs = Vec::new();
    while let Some(key) = pieces.next() {
        pairs.push((key?, pieces.next()??));
    }
    Some(pairs)
}

#[cfg(test)]
mod tests;
