//! The specification once more, as simply as it can be said: what is written in the end, by whom, whatever happened
//! before. No levels, no caches, no ledger: repeat until nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use super::simulation::{Cluster, Native, Scenario, Site};

/// Registry, service and id of a native record.
pub(super) type OriginOf = (String, String, String);

/// A record somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub origin: OriginOf,
    pub path: Vec<String>,
    pub service: String,
    pub native: Native,
    /// Empty for a native one.
    pub cluster: String,
}

impl Spec {
    fn order(&self) -> (usize, Vec<String>, String) {
        (self.path.len(), self.path.clone(), self.cluster.clone())
    }

    fn place(&self) -> (usize, Vec<String>, OriginOf) {
        (self.path.len(), self.path.clone(), self.origin.clone())
    }
}

/// By registry: what every cluster wants to stand there, without what another one has there.
pub(super) type Written = BTreeMap<String, Vec<Spec>>;

/// What is written in the end.
pub(super) fn fixed_point(scenario: &Scenario, natives: &[Native]) -> Written {
    let mut written = Written::new();
    for _ in 0..100 {
        let mut next = Written::new();
        for cluster in &scenario.clusters {
            for (registry, records) in wanted(cluster, &scenario.sites, natives, &written) {
                next.entry(registry).or_default().extend(records);
            }
        }
        for (registry, records) in &mut next {
            let site = scenario.sites.iter().find(|site| site.name == *registry).unwrap();
            records.sort_by_key(|record| (record.service.clone(), record.origin.clone(), record.order()));
            if !site.drops_marks {
                // One key, one record: the better one.
                records.dedup_by_key(|record| (record.service.clone(), record.origin.clone()));
            }
        }
        if next == written {
            return written;
        }
        written = next;
    }
    panic!("the specification has no fixed point: {scenario:?}");
}

/// What one cluster wants, seeing what the others have written.
fn wanted(cluster: &Cluster, sites: &[Site], natives: &[Native], written: &Written) -> Written {
    let follows = |registry: &str| cluster.follows.contains(registry);
    let is_readable = |registry: &str| sites.iter().any(|site| site.name == registry && !site.drops_marks);
    let mut sources: Vec<(String, Spec)> = Vec::new();
    for native in natives.iter().filter(|native| follows(&native.registry)) {
        let record = Spec {
            origin: native.origin(),
            path: Vec::new(),
            service: native.service.clone(),
            native: native.clone(),
            cluster: String::new(),
        };
        sources.push((native.registry.clone(), record));
    }
    for (registry, records) in written.iter().filter(|(name, _)| follows(name) && is_readable(name)) {
        for record in records.iter().filter(|record| record.cluster != cluster.name) {
            if !follows(&record.origin.0) || natives.iter().any(|native| native.origin() == record.origin) {
                sources.push((registry.clone(), record.clone()));
            }
        }
    }
    // What stands where: sources, and what edges bring from where something stands.
    let mut stands: BTreeMap<(String, OriginOf), Spec> = BTreeMap::new();
    for _ in 0..=sites.len() + 17 {
        let mut next: BTreeMap<(String, OriginOf), Spec> = BTreeMap::new();
        let mut offer = |registry: &str, record: Spec| {
            let key = (registry.to_owned(), record.origin.clone());
            let is_better = next.get(&key).is_none_or(|known| record.order() < known.order());
            if is_better {
                next.insert(key, record);
            }
        };
        for (registry, record) in &sources {
            offer(registry, record.clone());
        }
        for ((registry, _), record) in &stands {
            for edge in cluster.edges.iter().filter(|edge| edge.from == *registry) {
                if record.path.contains(&edge.to) || record.service == edge.exclude {
                    continue;
                }
                let mut path = record.path.clone();
                path.push(registry.clone());
                let moved = Spec {
                    path,
                    service: format!("{}{}", edge.prefix, record.service),
                    cluster: cluster.name.clone(),
                    ..record.clone()
                };
                offer(&edge.to, moved);
            }
        }
        if next == stands {
            break;
        }
        stands = next;
    }
    let mut wanted = Written::new();
    for target in &cluster.follows {
        let here: Vec<&Native> = natives.iter().filter(|native| native.registry == *target).collect();
        let at_target = stands.iter().filter(|((registry, _), _)| registry == target);
        let mut copies: Vec<&Spec> = at_target
            .map(|(_, record)| record)
            .filter(|r| !r.path.is_empty())
            .collect();
        copies.sort_by_key(|record| record.place());
        let mut before: Vec<&Spec> = Vec::new();
        for copy in copies {
            if copy.cluster == cluster.name {
                if !fits(copy, &here, &before) {
                    continue;
                }
                wanted.entry(target.clone()).or_default().push(copy.clone());
            }
            before.push(copy);
        }
    }
    wanted
}

fn fits(copy: &Spec, here: &[&Native], before: &[&Spec]) -> bool {
    let same_name = |name: &str| name.to_lowercase() == copy.service.to_lowercase();
    let natives: Vec<_> = here.iter().filter(|native| same_name(&native.service)).collect();
    let copies: Vec<_> = before.iter().filter(|other| same_name(&other.service)).collect();
    let clash = |spoken: BTreeSet<&str>| {
        let ours = copy.native.protocol.unwrap_or_default();
        !ours.is_empty() && !spoken.is_empty() && !spoken.contains(ours)
    };
    let address = copy.native.address;
    !copy.native.unfit
        && !natives.iter().any(|native| native.address == address)
        && !copies.iter().any(|other| other.native.address == address)
        && (natives.is_empty() || natives.iter().any(|native| native.service == copy.service))
        && !clash(natives.iter().filter_map(|native| native.protocol).collect())
        && copies.first().is_none_or(|first| first.service == copy.service)
        && copies
            .iter()
            .find(|other| other.origin.0 == copy.origin.0)
            .is_none_or(|first| first.origin.1 == copy.origin.1)
        && !clash(copies.iter().filter_map(|other| other.native.protocol).collect())
}
