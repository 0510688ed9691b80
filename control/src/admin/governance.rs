//! `/api/v1/governance`: the rules for calls that operators keep in a registry itself, and how far each is honoured.

use axum::{Json, extract::State, http::Uri};
use landfall_model::{RegistryName, world::GovernanceRule};
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal},
};

/// `/api/v1/governance`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Governance {
    /// By registry, by precedence. Those that cannot be read are among the registry's quarantined records.
    rules: Vec<RuleState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleState {
    registry: RegistryName,
    #[serde(flatten)]
    rule: GovernanceRule,
}

pub async fn list(State(sources): State<Sources>, uri: Uri) -> Result<Json<Governance>, Refusal> {
    Parameters::read(&uri, &[])?;
    let composition = sources.control.composition();
    let views = composition.rules().registries.iter();
    let views = views.filter_map(|name| composition.world.registries.get(name));
    let rules = views.flat_map(|view| {
        view.governance.iter().map(|rule| RuleState {
            registry: view.name.clone(),
            rule: rule.clone(),
        })
    });
    Ok(Json(Governance { rules: rules.collect() }))
}
