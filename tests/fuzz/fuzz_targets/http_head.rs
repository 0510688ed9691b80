//! An HTTP/1 request, head and body, in pieces whose size is the first byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((step, request)) = bytes.split_first() {
        landfall_fuzz::listen::read(request, usize::from(*step));
    }
});
