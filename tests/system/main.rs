//! The system from outside, without real registries.
