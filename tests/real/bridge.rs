//! `examples/three-registries.yaml` as it stands, against the whole estate.

use landfall_tests::{Landfall, estate::Estate, eventually, landfall};

use super::answers;

#[tokio::test(flavor = "multi_thread")]
async fn one_gateway_routes_to_services_of_real_eureka_consul_and_zookeeper() {
    let estate = Estate::up(&["orders", "shop", "stock", "dubbo3", "dubbo27"]).await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/three-registries.yaml");
    let text = std::fs::read_to_string(example).unwrap();
    let port = landfall::free_port();
    let variables = [
        (
            "EUREKA_URL",
            format!("http://{}/eureka", estate.address("eureka").await),
        ),
        ("CONSUL_URL", format!("http://{}", estate.address("consul").await)),
        ("ZOOKEEPER", estate.address("zookeeper").await),
    ];
    for (name, _) in &variables {
        assert!(text.contains(name), "the example reads {name}");
    }
    let landfall = Landfall::up_example(example, port, 8080, &variables).await;

    assert!(answers(&landfall, "/orders").await.contains("orders"));
    assert!(answers(&landfall, "/stock").await.contains("stock"));
    assert!(
        answers(&landfall, "/greeting/sayHello?name=world")
            .await
            .contains("Hello world")
    );

    eventually("get services shows the providers of both levels", || async {
        let admin = format!("127.0.0.1:{}", landfall.admin);
        let (code, out, err) = landfall::run(&["get", "services", "--admin", &admin]);
        let expected = [
            "orders",
            "shop",
            "stock",
            "dev.landfall.estate.GreetingService",
            "dev.landfall.estate.LegacyGreetingService",
            "greeting-provider",
        ];
        let missing: Vec<_> = expected.into_iter().filter(|name| !out.contains(name)).collect();
        if code == 0 && missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?} missing: {code} {out}{err}"))
        }
    })
    .await;
    let shop = reqwest::get(format!("http://{}/shop/orders", estate.address("shop").await))
        .await
        .unwrap();
    assert!(shop.status().is_success(), "the applications' own way still works");
}
