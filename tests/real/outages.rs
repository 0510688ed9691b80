//! Registries that fail in every way they can, while requests go on.

use landfall_tests::{
    Landfall, Load,
    estate::Estate,
    eventually,
    faults::{Fault, FaultyRegistry},
};

use super::{answers, endpoint, gateway, is_endpoint, registry, shown};

/// While `fault` lasts nothing that serves is removed; afterwards the view is live again.
async fn endure(landfall: &Landfall, load: &Load, registry: &FaultyRegistry, fault: Fault, instances: &[String]) {
    registry.set(fault);
    if matches!(fault, Fault::Error | Fault::Html) {
        shown(landfall, "stale").await;
    }
    load.at_least(300).await;
    for instance in instances {
        assert!(
            is_endpoint(landfall, instance).await.unwrap(),
            "{fault:?} removed {instance}"
        );
    }
    registry.set(Fault::None);
    shown(landfall, "live").await;
}

/// After many attempts the pause before the next one may be half a minute.
async fn live_again(landfall: &Landfall) {
    eventually("the registry is live again", || async {
        let registries = landfall.admin("/api/v1/registries").await?.to_string();
        if registries.contains("\"state\":\"live\"") {
            Ok(())
        } else {
            Err(registries)
        }
    })
    .await;
}

/// Every list of Consul's is halved: the registry is stale and says why, in the session that saw it begin and in those
/// that begin with it; nothing is removed, and afterwards the view is live again.
async fn half_lists_are_seen_through(
    landfall: &Landfall,
    load: &Load,
    registry: &FaultyRegistry,
    instances: &[String],
) {
    registry.set(Fault::HalfList);
    shown(landfall, "stale").await;
    for why in ["half an answer", "/v1/catalog/node-services/"] {
        eventually(&format!("it says why: {why}"), || async {
            let registries = landfall.admin("/api/v1/registries").await?.to_string();
            let says = registries.contains("\"state\":\"stale\"") && registries.contains(why);
            if says { Ok(()) } else { Err(registries) }
        })
        .await;
    }
    load.at_least(500).await;
    for instance in instances {
        assert!(
            is_endpoint(landfall, instance).await.unwrap(),
            "half a list removed {instance}"
        );
    }
    shown(landfall, "stale").await;
    registry.set(Fault::None);
    live_again(landfall).await;
    for instance in instances {
        assert!(
            is_endpoint(landfall, instance).await.unwrap(),
            "{instance} is lost afterwards"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_eureka_that_fails_removes_nothing_that_is_not_gone() {
    let estate = Estate::up(&["eureka", "orders", "orders-2"]).await;
    let eureka = estate.address("eureka").await;
    let faulty = FaultyRegistry::in_front_of(&format!("http://{eureka}")).await;
    let config = [
        registry(
            "eureka",
            &format!(
                "eureka: {{ urls: [\"http://{}/eureka\"], poll: 500ms }}",
                faulty.address
            ),
        ),
        gateway(&[("orders", "/orders", "orders", "eureka")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    answers(&landfall, "/orders").await;
    let instances = [estate.address("orders").await, estate.address("orders-2").await];
    for instance in &instances {
        endpoint(&landfall, instance, true).await;
    }
    let load = Load::start(landfall.url("/orders"), 3);
    for fault in [Fault::Error, Fault::Html, Fault::HalfList] {
        endure(&landfall, &load, &faulty, fault, &instances).await;
    }
    estate.stop("eureka").await;
    shown(&landfall, "stale").await;
    load.at_least(100).await;
    estate.start_empty("eureka").await;
    shown(&landfall, "live").await;
    load.at_least(300).await;
    for instance in &instances {
        endpoint(&landfall, instance, true).await;
    }
    estate.add(&["orders-3"]).await;
    endpoint(&landfall, &estate.address("orders-3").await, true).await;
    load.stop_without_failure().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_consul_that_fails_removes_nothing_that_is_not_gone() {
    // Half of two is one: it reads like one instance's good-bye.
    let parts = ["stock", "stock-2"];
    let estate = Estate::up(&parts).await;
    let consul = estate.address("consul").await;
    let faulty = FaultyRegistry::in_front_of(&format!("http://{consul}")).await;
    let config = [
        registry(
            "consul",
            &format!("consul: {{ address: \"http://{}\", wait: 2s }}", faulty.address),
        ),
        gateway(&[("stock", "/stock", "stock", "consul")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    answers(&landfall, "/stock").await;
    let mut instances = Vec::new();
    for part in parts {
        instances.push(estate.address(part).await);
    }
    for instance in &instances {
        endpoint(&landfall, instance, true).await;
    }
    let load = Load::start(landfall.url("/stock"), 3);
    for fault in [Fault::Error, Fault::Html] {
        endure(&landfall, &load, &faulty, fault, &instances).await;
    }
    half_lists_are_seen_through(&landfall, &load, &faulty, &instances).await;
    estate.add(&["stock-3"]).await;
    let third = estate.address("stock-3").await;
    endpoint(&landfall, &third, true).await;
    half_lists_are_seen_through(
        &landfall,
        &load,
        &faulty,
        &[instances.clone(), vec![third.clone()]].concat(),
    )
    .await;
    // One really leaves while the lists are halved: it goes when they are whole again, and it alone.
    faulty.set(Fault::HalfList);
    shown(&landfall, "stale").await;
    estate.stop("stock-3").await;
    load.at_least(100).await;
    faulty.set(Fault::None);
    live_again(&landfall).await;
    endpoint(&landfall, &third, false).await;
    for instance in &instances {
        assert!(
            is_endpoint(&landfall, instance).await.unwrap(),
            "{instance} has gone too"
        );
    }
    estate.stop("consul").await;
    shown(&landfall, "stale").await;
    load.at_least(100).await;
    estate.start_empty("consul").await;
    shown(&landfall, "live").await;
    load.at_least(300).await;
    for instance in &instances {
        endpoint(&landfall, instance, true).await;
    }
    load.stop_without_failure().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_zookeeper_that_stops_and_starts_removes_no_provider_that_serves() {
    let estate = Estate::up(&["zookeeper", "dubbo3"]).await;
    let zookeeper = estate.address("zookeeper").await;
    let service = "dev.landfall.estate.GreetingService";
    let config = [
        registry(
            "zookeeper",
            &format!("zookeeper: {{ address: \"{zookeeper}\", sessionTimeout: 4s }}"),
        ),
        gateway(&[("greeting", &format!("/{service}"), service, "zookeeper")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let path = format!("/{service}/sayHello?name=world");
    assert!(answers(&landfall, &path).await.contains("Hello world"));
    let load = Load::start(landfall.url(&path), 2);
    load.at_least(30).await;
    estate.stop("zookeeper").await;
    shown(&landfall, "stale").await;
    load.at_least(100).await;
    estate.start("zookeeper").await;
    shown(&landfall, "live").await;
    load.at_least(100).await;
    estate.stop("zookeeper").await;
    shown(&landfall, "stale").await;
    estate.start_empty("zookeeper").await;
    shown(&landfall, "live").await;
    load.at_least(200).await;
    load.stop_without_failure().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn started_with_every_real_registry_down_it_serves_from_the_last_good_view() {
    let estate = Estate::up(&["eureka", "orders", "consul", "stock"]).await;
    let (eureka, consul) = (estate.address("eureka").await, estate.address("consul").await);
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        gateway(&[
            ("orders", "/orders", "orders", "eureka"),
            ("stock", "/stock", "stock", "consul"),
        ]),
    ]
    .join("---\n");
    let mut landfall = Landfall::up(&config).await;
    answers(&landfall, "/orders").await;
    answers(&landfall, "/stock").await;
    for (name, instance) in [("eureka", "orders"), ("consul", "stock")] {
        let view = landfall.dir.path().join(format!("data/last-good/{name}.json"));
        eventually(&format!("the view of {name} is on disk"), || async {
            let text = std::fs::read_to_string(&view).map_err(|error| error.to_string())?;
            if text.contains(instance) { Ok(()) } else { Err(text) }
        })
        .await;
    }
    estate.kill("eureka").await;
    estate.kill("consul").await;
    landfall.crash_and_restart().await;
    landfall.ready().await;
    for path in ["/orders", "/stock"] {
        let (status, body) = landfall.get(path).await.unwrap();
        assert_eq!(status, 200, "{path}: {body}");
    }
    shown(&landfall, "stale").await;
    assert!(
        landfall
            .admin("/api/v1/registries")
            .await
            .unwrap()
            .to_string()
            .contains("lastGood")
    );
}
