//! `/healthz`, `/readyz`, `/metrics`.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use landfall_model::RegistryName;
use serde::Serialize;

use super::{
    Sources,
    answer::{age, time},
};
use crate::control::RegistryReadiness;

/// `/healthz`: the process lives. Nothing else is asked, so a registry that is down restarts nobody.
pub async fn live() -> &'static str {
    "ok\n"
}

/// `/readyz`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    /// Whether calls are served. Once true it stays true.
    ready: bool,
    /// Each registry of the configuration.
    registries: Vec<RegistryReady>,
    /// What is missing, as a person reads it. May hold something after `ready` has become true: a registry added
    /// later that has not answered yet, for one.
    waiting_for: Vec<String>,
}

/// One registry in `/readyz`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistryReady {
    name: RegistryName,
    /// `caughtUp`, `lastGood` or `waiting`.
    state: &'static str,
    /// When it last caught up, or when the last good view was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// How long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
    /// Why it is waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// `/readyz`: 200 or 503, with the reasons.
pub async fn ready(State(sources): State<Sources>) -> Response {
    let readiness = sources.control.readiness(sources.data_path.as_deref());
    let mut waiting_for = Vec::new();
    let registries = readiness.registries.into_iter().map(|(name, state)| {
        let (state, at, why) = match state {
            RegistryReadiness::CaughtUp(at) => ("caughtUp", Some(at), None),
            RegistryReadiness::LastGood(at) => ("lastGood", Some(at), None),
            RegistryReadiness::Waiting(why) => {
                waiting_for.push(format!("registry {name}: {why}"));
                ("waiting", None, Some(why))
            }
        };
        RegistryReady {
            name,
            state,
            at: at.map(time),
            age_seconds: at.map(age),
            why,
        }
    });
    let registries = registries.collect();
    if readiness.names_pending > 0 {
        waiting_for.push(format!("{} host names are being looked up", readiness.names_pending));
    }
    waiting_for.extend(readiness.data_path);
    let ready = readiness.ready;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = Ready {
        ready,
        registries,
        waiting_for,
    };
    (status, Json(body)).into_response()
}

/// `/metrics`: registries, data path, control plane.
pub async fn metrics(State(sources): State<Sources>) -> impl IntoResponse {
    let mut out = String::with_capacity(16 * 1024);
    sources.control.render_metrics(sources.data_path.as_deref(), &mut out);
    for render in &sources.metrics {
        render(&mut out);
    }
    if let Some(data_path) = &sources.data_path {
        data_path.render_metrics(&mut out);
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        out,
    )
}
