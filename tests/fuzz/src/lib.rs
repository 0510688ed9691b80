//! What the fuzz targets read with.
//!
//! Most readers are public. Those that are not are compiled here from their own files, so that nothing has to become
//! public for the fuzzer's sake: the code is the same, and a change that no longer fits fails this build.

#![allow(dead_code, reason = "the files hold more than is fuzzed")]

pub(crate) use landfall_adapters::{publish, registry};

pub mod access_log;
pub mod consul;
pub mod listen;
pub mod zookeeper;

/// What the hub expects of every adapter's instances.
fn well_formed(instances: &[landfall_model::Instance]) {
    for instance in instances {
        assert!(!instance.id.is_empty());
        assert!(instance.ports.iter().all(|port| port.number > 0));
    }
}
