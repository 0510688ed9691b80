//! Sync as it runs, against registries in memory that are seen as soon as they are written. Time is paused.

use std::{
    path::PathBuf,
    sync::{Mutex, atomic::Ordering},
};

use landfall_config::{RegistryConfig, kinds::registry::RegistrySpec};
use tokio::{sync::watch, time::Instant};

use super::*;
use crate::publish::{Figures, Permit, Provenance, Publisher, WriteError};

/// Registries in memory and what is seen of them.
struct Estate {
    registries: Mutex<BTreeMap<RegistryName, BTreeMap<Key, Arc<Instance>>>>,
    world: watch::Sender<Arc<World>>,
    targets: BTreeMap<RegistryName, Arc<Target>>,
}

/// One registry as it is written.
#[derive(Default)]
struct Target {
    /// What a write meets now.
    fault: Mutex<Option<WriteError>>,
    /// Ids that are not taken.
    refused: Mutex<BTreeSet<Arc<str>>>,
    /// What an operator has switched off: it stands there and is not seen.
    off: Mutex<BTreeMap<Key, Arc<Instance>>>,
    /// The cluster that writes over the next put before anybody sees it.
    rival: Mutex<Option<&'static str>>,
    latency: Mutex<Duration>,
    /// When each batch came, and how many records it had.
    sends: Mutex<Vec<(Instant, usize)>>,
    puts: Mutex<Vec<Key>>,
    adopted: Mutex<Vec<Key>>,
    removed: Mutex<Vec<Key>>,
    released: std::sync::atomic::AtomicUsize,
}

impl Estate {
    fn new(registries: &[&str]) -> Arc<Self> {
        let names = || registries.iter().map(|registry| name(registry));
        let estate = Self {
            registries: Mutex::new(names().map(|name| (name, BTreeMap::new())).collect()),
            world: watch::Sender::default(),
            targets: names().map(|name| (name, Arc::default())).collect(),
        };
        estate.show();
        Arc::new(estate)
    }

    fn edit<T>(&self, registry: &str, edit: impl FnOnce(&mut BTreeMap<Key, Arc<Instance>>) -> T) -> T {
        let edited = edit(self.registries.lock().unwrap().get_mut(&name(registry)).unwrap());
        self.show();
        edited
    }

    fn show(&self) {
        let registries = self.registries.lock().unwrap();
        let shown = |(name, records): (&RegistryName, &BTreeMap<Key, Arc<Instance>>)| {
            let records = records
                .iter()
                .map(|(key, instance)| (key.service.clone(), instance.clone()));
            (name.clone(), Arc::new(view(name.as_str(), records)))
        };
        let world = World {
            registries: registries.iter().map(shown).collect(),
        };
        self.world.send_replace(Arc::new(world));
    }

    fn natives(&self, registry: &str, count: usize, version: &str) {
        self.edit(registry, |records| {
            for n in 0..count {
                let mut one = instance(&format!("i{n}"), &format!("10.0.{}.{}:80", n / 250, n % 250));
                one.metadata.insert("version".into(), version.into());
                let key = Key {
                    service: "orders".into(),
                    id: one.id.clone(),
                };
                records.insert(key, Arc::new(one));
            }
        });
    }

    fn target(&self, registry: &str) -> &Arc<Target> {
        &self.targets[&name(registry)]
    }

    fn count(&self, registry: &str) -> usize {
        self.registries.lock().unwrap()[&name(registry)].len()
    }

    /// Runs until this holds, two minutes at most.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(120), "never: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        start.elapsed()
    }

    async fn start(
        self: &Arc<Self>,
        syncs: Vec<SyncConfig>,
        permit: Permit,
        data_dir: Option<PathBuf>,
    ) -> RegistrySync {
        let estate = self.clone();
        let sync = RegistrySync::start(SyncOptions {
            world: self.world.subscribe(),
            connect: Arc::new(move |config| {
                Ok(Arc::new(InMemory {
                    name: config.name.clone(),
                    estate: estate.clone(),
                }))
            }),
            cluster: "c1".into(),
            permit,
            data_dir,
        });
        let registries = self.targets.keys().map(|name| RegistryConfig {
            name: name.clone(),
            spec: RegistrySpec::default(),
            base: PathBuf::new(),
        });
        sync.set(syncs, registries.collect()).await;
        sync
    }
}

struct InMemory {
    name: RegistryName,
    estate: Arc<Estate>,
}

impl InMemory {
    fn target(&self) -> &Target {
        &self.estate.targets[&self.name]
    }

    async fn send(&self, records: usize) -> Option<WriteError> {
        let latency = *self.target().latency.lock().unwrap();
        tokio::time::sleep(latency).await;
        self.target().sends.lock().unwrap().push((Instant::now(), records));
        self.target().fault.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Publisher for InMemory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn address(&self) -> String {
        self.name.to_string()
    }

    fn shape(&self, record: &Record) -> Result<Shaped, Unfit> {
        plain(record)
    }

    async fn put(&self, records: &[Shaped]) -> Vec<Result<(), WriteError>> {
        if let Some(fault) = self.send(records.len()).await {
            return records.iter().map(|_| Err(fault.clone())).collect();
        }
        let refused = self.target().refused.lock().unwrap().clone();
        let answers = records.iter().map(|shaped| {
            self.target().puts.lock().unwrap().push(shaped.key.clone());
            if refused.contains(&shaped.key.id) {
                return Err(WriteError::Rejected {
                    address: self.address(),
                    id: shaped.key.id.clone(),
                    what: "too long".to_owned(),
                });
            }
            let mut instance = shaped.record.instance.clone();
            if let Some(rival) = self.target().rival.lock().unwrap().take() {
                instance.metadata.insert(mark::CLUSTER.into(), rival.into());
                instance.metadata.insert(mark::DIGEST.into(), "theirs".into());
            }
            let instance = Arc::new(instance);
            self.estate.edit(self.name.as_str(), |records| {
                records.insert(shaped.key.clone(), instance)
            });
            Ok(())
        });
        answers.collect()
    }

    async fn adopt(&self, records: &[Shaped]) {
        let keys = records.iter().map(|shaped| shaped.key.clone());
        self.target().adopted.lock().unwrap().extend(keys);
    }

    async fn switched_off(&self, records: &[Shaped]) -> Vec<bool> {
        let off = self.target().off.lock().unwrap();
        records.iter().map(|shaped| off.contains_key(&shaped.key)).collect()
    }

    async fn remove(&self, keys: &[Key]) -> Vec<Result<(), WriteError>> {
        if let Some(fault) = self.send(keys.len()).await {
            return keys.iter().map(|_| Err(fault.clone())).collect();
        }
        let answers = keys.iter().map(|key| {
            self.target().removed.lock().unwrap().push(key.clone());
            self.estate.edit(self.name.as_str(), |records| records.remove(key));
            Ok(())
        });
        answers.collect()
    }

    async fn disown(&self, _: &[Key]) {}

    async fn release(&self) {
        self.target().released.fetch_add(1, Ordering::Relaxed);
    }

    fn figures(&self) -> Figures {
        Figures {
            puts: self.target().puts.lock().unwrap().len() as u64,
            ..Figures::default()
        }
    }
}

fn fan_out() -> Vec<SyncConfig> {
    vec![sync(
        "all",
        json!({ "from": ["a"], "to": ["b", "c"], "limits": { "writesPerSecond": 100 } }),
    )]
}

#[tokio::test(start_paused = true)]
async fn a_hundred_instances_restarted_at_once_are_written_once_each() {
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 100, "1");
    let sync = estate.start(fan_out(), Permit::always(1), None).await;
    estate
        .until("both have all", |e| e.count("b") == 100 && e.count("c") == 100)
        .await;
    // They go down and come back one after the other, each with several records on the way.
    for version in ["2", "3", "4"] {
        for n in 1..=10 {
            estate.natives("a", n * 10, version);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let is_new = |e: &Estate, target: &str| {
        let records = e.registries.lock().unwrap();
        let mut all = records[&name(target)].values();
        all.all(|one| one.metadata.get("version").is_some_and(|v| &**v == "4"))
    };
    estate.until("both are new", |e| is_new(e, "b") && is_new(e, "c")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    for target in ["b", "c"] {
        let puts = estate.target(target).puts.lock().unwrap().len();
        assert!((200..=210).contains(&puts), "{puts} writes into {target}");
        assert!(estate.target(target).removed.lock().unwrap().is_empty());
    }
    let status = sync.status().borrow().clone();
    assert_eq!(status.targets[&name("b")].state, TargetState::Idle);
    assert_eq!(status.targets[&name("b")].kept, 100);
}

#[tokio::test(start_paused = true)]
async fn writes_keep_to_the_limit() {
    let estate = Estate::new(&["a", "b"]);
    estate.natives("a", 200, "1");
    let spec = json!({ "from": ["a"], "to": ["b"], "limits": { "writesPerSecond": 20, "burst": 10 } });
    let _sync = estate.start(vec![sync("s", spec)], Permit::always(1), None).await;
    let took = estate.until("all", |e| e.count("b") == 200).await;
    assert!((9..=11).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_target_is_left_alone_as_long_as_it_asks_and_delays_no_other() {
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 50, "1");
    *estate.target("b").fault.lock().unwrap() = Some(WriteError::Throttled {
        address: "b".to_owned(),
        wait: Duration::from_secs(7),
    });
    let sync = estate.start(fan_out(), Permit::always(1), None).await;
    let took = estate.until("c has all", |e| e.count("c") == 50).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(estate.target("b").sends.lock().unwrap().len(), 1);
    let status = sync.status().borrow().clone();
    assert_eq!(status.targets[&name("b")].state.word(), "backingOff");
    assert_eq!(status.targets[&name("b")].rate, 50);
    *estate.target("b").fault.lock().unwrap() = None;
    estate.until("b has all", |e| e.count("b") == 50).await;
    let sends = estate.target("b").sends.lock().unwrap();
    assert!(sends[1].0 - sends[0].0 >= Duration::from_secs(7));
    assert_eq!(estate.target("b").puts.lock().unwrap().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_away_gets_everything_when_it_is_back() {
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 5, "1");
    *estate.target("b").fault.lock().unwrap() = Some(WriteError::Unavailable {
        address: "b".to_owned(),
        what: "connection refused".to_owned(),
    });
    *estate.target("c").latency.lock().unwrap() = Duration::from_secs(20);
    let sync = estate.start(fan_out(), Permit::always(1), None).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let tries = estate.target("b").sends.lock().unwrap().len();
    assert!((5..=9).contains(&tries), "{tries} tries in a minute");
    let status = sync.status().borrow().clone();
    let last_error = status.targets[&name("b")].last_error.clone();
    assert!(last_error.is_some_and(|(_, why)| why.contains("connection refused")));
    assert_eq!(estate.count("c"), 5, "slow, but not failed");
    *estate.target("b").fault.lock().unwrap() = None;
    estate.until("b has all", |e| e.count("b") == 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_and_a_start_write_nothing_and_take_the_leases_over() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = Some(directory.path().to_owned());
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 10, "1");
    let sync = estate.start(fan_out(), Permit::always(1), data_dir.clone()).await;
    estate.until("all", |e| e.count("b") == 10 && e.count("c") == 10).await;
    sync.shutdown().await;
    assert!(directory.path().join("sync/b.json").exists());
    assert_eq!(estate.count("b"), 10, "a stop removes nothing");
    for (data_dir, epoch) in [(data_dir, 2), (None, 3)] {
        for target in ["b", "c"] {
            estate.target(target).puts.lock().unwrap().clear();
            estate.target(target).adopted.lock().unwrap().clear();
        }
        let sync = estate.start(fan_out(), Permit::always(epoch), data_dir).await;
        estate
            .until("adopted", |e| e.target("b").adopted.lock().unwrap().len() == 10)
            .await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        for target in ["b", "c"] {
            assert!(estate.target(target).puts.lock().unwrap().is_empty());
            assert!(estate.target(target).removed.lock().unwrap().is_empty());
            assert_eq!(estate.target(target).adopted.lock().unwrap().len(), 10);
        }
        sync.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_the_writer_plans_and_writes_nothing() {
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 3, "1");
    let permit = Permit::refused();
    let sync = estate.start(fan_out(), permit.clone(), None).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(sync.plan().targets[&name("b")].additions.len(), 3);
    assert!(estate.target("b").sends.lock().unwrap().is_empty());
    assert_eq!(sync.apply("x").await, Err(ApplyError::NotWriter));
    permit.extend(crate::publish::permit::now(), Duration::from_secs(3600), 4);
    estate
        .until("written", |e| e.count("b") == 3 && e.count("c") == 3)
        .await;
    assert_eq!(sync.status().borrow().epoch, 4);
    permit.end();
    estate
        .until("released", |e| e.target("b").released.load(Ordering::Relaxed) == 1)
        .await;
    let before = estate.target("b").sends.lock().unwrap().len();
    estate.natives("a", 3, "2");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(estate.target("b").sends.lock().unwrap().len(), before);
    assert_eq!(sync.status().borrow().targets[&name("b")].state, TargetState::NotWriter);
    // Elected again, it takes over what is there and writes what has changed since.
    permit.extend(crate::publish::permit::now(), Duration::from_secs(3600), 5);
    estate
        .until("written again", |e| e.target("b").puts.lock().unwrap().len() == 6)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_applied_exactly_as_it_was_shown_or_refused() {
    let estate = Estate::new(&["a", "b"]);
    estate.natives("a", 2, "1");
    let spec = json!({ "mode": "plan", "from": ["a"], "to": ["b"] });
    let sync = estate.start(vec![sync("s", spec)], Permit::always(1), None).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(estate.count("b"), 0);
    let shown = sync.plan();
    assert_eq!(shown.waiting(), 2);
    estate.natives("a", 3, "1");
    let refused = sync.apply(&shown.digest).await;
    let Err(ApplyError::Changed { now }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(sync.plan().digest, now);
    assert_eq!(sync.apply(&now).await, Ok(3));
    estate.until("applied", |e| e.count("b") == 3).await;
    // A change waits again; an origin that goes takes its copy along unasked.
    estate.natives("a", 1, "2");
    estate.edit("a", |records| records.retain(|key, _| &*key.id != "i2"));
    estate.until("gone", |e| e.count("b") == 2).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(estate.target("b").puts.lock().unwrap().len(), 3);
    let status = sync.status().borrow().clone();
    assert_eq!((status.waiting, status.syncs["s"].waiting), (1, 1));
    assert_eq!(status.targets[&name("b")].pending, 0);
}

#[tokio::test(start_paused = true)]
async fn a_mass_removal_happens_when_it_is_true_for_ten_seconds() {
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 20, "1");
    let _sync = estate.start(fan_out(), Permit::always(1), None).await;
    estate.until("all", |e| e.count("b") == 20).await;
    // For a moment only.
    estate.edit("a", BTreeMap::clear);
    tokio::time::sleep(Duration::from_secs(8)).await;
    estate.natives("a", 20, "1");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(estate.count("b"), 20);
    estate.edit("a", BTreeMap::clear);
    let took = estate
        .until("removed", |e| e.count("b") == 0 && e.count("c") == 0)
        .await;
    assert!((10..=13).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_is_listed_its_siblings_are_written_and_it_is_not_tried_again() {
    let estate = Estate::new(&["a", "b"]);
    estate.natives("a", 3, "1");
    let probe = estate
        .start(
            vec![sync("s", json!({ "from": ["a"], "to": ["b"] }))],
            Permit::refused(),
            None,
        )
        .await;
    let id = probe.plan().targets[&name("b")].additions[1].id.clone();
    drop(probe);
    estate.target("b").refused.lock().unwrap().insert(id.clone());
    let sync = estate
        .start(
            vec![sync("s", json!({ "from": ["a"], "to": ["b"] }))],
            Permit::always(1),
            None,
        )
        .await;
    estate.until("the others", |e| e.count("b") == 2).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(estate.target("b").puts.lock().unwrap().len(), 3);
    let plan = sync.plan();
    let held = &plan.targets[&name("b")].held;
    assert_eq!(
        (held.len(), held[0].why, &*held[0].reason),
        (1, HeldWhy::Rejected, "too long")
    );
    let mut metrics = String::new();
    sync.metrics().render(&mut metrics);
    assert!(metrics.contains("landfall_sync_held{registry=\"b\"} 1"), "{metrics}");
    assert!(
        metrics.contains("landfall_sync_writes_total{registry=\"b\"} 3"),
        "{metrics}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_has_switched_off_in_the_target_is_left_so_and_shown_until_it_is_on_again() {
    let estate = Estate::new(&["a", "b"]);
    estate.natives("a", 3, "1");
    let syncs = vec![sync("s", json!({ "from": ["a"], "to": ["b"] }))];
    let sync = estate.start(syncs, Permit::always(1), None).await;
    estate.until("all", |e| e.count("b") == 3).await;
    let puts = |estate: &Estate| estate.target("b").puts.lock().unwrap().len();
    let held = || {
        let plan = sync.plan();
        let held = plan.targets.get(&name("b")).map(|of_target| of_target.held.clone());
        held.unwrap_or_default()
    };
    let (key, instance) = estate.edit("b", |records| records.pop_first()).expect("a record");
    // It vanishes and is in the operator's hands in one step: the next plan is made after the settling time.
    estate
        .target("b")
        .off
        .lock()
        .unwrap()
        .insert(key.clone(), instance.clone());
    estate.until("it is shown", |_| held().len() == 1).await;
    let what = &held()[0];
    assert_eq!((what.why, &what.key), (HeldWhy::SwitchedOff, &key));
    estate.natives("a", 3, "2");
    estate.until("the others have changed", |e| puts(e) == 5).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((puts(&estate), held().len(), estate.count("b")), (5, 1, 2));
    // Switched on, it is brought up to date.
    estate.target("b").off.lock().unwrap().clear();
    estate.edit("b", |records| records.insert(key, instance));
    estate.until("it has changed too", |e| puts(e) == 6).await;
    estate.until("nothing is held", |_| held().is_empty()).await;
    assert_eq!(estate.count("b"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_new_writer_that_knows_nothing_leaves_what_is_switched_off_so_and_takes_it_out_with_its_origin() {
    let estate = Estate::new(&["a", "b"]);
    estate.natives("a", 9, "1");
    let syncs = || vec![sync("s", json!({ "from": ["a"], "to": ["b"] }))];
    let first = estate.start(syncs(), Permit::always(1), None).await;
    estate.until("all", |e| e.count("b") == 9).await;
    first.shutdown().await;
    let (key, instance) = estate.edit("b", |records| records.pop_first()).expect("a record");
    let origin = match mark::provenance(&instance) {
        Provenance::Marked(mark) => mark.origin,
        other => panic!("{other:?}"),
    };
    estate.target("b").off.lock().unwrap().insert(key.clone(), instance);
    estate.target("b").puts.lock().unwrap().clear();

    let second = estate.start(syncs(), Permit::always(2), None).await;
    let held = || {
        let plan = second.plan();
        plan.targets.get(&name("b")).map_or(0, |of_target| of_target.held.len())
    };
    estate.until("it is shown", |_| held() == 1).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((held(), estate.count("b")), (1, 8));
    assert!(estate.target("b").puts.lock().unwrap().is_empty());
    estate.edit("a", |records| records.retain(|key, _| key.id != origin.instance));
    estate
        .until("it is taken out", |e| {
            e.target("b").removed.lock().unwrap().contains(&key)
        })
        .await;
    assert_eq!(*estate.target("b").removed.lock().unwrap(), [key]);
}

#[tokio::test(start_paused = true)]
async fn what_another_cluster_writes_over_ours_is_settled_within_seconds() {
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 1, "1");
    // Ours is `c1`: of equal records that of the smaller name stays.
    *estate.target("b").rival.lock().unwrap() = Some("c2");
    *estate.target("c").rival.lock().unwrap() = Some("c0");
    let _writer = estate.start(fan_out(), Permit::always(1), None).await;
    let cluster = |e: &Estate, registry: &str| {
        let registries = e.registries.lock().unwrap();
        let record = registries[&name(registry)].values().next().cloned();
        record.and_then(|record| record.metadata.get(mark::CLUSTER).cloned())
    };
    let took = estate
        .until("ours stands in `b`", |e| cluster(e, "b").as_deref() == Some("c1"))
        .await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(cluster(&estate, "c").as_deref(), Some("c0"));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(estate.target("b").puts.lock().unwrap().len(), 2);
    assert_eq!(
        estate.target("c").puts.lock().unwrap().len(),
        1,
        "the other one's stays"
    );
}

#[tokio::test(start_paused = true)]
async fn what_another_process_of_the_cluster_undoes_each_time_is_left_alone_and_said() {
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 4, "1");
    let writer = estate.start(fan_out(), Permit::always(1), None).await;
    estate.until("all", |e| e.count("b") == 4 && e.count("c") == 4).await;
    // The same cluster with documents that want nothing in `c`, and something else in `b`.
    let other = vec![
        sync(
            "s",
            json!({ "from": ["a"], "to": ["b"], "labels": { "set": { "team": "x" } } }),
        ),
        sync(
            "t",
            json!({ "from": ["a"], "to": ["c"], "services": { "exclude": ["*"] } }),
        ),
    ];
    let rival = estate.start(other, Permit::always(1), None).await;
    let contested = |sync: &RegistrySync, target: &str| {
        let plan = sync.plan();
        let held = plan.targets[&name(target)].held.iter();
        held.filter(|held| held.why == HeldWhy::Contested).count()
    };
    estate
        .until("the removals are given up", |_| contested(&rival, "c") == 4)
        .await;
    estate
        .until("the changes are given up by one of them", |_| {
            contested(&rival, "b") + contested(&writer, "b") >= 4
        })
        .await;
    let count = |target: &str| {
        let target = estate.target(target);
        target.puts.lock().unwrap().len() + target.removed.lock().unwrap().len()
    };
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = (count("b"), count("c"));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((count("b"), count("c")), before, "nobody writes any more");
    assert_eq!((estate.count("b"), estate.count("c")), (4, 4), "nothing is lost");
    // New documents are a new beginning.
    rival.set(fan_out(), Vec::new()).await;
    assert_eq!(contested(&rival, "c"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_no_target_any_more_is_cleared_of_our_records() {
    let estate = Estate::new(&["a", "b", "c"]);
    estate.natives("a", 5, "1");
    let sync_ = estate.start(fan_out(), Permit::always(1), None).await;
    estate.until("all", |e| e.count("b") == 5 && e.count("c") == 5).await;
    drop(sync_);
    let only_b = vec![sync("s", json!({ "from": ["a"], "to": ["b"] }))];
    let _sync = estate.start(only_b, Permit::always(2), None).await;
    estate.until("c is empty", |e| e.count("c") == 0).await;
    assert_eq!(estate.count("b"), 5);
}
