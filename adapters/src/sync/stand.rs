//! Which record of each origin stands in each registry: a breadth-first walk over the edges, by length of path.
//!
//! ```text
//! level 0   native records, each in its registry
//! level n   what level n-1 sends over an edge, and what other clusters wrote by a path of that length
//!           one for each registry and origin: the smallest by path, then by cluster; earlier levels come first
//! ```
//!
//! Next on the path: `settle`, which decides what of it is written into one registry.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_config::kinds::registry_sync::{GatewayAddress, SyncMode};
use landfall_model::{Instance, Origin, RegistryName, World};

use super::{
    edge::{Edge, Edges, through},
    plan::{LeftOut, LeftOutWhy},
};
use crate::publish::mark::{self, Mark, Provenance};

/// The instance id of a record that stands for a whole service.
pub(super) const WHOLE: &str = "*";
/// No path is longer: such a mark would not be read.
const LONGEST: usize = 16;

/// A record as it stands, or is to stand, in a registry.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// As a [`Mark`] carries it.
    pub origin: Origin,
    /// Registries it went through; empty for a native one.
    pub path: Arc<[RegistryName]>,
    /// Its name here.
    pub service: Arc<str>,
    /// Without marks.
    pub instance: Arc<Instance>,
    pub author: Author,
}

/// Who wrote a record, or will.
#[derive(Clone, Debug)]
pub(super) enum Author {
    Native,
    /// Another cluster.
    Other(Arc<str>),
    Ours(Way),
}

/// How a record of ours came.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// RegistrySyncs along the path.
    pub syncs: Vec<Arc<str>>,
    /// One of them writes only what is applied by hand.
    pub waits: bool,
    /// Instances behind a gateway, and the gateway, until it is settled.
    through: Option<(GatewayAddress, Vec<Arc<Instance>>)>,
}

/// A record of a registry, and what it is to us.
pub(super) struct Seen<'a> {
    pub service: &'a Arc<str>,
    pub instance: &'a Arc<Instance>,
    pub provenance: Provenance,
}

/// All records of all registries.
pub(super) type SeenBy<'a> = BTreeMap<&'a RegistryName, Vec<Seen<'a>>>;

/// Reads the marks of everything that stands somewhere. Another cluster's copy that the registry does not list any more
/// and the brake holds does not count: nobody is called by it, and while it counted ours would not take its place.
pub(super) fn look<'a>(world: &'a World, cluster: &str) -> SeenBy<'a> {
    let mut all = SeenBy::new();
    for (name, view) in &world.registries {
        let held: BTreeSet<(&str, &str)> = view
            .holds
            .iter()
            .flat_map(|hold| hold.instances.iter().map(|id| (&*hold.service, &**id)))
            .collect();
        let mut seen = Vec::new();
        for (service, view) in &view.services {
            let records = view.service.instances.iter().map(|instance| Seen {
                service,
                instance,
                provenance: mark::provenance(instance),
            });
            seen.extend(records.filter(|record| {
                let is_others = matches!(&record.provenance, Provenance::Marked(mark) if *mark.cluster != *cluster);
                !(is_others && held.contains(&(&**service, &*record.instance.id)))
            }));
        }
        all.insert(name, seen);
    }
    all
}

/// Where every origin stands.
#[derive(Debug, Default)]
pub(super) struct Standings {
    pub by_registry: BTreeMap<RegistryName, BTreeMap<Origin, Standing>>,
    /// Native records that are there, as marks carry their origin.
    pub natives: BTreeSet<Origin>,
    /// Records that cannot go further, by the registry they would go to.
    pub left_out: Vec<(RegistryName, LeftOut)>,
}

impl Standings {
    /// The record of an origin that stands in a registry.
    pub fn of(&self, registry: &RegistryName, origin: &Origin) -> Option<&Standing> {
        self.by_registry.get(registry)?.get(origin)
    }
}

/// Finds where every origin stands.
pub(super) fn stand(seen: &SeenBy<'_>, edges: &Edges, cluster: &Arc<str>, epoch: u64) -> Standings {
    let mut walk = Walk {
        cluster,
        levels: vec![BTreeMap::new()],
        standings: Standings::default(),
    };
    walk.natives(seen, epoch);
    walk.others(seen);
    let mut level = 0;
    while level < walk.levels.len() {
        let arrived = std::mem::take(&mut walk.levels[level]);
        for ((registry, _), standing) in arrived {
            walk.settle(registry, standing, edges);
        }
        level += 1;
    }
    walk.standings
}

struct Walk<'a> {
    cluster: &'a Arc<str>,
    /// By length of path: what arrives where.
    levels: Vec<BTreeMap<(RegistryName, Origin), Standing>>,
    standings: Standings,
}

impl Walk<'_> {
    fn natives(&mut self, seen: &SeenBy<'_>, epoch: u64) {
        let path: Arc<[RegistryName]> = Arc::new([]);
        for (registry, records) in seen {
            let native = records
                .iter()
                .filter(|seen| matches!(seen.provenance, Provenance::Native));
            for Seen { service, instance, .. } in native {
                let origin = Origin {
                    registry: (*registry).clone(),
                    service: (*service).clone(),
                    instance: instance.id.clone(),
                };
                let origin = Mark::new(&origin, self.cluster.clone(), epoch).origin;
                self.standings.natives.insert(Origin {
                    instance: WHOLE.into(),
                    ..origin.clone()
                });
                self.standings.natives.insert(origin.clone());
                let standing = Standing {
                    origin,
                    path: path.clone(),
                    service: (*service).clone(),
                    instance: (*instance).clone(),
                    author: Author::Native,
                };
                self.arrive((*registry).clone(), standing);
            }
        }
    }

    fn others(&mut self, seen: &SeenBy<'_>) {
        for (registry, records) in seen {
            for Seen {
                service,
                instance,
                provenance,
            } in records
            {
                let Provenance::Marked(mark) = provenance else { continue };
                let is_alive =
                    !seen.contains_key(&mark.origin.registry) || self.standings.natives.contains(&mark.origin);
                if mark.cluster == *self.cluster || !is_alive || mark.path.contains(registry) {
                    continue;
                }
                let mut plain = Instance::clone(instance);
                mark::strip(&mut plain.metadata);
                let standing = Standing {
                    origin: mark.origin.clone(),
                    path: mark.path.as_slice().into(),
                    service: (*service).clone(),
                    instance: Arc::new(plain),
                    author: Author::Other(mark.cluster.clone()),
                };
                self.arrive((*registry).clone(), standing);
            }
        }
    }

    /// Puts a record among those of its level; the smaller one of two stays.
    fn arrive(&mut self, registry: RegistryName, standing: Standing) {
        let level = standing.path.len();
        if level > LONGEST {
            return;
        }
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, BTreeMap::new);
        }
        let key = (registry, standing.origin.clone());
        match self.levels[level].entry(key) {
            std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(standing)),
            std::collections::btree_map::Entry::Occupied(mut taken) => {
                let known = taken.get_mut();
                let rank = |one: &Standing| {
                    let cluster = match &one.author {
                        Author::Native => None,
                        Author::Other(cluster) => Some(cluster.clone()),
                        Author::Ours(_) => Some(self.cluster.clone()),
                    };
                    (one.path.clone(), cluster, one.service.clone())
                };
                match (rank(&standing).cmp(&rank(known)), &mut known.author, &standing.author) {
                    (std::cmp::Ordering::Less, ..) => *known = standing,
                    (
                        std::cmp::Ordering::Equal,
                        Author::Ours(Way {
                            through: Some((_, members)),
                            ..
                        }),
                        Author::Ours(Way {
                            through: Some((_, more)),
                            ..
                        }),
                    ) => members.extend(more.iter().cloned()),
                    _ => {}
                }
            }
        }
    }

    /// Lets a record stand unless one came before, and sends it on.
    fn settle(&mut self, registry: RegistryName, mut standing: Standing, edges: &Edges) {
        if self.standings.of(&registry, &standing.origin).is_some() {
            return;
        }
        if let Author::Ours(way) = &mut standing.author
            && let Some((gateway, members)) = way.through.take()
        {
            let instance = through(&gateway, &members);
            if instance.ports.is_empty() {
                let reason = format!("the gateway {} has no port for what it speaks", gateway.host);
                let left_out = LeftOut {
                    why: LeftOutWhy::NoPort,
                    service: standing.service.clone(),
                    of: format!("{}.{}", standing.origin.service, standing.origin.registry),
                    reason,
                    instances: vec![WHOLE.into()],
                };
                self.standings.left_out.push((registry, left_out));
                return;
            }
            standing.instance = Arc::new(instance);
        }
        let mut reached: Vec<&RegistryName> = Vec::new();
        for edge in edges.from(&registry) {
            let is_new = !reached.contains(&&edge.to) && !standing.path.contains(&edge.to);
            if is_new && edge.selects(&standing.service, &standing.instance) {
                reached.push(&edge.to);
                let sent = send(&registry, &standing, edge);
                self.arrive(edge.to.clone(), sent);
            }
        }
        let here = self.standings.by_registry.entry(registry).or_default();
        here.insert(standing.origin.clone(), standing);
    }
}

/// What arrives at the end of an edge.
fn send(registry: &RegistryName, standing: &Standing, edge: &Edge) -> Standing {
    let (mut syncs, mut waits) = match &standing.author {
        Author::Ours(way) => (way.syncs.clone(), way.waits),
        Author::Native | Author::Other(_) => (Vec::new(), false),
    };
    if !syncs.contains(&edge.sync) {
        syncs.push(edge.sync.clone());
    }
    waits |= edge.mode == SyncMode::Plan;
    let instance = edge.relabel(&standing.instance);
    let mut origin = standing.origin.clone();
    let through = edge.gateway.as_ref().map(|gateway| {
        origin.instance = WHOLE.into();
        (gateway.clone(), vec![instance.clone()])
    });
    Standing {
        origin,
        path: standing.path.iter().chain([registry]).cloned().collect(),
        service: edge.name(&standing.service),
        instance,
        author: Author::Ours(Way { syncs, waits, through }),
    }
}
