//! Instances that come, leave and die in real registries, under load.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use landfall_tests::{Landfall, Load, Origin, estate::Estate, eventually};
use serde_json::json;
use zookeeper_client::{Acls, Client, CreateMode};

use super::{answers, endpoint, gateway, registry};

const SECOND: Duration = Duration::from_secs(1);

/// Waits until the metric has counted a change that was followed to the data path, by that word of `since`.
async fn delay_is_measured(landfall: &Landfall, since: &str) {
    let name = format!("landfall_change_to_first_use_seconds_count{{since=\"{since}\"}} ");
    eventually("the delay from change to data path is a metric", || async {
        let metrics = landfall.metrics().await?;
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        match count.and_then(|count| count.parse::<f64>().ok()) {
            Some(count) if count > 0.0 => Ok(()),
            _ => Err(metrics),
        }
    })
    .await;
}

/// From a registry's own call to the data path and out of it, under load: an instance that is registered gets its first
/// call, and one that is deregistered its last, within `limit` of the beginning of that call. No call fails.
async fn a_change_takes_effect<Call>(
    landfall: &Landfall,
    path: &str,
    limit: Duration,
    change: impl Fn(&'static str, SocketAddr, bool) -> Call,
) where
    Call: Future<Output = ()>,
{
    let (stays, comes) = (Origin::start("stays").await, Origin::start("comes").await);
    change("stays", stays.address, true).await;
    answers(landfall, path).await;
    let load = Load::start(landfall.url(path), 3);
    load.at_least(100).await;

    let registered = Instant::now();
    change("comes", comes.address, true).await;
    eventually("the instance that comes is called", || async {
        comes
            .first_and_last()
            .map(|_| ())
            .ok_or_else(|| "no call yet".to_owned())
    })
    .await;
    let [first, _] = comes.first_and_last().unwrap();
    let took = first - registered;
    assert!(took < limit, "registered, and first called after {took:?}");
    load.at_least(100).await;

    let deregistered = Instant::now();
    change("comes", comes.address, false).await;
    // Calls that begin later than that must go elsewhere, so there have to be some.
    tokio::time::sleep_until((deregistered + limit).into()).await;
    load.at_least(300).await;
    let [_, last] = comes.first_and_last().unwrap();
    let left = last.saturating_duration_since(deregistered);
    assert!(left < limit, "deregistered, and last called after {left:?}");
    load.stop_without_failure().await;
    println!("first call {took:?} after registering, last call {left:?} after deregistering");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_consul_takes_effect_within_a_second() {
    let estate = Estate::up(&["consul"]).await;
    let consul = estate.address("consul").await;
    let config = [
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        gateway(&[("prompt", "/prompt", "prompt", "consul")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let agent = format!("http://{consul}/v1/agent/service");
    a_change_takes_effect(&landfall, "/prompt", SECOND, |id, address, comes| {
        let (agent, client) = (agent.clone(), landfall.client.clone());
        async move {
            let call = if comes {
                let service = json!({"ID": id, "Name": "prompt", "Address": "127.0.0.1", "Port": address.port()});
                client.put(format!("{agent}/register")).json(&service)
            } else {
                client.put(format!("{agent}/deregister/{id}"))
            };
            assert!(call.send().await.unwrap().status().is_success());
        }
    })
    .await;
    delay_is_measured(&landfall, "answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_zookeeper_takes_effect_within_a_second() {
    let estate = Estate::up(&["zookeeper"]).await;
    let zookeeper = estate.address("zookeeper").await;
    let config = [
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\" }}")),
        gateway(&[("prompt", "/prompt", "test.Prompt", "zookeeper")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let client = Client::connect(&zookeeper).await.unwrap();
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let providers = "/dubbo/test.Prompt/providers";
    client.mkdir(providers, &persistent).await.unwrap();
    a_change_takes_effect(&landfall, "/prompt", SECOND, |id, address, comes| {
        let client = client.clone();
        async move {
            // As Dubbo writes it: a provider is the name of a node, its URL encoded.
            let url = format!(
                "rest%3A%2F%2F127.0.0.1%3A{}%2Ftest.Prompt%3Finterface%3Dtest.Prompt%26application%3D{id}\
                 %26side%3Dprovider",
                address.port()
            );
            let node = format!("{providers}/{url}");
            if comes {
                let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
                client.create(&node, b"", &ephemeral).await.unwrap();
            } else {
                client.delete(&node, None).await.unwrap();
            }
        }
    })
    .await;
    delay_is_measured(&landfall, "registry").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_eureka_takes_effect_within_a_second_and_the_poll() {
    // Without the server's own cache of a second, which is no delay of ours.
    let estate = Estate::up_alone(&["eureka"], &["eureka:READ_ONLY_CACHE=false".to_owned()]).await;
    let eureka = estate.address("eureka").await;
    let poll = Duration::from_secs(1);
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 1s }}"),
        ),
        gateway(&[("prompt", "/prompt", "prompt", "eureka")]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let application = format!("http://{eureka}/eureka/apps/PROMPT");
    a_change_takes_effect(&landfall, "/prompt", poll + SECOND, |id, address, comes| {
        let (application, client) = (application.clone(), landfall.client.clone());
        async move {
            let call = if comes {
                let owner =
                    json!({"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"});
                client.post(&application).json(&json!({"instance": {
                    "instanceId": id, "hostName": "127.0.0.1", "ipAddr": "127.0.0.1", "app": "PROMPT",
                    "vipAddress": "prompt", "status": "UP", "dataCenterInfo": owner,
                    "port": {"$": address.port(), "@enabled": "true"},
                }}))
            } else {
                client.delete(format!("{application}/{id}"))
            };
            assert!(call.send().await.unwrap().status().is_success());
        }
    })
    .await;
    delay_is_measured(&landfall, "registry").await;
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
    delay_is_measured(&landfall, "registry").await;
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
    delay_is_measured(&landfall, "answer").await;
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
    delay_is_measured(&landfall, "registry").await;
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
