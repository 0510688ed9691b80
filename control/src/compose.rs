//! World and rules in, one [`Snapshot`] out. Pure: no clock, no network, nothing remembered but what is passed in.
//!
//! ```text
//! Rules ──▶ every backendRef ──[reference]──▶ cluster id or "missing, because"
//!                                                │
//! World ──▶ instances ──[admit]──▶ endpoints ──[sidecar], [share]──▶ cluster ◀──[policy]── ServicePolicy
//!                         │
//!                         └─▶ or the reason why not, which [why] tells people
//! ```
//!
//! Parts that come out as they were are shared with the snapshot before, so the engine compiles only what changed;
//! if nothing changed at all, the snapshot before is handed back and no version is used up.
//!
//! Next on the path: [`reference`](mod@reference).

pub mod admit;
pub mod authorization;
pub mod conflicts;
pub mod policy;
pub mod reference;
pub mod share;
pub mod sidecar;
#[cfg(test)]
mod tests;
pub mod why;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_adapters::definitions::Known;
use landfall_identity::TrustDomain;
use landfall_model::{
    Cluster, ClusterId, Host, Rules, ServiceId, Snapshot, World,
    rules::{BackendRef, DubboFilter, DubboRoute, DubboRule, Filter, HttpRoute, MeshMember, RouteRule},
    snapshot::{ClusterTarget, Resolution},
};

use crate::resolve::Names;
pub use reference::Warning;

/// Everything a snapshot is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What the registries say.
    pub world: &'a World,
    /// What the configuration says.
    pub rules: &'a Rules,
    /// Addresses of the instances that are registered by name.
    pub names: &'a Names,
    /// Referenced services that this process has met before: without instances they are empty (503), not missing (500).
    pub seen: &'a BTreeSet<ServiceId>,
    /// Service definitions of Dubbo, as far as they are known.
    pub definitions: &'a Known,
    /// Of the identity with which this process calls sidecars; `None` calls past them.
    pub trust_domain: Option<&'a TrustDomain>,
    /// The snapshot to share unchanged parts with.
    pub previous: Option<&'a Arc<Snapshot>>,
}

/// A snapshot and what came to light while it was made.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The same `Arc` as the previous one if nothing changed.
    pub snapshot: Arc<Snapshot>,
    /// What an operator should know; sorted, each once.
    pub warnings: Vec<Warning>,
    /// Host names that must be looked up for the services in use.
    pub names: BTreeSet<Arc<str>>,
    /// Services of Dubbo whose definitions are needed.
    pub undefined: BTreeSet<ServiceId>,
    /// To be passed in the next time.
    pub seen: BTreeSet<ServiceId>,
}

/// Makes the snapshot for the given inputs.
pub fn compose(inputs: Inputs<'_>) -> Composed {
    let Inputs {
        world, rules, previous, ..
    } = inputs;
    let mut warnings = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut backends = BTreeMap::new();
    let mut clusters: BTreeMap<ClusterId, Arc<Cluster>> = BTreeMap::new();

    for wanted in references(rules) {
        let (resolution, warning) = reference::resolve(&inputs, wanted);
        warnings.extend(warning);
        if let Resolution::Cluster(id) = &resolution
            && !clusters.contains_key(id)
        {
            let old = previous.and_then(|p| p.clusters.get(id));
            clusters.insert(id.clone(), share::cluster(&inputs, id, old));
            for MeshMember { service: member, .. } in members(world, rules, &id.target) {
                if matches!(id.target, ClusterTarget::Mesh(_)) {
                    warnings.extend(reference::member_missing(&inputs, &id.target, &member));
                }
                match world.service(&member) {
                    Some(view) => {
                        seen.insert(member);
                        names.extend(view.service.instances.iter().filter_map(|i| match &i.host {
                            Host::Name(name) => Some(name.clone()),
                            Host::Ip(_) => None,
                        }));
                    }
                    None if inputs.seen.contains(&member) => {
                        seen.insert(member);
                    }
                    None => {}
                }
            }
        }
        backends.insert(wanted.clone(), resolution);
    }

    let authorization = authorization::of(world, rules, clusters.keys());
    let (definitions, undefined) = definitions(&inputs, &backends);
    let snapshot = Snapshot {
        version: previous.map_or(1, |p| p.version + 1),
        rules_version: rules.version,
        listeners: shared(&rules.listeners, previous.map(|p| &*p.listeners), |l| l.id.clone()),
        routes: shared(&rules.routes, previous.map(|p| &*p.routes), |r| r.id.clone()),
        dubbo_routes: shared(&rules.dubbo_routes, previous.map(|p| &*p.dubbo_routes), |r| {
            r.id.clone()
        }),
        backends,
        clusters,
        authorization,
        definitions,
    };
    let snapshot = match previous {
        Some(previous) if same(previous, &snapshot) => previous.clone(),
        _ => Arc::new(snapshot),
    };
    Composed {
        snapshot,
        warnings: warnings.into_iter().collect(),
        names,
        undefined,
        seen,
    }
}

/// By DubboTranscoding and cluster.
type OfClusters = BTreeMap<(Arc<str>, ClusterId), Arc<str>>;

/// The definitions of the services that are called with JSON, and those that are needed for it. The members of a MeshService
/// are to be alike: the first one's definition is taken.
fn definitions(inputs: &Inputs<'_>, backends: &BTreeMap<BackendRef, Resolution>) -> (OfClusters, BTreeSet<ServiceId>) {
    let (mut found, mut needed) = (BTreeMap::new(), BTreeSet::new());
    for rule in inputs.rules.routes.iter().flat_map(|route| &route.rules) {
        let transcoding = rule.filters.iter().find_map(|filter| match filter {
            Filter::Transcode(transcoding) if transcoding.types.definition.is_none() => Some(transcoding),
            _ => None,
        });
        let Some(transcoding) = transcoding else { continue };
        for share in &rule.backends {
            let Some(Resolution::Cluster(id)) = backends.get(&share.backend) else {
                continue;
            };
            for member in members(inputs.world, inputs.rules, &id.target) {
                let key = transcoding.service(&member.service.name).to_string();
                let service = ServiceId::new(member.service.registry, key);
                if let Some(text) = inputs.definitions.get(&service) {
                    found
                        .entry((transcoding.name.clone(), id.clone()))
                        .or_insert_with(|| text.clone());
                }
                needed.insert(service);
            }
        }
    }
    (found, needed)
}

/// Every backend that a rule may send calls or copies to.
fn references(rules: &Rules) -> BTreeSet<&BackendRef> {
    let http = rules.routes.iter().flat_map(|route| route_references(route));
    let dubbo = rules.dubbo_routes.iter().flat_map(|route| dubbo_references(route));
    http.chain(dubbo).collect()
}

/// The same for one route.
pub fn route_references(route: &HttpRoute) -> impl Iterator<Item = &BackendRef> {
    route.rules.iter().flat_map(rule_references)
}

/// The same for one rule: its backends, then the mirrors among its filters and theirs.
pub fn rule_references(rule: &RouteRule) -> impl Iterator<Item = &BackendRef> {
    let filters = rule.filters.iter().chain(rule.backends.iter().flat_map(|b| &b.filters));
    let mirrors = filters.filter_map(|filter| match filter {
        Filter::Mirror(mirror) => Some(&mirror.backend),
        _ => None,
    });
    rule.backends.iter().map(|b| &b.backend).chain(mirrors)
}

/// Every backend of a route of Dubbo's calls.
pub fn dubbo_references(route: &DubboRoute) -> impl Iterator<Item = &BackendRef> {
    route.rules.iter().flat_map(dubbo_rule_references)
}

/// The same for one rule: its backends, then the mirrors among its filters.
pub fn dubbo_rule_references(rule: &DubboRule) -> impl Iterator<Item = &BackendRef> {
    let mirrors = rule.filters.iter().filter_map(|filter| match filter {
        DubboFilter::Mirror(mirror) => Some(&mirror.backend),
        DubboFilter::Fault(_) | DubboFilter::Transcode(_) => None,
    });
    rule.backends.iter().map(|b| &b.backend).chain(mirrors)
}

/// The services a cluster is made from, in document order, under the names the registries use.
pub fn members(world: &World, rules: &Rules, target: &ClusterTarget) -> Vec<MeshMember> {
    match target {
        ClusterTarget::Service(id) => vec![MeshMember {
            service: id.clone(),
            weight: 1,
        }],
        ClusterTarget::Mesh(name) => rules
            .mesh_services
            .iter()
            .find(|mesh| mesh.name == *name)
            .into_iter()
            .flat_map(|mesh| &mesh.members)
            .map(|member| MeshMember {
                service: world
                    .registries
                    .get(&member.service.registry)
                    .and_then(|view| reference::find(view, &member.service.name))
                    .unwrap_or_else(|| member.service.clone()),
                weight: member.weight,
            })
            .collect(),
    }
}

/// `new`, with the `Arc` of `old` wherever the two are equal.
fn shared<T: PartialEq, K: Ord>(new: &[Arc<T>], old: Option<&[Arc<T>]>, key: impl Fn(&T) -> K) -> Vec<Arc<T>> {
    let Some(old) = old else { return new.to_vec() };
    let by_key: BTreeMap<K, &Arc<T>> = old.iter().map(|part| (key(part), part)).collect();
    new.iter()
        .map(|part| match by_key.get(&key(part)) {
            Some(old) if Arc::ptr_eq(old, part) || *old == part => Arc::clone(old),
            _ => part.clone(),
        })
        .collect()
}

/// Whether two snapshots say the same. Parts were shared before, so comparing pointers is enough.
fn same(old: &Snapshot, new: &Snapshot) -> bool {
    fn same_parts<T>(old: &[Arc<T>], new: &[Arc<T>]) -> bool {
        old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
    }
    old.rules_version == new.rules_version
        && same_parts(&old.listeners, &new.listeners)
        && same_parts(&old.routes, &new.routes)
        && same_parts(&old.dubbo_routes, &new.dubbo_routes)
        && old.backends == new.backends
        && old.authorization == new.authorization
        && old.definitions == new.definitions
        && old.clusters.len() == new.clusters.len()
        && old
            .clusters
            .values()
            .zip(new.clusters.values())
            .all(|(old, new)| Arc::ptr_eq(old, new))
}
