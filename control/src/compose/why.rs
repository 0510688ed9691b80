//! Why an instance is in the data path, or why not: what `landfall why` shows.

use std::{collections::BTreeSet, fmt, net::SocketAddr, sync::Arc};

use landfall_model::{
    Cluster, ClusterId, Instance, Origin, ServiceId, Snapshot, rules::Family, snapshot::ClusterTarget,
};

use super::{
    Inputs,
    admit::{LeftOut, admit},
    members, policy,
};

/// One instance and what became of it in every cluster that is made from its service.
#[derive(Clone, Debug)]
pub struct Reason {
    /// The instance.
    pub instance: Arc<Instance>,
    /// By cluster; with `None` for the cluster if nothing refers to the service.
    pub uses: Vec<(Option<ClusterId>, Verdict)>,
}

impl Reason {
    /// Whether it may get calls from at least one cluster.
    pub fn in_data_path(&self) -> bool {
        self.uses
            .iter()
            .any(|(_, verdict)| matches!(verdict, Verdict::Serves(_) | Verdict::Merged { .. }))
    }
}

/// What became of an instance in one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gets calls there.
    Serves(Vec<SocketAddr>),
    /// Its address gets calls, on behalf of another record with the same address.
    Merged {
        /// The address.
        address: SocketAddr,
        /// The record the endpoint was made from.
        with: Origin,
    },
    /// It gets none.
    LeftOut(LeftOut),
    /// It could get calls, but its service's weight in the MeshService is 0.
    MemberWithoutWeight,
    /// It could get calls, but no route sends any to its service.
    NotReferenced,
    /// It will be there with the next snapshot, which is being made.
    Pending,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serves(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
                write!(f, "gets calls at {}", addresses.join(", "))
            }
            Self::Merged { address, with } => write!(f, "shares the endpoint {address} with {with}"),
            Self::LeftOut(reason) => reason.fmt(f),
            Self::MemberWithoutWeight => f.write_str("its service is a member with weight 0"),
            Self::NotReferenced => f.write_str("no route refers to its service"),
            Self::Pending => f.write_str("the snapshot with it is being made"),
        }
    }
}

/// The clusters of a snapshot that are made from a service, with its weight as a member.
pub fn clusters_of<'a>(
    inputs: &Inputs<'_>,
    snapshot: &'a Snapshot,
    service: &ServiceId,
) -> Vec<(&'a Arc<Cluster>, u32)> {
    let weight = |cluster: &Cluster| {
        members(inputs.world, inputs.rules, &cluster.id.target)
            .into_iter()
            .find(|member| member.service == *service)
            .map(|member| member.weight)
    };
    snapshot
        .clusters
        .values()
        .filter_map(|cluster| Some((cluster, weight(cluster)?)))
        .collect()
}

/// Every instance of a service with its reasons; empty if no registry has the service.
pub fn reasons(inputs: &Inputs<'_>, snapshot: &Snapshot, service: &ServiceId) -> Vec<Reason> {
    let Some(view) = inputs.world.service(service) else {
        return Vec::new();
    };
    let clusters = clusters_of(inputs, snapshot, service);
    view.service
        .instances
        .iter()
        .map(|instance| {
            let mut uses: Vec<_> = clusters
                .iter()
                .map(|(cluster, weight)| {
                    let verdict = verdict(inputs, cluster, *weight, service, instance);
                    (Some(cluster.id.clone()), verdict)
                })
                .collect();
            if uses.is_empty() {
                uses.push((None, unreferenced(inputs, service, instance)));
            }
            Reason {
                instance: instance.clone(),
                uses,
            }
        })
        .collect()
}

fn verdict(inputs: &Inputs<'_>, cluster: &Cluster, weight: u32, service: &ServiceId, instance: &Instance) -> Verdict {
    let since = inputs.world.since(service);
    let endpoints = match admit(
        service,
        instance,
        (cluster.id.port, cluster.id.family),
        &cluster.policy,
        inputs.names,
        since,
    ) {
        Ok(endpoints) => endpoints,
        Err(reason) => return Verdict::LeftOut(reason),
    };
    if weight == 0 {
        return Verdict::MemberWithoutWeight;
    }
    // What counts is the snapshot in use, not what would be made now.
    let admitted: BTreeSet<SocketAddr> = endpoints.iter().map(|e| e.address).collect();
    let used = cluster.endpoints.iter().filter(|e| admitted.contains(&e.address));
    let (own, others): (Vec<_>, Vec<_>) = used.partition(|used| endpoints.iter().any(|e| e.origin == used.origin));
    if !own.is_empty() {
        return Verdict::Serves(own.into_iter().map(|e| e.address).collect());
    }
    others.first().map_or(Verdict::Pending, |other| Verdict::Merged {
        address: other.address,
        with: other.origin.clone(),
    })
}

fn unreferenced(inputs: &Inputs<'_>, service: &ServiceId, instance: &Instance) -> Verdict {
    let policy = policy::of(inputs.rules, &ClusterTarget::Service(service.clone()));
    let since = inputs.world.since(service);
    let by = |family| admit(service, instance, (None, family), &policy, inputs.names, since);
    let verdict = match by(Family::Http) {
        Err(LeftOut::NoHttpPort(_)) => by(Family::Dubbo),
        verdict => verdict,
    };
    match verdict {
        // Names are looked up for services in use only, so this one would say nothing.
        Ok(_) | Err(LeftOut::NotLookedUp(_)) => Verdict::NotReferenced,
        Err(reason) => Verdict::LeftOut(reason),
    }
}
