//! `/api/v1/endpoints`: every cluster that a route uses, its endpoints, and how they do.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::SystemTime};

use axum::{Json, extract::State, http::Uri};
use landfall_model::{
    Cluster, ClusterId, Endpoint, Origin,
    rules::{BackendRef, Balancer},
    snapshot::{ClusterTarget, Resolution},
};
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal, seconds, time},
};
use crate::{
    EndpointFigures,
    compose::{admit::protocol_text, dubbo_references, policy, route_references},
    control::Composition,
};

/// `/api/v1/endpoints`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The version of the snapshot that this was read from.
    snapshot_version: u64,
    clusters: Vec<ClusterState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterState {
    /// `orders.eureka`, `shop` for a MeshService; with `:port` if the reference names one.
    cluster: String,
    /// `Service` or `MeshService`.
    kind: &'static str,
    /// Routes that use it.
    routes: Vec<Arc<str>>,
    /// The ServicePolicy that applies; absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Arc<str>>,
    /// `peakEwma`, `leastRequest`, `roundRobin`, `random`, `ringHash`.
    balancer: &'static str,
    /// Sorted by address.
    endpoints: Vec<EndpointState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointState {
    address: SocketAddr,
    protocol: &'static str,
    /// The name asked for and verified; absent for plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Arc<str>>,
    weight: u32,
    /// The weight's part of all, in per cent. Balancers that look at load use it as a start.
    share_percent: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<Arc<str>>,
    /// The tag of the Dubbo calls that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Arc<str>>,
    /// Registry, service and instance id that it came from.
    origin: Origin,
    /// When the registry says the instance changed; of Consul, which does not say, when it told us.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<String>,
    /// Absent where the process carries no traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<Live>,
}

/// Live figures of an endpoint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// Calls in flight.
    in_flight: u32,
    /// Failures in a row.
    failures: u32,
    /// Moving average of the time to an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_milliseconds: Option<f64>,
    /// Until when it is left out because of its failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ejected_for_seconds: Option<f64>,
}

impl Live {
    /// Of the data path's figures.
    pub fn new(figures: &EndpointFigures) -> Self {
        Self {
            in_flight: figures.in_flight,
            failures: figures.failures,
            latency_milliseconds: figures.latency.map(|latency| seconds(latency * 1000)),
            ejected_until: figures
                .ejected_for
                .and_then(|left| SystemTime::now().checked_add(left))
                .map(time),
            ejected_for_seconds: figures.ejected_for.map(seconds),
        }
    }
}

pub async fn list(State(sources): State<Sources>, uri: Uri) -> Result<Json<Endpoints>, Refusal> {
    Parameters::read(&uri, &[])?;
    let composition = sources.control.composition();
    let mut routes = users(&composition);
    let clusters = composition.snapshot.clusters.values().map(|cluster| {
        let figures = sources
            .data_path
            .as_ref()
            .map(|path| path.endpoints(&cluster.id))
            .unwrap_or_default();
        let figures: BTreeMap<SocketAddr, EndpointFigures> = figures.into_iter().map(|f| (f.address, f)).collect();
        let policy = policy::chosen(composition.rules(), &cluster.id.target).map(|policy| policy.name.clone());
        state(
            cluster,
            routes.remove(&cluster.id).unwrap_or_default(),
            policy,
            &figures,
        )
    });
    Ok(Json(Endpoints {
        snapshot_version: composition.snapshot.version,
        clusters: clusters.collect(),
    }))
}

/// Which routes use which cluster.
fn users(composition: &Composition) -> BTreeMap<ClusterId, Vec<Arc<str>>> {
    let mut users: BTreeMap<ClusterId, Vec<Arc<str>>> = BTreeMap::new();
    let snapshot = &composition.snapshot;
    let mut note = |route: &Arc<str>, reference: &BackendRef| {
        if let Some(Resolution::Cluster(id)) = snapshot.backends.get(reference) {
            let routes = users.entry(id.clone()).or_default();
            if routes.last() != Some(route) {
                routes.push(route.clone());
            }
        }
    };
    for route in &snapshot.routes {
        route_references(route).for_each(|reference| note(&route.id, reference));
    }
    for route in &snapshot.dubbo_routes {
        dubbo_references(route).for_each(|reference| note(&route.id, reference));
    }
    users
}

fn state(
    cluster: &Cluster,
    routes: Vec<Arc<str>>,
    policy: Option<Arc<str>>,
    figures: &BTreeMap<SocketAddr, EndpointFigures>,
) -> ClusterState {
    let all: f64 = cluster
        .endpoints
        .iter()
        .map(|endpoint| f64::from(endpoint.weight))
        .sum();
    ClusterState {
        cluster: cluster.id.to_string(),
        kind: match cluster.id.target {
            ClusterTarget::Service(_) => "Service",
            ClusterTarget::Mesh(_) => "MeshService",
        },
        routes,
        policy,
        balancer: match cluster.policy.balancer {
            Balancer::PeakEwma => "peakEwma",
            Balancer::LeastRequest => "leastRequest",
            Balancer::RoundRobin => "roundRobin",
            Balancer::Random => "random",
            Balancer::RingHash(_) => "ringHash",
        },
        endpoints: cluster
            .endpoints
            .iter()
            .map(|e| endpoint(e, all, figures.get(&e.address)))
            .collect(),
    }
}

fn endpoint(endpoint: &Endpoint, all: f64, figures: Option<&EndpointFigures>) -> EndpointState {
    EndpointState {
        address: endpoint.address,
        protocol: protocol_text(endpoint.protocol),
        tls: endpoint.tls.clone(),
        weight: endpoint.weight,
        share_percent: (f64::from(endpoint.weight) / all * 10_000.0).round() / 100.0,
        zone: endpoint.zone.clone(),
        tag: endpoint.tag.clone(),
        origin: endpoint.origin.clone(),
        changed: endpoint.changed.map(|change| time(change.at)),
        live: figures.map(Live::new),
    }
}
