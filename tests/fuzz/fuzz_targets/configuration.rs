//! The text of a configuration: any bytes are a configuration or a list of problems with places.
#![no_main]

use std::path::Path;

use landfall_config::{LoadError, load::load_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    match load_text("fuzz.yaml", Path::new("/nonexistent"), text) {
        Ok(config) => assert_eq!(config.rules.version, 1),
        Err(LoadError::Refused(problems)) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(problem.line > 0 && problem.column > 0 && !problem.what.is_empty());
            }
        }
        Err(error) => panic!("{error}"),
    }
});
