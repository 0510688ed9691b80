//! Unmodified Dubbo consumers and providers that name different versions and groups: the gateway leads calls by its rules, and each
//! provider is called by the version and group that it exports.

use std::collections::BTreeSet;

use landfall_tests::{Landfall, estate::Estate, eventually, landfall::free_port};

use super::registry;

const GREETING: &str = "dev.landfall.estate.GreetingService";

fn config(zookeeper: &str, port: u16) -> String {
    [
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\", sessionTimeout: 4s }}")),
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec:\n  gatewayClassName: \
             landfall\n  listeners: [{{ name: calls, port: {port}, protocol: Dubbo }}]\n"
        ),
        // Without weights each gets its half.
        format!(
            "apiVersion: landfall.dev/v1\nkind: DubboRoute\nmetadata: {{ name: greeting }}\nspec:\n  parentRefs: [{{ name: edge \
             }}]\n  rules:\n    - matches: [{{ interface: {{ value: {GREETING} }} }}]\n      backendRefs: [{{ name: \
             \"{GREETING}:1.0.0\", namespace: zookeeper }}, {{ name: \"gray/{GREETING}:2.0.0\", namespace: zookeeper }}]\n"
        ),
    ]
    .join("---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_of_one_version_get_answers_from_providers_of_another_version_and_group() {
    let port = free_port();
    let providers = ["dubbo3:VERSION=1.0.0", "dubbo3-2:VERSION=2.0.0", "dubbo3-2:GROUP=gray"].map(str::to_owned);
    let estate = Estate::up_set(&["zookeeper", "dubbo3", "dubbo3-2"], &providers).await;
    let _landfall = Landfall::up(&config(&estate.address("zookeeper").await, port)).await;
    let caller = [
        format!("caller3:URL=dubbo://127.0.0.1:{port}"),
        "caller3:VERSION=1.0.0".to_owned(),
        "caller3:RETRIES=0".to_owned(),
        "caller3:TIMEOUT_MS=5000".to_owned(),
    ];
    estate.add_set(&["caller3"], &caller).await;
    let url = format!("http://{}/hello?world", estate.address("caller3").await);
    let ask = || async {
        let answer = reqwest::get(&url).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    eventually("a call is answered", || async {
        match ask().await {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let mut answered = BTreeSet::new();
    for _ in 0..64 {
        let (status, text) = ask().await;
        assert_eq!(status, 200, "{text}");
        answered.insert(text);
    }
    let expected = ["Hello world, from dubbo3", "Hello world, from dubbo3-2"].map(str::to_owned);
    assert_eq!(answered, BTreeSet::from(expected));
}
