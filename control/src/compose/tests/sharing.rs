//! What did not change stays the same object, and makes no new version.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_model::{Instance, Port, Protocol};

use crate::compose::Composed;
use crate::testing::{self, Stage};

#[test]
fn what_did_not_change_is_shared_and_nothing_new_makes_no_version() {
    let stage = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80", "10.0.0.2:80"])
        .service("eureka", "stock", &["10.0.0.3:80"])
        .routes(&["orders.eureka", "stock.eureka"]);
    let first = stage.compose(None);
    // The same rules and world, made anew: equal, but other allocations.
    let again = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80", "10.0.0.2:80"])
        .service("eureka", "stock", &["10.0.0.3:80"])
        .routes(&["orders.eureka", "stock.eureka"])
        .compose(Some(&first));
    assert!(Arc::ptr_eq(&first.snapshot, &again.snapshot));

    let moved = Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80", "10.0.0.9:80"])
        .service("eureka", "stock", &["10.0.0.3:80"])
        .routes(&["orders.eureka", "stock.eureka"])
        .compose(Some(&first));
    assert_eq!(moved.snapshot.version, 2);
    let cluster = |composed: &Composed, name: &str| {
        let found = composed.snapshot.clusters.iter().find(|(id, _)| id.to_string() == name);
        found.unwrap().1.clone()
    };
    assert!(Arc::ptr_eq(
        &cluster(&first, "stock.eureka"),
        &cluster(&moved, "stock.eureka")
    ));
    let (before, after) = (cluster(&first, "orders.eureka"), cluster(&moved, "orders.eureka"));
    assert!(Arc::ptr_eq(&before.endpoints[0], &after.endpoints[0]));
    assert!(
        first
            .snapshot
            .routes
            .iter()
            .zip(&moved.snapshot.routes)
            .all(|(a, b)| Arc::ptr_eq(a, b))
    );
}

#[test]
fn a_record_written_again_without_a_change_is_no_new_endpoint() {
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let port = vec![Port {
        number: 80,
        protocol: Protocol::Http,
        tls: false,
    }];
    let stage = |changed, weight| {
        let instance = Instance {
            changed,
            weight,
            ..testing::instance("a", "10.0.0.1", port.clone())
        };
        Stage::new()
            .instances("eureka", "orders", vec![instance])
            .routes(&["orders.eureka"])
    };
    let first = stage(at(1), 100).compose(None);
    let touched = stage(at(2), 100).compose(Some(&first));
    assert!(Arc::ptr_eq(&first.snapshot, &touched.snapshot));
    let changed = stage(at(3), 50).compose(Some(&touched));
    let cluster = changed.snapshot.clusters.values().next().unwrap();
    assert_eq!(cluster.endpoints[0].changed.map(|change| change.at), at(3));
}
