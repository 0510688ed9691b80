//! The services of a `file:` registry.
#![no_main]

use landfall_config::{parse_services, read_services};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let strict = parse_services(text, "fuzz.yaml");
    let lenient = read_services(text, "fuzz.yaml");
    if let Ok(spec) = strict {
        assert_eq!(lenient, Ok(spec), "what passes the checks reads the same without them");
    }
});
