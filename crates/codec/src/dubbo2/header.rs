//! The sixteen bytes in front of every body, and the status of an answer.
//!
//! ```text
//!  0        2      3        4                     12              16
//!  +--------+------+--------+---------------------+---------------+
//!  | 0xdabb | flag | status | request id          | body length   |
//!  +--------+------+--------+---------------------+---------------+
//!            7 request · 6 two-way · 5 event · 4-0 serialization
//! ```
//!
//! Source: `ExchangeCodec.java` of Apache Dubbo.

use super::Serialization;

/// The first two bytes of every frame.
pub const MAGIC: [u8; 2] = [0xda, 0xbb];

/// The length of a header in bytes.
pub const HEADER: usize = 16;

const REQUEST: u8 = 0x80;
const TWO_WAY: u8 = 0x40;
const EVENT: u8 = 0x20;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call, or an event that is asked for or told.
    Request {
        /// An answer is expected.
        two_way: bool,
    },
    /// The answer to the request of the same id.
    Response(Status),
}

/// A frame without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Request or response.
    pub kind: Kind,
    /// Heartbeat or notice: it concerns the connection and is no call.
    pub event: bool,
    /// How the body is written.
    pub serialization: Serialization,
    /// Unique in the process that made the request, and in no wider circle.
    pub id: u64,
    /// Bytes of body.
    pub length: u32,
}

impl Header {
    /// Reads a header; `None` if it does not begin with the magic bytes. Bits that mean nothing are not kept: the status of a
    /// request, the two-way bit of a response.
    pub fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let [m0, m1, flags, status, i0, i1, i2, i3, i4, i5, i6, i7, l0, l1, l2, l3] = *bytes;
        if [m0, m1] != MAGIC {
            return None;
        }
        let kind = match flags & REQUEST != 0 {
            true => Kind::Request {
                two_way: flags & TWO_WAY != 0,
            },
            false => Kind::Response(Status(status)),
        };
        Some(Self {
            kind,
            event: flags & EVENT != 0,
            serialization: Serialization::of(flags),
            id: u64::from_be_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let (flags, status) = match self.kind {
            Kind::Request { two_way } => (REQUEST | if two_way { TWO_WAY } else { 0 }, 0),
            Kind::Response(status) => (0, status.0),
        };
        let event = if self.event { EVENT } else { 0 };
        let [i0, i1, i2, i3, i4, i5, i6, i7] = self.id.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        let flags = flags | event | self.serialization.id();
        [
            MAGIC[0], MAGIC[1], flags, status, i0, i1, i2, i3, i4, i5, i6, i7, l0, l1, l2, l3,
        ]
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.kind, Kind::Request { .. })
    }

    /// Whether its sender waits for an answer.
    pub fn wants_answer(&self) -> bool {
        self.kind == Kind::Request { two_way: true }
    }

    /// The header of an answer to this request: the same id and, as consumers insist, the same serialization.
    pub fn answer(&self, status: Status, length: u32) -> Self {
        Self {
            kind: Kind::Response(status),
            length,
            ..*self
        }
    }
}

/// Puts another id into a frame's bytes, as is done where calls of several connections go out on one. `false`, and nothing done, if
/// these are no frame's.
pub fn rewrite_id(frame: &mut [u8], id: u64) -> bool {
    let is_frame = frame.starts_with(&MAGIC);
    match frame.get_mut(4..12) {
        Some(place) if is_frame => {
            place.copy_from_slice(&id.to_be_bytes());
            true
        }
        _ => false,
    }
}

/// How a call went. Every status but [`OK`](Self::OK) has one string for a body, and makes Java's default cluster try other
/// providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// A result, be it a value or an exception that the method threw.
    pub const OK: Self = Self(20);
    /// The answer could not be written (3.x).
    pub const SERIALIZATION_ERROR: Self = Self(25);
    /// The caller has waited long enough.
    pub const CLIENT_TIMEOUT: Self = Self(30);
    /// The provider has worked long enough.
    pub const SERVER_TIMEOUT: Self = Self(31);
    /// The connection died; consumers say so to themselves.
    pub const CHANNEL_INACTIVE: Self = Self(35);
    /// The request cannot be read.
    pub const BAD_REQUEST: Self = Self(40);
    /// The answer cannot be read, or is too large.
    pub const BAD_RESPONSE: Self = Self(50);
    /// Nobody has that service. Java itself says [`SERVICE_ERROR`](Self::SERVICE_ERROR).
    pub const SERVICE_NOT_FOUND: Self = Self(60);
    /// The service failed before it was called.
    pub const SERVICE_ERROR: Self = Self(70);
    /// The server failed.
    pub const SERVER_ERROR: Self = Self(80);
    /// The client failed.
    pub const CLIENT_ERROR: Self = Self(90);
    /// Too many calls at once.
    pub const BUSY: Self = Self(100);

    /// Dubbo's name of it; `None` for a number that Dubbo does not use.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            20 => "OK",
            25 => "SERIALIZATION_ERROR",
            30 => "CLIENT_TIMEOUT",
            31 => "SERVER_TIMEOUT",
            35 => "CHANNEL_INACTIVE",
            40 => "BAD_REQUEST",
            50 => "BAD_RESPONSE",
            60 => "SERVICE_NOT_FOUND",
            70 => "SERVICE_ERROR",
            80 => "SERVER_ERROR",
            90 => "CLIENT_ERROR",
            100 => "SERVER_THREADPOOL_EXHAUSTED_ERROR",
            _ => return None,
        })
    }
}
