//! One file per kind of document.

pub mod registry;
