//! Dubbo clients that nobody here wrote call Dubbo's own providers through the gateway: dubbo-go, dubbo2.js, Dubbo 2.6, and
//! Dubbo 3.3 with fastjson2.
//!
//! ```text
//!  callergo   (dubbo-go)   ─ Dubbo2 ─┐
//!  callernode (dubbo2.js)  ─ Dubbo2 ─┤
//!  callergo-2 (dubbo-go)   ─ Triple ─┼─▶ gateway ─▶ dubbo3, dubbo3-2
//!  caller3    (fastjson2)  ─ Dubbo2 ─┤
//!  caller26   (Dubbo 2.6)  ─ Dubbo2 ─┘         └─▶ dubbo27
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use landfall_tests::{Landfall, estate::Estate, eventually, landfall::free_port};

use super::{pairs::answered, registry};

const GREETING: &str = "dev.landfall.estate.GreetingService";
const LEGACY: &str = "dev.landfall.estate.LegacyGreetingService";

/// Two Dubbo listeners, one that tells calls by their interface and one that takes whatever comes, and one for Triple; on all
/// addresses, because Dubbo 2.6 puts its host's own address in the place of 127.0.0.1.
fn config(zookeeper: &str, told: u16, untold: u16) -> String {
    let rule = |matches: &str, service: &str| {
        format!(
            "    - {matches}backendRefs: [{{ name: {service}, namespace: zookeeper }}]\n      \
             idempotentMethods: [{{ value: sayHello }}]\n"
        )
    };
    let of = |service: &str| {
        rule(
            &format!("matches: [{{ interface: {{ value: {service} }} }}]\n      "),
            service,
        )
    };
    let gateway = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: edge }}\nspec:\n  \
         gatewayClassName: landfall\n  listeners:\n    \
         - {{ name: told, port: {told}, protocol: Dubbo }}\n    - {{ name: untold, port: {untold}, protocol: Dubbo }}\n    \
         - {{ name: web, port: {{port}}, protocol: HTTP }}\n"
    );
    let route = |name: &str, rules: &str| {
        format!(
            "apiVersion: landfall.dev/v1\nkind: DubboRoute\nmetadata: {{ name: {name} }}\nspec:\n  parentRefs: [{{ name: edge, \
             sectionName: {name} }}]\n  rules:\n{rules}"
        )
    };
    let triple = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: triple }}\nspec:\n  parentRefs: [{{ name: \
         edge, sectionName: web }}]\n  rules:\n    - matches: [{{ path: {{ type: PathPrefix, value: /{GREETING} }} }}]\n      \
         backendRefs: [{{ name: {GREETING}, namespace: zookeeper }}]\n"
    );
    [
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\", sessionTimeout: 4s }}")),
        gateway,
        route("told", &format!("{}{}", of(GREETING), of(LEGACY))),
        route("untold", &rule("", GREETING)),
        triple,
        "apiVersion: landfall.dev/v1\nkind: ServicePolicy\nmetadata: { name: all }\nspec: { outlierEjection: { baseEjection: 2s } }\n"
            .to_owned(),
    ]
    .join("---\n")
}

/// Settings of a caller that is led there and tries nothing again itself.
fn led(caller: &str, url: &str) -> [String; 3] {
    [
        format!("{caller}:URL={url}"),
        format!("{caller}:RETRIES=0"),
        format!("{caller}:TIMEOUT_MS=5000"),
    ]
}

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Asserts that the words begin and end so, with 200.
async fn greeted(url: &str, begin: &str) {
    let (status, text) = get(url).await;
    assert!(status == 200 && text.starts_with(begin), "{url}: {status} {text}");
}

/// What every client can do: large texts both ways and 64 callers at once.
async fn does_what_every_client_can(caller: &str) {
    let at = |path: &str| format!("http://{caller}{path}");
    answered(&at("/hello?world"), "Hello world, from ").await;
    assert_eq!(get(&at("/large?8000000")).await, (200, "whole".to_owned()), "{caller}");
    assert_eq!(get(&at("/many?64")).await, (200, "64 of 64".to_owned()), "{caller}");
}

/// The provider's own exception arrives. Not asked of dubbo-go's Triple: it panics on an exception from Java, as it does without
/// a gateway.
async fn is_told_what_was_thrown(caller: &str) {
    let (status, text) = get(&format!("http://{caller}/hello?fail")).await;
    assert!(
        status == 502 && text.contains("asked to fail"),
        "{caller}: {status} {text}"
    );
}

/// Calls of a caller until it is told to stop, none of which may fail.
struct Load {
    turns: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn of(caller: &str) -> Self {
        let (turns, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn({
            let (url, turns, ended) = (format!("http://{caller}/many?16"), turns.clone(), ended.clone());
            async move {
                while !ended.load(Ordering::SeqCst) {
                    assert_eq!(get(&url).await, (200, "16 of 16".to_owned()), "{url}");
                    turns.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self { turns, ended, task }
    }

    /// Waits for three further rounds.
    async fn goes_on(&self) {
        let wanted = self.turns.load(Ordering::SeqCst) + 3;
        eventually("calls go on", || async {
            match self.turns.load(Ordering::SeqCst) >= wanted || self.task.is_finished() {
                true => Ok(()),
                false => Err("not yet".to_owned()),
            }
        })
        .await;
    }

    async fn end(self) {
        self.ended.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn go_and_node_consumers_call_java_providers_through_the_gateway_and_see_nothing_of_a_restart() {
    let (told, untold) = (free_port(), free_port());
    let estate = Estate::up(&["zookeeper", "dubbo3", "dubbo3-2"]).await;
    let landfall = Landfall::up(&config(&estate.address("zookeeper").await, told, untold)).await;
    let dubbo2 = format!("dubbo://127.0.0.1:{told}");
    let settings = [
        led("callergo", &dubbo2),
        led("callergo-2", &format!("tri://127.0.0.1:{}", landfall.port)),
        led("callernode", &dubbo2),
    ];
    estate
        .add_set(&["callergo", "callergo-2", "callernode"], &settings.concat())
        .await;
    let go = estate.address("callergo").await;
    let triple = estate.address("callergo-2").await;
    let node = estate.address("callernode").await;

    for caller in [&go, &triple, &node] {
        does_what_every_client_can(caller).await;
        greeted(
            &format!("http://{caller}/greet?world"),
            "Hello world. Hello world. (dubbo3",
        )
        .await;
    }
    is_told_what_was_thrown(&node).await;
    assert_eq!(
        get(&format!("http://{go}/hello?fail")).await,
        (502, "java.lang.IllegalArgumentException: asked to fail".to_owned()),
        "the provider's own exception"
    );
    greeted(&format!("http://{go}/generic?world"), "Hello world, from ").await;
    greeted(&format!("http://{go}/later?world"), "Hello world, from ").await;
    assert_eq!(
        get(&format!("http://{go}/oneway?world")).await,
        (200, "sent".to_owned())
    );

    // A provider dies under load and comes back: what is declared idempotent does not fail.
    let loads = [Load::of(&go), Load::of(&node)];
    for load in &loads {
        load.goes_on().await;
    }
    estate.kill("dubbo3").await;
    for load in &loads {
        load.goes_on().await;
    }
    estate.start("dubbo3").await;
    for caller in [&go, &node] {
        eventually("the provider that came back gets calls", || async {
            match get(&format!("http://{caller}/hello?you")).await {
                (200, text) if text.ends_with(" dubbo3") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    for load in loads {
        load.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dubbo_2_6_consumers_and_calls_in_fastjson2_reach_java_providers_through_the_gateway() {
    let (told, untold) = (free_port(), free_port());
    let parts = ["zookeeper", "dubbo27", "dubbo27-2", "dubbo3"];
    let estate = Estate::up_set(&parts, &["dubbo3:SERIALIZATIONS=fastjson2,hessian2".to_owned()]).await;
    let _landfall = Landfall::up(&config(&estate.address("zookeeper").await, told, untold)).await;
    let settings = [
        led("caller26", &format!("dubbo://127.0.0.1:{told}")),
        led(
            "caller3",
            &format!("dubbo://127.0.0.1:{untold}?serialization=fastjson2&prefer.serialization=fastjson2"),
        ),
    ];
    estate.add_set(&["caller26", "caller3"], &settings.concat()).await;
    let (old, new) = (estate.address("caller26").await, estate.address("caller3").await);

    for caller in [&old, &new] {
        does_what_every_client_can(caller).await;
        is_told_what_was_thrown(caller).await;
        greeted(&format!("http://{caller}/later?world"), "Hello world, from ").await;
        assert_eq!(
            get(&format!("http://{caller}/oneway?world")).await,
            (200, "sent".to_owned())
        );
    }
    assert_eq!(
        get(&format!("http://{new}/greet?world")).await,
        (200, "Hello world. Hello world. (dubbo3)".to_owned()),
        "an object of the provider's"
    );

    let load = Load::of(&old);
    load.goes_on().await;
    estate.kill("dubbo27").await;
    load.goes_on().await;
    estate.start("dubbo27").await;
    eventually("the provider that came back gets calls", || async {
        match get(&format!("http://{old}/hello?you")).await {
            (200, text) if text.ends_with(" dubbo27") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    load.end().await;
}
