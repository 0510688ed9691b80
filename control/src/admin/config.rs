//! `/api/v1/config`: the configuration in force, and the refusal of what is on disk if that is another one.

use axum::{Json, extract::State, http::Uri};
use landfall_config::Problem;
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal, age, time},
};

/// `/api/v1/config`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigView {
    /// Counts up with every accepted configuration of this process.
    version: u64,
    /// Tells two contents apart.
    fingerprint: String,
    accepted_at: String,
    age_seconds: f64,
    /// What is odd, though it works: `file`, `line`, `column`, `path`, `what`, `mend`.
    warnings: Vec<Problem>,
    /// Absent when what is on disk is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<RefusedView>,
    /// Configurations refused since the start.
    refusals: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusedView {
    at: String,
    age_seconds: f64,
    /// All that is wrong; never empty.
    problems: Vec<Problem>,
}

pub async fn show(State(sources): State<Sources>, uri: Uri) -> Result<Json<ConfigView>, Refusal> {
    Parameters::read(&uri, &[])?;
    let config = sources.control.config();
    Ok(Json(ConfigView {
        version: config.version,
        fingerprint: config.current.fingerprint.clone(),
        accepted_at: time(config.accepted_at),
        age_seconds: age(config.accepted_at),
        warnings: config.current.warnings.clone(),
        refused: config.refused.map(|refused| RefusedView {
            at: time(refused.at),
            age_seconds: age(refused.at),
            problems: refused.problems,
        }),
        refusals: sources.control.config_refusals(),
    }))
}
