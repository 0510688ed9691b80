//! Nothing is lost: while each registry fails in every way it can, as a source and as a target at once, no copy of a
//! living instance leaves a target that is up, by that target's own word; and what really ended leaves all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use landfall_tests::{
    Landfall,
    estate::Estate,
    faults::{Fault, FaultyRegistry},
    natives::Registry,
    wait::within,
    zookeeper_faults::{FaultyZooKeeper, ZooKeeperFault},
};
use tokio::task::JoinHandle;

use super::{
    registry,
    synced::{Site, converged, each_once, is_gone, is_idle, sync},
};

/// docs/sync.md: how long a copy of what has ended stands at most, once the registries concerned are reached.
const GONE: Duration = Duration::from_secs(60);
/// docs/sync.md: how long a target that lost its data lacks copies at most, once it answers.
const REFILLED: Duration = Duration::from_secs(45);
/// How long each fault lasts.
const FAULT: Duration = Duration::from_millis(2000);

/// Who watches the targets, without a pause.
struct Watcher {
    known: Arc<Mutex<Known>>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Known {
    /// Addresses of living instances, with the registry that has the native.
    living: BTreeMap<String, &'static str>,
    /// Registries that have lost their data and are being filled again.
    excused: BTreeSet<&'static str>,
    /// Answers that were complete, by registry.
    looks: BTreeMap<&'static str, u64>,
    lost: Vec<String>,
}

impl Watcher {
    fn start(sites: &[Site], registries: Vec<(&'static str, Registry)>) -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        for site in sites {
            let natives = site
                .natives
                .iter()
                .map(|native| (native.address.to_string(), site.name));
            known.lock().unwrap().living.extend(natives);
        }
        let began = Instant::now();
        let tasks = registries.into_iter().map(|(name, registry)| {
            let known = Arc::clone(&known);
            tokio::spawn(async move {
                loop {
                    look(name, &registry, &known, began).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
        });
        Self {
            tasks: tasks.collect(),
            known,
        }
    }

    fn excuse(&self, name: &'static str, excused: bool) {
        let mut known = self.known.lock().unwrap();
        match excused {
            true => known.excused.insert(name),
            false => known.excused.remove(name),
        };
    }

    /// An instance that ends: not missed from now on.
    fn forget(&self, address: &str) {
        self.known.lock().unwrap().living.remove(address);
    }

    /// Nothing was lost so far.
    fn check(&self, after: &str) {
        let known = self.known.lock().unwrap();
        assert!(known.lost.is_empty(), "after {after}: {:#?}", known.lost);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Asks one registry once, and notes which copies of living instances it lacks. One that is down says nothing.
async fn look(name: &'static str, registry: &Registry, known: &Mutex<Known>, began: Instant) {
    let before = {
        let known = known.lock().unwrap();
        (!known.excused.contains(name)).then(|| known.living.clone())
    };
    let rows = registry.rows().await;
    let (Some(before), Ok(rows)) = (before, rows) else {
        return;
    };
    let copies: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row.cluster.is_some())
        .map(|row| &*row.address)
        .collect();
    let mut known = known.lock().unwrap();
    if known.excused.contains(name) {
        return;
    }
    *known.looks.entry(name).or_default() += 1;
    // Living before the question and after the answer.
    let lost: Vec<String> = before
        .iter()
        .filter(|(address, owner)| **owner != name && known.living.contains_key(*address))
        .filter(|(address, _)| !copies.contains(address.as_str()))
        .map(|(address, owner)| format!("{:?}: {name} lacks {address} of {owner}", began.elapsed()))
        .collect();
    known.lost.extend(lost);
}

/// What stands between Landfall and a registry.
enum Between {
    Http(FaultyRegistry),
    ZooKeeper(FaultyZooKeeper),
}

impl Between {
    /// Fails in one way after the other; the last one is that it does not answer at all.
    async fn fail(&self, watcher: &Watcher, name: &str) {
        match self {
            Self::Http(registry) => {
                let faults = [
                    Fault::NotFound,
                    Fault::Error,
                    Fault::HalfList,
                    Fault::Empty,
                    Fault::Html,
                    Fault::Silence,
                ];
                for fault in faults {
                    registry.set(fault);
                    tokio::time::sleep(FAULT).await;
                    watcher.check(&format!("{fault:?} of {name}"));
                }
            }
            Self::ZooKeeper(registry) => {
                let faults = [
                    // NoNode to everything is what 404 is elsewhere; -1 is a server in trouble.
                    ZooKeeperFault::Error(-101),
                    ZooKeeperFault::Error(-1),
                    ZooKeeperFault::HalfList,
                    ZooKeeperFault::HalfListCounted,
                    ZooKeeperFault::Silence,
                ];
                for fault in faults {
                    registry.set(fault);
                    tokio::time::sleep(FAULT).await;
                    watcher.check(&format!("{fault:?} of {name}"));
                }
            }
        }
    }

    fn heal(&self) {
        match self {
            Self::Http(registry) => registry.set(Fault::None),
            Self::ZooKeeper(registry) => registry.set(ZooKeeperFault::None),
        }
    }
}

/// Instances end while the registry at `at` does not answer: one of its own, and one of another registry, whose copy
/// stands in it.
async fn end_two(sites: &mut [Site], at: usize, watcher: &Watcher) -> Vec<landfall_tests::natives::Native> {
    let mut ended = Vec::new();
    for site in [at, (at + 1) % sites.len()] {
        let native = sites[site].natives.last().expect("a native");
        watcher.forget(&native.address.to_string());
        ended.push(sites[site].end_last().await);
    }
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn while_real_registries_fail_no_copy_of_a_living_instance_is_lost_and_what_ended_goes_everywhere() {
    let estate = Estate::up_alone(&["eureka", "consul", "zookeeper"], &[]).await;
    let names = ["eureka", "consul", "zookeeper"];
    let (eureka, consul, zookeeper) = (
        estate.address(names[0]).await,
        estate.address(names[1]).await,
        estate.address(names[2]).await,
    );
    let eyes = || {
        vec![
            ("eureka", Registry::eureka(eureka.clone())),
            ("consul", Registry::consul(consul.clone())),
            ("zookeeper", Registry::zookeeper(zookeeper.clone())),
        ]
    };
    // The last ones end first: the only one of its service, then one of three.
    let services = ["trio", "trio", "trio", "pair", "pair", "trio", "single"];
    let mut sites = Vec::new();
    for (name, registry) in eyes() {
        sites.push(Site::with(name, registry, &services).await);
    }
    let to_eureka = FaultyRegistry::in_front_of(&format!("http://{eureka}")).await;
    let to_consul = FaultyRegistry::in_front_of(&format!("http://{consul}")).await;
    let to_zookeeper = FaultyZooKeeper::in_front_of(&zookeeper).await;
    let config = [
        registry(
            "eureka",
            &format!(
                "eureka: {{ urls: [\"http://{}/eureka\"], poll: 500ms }}",
                to_eureka.address
            ),
        ),
        registry(
            "consul",
            &format!("consul: {{ address: \"http://{}\", wait: 2s }}", to_consul.address),
        ),
        registry(
            "zookeeper",
            &format!("zookeeper: {{ address: \"{}\" }}", to_zookeeper.address),
        ),
        sync("mesh", "between: [eureka, consul, zookeeper]"),
    ]
    .join("---\n");
    let between = [
        Between::Http(to_eureka),
        Between::Http(to_consul),
        Between::ZooKeeper(to_zookeeper),
    ];
    let landfall = Landfall::up(&config).await;
    within(GONE, "every record stands in each registry once", || {
        converged(&landfall, &sites)
    })
    .await;
    let watcher = Watcher::start(&sites, eyes());

    for at in 0..sites.len() {
        let name = names[at];
        between[at].fail(&watcher, name).await;
        let ended = end_two(&mut sites, at, &watcher).await;
        tokio::time::sleep(FAULT).await;
        between[at].heal();
        let healed = Instant::now();
        for native in &ended {
            within(GONE, &format!("{} is gone everywhere", native.id()), || {
                is_gone(&sites, native)
            })
            .await;
        }
        println!(
            "{name}: what ended while it failed was gone {:?} after it was reached again",
            healed.elapsed()
        );
        watcher.check(&format!("{name} came back"));
    }

    // The two that keep their data: stopped and started again.
    for name in ["consul", "zookeeper"] {
        estate.stop(name).await;
        tokio::time::sleep(FAULT).await;
        estate.start(name).await;
        within(REFILLED, "everything is as it was", || each_once(&sites)).await;
        watcher.check(&format!("{name} was stopped and started"));
    }
    // Restarted empty: its natives register again by themselves a little later, and the copies are Landfall's affair.
    for at in 0..sites.len() {
        let name = names[at];
        watcher.excuse(name, true);
        estate.stop(name).await;
        estate.start_empty(name).await;
        let up = Instant::now();
        tokio::time::sleep(Duration::from_secs(2)).await;
        for native in &sites[at].natives {
            sites[at].registry.register(native).await;
        }
        within(REFILLED, &format!("{name} has everything again"), || each_once(&sites)).await;
        println!("{name}: filled again {:?} after it was up", up.elapsed());
        watcher.excuse(name, false);
        watcher.check(&format!("{name} lost its data"));
    }
    within(GONE, "nothing is held or left to write", || is_idle(&landfall)).await;
    // And with all of them well, what ends goes at once.
    let native = sites[0].natives.last().expect("a native");
    watcher.forget(&native.address.to_string());
    let native = sites[0].end_last().await;
    let since = Instant::now();
    within(GONE, "it is gone everywhere", || is_gone(&sites, &native)).await;
    println!("gone everywhere after {:?}", since.elapsed());
    watcher.check("everything");
    let known = watcher.known.lock().unwrap();
    assert!(
        known.looks.len() == 3 && known.looks.values().all(|looks| *looks > 100),
        "{:?}",
        known.looks
    );
}
