//! Simulated registries and clusters that see them late, write on what they saw, forget and come back.

use std::collections::{BTreeMap, BTreeSet};

use landfall_config::kinds::registry_sync::RegistrySyncSpec;
use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::publish::Provenance;

/// What is configured and what is true at the beginning.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub sites: Vec<Site>,
    pub clusters: Vec<Cluster>,
}

/// A registry.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub name: String,
    /// Keeps no metadata of ours.
    pub drops_marks: bool,
}

/// A cluster with one writer.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub name: String,
    pub follows: BTreeSet<String>,
    pub edges: Vec<EdgeOf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EdgeOf {
    pub from: String,
    pub to: String,
    pub prefix: &'static str,
    /// A service that is not carried; empty: none.
    pub exclude: &'static str,
}

/// A native record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Native {
    pub registry: String,
    pub service: String,
    pub id: String,
    pub address: u8,
    pub protocol: Option<&'static str>,
    /// No target can hold it.
    pub unfit: bool,
}

impl Native {
    pub fn origin(&self) -> specification::OriginOf {
        (self.registry.clone(), self.service.clone(), self.id.clone())
    }

    fn key(&self) -> Key {
        Key {
            service: self.service.as_str().into(),
            id: self.id.as_str().into(),
        }
    }

    fn instance(&self) -> Instance {
        let mut instance = instance(&self.id, &format!("10.0.0.{}:80", self.address));
        instance.ports[0].protocol = match self.protocol {
            Some("dubbo") => Protocol::Dubbo,
            Some(_) => Protocol::Http,
            None => Protocol::Unknown,
        };
        if self.unfit {
            instance.status = Status::Unknown;
        }
        instance
    }
}

/// What happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Come(Native),
    Go(prop::sample::Index),
    /// A cluster sees a registry, as it was so many versions ago.
    See {
        cluster: u8,
        site: u8,
        lag: u8,
    },
    /// A cluster plans and does what the mask says of it.
    Write {
        cluster: u8,
        mask: u32,
    },
    /// A cluster does its last plan (once more): it was late.
    WriteLate {
        cluster: u8,
    },
    /// A writer starts anew.
    Restart {
        cluster: u8,
        keeps_ledger: bool,
    },
    /// A registry starts anew, empty. Who is native registers again later.
    Empty {
        site: u8,
    },
    Session {
        cluster: u8,
        site: u8,
        is_live: bool,
    },
}

type Records = BTreeMap<Key, Arc<Instance>>;

/// A registry with its past.
struct Registry {
    drops_marks: bool,
    records: Records,
    versions: Vec<Arc<Records>>,
}

impl Registry {
    fn edited(&mut self) {
        self.versions.push(Arc::new(self.records.clone()));
    }
}

/// A cluster's writer.
struct Client {
    name: Arc<str>,
    syncs: Vec<SyncConfig>,
    planner: Planner,
    /// Which version it has seen of each registry it follows.
    seen: BTreeMap<RegistryName, Option<usize>>,
    stale: BTreeSet<RegistryName>,
    memory: BTreeMap<RegistryName, Memory>,
    /// Keeps alive.
    holds: BTreeMap<(RegistryName, Key), Arc<Shaped>>,
    last: Plan,
    epoch: u64,
}

/// Everything.
pub(super) struct Simulation {
    registries: BTreeMap<RegistryName, Registry>,
    clients: Vec<Client>,
    pub natives: Vec<Native>,
    pub writes: usize,
}

impl Simulation {
    pub fn new(scenario: &Scenario) -> Self {
        let registry = |site: &Site| {
            let registry = Registry {
                drops_marks: site.drops_marks,
                records: Records::new(),
                versions: vec![Arc::default()],
            };
            (name(&site.name), registry)
        };
        let client = |cluster: &Cluster| {
            let syncs: Vec<SyncConfig> = cluster.edges.iter().enumerate().map(sync_of).collect();
            Client {
                name: cluster.name.as_str().into(),
                planner: Planner::new(&syncs),
                syncs,
                seen: cluster.follows.iter().map(|site| (name(site), None)).collect(),
                stale: BTreeSet::new(),
                memory: BTreeMap::new(),
                holds: BTreeMap::new(),
                last: Plan::default(),
                epoch: 1,
            }
        };
        Self {
            registries: scenario.sites.iter().map(registry).collect(),
            clients: scenario.clusters.iter().map(client).collect(),
            natives: Vec::new(),
            writes: 0,
        }
    }

    pub fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let at = |n: u8, of: usize| usize::from(n) % of;
        let clients = self.clients.len();
        let site = |n: u8| {
            self.registries
                .keys()
                .nth(at(n, self.registries.len()))
                .cloned()
                .unwrap()
        };
        match step {
            Step::Come(native) => {
                let mut native = native.clone();
                let number: u8 = native.registry.parse().unwrap_or_default();
                native.registry = site(number).as_str().to_owned();
                let registry = self.registries.get_mut(&*native.registry).unwrap();
                registry.records.insert(native.key(), Arc::new(native.instance()));
                registry.edited();
                self.natives.retain(|known| known.origin() != native.origin());
                self.natives.push(native);
            }
            Step::Go(index) if !self.natives.is_empty() => {
                let gone = self.natives.remove(index.index(self.natives.len()));
                let registry = self.registries.get_mut(&*gone.registry).unwrap();
                registry.records.remove(&gone.key());
                registry.edited();
            }
            Step::Go(_) => {}
            Step::See { cluster, site: n, lag } => {
                let site = site(*n);
                self.see(at(*cluster, clients), &site, usize::from(*lag));
            }
            Step::Write { cluster, mask } => {
                let client = at(*cluster, clients);
                let plan = self.plan(client)?;
                self.execute(client, &plan, *mask);
                self.clients[client].last = plan;
            }
            Step::WriteLate { cluster } => {
                let client = at(*cluster, clients);
                let plan = self.clients[client].last.clone();
                self.execute(client, &plan, u32::MAX);
            }
            Step::Restart { cluster, keeps_ledger } => {
                let client = &mut self.clients[at(*cluster, clients)];
                client.planner = Planner::new(&client.syncs);
                client.seen.values_mut().for_each(|seen| *seen = None);
                client.holds.clear();
                client.last = Plan::default();
                client.epoch += 1;
                for memory in client.memory.values_mut() {
                    memory.pending.clear();
                    memory.confirmed.clear();
                    if !keeps_ledger {
                        memory.ledger.clear();
                    }
                }
            }
            Step::Empty { site: n } => {
                let site = site(*n);
                let registry = self.registries.get_mut(&site).unwrap();
                registry.records.clear();
                registry.edited();
            }
            Step::Session {
                cluster,
                site: n,
                is_live,
            } => {
                let site = site(*n);
                let client = &mut self.clients[at(*cluster, clients)];
                match is_live {
                    true => drop(client.stale.remove(&site)),
                    false => drop(client.stale.insert(site)),
                }
            }
        }
        self.check()
    }

    /// The noise ends: everybody is live, sees everything, writes everything; leases that nobody keeps run out.
    /// The number of writes of the last rounds, which should be none.
    pub fn quiet(&mut self) -> Result<usize, TestCaseError> {
        for client in &mut self.clients {
            client.stale.clear();
        }
        for native in &self.natives {
            let registry = self.registries.get_mut(&*native.registry).unwrap();
            registry.records.insert(native.key(), Arc::new(native.instance()));
            registry.edited();
        }
        // What a publisher restores and what runs out comes after a first rest, so that both are met again.
        self.rest(false)?;
        self.restore();
        self.expire();
        self.rest(true)?;
        let before = self.writes;
        for _ in 0..3 {
            self.round(true)?;
        }
        Ok(self.writes - before)
    }

    /// Rounds until two in a row write nothing.
    fn rest(&mut self, is_long_ago: bool) -> Result<(), TestCaseError> {
        let mut idle = 0;
        for _ in 0..40 {
            let before = self.writes;
            self.round(is_long_ago)?;
            idle = if self.writes == before { idle + 1 } else { 0 };
            if idle == 2 {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("it does not come to rest"))
    }

    /// Each cluster sees everything and does its plan.
    fn round(&mut self, is_long_ago: bool) -> Result<(), TestCaseError> {
        for client in 0..self.clients.len() {
            let sites: Vec<RegistryName> = self.clients[client].seen.keys().cloned().collect();
            for site in sites {
                self.see(client, &site, 0);
                if is_long_ago {
                    self.clients[client].memory.entry(site).or_default().pending.clear();
                }
            }
            let plan = self.plan(client)?;
            self.confirm(client, &plan);
            self.execute(client, &plan, u32::MAX);
            self.check()?;
        }
        Ok(())
    }

    /// By registry: `cluster service path address` of each copy. Where marks are dropped, `service address` alone.
    pub fn copies(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all = BTreeMap::new();
        for (name, registry) in &self.registries {
            let copies = registry.records.iter().filter_map(|(key, instance)| {
                let of = format!("{} {}", key.service, instance.host);
                match mark::provenance(instance) {
                    Provenance::Native => None,
                    Provenance::Unmarked(_) => Some(of),
                    Provenance::Marked(mark) => {
                        let path: Vec<_> = mark.path.iter().map(RegistryName::as_str).collect();
                        Some(format!("{} {} {of}", mark.cluster, path.join(",")))
                    }
                }
            });
            all.insert(name.as_str().to_owned(), copies.collect());
        }
        all
    }

    fn see(&mut self, client: usize, site: &RegistryName, lag: usize) {
        let client = &mut self.clients[client];
        let Some(seen) = client.seen.get_mut(site) else { return };
        if client.stale.contains(site) {
            return;
        }
        let registry = &self.registries[site];
        let version = (registry.versions.len() - 1).saturating_sub(lag).max(seen.unwrap_or(0));
        *seen = Some(version);
        let records = &registry.versions[version];
        if let Some(memory) = client.memory.get_mut(site) {
            let ledger = &memory.ledger;
            memory.pending.retain(|key, pending| {
                let there = records.get(key);
                match pending {
                    Pending::Removed => there.is_some(),
                    Pending::Put => !there.is_some_and(|instance| match mark::digest_in(instance) {
                        Some(digest) => ledger.get(key).is_some_and(|written| written.digest == *digest),
                        None => true,
                    }),
                }
            });
        }
    }

    fn plan(&mut self, client: usize) -> Result<Plan, TestCaseError> {
        let client = &mut self.clients[client];
        let mut world = World::default();
        for (site, seen) in &client.seen {
            let records = seen
                .map(|version| self.registries[site].versions[version].clone())
                .unwrap_or_default();
            let records = records
                .iter()
                .map(|(key, instance)| (key.service.clone(), instance.clone()));
            let mut view = view(site.as_str(), records);
            if seen.is_none() {
                view.caught_up = None;
                view.session = Session::Connecting { since: moment() };
            } else if client.stale.contains(site) {
                view.session = stale();
            }
            world.registries.insert(site.clone(), Arc::new(view));
        }
        let input = Input {
            world: &world,
            cluster: &client.name,
            epoch: client.epoch,
            shape: &|_, record| Some(plain(record)),
            memory: &client.memory,
        };
        let plan = client.planner.plan(&input);
        prop_assert_eq!(
            &plan,
            &Planner::new(&client.syncs).plan(&input),
            "a plan depends on nothing but its input"
        );
        for (site, of_target) in &plan.targets {
            let seen = |key: &Key| {
                world
                    .registries
                    .get(site)?
                    .services
                    .get(&key.service)?
                    .service
                    .instances
                    .iter()
                    .find(|i| i.id == key.id)
                    .cloned()
            };
            for removal in &of_target.removals {
                let ours = seen(&removal.key).is_none_or(|instance| match mark::provenance(&instance) {
                    Provenance::Native => false,
                    Provenance::Unmarked(_) => true,
                    Provenance::Marked(mark) => mark.cluster == client.name,
                });
                prop_assert!(ours, "{} would remove another's {:?}", client.name, removal);
                let is_live = matches!(world.registries[site].session, Session::Live { .. });
                prop_assert!(is_live, "a removal while the target is stale");
            }
            let mut origins = BTreeSet::new();
            let written = of_target
                .additions
                .iter()
                .chain(&of_target.changes)
                .map(|write| &write.shaped);
            for shaped in written.chain(&of_target.kept) {
                prop_assert!(
                    !shaped.record.mark.path.contains(site),
                    "{:?} is its own ancestor",
                    shaped.key
                );
                prop_assert!(
                    origins.insert(shaped.record.mark.origin.clone()),
                    "one origin twice in {site}"
                );
            }
        }
        Ok(plan)
    }

    fn confirm(&mut self, client: usize, plan: &Plan) {
        for (site, of_target) in &plan.targets {
            let held = of_target.held.iter().filter(|held| held.why == HeldWhy::MassRemoval);
            let keys = held.map(|held| held.key.clone()).collect();
            self.clients[client].memory.entry(site.clone()).or_default().confirmed = keys;
        }
    }

    /// Does what the mask says of a plan, one bit for each write in turn.
    fn execute(&mut self, client: usize, plan: &Plan, mask: u32) {
        let client = &mut self.clients[client];
        let mut bit = 0;
        let mut chosen = || {
            bit = (bit + 1) % 32;
            mask >> bit & 1 == 1
        };
        for (site, of_target) in &plan.targets {
            let Some(registry) = self.registries.get_mut(site) else {
                continue;
            };
            let memory = client.memory.entry(site.clone()).or_default();
            for shaped in of_target.kept.iter().chain(&of_target.retained) {
                client
                    .holds
                    .entry((site.clone(), shaped.key.clone()))
                    .or_insert_with(|| shaped.clone());
                let written = written(shaped);
                memory.ledger.entry(shaped.key.clone()).or_insert(written);
            }
            for write in of_target.additions.iter().chain(&of_target.changes) {
                if !chosen() {
                    continue;
                }
                put(registry, &write.shaped);
                let key = write.shaped.key.clone();
                client.holds.insert((site.clone(), key.clone()), write.shaped.clone());
                memory.ledger.insert(key.clone(), written(&write.shaped));
                memory.pending.insert(key, Pending::Put);
                self.writes += 1;
            }
            for removal in &of_target.removals {
                if !chosen() {
                    continue;
                }
                registry.records.remove(&removal.key);
                registry.edited();
                client.holds.remove(&(site.clone(), removal.key.clone()));
                memory.ledger.remove(&removal.key);
                memory.pending.insert(removal.key.clone(), Pending::Removed);
                self.writes += 1;
            }
            for key in &of_target.disowned {
                client.holds.remove(&(site.clone(), key.clone()));
                memory.ledger.remove(key);
                memory.pending.remove(key);
            }
        }
    }

    /// Publishers put again what their registry has lost.
    fn restore(&mut self) {
        for client in &self.clients {
            for ((site, key), shaped) in &client.holds {
                let registry = self.registries.get_mut(site).unwrap();
                if !registry.records.contains_key(key) {
                    put(registry, shaped);
                }
            }
        }
    }

    /// Leases that nobody keeps run out.
    fn expire(&mut self) {
        for (site, registry) in &mut self.registries {
            let is_held = |key: &Key| {
                self.clients
                    .iter()
                    .any(|client| client.holds.contains_key(&(site.clone(), key.clone())))
            };
            registry
                .records
                .retain(|key, instance| mark::provenance(instance) == Provenance::Native || is_held(key));
            registry.edited();
        }
    }

    /// What holds at every moment.
    fn check(&self) -> Result<(), TestCaseError> {
        for (site, registry) in &self.registries {
            for instance in registry.records.values() {
                if let Provenance::Marked(mark) = mark::provenance(instance) {
                    let once: BTreeSet<_> = mark.path.iter().collect();
                    prop_assert!(!mark.path.contains(site), "its own ancestor: {:?} in {}", mark, site);
                    prop_assert_eq!(once.len(), mark.path.len(), "a registry twice: {:?}", mark);
                }
            }
        }
        Ok(())
    }
}

fn sync_of((number, edge): (usize, &EdgeOf)) -> SyncConfig {
    let mut spec = json!({ "from": [edge.from], "to": [edge.to], "rename": { "prefix": edge.prefix } });
    if !edge.exclude.is_empty() {
        spec["services"] = json!({ "exclude": [edge.exclude] });
    }
    let spec: RegistrySyncSpec = serde_json::from_value(spec).unwrap();
    SyncConfig {
        name: format!("s{number}").into(),
        spec,
    }
}

fn put(registry: &mut Registry, shaped: &Shaped) {
    let mut instance = shaped.record.instance.clone();
    if registry.drops_marks {
        mark::strip(&mut instance.metadata);
    }
    registry.records.insert(shaped.key.clone(), Arc::new(instance));
    registry.edited();
}

fn written(shaped: &Shaped) -> Written {
    Written {
        digest: shaped.digest.clone(),
        origin: shaped.record.mark.origin.clone(),
        path: shaped.record.mark.path.as_slice().into(),
    }
}
