//! Pages of what is written from registry to registry.

use std::{path::Path, sync::Arc};

use landfall_adapters::{
    election::Standing,
    publish::{self, Permit},
    sync::{RegistrySync, SyncOptions},
};
use serde_json::Value;
use tokio::sync::watch;

use super::Server;
use crate::{testing::Stage, writing::WritingView};

/// `orders` of Eureka is to be written into Consul, when it is applied; this process may not write.
const DOCUMENTS: &str = "apiVersion: landfall.dev/v1
kind: Registry
metadata: { name: eureka }
spec: { eureka: { urls: [\"http://127.0.0.1:1/eureka\"] } }
---
apiVersion: landfall.dev/v1
kind: Registry
metadata: { name: consul }
spec: { consul: { address: \"http://127.0.0.1:1\" } }
---
apiVersion: landfall.dev/v1
kind: RegistrySync
metadata: { name: all }
spec: { mode: plan, from: [eureka], to: [consul], limits: { settle: 1ms } }
";

async fn serve() -> (Server, Arc<RegistrySync>) {
    let stage = Stage::new().service("eureka", "orders", &["10.0.0.1:80"]);
    let config = landfall_config::load::load_text("sync.yaml", Path::new("."), DOCUMENTS).unwrap();
    let permit = Permit::refused();
    let held = permit.clone();
    let sync = Arc::new(RegistrySync::start(SyncOptions {
        world: watch::Sender::new(Arc::new(stage.world.clone())).subscribe(),
        connect: Arc::new(move |registry| {
            publish::connect(registry, "c1", held.clone()).map_err(|error| error.to_string())
        }),
        cluster: "c1".into(),
        permit,
        data_dir: None,
    }));
    sync.set(config.syncs.clone(), config.registries.clone()).await;
    let mut plans = sync.plans();
    let planned = plans.wait_for(|plan| plan.waiting() == 1);
    let planned = tokio::time::timeout(std::time::Duration::from_secs(20), planned).await;
    planned.expect("a plan").expect("sync runs");
    let writing = WritingView {
        sync: sync.clone(),
        standing: watch::Sender::new(Standing::Writer {
            since: std::time::SystemTime::now(),
            epoch: 7,
        })
        .subscribe(),
    };
    (Server::serve(&stage, stage.config(), None, Some(writing)).await, sync)
}

/// The example of a page in the reference.
fn example(page: &str) -> Value {
    let reference = include_str!("../../../../docs/admin-api.md");
    let (_, section) = reference
        .split_once(&format!("localhost:15000{page}\n"))
        .expect("the page is shown");
    let (_, example) = section.split_once("```json\n").expect("with an example");
    serde_json::from_str(example.split_once("```").unwrap().0).expect("that is JSON")
}

fn keys(value: &Value) -> Vec<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

#[tokio::test]
async fn what_is_to_be_written_is_shown_before_the_first_write() {
    let (server, _sync) = serve().await;
    let (status, plan) = server.get("/api/v1/sync/plan").await;
    assert_eq!(status, 200);
    let addition = &plan["targets"]["consul"]["additions"][0];
    assert_eq!(
        (&addition["service"], &addition["origin"], &addition["waits"]),
        (&"orders".into(), &"eureka/orders/10.0.0.1:80".into(), &true.into())
    );
    assert_eq!(plan["waiting"], 1);
    let told = example("/api/v1/sync/plan");
    assert_eq!(keys(&told), keys(&plan));
    assert_eq!(keys(&told["targets"]["consul"]), keys(&plan["targets"]["consul"]));
    assert_eq!(keys(&told["targets"]["consul"]["additions"][0]), keys(addition));

    let (status, sync) = server.get("/api/v1/sync").await;
    assert_eq!((status, &sync["writer"]["epoch"]), (200, &7.into()));
    let target = &sync["targets"][0];
    assert_eq!((&target["registry"], &target["waiting"]), (&"consul".into(), &1.into()));
    let told = example("/api/v1/sync");
    assert_eq!(keys(&told), keys(&sync));
    for key in keys(target) {
        assert!(told["targets"][0].get(&key).is_some(), "the reference lacks `{key}`");
    }
}

#[tokio::test]
async fn a_plan_is_applied_only_by_who_means_it() {
    let (server, sync) = serve().await;
    let post = |query: &str, header: &str| {
        format!(
            "POST /api/v1/sync/apply{query} HTTP/1.1\r\nhost: localhost\r\n{header}content-length: 0\r\nconnection: close\r\n\r\n"
        )
    };
    let meant = "x-landfall: 1\r\n";
    let digest = sync.plan().digest.clone();
    for (request, status, word) in [
        (post(&format!("?plan={digest}"), ""), 403, "x-landfall"),
        (post("", meant), 400, "plan"),
        (post("?plan=old", meant), 409, "mend"),
        // The plan is right, but another process writes.
        (post(&format!("?plan={digest}"), meant), 409, "not the writer"),
    ] {
        let (got, _, body) = server.send(&request).await;
        assert_eq!(got, status, "{request}{body}");
        assert!(body.contains(word), "{body}");
    }
    let (status, head, _) = server
        .send("GET /api/v1/sync/apply HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(status, 405);
    assert!(head.contains("allow: post"), "{head}");
}

#[tokio::test]
async fn a_process_that_writes_nowhere_says_so() {
    let server = Server::start(&Stage::new(), None).await;
    let (status, refusal) = server.get("/api/v1/sync").await;
    assert_eq!(status, 503);
    assert!(refusal["error"].as_str().unwrap().contains("writes into no registry"));
}
