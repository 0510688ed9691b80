//! A stream of gRPC messages, the wrappers in them, and the text of a `grpc-message`.
#![no_main]

use bytes::BytesMut;
use landfall_codec::triple::{Decoded, Decoder, RequestWrapper, ResponseWrapper, decode_message, encode_message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = BytesMut::from(bytes);
    while let Ok(Decoded::Message(message)) = Decoder::new(4096).decode(&mut input) {
        let mut again = BytesMut::new();
        assert!(message.encode(&mut again));
        assert_eq!(
            Decoder::default().decode(&mut again),
            Ok(Decoded::Message(message.clone()))
        );
        if let Ok(request) = RequestWrapper::decode(&message.data) {
            assert_eq!(RequestWrapper::decode(&request.encode()), Ok(request));
        }
        if let Ok(response) = ResponseWrapper::decode(&message.data) {
            assert_eq!(ResponseWrapper::decode(&response.encode()), Ok(response));
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert_eq!(decode_message(&encode_message(text)), text);
        let _ = decode_message(text);
    }
});
