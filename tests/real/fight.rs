//! Several Landfall processes that write the same registries and know nothing of each other: two of one cluster without
//! an election, and two clusters. Nobody removes what another one has
//! written, nobody touches what is native, and writing ends.

use std::{collections::BTreeMap, time::Duration};

use landfall_tests::{Landfall, estate::Estate, eventually, natives::Registry, wait::within};

use super::{
    registry,
    synced::{Site, each_once, evidence, is_gone, is_idle, sent, sync},
};

const PATIENCE: Duration = Duration::from_secs(90);
/// How long nothing may be written.
const QUIET: Duration = Duration::from_secs(12);

async fn process(config: &str, cluster: &str) -> Landfall {
    Landfall::up_with(config, &[("LANDFALL_CLUSTER", cluster.to_owned())]).await
}

/// What all of them have sent that changes something.
async fn changes(processes: &[&Landfall]) -> Result<Vec<u64>, String> {
    let mut all = Vec::new();
    for process in processes {
        all.push(sent(process).await?.values().map(|sent| sent.changes()).sum());
    }
    Ok(all)
}

/// Waits until nobody writes for a while, by their own count and by the registries' word. What stands there then.
async fn quiet(sites: &[Site], processes: &[&Landfall]) -> BTreeMap<String, String> {
    within(PATIENCE, "nobody writes any more", || async {
        let before = (changes(processes).await?, evidence(sites).await?);
        tokio::time::sleep(QUIET).await;
        let after = (changes(processes).await?, evidence(sites).await?);
        match before == after {
            true => Ok(after.1),
            false => Err(format!("{:?}, then {:?}", before.0, after.0)),
        }
    })
    .await
}

/// The notes of the native records among them.
fn natives(noted: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let native = noted.iter().filter(|(key, _)| key.ends_with(" None"));
    native.map(|(key, note)| (&**key, &**note)).collect()
}

/// The clusters that have written what stands there.
fn writers(noted: &BTreeMap<String, String>) -> Vec<&str> {
    let mut writers: Vec<&str> = ["alpha", "beta"]
        .into_iter()
        .filter(|cluster| noted.keys().any(|key| key.ends_with(&format!(" Some(\"{cluster}\")"))))
        .collect();
    writers.sort_unstable();
    writers
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_write_the_same_registries_without_an_election_come_to_rest_and_harm_nothing() {
    let estate = Estate::up_alone(&["eureka", "consul", "zookeeper"], &[]).await;
    let (eureka, consul, zookeeper) = (
        estate.address("eureka").await,
        estate.address("consul").await,
        estate.address("zookeeper").await,
    );
    let mut sites = vec![
        Site::new("eureka", Registry::eureka(eureka.clone())).await,
        Site::new("consul", Registry::consul(consul.clone())).await,
        Site::new("zookeeper", Registry::zookeeper(zookeeper.clone())).await,
    ];
    let config = |edges: &str| {
        [
            registry(
                "eureka",
                &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
            ),
            registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
            registry(
                "zookeeper",
                &format!("zookeeper: {{ address: \"{zookeeper}\", sessionTimeout: 4s }}"),
            ),
            sync("mesh", edges),
        ]
        .join("---\n")
    };
    let everything = config("between: [eureka, consul, zookeeper]");
    // Eureka lists them a little later.
    let untouched = eventually("the natives are there", || async {
        let noted = evidence(&sites).await?;
        let listed = noted
            .keys()
            .filter(|key| key.contains("twin") || key.contains("single"));
        match listed.count() == 9 {
            true => Ok(noted),
            false => Err(format!("{noted:?}")),
        }
    })
    .await;

    // One cluster, twice, at the same moment.
    let (first, second) = tokio::join!(process(&everything, "alpha"), process(&everything, "alpha"));
    within(PATIENCE, "every record stands once", || each_once(&sites)).await;
    let noted = quiet(&sites, &[&first, &second]).await;
    each_once(&sites).await.expect("it stays so");
    assert_eq!(natives(&noted), natives(&untouched), "no native record was touched");
    // What comes, changes and goes is seen by both.
    for site in &mut sites {
        site.add("late").await;
        let native = &mut site.natives[0];
        native.build += 1;
        site.registry.register(&site.natives[0]).await;
    }
    let ended = sites[0].natives.remove(1);
    sites[0].registry.deregister(&ended).await;
    within(PATIENCE, "what ended is gone", || is_gone(&sites, &ended)).await;
    within(PATIENCE, "every record stands once", || each_once(&sites)).await;
    quiet(&sites, &[&first, &second]).await;
    each_once(&sites).await.expect("it stays so");
    for landfall in [&first, &second] {
        is_idle(landfall).await.expect("nothing is held");
    }
    println!("one cluster twice: {:?} writes", changes(&[&first, &second]).await);

    // One of them dies: the other one has everything, and what was the dead one's comes again.
    drop(second);
    // Its session in ZooKeeper ends a little later, and its nodes with it.
    quiet(&sites, &[&first]).await;
    within(PATIENCE, "every record stands once", || each_once(&sites)).await;
    let noted = eventually("all is as it is wanted", || async {
        is_idle(&first).await?;
        evidence(&sites).await
    })
    .await;

    // Another cluster with the same documents finds everything done.
    let beta = process(&everything, "beta").await;
    let now = quiet(&sites, &[&first, &beta]).await;
    assert_eq!(natives(&now), natives(&noted));
    assert_eq!(changes(&[&beta]).await, Ok(vec![0]), "everything was there");
    // What is new both may write at once; one record stays.
    for site in &mut sites {
        site.add("later").await;
    }
    within(PATIENCE, "every record stands once", || each_once(&sites)).await;
    let now = quiet(&sites, &[&first, &beta]).await;
    each_once(&sites).await.expect("it stays so");
    let by_beta: Vec<_> = now.keys().filter(|key| key.ends_with(" Some(\"beta\")")).collect();
    assert_eq!(
        writers(&now),
        ["alpha"],
        "of equal records that of the smaller name stays: {by_beta:?}"
    );
    let ended = sites[1].natives.remove(0);
    sites[1].registry.deregister(&ended).await;
    within(PATIENCE, "what ended is gone", || is_gone(&sites, &ended)).await;
    println!("two clusters: {:?} writes", changes(&[&first, &beta]).await);
}
