//! Registries in memory for the tests of sync, and what is common to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::SyncConfig;
use landfall_model::{
    Host, Instance, Port, Protocol, RegistryName, RegistryView, Service, ServiceId, Status, World,
    world::{Freshness, Hold, ServiceView, Session},
};
use serde_json::{Value, json};

use super::*;
use crate::publish::{Key, Record, Shaped, Unfit, mark};

mod planning;
mod property;
mod running;
mod simulation;
mod specification;

pub(super) fn name(registry: &str) -> RegistryName {
    RegistryName::new(registry).unwrap()
}

pub(super) fn sync(name: &str, spec: Value) -> SyncConfig {
    SyncConfig {
        name: name.into(),
        spec: serde_json::from_value(spec).unwrap(),
    }
}

pub(super) fn between(registries: &[&str]) -> Vec<SyncConfig> {
    vec![sync("all", json!({ "between": registries }))]
}

/// `host:port` with HTTP unknown, as Eureka states it.
pub(super) fn instance(id: &str, address: &str) -> Instance {
    let (host, port) = address.rsplit_once(':').unwrap();
    Instance {
        id: id.into(),
        host: Host::parse(host),
        ports: vec![Port {
            number: port.parse().unwrap(),
            protocol: Protocol::Unknown,
            tls: false,
        }],
        status: Status::Up,
        weight: 100,
        zone: None,
        metadata: BTreeMap::new(),
        changed: None,
    }
}

pub(super) fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// A registry that is live and caught up.
pub(super) fn view(registry: &str, records: impl IntoIterator<Item = (Arc<str>, Arc<Instance>)>) -> RegistryView {
    let mut services: BTreeMap<Arc<str>, Vec<Arc<Instance>>> = BTreeMap::new();
    for (service, instance) in records {
        services.entry(service).or_default().push(instance);
    }
    let shown = |(service, mut instances): (Arc<str>, Vec<Arc<Instance>>)| {
        instances.sort_by(|a, b| a.id.cmp(&b.id));
        let view = ServiceView {
            service: Arc::new(Service {
                id: ServiceId::new(name(registry), &*service),
                instances,
            }),
            freshness: Freshness::Fresh { since: moment() },
        };
        (service, Arc::new(view))
    };
    RegistryView {
        name: name(registry),
        kind: "eureka",
        address: String::new(),
        session: Session::Live { since: moment() },
        caught_up: Some(moment()),
        last_good: None,
        services: services.into_iter().map(shown).collect(),
        holds: Vec::new(),
        quarantined: Vec::new(),
        governance: Vec::new(),
    }
}

pub(super) fn stale() -> Session {
    Session::Stale {
        since: moment(),
        why: "503".to_owned(),
        retry_at: moment(),
    }
}

/// What a registry without rules of its own makes of a record.
pub(super) fn plain(record: &Record) -> Result<Shaped, Unfit> {
    if record.instance.status == Status::Unknown {
        return Err(Unfit {
            reason: "it has no word for UNKNOWN".to_owned(),
        });
    }
    let instance = &record.instance;
    let content = serde_json::to_vec(&(&record.service, instance)).unwrap();
    let path = serde_json::to_vec(&record.mark.path).unwrap();
    let digest: Arc<str> = mark::digest_of(&[&content, &path, record.mark.cluster.as_bytes()]).into();
    let mut record = record.clone();
    let id = record.mark.id();
    record.instance.id = id.clone();
    record.mark.write(&digest, &mut record.instance.metadata);
    Ok(Shaped {
        key: Key {
            service: record.service.clone(),
            id,
        },
        record: Arc::new(record),
        digest,
        losses: Vec::new(),
    })
}

/// A world, a planner and what it remembers.
pub(super) struct Bench {
    pub registries: BTreeMap<RegistryName, BTreeMap<Key, Arc<Instance>>>,
    pub sessions: BTreeMap<RegistryName, Session>,
    pub holds: BTreeMap<RegistryName, Vec<Hold>>,
    pub memory: BTreeMap<RegistryName, Memory>,
    pub planner: Planner,
    pub cluster: Arc<str>,
}

impl Bench {
    pub fn new(registries: &[&str], syncs: &[SyncConfig]) -> Self {
        Self {
            registries: registries
                .iter()
                .map(|registry| (name(registry), BTreeMap::new()))
                .collect(),
            sessions: BTreeMap::new(),
            holds: BTreeMap::new(),
            memory: BTreeMap::new(),
            planner: Planner::new(syncs),
            cluster: "c1".into(),
        }
    }

    pub fn add(&mut self, registry: &str, service: &str, instance: Instance) {
        let key = Key {
            service: service.into(),
            id: instance.id.clone(),
        };
        self.registries
            .get_mut(&name(registry))
            .unwrap()
            .insert(key, Arc::new(instance));
    }

    pub fn remove(&mut self, registry: &str, id: &str) {
        let records = self.registries.get_mut(&name(registry)).unwrap();
        records.retain(|key, _| &*key.id != id);
    }

    pub fn world(&self) -> World {
        let shown = |(registry, records): (&RegistryName, &BTreeMap<Key, Arc<Instance>>)| {
            let records = records
                .iter()
                .map(|(key, instance)| (key.service.clone(), instance.clone()));
            let mut view = view(registry.as_str(), records);
            if let Some(session) = self.sessions.get(registry) {
                view.session = session.clone();
            }
            view.holds = self.holds.get(registry).cloned().unwrap_or_default();
            (registry.clone(), Arc::new(view))
        };
        World {
            registries: self.registries.iter().map(shown).collect(),
        }
    }

    pub fn plan(&mut self) -> Plan {
        let world = self.world();
        self.planner.plan(&Input {
            world: &world,
            cluster: &self.cluster,
            epoch: 1,
            shape: &|_, record| Some(plain(record)),
            memory: &self.memory,
        })
    }

    /// Does what the plan says, and remembers it.
    pub fn execute(&mut self, plan: &Plan) -> usize {
        let mut writes = 0;
        for (target, plan) in &plan.targets {
            let records = self.registries.get_mut(target).unwrap();
            let memory = self.memory.entry(target.clone()).or_default();
            for write in plan.additions.iter().chain(&plan.changes).filter(|write| !write.waits) {
                let shaped = &write.shaped;
                records.insert(shaped.key.clone(), Arc::new(shaped.record.instance.clone()));
                memory.ledger.insert(
                    shaped.key.clone(),
                    Written {
                        digest: shaped.digest.clone(),
                        origin: write.origin.clone(),
                        path: write.path.clone(),
                    },
                );
                writes += 1;
            }
            for removal in plan.removals.iter().filter(|removal| !removal.waits) {
                records.remove(&removal.key);
                memory.ledger.remove(&removal.key);
                writes += 1;
            }
            for key in &plan.disowned {
                memory.ledger.remove(key);
            }
        }
        writes
    }

    /// Plans and writes until nothing is to be done.
    pub fn converge(&mut self) -> usize {
        let mut writes = 0;
        for _ in 0..20 {
            let plan = self.plan();
            match self.execute(&plan) {
                0 => return writes,
                some => writes += some,
            }
        }
        panic!("it does not come to rest: {:?}", self.plan());
    }

    /// `service@host:port path` of every copy in a registry.
    pub fn copies(&self, registry: &str) -> Vec<String> {
        let records = &self.registries[&name(registry)];
        let copies = records.iter().filter_map(|(key, instance)| {
            let path = instance.metadata.get(mark::PATH)?;
            let port = instance.ports.first().map_or(0, |port| port.number);
            Some(format!("{}@{}:{port} {path}", key.service, instance.host))
        });
        copies.collect()
    }
}
