//! What a facade shows of the [`World`]: one registry as it stands, or all of them as one.
//!
//! The merged view counts each instance once. What decides is its origin ([`mark`]): a native record and the copies
//! of it that were published into other registries have one key, and the native one is shown; without it (its
//! registry is not followed, or has lost it) one of the copies. A copy whose marks were lost is known by its id.
//!
//! Services of one name in several registries are one service there. Each record from there carries the mark of
//! its origin, so that nobody who follows a facade takes it for a native one.
//!
//! While a registry cannot be reached the World keeps its last good view, and so does a facade.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use landfall_config::kinds::facade::{FacadeSpec, FacadeView};
use landfall_model::{Instance, Origin, RegistryName, World, world::RegistryView, world::ServiceView};

use crate::{
    eureka::convert,
    publish::mark::{self, Mark, Provenance, provenance},
};

/// Written as the cluster of marks that a facade adds: nobody published these records.
const CLUSTER: &str = "facade";

/// An instance as it is shown, with where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    /// The registry that has it.
    pub registry: RegistryName,
    /// Whether its ids are `node/id`, as Consul's are.
    pub is_consul: bool,
    /// It, with its mark.
    pub instance: Arc<Instance>,
}

/// Services by name; the lists are shared with the view before if nothing of them has changed.
pub(crate) type Services = BTreeMap<Arc<str>, Arc<Vec<Shown>>>;

/// Makes views of worlds, and remembers what it can use again.
#[derive(Debug)]
pub(crate) struct Viewer {
    view: FacadeView,
    /// Of each service what was made of it last.
    read: HashMap<(RegistryName, Arc<str>), Made>,
    last: Services,
}

/// A service as it was read, and what was made of it.
type Made = (Arc<ServiceView>, Arc<Vec<Record>>);

/// An instance with the key of its origin.
#[derive(Debug)]
struct Record {
    key: Arc<str>,
    is_native: bool,
    shown: Shown,
}

impl Viewer {
    pub(crate) fn new(spec: &FacadeSpec) -> Self {
        Self {
            view: spec.view.clone(),
            read: HashMap::new(),
            last: Services::new(),
        }
    }

    /// Whether everything that is to be shown has been read at least once. A registry that is not there (any more)
    /// is not waited for, unless it is the only one.
    pub(crate) fn is_ready(&self, world: &World) -> bool {
        match &self.view {
            FacadeView::Native(view) => world.registries.get(&*view.registry).is_some_and(|one| one.is_ready()),
            FacadeView::Mesh(_) => !world.registries.is_empty() && world.registries.values().all(|one| one.is_ready()),
        }
    }

    /// Whether several registries are shown as one.
    pub(crate) fn is_merged(&self) -> bool {
        matches!(self.view, FacadeView::Mesh(_))
    }

    /// What is shown of this world.
    pub(crate) fn services(&mut self, world: &World) -> &Services {
        let fresh = match &self.view {
            FacadeView::Native(view) => match world.registries.get(&*view.registry) {
                Some(registry) => native(registry),
                // Its document was taken away: what it said last stays until the facade's is, too.
                None => return &self.last,
            },
            FacadeView::Mesh(_) => self.merged(world),
        };
        let last = std::mem::take(&mut self.last);
        self.last = fresh
            .into_iter()
            .map(|(name, list)| match last.get(&name) {
                Some(same) if **same == list => (name, same.clone()),
                _ => (name, Arc::new(list)),
            })
            .collect();
        &self.last
    }

    fn merged(&mut self, world: &World) -> BTreeMap<Arc<str>, Vec<Shown>> {
        let mut read = HashMap::new();
        for registry in world.registries.values() {
            for (name, service) in &registry.services {
                let key = (registry.name.clone(), name.clone());
                let known = self.read.remove(&key).filter(|(known, _)| Arc::ptr_eq(known, service));
                let made = known.unwrap_or_else(|| (service.clone(), Arc::new(records(registry, name, service))));
                read.insert(key, made);
            }
        }
        self.read = read;
        // By the order of registries, so that two runs agree on which copy is shown.
        let mut chosen: HashMap<&str, (&Arc<str>, &Record)> = HashMap::new();
        for registry in world.registries.values() {
            for name in registry.services.keys() {
                let Some((_, records)) = self.read.get(&(registry.name.clone(), name.clone())) else {
                    continue;
                };
                for record in records.iter() {
                    let better = |known: &Record| record.is_native && !known.is_native;
                    match chosen.get(&*record.key) {
                        Some((_, known)) if !better(known) => {}
                        _ => {
                            chosen.insert(&record.key, (name, record));
                        }
                    }
                }
            }
        }
        let mut services: BTreeMap<Arc<str>, Vec<Shown>> = BTreeMap::new();
        for (name, record) in chosen.into_values() {
            services.entry(name.clone()).or_default().push(record.shown.clone());
        }
        for list in services.values_mut() {
            list.sort_by(|a, b| (&a.registry, &a.instance.id).cmp(&(&b.registry, &b.instance.id)));
        }
        services
    }
}

/// Whether its id is `node/id`: that of a Consul, or of a registry of our own for who did not come by Eureka.
fn is_consul(registry: &RegistryView, instance: &Instance) -> bool {
    registry.kind == "consul" || (registry.kind == "embedded" && !instance.metadata.contains_key(convert::APP))
}

fn native(registry: &RegistryView) -> BTreeMap<Arc<str>, Vec<Shown>> {
    let shown = |instance: &Arc<Instance>| Shown {
        registry: registry.name.clone(),
        is_consul: is_consul(registry, instance),
        instance: instance.clone(),
    };
    let services = registry.services.iter();
    services
        .map(|(name, view)| (name.clone(), view.service.instances.iter().map(shown).collect()))
        .collect()
}

fn records(registry: &RegistryView, name: &Arc<str>, service: &ServiceView) -> Vec<Record> {
    let shown = |instance: Arc<Instance>| Shown {
        registry: registry.name.clone(),
        is_consul: is_consul(registry, &instance),
        instance,
    };
    let instances = service.service.instances.iter();
    instances
        .map(|instance| match provenance(instance) {
            Provenance::Native => {
                let origin = Origin {
                    registry: registry.name.clone(),
                    service: name.clone(),
                    instance: instance.id.clone(),
                };
                let mark = Mark::new(&origin, CLUSTER.into(), 0);
                let mut marked = (**instance).clone();
                mark.write(CLUSTER, &mut marked.metadata);
                Record {
                    key: mark.id(),
                    is_native: true,
                    shown: shown(Arc::new(marked)),
                }
            }
            Provenance::Marked(mark) => Record {
                key: mark.id(),
                is_native: false,
                shown: shown(instance.clone()),
            },
            Provenance::Unmarked(_) => Record {
                // An id of ours is made of the origin alone, and may stand behind a node's name.
                key: match instance.id.find(mark::TAG) {
                    Some(at) => instance.id[at..].into(),
                    None => format!("{}/{name}/{}", registry.name, instance.id).into(),
                },
                is_native: false,
                shown: shown(instance.clone()),
            },
        })
        .collect()
}

#[cfg(test)]
pub(in crate::facade) mod tests;
