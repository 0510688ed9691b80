//! Hessian2: the skipper and the decoder agree on every byte, and what was decoded can be written and read again.
#![no_main]

use landfall_codec::hessian2::{Decoder, Encoder, Error, Heap, Limits, Skipper, Value};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) -> Option<(Vec<Value>, Heap)> {
    let limits = Limits {
        depth: 40,
        ..Limits::default()
    };
    let (mut skipper, mut decoder, mut values) = (Skipper::new(bytes, limits), Decoder::new(bytes, limits), Vec::new());
    while !decoder.is_at_end() {
        let (skipped, decoded) = (skipper.skip(), decoder.value());
        match (skipped, decoded) {
            (Ok(range), Ok(value)) => {
                assert_eq!(range.end, decoder.position());
                values.push(value);
            }
            (
                _,
                Err(Error::TooMuch {
                    what: "bytes of memory",
                    ..
                }),
            ) => return None,
            (skipped, decoded) => {
                assert_eq!(skipped.err(), decoded.err());
                return None;
            }
        }
    }
    Some((values, decoder.into_heap()))
}

fn write(values: &[Value], heap: &Heap) -> Vec<u8> {
    let mut encoder = Encoder::new(heap);
    values
        .iter()
        .for_each(|value| encoder.value(value).expect("what was decoded can be encoded"));
    encoder.finish()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((values, heap)) = read(bytes) else { return };
    let written = write(&values, &heap);
    let (again, read_heap) = read(&written).expect("what was written can be read");
    assert_eq!(again.len(), values.len());
    // Written once more it must be the same bytes; values themselves may hold NaN, which is not equal to itself.
    assert_eq!(write(&again, &read_heap), written);
});
