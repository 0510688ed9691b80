//! HTTP with JSON to Dubbo's own providers, 2.7 and 3.3, by the types that they have written into ZooKeeper.

use landfall_tests::{Landfall, estate::Estate, eventually};
use serde_json::{Value, json};

use super::registry;

/// Every method of both services, and one path of its own.
fn config(zookeeper: &str) -> String {
    let rule = |prefix: &str, transcoding: &str, service: &str| {
        format!(
            "    - matches: [{{ path: {{ type: PathPrefix, value: {prefix} }} }}]\n      filters: [{{ type: ExtensionRef, extensionRef: {{ \
             group: landfall.dev, kind: DubboTranscoding, name: {transcoding} }} }}]\n      backendRefs: [{{ name: {service}, \
             namespace: zookeeper }}]\n      timeouts: {{ request: 20s }}\n"
        )
    };
    let (greeting, legacy) = (
        "dev.landfall.estate.GreetingService",
        "dev.landfall.estate.LegacyGreetingService",
    );
    let transcoding = |name: &str, spec: &str| {
        format!("apiVersion: landfall.dev/v1\nkind: DubboTranscoding\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
    };
    [
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\", sessionTimeout: 4s }}")),
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: edge }\nspec:\n  gatewayClassName: landfall\n  \
         listeners: [{ name: web, port: {port}, protocol: HTTP }]\n"
            .to_owned(),
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: json }}\nspec:\n  parentRefs: [{{ name: edge \
             }}]\n  rules:\n{}{}{}{}",
            rule("/new", "all", greeting),
            rule("/old", "all", legacy),
            rule("/generic", "generic", greeting),
            rule("/greetings", "greetings", greeting)
        ),
        transcoding("all", "{}"),
        transcoding("generic", "{ generic: true }"),
        transcoding(
            "greetings",
            "{ methods: [{ method: greeting, path: \"/greetings/{name}\", httpMethods: [GET], parameters: [{ name: name }] }] }",
        ),
    ]
    .join("---\n")
}

async fn ask(landfall: &Landfall, path: &str, body: Option<Value>) -> (u16, Value) {
    let url = landfall.url(path);
    let request = match body {
        Some(body) => landfall.client.post(url).json(&body),
        None => landfall.client.get(url),
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn json_reaches_dubbo_providers_by_the_types_in_their_metadata() {
    let estate = Estate::up(&["zookeeper", "dubbo27", "dubbo3"]).await;
    let landfall = Landfall::up(&config(&estate.address("zookeeper").await)).await;
    // A provider writes its metadata when it has registered.
    for (path, from) in [("/old/sayHello", "dubbo27"), ("/new/sayHello", "dubbo3")] {
        let text = format!("Hello world, from {from}");
        eventually("its types are known", || async {
            match ask(&landfall, path, Some(json!("world"))).await {
                (200, answer) if answer == text => Ok(()),
                other => Err(format!("{path}: {other:?}")),
            }
        })
        .await;
    }

    let greeting = json!({ "text": "Hello Ü. Hello Ü.", "instance": "dubbo3" });
    let request = json!({ "name": "Ü", "times": 2 });
    assert_eq!(
        ask(&landfall, "/new/greet", Some(request.clone())).await,
        (200, greeting.clone())
    );
    assert_eq!(
        ask(&landfall, "/generic/greet", Some(request)).await,
        (200, greeting),
        "a generic call has the same result"
    );
    assert_eq!(
        ask(&landfall, "/greetings/a%20b", None).await,
        (200, json!({ "text": "Hello a b.", "instance": "dubbo3" }))
    );
    assert_eq!(ask(&landfall, "/old/add", Some(json!([40, 2]))).await, (200, json!(42)));

    let (status, failed) = ask(&landfall, "/old/sayHello", Some(json!("fail"))).await;
    assert_eq!(
        (status, &failed["exception"], &failed["detail"]),
        (
            500,
            &json!("java.lang.IllegalArgumentException"),
            &json!("asked to fail")
        )
    );
    let (status, unfit) = ask(&landfall, "/old/add", Some(json!([40, "x"]))).await;
    assert_eq!(status, 400, "{unfit}");
    let (status, unknown) = ask(&landfall, "/new/noSuchMethod", Some(json!([]))).await;
    assert_eq!(status, 404, "{unknown}");
}
