//! How a gRPC call went: the trailers `grpc-status` and `grpc-message`, and what they are in HTTP and in Dubbo2.

use std::{borrow::Cow, fmt::Write};

use crate::dubbo2::Status;

/// A gRPC status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "gRPC's own names, explained in its specification")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// In the order of their numbers.
const ALL: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

impl Code {
    /// The code of a `grpc-status` trailer. A number that gRPC does not have is UNKNOWN, as its specification says; `None` for what
    /// is no number.
    pub fn of_trailer(value: &str) -> Option<Self> {
        let number: u32 = value.parse().ok()?;
        Some(ALL.get(number as usize).map_or(Self::Unknown, |(code, _)| *code))
    }

    /// The number in the trailer.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// gRPC's name of it.
    pub fn name(self) -> &'static str {
        ALL.get(usize::from(self.number())).map_or("UNKNOWN", |(_, name)| name)
    }

    /// The HTTP status that says the same to a caller who speaks JSON.
    pub const fn http(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Cancelled => 499,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::DeadlineExceeded => 504,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::PermissionDenied => 403,
            Self::ResourceExhausted => 429,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::Unauthenticated => 401,
        }
    }

    /// What a gRPC client makes of an answer that is plain HTTP.
    pub const fn of_http(status: u16) -> Self {
        match status {
            100..=199 | 400 | 431 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// What a Dubbo2 status is in gRPC.
    pub const fn of_dubbo(status: Status) -> Self {
        match status {
            Status::OK => Self::Ok,
            Status::CLIENT_TIMEOUT | Status::SERVER_TIMEOUT => Self::DeadlineExceeded,
            Status::BAD_REQUEST | Status::BAD_RESPONSE | Status::SERIALIZATION_ERROR => Self::Internal,
            Status::SERVICE_NOT_FOUND => Self::Unimplemented,
            Status::BUSY => Self::ResourceExhausted,
            Status::CHANNEL_INACTIVE => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// What the code is in Dubbo2.
    pub const fn dubbo(self) -> Status {
        match self {
            Self::Ok => Status::OK,
            Self::DeadlineExceeded => Status::SERVER_TIMEOUT,
            Self::Unimplemented | Self::NotFound => Status::SERVICE_NOT_FOUND,
            Self::InvalidArgument => Status::BAD_REQUEST,
            Self::ResourceExhausted => Status::BUSY,
            Self::Unavailable | Self::Internal | Self::DataLoss => Status::SERVER_ERROR,
            _ => Status::SERVICE_ERROR,
        }
    }
}

/// The text of a `grpc-message` trailer. What is no good percent-encoding stands for itself, and what is no UTF-8 is replaced:
/// the specification wants a message never to be lost.
pub fn decode_message(value: &str) -> Cow<'_, str> {
    if !value.contains('%') {
        return Cow::Borrowed(value);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16)).map(|digit| digit as u8);
    let (bytes, mut at, mut out) = (value.as_bytes(), 0, Vec::new());
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// A text as `grpc-message` carries it: everything but printable ASCII without `%` is encoded.
pub fn encode_message(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'%';
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_are_in_the_order_of_their_numbers() {
        for (number, (code, name)) in ALL.iter().enumerate() {
            assert_eq!((usize::from(code.number()), code.name()), (number, *name));
            assert_eq!(Code::of_trailer(&number.to_string()), Some(*code));
        }
        assert_eq!(
            (Code::of_trailer("99"), Code::of_trailer("x")),
            (Some(Code::Unknown), None)
        );
        assert_eq!(Code::of_dubbo(Code::DeadlineExceeded.dubbo()), Code::DeadlineExceeded);
        assert_eq!((Code::NotFound.http(), Code::of_http(404)), (404, Code::Unimplemented));
    }

    #[test]
    fn a_message_that_is_badly_encoded_is_not_lost() {
        assert_eq!(decode_message("50% off, %e4%b8%AD%zz%"), "50% off, 中%zz%");
        assert_eq!(decode_message("%ff"), "\u{fffd}");
        assert_eq!(encode_message("a%\n中"), "a%25%0A%E4%B8%AD");
    }

    proptest! {
        #[test]
        fn messages_come_back(text in any::<String>()) {
            let encoded = encode_message(&text);
            prop_assert!(encoded.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(decode_message(&encoded), text.as_str());
        }
    }
}
