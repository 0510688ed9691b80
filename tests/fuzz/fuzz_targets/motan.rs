//! A connection that speaks Motan2: each frame comes back as it was, and no value makes a pair of its own.
#![no_main]

use bytes::BytesMut;
use landfall_codec::motan2::{Decoded, Decoder, error, heartbeat_answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (decoder, mut input) = (Decoder::new(4096), BytesMut::from(bytes));
    while let Ok(Decoded::Frame(mut frame)) = decoder.decode(&mut input) {
        let text = String::from_utf8_lossy(&frame.body).into_owned();
        if frame.set("key", &text) {
            assert_eq!(frame.get("key"), Some(text.as_str()));
        }
        for frame in [
            Some(heartbeat_answer(&frame.header)),
            error(&frame.header, 500, &text),
            Some(frame),
        ] {
            let Some(frame) = frame else { continue };
            let mut again = BytesMut::new();
            frame.encode(&mut again);
            assert_eq!(Decoder::default().decode(&mut again), Ok(Decoded::Frame(frame)));
        }
    }
});
