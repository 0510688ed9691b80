//! Real Spring Cloud applications register with the embedded registry, as they would with Eureka.

use landfall_tests::{Landfall, Load, estate::Estate, eventually, landfall};

use super::{answers, gateway, registry};

#[tokio::test(flavor = "multi_thread")]
async fn spring_applications_register_with_the_embedded_registry_and_find_each_other_through_its_crash() {
    let port = landfall::free_port();
    let config = [
        registry(
            "own",
            &format!("embedded: {{ eureka: {{ address: \"127.0.0.1:{port}\" }} }}"),
        ),
        gateway(&[("orders", "/orders", "orders", "own"), ("shop", "/shop", "shop", "own")]),
    ]
    .join("---\n");
    let mut landfall = Landfall::up(&config).await;
    let url = format!("EUREKA_URL=http://127.0.0.1:{port}/eureka/");
    let estate = Estate::up_alone(&["orders", "shop"], &[format!("orders:{url}"), format!("shop:{url}")]).await;
    assert!(answers(&landfall, "/orders").await.contains("orders"));
    // The consumer finds the provider in the same registry, by its own client.
    assert!(answers(&landfall, "/shop/orders").await.contains("orders"));
    // A crash in the middle: the applications go on calling each other, and nobody has to register again.
    let load = Load::start(format!("http://{}/shop/orders", estate.address("shop").await), 2);
    load.at_least(50).await;
    landfall.crash_and_restart().await;
    landfall.ready().await;
    let services = landfall.admin("/api/v1/services?registry=own").await;
    let services = services.expect("the services of the registry").to_string();
    assert!(
        services.contains("\"orders\"") && services.contains("\"shop\""),
        "{services}"
    );
    load.at_least(200).await;
    load.stop_without_failure().await;
    assert!(answers(&landfall, "/orders").await.contains("orders"));
    estate.stop("orders").await;
    eventually("the application that said good-bye is gone", || async {
        let services = landfall.admin("/api/v1/services?registry=own&name=orders").await?;
        let left = services["services"][0]["instances"].as_array().map_or(0, Vec::len);
        if left == 0 { Ok(()) } else { Err(services.to_string()) }
    })
    .await;
}
