//! The nodes of ours: several for each cluster, because Consul takes longer for a write the more stands on its node.
//!
//! ```text
//! cluster c1 ─▶ landfall-c1-00of32 … landfall-c1-31of32     a record's node follows from its id, for ever
//!               landfall-c1                                 names the lease; the only node of earlier versions
//! ```
//!
//! Measured with 1.14: a transaction of 32 services takes 15 to 60 ms as long as no node has more than about 1,000, and
//! 190 ms with 10,000 on one. 32 nodes hold 32,000 records within that.
//!
//! What an earlier version wrote stands on the one node. It is ours as well: held, compared and removed where it is. `sync`
//! finds the same origin wanted under another id, writes that first and then removes the old one.

use crate::publish::mark;

/// Begins the name of each node of ours.
pub(super) const PREFIX: &str = "landfall-";
/// Nodes of a cluster. Part of their names, so that another number would be other nodes.
const SHARDS: u8 = 32;

/// The nodes of one cluster. Two clusters never share one.
pub(super) struct Nodes {
    base: String,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) node: &'a str,
    /// Of the service on it.
    pub(super) id: &'a str,
}

impl Nodes {
    pub(super) fn of(cluster: &str) -> Self {
        let plain: String = cluster
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .take(40)
            .collect();
        // Not what would be read as the node of another cluster.
        let base = if plain == cluster && base_of(&plain) == plain {
            format!("{PREFIX}{plain}")
        } else {
            let digest = mark::digest_of(&[cluster.as_bytes()]);
            format!("{PREFIX}{plain}-{}", &digest[..8])
        };
        Self { base }
    }

    /// What the lease is named after.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The node of the record with this service id.
    pub(super) fn of_record(&self, id: &str) -> String {
        // The digest of an id stands in registries, so it does not change between versions.
        let digest = mark::digest_of(&[id.as_bytes()]);
        let number = u8::from_str_radix(&digest[..2], 16).unwrap_or_default() % SHARDS;
        format!("{}-{number:02}of{SHARDS:02}", self.base)
    }

    /// Where the record of ours with this id stands; `None` if it is none of ours.
    pub(super) fn place<'a>(&self, id: &'a str) -> Option<Place<'a>> {
        let (node, id) = id.split_once('/')?;
        (base_of(node) == self.base && id.contains(mark::TAG)).then_some(Place { node, id })
    }
}

/// A node's name without its number.
pub(super) fn base_of(node: &str) -> &str {
    match node.rsplit_once('-') {
        Some((base, number)) if is_number(number.as_bytes()) => base,
        _ => node,
    }
}

/// `07of32`
fn is_number(text: &[u8]) -> bool {
    matches!(text, [a, b, b'o', b'f', c, d] if [a, b, c, d].into_iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_stays_on_its_node_from_version_to_version() {
        let nodes = Nodes::of("c1");
        for (id, node) in [
            ("landfall~eureka~0123456789abcdef01234567", "landfall-c1-06of32"),
            ("landfall~zookeeper~0123456789abcdef01234567", "landfall-c1-10of32"),
            ("landfall~eureka~ffffffffffffffffffffffff", "landfall-c1-28of32"),
        ] {
            assert_eq!(nodes.of_record(id), node);
        }
    }

    #[test]
    fn records_are_spread_evenly() {
        let nodes = Nodes::of("c1");
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for at in 0..20_000 {
            let id = format!("landfall~eureka~{}", mark::digest_of(&[format!("{at}").as_bytes()]));
            *counts.entry(nodes.of_record(&id)).or_default() += 1;
        }
        assert_eq!(counts.len(), 32);
        assert!(counts.values().all(|count| *count < 800), "{counts:?}");
    }

    #[test]
    fn clusters_have_nodes_of_their_own() {
        assert_eq!(Nodes::of("c1").base(), "landfall-c1");
        let odd = ["C1", "c_1", "c.1", "🦀", "", "c1-07of32", "c1"];
        let bases: std::collections::BTreeSet<String> = odd.iter().map(|name| Nodes::of(name).base).collect();
        assert_eq!(bases.len(), odd.len());
        for base in &bases {
            assert!(
                base.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{base}"
            );
            assert_eq!(base_of(base), base, "no base is the node of another one");
            assert_eq!(base_of(&format!("{base}-00of32")), base);
        }
    }

    #[test]
    fn what_is_ours_is_known_on_the_node_of_earlier_versions_and_by_another_number_of_nodes() {
        let nodes = Nodes::of("c1");
        for node in ["landfall-c1", "landfall-c1-07of32", "landfall-c1-63of64"] {
            let id = format!("{node}/landfall~x~1");
            let id_there = "landfall~x~1";
            assert_eq!(nodes.place(&id), Some(Place { node, id: id_there }));
        }
        for id in [
            "landfall-c1/orders-1",
            "landfall-c1",
            "landfall-c1-7of32/landfall~x~1",
            "landfall-c10/landfall~x~1",
            "landfall-c1-01/landfall~x~1",
            "n1/landfall~x~1",
        ] {
            assert_eq!(nodes.place(id), None, "{id}");
        }
    }
}
