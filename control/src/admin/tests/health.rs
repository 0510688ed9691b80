//! Whether the process lives and is ready, and its figures.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_model::world::Session;
use serde_json::json;

use super::{Server, Told, estate};

#[tokio::test]
async fn health_says_that_the_process_lives_whatever_the_registries_do() {
    let stage = estate().view("consul", |view| view.caught_up = None);
    let server = Server::start(&stage, None).await;
    assert_eq!(server.text("/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn ready_means_that_every_registry_is_and_that_the_data_path_carries_it() {
    let now = SystemTime::now();
    let stale = Session::Stale {
        since: now,
        why: "no answer from 10.9.9.9".into(),
        retry_at: now,
    };
    let unread = estate()
        .session("consul", stale)
        .view("consul", |view| view.caught_up = None);
    let server = Server::start(&unread, None).await;
    let (status, body) = server.get("/readyz").await;
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    assert_eq!(body["waitingFor"], json!(["registry consul: no answer from 10.9.9.9"]));
    assert_eq!(body["registries"][1]["state"], "caughtUp", "{body}");

    let last_good = unread.view("consul", |view| view.last_good = Some(now - Duration::from_secs(600)));
    server.world.send_replace(Arc::new(last_good.world));
    let taken = |c: &Arc<crate::control::Composition>| c.world.registries.values().all(|view| view.is_ready());
    server.control.compositions().wait_for(taken).await.unwrap();
    let (status, body) = server.get("/readyz").await;
    assert_eq!((status, &body["waitingFor"]), (200, &json!([])));
    let consul = &body["registries"][0];
    assert_eq!(consul["state"], "lastGood");
    assert!(consul["ageSeconds"].as_f64().unwrap() >= 600.0, "{body}");

    for (version, bound, status) in [(0, true, 503), (1, false, 503), (1, true, 200)] {
        let server = Server::start(&estate(), Some(Told { version, bound })).await;
        let (got, body) = server.get("/readyz").await;
        assert_eq!(got, status, "{body}");
        assert_eq!(body["waitingFor"].as_array().unwrap().is_empty(), status == 200);
    }
}

#[tokio::test]
async fn metrics_of_all_parts_are_on_one_page_and_well_formed() {
    let server = Server::start(
        &estate(),
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;
    let (status, text) = server.text("/metrics").await;
    assert_eq!(status, 200);
    for expected in [
        "landfall_data_path 1",
        "landfall_registries_told 1",
        "landfall_config_version 1",
        "landfall_control_snapshot_version 1",
        "landfall_control_backends_missing 1",
        "landfall_control_clusters 3",
        "landfall_control_clusters_empty 1",
        "landfall_control_endpoints 3",
        "landfall_ready 1",
        "landfall_control_compose_duration_seconds_count 1",
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected} is not in\n{text}"
        );
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}
