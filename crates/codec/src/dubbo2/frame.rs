//! Frames out of a stream of bytes that arrives in any pieces.
//!
//! ```text
//!           bytes arrive            16 bytes there          body there
//!   ┌──────┐ ──────────▶ ┌────────┐ ──────────▶ ┌──────┐ ──────────▶ Frame
//!   │ head │             │ length │  too long   ┌──────┐
//!   └──────┘             └────────┘ ──────────▶ │ pass │ ──▶ Oversized: can be answered, its body is passed over
//!       │ no magic                              └──────┘
//!       ▼ NotDubbo: the stream cannot be trusted any more
//! ```

use bytes::{Buf, Bytes, BytesMut};

use super::header::{HEADER, Header, MAGIC};

/// The largest body that Dubbo takes unless told otherwise (`payload`), in bytes.
pub const DEFAULT_PAYLOAD: u32 = 8 << 20;

/// A header and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header; its length is that of the body.
    pub header: Header,
    /// The body, not opened.
    pub body: Bytes,
}

impl Frame {
    /// A frame with this body; the header gets its length.
    pub fn new(header: Header, body: Bytes) -> Self {
        Self {
            header: Header {
                length: body.len().min(u32::MAX as usize) as u32,
                ..header
            },
            body,
        }
    }

    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(HEADER + self.body.len());
        out.extend_from_slice(&self.header.encode());
        out.extend_from_slice(&self.body);
    }
}

/// What the bytes so far amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Nothing yet. So many bytes more bring the next step, at least.
    NeedMore(usize),
    /// A frame.
    Frame(Frame),
    /// A frame whose body is longer than allowed. The body is passed over as it arrives; the other calls of the connection are
    /// not harmed. A caller who will not wait for the end of two gigabytes closes the connection.
    Oversized(Header),
}

/// The bytes are no Dubbo frame, and where the next one would begin cannot be known: the connection is to be closed. Java looks for
/// the next magic bytes and takes all before them for a telnet command; that is not to be imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a Dubbo frame (da bb), found {first:02x} {second:02x}")]
pub struct NotDubbo {
    /// The first byte that is there instead.
    pub first: u8,
    /// The second, or 0 if it has not arrived.
    pub second: u8,
}

/// Cuts a connection's bytes into frames.
#[derive(Debug, Clone)]
pub struct Decoder {
    payload: u32,
    /// The header whose body is awaited.
    header: Option<Header>,
    /// Bytes of an oversized body that are still to come.
    pass: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(DEFAULT_PAYLOAD)
    }
}

impl Decoder {
    /// A decoder that takes bodies of at most so many bytes.
    pub fn new(payload: u32) -> Self {
        Self {
            payload,
            header: None,
            pass: 0,
        }
    }

    /// The next frame of what has arrived; read bytes are taken from `input`.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, NotDubbo> {
        let header = match self.header {
            Some(header) => header,
            None => match self.head(input)? {
                Ok(header) => header,
                Err(decoded) => return Ok(decoded),
            },
        };
        let length = header.length as usize;
        if input.len() < length {
            return Ok(Decoded::NeedMore(length - input.len()));
        }
        self.header = None;
        Ok(Decoded::Frame(Frame {
            header,
            body: input.split_to(length).freeze(),
        }))
    }

    /// The next header alone, for who passes a large body on in pieces. Its body is the caller's to take from `input` then.
    pub fn decode_header(&mut self, input: &mut BytesMut) -> Result<Result<Header, Decoded>, NotDubbo> {
        match self.header.take() {
            Some(header) => Ok(Ok(header)),
            None => self.head(input).map(|head| head.inspect(|_| self.header = None)),
        }
    }

    /// Whether the connection may be closed here without cutting a frame in two.
    pub fn is_between_frames(&self) -> bool {
        self.header.is_none() && self.pass == 0
    }

    fn head(&mut self, input: &mut BytesMut) -> Result<Result<Header, Decoded>, NotDubbo> {
        let passed = self.pass.min(input.len());
        input.advance(passed);
        self.pass -= passed;
        if self.pass > 0 {
            return Ok(Err(Decoded::NeedMore(self.pass)));
        }
        // Told at the first wrong byte: who speaks another protocol may never send sixteen.
        let begun = &input[..input.len().min(2)];
        if !MAGIC.starts_with(begun) {
            let at = |n: usize| begun.get(n).copied().unwrap_or_default();
            return Err(NotDubbo {
                first: at(0),
                second: at(1),
            });
        }
        let Some(header) = input.first_chunk::<HEADER>().and_then(Header::decode) else {
            return Ok(Err(Decoded::NeedMore(HEADER - input.len().min(HEADER))));
        };
        input.advance(HEADER);
        if header.length > self.payload {
            self.pass = header.length as usize;
            return Ok(Err(Decoded::Oversized(header)));
        }
        self.header = Some(header);
        Ok(Ok(header))
    }
}
