//! Names that several registries have, and what a reference without a registry makes of them.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Rules, ServiceId, World, rules::BackendRef};

/// A name in more than one registry (or twice in one, in different case).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The name in lower case.
    pub name: Arc<str>,
    /// Everything that has it, by precedence.
    pub services: Vec<ServiceId>,
    /// The MeshService of that name, which a reference without a registry means.
    pub mesh: Option<Arc<str>>,
    /// Routes that use the name without a registry.
    pub routes: Vec<Arc<str>>,
}

/// Every such name, sorted.
pub fn conflicts(world: &World, rules: &Rules) -> Vec<Conflict> {
    let mut by_name: BTreeMap<String, Vec<ServiceId>> = BTreeMap::new();
    for registry in &rules.registries {
        let services = world
            .registries
            .get(registry)
            .into_iter()
            .flat_map(|view| view.services.values());
        for view in services {
            let id = &view.service.id;
            by_name
                .entry(id.name.to_ascii_lowercase())
                .or_default()
                .push(id.clone());
        }
    }
    by_name
        .into_iter()
        .filter(|(_, services)| services.len() > 1)
        .map(|(name, services)| {
            let mesh = rules
                .mesh_services
                .iter()
                .find(|mesh| mesh.name.eq_ignore_ascii_case(&name));
            let unsure = |r: &BackendRef| r.namespace.is_none() && r.name.eq_ignore_ascii_case(&name);
            let http = rules.routes.iter();
            let http = http.filter(|route| super::route_references(route).any(unsure));
            let dubbo = rules.dubbo_routes.iter();
            let dubbo = dubbo.filter(|route| super::dubbo_references(route).any(unsure));
            let routes = http.map(|route| &route.id).chain(dubbo.map(|route| &route.id));
            Conflict {
                mesh: mesh.map(|mesh| mesh.name.clone()),
                routes: routes.cloned().collect(),
                name: name.into(),
                services,
            }
        })
        .collect()
}
