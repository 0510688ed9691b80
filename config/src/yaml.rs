//! YAML as a tree whose every node knows its place.
//!
//! ```text
//! text ─▶ split at `---` ─▶ events (granit-parser) ─▶ nodes, aliases copied, ${VAR} filled in ─▶ documents
//! ```
//!
//! A syntax error spoils its own document only, so all of a file's problems come out at once. Limits:
//! depth [`MAX_DEPTH`], [`MAX_NODES`] nodes in a file of which [`MAX_ALIASED`] may come from aliases; so a
//! YAML bomb ends early. Next on the path: [`shape`](crate::shape), which compares nodes with what a kind wants.

mod build;
mod environment;
mod node;
mod split;

pub(crate) use build::parse;
pub(crate) use environment::Environment;
pub(crate) use node::{Content, Entry, Node, Scalar};

/// How deep lists and mappings may nest.
pub const MAX_DEPTH: usize = 64;
/// The most nodes in one file.
pub const MAX_NODES: u32 = 1_000_000;
/// The most nodes of one file that may be copies made by aliases.
pub const MAX_ALIASED: u32 = 50_000;
