//! gRPC's framing inside a stream: one byte of flags, four of length, then the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::dubbo2::DEFAULT_PAYLOAD;

const HEAD: usize = 5;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Compressed as the header `grpc-encoding` says.
    pub compressed: bool,
    /// The message, not opened.
    pub data: Bytes,
}

impl Message {
    /// Appends the message with its head. One of more than four gigabytes cannot be said and is not written: `false`.
    pub fn encode(&self, out: &mut BytesMut) -> bool {
        let Ok(length) = u32::try_from(self.data.len()) else {
            return false;
        };
        out.reserve(HEAD + self.data.len());
        out.put_u8(u8::from(self.compressed));
        out.put_u32(length);
        out.put_slice(&self.data);
        true
    }
}

/// What the bytes so far amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Nothing yet. So many bytes more bring the next step, at least.
    NeedMore(usize),
    /// A message.
    Message(Message),
}

/// Why a stream cannot go on. Other streams of the connection are not concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No message of gRPC. Answered with INTERNAL.
    #[error("a gRPC message begins with 00 or 01, found {0:02x}")]
    Flags(u8),
    /// Longer than allowed. Answered with RESOURCE_EXHAUSTED.
    #[error("a message of {length} bytes; at most {most} are taken")]
    TooLong {
        /// Its length in bytes.
        length: u32,
        /// The limit.
        most: u32,
    },
}

/// Cuts a stream's bytes into messages.
#[derive(Debug, Clone)]
pub struct Decoder {
    most: u32,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(DEFAULT_PAYLOAD)
    }
}

impl Decoder {
    /// A decoder that takes messages of at most so many bytes. Dubbo's default is 8 MiB.
    pub fn new(most: u32) -> Self {
        Self { most }
    }

    /// The next message of what has arrived; read bytes are taken from `input`.
    pub fn decode(&self, input: &mut BytesMut) -> Result<Decoded, MessageError> {
        let Some(&flags) = input.first() else {
            return Ok(Decoded::NeedMore(HEAD));
        };
        if flags > 1 {
            return Err(MessageError::Flags(flags));
        }
        let Some(&[_, a, b, c, d]) = input.first_chunk::<HEAD>() else {
            return Ok(Decoded::NeedMore(HEAD - input.len()));
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > self.most {
            return Err(MessageError::TooLong {
                length,
                most: self.most,
            });
        }
        let whole = HEAD + length as usize;
        if input.len() < whole {
            return Ok(Decoded::NeedMore(whole - input.len()));
        }
        input.advance(HEAD);
        let data = input.split_to(length as usize).freeze();
        Ok(Decoded::Message(Message {
            compressed: flags == 1,
            data,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn what_is_no_message_ends_the_stream() {
        let decode = |bytes: &[u8]| Decoder::new(8).decode(&mut BytesMut::from(bytes));
        assert_eq!(decode(b""), Ok(Decoded::NeedMore(5)));
        assert_eq!(decode(b"\x02"), Err(MessageError::Flags(2)));
        assert_eq!(
            decode(b"\0\0\0\0\x09"),
            Err(MessageError::TooLong { length: 9, most: 8 })
        );
        assert_eq!(decode(b"\x01\0\0\0\x02a"), Ok(Decoded::NeedMore(1)));
    }

    proptest! {
        #[test]
        fn messages_are_the_same_wherever_the_stream_is_split(
            messages in vec((any::<bool>(), vec(any::<u8>(), 0..40)), 0..6), cut in 1usize..20,
        ) {
            let messages: Vec<Message> =
                messages.into_iter().map(|(compressed, data)| Message { compressed, data: data.into() }).collect();
            let mut whole = BytesMut::new();
            prop_assert!(messages.iter().all(|message| message.encode(&mut whole)));
            let (mut input, mut found) = (BytesMut::new(), Vec::new());
            for piece in whole.chunks(cut) {
                input.put_slice(piece);
                while let Decoded::Message(message) = Decoder::default().decode(&mut input).expect("good messages") {
                    found.push(message);
                }
            }
            prop_assert_eq!(found, messages);
            prop_assert!(input.is_empty());
        }
    }
}
