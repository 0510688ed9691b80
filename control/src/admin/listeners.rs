//! `/api/v1/listeners`: listeners of every Gateway, and whether they are bound.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use axum::{Json, extract::State, http::Uri};
use landfall_model::rules::{Family, HostPattern};
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal, age, time},
};

/// `/api/v1/listeners`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listeners {
    /// In document order.
    listeners: Vec<ListenerState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListenerState {
    /// `gateway/listener`.
    id: String,
    gateway: Arc<str>,
    name: Arc<str>,
    /// Where it should listen; none means every address.
    addresses: Vec<IpAddr>,
    port: u16,
    /// `HTTP` or `HTTPS`.
    protocol: &'static str,
    /// What it answers for; `*` is any.
    hostname: HostPattern,
    /// Files of certificate chains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<Arc<Path>>,
    /// Routes attached to it.
    routes: usize,
    /// Absent where the process carries no traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<Live>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Live {
    /// Where it accepts connections; absent while it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<SocketAddr>,
    /// What is wrong, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Since when it stands so.
    since: String,
    age_seconds: f64,
    /// Open connections of the port; listeners may share one.
    connections: usize,
}

pub async fn list(State(sources): State<Sources>, uri: Uri) -> Result<Json<Listeners>, Refusal> {
    Parameters::read(&uri, &[])?;
    let composition = sources.control.composition();
    let snapshot = &composition.snapshot;
    let figures = sources
        .data_path
        .as_ref()
        .map(|path| path.listeners())
        .unwrap_or_default();
    let listeners = snapshot.listeners.iter().map(|listener| ListenerState {
        id: listener.id.to_string(),
        gateway: listener.id.gateway.clone(),
        name: listener.id.listener.clone(),
        addresses: listener.addresses.clone(),
        port: listener.port,
        protocol: match (listener.family, &listener.tls) {
            (Family::Dubbo, _) => "Dubbo",
            (Family::Http, Some(_)) => "HTTPS",
            (Family::Http, None) => "HTTP",
        },
        hostname: listener.hostname.clone(),
        certificates: listener
            .tls
            .iter()
            .flat_map(|tls| &tls.certificates)
            .map(|c| c.certificate.clone())
            .collect(),
        routes: {
            let attachments = snapshot.routes.iter().map(|route| &route.attachments);
            let http = attachments.filter(|all| all.iter().any(|a| a.listener == listener.id));
            let dubbo = snapshot.dubbo_routes.iter().map(|route| &route.listeners);
            http.count() + dubbo.filter(|all| all.contains(&listener.id)).count()
        },
        live: figures
            .iter()
            .find(|figures| figures.id == listener.id)
            .map(|figures| Live {
                bound: figures.bound,
                error: figures.error.clone(),
                since: time(figures.since),
                age_seconds: age(figures.since),
                connections: figures.connections,
            }),
    });
    Ok(Json(Listeners {
        listeners: listeners.collect(),
    }))
}
