//! `/api/v1/services?registry=&name=`: every service of every registry with its instances, as the registry states them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{Json, extract::State, http::Uri};
use landfall_model::{
    Instance, Port, RegistryName, ServiceId, Serving,
    world::{Quarantined, ServiceView},
};
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal, time},
    registries::FreshnessView,
};
use crate::compose::{admit::protocol_text, members, why::reasons};

/// `/api/v1/services`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    /// By registry, then by name.
    services: Vec<ServiceState>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceState {
    /// `name.registry`.
    id: String,
    /// As the registry writes it.
    name: Arc<str>,
    registry: RegistryName,
    freshness: FreshnessView,
    /// Some route sends calls to it.
    routed: bool,
    /// Instances that may get calls.
    in_data_path: usize,
    instances: Vec<InstanceState>,
}

/// An instance as its registry states it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceState {
    /// The registry's id.
    pub id: Arc<str>,
    /// Address or name.
    pub host: String,
    /// The preferred one first.
    pub ports: Vec<PortView>,
    /// The registry's own word: `UP`, `passing`, ….
    pub status: &'static str,
    /// What the word means for new calls: `yes`, `draining`, `no`.
    pub serving: Serving,
    /// Share among the service's instances; 0 gets none.
    pub weight: u32,
    /// Availability zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// Values of keys that sound like secrets are left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
    /// When the registry says it last changed; of Consul, which does not say, when it told us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<String>,
    /// Whether it may get calls; `/api/v1/why` tells the reason.
    pub in_data_path: bool,
}

/// A port of an instance.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortView {
    number: u16,
    protocol: &'static str,
    tls: bool,
}

impl PortView {
    /// 1 to 65535.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl InstanceState {
    /// Of an instance.
    pub fn new(instance: &Instance, in_data_path: bool) -> Self {
        let port = |port: &Port| PortView {
            number: port.number,
            protocol: protocol_text(port.protocol),
            tls: port.tls,
        };
        Self {
            id: instance.id.clone(),
            host: instance.host.to_string(),
            ports: instance.ports.iter().map(port).collect(),
            status: instance.status.as_str(),
            serving: instance.status.serving(),
            weight: instance.weight,
            zone: instance.zone.clone(),
            metadata: without_secrets(&instance.metadata),
            changed: instance.changed.map(time),
            in_data_path,
        }
    }
}

/// Metadata that may be shown: applications do put passwords there (Spring Boot Admin asks for it).
fn without_secrets(metadata: &BTreeMap<Arc<str>, Arc<str>>) -> BTreeMap<Arc<str>, Arc<str>> {
    const SECRET: [&str; 8] = [
        "password",
        "passwd",
        "secret",
        "token",
        "credential",
        "apikey",
        "privatekey",
        "accesskey",
    ];
    metadata
        .iter()
        .map(|(key, value)| {
            let letters: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
            let letters = letters.to_ascii_lowercase();
            let hidden = SECRET.iter().any(|word| letters.contains(word));
            (key.clone(), if hidden { "(not shown)".into() } else { value.clone() })
        })
        .collect()
}

/// Unreadable records of a service.
pub fn quarantined_of(all: &[Quarantined], service: &ServiceId) -> Vec<Quarantined> {
    all.iter()
        .filter(|q| q.service.as_ref() == Some(&service.name))
        .cloned()
        .collect()
}

pub async fn list(State(sources): State<Sources>, uri: Uri) -> Result<Json<Services>, Refusal> {
    let parameters = Parameters::read(&uri, &["registry", "name"])?;
    let composition = sources.control.composition();
    let (registry, name) = (parameters.get("registry"), parameters.get("name"));
    if let Some(registry) = registry
        && !composition
            .rules()
            .registries
            .iter()
            .any(|known| known.as_str() == registry)
    {
        let known: Vec<&str> = composition
            .rules()
            .registries
            .iter()
            .map(RegistryName::as_str)
            .collect();
        let mend = format!("the configuration has: {}", known.join(", "));
        return Err(Refusal::not_found(format!("there is no registry `{registry}`"), mend));
    }
    let inputs = composition.inputs();
    let routed: BTreeSet<ServiceId> = composition
        .snapshot
        .clusters
        .keys()
        .flat_map(|id| members(inputs.world, inputs.rules, &id.target))
        .map(|member| member.service)
        .collect();
    let services = composition
        .world
        .registries
        .values()
        .filter(|view| registry.is_none_or(|registry| view.name.as_str() == registry))
        .flat_map(|view| view.services.values())
        .filter(|view| name.is_none_or(|name| view.service.id.name.eq_ignore_ascii_case(name)))
        .map(|view| {
            // Reasons are worked out for services in use only: without a route no instance is in the data path.
            let routed = routed.contains(&view.service.id);
            let used = if routed {
                reasons(&inputs, &composition.snapshot, &view.service.id)
            } else {
                Vec::new()
            };
            let used: Vec<bool> = used.iter().map(|reason| reason.in_data_path()).collect();
            service(view, routed, &used)
        });
    Ok(Json(Services {
        services: services.collect(),
    }))
}

fn service(view: &ServiceView, routed: bool, used: &[bool]) -> ServiceState {
    let used = used.iter().copied().chain(std::iter::repeat(false));
    let instances: Vec<InstanceState> = view
        .service
        .instances
        .iter()
        .zip(used)
        .map(|(instance, used)| InstanceState::new(instance, used))
        .collect();
    ServiceState {
        id: view.service.id.to_string(),
        name: view.service.id.name.clone(),
        registry: view.service.id.registry.clone(),
        freshness: FreshnessView::new(&view.freshness),
        routed,
        in_data_path: instances.iter().filter(|instance| instance.in_data_path).count(),
        instances,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_that_sounds_like_a_secret_keeps_its_value_to_itself() {
        let metadata =
            ["user.password", "API-Key", "management.token", "version", "team"].map(|key| (key.into(), "v".into()));
        let shown = without_secrets(&metadata.into());
        let open: Vec<&str> = shown.iter().filter(|(_, v)| &***v == "v").map(|(k, _)| &**k).collect();
        assert_eq!(open, ["team", "version"]);
    }
}
