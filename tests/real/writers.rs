//! Several processes with one configuration: one of them writes, and hands over without losing or repeating anything.

use std::time::Duration;

use landfall_tests::{Landfall, estate::Estate, eventually};
use serde_json::{Value, json};

use super::registry;

/// Eureka into Consul, with the writer elected in Consul.
fn config(eureka: &str, consul: &str) -> String {
    [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        "apiVersion: landfall.dev/v1\nkind: RegistrySync\nmetadata: { name: all }\n\
         spec: { from: [eureka], to: [consul], limits: { settle: 100ms } }\n"
            .to_owned(),
    ]
    .join("---\n")
}

async fn process(config: &str) -> Landfall {
    Landfall::up_with(config, &[("LANDFALL_ELECT_IN", "consul".to_owned())]).await
}

async fn status(landfall: &Landfall) -> Result<Value, String> {
    landfall.admin("/api/v1/sync").await
}

/// Writes and removals that this process has sent.
async fn writes(landfall: &Landfall) -> Result<u64, String> {
    let status = status(landfall).await?;
    let figures = &status["targets"][0]["figures"];
    match (figures["puts"].as_u64(), figures["removes"].as_u64()) {
        (Some(puts), Some(removes)) => Ok(puts + removes),
        _ => Err(status.to_string()),
    }
}

async fn has_role(landfall: &Landfall, role: &str) {
    eventually(&format!("it is {role}"), || async {
        let status = status(landfall).await?;
        match status["writer"]["role"] == role {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    })
    .await;
}

/// Waits until the target has so many records as they are wanted, and nothing is left to write.
async fn settled(landfall: &Landfall, records: u64) {
    eventually(&format!("{records} records stand in Consul"), || async {
        let status = status(landfall).await?;
        let target = &status["targets"][0];
        match target["kept"] == records && target["toWrite"] == 0 {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    })
    .await;
}

/// Ids and indexes of change of what stands in Consul under `orders`.
async fn records(consul: &str) -> Result<Vec<(String, u64)>, String> {
    let entries = reqwest::get(format!("http://{consul}/v1/catalog/service/orders")).await;
    let entries: Value = entries
        .map_err(|error| error.to_string())?
        .json()
        .await
        .map_err(|error| error.to_string())?;
    let mut records: Vec<_> = entries
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            let id = entry["ServiceID"].as_str().unwrap_or_default().to_owned();
            (id, entry["ModifyIndex"].as_u64().unwrap_or_default())
        })
        .collect();
    records.sort();
    Ok(records)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_ends_hands_over_and_nothing_is_written_twice() {
    let estate = Estate::up(&["eureka", "orders", "consul"]).await;
    let (eureka, consul) = (estate.address("eureka").await, estate.address("consul").await);
    let config = config(&eureka, &consul);
    let first = process(&config).await;
    has_role(&first, "writer").await;
    settled(&first, 1).await;
    let written = records(&consul).await.expect("records");
    assert_eq!(written.len(), 1);

    let second = process(&config).await;
    has_role(&second, "candidate").await;
    assert_eq!(writes(&second).await, Ok(0));
    assert!(first.stop().await.success());
    has_role(&second, "writer").await;
    settled(&second, 1).await;
    assert_eq!(
        writes(&second).await,
        Ok(0),
        "what stood there was taken over as it was"
    );
    assert_eq!(records(&consul).await, Ok(written), "the record was not written again");

    estate.add(&["orders-2"]).await;
    settled(&second, 2).await;
    assert_eq!(writes(&second).await, Ok(1), "and what is new is written once");

    // An upgrade: as earlier versions left it, all on one node. There is always one record of each instance.
    assert!(second.stop().await.success());
    let written = nodes(&consul).await.expect("nodes");
    move_to_one_node(&consul).await.expect("moved");
    assert_eq!(nodes(&consul).await, Ok([ONE_NODE; 2].map(str::to_owned).to_vec()));
    let third = process(&config).await;
    eventually("they stand where they belong", || async {
        let now = nodes(&consul).await?;
        assert!(now.len() >= 2, "{now:?}");
        if now == written {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    settled(&third, 2).await;
    assert_eq!(writes(&third).await, Ok(4), "each is written once and removed once");
}

/// Where earlier versions wrote everything.
const ONE_NODE: &str = "landfall-landfall";

async fn entries(consul: &str) -> Result<Vec<Value>, String> {
    let answer = reqwest::get(format!("http://{consul}/v1/health/service/orders")).await;
    let answer = answer.map_err(|error| error.to_string())?;
    answer.json().await.map_err(|error| error.to_string())
}

/// The nodes of what stands in Consul under `orders`, sorted.
async fn nodes(consul: &str) -> Result<Vec<String>, String> {
    let nodes = entries(consul).await?.into_iter();
    let mut nodes: Vec<String> = nodes
        .filter_map(|entry| entry["Node"]["Node"].as_str().map(str::to_owned))
        .collect();
    nodes.sort();
    Ok(nodes)
}

/// Moves what stands under `orders` there.
async fn move_to_one_node(consul: &str) -> Result<(), String> {
    let put = |path: &str, body: Value| {
        let request = reqwest::Client::new()
            .put(format!("http://{consul}/v1/{path}"))
            .json(&body);
        async move {
            let answer = request.send().await.map_err(|error| error.to_string())?;
            match answer.status().is_success() {
                true => Ok(()),
                false => Err(answer.text().await.unwrap_or_default()),
            }
        }
    };
    put("catalog/register", json!({ "Node": ONE_NODE, "Address": "127.0.0.1" })).await?;
    let mut operations = Vec::new();
    for entry in entries(consul).await? {
        let (node, service) = (&entry["Node"]["Node"], &entry["Service"]);
        operations.push(json!({ "Service": { "Verb": "set", "Node": ONE_NODE, "Service": service } }));
        for check in entry["Checks"].as_array().into_iter().flatten() {
            let [id, name, status] = ["CheckID", "Name", "Status"].map(|field| &check[field]);
            let check = json!({
                "Node": ONE_NODE, "CheckID": id, "Name": name, "Status": status, "ServiceID": service["ID"],
                "ServiceName": service["Service"],
            });
            operations.push(json!({ "Check": { "Verb": "set", "Check": check } }));
        }
        let gone = json!({ "ID": service["ID"], "Service": service["Service"] });
        operations.push(json!({ "Service": { "Verb": "delete", "Node": node, "Service": gone } }));
    }
    put("txn", json!(operations)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_writer_that_wakes_up_after_its_lock_was_lost_writes_nothing() {
    let estate = Estate::up(&["eureka", "orders", "orders-2", "consul"]).await;
    let (eureka, consul) = (estate.address("eureka").await, estate.address("consul").await);
    let config = config(&eureka, &consul);
    let first = process(&config).await;
    has_role(&first, "writer").await;
    settled(&first, 2).await;
    let second = process(&config).await;
    has_role(&second, "candidate").await;
    let before = writes(&first).await.expect("figures");

    first.freeze();
    has_role(&second, "writer").await;
    // What the frozen one would write if it still thought that it may: an instance that has gone, and one that is new.
    estate.stop("orders-2").await;
    estate.add(&["orders-3"]).await;
    eventually("the new writer has written both changes", || async {
        let writes = writes(&second).await?;
        match writes {
            2 => Ok(()),
            _ => Err(format!("{writes} writes")),
        }
    })
    .await;
    settled(&second, 2).await;
    let written = records(&consul).await.expect("records");

    first.wake();
    has_role(&first, "candidate").await;
    // It has had the time to see all that has changed, and to write it.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(writes(&first).await, Ok(before), "it wrote nothing after it woke up");
    assert_eq!(
        records(&consul).await,
        Ok(written),
        "and what stands there is the new writer's"
    );
    has_role(&second, "writer").await;
}
