//! A connection that speaks Dubbo2: the same frames whether it arrives at once or in pieces, and each comes back as it was.
#![no_main]

use bytes::{Bytes, BytesMut};
use landfall_codec::dubbo2::{Decoded, Decoder, Event, Frame, NotDubbo, Status, reply};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8], pieces: usize) -> (Vec<Decoded>, Option<NotDubbo>) {
    let (mut decoder, mut input, mut found) = (Decoder::new(1024), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(pieces) {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Decoded::NeedMore(more)) => {
                    assert!(more > 0);
                    break;
                }
                Ok(decoded) => found.push(decoded),
                // At the first wrong byte, so what it saw of the second depends on the pieces.
                Err(error) => return (found, Some(NotDubbo { second: 0, ..error })),
            }
        }
    }
    (found, None)
}

fn again(frame: &Frame) {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    assert_eq!(
        Decoder::new(u32::MAX).decode(&mut bytes),
        Ok(Decoded::Frame(frame.clone()))
    );
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!(read(bytes, 7), whole);
    for decoded in whole.0 {
        let Decoded::Frame(frame) = decoded else { continue };
        again(&frame);
        let _ = Event::of(&frame);
        again(&reply::heartbeat_answer(&frame.header));
        let message = String::from_utf8_lossy(&frame.body);
        for answer in [
            reply::error(&frame.header, Status::BAD_REQUEST, &message),
            reply::exception(&frame.header, "2.0.2", &message),
        ] {
            answer.iter().for_each(again);
        }
        again(&Frame::new(frame.header, Bytes::new()));
    }
});
