//! Dubbo's own consumers, 2.7 and 3.3, call its own providers through the gateway by Dubbo2.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use landfall_tests::{Landfall, estate::Estate, eventually, landfall::free_port};

use super::{pairs::answered, registry};

const GREETING: &str = "dev.landfall.estate.GreetingService";
const LEGACY: &str = "dev.landfall.estate.LegacyGreetingService";

/// A Dubbo listener on that port, and both services behind it. The consumers try nothing again themselves.
fn config(zookeeper: &str, port: u16) -> String {
    let rule = |service: &str| {
        format!(
            "    - matches: [{{ interface: {{ value: {service} }}, arguments: {{ count: 1, values: [{{ index: 0, value: stopped }}] }} }}]\n      \
             filters: [{{ type: Fault, fault: {{ abort: {{ status: 70 }} }} }}]\n    \
             - matches: [{{ interface: {{ value: {service} }} }}]\n      backendRefs: [{{ name: {service}, namespace: \
             zookeeper }}]\n      idempotentMethods: [{{ value: sayHello }}]\n"
        )
    };
    let gateway = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec:\n  \
         gatewayClassName: landfall\n  listeners: [{{ name: calls, port: {port}, protocol: Dubbo }}]\n---\n\
         apiVersion: landfall.dev/v1\nkind: DubboRoute\nmetadata: {{ name: greetings }}\nspec:\n  parentRefs: [{{ name: edge \
         }}]\n  rules:\n{}{}",
        rule(GREETING),
        rule(LEGACY)
    );
    [
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\", sessionTimeout: 4s }}")),
        gateway,
        "apiVersion: landfall.dev/v1\nkind: ServicePolicy\nmetadata: { name: all }\nspec: { outlierEjection: { baseEjection: 2s } }\n"
            .to_owned(),
    ]
    .join("---\n")
}

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn unmodified_dubbo_consumers_call_dubbo_providers_through_the_gateway() {
    let port = free_port();
    let estate = Estate::up(&["zookeeper", "dubbo27", "dubbo27-2", "dubbo3"]).await;
    let landfall = Landfall::up(&config(&estate.address("zookeeper").await, port)).await;
    let settings = ["caller27", "caller3"].map(|caller| {
        [
            format!("{caller}:URL=dubbo://127.0.0.1:{port}"),
            format!("{caller}:RETRIES=0"),
            format!("{caller}:TIMEOUT_MS=3000"),
        ]
    });
    estate.add_set(&["caller27", "caller3"], &settings.concat()).await;
    let (old, new) = (estate.address("caller27").await, estate.address("caller3").await);

    for (caller, provider) in [(&old, "dubbo27"), (&new, "dubbo3")] {
        let at = |path: &str| format!("http://{caller}{path}");
        answered(&at("/hello?world"), &format!("Hello world, from {provider}")).await;
        assert_eq!(
            get(&at("/hello?fail")).await,
            (502, "java.lang.IllegalArgumentException: asked to fail".to_owned()),
            "the provider's own exception"
        );
        let (status, text) = get(&at("/hello?stopped")).await;
        assert!(
            status == 502 && text.contains("a fault on purpose"),
            "what the argument chooses: {status} {text}"
        );
        let (status, text) = get(&at("/later?world")).await;
        assert!(
            status == 200 && text.starts_with("Hello world, from "),
            "{status} {text}"
        );
        assert_eq!(get(&at("/oneway?world")).await, (200, "sent".to_owned()));
        assert_eq!(get(&at("/large?8000000")).await, (200, "whole".to_owned()));
        assert_eq!(get(&at("/many?64")).await, (200, "64 of 64".to_owned()));
        let (status, text) = get(&at("/hello?slowly+4000")).await;
        assert!(
            status == 502 && text.to_lowercase().contains("timeout"),
            "{status} {text}"
        );
    }
    let greeting = get(&format!("http://{new}/greet?world")).await;
    assert_eq!(
        greeting,
        (200, "Hello world. Hello world. (dubbo3)".to_owned()),
        "an object of the provider's"
    );

    // A provider dies under load and comes back: what is declared idempotent does not fail.
    let (turns, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn({
        let (url, turns, ended) = (format!("http://{old}/many?16"), turns.clone(), ended.clone());
        async move {
            while !ended.load(Ordering::SeqCst) {
                assert_eq!(get(&url).await, (200, "16 of 16".to_owned()));
                turns.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let more = || async {
        let wanted = turns.load(Ordering::SeqCst) + 3;
        eventually("calls go on", || async {
            match turns.load(Ordering::SeqCst) >= wanted || load.is_finished() {
                true => Ok(()),
                false => Err("not yet".to_owned()),
            }
        })
        .await;
    };
    more().await;
    estate.kill("dubbo27").await;
    more().await;
    estate.start("dubbo27").await;
    eventually("the provider that came back gets calls", || async {
        match get(&format!("http://{old}/hello?you")).await {
            (200, text) if text.ends_with(" dubbo27") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    ended.store(true, Ordering::SeqCst);
    load.await.unwrap();

    eventually("the calls are counted", || async {
        let metrics = landfall.metrics().await?;
        match metrics.contains("route=\"dubbo:default/greetings\"") {
            true => Ok(()),
            false => Err(metrics),
        }
    })
    .await;
}
