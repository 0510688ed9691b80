//! `/api/v1/routes`: routes, the listeners they are attached to, and what their backends stand for.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use landfall_model::{
    Snapshot,
    rules::{
        Backend, BackendRef, DubboRoute, DubboRule, FrameworkCalls, HostPattern, HttpRoute, ListenerId, RouteRule,
    },
    snapshot::Resolution,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Sources,
    answer::{Parameters, Refusal, time},
    vocabulary,
};
use crate::compose::{dubbo_references, dubbo_rule_references, reference, route_references, rule_references};

/// `/api/v1/routes`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Routes {
    /// The version of the snapshot that this was read from.
    snapshot_version: u64,
    /// HTTPRoutes in document order, then DubboRoutes in document order.
    routes: Vec<RouteState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteState {
    /// `HTTPRoute` or `DubboRoute`.
    kind: &'static str,
    /// `namespace/name`.
    id: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// The route's own; none means any. A DubboRoute has none.
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
    /// In the words of the route's kind.
    matches: Vec<Value>,
    /// In the words of the route's kind; references are written `name.registry:port`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeouts: Option<Value>,
    /// Kinds of calls of Dubbo's own that a DubboRoute does not let through.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refuse: Vec<FrameworkCalls>,
    /// Methods of a DubboRoute that may be called again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    idempotent_methods: Vec<Value>,
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
    let http = snapshot.routes.iter().map(|r| route(snapshot, r));
    let dubbo = snapshot.dubbo_routes.iter().map(|r| dubbo_route(snapshot, r));
    Ok(Json(Routes {
        snapshot_version: snapshot.version,
        routes: http.chain(dubbo).collect(),
    }))
}

fn route(snapshot: &Snapshot, route: &HttpRoute) -> RouteState {
    RouteState {
        kind: "HTTPRoute",
        id: route.id.clone(),
        created: route.created.map(time),
        hostnames: route.hostnames.clone(),
        attachments: route
            .attachments
            .iter()
            .map(|attachment| attached(snapshot, &attachment.listener, attachment.hostnames.clone()))
            .collect(),
        resolved: !route_references(route).any(|r| is_missing(snapshot, r)),
        rules: route.rules.iter().map(|r| rule(snapshot, r)).collect(),
    }
}

fn dubbo_route(snapshot: &Snapshot, route: &DubboRoute) -> RouteState {
    let listeners = route.listeners.iter();
    RouteState {
        kind: "DubboRoute",
        id: route.id.clone(),
        created: route.created.map(time),
        hostnames: Vec::new(),
        attachments: listeners.map(|id| attached(snapshot, id, Vec::new())).collect(),
        resolved: !dubbo_references(route).any(|r| is_missing(snapshot, r)),
        rules: route.rules.iter().map(|r| dubbo_rule(snapshot, r)).collect(),
    }
}

fn attached(snapshot: &Snapshot, id: &ListenerId, hostnames: Vec<HostPattern>) -> AttachmentState {
    AttachmentState {
        listener: id.to_string(),
        port: snapshot.listeners.iter().find(|l| l.id == *id).map(|l| l.port),
        hostnames,
    }
}

fn is_missing(snapshot: &Snapshot, reference: &BackendRef) -> bool {
    matches!(snapshot.backends.get(reference), Some(Resolution::Missing(_)) | None)
}

fn rule(snapshot: &Snapshot, rule: &RouteRule) -> RuleState {
    RuleState {
        name: rule.name.clone(),
        matches: rule.matches.iter().map(vocabulary::matched).collect(),
        filters: rule.filters.iter().map(vocabulary::filter).collect(),
        timeouts: vocabulary::timeouts(&rule.timeouts),
        refuse: Vec::new(),
        idempotent_methods: Vec::new(),
        backends: shares(snapshot, &rule.backends),
        mirrors: rule_references(rule)
            .skip(rule.backends.len())
            .map(|r| resolution(snapshot, r))
            .collect(),
    }
}

fn dubbo_rule(snapshot: &Snapshot, rule: &DubboRule) -> RuleState {
    RuleState {
        name: rule.name.clone(),
        matches: rule.matches.iter().map(vocabulary::dubbo_matched).collect(),
        filters: rule.filters.iter().map(vocabulary::dubbo_filter).collect(),
        timeouts: vocabulary::timeouts(&rule.timeouts),
        refuse: rule.refuse.clone(),
        idempotent_methods: rule.idempotent.iter().map(vocabulary::text).collect(),
        backends: shares(snapshot, &rule.backends),
        mirrors: dubbo_rule_references(rule)
            .skip(rule.backends.len())
            .map(|r| resolution(snapshot, r))
            .collect(),
    }
}

fn shares(snapshot: &Snapshot, backends: &[Backend]) -> Vec<BackendState> {
    let all: f64 = backends.iter().map(|backend| f64::from(backend.weight)).sum();
    let share = |weight: u32| {
        if weight == 0 {
            0.0
        } else {
            (f64::from(weight) / all * 10_000.0).round() / 100.0
        }
    };
    let states = backends.iter().map(|backend| BackendState {
        weight: backend.weight,
        share_percent: share(backend.weight),
        filters: backend.filters.iter().map(vocabulary::filter).collect(),
        resolution: resolution(snapshot, &backend.backend),
    });
    states.collect()
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
