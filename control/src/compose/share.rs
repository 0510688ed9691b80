//! The endpoints of a cluster and their weights.
//!
//! The cluster of a **service** takes the weights of its instances. Of two instances with one address (a registration
//! that was left behind) one endpoint remains, with the larger weight.
//!
//! In the cluster of a **MeshService** the members share traffic by member weight, however many instances each has:
//!
//! ```text
//! share of endpoint j of member i  =  Wᵢ / ΣW  ×  wᵢⱼ / Σⱼwᵢⱼ
//! ```
//!
//! where W is the weight of members and w that of instances, and members without endpoints are not counted, so the
//! others carry their share. As whole numbers: `Wᵢ × wᵢⱼ × (L / Σⱼwᵢⱼ)` with L the least common multiple of the sums,
//! divided by what all have in common, times 100. Should that not fit, the largest weight becomes 1,000,000 and the
//! others are rounded, never to 0. An address found in two members gets both shares.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use landfall_model::{Cluster, ClusterId, Endpoint, snapshot::ClusterTarget};

use super::{Inputs, admit::admit, members, policy, sidecar};

/// The largest weight that a share is turned into.
const LARGEST: u128 = 1_000_000;

/// The scale of an instance's default weight, so that slow start has steps to take.
const SCALE: u128 = landfall_model::service::DEFAULT_WEIGHT as u128;

/// Makes a cluster, or hands back `old` if it would be the same.
pub fn cluster(inputs: &Inputs<'_>, id: &ClusterId, old: Option<&Arc<Cluster>>) -> Arc<Cluster> {
    let mut policy = policy::of(inputs.rules, &id.target);
    let by_member: Vec<(u32, BTreeMap<SocketAddr, Endpoint>)> = members(inputs.world, inputs.rules, &id.target)
        .into_iter()
        .filter(|member| member.weight > 0)
        .map(|member| {
            let mut endpoints: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
            let instances = inputs
                .world
                .service(&member.service)
                .map(|view| &view.service.instances);
            let since = inputs.world.since(&member.service);
            let admitted = instances.into_iter().flatten().flat_map(|instance| {
                let (service, asked) = (&member.service, (id.port, id.family));
                let endpoints = admit(service, instance, asked, &policy, inputs.names, since);
                let to_sidecar = |endpoint| sidecar::send(inputs.trust_domain, service, instance, id.family, endpoint);
                endpoints.into_iter().flatten().map(to_sidecar)
            });
            for endpoint in admitted {
                let weight = endpoint.weight;
                let kept = endpoints.entry(endpoint.address).or_insert(endpoint);
                kept.weight = kept.weight.max(weight);
            }
            (member.weight, endpoints)
        })
        .filter(|(_, endpoints)| !endpoints.is_empty())
        .collect();

    let endpoints = match id.target {
        ClusterTarget::Service(_) => by_member.into_iter().flat_map(|(_, endpoints)| endpoints).collect(),
        ClusterTarget::Mesh(_) => weigh(by_member),
    };

    if let Some(old) = old
        && *old.policy == *policy
    {
        policy = old.policy.clone();
    }
    let endpoints = share_endpoints(endpoints, old.map(|old| &*old.endpoints));
    match old {
        Some(old)
            if Arc::ptr_eq(&old.policy, &policy)
                && old.endpoints.len() == endpoints.len()
                && old.endpoints.iter().zip(&endpoints).all(|(a, b)| Arc::ptr_eq(a, b)) =>
        {
            old.clone()
        }
        _ => Arc::new(Cluster {
            id: id.clone(),
            endpoints,
            policy,
        }),
    }
}

/// Joins the members of a MeshService; each has an endpoint and a weight above 0.
fn weigh(members: Vec<(u32, BTreeMap<SocketAddr, Endpoint>)>) -> BTreeMap<SocketAddr, Endpoint> {
    let sums: Vec<u128> = members
        .iter()
        .map(|(_, endpoints)| endpoints.values().map(|e| u128::from(e.weight)).sum())
        .collect();
    let shares = exact_shares(&members, &sums).unwrap_or_else(|| rounded_shares(&members, &sums));

    let mut joined: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
    let endpoints = members.into_iter().flat_map(|(_, endpoints)| endpoints.into_values());
    for (mut endpoint, share) in endpoints.zip(shares) {
        endpoint.weight = share;
        joined
            .entry(endpoint.address)
            .and_modify(|kept| kept.weight = kept.weight.saturating_add(share))
            .or_insert(endpoint);
    }
    joined
}

/// The shares as whole numbers without rounding; `None` if a number becomes too large.
fn exact_shares(members: &[(u32, BTreeMap<SocketAddr, Endpoint>)], sums: &[u128]) -> Option<Vec<u32>> {
    let common = sums
        .iter()
        .try_fold(1_u128, |lcm, sum| (lcm / gcd(lcm, *sum)).checked_mul(*sum))?;
    let mut shares = Vec::new();
    for ((weight, endpoints), sum) in members.iter().zip(sums) {
        let factor = u128::from(*weight).checked_mul(common / sum)?;
        for endpoint in endpoints.values() {
            shares.push(factor.checked_mul(u128::from(endpoint.weight))?);
        }
    }
    let divisor = shares.iter().copied().fold(0, gcd).max(1);
    shares
        .into_iter()
        .map(|share| (share / divisor).checked_mul(SCALE).filter(|share| *share <= LARGEST))
        .map(|share| share.and_then(|share| u32::try_from(share).ok()))
        .collect()
}

/// The shares with the largest at [`LARGEST`].
fn rounded_shares(members: &[(u32, BTreeMap<SocketAddr, Endpoint>)], sums: &[u128]) -> Vec<u32> {
    let exact: Vec<f64> = members
        .iter()
        .zip(sums)
        .flat_map(|((weight, endpoints), sum)| {
            let per_weight = f64::from(*weight) / *sum as f64;
            endpoints.values().map(move |e| per_weight * f64::from(e.weight))
        })
        .collect();
    let largest = exact.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    exact
        .into_iter()
        .map(|share| ((share / largest * LARGEST as f64).round() as u32).max(1))
        .collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Keeps the `Arc` of every endpoint that reads as before.
fn share_endpoints(new: BTreeMap<SocketAddr, Endpoint>, old: Option<&[Arc<Endpoint>]>) -> Vec<Arc<Endpoint>> {
    let old = old.unwrap_or_default();
    new.into_values()
        .map(|mut endpoint| {
            let known = old.binary_search_by(|known| known.address.cmp(&endpoint.address));
            let Some(known) = known.ok().and_then(|index| old.get(index)) else {
                return Arc::new(endpoint);
            };
            // A record that was written again without a change for the data path is no news to it; its new time
            // would look like a change that took effect late.
            let changed = std::mem::replace(&mut endpoint.changed, known.changed);
            if **known == endpoint {
                return known.clone();
            }
            endpoint.changed = changed;
            Arc::new(endpoint)
        })
        .collect()
}
