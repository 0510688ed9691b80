//! The join of configuration, registries and names, watched from outside.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use landfall_adapters::hub::HubOptions;
use landfall_config::{ConfigFollower, follow, load};
use landfall_engine::{Engine, EngineOptions};
use landfall_model::{Port, Protocol, world::Session};
use tokio::time::{Instant, timeout};

use super::*;
use crate::testing::{Stage, instance, registry};

const PATIENCE: Duration = Duration::from_secs(20);

fn no_names() -> LookUp {
    Arc::new(|_| Box::pin(async { Err(std::io::Error::other("no such name")) }))
}

fn addresses(snapshot: &Snapshot) -> Vec<String> {
    let clusters = snapshot.clusters.values();
    clusters
        .flat_map(|cluster| cluster.endpoints.iter().map(|e| e.address.to_string()))
        .collect()
}

/// Waits for a snapshot with exactly these endpoints.
async fn endpoints(snapshots: &mut watch::Receiver<Arc<Snapshot>>, expected: &[&str]) {
    let found = timeout(PATIENCE, snapshots.wait_for(|s| addresses(s) == expected))
        .await
        .map(|_| ());
    assert!(
        found.is_ok(),
        "{:?} instead of {expected:?}",
        addresses(&snapshots.borrow())
    );
}

fn write(path: &Path, instance: &str, weight: u32) {
    let text = format!(
        r#"
apiVersion: landfall.dev/v1
kind: Registry
metadata: {{ name: here }}
spec: {{ static: {{ services: [ {{ name: orders, instances: ["{instance}"] }} ] }} }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge }}
spec: {{ gatewayClassName: landfall, listeners: [ {{ name: web, port: 8080, protocol: HTTP }} ] }}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: orders }}
spec:
  parentRefs: [ {{ name: edge }} ]
  rules: [ {{ backendRefs: [ {{ name: orders, namespace: here, weight: {weight} }} ] }} ]
"#
    );
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

async fn started(path: &Path) -> (Control, ConfigFollower, Arc<Hub>) {
    let follower = follow(path, load(path).unwrap());
    let hub = Arc::new(Hub::start(HubOptions::default()));
    let options = ControlOptions {
        config: follower.state(),
        hub: hub.clone(),
        trust_domain: None,
        look_up: no_names(),
    };
    (Control::start(options).await, follower, hub)
}

#[tokio::test]
async fn a_file_becomes_a_snapshot_and_a_changed_file_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("landfall.yaml");
    write(&path, "10.0.0.1:80", 1);
    let (control, follower, _hub) = started(&path).await;
    let mut snapshots = control.snapshots();
    endpoints(&mut snapshots, &["10.0.0.1:80"]).await;
    let first = snapshots.borrow().clone();

    write(&path, "10.0.0.2:80", 1);
    follower.reload_now();
    endpoints(&mut snapshots, &["10.0.0.2:80"]).await;

    // A weight that moves changes the route and leaves the cluster as it is.
    let before = snapshots.borrow().clone();
    write(&path, "10.0.0.2:80", 7);
    follower.reload_now();
    let moved = |snapshot: &Arc<Snapshot>| snapshot.routes[0].rules[0].backends[0].weight == 7;
    let after = timeout(PATIENCE, snapshots.wait_for(moved))
        .await
        .unwrap()
        .unwrap()
        .clone();
    let cluster = |snapshot: &Snapshot| snapshot.clusters.values().next().unwrap().clone();
    assert!(Arc::ptr_eq(&cluster(&before), &cluster(&after)));
    assert!(after.version > before.version && before.version > first.version);
}

#[tokio::test]
async fn a_bad_change_keeps_the_snapshot_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("landfall.yaml");
    write(&path, "10.0.0.1:80", 1);
    let (control, follower, _hub) = started(&path).await;
    let mut snapshots = control.snapshots();
    endpoints(&mut snapshots, &["10.0.0.1:80"]).await;

    std::fs::write(&path, "kind: [").unwrap();
    follower.reload_now();
    let deadline = Instant::now() + PATIENCE;
    while control.config_refusals() == 0 {
        assert!(Instant::now() < deadline, "the refusal is never counted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(control.config().refused.is_some());
    assert_eq!(addresses(&snapshots.borrow()), ["10.0.0.1:80"]);
    let mut metrics = String::new();
    control.render_metrics(None, &mut metrics);
    for line in [
        "landfall_config_refused 1\n",
        "landfall_config_refusals_total 1\n",
        "landfall_control_endpoints 1\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

/// A control plane whose world the test holds.
struct Held {
    control: Control,
    world: watch::Sender<Arc<World>>,
    _config: watch::Sender<ConfigState>,
}

fn held(stage: &Stage, look_up: LookUp) -> Held {
    let (_config, config) = watch::channel(stage.config());
    let (world, worlds) = watch::channel(Arc::new(stage.world.clone()));
    Held {
        control: Control::join(config, worlds, None, look_up, Definitions::default()),
        world,
        _config,
    }
}

fn with_instance(number: u16) -> Stage {
    Stage::new()
        .service("eureka", "orders", &[&format!("10.0.0.1:{number}")])
        .routes(&["orders.eureka"])
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_changes_makes_few_snapshots_and_the_last_change_is_in_the_last() {
    let held = held(&with_instance(1), no_names());
    let mut snapshots = held.control.snapshots();
    for number in 2..=1000 {
        held.world.send_replace(Arc::new(with_instance(number).world));
        tokio::task::yield_now().await;
    }
    endpoints(&mut snapshots, &["10.0.0.1:1000"]).await;
    let version = snapshots.borrow().version;
    assert!(version < 20, "{version} snapshots for one burst");
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_the_snapshot_within_a_few_milliseconds() {
    let held = held(&with_instance(1), no_names());
    let mut snapshots = held.control.snapshots();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    held.world.send_replace(Arc::new(with_instance(2).world));
    endpoints(&mut snapshots, &["10.0.0.1:2"]).await;
    assert!(begun.elapsed() <= Duration::from_millis(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_world_that_says_nothing_new_makes_no_snapshot_but_is_shown() {
    let held = held(&with_instance(1), no_names());
    let mut snapshots = held.control.snapshots();
    snapshots.mark_unchanged();
    let since = SystemTime::now();
    let stale = Session::Stale {
        since,
        why: "no answer".to_owned(),
        retry_at: since,
    };
    held.world
        .send_replace(Arc::new(with_instance(1).session("eureka", stale.clone()).world));
    let shown = |c: &Arc<Composition>| c.world.registries[&registry("eureka")].session == stale;
    timeout(PATIENCE, held.control.compositions().wait_for(shown))
        .await
        .unwrap()
        .unwrap();
    assert!(!snapshots.has_changed().unwrap());
    assert_eq!(snapshots.borrow().version, 1);
}

#[tokio::test(start_paused = true)]
async fn an_instance_with_a_host_name_gets_calls_once_the_name_is_looked_up() {
    let port = vec![Port {
        number: 80,
        protocol: Protocol::Http,
        tls: false,
    }];
    let stage = Stage::new()
        .instances("eureka", "orders", vec![instance("a", "h1.example", port)])
        .routes(&["orders.eureka"]);
    let look_up: LookUp = Arc::new(|name| {
        Box::pin(async move {
            assert_eq!(&*name, "h1.example");
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(vec![IpAddr::from([10, 0, 0, 7])])
        })
    });
    let held = held(&stage, look_up);
    assert!(!held.control.readiness(None).ready, "a name is still being looked up");
    endpoints(&mut held.control.snapshots(), &["10.0.0.7:80"]).await;
    assert!(held.control.readiness(None).ready);
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_once_every_registry_was_and_stays_so() {
    let unread = |stage: Stage| stage.view("consul", |view| view.caught_up = None);
    let held = held(&unread(with_instance(1)), no_names());
    let readiness = held.control.readiness(None);
    assert!(!readiness.ready);
    assert!(matches!(
        readiness.registries[&registry("eureka")],
        RegistryReadiness::CaughtUp(_)
    ));
    assert!(matches!(
        readiness.registries[&registry("consul")],
        RegistryReadiness::Waiting(_)
    ));

    let written = SystemTime::UNIX_EPOCH;
    let last_good = unread(with_instance(2)).view("consul", |view| view.last_good = Some(written));
    held.world.send_replace(Arc::new(last_good.world));
    endpoints(&mut held.control.snapshots(), &["10.0.0.1:2"]).await;
    let readiness = held.control.readiness(None);
    assert!(readiness.ready);
    assert_eq!(
        readiness.registries[&registry("consul")],
        RegistryReadiness::LastGood(written)
    );

    held.world.send_replace(Arc::new(unread(with_instance(3)).world));
    endpoints(&mut held.control.snapshots(), &["10.0.0.1:3"]).await;
    assert!(held.control.readiness(None).ready, "what serves is not taken out again");
}

#[tokio::test]
async fn an_engine_carries_the_first_snapshot_and_metrics_of_both_fit_on_one_page() {
    let held = held(&with_instance(1), no_names());
    let options = EngineOptions {
        workers: 1,
        bind_override: HashMap::from([(8080, 0)]),
        ..EngineOptions::default()
    };
    let snapshots = held.control.snapshots();
    let start = move || Engine::start(snapshots, options);
    let engine = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
    assert_eq!(engine.runtime().version(), held.control.composition().snapshot.version);

    let mut metrics = String::new();
    engine.render_metrics(&mut metrics);
    held.control.render_metrics(None, &mut metrics);
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut names: Vec<&str> = families.filter_map(|family| family.split(' ').next()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert!(count > 20 && names.len() == count, "a family is told twice:\n{metrics}");
    tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
}

#[tokio::test]
async fn dropping_the_last_clone_ends_its_tasks() {
    let held = held(&with_instance(1), no_names());
    let other = held.control.clone();
    drop(held.control);
    assert!(!held.world.is_closed());
    drop(other);
    timeout(PATIENCE, held.world.closed()).await.unwrap();
}
