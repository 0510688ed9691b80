//! The access log: any bytes of a request become one line of valid JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u64, &[u8])| landfall_fuzz::access_log::write(input.1, input.0));
