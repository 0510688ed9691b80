//! The control plane: joins what the registries say with what the configuration says, and tells people about it.

pub mod compose;
pub mod resolve;
#[cfg(test)]
mod testing;
