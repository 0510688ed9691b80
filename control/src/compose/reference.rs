//! What a backendRef stands for.
//!
//! | reference | stands for |
//! |---|---|
//! | with a namespace | the service of that registry |
//! | without, a MeshService has the name | the MeshService |
//! | without, one registry has the name | the service of that registry |
//! | without, several have it | the one first by `Registry.spec.priority`, with a warning that names the others |
//!
//! A name is looked up as it is written, then without regard to case (Eureka upper-cases names).
//!
//! *Missing* (500) needs evidence: a registry that is live and does not have it, or that is not configured.
//! As long as a registry has not been read in the present session the service may well exist, so the reference stands
//! for a cluster without endpoints (503). The same holds for a service that was there and went: in Eureka and Consul a
//! service without instances is no service at all.

use std::{fmt, sync::Arc};

use landfall_model::{
    ClusterId, RegistryName, RegistryView, ServiceId,
    rules::BackendRef,
    snapshot::{ClusterTarget, Resolution},
    world::Session,
};

use super::Inputs;

/// What an operator should know about the references of the rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// A name without a registry is found in several.
    Ambiguous {
        /// The name.
        name: Arc<str>,
        /// The registry that was taken.
        chosen: RegistryName,
        /// The others that have it.
        others: Vec<RegistryName>,
    },
    /// A reference stands for nothing; its share of calls is answered 500.
    Missing {
        /// The reference, as a person writes it.
        reference: String,
        /// Why.
        reason: String,
    },
    /// A member of a MeshService in use is not there; the others carry its share.
    MemberMissing {
        /// The MeshService.
        mesh: Arc<str>,
        /// Its member.
        member: ServiceId,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambiguous { name, chosen, others } => {
                let others: Vec<&str> = others.iter().map(RegistryName::as_str).collect();
                write!(
                    f,
                    "backendRef `{name}` names no registry and several have it: `{chosen}` is used, not `{}`; \
                     write `namespace: {chosen}` or make a MeshService",
                    others.join("`, `")
                )
            }
            Self::Missing { reference, reason } => write!(f, "backendRef `{reference}` stands for nothing: {reason}"),
            Self::MemberMissing { mesh, member, reason } => {
                write!(f, "member `{member}` of MeshService `{mesh}` is not there: {reason}")
            }
        }
    }
}

/// What the registry says about a name.
enum Found {
    /// It has it, perhaps in another case.
    Here(ServiceId),
    /// It had it, or has not been read: calls may be answered 503.
    NotNow(ServiceId),
    /// There is no such thing, and why.
    Absent(String),
}

/// Resolves one reference.
pub fn resolve(inputs: &Inputs<'_>, reference: &BackendRef) -> (Resolution, Option<Warning>) {
    let cluster = |target| {
        Resolution::Cluster(ClusterId {
            target,
            port: reference.port,
            family: reference.family,
        })
    };
    let missing = |reason: String| {
        let warning = Warning::Missing {
            reference: text(reference),
            reason: reason.clone(),
        };
        (Resolution::Missing(reason), Some(warning))
    };

    if let Some(namespace) = &reference.namespace {
        return match look(inputs, namespace, &reference.name) {
            Found::Here(id) | Found::NotNow(id) => (cluster(ClusterTarget::Service(id)), None),
            Found::Absent(reason) => missing(reason),
        };
    }
    if let Some(mesh) = inputs
        .rules
        .mesh_services
        .iter()
        .find(|mesh| mesh.name == reference.name)
    {
        return (cluster(ClusterTarget::Mesh(mesh.name.clone())), None);
    }

    let mut here = Vec::new();
    let mut not_now = None;
    for registry in &inputs.rules.registries {
        match look(inputs, registry.as_str(), &reference.name) {
            Found::Here(id) => here.push(id),
            // A service that was seen is a better guess than a registry that has not been read.
            Found::NotNow(id) if inputs.seen.contains(&id) => {
                if !not_now.as_ref().is_some_and(|known| inputs.seen.contains(known)) {
                    not_now = Some(id);
                }
            }
            Found::NotNow(id) => not_now = not_now.or(Some(id)),
            Found::Absent(_) => {}
        }
    }
    let mut here = here.into_iter();
    match (here.next(), not_now) {
        (Some(chosen), _) => {
            let others: Vec<RegistryName> = here.map(|id| id.registry).collect();
            let warning = (!others.is_empty()).then(|| Warning::Ambiguous {
                name: reference.name.clone(),
                chosen: chosen.registry.clone(),
                others,
            });
            (cluster(ClusterTarget::Service(chosen)), warning)
        }
        (None, Some(id)) => (cluster(ClusterTarget::Service(id)), None),
        (None, None) if inputs.rules.registries.is_empty() => missing(format!(
            "there is no MeshService `{}`, and no registry is configured",
            reference.name
        )),
        (None, None) => missing(format!(
            "there is no MeshService `{0}`, and no registry has a service `{0}`",
            reference.name
        )),
    }
}

/// The warning about a member of a MeshService that is not there, if there is one to give.
pub fn member_missing(inputs: &Inputs<'_>, target: &ClusterTarget, member: &ServiceId) -> Option<Warning> {
    let ClusterTarget::Mesh(mesh) = target else { return None };
    match look(inputs, member.registry.as_str(), &member.name) {
        Found::Here(_) | Found::NotNow(_) => None,
        Found::Absent(reason) => Some(Warning::MemberMissing {
            mesh: mesh.clone(),
            member: member.clone(),
            reason,
        }),
    }
}

/// The id under which the world has a service, whatever the case of the name asked for.
pub fn find(view: &RegistryView, name: &str) -> Option<ServiceId> {
    if let Some(found) = view.services.get(name) {
        return Some(found.service.id.clone());
    }
    // The first in order, so that two names that differ in case alone always give the same answer.
    view.services
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, found)| found.service.id.clone())
}

fn look(inputs: &Inputs<'_>, registry: &str, name: &str) -> Found {
    let Some(configured) = inputs.rules.registries.iter().find(|known| known.as_str() == registry) else {
        let known: Vec<&str> = inputs.rules.registries.iter().map(RegistryName::as_str).collect();
        return Found::Absent(match &*known {
            [] => format!("there is no registry `{registry}`; none is configured"),
            known => format!("there is no registry `{registry}`; there is `{}`", known.join("`, `")),
        });
    };
    let id = ServiceId::new(configured.clone(), name);
    // Rules may be a moment ahead of the hub.
    let Some(view) = inputs.world.registries.get(configured) else {
        return Found::NotNow(id);
    };
    if let Some(id) = find(view, name) {
        return Found::Here(id);
    }
    let seen = inputs
        .seen
        .iter()
        .find(|seen| seen.registry == *configured && seen.name.eq_ignore_ascii_case(name));
    if let Some(seen) = seen {
        return Found::NotNow(seen.clone());
    }
    match view.session {
        Session::Live { .. } => Found::Absent(format!("registry `{registry}` has no service `{name}`")),
        Session::Connecting { .. } | Session::CatchingUp { .. } | Session::Stale { .. } => Found::NotNow(id),
    }
}

/// A reference as a person writes it: `orders.eureka:8080`.
pub fn text(reference: &BackendRef) -> String {
    let mut text = reference.name.to_string();
    if let Some(namespace) = &reference.namespace {
        text.push('.');
        text.push_str(namespace);
    }
    if let Some(port) = reference.port {
        text.push_str(&format!(":{port}"));
    }
    text
}
