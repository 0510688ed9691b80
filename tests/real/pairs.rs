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
async fn dubbo_3_consumers_of_either_level_call_a_provider_that_only_another_zookeeper_has() {
    const MAPPING: &str = "/dubbo/mapping/dev.landfall.estate.GreetingService";
    let estate = Estate::up_set(&["zookeeper", "zookeeper-2", "dubbo3"], &["dubbo3:HOST=own".to_owned()]).await;
    let (one, two) = (estate.address("zookeeper").await, estate.address("zookeeper-2").await);
    // Another application serves the interface in the west, or did.
    estate.zk_create_in("zookeeper-2", MAPPING, "west-provider").await;
    let settings = [
        format!("caller3:ZOOKEEPER={two}"),
        format!("caller3-2:ZOOKEEPER={two}"),
        "caller3:MIGRATION=FORCE_INTERFACE".to_owned(),
        "caller3-2:MIGRATION=FORCE_APPLICATION".to_owned(),
    ];
    estate.add_set(&["caller3", "caller3-2"], &settings).await;
    let config = [
        registry("east", &format!("zookeeper: {{ address: \"{one}\" }}")),
        registry("west", &format!("zookeeper: {{ address: \"{two}\" }}")),
        between(&["east", "west"]),
    ]
    .join("---\n");
    let _landfall = Landfall::up(&config).await;
    for caller in ["caller3", "caller3-2"] {
        let caller = estate.address(caller).await;
        answered(&format!("http://{caller}/hello?world"), "Hello world, from dubbo3").await;
    }
    let mapped = estate.zk_get("zookeeper-2", MAPPING).await.expect("the mapping");
    assert_eq!(mapped.trim(), "west-provider,greeting-provider");

    // A native application comes beside ours. With the provider ours goes, and nothing else.
    let both = "west-provider,greeting-provider,late-provider";
    estate.zk_create_in("zookeeper-2", MAPPING, both).await;
    estate.stop("dubbo3").await;
    eventually("the copies are gone", || async {
        let nobody = |names: Result<String, String>| names.is_err() || names.is_ok_and(|names| names.trim().is_empty());
        let instances = estate.zk_list("zookeeper-2", "/services/greeting-provider").await;
        let documents = estate.zk_list("zookeeper-2", "/dubbo/metadata/greeting-provider").await;
        let mapped = estate.zk_get("zookeeper-2", MAPPING).await?;
        match nobody(instances.clone()) && nobody(documents.clone()) && mapped.trim() == "west-provider,late-provider" {
            true => Ok(()),
            false => Err(format!("{instances:?}, {documents:?}, {mapped}")),
        }
    })
    .await;
}

/// Dubbo's naming in Nacos, both ways: each consumer knows its own registry alone.
#[tokio::test(flavor = "multi_thread")]
async fn dubbo_consumers_call_across_nacos_and_zookeeper() {
    let estate = Estate::up(&["nacos", "zookeeper"]).await;
    let (nacos, zookeeper) = (estate.address("nacos").await, estate.address("zookeeper").await);
    let settings = [
        "dubbo3:HOST=own".to_owned(),
        format!("dubbo3:REGISTRY=nacos://{nacos}"),
        "dubbo3:APPLICATION=nacos-provider".to_owned(),
        "dubbo3:GROUP=nacos".to_owned(),
        "caller3:GROUP=nacos".to_owned(),
        "dubbo3-2:HOST=own".to_owned(),
        "dubbo3-2:GROUP=zookeeper".to_owned(),
        "caller3-2:GROUP=zookeeper".to_owned(),
        format!("caller3-2:REGISTRY=nacos://{nacos}"),
    ];
    let parts = ["dubbo3", "dubbo3-2", "caller3", "caller3-2"];
    estate.add_set(&parts, &settings).await;
    let config = [
        registry("nacos", &format!("nacos: {{ addresses: [\"{nacos}\"] }}")),
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\" }}")),
        between(&["nacos", "zookeeper"]),
    ]
    .join("---\n");
    let _landfall = Landfall::up(&config).await;
    for (caller, provider) in [("caller3", "dubbo3"), ("caller3-2", "dubbo3-2")] {
        let caller = estate.address(caller).await;
        answered(
            &format!("http://{caller}/hello?world"),
            &format!("Hello world, from {provider}"),
        )
        .await;
    }
}
