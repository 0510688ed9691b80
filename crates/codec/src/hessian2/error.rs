//! What can be wrong with Hessian2 bytes, and how much of them is borne.

/// Why bytes are not the Hessian2 value they should be. Offsets count from the start of what the reader was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside a value. A frame's length said that its body is whole, so this is not "wait for more".
    #[error("the bytes end inside a value, at offset {at}")]
    Truncated {
        /// Where the next byte was wanted.
        at: usize,
    },
    /// No writer of Hessian2 makes this.
    #[error("{what}, at offset {at}")]
    Malformed {
        /// Where it begins.
        at: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than [`Limits`] allow. It may be a good value, but not one to hold.
    #[error("more than {most} {what}, at offset {at}")]
    TooMuch {
        /// Where the limit was passed.
        at: usize,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
}

/// How much one body may ask of us. The walk counts over all values of a body, as they share their tables.
///
/// All but `memory` count for the skipper and the decoder alike, so that both accept the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside each other. Default 512: neither walk recurses, but who reads on may.
    pub depth: usize,
    /// Values of all kinds together. Default 16,777,216, which 8 MiB of body cannot reach.
    pub values: usize,
    /// Class definitions. Default 4096.
    pub classes: usize,
    /// Fields of one class. Default 4096.
    pub fields: usize,
    /// Bytes that the decoder may hold for the tree, about. Default 64 MiB.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 512,
            values: 1 << 24,
            classes: 4096,
            fields: 4096,
            memory: 64 << 20,
        }
    }
}
