//! Instances that come, leave and die in real registries, under load.

use landfall_tests::{Landfall, Load, estate::Estate, eventually};
use serde_json::json;

use super::{answers, endpoint, gateway, registry};

/// Waits until the metric says that a registry's own change has been followed to the data path.
async fn delay_is_measured(landfall: &Landfall) {
    eventually("the delay from change to data path is a metric", || async {
        let metrics = landfall.metrics().await?;
        let count = metrics
            .lines()
            .find(|line| line.starts_with("landfall_change_to_first_use_seconds_count"));
        match count
            .and_then(|line| line.rsplit(' ').next())
            .and_then(|count| count.parse::<f64>().ok())
        {
            Some(count) if count > 0.0 => Ok(()),
            _ => Err(metrics),
        }
    })
    .await;
}

/// Under load: `parts[0]` says good-bye, `parts[1]` comes and is then killed. No call fails. `port` names the port that
/// an instance serves on.
async fn one_leaves_one_comes_and_dies(estate: &Estate, landfall: &Landfall, path: &str, parts: [&str; 2], port: &str) {
    answers(landfall, path).await;
    let leaving = format!("127.0.0.1:{}", estate.port(parts[0], port).await);
    endpoint(landfall, &leaving, true).await;
    let load = Load::start(landfall.url(path), 3);
    load.at_least(50).await;

    estate.stop(parts[0]).await;
    endpoint(landfall, &leaving, false).await;
    load.at_least(50).await;

    estate.add(&[parts[1]]).await;
    let coming = format!("127.0.0.1:{}", estate.port(parts[1], port).await);
    endpoint(landfall, &coming, true).await;
    load.at_least(50).await;

    estate.kill(parts[1]).await;
    load.at_least(200).await;
    endpoint(landfall, &coming, false).await;
    load.stop_without_failure().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eureka_instances_come_leave_and_die_without_a_failed_request() {
    let estate = Estate::up(&["eureka", "orders", "orders-2"]).await;
    let eureka = estate.address("eureka").await;
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
        ),
        gateway(&[("orders", "/orders", "orders", "eureka")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    one_leaves_one_comes_and_dies(&estate, &landfall, "/orders", ["orders-2", "orders-3"], "http").await;
    delay_is_measured(&landfall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consul_instances_come_leave_and_die_without_a_failed_request() {
    let estate = Estate::up(&["consul", "stock", "stock-2"]).await;
    let consul = estate.address("consul").await;
    let config = [
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        gateway(&[("stock", "/stock", "stock", "consul")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    one_leaves_one_comes_and_dies(&estate, &landfall, "/stock", ["stock-2", "stock-3"], "http").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dubbo_instances_come_leave_and_die_without_a_failed_request() {
    let estate = Estate::up(&["zookeeper", "dubbo3", "dubbo3-2"]).await;
    let zookeeper = estate.address("zookeeper").await;
    let service = "dev.landfall.estate.GreetingService";
    let config = [
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\" }}")),
        gateway(&[("greeting", &format!("/{service}"), service, "zookeeper")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let path = format!("/{service}/sayHello?name=world");
    one_leaves_one_comes_and_dies(&estate, &landfall, &path, ["dubbo3-2", "dubbo3-3"], "tri").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_check_in_consul_takes_an_instance_out_and_a_passing_one_brings_it_back() {
    let estate = Estate::up(&["consul", "stock", "stock-2"]).await;
    let consul = estate.address("consul").await;
    let config = [
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        gateway(&[("stock", "/stock", "stock", "consul")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let second = estate.address("stock-2").await;
    endpoint(&landfall, &second, true).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let tell = |what: &'static str| {
        client
            .put(format!("http://{second}/health/{what}"))
            .json(&json!({}))
            .send()
    };
    assert!(tell("fail").await.unwrap().status().is_success());
    endpoint(&landfall, &second, false).await;
    assert!(
        landfall
            .admin("/api/v1/services")
            .await
            .unwrap()
            .to_string()
            .contains("critical")
    );
    assert!(tell("pass").await.unwrap().status().is_success());
    endpoint(&landfall, &second, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dubbo_provider_that_stops_leaves_zookeepers_view_and_comes_back_to_it() {
    let estate = Estate::up(&["zookeeper", "dubbo3", "dubbo27"]).await;
    let zookeeper = estate.address("zookeeper").await;
    let config = [
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\" }}")),
        gateway(&[]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let services = || async {
        landfall
            .admin("/api/v1/services")
            .await
            .map(|services| services.to_string())
    };
    let legacy = "dev.landfall.estate.LegacyGreetingService";
    let address = format!("127.0.0.1:{}", estate.port("dubbo27", "dubbo").await);
    eventually("both providers are seen", || async {
        let services = services().await?;
        let seen = ["dev.landfall.estate.GreetingService", legacy, &address]
            .iter()
            .all(|text| services.contains(*text));
        if seen { Ok(()) } else { Err(services) }
    })
    .await;
    estate.stop("dubbo27").await;
    eventually("the stopped provider is gone", || async {
        let services = services().await?;
        if services.contains(&address) {
            Err(services)
        } else {
            Ok(())
        }
    })
    .await;
    estate.start("dubbo27").await;
    eventually("the started provider is back", || async {
        let services = services().await?;
        if services.contains(legacy) && services.contains(&address) {
            Ok(())
        } else {
            Err(services)
        }
    })
    .await;
}
