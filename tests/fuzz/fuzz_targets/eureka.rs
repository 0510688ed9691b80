//! Eureka's wire, JSON and XML: a full fetch, a delta on top of it, and a registration.
#![no_main]

use landfall_adapters::eureka::{
    view::View,
    wire::{Detail, Format, read, write},
};
use landfall_config::kinds::registry::EurekaAddress;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let format = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'<') => Format::Xml,
        _ => Format::Json,
    };
    if let Ok(full) = read::applications(bytes, format) {
        for format in [Format::Json, Format::Xml] {
            for detail in [Detail::Full, Detail::Compact] {
                let written = write::applications(&full, format, detail);
                let again = read::applications(&written, format).expect("what is written can be read");
                assert_eq!(again.applications.len(), full.applications.len());
            }
        }
        let hash = full.hash.clone();
        let mut view = View::of(full.clone(), EurekaAddress::Ip);
        let names: Vec<_> = view.names().cloned().collect();
        for name in &names {
            let _ = view.knowledge(name);
        }
        let _ = view.disagreement(hash.as_deref());
        for name in view.apply(full) {
            let _ = view.knowledge(&name);
        }
        let _ = view.disagreement(hash.as_deref());
    }
    if let Ok(instance) = read::instance(bytes, format) {
        for format in [Format::Json, Format::Xml] {
            let written = write::instance(&instance, format);
            read::instance(&written, format).expect("what is written can be read");
        }
    }
});
