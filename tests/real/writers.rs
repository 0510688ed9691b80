//! Several processes with one configuration: one of them writes, and hands over without losing or repeating anything.

use std::time::Duration;

use landfall_tests::{Landfall, estate::Estate, eventually};
use serde_json::Value;

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
