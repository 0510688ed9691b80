//! A real ZooKeeper whose answers are wrong on their way, or that holds what no client should have written.

use landfall_tests::{
    Landfall, Load, Origin,
    estate::Estate,
    eventually, landfall,
    zookeeper_faults::{FaultyZooKeeper, ZooKeeperFault},
};
use serde_json::{Value, json};

use super::{answers, endpoint, gateway, is_endpoint, registry, shown};

/// What the estate's Dubbo providers serve.
const GREETING: &str = "dev.landfall.estate.GreetingService";
/// A service of exactly two instances, which are origins of the test's own.
const TWO: &str = "org.example.Two";

/// As Java's `URLEncoder`, as far as these texts need it.
fn encoded(url: &str) -> String {
    let marks = [
        ("%", "%25"),
        (":", "%3A"),
        ("/", "%2F"),
        ("?", "%3F"),
        ("=", "%3D"),
        ("&", "%26"),
        (",", "%2C"),
        (" ", "+"),
    ];
    marks
        .iter()
        .fold(url.to_owned(), |text, (mark, code)| text.replace(mark, code))
}

fn provider(interface: &str, url: &str) -> String {
    format!("/dubbo/{interface}/providers/{}", encoded(url))
}

fn instance_of_two(address: impl std::fmt::Display) -> String {
    provider(TWO, &format!("rest://{address}/{TWO}?side=provider"))
}

/// The one registry as `get registries` has it.
async fn seen(landfall: &Landfall) -> Result<Value, String> {
    Ok(landfall.admin("/api/v1/registries").await?["registries"][0].take())
}

/// Waits until the registry is stale, and its reason has one of these words; says since when and why.
async fn stale_because(landfall: &Landfall, words: &[&str]) -> (String, String) {
    eventually(&format!("it is stale because of one of {words:?}"), || async {
        let session = seen(landfall).await?["session"].take();
        let text = |name: &str| session[name].as_str().map(str::to_owned);
        match (&session["state"], text("since"), text("why")) {
            (Value::String(state), Some(since), Some(why))
                if state == "stale" && words.iter().any(|word| why.contains(word)) =>
            {
                Ok((since, why))
            }
            _ => Err(session.to_string()),
        }
    })
    .await
}

/// A fault with the words that must be among the reasons shown.
type Case<'a> = (ZooKeeperFault, &'a [&'a str]);

/// Under load: each fault in turn removes nothing and is shown; afterwards what is true is followed again.
async fn endure(faults: &[Case<'_>]) {
    let estate = Estate::up(&["zookeeper", "dubbo3", "dubbo3-2"]).await;
    let faulty = FaultyZooKeeper::in_front_of(&estate.address("zookeeper").await).await;
    let origins = [Origin::start("one").await, Origin::start("two").await];
    for origin in &origins {
        estate.zk_create(&instance_of_two(origin.address), "").await;
    }
    let config = [
        registry(
            "zookeeper",
            &format!("zookeeper: {{ address: \"{}\", sessionTimeout: 4s }}", faulty.address),
        ),
        gateway(&[
            ("greeting", &format!("/{GREETING}"), GREETING, "zookeeper"),
            ("two", &format!("/{TWO}"), TWO, "zookeeper"),
        ]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let greeting = format!("/{GREETING}/sayHello?name=world");
    answers(&landfall, &greeting).await;
    answers(&landfall, &format!("/{TWO}")).await;
    let mut instances: Vec<String> = origins.iter().map(|origin| origin.address.to_string()).collect();
    for part in ["dubbo3", "dubbo3-2"] {
        instances.push(format!("127.0.0.1:{}", estate.port(part, "tri").await));
    }
    for instance in &instances {
        endpoint(&landfall, instance, true).await;
    }
    let loads = [
        Load::start(landfall.url(&greeting), 2),
        Load::start(landfall.url(&format!("/{TWO}")), 2),
    ];
    let before = seen(&landfall).await.unwrap();

    // What every consumer passes over, but makes ZooKeeper tell of a change.
    let nudges = [GREETING, TWO].map(|name| provider(name, &format!("empty://0.0.0.0/{name}?category=providers")));
    for (fault, why) in faults.iter().copied() {
        let spoiled = faulty.spoiled();
        faulty.set(fault);
        for nudge in &nudges {
            estate.zk_create(nudge, "").await;
        }
        let (since, _) = stale_because(&landfall, why).await;
        for load in &loads {
            load.at_least(100).await;
        }
        // Further attempts have been made by now, and none has removed anything.
        let (still, why) = stale_because(&landfall, why).await;
        assert_eq!(still, since, "{fault:?}: it has been stale all the time");
        let (code, out, err) =
            landfall::run(&["get", "registries", "--admin", &format!("127.0.0.1:{}", landfall.admin)]);
        assert!(code == 0 && out.contains("stale"), "{fault:?}: {out}{err}");
        assert!(faulty.spoiled() > spoiled, "{fault:?} was met: {why}");
        for instance in &instances {
            assert!(
                is_endpoint(&landfall, instance).await.unwrap(),
                "{fault:?} removed {instance}"
            );
        }
        let now = seen(&landfall).await.unwrap();
        for figure in ["services", "instances", "servingInstances", "holds"] {
            assert_eq!(now[figure], before[figure], "{fault:?}: {figure}");
        }
        faulty.set(ZooKeeperFault::None);
        shown(&landfall, "live").await;
        for nudge in &nudges {
            estate.zk_delete(nudge).await;
        }
    }

    // Afterwards it follows as before: one comes, one really leaves.
    let third = Origin::start("three").await;
    estate.zk_create(&instance_of_two(third.address), "").await;
    endpoint(&landfall, &third.address.to_string(), true).await;
    estate.zk_delete(&instance_of_two(origins[0].address)).await;
    endpoint(&landfall, &origins[0].address.to_string(), false).await;
    assert_eq!(seen(&landfall).await.unwrap()["holds"], json!([]));
    for load in loads {
        load.at_least(50).await;
        load.stop_without_failure().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_zookeeper_that_lists_half_or_denies_all_removes_nothing_that_is_not_gone() {
    let wrong_list = ["the list names", "does not name it", "is older"];
    endure(&[
        (ZooKeeperFault::HalfList, &wrong_list),
        (ZooKeeperFault::HalfListCounted, &wrong_list),
        (
            ZooKeeperFault::Error(-101),
            &["the root, which always exists", "no answer"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_zookeeper_that_answers_errors_or_noise_removes_nothing_that_is_not_gone() {
    endure(&[
        (ZooKeeperFault::Error(-1), &["error -1 (SystemError)"]),
        (ZooKeeperFault::Error(-2), &["error -2 (RuntimeInconsistency)"]),
        (ZooKeeperFault::Noise, &["unexpected answer", "no answer"]),
        (ZooKeeperFault::Http, &["no answer", "unexpected answer"]),
        (ZooKeeperFault::Silence, &["not read within", "no answer"]),
    ])
    .await;
}

/// Waits until this many records are quarantined, and returns them.
async fn quarantined(landfall: &Landfall, count: usize) -> Vec<Value> {
    eventually(&format!("{count} records are quarantined"), || async {
        let registry = seen(landfall).await?;
        match registry["quarantined"].as_array() {
            Some(records) if records.len() == count && registry["session"]["state"] == "live" => Ok(records.clone()),
            _ => Err(registry.to_string()),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_a_real_zookeeper_is_quarantined_with_its_reason_and_its_siblings_serve() {
    let estate = Estate::up(&["zookeeper", "dubbo3"]).await;
    let zookeeper = estate.address("zookeeper").await;
    let origin = Origin::start("one").await;
    let good = instance_of_two(origin.address);
    estate.zk_create(&good, "").await;
    let config = [
        registry("zookeeper", &format!("zookeeper: {{ address: \"{zookeeper}\" }}")),
        gateway(&[
            ("greeting", &format!("/{GREETING}"), GREETING, "zookeeper"),
            ("two", &format!("/{TWO}"), TWO, "zookeeper"),
        ]),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let (greeting, two) = (format!("/{GREETING}/sayHello?name=world"), format!("/{TWO}"));
    answers(&landfall, &greeting).await;
    answers(&landfall, &two).await;
    let loads = [
        Load::start(landfall.url(&greeting), 2),
        Load::start(landfall.url(&two), 1),
    ];
    let tri = format!("127.0.0.1:{}", estate.port("dubbo3", "tri").await);
    endpoint(&landfall, &tri, true).await;
    assert_eq!(seen(&landfall).await.unwrap()["quarantined"], json!([]));

    let folder = format!("/dubbo/{GREETING}/providers");
    let long = format!("dubbo%3A%2F%2F10.0.0.9%3A1%2F{}", "x".repeat(64 << 10));
    // A name in the folder of the real providers, and what is said of it.
    let children = [
        ("no url at all", "does not begin with `protocol://`"),
        ("\u{e9}t\u{e9}", "does not begin with `protocol://`"),
        (
            "dubbo%3A%2F%2F10.0.0.9%ZZ",
            "`%` at byte 22 is not followed by two hex digits",
        ),
        ("dubbo%3A%2F%2F10.0.0.9%C3%28%3A1", "not UTF-8"),
        (&encoded(&format!("dubbo:///{GREETING}")), "it has no host"),
        (
            &encoded(&format!("dubbo://no host:20880/{GREETING}")),
            "`no host` is no host",
        ),
        (
            &encoded(&format!("dubbo://300.300.300.300:20880/{GREETING}")),
            "is no host",
        ),
        (&format!("dubbo%3A%2F%2F%F0%9F%98%80%3A1%2F{GREETING}"), "is no host"),
        (
            &encoded(&format!("dubbo://10.0.0.9:99999/{GREETING}")),
            "`99999` is no port",
        ),
        (&encoded(&format!("dubbo://10.0.0.9/{GREETING}")), "it has no port"),
        (&long, "its interface is `xxx"),
    ];
    for (name, _) in &children {
        estate.zk_create(&format!("{folder}/{name}"), "").await;
    }
    let records = quarantined(&landfall, children.len()).await;
    for (name, reason) in &children {
        let found = records.iter().filter(|record| {
            record["reason"].as_str().is_some_and(|text| text.contains(reason)) && record["service"] == GREETING
        });
        assert!(found.count() >= 1, "{name:.80}: {reason}: {records:#?}");
    }
    let size = records.iter().map(|record| record.to_string().len()).max();
    assert!(size < Some(1_000), "64 KiB of a name are not shown: {size:?}");
    let why = landfall
        .admin(&format!("/api/v1/why?service={GREETING}.zookeeper"))
        .await
        .unwrap();
    assert_eq!(
        why["services"][0]["quarantined"].as_array().map(Vec::len),
        Some(children.len()),
        "{why:#}"
    );
    let (code, out, err) = landfall::run(&[
        "get",
        "registries",
        "-o",
        "wide",
        "--admin",
        &format!("127.0.0.1:{}", landfall.admin),
    ]);
    assert!(code == 0 && out.contains("`99999` is no port"), "{out}{err}");

    // An instance that registers anew with parameters nobody can read is known by its address, and keeps its last form.
    let bad = format!("{good}%26tag%3D%ZZ");
    estate.zk_create(&bad, "").await;
    quarantined(&landfall, children.len() + 1).await;
    estate.zk_delete(&good).await;
    estate.zk_create(&format!("{folder}/again"), "").await;
    let records = quarantined(&landfall, children.len() + 2).await;
    let id = format!("rest://{}", origin.address);
    assert!(
        records
            .iter()
            .any(|record| record["record"] == *id && record["service"] == TWO),
        "{records:#?}"
    );
    for load in &loads {
        load.at_least(50).await;
    }
    assert!(is_endpoint(&landfall, &origin.address.to_string()).await.unwrap());
    estate.zk_create(&good, "").await;
    estate.zk_delete(&bad).await;
    estate.zk_delete(&format!("{folder}/again")).await;
    quarantined(&landfall, children.len()).await;

    // The same at the application level: instances, and the documents that they name.
    let instance = |revision: &str| {
        json!({"name": "broken", "address": "10.0.0.9", "port": 1, "payload": {"metadata": {
            "dubbo.endpoints": "[{\"port\":1,\"protocol\":\"dubbo\"}]", "dubbo.metadata.revision": revision,
            "dubbo.metadata.storage-type": "remote"}}})
        .to_string()
    };
    let nodes = [
        ("/services/broken/no-json", "<html>".to_owned(), "no Curator instance"),
        ("/services/broken/empty", String::new(), "no Curator instance"),
        (
            "/services/broken/wrong-types",
            json!({"address": 7, "port": "x"}).to_string(),
            "invalid type",
        ),
        (
            "/services/broken/no-address",
            json!({"port": 1}).to_string(),
            "missing field `address`",
        ),
        (
            "/services/broken/no-host",
            json!({"address": "no host", "port": 1}).to_string(),
            "`no host` is no host",
        ),
        (
            "/services/broken/no-port",
            json!({"address": "10.0.0.9", "port": 99999}).to_string(),
            "is no port",
        ),
        (
            "/services/broken/long",
            format!("\"{}\"", "x".repeat(64 << 10)),
            "no Curator instance",
        ),
        (
            "/services/broken/no-document",
            instance("nowhere"),
            "there is no such node",
        ),
        ("/services/broken/bad-document", instance("bad"), "no metadata document"),
        ("/services/broken/odd-document", instance("odd"), "invalid type"),
    ];
    let odd = json!({"services": {"org.example.Odd:dubbo": {"name": 7}}}).to_string();
    let documents = [
        ("/dubbo/metadata/broken/bad", "{]"),
        ("/dubbo/metadata/broken/odd", odd.as_str()),
    ];
    for (path, data) in documents {
        estate.zk_create(path, data).await;
    }
    for (path, data, _) in &nodes {
        estate.zk_create(path, data).await;
    }
    let records = quarantined(&landfall, children.len() + nodes.len()).await;
    for (path, _, reason) in &nodes {
        let named = records
            .iter()
            .any(|record| record["reason"].as_str().is_some_and(|text| text.contains(reason)));
        assert!(named, "{path}: {reason}: {records:#?}");
    }
    assert!(is_endpoint(&landfall, &tri).await.unwrap());

    for (name, _) in &children {
        estate.zk_delete(&format!("{folder}/{name}")).await;
    }
    for (path, _, _) in &nodes {
        estate.zk_delete(path).await;
    }
    quarantined(&landfall, 0).await;
    for load in loads {
        load.at_least(50).await;
        load.stop_without_failure().await;
    }
    assert!(is_endpoint(&landfall, &tri).await.unwrap());
    assert!(!landfall.log().contains("panicked"), "{}", landfall.log());
}
