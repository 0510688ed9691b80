//! Where one HTTP/1 request ends: a strict reader of body framing that runs beside pingora's own.
//!
//! pingora takes a bare LF after a chunk size, white space around it and anything in a chunk extension. Two
//! parsers that disagree about such bytes are how requests are smuggled, so this one accepts only what RFC 9112
//! section 7.1 writes, and what it refuses never reaches pingora.
//!
//! ```text
//!  5;name=value CR LF  h e l l o CR LF  0 CR LF  Trailer: x CR LF  CR LF
//!  └ size ┘└ ext ┘      └ data ┘        └ last ┘ └── trailers ──┘  └ end
//! ```
//!
//! It changes nothing and copies nothing: it says how many of the given bytes belong to the request.
//! [`wire`](super::wire) asks it before it hands bytes on.

use super::refusal::Refusal;

/// Longest run of size digits: 15 hex digits are 1 EiB − 1, and no overflow is possible.
const MAX_SIZE_DIGITS: u8 = 15;
/// Longest chunk extension in bytes.
const MAX_EXTENSION: u16 = 256;
/// Longest trailer section in bytes.
const MAX_TRAILERS: u16 = 8 * 1024;

/// What is still to come of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// Nothing: the request is complete.
    Done,
}

impl Framing {
    /// A body of `length` bytes.
    pub(crate) fn length(length: u64) -> Self {
        match length {
            0 => Self::Done,
            length => Self::Length(length),
        }
    }

    /// A chunked body.
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Chunks {
            state: State::Size { digits: 0 },
            left: 0,
            counted: 0,
        })
    }

    /// Whether the request is complete.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// How many of `bytes` belong to this request. Fewer than all means that it is complete.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match self {
            Self::Done => Ok(0),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *self = Self::length(*left - taken as u64);
                Ok(taken)
            }
            Self::Chunked(chunks) => {
                let (taken, done) = chunks.scan(bytes)?;
                if done {
                    *self = Self::Done;
                }
                Ok(taken)
            }
        }
    }
}

/// The place in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    state: State,
    /// Size of the chunk while it is read, then the bytes of data still to come.
    left: u64,
    /// Bytes of the present extension or of all trailers.
    counted: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { digits: u8 },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

const BAD_SIZE: Refusal = Refusal::bad("malformed chunk size");
const BAD_EXTENSION: Refusal = Refusal::bad("malformed chunk extension");
const BAD_DATA_END: Refusal = Refusal::bad("chunk data not followed by CRLF");
const BAD_TRAILER: Refusal = Refusal::bad("malformed trailer");

impl Chunks {
    fn scan(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Data {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= taken as u64;
                at += taken;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if self.step(byte)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// Takes one byte of framing; true at the end of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.state = match (self.state, byte) {
            (State::Size { digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == MAX_SIZE_DIGITS {
                    return Err(BAD_SIZE);
                }
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                State::Size { digits: digits + 1 }
            }
            (State::Size { digits: 1.. }, b'\r') => State::SizeLf,
            (State::Size { digits: 1.. }, b';') => {
                self.counted = 0;
                State::Extension
            }
            (State::Size { .. }, _) => return Err(BAD_SIZE),
            (State::Extension, b'\r') => State::SizeLf,
            (State::Extension, b'\t' | b' '..=b'~') => self.count(MAX_EXTENSION, BAD_EXTENSION, State::Extension)?,
            (State::Extension, _) => return Err(BAD_EXTENSION),
            (State::SizeLf, b'\n') if self.left == 0 => {
                self.counted = 0;
                State::TrailerStart
            }
            (State::SizeLf, b'\n') => State::Data,
            (State::SizeLf, _) => return Err(BAD_SIZE),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.left = 0;
                State::Size { digits: 0 }
            }
            (State::DataCr | State::DataLf, _) => return Err(BAD_DATA_END),
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => return Ok(true),
            (State::TrailerStart | State::TrailerName, _) if super::head::is_token(byte) => {
                self.count(MAX_TRAILERS, BAD_TRAILER, State::TrailerName)?
            }
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count(MAX_TRAILERS, BAD_TRAILER, State::TrailerValue)?
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            _ => return Err(BAD_TRAILER),
        };
        Ok(false)
    }

    fn count(&mut self, limit: u16, over: Refusal, next: State) -> Result<State, Refusal> {
        self.counted += 1;
        if self.counted > limit {
            return Err(over);
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &[u8]) -> Result<(usize, bool), Refusal> {
        let mut framing = Framing::chunked();
        framing.scan(text).map(|taken| (taken, framing.is_done()))
    }

    #[test]
    fn what_the_rfc_writes_is_taken_and_what_follows_is_left() {
        for (text, rest) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\nGET /", "GET /"),
            ("5;a=b; c=\"d\"\r\nhello\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n", ""),
            ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n0", "0"),
        ] {
            assert_eq!(scan(text.as_bytes()), Ok((text.len() - rest.len(), true)), "{text:?}");
        }
    }

    #[test]
    fn lenient_framing_is_refused() {
        for text in [
            "5\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "-1\r\n",
            "\r\n0\r\n\r\n",
            ";a\r\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5;\0\r\nhello\r\n",
            "0\r\n\n",
            "0\n\r\n",
            "0\r\nbad name: x\r\n\r\n",
            "0\r\n folded\r\n\r\n",
            "0\r\nno-colon\r\n\r\n",
            "10000000000000000\r\n",
            "5\rhello",
        ] {
            assert!(scan(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        assert!(scan(format!("0;{}\r\n\r\n", "x".repeat(300)).as_bytes()).is_err());
        assert!(scan(format!("0\r\nx: {}\r\n\r\n", "x".repeat(9000)).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn the_answer_does_not_depend_on_how_the_bytes_arrive(
            sizes in prop::collection::vec(1usize..40, 0..8),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let mut text = Vec::new();
            for size in sizes {
                text.extend_from_slice(format!("{size:x};n\r\n").as_bytes());
                text.extend(std::iter::repeat_n(b'\n', size));
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\nT: v\r\n\r\n");
            let end = text.len();
            text.extend_from_slice(b"NEXT");
            let (mut framing, mut at, mut cut) = (Framing::chunked(), 0, cuts.iter().cycle());
            while !framing.is_done() && at < text.len() {
                let piece = (*cut.next().unwrap()).min(text.len() - at);
                at += framing.scan(&text[at..at + piece]).unwrap();
            }
            prop_assert_eq!(at, end);
        }
    }
}
