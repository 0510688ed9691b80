//! Commands that answer a question and end.

pub mod check;
pub mod explain;
pub mod get;
mod look;
pub mod sync;
pub mod validate;
pub mod why;

use crate::{outcome::Failure, output};

/// `landfall schema`
pub fn schema() -> Result<(), Failure> {
    output::print(&output::json(&landfall_config::schema()));
    Ok(())
}
