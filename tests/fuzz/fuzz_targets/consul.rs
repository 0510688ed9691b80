//! Consul's answers: the listing of names and the health of a service.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| landfall_fuzz::consul::read(body));
