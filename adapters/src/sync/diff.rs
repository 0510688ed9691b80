//! What is to be done in one registry: what is wanted against what is there, and the guards before it.
//!
//! ```text
//! wanted ─┬─ not there ───────────▶ addition      there = seen with our mark, or in our ledger,
//!         ├─ there, differs ──────▶ change                or written and not seen yet
//!         └─ there, equal ────────▶ kept
//! there, not wanted ─ evidence? ──▶ removal, or held
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_config::kinds::registry_sync::SyncMode;
use landfall_model::{Instance, Origin, RegistryName, RegistryView, world::Session};

use super::{
    edge::Edges,
    plan::{Held, HeldWhy, Lost, Removal, TargetPlan, Write},
    planner::{Input, Memory, Pending},
    settle::{Settled, Wanted},
    stand::{Author, Seen, Standings},
};
use crate::publish::{Key, Mark, Provenance, Record, Shaped, mark};

/// Fewer removals than this are no mass removal, whatever their share.
const FEW: usize = 3;

/// Everything about one registry that does not change while its plan is made.
pub(super) struct Ground<'a> {
    pub target: &'a RegistryName,
    pub input: &'a Input<'a>,
    pub edges: &'a Edges,
    pub standings: &'a Standings,
    pub seen: &'a [Seen<'a>],
    pub memory: &'a Memory,
}

/// A record of ours that is there, as far as we know.
struct There {
    /// Seen, or written just now. Else the ledger alone knows it: the target has lost it.
    is_seen: bool,
    /// As it is seen.
    instance: Option<Arc<Instance>>,
    /// `None`: its marks were lost, and the ledger does not say.
    digest: Option<Arc<str>>,
    origin: Origin,
    path: Arc<[RegistryName]>,
}

/// Why a record may be removed, or may not yet.
enum Verdict {
    /// The documents do not want it; the reason, and whether it is to be applied by hand.
    Configured(String, bool),
    /// Its origin is gone.
    Gone(String),
    /// The registry that would know is not live.
    Unknown(String),
}

pub(super) fn diff(ground: &Ground<'_>, settled: Settled<'_>) -> TargetPlan {
    let (mut there, others) = ground.there();
    let mut plan = TargetPlan {
        conflicts: settled.conflicts,
        left_out: settled.left_out,
        ..TargetPlan::default()
    };
    for standing in settled.unwritable {
        plan.held.push(Held {
            why: HeldWhy::NoPublisher,
            action: "add",
            key: Key {
                service: standing.service.clone(),
                id: standing.origin.instance.clone(),
            },
            origin: standing.origin.clone(),
            reason: format!("nothing can be written into `{}` now", ground.target),
        });
    }
    let ours = there.len();
    let mut losses: BTreeMap<(&str, &str), Lost> = BTreeMap::new();
    for (key, wanted) in &settled.wanted {
        for loss in &wanted.shaped.losses {
            let lost = losses.entry((&loss.field, &loss.reason)).or_insert_with(|| Lost {
                field: loss.field.clone(),
                reason: loss.reason.clone(),
                records: 0,
                example: key.clone(),
            });
            lost.records += 1;
        }
        ground.want(key, wanted, there.remove(key), others.get(key), &mut plan);
    }
    plan.losses = losses.into_values().collect();
    let moved: BTreeSet<&Origin> = settled.wanted.values().map(|wanted| &wanted.standing.origin).collect();
    ground.drop_unwanted(there, &others, &moved, ours, &mut plan);
    plan
}

impl Ground<'_> {
    fn view(&self) -> Option<&RegistryView> {
        self.input.world.registries.get(self.target).map(Arc::as_ref)
    }

    /// Records of ours that are there, and the clusters whose records stand under which keys.
    fn there(&self) -> (BTreeMap<Key, There>, BTreeMap<Key, &Arc<str>>) {
        let mut there = BTreeMap::new();
        let mut others = BTreeMap::new();
        for (key, written) in &self.memory.ledger {
            let record = There {
                is_seen: self.memory.pending.get(key) == Some(&Pending::Put),
                instance: None,
                digest: Some(written.digest.clone()),
                origin: written.origin.clone(),
                path: written.path.clone(),
            };
            there.insert(key.clone(), record);
        }
        for seen in self.seen {
            let key = || Key {
                service: seen.service.clone(),
                id: seen.instance.id.clone(),
            };
            match &seen.provenance {
                Provenance::Native => {}
                Provenance::Marked(mark) if mark.cluster == *self.input.cluster => {
                    let key = key();
                    // What was written just now is newer than what is seen.
                    if there.get(&key).is_some_and(|known: &There| known.is_seen) {
                        continue;
                    }
                    let record = There {
                        is_seen: true,
                        instance: Some(seen.instance.clone()),
                        digest: mark::digest_in(seen.instance).cloned(),
                        origin: mark.origin.clone(),
                        path: mark.path.as_slice().into(),
                    };
                    there.insert(key, record);
                }
                Provenance::Marked(mark) => drop(others.insert(key(), &mark.cluster)),
                // With its marks lost it is ours if the ledger knows it, and is then what the ledger says.
                Provenance::Unmarked(_) => {
                    if let Some(known) = there.get_mut(&key()) {
                        known.is_seen = true;
                        known.instance = Some(seen.instance.clone());
                    }
                }
            }
        }
        there.retain(|key, _| self.memory.pending.get(key) != Some(&Pending::Removed));
        (there, others)
    }

    fn want(
        &self,
        key: &Key,
        wanted: &Wanted<'_>,
        there: Option<There>,
        other: Option<&&Arc<str>>,
        plan: &mut TargetPlan,
    ) {
        let standing = wanted.standing;
        let is_same =
            |there: &There| there.digest.as_ref() == Some(&wanted.shaped.digest) && there.path == standing.path;
        let was_applied = there.as_ref().is_some_and(is_same);
        let is_there = there.as_ref().is_some_and(|there| there.is_seen);
        if is_there && was_applied {
            plan.kept.push(wanted.shaped.clone());
            return;
        }
        let action = if is_there { "change" } else { "add" };
        let held = |why, reason| Held {
            why,
            action,
            key: key.clone(),
            origin: standing.origin.clone(),
            reason,
        };
        if !is_there && self.memory.switched_off.contains(key) {
            let reason = format!("an operator has switched it off in `{}`; it is left so", self.target);
            plan.held.push(held(HeldWhy::SwitchedOff, reason));
            return;
        }
        if let Some(rejected) = self.memory.rejected.get(key)
            && rejected.digest == wanted.shaped.digest
        {
            plan.held.push(held(HeldWhy::Rejected, rejected.reason.clone()));
            plan.retained.extend(there.and_then(|there| self.retained(key, &there)));
            return;
        }
        if is_there && self.memory.contested.contains(key) {
            plan.held.push(held(HeldWhy::Contested, self.contested()));
            plan.retained.extend(there.and_then(|there| self.retained(key, &there)));
            return;
        }
        if self.view().is_none_or(|view| view.caught_up.is_none()) {
            let reason = format!(
                "`{}` has not caught up, so the record may be there already",
                self.target
            );
            plan.held.push(held(HeldWhy::TargetNotReady, reason));
            plan.retained.extend(there.and_then(|there| self.retained(key, &there)));
            return;
        }
        let waits = wanted.way.waits && !was_applied;
        if waits && let Some(there) = &there {
            plan.retained.extend(self.retained(key, there));
        }
        let instance = &wanted.shaped.record.instance;
        let write = Write {
            service: key.service.clone(),
            id: key.id.clone(),
            origin: standing.origin.clone(),
            path: standing.path.clone(),
            address: match instance.ports.first() {
                Some(port) => format!("{}:{}", instance.host, port.number),
                None => instance.host.to_string(),
            },
            status: standing.instance.status.as_str(),
            syncs: wanted.way.syncs.clone(),
            waits,
            was: there.filter(|_| is_there).and_then(|there| there.digest),
            replaces: other.map(|cluster| Arc::clone(*cluster)),
            shaped: wanted.shaped.clone(),
        };
        match is_there {
            true => plan.changes.push(write),
            false => plan.additions.push(write),
        }
    }

    fn drop_unwanted(
        &self,
        there: BTreeMap<Key, There>,
        others: &BTreeMap<Key, &Arc<str>>,
        moved: &BTreeSet<&Origin>,
        ours: usize,
        plan: &mut TargetPlan,
    ) {
        let target = self.view();
        let is_ready = target.is_some_and(is_live);
        let mut gone = Vec::new();
        for (key, there) in there {
            if others.contains_key(&key) {
                plan.disowned.push(key);
                continue;
            }
            let held = |why, reason| Held {
                why,
                action: "remove",
                key: key.clone(),
                origin: there.origin.clone(),
                reason,
            };
            let removal = |reason, waits| Removal {
                key: key.clone(),
                origin: there.origin.clone(),
                path: there.path.clone(),
                reason,
                waits,
            };
            let retained = self.retained(&key, &there);
            if !is_ready {
                plan.retained.extend(retained);
                let reason = format!("`{}` is not followed live", self.target);
                plan.held.push(held(HeldWhy::TargetNotReady, reason));
                continue;
            }
            if self.memory.contested.contains(&key) {
                plan.retained.extend(retained);
                plan.held.push(held(HeldWhy::Contested, self.contested()));
                continue;
            }
            match self.verdict(&there, moved.contains(&there.origin)) {
                Verdict::Configured(reason, waits) => {
                    plan.removals.push(removal(reason, waits));
                    plan.retained.extend(retained.filter(|_| waits));
                }
                Verdict::Gone(reason) => gone.push((removal(reason, false), retained)),
                Verdict::Unknown(reason) => {
                    plan.held.push(held(HeldWhy::SourceNotReady, reason));
                    plan.retained.extend(retained);
                }
            }
        }
        let count = gone.len();
        let is_mass = count >= FEW && count * 2 > ours;
        for (removal, retained) in gone {
            if is_mass && !self.memory.confirmed.contains(&removal.key) {
                plan.retained.extend(retained);
                plan.held.push(Held {
                    why: HeldWhy::MassRemoval,
                    action: "remove",
                    key: removal.key,
                    origin: removal.origin,
                    reason: format!("{count} of our {ours} records there would go at once; a later look must agree"),
                });
            } else {
                plan.removals.push(removal);
            }
        }
        plan.removals.sort_by(|a, b| a.key.cmp(&b.key));
    }

    fn contested(&self) -> String {
        format!(
            "another process writes as the cluster `{}` and undoes it each time: give every process the same documents \
             and `--elect-in`, or another `--cluster`",
            self.input.cluster
        )
    }

    /// What is kept alive of a record that stays as it is seen.
    fn retained(&self, key: &Key, there: &There) -> Option<Arc<Shaped>> {
        let instance = there.instance.as_ref()?;
        let mark = match mark::provenance(instance) {
            Provenance::Marked(mark) => mark,
            Provenance::Native | Provenance::Unmarked(_) => Mark {
                origin: there.origin.clone(),
                path: there.path.to_vec(),
                cluster: self.input.cluster.clone(),
                epoch: self.input.epoch,
            },
        };
        Some(Arc::new(Shaped {
            key: key.clone(),
            record: Arc::new(Record {
                service: key.service.clone(),
                instance: Instance::clone(instance),
                mark,
            }),
            digest: there.digest.clone()?,
            losses: Vec::new(),
        }))
    }

    fn verdict(&self, there: &There, is_moved: bool) -> Verdict {
        let (origin, target) = (&there.origin, self.target);
        let waits = self.waits(&there.path);
        if is_moved {
            return Verdict::Configured("it stands there under another name or id now".to_owned(), waits);
        }
        match self.standings.of(target, origin).map(|standing| &standing.author) {
            Some(Author::Ours(_)) => return Verdict::Configured("it is left out there now".to_owned(), waits),
            Some(Author::Other(cluster)) => {
                let reason = format!("the record of the cluster `{cluster}` stands there by a better path");
                return Verdict::Configured(reason, waits);
            }
            Some(Author::Native) | None => {}
        }
        let Some(last) = there.path.last() else {
            return Verdict::Configured("its path is empty".to_owned(), waits);
        };
        if self.edges.between(last, target).next().is_none() {
            return Verdict::Configured(format!("no RegistrySync goes from `{last}` to `{target}`"), false);
        }
        let has_native = self.standings.natives.contains(origin);
        if self.standings.of(last, origin).is_some() || *last == origin.registry && has_native {
            return Verdict::Configured(format!("no RegistrySync selects it from `{last}` to `{target}`"), waits);
        }
        let world = &self.input.world.registries;
        if !has_native && world.contains_key(&origin.registry) {
            return self.by_word_of(
                [&origin.registry],
                format!("`{}` does not have it any more", origin.registry),
            );
        }
        // Its origin is followed by another cluster alone, or comes by another cluster's record: so far, and no further.
        let known = |registry: &&RegistryName| world.contains_key(*registry) || !self.edges.from(registry).is_empty();
        self.by_word_of(
            there.path.iter().filter(known),
            format!("it does not come to `{last}` any more"),
        )
    }

    /// Gone, if all of these registries are live.
    fn by_word_of<'a>(&self, registries: impl IntoIterator<Item = &'a RegistryName>, reason: String) -> Verdict {
        let world = &self.input.world.registries;
        let mut unready = registries
            .into_iter()
            .filter(|registry| !world.get(*registry).is_some_and(|view| is_live(view)));
        match unready.next() {
            None => Verdict::Gone(reason),
            Some(registry) => Verdict::Unknown(format!(
                "`{registry}` is not followed live, so the origin may be there still"
            )),
        }
    }

    /// Whether a document along the path writes only what is applied by hand.
    fn waits(&self, path: &[RegistryName]) -> bool {
        let ends = path.iter().skip(1).chain([self.target]);
        path.iter()
            .zip(ends)
            .any(|(from, to)| self.edges.between(from, to).any(|edge| edge.mode == SyncMode::Plan))
    }
}

/// Whether what is shown is what the registry says, all of it.
fn is_live(view: &RegistryView) -> bool {
    view.caught_up.is_some() && matches!(view.session, Session::Live { .. })
}
