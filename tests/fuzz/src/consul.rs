//! `adapters/src/consul`: answers of Consul.

use std::sync::Arc;

#[path = "../../../adapters/src/consul/record.rs"]
mod record;

/// What `record` asks of the real one.
struct Scope {
    tags: Vec<String>,
    exclude: Vec<String>,
}

/// A listing of names, a health answer and a node.
pub fn read(body: &[u8]) {
    for tags in [vec![], vec!["v1".to_owned()]] {
        let scope = Scope {
            tags,
            exclude: vec!["hidden".to_owned()],
        };
        if let Ok(listing) = record::listing(body, &scope) {
            assert!(
                !listing
                    .names
                    .iter()
                    .any(|name| &**name == "consul" || &**name == "hidden")
            );
        }
        if let Ok(health) = record::health(&Arc::from("orders"), body, &scope) {
            let _ = health.reading.is_nothing();
            assert!(health.read.is_subset(&health.named));
            if let record::Reading::Service { instances, .. } = &health.reading {
                assert!(instances.is_sorted_by(|a, b| a.id <= b.id));
                crate::well_formed(instances);
            }
        }
    }
    if let Ok(node) = record::on_node("n1", body) {
        let _ = (node.shows_node(), node.has("a", "b"));
    }
}
