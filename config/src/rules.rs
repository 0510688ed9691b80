//! Checks over whole documents, and their translation into the model's words.
//!
//! ```text
//! documents ─▶ names (what exists) ─┬▶ registries
//!                                   ├▶ gateways ─▶ listeners ─┐
//!                                   ├▶ routes  ◀── attach ◀───┘
//!                                   ├▶ mesh services
//!                                   └▶ policies
//! ```
//!
//! Every check reports and goes on. The result is used only if nothing was reported.

mod registries;

use landfall_model::Rules;

pub(crate) use registries::services;

use crate::{document::Document, load::RegistryConfig, problem::Problem};

/// Where checks put what they find.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Refuse the configuration.
    pub problems: Vec<Problem>,
    /// Are shown.
    pub warnings: Vec<Problem>,
}

/// Checks everything and translates what is sound.
pub(crate) fn translate(documents: &[Document], report: &mut Report) -> (Vec<RegistryConfig>, Rules) {
    let (registries, precedence) = registries::translate(documents, report);
    let rules = Rules {
        registries: precedence,
        ..Rules::default()
    };
    (registries, rules)
}
