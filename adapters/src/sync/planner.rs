//! The planner: from what is seen, wanted and remembered to a [`Plan`]. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_config::SyncConfig;
use landfall_model::{Origin, RegistryName, World};
use serde::{Deserialize, Serialize};

use super::{
    diff::{Ground, diff},
    edge::Edges,
    plan::{Plan, Write},
    settle::{Settled, Shapes, Writer, settle},
    stand::{look, stand},
};
use crate::publish::{Key, Record, Shaped, Unfit};

/// What the publisher of a registry makes of a record; `None` if nothing can be written there.
pub type Shape<'a> = dyn Fn(&RegistryName, &Record) -> Option<Result<Shaped, Unfit>> + 'a;

/// What a plan is made from, besides the syncs.
pub struct Input<'a> {
    /// Everything that is seen.
    pub world: &'a World,
    /// Id of our cluster.
    pub cluster: &'a Arc<str>,
    /// Which writer of it.
    pub epoch: u64,
    /// The publishers' `shape`.
    pub shape: &'a Shape<'a>,
    /// What is remembered, by registry that is written.
    pub memory: &'a BTreeMap<RegistryName, Memory>,
}

/// What is remembered of one registry that is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// What we have written and not removed; survives a restart.
    pub ledger: BTreeMap<Key, Written>,
    /// Writes that were done and are not seen yet.
    pub pending: BTreeMap<Key, Pending>,
    /// Records the registry did not take.
    pub rejected: BTreeMap<Key, Rejected>,
    /// Removals that an earlier plan held as [`MassRemoval`](super::HeldWhy::MassRemoval), long enough ago and
    /// every plan since.
    pub confirmed: BTreeSet<Key>,
    /// Records that stand there and are not seen, because an operator has switched them off there.
    pub switched_off: BTreeSet<Key>,
    /// Records that somebody else puts back each time we change or remove them.
    pub contested: BTreeSet<Key>,
}

/// A record that we have written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Of its content.
    pub digest: Arc<str>,
    /// The native record it stands for.
    pub origin: Origin,
    /// Registries it went through.
    pub path: Arc<[RegistryName]>,
}

impl From<&Write> for Written {
    fn from(write: &Write) -> Self {
        Self {
            digest: write.shaped.digest.clone(),
            origin: write.origin.clone(),
            path: write.path.clone(),
        }
    }
}

/// A write that was done and is not seen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Written; the ledger says what.
    Put,
    /// Removed.
    Removed,
}

/// A record the registry did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Of what was refused: another content is tried again.
    pub digest: Arc<str>,
    /// What it said.
    pub reason: String,
}

/// Makes plans. Holds what it may reuse from plan to plan, which changes no plan.
#[derive(Debug)]
pub struct Planner {
    edges: Edges,
    shapes: Shapes,
}

impl Planner {
    /// For these documents.
    pub fn new(syncs: &[SyncConfig]) -> Self {
        Self {
            edges: Edges::new(syncs),
            shapes: Shapes::default(),
        }
    }

    /// Registries that something is to be written into.
    pub fn targets(&self) -> &BTreeSet<RegistryName> {
        self.edges.targets()
    }

    /// To be called when a publisher was made anew: what it makes of records may have changed.
    pub fn forget_shapes(&mut self) {
        self.shapes.clear();
    }

    /// What is to be done.
    pub fn plan(&mut self, input: &Input<'_>) -> Plan {
        let seen = look(input.world, input.cluster);
        let standings = stand(&seen, &self.edges, input.cluster, input.epoch);
        let writer = Writer {
            cluster: input.cluster,
            epoch: input.epoch,
            shape: input.shape,
        };
        let forgotten = Memory::default();
        let nothing = BTreeMap::new();
        let mut plan = Plan::default();
        let known = input.world.registries.keys().chain(self.edges.targets());
        let targets: BTreeSet<&RegistryName> = known.chain(input.memory.keys()).collect();
        for target in targets {
            let here = seen.get(target).map_or(&[][..], Vec::as_slice);
            let standing = standings.by_registry.get(target).unwrap_or(&nothing);
            let settled = match self.edges.targets().contains(target) {
                true => settle(target, standing, here, &writer, &mut self.shapes),
                false => Settled::default(),
            };
            let ground = Ground {
                target,
                input,
                edges: &self.edges,
                standings: &standings,
                seen: here,
                memory: input.memory.get(target).unwrap_or(&forgotten),
            };
            let mut of_target = diff(&ground, settled);
            let stopped = standings.left_out.iter().filter(|(registry, _)| registry == target);
            of_target.left_out.extend(stopped.map(|(_, left_out)| left_out.clone()));
            if self.edges.targets().contains(target) || !of_target.is_idle() || !of_target.held.is_empty() {
                plan.targets.insert(target.clone(), Arc::new(of_target));
            }
        }
        self.shapes.sweep();
        plan.sign();
        plan
    }
}
