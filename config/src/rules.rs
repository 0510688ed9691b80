//! Checks over whole documents, and their translation into the model's words.
//!
//! ```text
//! documents ─▶ names (what exists) ─┬▶ registries
//!                                   ├▶ gateways ─▶ listeners ─┐
//!                                   ├▶ routes  ◀── attach ◀───┘
//!                                   ├▶ transcodings ─▶ routes
//!                                   ├▶ mesh services
//!                                   ├▶ facades
//!                                   ├▶ policies, authorization, authentication
//!                                   └▶ syncs
//! ```
//!
//! Every check reports and goes on; a part with a fault of its own is left out of the checks over several
//! parts, so that one fault does not make a dozen. The result is used only if nothing was reported.

mod attach;
mod authentication;
mod authorization;
mod backends;
mod certificates;
mod dubbo_routes;
mod facades;
mod filters;
mod gateways;
mod http_transcodings;
mod matches;
mod mesh_services;
mod names;
mod policies;
mod registries;
mod routes;
mod services;
mod syncs;
mod time;
mod transcodings;

use landfall_model::Rules;

pub(crate) use services::services;

use crate::{
    document::Document,
    load::{FacadeConfig, RegistryConfig, SyncConfig},
    problem::Problem,
};

/// Where checks put what they find.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Refuse the configuration.
    pub problems: Vec<Problem>,
    /// Are shown.
    pub warnings: Vec<Problem>,
}

/// What the documents say, besides what is wrong with them.
pub(crate) struct Translated {
    pub registries: Vec<RegistryConfig>,
    pub syncs: Vec<SyncConfig>,
    pub facades: Vec<FacadeConfig>,
    pub rules: Rules,
}

/// Checks everything and translates what is sound.
pub(crate) fn translate(documents: &[Document], report: &mut Report) -> Translated {
    let mut names = names::Names::collect(documents, report);
    names.transcoded = transcodings::translate(documents, report);
    names.http_transcoded = http_transcodings::translate(documents, report);
    let (registries, precedence) = registries::translate(documents, report);
    let facades = facades::translate(documents, &registries, &names, report);
    let certificates = certificates::translate(documents, report);
    let sites = gateways::translate(documents, &certificates, &names, report);
    let rules = Rules {
        version: 0,
        listeners: sites.iter().filter_map(|site| site.listener.clone()).collect(),
        routes: routes::translate(documents, &sites, &names, report),
        dubbo_routes: dubbo_routes::translate(documents, &sites, &names, report),
        mesh_services: mesh_services::translate(documents, &names, report),
        policies: policies::translate(documents, &names, report),
        authorization: authorization::translate(documents, &names, report),
        authentication: authentication::translate(documents, &names, report),
        registries: precedence,
    };
    Translated {
        registries,
        syncs: syncs::translate(documents, &names, report),
        facades,
        rules,
    }
}
