//! `/api/v1/routes`: routes, the listeners they are attached to, and what their backends stand for.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use landfall_model::{
    Snapshot,
    rules::{BackendRef, HostPattern, HttpRoute, ListenerId, RouteRule},
    snapshot::Resolution,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Sources,
    answer::{Parameters, Refusal, time},
    vocabulary,
};
use crate::compose::{reference, rule_references};

/// `/api/v1/routes`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Routes {
    /// The version of the snapshot that this was read from.
    snapshot_version: u64,
    /// In document order.
    routes: Vec<RouteState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteState {
    /// `namespace/name`.
    id: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// The route's own; none means any.
    hostnames: Vec<HostPattern>,
    attachments: Vec<AttachmentState>,
    /// Every backend stands for something.
    resolved: bool,
    rules: Vec<RuleState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentState {
    /// `gateway/listener`.
    listener: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// What is answered for there; `*` is any.
    hostnames: Vec<HostPattern>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleState {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Arc<str>>,
    /// In the words of the Gateway API.
    matches: Vec<Value>,
    /// In the words of the Gateway API; references are written `name.registry:port`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeouts: Option<Value>,
    backends: Vec<BackendState>,
    /// Backends of RequestMirror filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<ResolutionState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackendState {
    weight: u32,
    /// The weight's part of the rule's calls, in per cent.
    share_percent: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Value>,
    #[serde(flatten)]
    resolution: ResolutionState,
}

/// What a reference stands for: a cluster, or nothing and why.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResolutionState {
    /// As `name.registry:port`.
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// How many the cluster has; with 0 the share is answered 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<usize>,
    /// Why it stands for nothing; the share is answered 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

pub async fn list(State(sources): State<Sources>, uri: Uri) -> Result<Json<Routes>, Refusal> {
    Parameters::read(&uri, &[])?;
    let composition = sources.control.composition();
    let snapshot = &composition.snapshot;
    Ok(Json(Routes {
        snapshot_version: snapshot.version,
        routes: snapshot.routes.iter().map(|r| route(snapshot, r)).collect(),
    }))
}

fn route(snapshot: &Snapshot, route: &HttpRoute) -> RouteState {
    let port = |id: &ListenerId| snapshot.listeners.iter().find(|l| l.id == *id).map(|l| l.port);
    let references = || route.rules.iter().flat_map(rule_references);
    let missing =
        |reference: &BackendRef| matches!(snapshot.backends.get(reference), Some(Resolution::Missing(_)) | None);
    RouteState {
        id: route.id.clone(),
        created: route.created.map(time),
        hostnames: route.hostnames.clone(),
        attachments: route
            .attachments
            .iter()
            .map(|attachment| AttachmentState {
                listener: attachment.listener.to_string(),
                port: port(&attachment.listener),
                hostnames: attachment.hostnames.clone(),
            })
            .collect(),
        resolved: !references().any(missing),
        rules: route.rules.iter().map(|r| rule(snapshot, r)).collect(),
    }
}

fn rule(snapshot: &Snapshot, rule: &RouteRule) -> RuleState {
    let all: f64 = rule.backends.iter().map(|backend| f64::from(backend.weight)).sum();
    let share = |weight: u32| {
        if weight == 0 {
            0.0
        } else {
            (f64::from(weight) / all * 10_000.0).round() / 100.0
        }
    };
    RuleState {
        name: rule.name.clone(),
        matches: rule.matches.iter().map(vocabulary::matched).collect(),
        filters: rule.filters.iter().map(vocabulary::filter).collect(),
        timeouts: vocabulary::timeouts(&rule.timeouts),
        backends: rule
            .backends
            .iter()
            .map(|backend| BackendState {
                weight: backend.weight,
                share_percent: share(backend.weight),
                filters: backend.filters.iter().map(vocabulary::filter).collect(),
                resolution: resolution(snapshot, &backend.backend),
            })
            .collect(),
        mirrors: rule_references(rule)
            .skip(rule.backends.len())
            .map(|r| resolution(snapshot, r))
            .collect(),
    }
}

fn resolution(snapshot: &Snapshot, backend: &BackendRef) -> ResolutionState {
    let mut state = ResolutionState {
        reference: reference::text(backend),
        cluster: None,
        endpoints: None,
        missing: None,
    };
    match snapshot.backends.get(backend) {
        Some(Resolution::Cluster(id)) => {
            state.cluster = Some(id.to_string());
            state.endpoints = Some(snapshot.clusters.get(id).map_or(0, |cluster| cluster.endpoints.len()));
        }
        Some(Resolution::Missing(reason)) => state.missing = Some(reason.clone()),
        // Every reference of a snapshot's routes is in it.
        None => state.missing = Some("it has not been looked at yet".to_owned()),
    }
    state
}
