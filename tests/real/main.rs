//! The system from outside, against real registries.
