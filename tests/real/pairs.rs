//! Consumers that find, by their own registry, what is registered in another one only: `RegistrySync` put it there.

use landfall_tests::{Landfall, estate::Estate, eventually};

use super::registry;

/// A RegistrySync in both directions, quick enough for a test.
pub(super) fn between(registries: &[&str]) -> String {
    format!(
        "apiVersion: landfall.dev/v1\nkind: RegistrySync\nmetadata: {{ name: all }}\n\
         spec: {{ between: [{}], limits: {{ settle: 100ms }} }}\n",
        registries.join(", ")
    )
}

/// Asks an application until it answers 200 with `expected` in its body.
pub(super) async fn answered(url: &str, expected: &str) {
    eventually(&format!("{url} answers with `{expected}`"), || async {
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.text().await.map_err(|error| error.to_string())?;
        match status.is_success() && body.contains(expected) {
            true => Ok(()),
            false => Err(format!("{status} {}", body.chars().take(300).collect::<String>())),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_of_eureka_and_of_consul_call_what_only_the_other_registry_has() {
    let estate = Estate::up_set(
        &["eureka", "orders", "consul", "stock", "shop", "market"],
        &["shop:CALLS=stock".to_owned(), "market:CALLS=orders".to_owned()],
    )
    .await;
    let (eureka, consul) = (estate.address("eureka").await, estate.address("consul").await);
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        between(&["eureka", "consul"]),
    ]
    .join("---\n");
    let _landfall = Landfall::up(&config).await;
    let (shop, market) = (estate.address("shop").await, estate.address("market").await);
    answered(&format!("http://{shop}/shop/orders"), "\"service\":\"stock\"").await;
    answered(&format!("http://{market}/market/orders"), "orders").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dubbo_consumer_calls_a_provider_that_only_another_zookeeper_has() {
    let estate = Estate::up_set(
        &["zookeeper", "zookeeper-2", "dubbo27"],
        &["dubbo27:HOST=own".to_owned()],
    )
    .await;
    let (one, two) = (estate.address("zookeeper").await, estate.address("zookeeper-2").await);
    estate
        .add_set(&["caller27"], &[format!("caller27:ZOOKEEPER={two}")])
        .await;
    let config = [
        registry("east", &format!("zookeeper: {{ address: \"{one}\" }}")),
        registry("west", &format!("zookeeper: {{ address: \"{two}\" }}")),
        between(&["east", "west"]),
    ]
    .join("---\n");
    let _landfall = Landfall::up(&config).await;
    let caller = estate.address("caller27").await;
    answered(&format!("http://{caller}/hello?world"), "Hello world, from dubbo27").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dubbo_3_consumer_calls_a_provider_that_only_another_zookeeper_has() {
    let estate = Estate::up_set(&["zookeeper", "zookeeper-2", "dubbo3"], &["dubbo3:HOST=own".to_owned()]).await;
    let (one, two) = (estate.address("zookeeper").await, estate.address("zookeeper-2").await);
    estate
        .add_set(&["caller3"], &[format!("caller3:ZOOKEEPER={two}")])
        .await;
    let config = [
        registry("east", &format!("zookeeper: {{ address: \"{one}\" }}")),
        registry("west", &format!("zookeeper: {{ address: \"{two}\" }}")),
        between(&["east", "west"]),
    ]
    .join("---\n");
    let _landfall = Landfall::up(&config).await;
    let caller = estate.address("caller3").await;
    answered(&format!("http://{caller}/hello?world"), "Hello world, from dubbo3").await;
}
