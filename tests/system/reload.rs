//! The configuration changes under load and nobody notices, but for what was changed.

use futures_util::{SinkExt, StreamExt};
use landfall_tests::{Landfall, Load, Origin, eventually, landfall};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

/// Versions that are written; quick enough to be written in every run.
const CHANGES: u32 = 2000;

fn configuration(a: &Origin, b: &Origin, chat: std::net::SocketAddr, change: u32) -> String {
    let registry = super::static_registry(&[("a", &[a.address]), ("b", &[b.address]), ("chat", &[chat])]);
    let mut documents = vec![
        registry,
        super::gateway(),
        super::route("chat", "/chat", &[("chat", "static", 1)]),
    ];
    let weight = change % 10;
    documents.push(super::route(
        "split",
        "/split",
        &[("a", "static", weight), ("b", "static", 10 - weight)],
    ));
    for extra in 0..change % 7 {
        documents.push(super::route(
            &format!("extra-{extra}"),
            &format!("/extra-{extra}"),
            &[("a", "static", 1)],
        ));
    }
    documents.push(super::route(
        "version",
        &format!("/version-{change}"),
        &[("b", "static", 1)],
    ));
    documents.join("\n---\n")
}

async fn version(landfall: &Landfall) -> Result<u64, String> {
    let config = landfall.admin("/api/v1/config").await?;
    config["version"]
        .as_u64()
        .ok_or_else(|| format!("no version in {config}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_changes_under_load_fail_no_request_and_cut_no_websocket() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let chat = super::streaming::echo_websocket().await;
    let landfall = Landfall::up(&configuration(&a, &b, chat, 0)).await;
    let url = format!("ws://127.0.0.1:{}/chat", landfall.port);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let load = Load::start(landfall.url("/split"), 4);
    load.at_least(20).await;

    for change in 1..=CHANGES {
        landfall.reconfigure(&configuration(&a, &b, chat, change));
        // Most changes overtake one another, as they do when a deployment writes many files; each hundredth is awaited.
        if change % 100 == 0 {
            eventually("the change takes effect", || async {
                match landfall.get(&format!("/version-{change}")).await? {
                    (200, _) => Ok(()),
                    (status, body) => Err(format!("{status} {body}")),
                }
            })
            .await;
            let message = Message::text(format!("after {change}"));
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        } else {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
    let (status, _) = landfall.get(&format!("/version-{}", CHANGES - 1)).await.unwrap();
    assert_eq!(status, 404, "the last version but one has left");
    assert!(
        version(&landfall).await.unwrap() > u64::from(CHANGES / 100),
        "versions are counted"
    );
    load.stop_without_failure().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_awaited_change_takes_effect_one_by_one() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let chat = super::streaming::echo_websocket().await;
    let landfall = Landfall::up(&configuration(&a, &b, chat, 0)).await;
    let load = Load::start(landfall.url("/split"), 2);
    for change in 1..=20 {
        landfall.reconfigure(&configuration(&a, &b, chat, change));
        eventually("the change takes effect", || async {
            match landfall.get(&format!("/version-{change}")).await? {
                (200, _) => Ok(()),
                (status, body) => Err(format!("{status} {body}")),
            }
        })
        .await;
    }
    load.stop_without_failure().await;
}

/// Takes a good configuration and breaks it in one place; every result has a problem at a known document.
fn broken(good: &str, number: usize) -> String {
    let lines: Vec<&str> = good.lines().collect();
    let line = |pattern: &str| lines.iter().filter(|line| line.contains(pattern)).count();
    let replace = |from: &str, to: &str, nth: usize| {
        let mut seen = 0;
        let changed = lines.iter().map(|line| {
            if line.contains(from) {
                seen += 1;
                if seen == nth + 1 {
                    return line.replacen(from, to, 1);
                }
            }
            (*line).to_owned()
        });
        changed.collect::<Vec<_>>().join("\n")
    };
    // (what is there, what it becomes); each is wrong in every place it can stand.
    let breaks = [
        ("kind:", "kinnd:"),
        ("kind: HTTPRoute", "kind: HTTPRout"),
        ("metadata:", "metadatum:"),
        ("name: edge", "name: EDGE_1"),
        ("apiVersion:", "apiversion:"),
        ("type: PathPrefix", "type: PathPrefixx"),
        ("value: /", "value: "),
        ("weight: ", "weight: -1"),
        ("weight: ", "wieght: "),
        ("namespace: static", "namespace: nowhere"),
        ("backendRefs:", "backendrefs:"),
        ("parentRefs:", "parentRefs: {} #"),
        ("protocol: HTTP", "protocol: SMTP"),
        ("instances: [", "instances: [12, "),
        ("rules:", "rules: none #"),
        ("matches: [", "matches: [[], "),
        ("spec:", "spec: []\nspek:"),
        ("parentRefs: [{ name: edge }]", "parentRefs: [{ name: nobody }]"),
        ("    - matches", "\t- matches"),
        ("{ path:", "{ path: { path:"),
    ];
    let usable: Vec<_> = breaks.iter().filter(|(from, _)| line(from) > 0).collect();
    let (from, to) = usable[number % usable.len()];
    replace(from, to, (number / usable.len()) % line(from))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_broken_configurations_are_refused_with_a_place_and_change_nothing() {
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let chat = super::streaming::echo_websocket().await;
    let good = configuration(&a, &b, chat, 6);
    let landfall = Landfall::up(&good).await;
    let load = Load::start(landfall.url("/split"), 2);
    let before = version(&landfall).await.unwrap();
    let mut last_refusal = Value::Null;
    let mut seen = std::collections::BTreeSet::new();
    let port = landfall.port.to_string();
    for number in 0..200 {
        let text = format!("# {number}\n{}", broken(&good, number).replace("{port}", &port));
        seen.insert(text.clone());
        landfall.reconfigure(&text);
        let refused = eventually("the refusal is visible", || async {
            let config = landfall.admin("/api/v1/config").await?;
            let refused = config["refused"].clone();
            if refused.is_object() && refused["at"] != last_refusal["at"] {
                Ok(refused)
            } else {
                Err(format!(
                    "broken configuration {number} is not refused: {config}\n{text}"
                ))
            }
        })
        .await;
        let problems = refused["problems"].as_array().cloned().unwrap_or_default();
        assert!(!problems.is_empty(), "{refused}");
        for problem in &problems {
            assert!(
                problem["line"].as_u64().is_some_and(|line| line > 0),
                "no line in {problem}"
            );
            assert!(
                problem["file"]
                    .as_str()
                    .is_some_and(|file| file.contains("config.yaml")),
                "no file in {problem}"
            );
        }
        last_refusal = refused;
    }
    assert_eq!(seen.len(), 200, "two hundred different configurations");
    assert_eq!(version(&landfall).await.unwrap(), before, "nothing has changed");
    let (code, out, err) = landfall::run(&["validate", landfall.dir.path().join("config.yaml").to_str().unwrap()]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(
        out.contains("config.yaml:") || err.contains("config.yaml:"),
        "{out}{err}"
    );
    load.stop_without_failure().await;

    landfall.reconfigure(&good);
    eventually("a good configuration is taken again", || async {
        let config = landfall.admin("/api/v1/config").await?;
        if config["refused"].is_null() {
            Ok(())
        } else {
            Err(config.to_string())
        }
    })
    .await;
}
