//! A hundred instances restarted at once: each record that changed is written once, by Landfall's own count and by the
//! registries' own indexes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use landfall_tests::{
    Landfall,
    estate::Estate,
    natives::{Native, Registry},
    wait::within,
};

use super::{registry, synced::sent};

const SERVICES: usize = 20;
const INSTANCES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(120);
/// Changes are gathered for so long. A restart has to fit into it on a busy machine, with the three seconds for which
/// the estate's Eureka may give an answer that was made in the middle of it.
const SETTLE: Duration = Duration::from_secs(12);

/// What stands in a target: the id of each copy with what the target notes of its last write.
type Standing = BTreeMap<String, String>;

async fn standing(target: &Registry) -> Result<Standing, String> {
    let rows = target.rows().await?.into_iter().filter(|row| row.cluster.is_some());
    Ok(rows
        .map(|row| (format!("{} {}", row.id, row.metadata["landfall-origin"]), row.evidence))
        .collect())
}

/// Each instance has one copy, with what it says of itself now.
async fn is_copied(target: &Registry, natives: &[Native]) -> Result<(), String> {
    let rows: Vec<_> = target
        .rows()
        .await?
        .into_iter()
        .filter(|row| row.cluster.is_some())
        .collect();
    if rows.len() != natives.len() {
        return Err(format!("{} copies", rows.len()));
    }
    let told: BTreeSet<(String, String, bool)> = natives
        .iter()
        .map(|native| (native.address.to_string(), native.build.to_string(), true))
        .collect();
    let runs: BTreeMap<String, String> = natives
        .iter()
        .map(|native| (native.address.to_string(), native.id()))
        .collect();
    let found: BTreeSet<(String, String, bool)> = rows
        .into_iter()
        .map(|row| {
            let is_of_this_run = runs
                .get(&row.address)
                .is_some_and(|id| row.metadata["landfall-origin"].contains(id));
            (row.address, row.metadata["build"].clone(), is_of_this_run)
        })
        .collect();
    let missing: Vec<_> = told.difference(&found).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("{} are not as they say: {:?}", missing.len(), missing.first())),
    }
}

/// All at once, as a deployment does it: everybody says good-bye, then everybody comes back.
async fn restart(eureka: &Registry, natives: &mut [Native], change: fn(&mut Native)) {
    let goodbyes: Vec<_> = natives.iter().map(|native| eureka.deregister(native)).collect();
    stream::iter(goodbyes).buffer_unordered(16).collect::<Vec<_>>().await;
    natives.iter_mut().for_each(change);
    register(eureka, natives).await;
}

async fn register(eureka: &Registry, natives: &[Native]) {
    let registrations: Vec<_> = natives.iter().map(|native| eureka.register(native)).collect();
    stream::iter(registrations)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_instances_restarted_at_once_cost_one_write_for_each_record_that_changed() {
    let estate = Estate::up_alone(&["eureka", "consul", "zookeeper"], &[]).await;
    let addresses = [
        estate.address("eureka").await,
        estate.address("consul").await,
        estate.address("zookeeper").await,
    ];
    let eureka = Registry::eureka(addresses[0].clone());
    let targets = [
        ("consul", Registry::consul(addresses[1].clone())),
        ("zookeeper", Registry::zookeeper(addresses[2].clone())),
    ];
    let mut natives: Vec<Native> = (0..INSTANCES)
        .map(|at| Native::living(&format!("fleet-{}", at % SERVICES)))
        .collect();
    register(&eureka, &natives).await;
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{}/eureka\"], poll: 500ms }}", addresses[0]),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{}\" }}", addresses[1])),
        registry("zookeeper", &format!("zookeeper: {{ address: \"{}\" }}", addresses[2])),
        format!(
            "apiVersion: landfall.dev/v1\nkind: RegistrySync\nmetadata: {{ name: fleet }}\n\
             spec: {{ from: [eureka], to: [consul, zookeeper], limits: {{ settle: {}s, writesPerSecond: 200 }} }}\n",
            SETTLE.as_secs()
        ),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    for (name, target) in &targets {
        within(PATIENCE, &format!("{name} has everything"), || {
            is_copied(target, &natives)
        })
        .await;
    }
    // A write is counted when its answer has come, which is after the record can be seen.
    within(PATIENCE, "each record was written once", || async {
        let first = sent(&landfall).await?;
        let is_once = |(name, _): &(&str, Registry)| first[*name].changes() == INSTANCES as u64;
        targets.iter().all(is_once).then_some(()).ok_or(format!("{first:?}"))
    })
    .await;

    type Change = fn(&mut Native);
    let restarts: [(&str, Change); 3] = [
        ("with nothing changed", |_| {}),
        ("as another build", |native| native.build += 1),
        ("under new ids", |native| native.run = "second".to_owned()),
    ];
    for (what, change) in restarts {
        let before = sent(&landfall).await.expect("metrics");
        let mut stood = Vec::new();
        for (_, target) in &targets {
            stood.push(standing(target).await.expect("it answers"));
        }
        restart(&eureka, &mut natives, change).await;
        // Where nothing is to be written, it is looked after the time in which it would have been.
        tokio::time::sleep(SETTLE).await;
        for (name, target) in &targets {
            within(PATIENCE, &format!("{what}: {name} has it"), || async {
                match is_copied(target, &natives).await {
                    Ok(()) => Ok(()),
                    Err(why) => Err(format!("{why}\n{}", landfall.admin("/api/v1/sync/plan").await?)),
                }
            })
            .await;
        }
        // What may come late: Eureka's caches, a removal that was held.
        tokio::time::sleep(Duration::from_secs(4)).await;
        for ((name, target), stood) in targets.iter().zip(&stood) {
            is_copied(target, &natives).await.expect("it stays");
            let now = standing(target).await.expect("it answers");
            let sent = sent(&landfall).await.expect("metrics")[*name].changes() - before[*name].changes();
            // By the target's own word: records that were put or changed, and records that have gone.
            let put = now.iter().filter(|(id, note)| stood.get(*id) != Some(note)).count();
            let gone = stood.keys().filter(|id| !now.contains_key(*id)).count();
            println!("{what}: {name}: {sent} writes sent, {put} records put, {gone} gone");
            let changed = match what {
                "with nothing changed" => 0,
                "as another build" => INSTANCES,
                _ if *name == "consul" => 2 * INSTANCES,
                // A node's key is its address: the old record gives way to the new one in one write.
                _ => INSTANCES,
            };
            assert!(
                sent * 10 <= changed as u64 * 11,
                "{what}: {name}: {sent} writes for {changed} changed records"
            );
            assert!(
                put * 10 <= changed * 11,
                "{what}: {name}: {put} records put for {changed} changed"
            );
        }
    }
}
