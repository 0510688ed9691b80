//! The task that plans: waits until things have settled, makes a plan, hands each target its part.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::{RegistryConfig, SyncConfig, kinds::registry_sync::SyncMode};
use landfall_model::{RegistryName, World};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};
use tracing::{info, warn};

use super::{ApplyError, Connect, SyncOptions};
use crate::{
    publish::{Key, Permit, Provenance, Publisher, mark},
    sync::{
        HeldWhy, Input, Memory, Pending, Plan, Planner, TargetPlan,
        ledger::Ledgers,
        status::{SyncState, SyncStatus, TargetState},
        target::{Book, Job, LOOK, Limits, Target},
    },
};

/// A mass removal is believed when every plan for this long says so.
const CONFIRM: Duration = Duration::from_secs(10);
/// A write that is not seen after this long is planned again. Longer than Eureka's caches and polls together.
const UNSEEN: Duration = Duration::from_secs(120);
/// A record that another process puts back each time is left alone for this long.
const CONTESTED: Duration = Duration::from_secs(600);
/// A publisher that could not be made is tried again this often.
const RETRY: Duration = Duration::from_secs(15);
/// Ledgers that have changed are written this often.
const SAVE: Duration = Duration::from_secs(2);

/// Changes are gathered for this long when no document says how long.
const SETTLE: Duration = Duration::from_millis(500);
/// After a plan comes a pause of so many times what the plan took, so that planning of a large world costs a tenth of
/// a core at most while it changes all the time.
const PAUSE: u32 = 9;
/// And no longer pause than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a conductor is told.
pub(super) enum Order {
    Set {
        syncs: Vec<SyncConfig>,
        registries: Vec<RegistryConfig>,
        done: oneshot::Sender<()>,
    },
    Apply {
        digest: String,
        answer: oneshot::Sender<Result<usize, ApplyError>>,
    },
    Stop {
        done: oneshot::Sender<()>,
    },
}

pub(super) struct Conductor {
    world: watch::Receiver<Arc<World>>,
    connect: Connect,
    cluster: Arc<str>,
    permit: Permit,
    ledgers: Option<Ledgers>,
    status: watch::Sender<Arc<SyncStatus>>,
    plans: watch::Sender<Arc<Plan>>,
    done: (mpsc::Sender<()>, mpsc::Receiver<()>),
    syncs: Vec<SyncConfig>,
    registries: BTreeMap<RegistryName, RegistryConfig>,
    /// Away while a plan is made.
    planner: Option<Planner>,
    targets: BTreeMap<RegistryName, Running>,
    /// Since when each removal is held as part of a mass.
    mass: BTreeMap<RegistryName, BTreeMap<Key, Instant>>,
    /// When the next plan is made.
    due: Option<Instant>,
    /// Until when the last plan's cost forbids the next one.
    rest_until: Instant,
    was_writer: bool,
    last_save: Instant,
    planned_at: Option<SystemTime>,
}

/// A registry that is written.
struct Running {
    config: RegistryConfig,
    book: Arc<Book>,
    made: Made,
}

enum Made {
    Publisher {
        publisher: Arc<dyn Publisher>,
        jobs: watch::Sender<Job>,
        hurry: Arc<Notify>,
        task: JoinHandle<()>,
    },
    Failed {
        why: String,
        retry_at: Instant,
    },
}

impl Conductor {
    pub fn new(options: SyncOptions, status: watch::Sender<Arc<SyncStatus>>, plans: watch::Sender<Arc<Plan>>) -> Self {
        let cluster = options.cluster;
        let ledgers = options.data_dir.as_deref();
        Self {
            ledgers: ledgers.map(|directory| Ledgers::new(directory, cluster.clone())),
            world: options.world,
            connect: options.connect,
            cluster,
            permit: options.permit,
            status,
            plans,
            done: mpsc::channel(1),
            syncs: Vec::new(),
            registries: BTreeMap::new(),
            planner: Some(Planner::new(&[])),
            targets: BTreeMap::new(),
            mass: BTreeMap::new(),
            due: None,
            rest_until: Instant::now(),
            was_writer: false,
            last_save: Instant::now(),
            planned_at: None,
        }
    }

    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut has_world = true;
        loop {
            let due = self.due;
            let planning = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Set { syncs, registries, done }) => {
                        self.set(syncs, registries).await;
                        let _ = done.send(());
                    }
                    Some(Order::Apply { digest, answer }) => {
                        let applied = self.apply(&digest).await;
                        let _ = answer.send(applied);
                    }
                    Some(Order::Stop { done }) => {
                        self.stop().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return self.stop().await,
                },
                changed = self.world.changed(), if has_world => {
                    has_world = changed.is_ok();
                    // At once: by the time of the next plan somebody else may have undone what we wrote.
                    let world = self.world.borrow_and_update().clone();
                    self.note_seen(&world);
                    self.plan_soon();
                }
                _ = self.done.1.recv() => self.plan_soon(),
                () = planning => self.plan().await,
                _ = tick.tick() => self.look().await,
            }
        }
    }

    /// The next plan is made when things have settled since the first change.
    fn plan_soon(&mut self) {
        let settle = self.syncs.iter().map(|sync| sync.spec.limits.settle.get()).min();
        let at = (Instant::now() + settle.unwrap_or(SETTLE)).max(self.rest_until);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    async fn set(&mut self, syncs: Vec<SyncConfig>, registries: Vec<RegistryConfig>) {
        let registries: BTreeMap<_, _> = registries
            .into_iter()
            .map(|config| (config.name.clone(), config))
            .collect();
        let ended: Vec<RegistryName> = self
            .targets
            .iter()
            .filter(|(name, running)| registries.get(*name) != Some(&running.config))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ended {
            self.end(&name).await;
        }
        if self.syncs != syncs {
            self.planner = Some(Planner::new(&syncs));
            self.mass.clear();
            for running in self.targets.values() {
                running.book.page().contested.clear();
            }
        }
        self.syncs = syncs;
        self.registries = registries;
        self.plan().await;
    }

    /// Lets go of a target without removing anything.
    async fn end(&mut self, name: &RegistryName) {
        self.save(name).await;
        let Some(running) = self.targets.remove(name) else {
            return;
        };
        if let Made::Publisher {
            publisher, jobs, task, ..
        } = running.made
        {
            drop(jobs);
            if let Err(error) = task.await {
                warn!(target = %name, %error, "the task of a target has failed");
            }
            publisher.release().await;
        }
        if let Some(planner) = &mut self.planner {
            planner.forget_shapes();
        }
    }

    async fn stop(&mut self) {
        let names: Vec<RegistryName> = self.targets.keys().cloned().collect();
        for name in names {
            self.end(&name).await;
        }
    }

    /// What depends on time alone.
    async fn look(&mut self) {
        let is_writer = self.permit.holds();
        if is_writer != self.was_writer {
            self.was_writer = is_writer;
            info!(is_writer, "whether this process writes has changed");
            self.plan_soon();
        }
        let now = Instant::now();
        let is_confirmed = |since: &Instant| now.duration_since(*since) >= CONFIRM;
        let is_overdue = self.targets.values().any(|running| {
            let page = running.book.page();
            page.pending_since
                .values()
                .any(|since| now.duration_since(*since) >= UNSEEN)
        });
        let can_retry = |running: &Running| matches!(&running.made, Made::Failed { retry_at, .. } if *retry_at <= now);
        if is_overdue
            || self.mass.values().flat_map(BTreeMap::values).any(is_confirmed)
            || self.targets.values().any(can_retry)
        {
            self.plan_soon();
        }
        if now.duration_since(self.last_save) >= SAVE {
            self.last_save = now;
            let names: Vec<RegistryName> = self.targets.keys().cloned().collect();
            for name in names {
                self.save(&name).await;
            }
        }
        self.show();
    }

    async fn save(&mut self, name: &RegistryName) {
        let (Some(ledgers), Some(running)) = (self.ledgers.clone(), self.targets.get(name)) else {
            return;
        };
        let ledger = {
            let mut page = running.book.page();
            if !std::mem::take(&mut page.is_dirty) {
                return;
            }
            page.memory.ledger.clone()
        };
        let registry = name.clone();
        let saved = tokio::task::spawn_blocking(move || ledgers.save(&registry, &ledger)).await;
        if let Err(error) = saved.map_err(std::io::Error::other).and_then(|saved| saved) {
            warn!(target = %name, %error, "the ledger of written records could not be saved");
            running.book.page().is_dirty = true;
        }
    }

    /// Begins to write a registry, or tries again to.
    fn open(&mut self, name: &RegistryName) {
        let now = Instant::now();
        let Some(config) = self.registries.get(name) else {
            return;
        };
        let book = match self.targets.get(name) {
            None => {
                let book = Arc::new(Book::default());
                if let Some(ledgers) = &self.ledgers {
                    book.page().memory.ledger = ledgers.load(name);
                }
                book
            }
            Some(running) => match &running.made {
                Made::Failed { retry_at, .. } if *retry_at <= now => running.book.clone(),
                _ => return,
            },
        };
        let made = match (self.connect)(config) {
            Err(why) => {
                warn!(target = %name, why, "the registry cannot be written");
                let retry_at = now + RETRY;
                Made::Failed { why, retry_at }
            }
            Ok(publisher) => {
                let (jobs, taken) = watch::channel(Job::default());
                let hurry = Arc::new(Notify::new());
                let target = Target {
                    name: name.clone(),
                    publisher: publisher.clone(),
                    permit: self.permit.clone(),
                    book: book.clone(),
                    jobs: taken,
                    done: self.done.0.clone(),
                    hurry: hurry.clone(),
                };
                let task = tokio::spawn(target.run());
                Made::Publisher {
                    publisher,
                    jobs,
                    hurry,
                    task,
                }
            }
        };
        let running = Running {
            config: config.clone(),
            book,
            made,
        };
        self.targets.insert(name.clone(), running);
    }

    async fn plan(&mut self) {
        self.due = None;
        let Some(planner) = self.planner.take() else { return };
        let wanted: Vec<RegistryName> = planner.targets().iter().cloned().collect();
        for name in &wanted {
            self.open(name);
        }
        // Registries that are no target any more and have records of ours still.
        let world = self.world.borrow_and_update().clone();
        for name in self.left_behind(&world, &wanted) {
            self.open(&name);
        }
        let (memory, counts) = self.memories(&world);
        let publishers: BTreeMap<RegistryName, Arc<dyn Publisher>> = self
            .targets
            .iter()
            .filter_map(|(name, running)| match &running.made {
                Made::Publisher { publisher, .. } => Some((name.clone(), publisher.clone())),
                Made::Failed { .. } => None,
            })
            .collect();
        let (cluster, epoch) = (self.cluster.clone(), self.permit.epoch());
        let began = Instant::now();
        let planning = tokio::task::spawn_blocking(move || {
            let mut planner = planner;
            let plan = planner.plan(&Input {
                world: &world,
                cluster: &cluster,
                epoch,
                shape: &|target, record| publishers.get(target).map(|publisher| publisher.shape(record)),
                memory: &memory,
            });
            (planner, plan)
        });
        let plan = match planning.await {
            Ok((planner, plan)) => {
                self.planner = Some(planner);
                plan
            }
            Err(error) => {
                warn!(%error, "a plan could not be made; what stands there stays");
                self.planner = Some(Planner::new(&self.syncs));
                return;
            }
        };
        self.rest_until = Instant::now() + (began.elapsed() * PAUSE).min(LONGEST_PAUSE);
        self.planned_at = Some(SystemTime::now());
        self.hand_out(&plan, &counts);
        self.plans.send_replace(Arc::new(plan));
        self.show();
    }

    fn left_behind(&self, world: &World, wanted: &[RegistryName]) -> Vec<RegistryName> {
        let is_ours = |instance: &Arc<landfall_model::Instance>| matches!(mark::provenance(instance), Provenance::Marked(mark) if mark.cluster == self.cluster);
        let has_ours = |view: &landfall_model::RegistryView| {
            let mut instances = view.services.values().flat_map(|view| &view.service.instances);
            instances.any(is_ours)
        };
        let candidates = world.registries.iter().filter(|(name, _)| {
            self.registries.contains_key(*name) && !wanted.contains(name) && !self.targets.contains_key(*name)
        });
        candidates
            .filter(|(_, view)| has_ours(view))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Clears what is remembered of each target of writes that are seen by now.
    fn note_seen(&self, world: &World) {
        let now = Instant::now();
        for (name, running) in &self.targets {
            let mut page = running.book.page();
            let page = &mut *page;
            let memory = &mut page.memory;
            let replacing = &mut page.replacing;
            let view = world.registries.get(name);
            page.pending_since.retain(|key, since| {
                let seen = view
                    .and_then(|view| view.services.get(&key.service))
                    .and_then(|service| {
                        let instances = &service.service.instances;
                        let at = instances.binary_search_by(|instance| instance.id.cmp(&key.id)).ok()?;
                        instances.get(at)
                    });
                let is_settled = match memory.pending.get(key) {
                    Some(Pending::Removed) => seen.is_none(),
                    Some(Pending::Put) => seen.is_some_and(|instance| {
                        let wanted = memory.ledger.get(key).map(|written| &written.digest);
                        // Another cluster's, where none was before: it was written over ours.
                        let is_over_ours = !replacing.contains(key)
                            && instance
                                .metadata
                                .get(mark::CLUSTER)
                                .is_some_and(|cluster| *cluster != self.cluster);
                        match mark::digest_in(instance) {
                            Some(digest) => Some(digest) == wanted || is_over_ours,
                            None => true,
                        }
                    }),
                    None => true,
                };
                let waits = !is_settled && now.duration_since(*since) < UNSEEN;
                if !waits {
                    memory.pending.remove(key);
                    replacing.remove(key);
                }
                waits
            });
        }
    }

    /// What is remembered of each target, cleared of what is seen by now, and how much was done by then.
    fn memories(&mut self, world: &World) -> (BTreeMap<RegistryName, Memory>, BTreeMap<RegistryName, u64>) {
        self.note_seen(world);
        let now = Instant::now();
        let (mut memories, mut counts) = (BTreeMap::new(), BTreeMap::new());
        for (name, running) in &self.targets {
            let mut page = running.book.page();
            let page = &mut *page;
            let memory = &mut page.memory;
            page.contested.retain(|_, since| now.duration_since(*since) < CONTESTED);
            memory.contested = page.contested.keys().cloned().collect();
            let confirmed = self.mass.get(name).into_iter().flatten();
            memory.confirmed = confirmed
                .filter(|(_, since)| now.duration_since(**since) >= CONFIRM)
                .map(|(key, _)| key.clone())
                .collect();
            memories.insert(name.clone(), memory.clone());
            counts.insert(name.clone(), page.count);
        }
        (memories, counts)
    }

    fn hand_out(&mut self, plan: &Plan, counts: &BTreeMap<RegistryName, u64>) {
        let now = Instant::now();
        let mut mass = BTreeMap::new();
        for (name, of_target) in &plan.targets {
            // Since when they would go: held ones, and those that were let go just now.
            let held = of_target.held.iter().filter(|held| held.why == HeldWhy::MassRemoval);
            let mut keys: BTreeSet<Key> = held.map(|held| held.key.clone()).collect();
            let before = self.mass.remove(name).unwrap_or_default();
            let going = of_target
                .removals
                .iter()
                .filter(|removal| before.contains_key(&removal.key));
            keys.extend(going.map(|removal| removal.key.clone()));
            if !keys.is_empty() {
                let since = keys.into_iter().map(|key| {
                    let since = before.get(&key).copied().unwrap_or(now);
                    (key, since)
                });
                mass.insert(name.clone(), since.collect());
            }
        }
        self.mass = mass;
        let nothing = Arc::new(TargetPlan::default());
        for (name, running) in &self.targets {
            let of_target = plan.targets.get(name).unwrap_or(&nothing);
            let as_of = counts.get(name).copied().unwrap_or_default();
            {
                let mut page = running.book.page();
                page.planned(as_of);
                let writes = of_target.additions.iter().chain(&of_target.changes);
                let mut wanted: BTreeSet<&Key> = writes.map(|write| &write.shaped.key).collect();
                wanted.extend(of_target.held.iter().map(|held| &held.key));
                page.memory.rejected.retain(|key, _| wanted.contains(key));
                page.memory.switched_off.retain(|key| wanted.contains(key));
                page.status.kept = of_target.kept.len();
                page.status.held = of_target.held.len();
                page.status.conflicts = of_target.conflicts.len();
                page.status.left_out = of_target.left_out.len();
                page.status.waiting = waiting(of_target);
            }
            if let Made::Publisher { jobs, .. } = &running.made {
                jobs.send_replace(Job {
                    plan: of_target.clone(),
                    as_of,
                    limits: limits(&self.syncs, name),
                });
            }
        }
    }

    async fn apply(&mut self, digest: &str) -> Result<usize, ApplyError> {
        if !self.permit.holds() {
            return Err(ApplyError::NotWriter);
        }
        self.plan().await;
        let plan = self.plans.borrow().clone();
        if plan.digest != digest {
            return Err(ApplyError::Changed {
                now: plan.digest.clone(),
            });
        }
        let mut applied = 0;
        for (name, of_target) in &plan.targets {
            let Some(running) = self.targets.get(name) else {
                continue;
            };
            let mut page = running.book.page();
            let writes = of_target.additions.iter().chain(&of_target.changes);
            for write in writes.filter(|write| write.waits) {
                let approved = (write.shaped.key.clone(), Some(write.shaped.digest.clone()));
                page.approved.insert(approved);
                applied += 1;
            }
            for removal in of_target.removals.iter().filter(|removal| removal.waits) {
                page.approved.insert((removal.key.clone(), None));
                applied += 1;
            }
            drop(page);
            if let Made::Publisher { hurry, .. } = &running.made {
                hurry.notify_one();
            }
        }
        info!(plan = digest, writes = applied, "a plan was applied");
        Ok(applied)
    }

    fn show(&self) {
        let plan = self.plans.borrow().clone();
        let mut status = SyncStatus {
            cluster: self.cluster.clone(),
            writer: self.permit.holds(),
            epoch: self.permit.epoch(),
            plan: plan.digest.clone(),
            planned_at: self.planned_at,
            waiting: plan.waiting(),
            ..SyncStatus::default()
        };
        for (name, running) in &self.targets {
            let mut target = running.book.page().status.clone();
            match &running.made {
                Made::Failed { why, .. } => target.state = TargetState::Unwritable { why: why.clone() },
                Made::Publisher { publisher, .. } => target.figures = publisher.figures(),
            }
            status.targets.insert(name.clone(), target);
        }
        for sync in &self.syncs {
            let targets: BTreeSet<RegistryName> = sync
                .spec
                .edges()
                .into_iter()
                .filter_map(|(_, to)| RegistryName::new(to).ok())
                .collect();
            let all = plan
                .targets
                .values()
                .flat_map(|of_target| of_target.additions.iter().chain(&of_target.changes));
            let ours: Vec<_> = all.filter(|write| write.syncs.contains(&sync.name)).collect();
            let state = SyncState {
                mode: sync.spec.mode,
                targets: targets.into_iter().collect(),
                pending: ours.len(),
                waiting: ours
                    .iter()
                    .filter(|write| write.waits && sync.spec.mode == SyncMode::Plan)
                    .count(),
            };
            status.syncs.insert(sync.name.clone(), state);
        }
        self.status.send_if_modified(|shown| {
            let is_new = **shown != status;
            if is_new {
                *shown = Arc::new(status);
            }
            is_new
        });
    }
}

fn waiting(plan: &TargetPlan) -> usize {
    let writes = plan
        .additions
        .iter()
        .chain(&plan.changes)
        .filter(|write| write.waits)
        .count();
    writes + plan.removals.iter().filter(|removal| removal.waits).count()
}

/// Of all documents with that target the slowest.
fn limits(syncs: &[SyncConfig], target: &RegistryName) -> Limits {
    let of_target = syncs
        .iter()
        .filter(|sync| sync.spec.edges().iter().any(|(_, to)| *to == target.as_str()))
        .map(|sync| &sync.spec.limits);
    let slowest = of_target.min_by_key(|limits| limits.writes_per_second);
    let Some(limits) = slowest else {
        return Limits::default();
    };
    Limits {
        per_second: limits.writes_per_second,
        burst: limits.burst.unwrap_or(limits.writes_per_second),
    }
}
