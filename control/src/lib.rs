//! The control plane: joins what the registries say with what the configuration says, and tells people about it.
//!
//! ```text
//! Config ────────┐
//! World ─────────┼─▶ [control] ─▶ [compose] ─▶ Snapshot ─▶ engine
//! [resolve] ─────┘       └──────▶ [admin]: health, metrics, what CLI and dashboard ask
//! ```
//!
//! Next on the path: [`control`].

pub mod admin;
pub mod compose;
pub mod control;
pub mod data_path;
mod metrics;
pub mod resolve;
#[cfg(test)]
mod testing;
pub mod writing;

pub use control::{Control, ControlOptions};
pub use data_path::{DataPath, EndpointFigures, ListenerFigures, Question};
