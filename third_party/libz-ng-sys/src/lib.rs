//! The names of `libz-ng-sys`, taken from `libz-sys`.
//!
//! pingora-core asks flate2 for zlib-ng, whose build needs cmake. Landfall promises to build with
//! Rust and a C compiler alone, so `[patch.crates-io]` puts this crate in its place. flate2 uses
//! both crates through the same names, and the engine compresses nothing on a request's path.
#![no_std]
pub use libz_sys::*;
