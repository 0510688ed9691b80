//! `/api/v1/conflicts`: names that several registries have, references that stand for nothing, and records that are
//! not written because their name is taken.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use landfall_adapters::sync::Conflict;
use landfall_model::RegistryName;
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal},
    sync,
};
use crate::compose::conflicts::conflicts;

/// `/api/v1/conflicts`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflicts {
    /// Sorted by name.
    conflicts: Vec<ConflictState>,
    /// Records that a RegistrySync does not write because something else has their name.
    sync: Vec<SyncConflict>,
    /// What is odd about references in use, as a person reads it.
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConflictState {
    /// In lower case.
    name: Arc<str>,
    /// `name.registry` of each, by precedence.
    services: Vec<String>,
    /// What the name means in a backendRef without a namespace: a MeshService, or the first of `services`.
    means: String,
    /// Routes that use the name without a namespace.
    routes: Vec<Arc<str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncConflict {
    /// The registry that they are not written into.
    target: RegistryName,
    #[serde(flatten)]
    conflict: Conflict,
}

pub async fn list(State(sources): State<Sources>, uri: Uri) -> Result<Json<Conflicts>, Refusal> {
    Parameters::read(&uri, &[])?;
    let composition = sources.control.composition();
    let conflicts = conflicts(&composition.world, composition.rules())
        .into_iter()
        .map(|conflict| {
            let services: Vec<String> = conflict.services.iter().map(ToString::to_string).collect();
            let first = || services.first().cloned().unwrap_or_default();
            ConflictState {
                name: conflict.name,
                means: conflict.mesh.map_or_else(first, |mesh| mesh.to_string()),
                services,
                routes: conflict.routes,
            }
        });
    Ok(Json(Conflicts {
        conflicts: conflicts.collect(),
        sync: sync::conflicts(&sources)
            .into_iter()
            .map(|(target, conflict)| SyncConflict { target, conflict })
            .collect(),
        warnings: composition.warnings.iter().map(ToString::to_string).collect(),
    }))
}
