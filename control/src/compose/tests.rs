//! Tables and properties of [`compose`](super::compose), by subject in the files beside.

mod authorization;
mod definitions;
mod endpoints;
mod members;
mod policies;
mod property;
mod references;
mod sharing;

use std::collections::BTreeMap;

use landfall_model::Snapshot;

fn addresses(snapshot: &Snapshot, name: &str) -> Vec<String> {
    let cluster = snapshot.clusters.iter().find(|(id, _)| id.to_string() == name);
    cluster.map_or_else(Vec::new, |(_, c)| {
        c.endpoints.iter().map(|e| e.address.to_string()).collect()
    })
}

fn weights(snapshot: &Snapshot, name: &str) -> BTreeMap<String, u32> {
    let (_, cluster) = snapshot.clusters.iter().find(|(id, _)| id.to_string() == name).unwrap();
    cluster
        .endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.weight))
        .collect()
}
