//! With every registry down, Landfall starts from its last good view and says how old that is.

use landfall_tests::{
    Landfall, Load, Origin, eventually,
    faults::{Fault, FaultyRegistry},
};

/// A Landfall whose embedded registry other ones can follow over HTTP, as they would follow a real one.
async fn registry_of_its_own() -> (Landfall, u16) {
    let port = landfall_tests::landfall::free_port();
    let config = [
        format!(
            "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: own }}\nspec:\n  embedded: {{ eureka: {{ address: \"127.0.0.1:{port}\" }} }}\n"
        ),
        super::gateway(),
    ]
    .join("\n---\n");
    (Landfall::up(&config).await, port)
}

async fn register(registry: u16, id: &str, port: u16) {
    let body = serde_json::json!({"instance": {
        "instanceId": id, "hostName": "127.0.0.1", "app": "ORDERS", "ipAddr": "127.0.0.1", "status": "UP",
        "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"}, "vipAddress": "orders",
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 900},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}}});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://127.0.0.1:{registry}/eureka/apps/ORDERS");
    let answer = client.post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 204);
}

fn follower(url: &str) -> String {
    [
        format!(
            "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: eureka }}\nspec:\n  eureka: {{ urls: [\"{url}\"], poll: 200ms }}\n"
        ),
        super::gateway(),
        super::route("orders", "/", &[("orders", "eureka", 1)]),
    ]
    .join("\n---\n")
}

async fn shown(landfall: &Landfall, word: &str) {
    eventually(&format!("the registry is shown as {word}"), || async {
        let registries = landfall.admin("/api/v1/registries").await?.to_string();
        if registries.contains(&format!("\"state\":\"{word}\"")) {
            Ok(())
        } else {
            Err(registries)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_started_with_every_registry_down_it_serves_from_the_last_good_view() {
    let origin = Origin::start("orders").await;
    let (registry, port) = registry_of_its_own().await;
    register(port, "orders-1", origin.address.port()).await;
    let mut landfall = Landfall::up(&follower(&format!("http://127.0.0.1:{port}/eureka"))).await;
    eventually("the route works", || async {
        match landfall.get("/").await? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("{status} {body}")),
        }
    })
    .await;
    let view = landfall.dir.path().join("data/last-good/eureka.json");
    eventually("the view is on disk", || async {
        let text = std::fs::read_to_string(&view).map_err(|error| error.to_string())?;
        if text.contains("orders-1") { Ok(()) } else { Err(text) }
    })
    .await;
    drop(registry);
    landfall.crash_and_restart().await;
    landfall.ready().await;
    let (status, body) = landfall.get("/").await.unwrap();
    assert_eq!(status, 200, "{body}");
    shown(&landfall, "stale").await;
    let registries = landfall.admin("/api/v1/registries").await.unwrap();
    assert!(
        registries.to_string().contains("lastGood"),
        "its age is shown: {registries}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_in_any_way_costs_no_request_and_converges_afterwards() {
    let origins = [
        Origin::start("orders-1").await,
        Origin::start("orders-2").await,
        Origin::start("orders-3").await,
    ];
    let (_registry, port) = registry_of_its_own().await;
    for (number, origin) in origins.iter().enumerate() {
        register(port, &format!("orders-{number}"), origin.address.port()).await;
    }
    let faulty = FaultyRegistry::in_front_of(&format!("http://127.0.0.1:{port}")).await;
    let landfall = Landfall::up(&follower(&format!("http://{}/eureka", faulty.address))).await;
    let load = Load::start(landfall.url("/"), 3);
    for fault in [Fault::Error, Fault::Html, Fault::HalfList, Fault::Empty] {
        faulty.set(fault);
        load.at_least(30).await;
        if matches!(fault, Fault::Error | Fault::Html) {
            shown(&landfall, "stale").await;
        }
        load.at_least(300).await;
        let endpoints = landfall.admin("/api/v1/endpoints").await.unwrap().to_string();
        for origin in &origins {
            assert!(
                endpoints.contains(&origin.address.to_string()),
                "{fault:?} removed {}: {endpoints}",
                origin.address
            );
        }
        faulty.set(Fault::None);
        shown(&landfall, "live").await;
    }
    let fourth = Origin::start("orders-4").await;
    register(port, "orders-3-more", fourth.address.port()).await;
    eventually("it converges: a new instance gets traffic", || async {
        if fourth.calls() > 0 {
            Ok(())
        } else {
            Err("no call yet".to_owned())
        }
    })
    .await;
    load.stop_without_failure().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_dies_without_a_word_costs_no_client_a_failure() {
    let origins = [Origin::start("orders-1").await, Origin::start("orders-2").await];
    let (_registry, port) = registry_of_its_own().await;
    for (number, origin) in origins.iter().enumerate() {
        register(port, &format!("orders-{number}"), origin.address.port()).await;
    }
    let landfall = Landfall::up(&follower(&format!("http://127.0.0.1:{port}/eureka"))).await;
    let load = Load::start(landfall.url("/"), 3);
    load.at_least(50).await;
    let [first, second] = origins;
    drop(first);
    load.at_least(200).await;
    assert!(second.calls() > 0);
    load.stop_without_failure().await;
}
