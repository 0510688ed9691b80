//! `/api/v1/why?service=&endpoint=`: where an endpoint came from, or why it is missing.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{Json, extract::State, http::Uri};
use landfall_adapters::publish::{Provenance, mark::provenance};
use landfall_model::{
    Instance, RegistryName, ServiceId, rules::MeshMember, snapshot::ClusterTarget, world::Quarantined,
};
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal},
    endpoints::Live,
    registries::{FreshnessView, HoldView},
    services::{InstanceState, quarantined_of},
    sync,
};
use crate::{
    EndpointFigures,
    compose::{
        members,
        reference::find,
        why::{Verdict, clusters_of, reasons},
    },
    control::Composition,
};

/// `/api/v1/why`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// One for each registry that has the name, or for each member of a MeshService.
    services: Vec<WhyService>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WhyService {
    /// `name.registry`.
    id: String,
    registry: RegistryName,
    /// The registry has it.
    known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<FreshnessView>,
    /// Clusters that are made from it, with its weight there if it is a member of a MeshService.
    clusters: Vec<WhyCluster>,
    instances: Vec<WhyInstance>,
    /// Removals from it that wait for confirmation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holds: Vec<HoldView>,
    /// Its records that could not be understood.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<Quarantined>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WhyCluster {
    cluster: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_weight: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WhyInstance {
    #[serde(flatten)]
    instance: InstanceState,
    /// What it is a copy of, if it is one: where it began, the way it came, and who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_of: Option<String>,
    /// Where a RegistrySync has written it: `registry/service/id`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    copies: Vec<String>,
    /// What became of it in each cluster. Never empty.
    reasons: Vec<WhyReason>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WhyReason {
    /// Absent if no route uses the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    in_data_path: bool,
    /// As a person reads it.
    text: String,
    /// Its endpoints there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<WhyEndpoint>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WhyEndpoint {
    address: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<Live>,
}

pub async fn show(State(sources): State<Sources>, uri: Uri) -> Result<Json<Why>, Refusal> {
    let parameters = Parameters::read(&uri, &["service", "endpoint"])?;
    let mend = || "ask for example ?service=orders.eureka&endpoint=10.0.0.1:8080".to_owned();
    let Some(name) = parameters.get("service") else {
        return Err(Refusal::bad_request(
            "the parameter `service` is missing".to_owned(),
            mend(),
        ));
    };
    let composition = sources.control.composition();
    let ids = services(&composition, name);
    if ids.is_empty() {
        let known: Vec<&str> = composition
            .rules()
            .registries
            .iter()
            .map(RegistryName::as_str)
            .collect();
        let error = format!(
            "no MeshService is called `{name}`, and no registry ({}) has such a service",
            known.join(", ")
        );
        let mend = "`landfall get services` lists what is known, `landfall get registries` whether it is current";
        return Err(Refusal::not_found(error, mend.to_owned()));
    }
    let mut answer: Vec<WhyService> = ids.iter().map(|id| service(&sources, &composition, id)).collect();
    if let Some(endpoint) = parameters.get("endpoint") {
        for service in &mut answer {
            service.instances.retain(|instance| instance.is(endpoint));
            service.holds.retain(|hold| hold.concerns(endpoint));
            service.quarantined.retain(|record| record.record.contains(endpoint));
        }
        answer.retain(|s| !s.instances.is_empty() || !s.holds.is_empty() || !s.quarantined.is_empty());
        if answer.is_empty() {
            let error =
                format!("no instance of `{name}` has the address or id `{endpoint}`: its registry does not know it");
            let mend = "register the instance there, or look under another name with `landfall get services`";
            return Err(Refusal::not_found(error, mend.to_owned()));
        }
    }
    Ok(Json(Why { services: answer }))
}

/// The services meant: a MeshService's members, `name.registry`, or a name in any registry.
fn services(composition: &Composition, name: &str) -> Vec<ServiceId> {
    let (world, rules) = (&composition.world, composition.rules());
    if let Some(mesh) = rules.mesh_services.iter().find(|mesh| *mesh.name == *name) {
        let target = ClusterTarget::Mesh(mesh.name.clone());
        return members(world, rules, &target)
            .into_iter()
            .map(|MeshMember { service, .. }| service)
            .collect();
    }
    // Names may contain dots, registries never do: the last dot divides, unless no registry is called so.
    let divided = name.rsplit_once('.').and_then(|(name, registry)| {
        let view = world.registries.get(registry)?;
        Some((name, view))
    });
    if let Some(found) = divided.and_then(|(name, view)| find(view, name)) {
        return vec![found];
    }
    let views = rules
        .registries
        .iter()
        .filter_map(|registry| world.registries.get(registry));
    views.filter_map(|view| find(view, name)).collect()
}

fn service(sources: &Sources, composition: &Composition, id: &ServiceId) -> WhyService {
    let inputs = composition.inputs();
    let registry = composition.world.registries.get(&id.registry);
    let view = composition.world.service(id);
    let clusters = clusters_of(&inputs, &composition.snapshot, id);
    let figures: BTreeMap<String, Vec<EndpointFigures>> = clusters
        .iter()
        .filter_map(|(cluster, _)| {
            Some((
                cluster.id.to_string(),
                sources.data_path.as_ref()?.endpoints(&cluster.id),
            ))
        })
        .collect();
    let instances = reasons(&inputs, &composition.snapshot, id)
        .into_iter()
        .map(|reason| WhyInstance {
            instance: InstanceState::new(&reason.instance, reason.in_data_path()),
            copy_of: copy_of(&reason.instance),
            copies: sync::copies(sources, id, &reason.instance),
            reasons: reason
                .uses
                .iter()
                .map(|(cluster, verdict)| {
                    let cluster = cluster.as_ref().map(ToString::to_string);
                    let figures = cluster.as_ref().and_then(|cluster| figures.get(cluster));
                    why(cluster, verdict, figures.map_or(&[], Vec::as_slice))
                })
                .collect(),
        });
    WhyService {
        id: id.to_string(),
        registry: id.registry.clone(),
        known: view.is_some(),
        freshness: view.map(|view| FreshnessView::new(&view.freshness)),
        clusters: clusters
            .iter()
            .map(|(cluster, weight)| WhyCluster {
                cluster: cluster.id.to_string(),
                member_weight: matches!(cluster.id.target, ClusterTarget::Mesh(_)).then_some(*weight),
            })
            .collect(),
        instances: instances.collect(),
        holds: registry
            .into_iter()
            .flat_map(|view| &view.holds)
            .filter(|hold| hold.service == id.name)
            .map(HoldView::new)
            .collect(),
        quarantined: registry
            .map(|view| quarantined_of(&view.quarantined, id))
            .unwrap_or_default(),
    }
}

/// As a person reads it.
fn copy_of(instance: &Instance) -> Option<String> {
    match provenance(instance) {
        Provenance::Native => None,
        Provenance::Marked(mark) => {
            let path: Vec<&str> = mark.path.iter().map(RegistryName::as_str).collect();
            Some(format!(
                "{}, by {}, written by cluster {}",
                mark.origin,
                path.join(", "),
                mark.cluster
            ))
        }
        Provenance::Unmarked(reason) => Some(format!("something that cannot be told any more: {reason}")),
    }
}

fn why(cluster: Option<String>, verdict: &Verdict, figures: &[EndpointFigures]) -> WhyReason {
    let (in_data_path, addresses) = match verdict {
        Verdict::Serves(addresses) => (true, addresses.clone()),
        Verdict::Merged { address, .. } => (true, vec![*address]),
        _ => (false, Vec::new()),
    };
    let mut text = verdict.to_string();
    let endpoints = addresses.into_iter().map(|address| {
        let figures = figures.iter().find(|figures| figures.address == address);
        if let Some(left) = figures.and_then(|figures| figures.ejected_for) {
            text.push_str(&format!(
                "; left out for another {:.1} s because calls to {address} failed",
                left.as_secs_f64()
            ));
        }
        WhyEndpoint {
            address,
            live: figures.map(Live::new),
        }
    });
    let endpoints = endpoints.collect();
    WhyReason {
        cluster,
        in_data_path,
        text,
        endpoints,
    }
}

impl WhyInstance {
    /// Whether `endpoint` means this instance: its id, its host, `host:port`, or an address it serves at.
    fn is(&self, endpoint: &str) -> bool {
        let instance = &self.instance;
        let host = instance.host.as_str();
        let with_port = |port: u16| endpoint == format!("{host}:{port}") || endpoint == format!("[{host}]:{port}");
        let addresses = || {
            self.reasons
                .iter()
                .flat_map(|reason| &reason.endpoints)
                .map(|e| e.address)
        };
        *instance.id == *endpoint
            || host == endpoint
            || instance.ports.iter().any(|port| with_port(port.number()))
            || addresses().any(|address| address.to_string() == endpoint || address.ip().to_string() == endpoint)
    }
}
