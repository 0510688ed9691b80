//! Real registries in a full mesh: every record stands in each of them once, and then nothing is written.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use landfall_adapters::publish::connect::can_be_written;
use landfall_config::load::load_text;
use landfall_tests::{Landfall, estate::Estate, natives::Registry, wait::within};

use super::{
    registry,
    synced::{Site, converged, each_once, evidence, is_idle, sent, sync},
};

/// How long nothing may be written: two minutes, or what the environment says (half an hour in a soak).
fn idle() -> Duration {
    let stated = std::env::var("LANDFALL_TEST_IDLE_SECONDS").ok();
    Duration::from_secs(stated.and_then(|text| text.parse().ok()).unwrap_or(120))
}

/// Whether a publisher can be made for the registry of this document.
fn is_written(document: &str) -> bool {
    let config = load_text("mesh.yaml", &PathBuf::from("."), document).expect("a configuration");
    can_be_written(&config.registries.first().expect("one registry").spec)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_full_mesh_of_real_registries_each_record_stands_once_and_then_nothing_is_written_but_renewals() {
    let parts = ["eureka", "consul", "zookeeper", "zookeeper-2", "nacos"];
    let estate = Estate::up_alone(&parts, &[]).await;
    let (eureka, consul, nacos) = (
        estate.address("eureka").await,
        estate.address("consul").await,
        estate.address("nacos").await,
    );
    let (north, south) = (estate.address("zookeeper").await, estate.address("zookeeper-2").await);
    let nacos_document = registry("nacos", &format!("nacos: {{ addresses: [\"{nacos}\"] }}"));
    let mut sites = vec![
        Site::new("eureka", Registry::eureka(eureka.clone())).await,
        Site::new("consul", Registry::consul(consul.clone())).await,
        Site::new("north", Registry::zookeeper(north.clone())).await,
        Site::new("south", Registry::zookeeper(south.clone())).await,
        Site::new("nacos", Registry::nacos(nacos)).await,
    ];
    let nacos_is_target = is_written(&nacos_document);
    sites[4].is_target = nacos_is_target;
    let mesh = match nacos_is_target {
        true => sync("mesh", "between: [eureka, consul, north, south, nacos]"),
        false => [
            sync("mesh", "between: [eureka, consul, north, south]"),
            sync("nacos", "from: [nacos], to: [eureka, consul, north, south]"),
        ]
        .join("---\n"),
    };
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        registry("north", &format!("zookeeper: {{ address: \"{north}\" }}")),
        registry("south", &format!("zookeeper: {{ address: \"{south}\" }}")),
        nacos_document,
        mesh,
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let patience = Duration::from_secs(60);
    within(patience, "every record stands in each registry once", || {
        converged(&landfall, &sites)
    })
    .await;
    within(patience, "nothing is left to write", || is_idle(&landfall)).await;

    let copies = 3 * (sites.len() - 1) as u64;
    // A write is counted when its answer has come, which is after the record can be seen.
    let written = within(patience, "each copy was written once", || async {
        let written = sent(&landfall).await?;
        let mut targets = sites.iter().filter(|site| site.is_target);
        match targets.all(|site| written[site.name].changes() == copies) {
            true => Ok(written),
            false => Err(format!("{written:?}")),
        }
    })
    .await;

    // What the registries themselves note of every record.
    let noted = evidence(&sites).await.expect("the registries answer");
    let (began, idle) = (Instant::now(), idle());
    while began.elapsed() < idle {
        tokio::time::sleep(Duration::from_secs(5)).await;
        for site in &sites {
            for native in &site.natives {
                site.registry.keep(native).await.expect("it is still registered");
            }
        }
        let now = sent(&landfall).await.expect("metrics");
        for (registry, now) in &now {
            let before = written[registry].changes();
            assert_eq!(
                now.changes(),
                before,
                "{registry} was written after {:?}",
                began.elapsed()
            );
        }
        let now = evidence(&sites).await.expect("the registries answer");
        let changed: Vec<_> = now.iter().filter(|(key, note)| noted.get(*key) != Some(note)).collect();
        assert!(changed.is_empty(), "after {:?}: {changed:?}", began.elapsed());
        assert_eq!(now.len(), noted.len(), "nothing has gone");
    }
    each_once(&sites).await.expect("each record still stands once");
    is_idle(&landfall).await.expect("nothing is held or waits");
    let now = sent(&landfall).await.expect("metrics");
    // Leases were renewed all the while; ZooKeeper's are sessions, which need no renewal of records.
    for registry in ["eureka", "consul"] {
        let renewals = now[registry].renewals - written[registry].renewals;
        let least = idle.as_secs() / 60;
        assert!(renewals >= least, "{registry}: {renewals} renewals in {idle:?}");
    }
}
