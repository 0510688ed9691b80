//! Which of the records that stand in one registry are written there, and as what: rules of
//! [`sync`](super)'s "What is left out", in the order in which they are told there.
//!
//! Next on the path: `diff`, which compares it with what is there.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    sync::Arc,
};

use landfall_model::{Host, Instance, Origin, Protocol, RegistryName};

use super::{
    plan::{Conflict, ConflictKind, LeftOut, LeftOutWhy},
    planner::Shape,
    stand::{Author, Seen, Standing, Way},
};
use crate::publish::{Key, Mark, Provenance, Record, Shaped, Unfit};

/// A record of ours that is to stand in the registry.
pub(super) struct Wanted<'a> {
    pub standing: &'a Standing,
    pub way: &'a Way,
    pub shaped: Arc<Shaped>,
}

/// What is to stand in one registry, and what is not.
#[derive(Default)]
pub(super) struct Settled<'a> {
    pub wanted: BTreeMap<Key, Wanted<'a>>,
    pub conflicts: Vec<Conflict>,
    pub left_out: Vec<LeftOut>,
    /// Origins of ours that nothing can be written for: the registry has no publisher.
    pub unwritable: Vec<&'a Standing>,
}

/// Who writes, and how.
pub(super) struct Writer<'a> {
    pub cluster: &'a Arc<str>,
    pub epoch: u64,
    pub shape: &'a Shape<'a>,
}

/// What publishers made of records, kept from plan to plan: most of them do not change.
#[derive(Debug, Default)]
pub(super) struct Shapes(HashMap<(RegistryName, Origin), Made>);

#[derive(Debug)]
struct Made {
    instance: Arc<Instance>,
    service: Arc<str>,
    path: Arc<[RegistryName]>,
    epoch: u64,
    shaped: Result<Arc<Shaped>, Unfit>,
    /// In the plan that is being made.
    is_used: bool,
}

impl Shapes {
    fn shape(
        &mut self,
        target: &RegistryName,
        standing: &Standing,
        writer: &Writer<'_>,
    ) -> Option<Result<Arc<Shaped>, Unfit>> {
        let key = (target.clone(), standing.origin.clone());
        if let Some(made) = self.0.get_mut(&key)
            && made.epoch == writer.epoch
            && made.service == standing.service
            && made.path == standing.path
            && (Arc::ptr_eq(&made.instance, &standing.instance) || made.instance == standing.instance)
        {
            made.is_used = true;
            return Some(made.shaped.clone());
        }
        let record = Record {
            service: standing.service.clone(),
            instance: Instance::clone(&standing.instance),
            mark: Mark {
                origin: standing.origin.clone(),
                path: standing.path.to_vec(),
                cluster: writer.cluster.clone(),
                epoch: writer.epoch,
            },
        };
        let shaped = (writer.shape)(target, &record)?.map(Arc::new);
        let made = Made {
            instance: standing.instance.clone(),
            service: standing.service.clone(),
            path: standing.path.clone(),
            epoch: writer.epoch,
            shaped: shaped.clone(),
            is_used: true,
        };
        self.0.insert(key, made);
        Some(shaped)
    }

    /// Forgets what the plan did not need.
    pub fn sweep(&mut self) {
        self.0.retain(|_, made| std::mem::take(&mut made.is_used));
    }

    /// Forgets everything: publishers may have changed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The protocols of a service: which it may be called by. Empty: not known, which fits everything.
type Spoken = BTreeSet<&'static str>;

fn spoken(instance: &Instance) -> Spoken {
    let mut all = Spoken::new();
    for port in &instance.ports {
        match port.protocol {
            Protocol::Unknown => {}
            Protocol::Http | Protocol::H2 | Protocol::Grpc => drop(all.insert("http")),
            Protocol::Dubbo => drop(all.insert("dubbo")),
            // Dubbo's consumers call it as well as HTTP's.
            Protocol::Triple => all.extend(["dubbo", "http"]),
            Protocol::Tcp => drop(all.insert("tcp")),
        }
    }
    all
}

/// One name in the registry, and what has it. Compared without regard to case.
#[derive(Default)]
struct Name<'a> {
    /// Native spellings.
    native: BTreeSet<&'a str>,
    native_spoken: Spoken,
    native_hosts: BTreeMap<&'a Host, Vec<&'a Instance>>,
    /// What came before among the copies.
    spelling: Option<Arc<str>>,
    spoken: Spoken,
    hosts: BTreeMap<&'a Host, Vec<(&'a Instance, &'a Origin)>>,
    /// By registry of the origin: its service there.
    services: BTreeMap<&'a RegistryName, &'a Arc<str>>,
}

/// Decides for one registry. `standings` are those that stand there, `seen` everything that is there.
pub(super) fn settle<'a>(
    target: &RegistryName,
    standings: &'a BTreeMap<Origin, Standing>,
    seen: &'a [Seen<'a>],
    writer: &Writer<'_>,
    shapes: &mut Shapes,
) -> Settled<'a> {
    let mut names = natives(seen);
    let mut in_order: Vec<&Standing> = standings.values().collect();
    in_order.sort_by(|a, b| rank(a).cmp(&rank(b)));
    let mut settled = Settled::default();
    let mut report = Report::default();
    for standing in in_order {
        let (way, shaped) = match &standing.author {
            Author::Native => continue,
            Author::Other(cluster) => {
                let reason = format!("the Landfall cluster `{cluster}` has written it there");
                report.left_out(LeftOutWhy::OtherCluster, &standing.service, standing, reason);
                take(&mut names, &standing.service, standing);
                continue;
            }
            Author::Ours(way) => match shapes.shape(target, standing, writer) {
                None => {
                    settled.unwritable.push(standing);
                    continue;
                }
                Some(Err(unfit)) => {
                    report.left_out(LeftOutWhy::Unfit, &standing.service, standing, unfit.reason);
                    continue;
                }
                Some(Ok(shaped)) => (way, shaped),
            },
        };
        let service = &shaped.key.service;
        let name = names.entry(service.to_lowercase()).or_default();
        if let Some((why, reason)) = name.same_address(standing) {
            report.left_out(why, service, standing, reason);
            continue;
        }
        if let Some((kind, winner, mend)) = name.clash(service, standing) {
            report.conflict(kind, service, standing, winner, mend);
            continue;
        }
        match settled.wanted.entry(shaped.key.clone()) {
            Entry::Occupied(first) => {
                let winner = first.get().standing.origin.to_string();
                let mend = "give one of them another id where it comes from";
                report.conflict(ConflictKind::Id, service, standing, winner, mend.to_owned());
            }
            Entry::Vacant(free) => {
                name.take(service, standing);
                free.insert(Wanted { standing, way, shaped });
            }
        }
    }
    (settled.conflicts, settled.left_out) = report.finish();
    settled
}

/// The order in which records are taken.
fn rank(standing: &Standing) -> (usize, &[RegistryName], &Origin) {
    (standing.path.len(), &standing.path, &standing.origin)
}

fn natives<'a>(seen: &'a [Seen<'a>]) -> BTreeMap<String, Name<'a>> {
    let mut names: BTreeMap<String, Name<'a>> = BTreeMap::new();
    let mut last: Option<(&str, String)> = None;
    for one in seen.iter().filter(|seen| matches!(seen.provenance, Provenance::Native)) {
        let lower = match last.take() {
            Some((service, lower)) if *service == **one.service => lower,
            _ => one.service.to_lowercase(),
        };
        let name = names.entry(lower.clone()).or_default();
        last = Some((one.service, lower));
        name.native.insert(one.service);
        name.native_spoken.append(&mut spoken(one.instance));
        name.native_hosts
            .entry(&one.instance.host)
            .or_default()
            .push(one.instance);
    }
    names
}

fn take<'a>(names: &mut BTreeMap<String, Name<'a>>, service: &Arc<str>, standing: &'a Standing) {
    names.entry(service.to_lowercase()).or_default().take(service, standing);
}

impl<'a> Name<'a> {
    fn same_address(&self, standing: &Standing) -> Option<(LeftOutWhy, String)> {
        let instance = &standing.instance;
        let native = self.native_hosts.get(&instance.host).into_iter().flatten();
        if let Some(native) = native.into_iter().find(|native| meets(native, instance)) {
            let reason = format!("its own record `{}` has the same address", native.id);
            return Some((LeftOutWhy::Native, reason));
        }
        let before = self.hosts.get(&instance.host).into_iter().flatten();
        let (_, origin) = before.into_iter().find(|(before, _)| meets(before, instance))?;
        let reason = format!("the record of {origin} has the same address");
        Some((LeftOutWhy::SameAddress, reason))
    }

    fn clash(&self, service: &Arc<str>, standing: &Standing) -> Option<(ConflictKind, String, String)> {
        let excludes = |one: &Spoken, two: &Spoken| !one.is_empty() && !two.is_empty() && one.is_disjoint(two);
        let words = |spoken: &Spoken| spoken.iter().copied().collect::<Vec<_>>().join(" and ");
        let ours = spoken(&standing.instance);
        let another = "give it another name by `rename`, or exclude it";
        if let Some(native) = self.native.iter().find(|native| ***native != **service)
            && !self.native.contains(&**service)
        {
            let mend = format!("call it `{native}` by `rename`, or exclude it");
            return Some((ConflictKind::Case, format!("the native service `{native}`"), mend));
        }
        if excludes(&self.native_spoken, &ours) {
            let winner = format!(
                "the native service `{service}`, which speaks {}",
                words(&self.native_spoken)
            );
            return Some((ConflictKind::Protocol, winner, another.to_owned()));
        }
        let spelling = self.spelling.as_ref()?;
        if *spelling != *service {
            let mend = format!("call it `{spelling}` by `rename`, or exclude it");
            return Some((ConflictKind::Case, format!("`{spelling}`"), mend));
        }
        if let Some(other) = self.services.get(&standing.origin.registry)
            && **other != standing.origin.service
        {
            let winner = format!("`{other}` of the same registry");
            return Some((ConflictKind::Names, winner, another.to_owned()));
        }
        if excludes(&self.spoken, &ours) {
            let winner = format!("`{service}`, which speaks {}", words(&self.spoken));
            return Some((ConflictKind::Protocol, winner, another.to_owned()));
        }
        None
    }

    fn take(&mut self, service: &Arc<str>, standing: &'a Standing) {
        self.spelling.get_or_insert_with(|| service.clone());
        self.spoken.append(&mut spoken(&standing.instance));
        let origin = &standing.origin;
        self.services.entry(&origin.registry).or_insert(&origin.service);
        let hosts = self.hosts.entry(&standing.instance.host).or_default();
        hosts.push((&standing.instance, origin));
    }
}

/// Whether two instances of one host are called at the same place.
fn meets(one: &Instance, other: &Instance) -> bool {
    let has = |port: u16| other.ports.iter().any(|other| other.number == port);
    one.ports.iter().any(|port| has(port.number)) || one.ports.is_empty() && other.ports.is_empty()
}

/// What is not written, gathered by service.
#[derive(Default)]
struct Report {
    conflicts: BTreeMap<(ConflictKind, Arc<str>, String), Conflict>,
    left_out: BTreeMap<(LeftOutWhy, Arc<str>, String, String), LeftOut>,
}

impl Report {
    fn conflict(&mut self, kind: ConflictKind, service: &Arc<str>, standing: &Standing, winner: String, mend: String) {
        let of = of(standing);
        let key = (kind, service.clone(), of.clone());
        let conflict = self.conflicts.entry(key).or_insert_with(|| Conflict {
            kind,
            service: service.clone(),
            of,
            winner,
            instances: Vec::new(),
            mend,
        });
        conflict.instances.push(standing.origin.instance.clone());
    }

    fn left_out(&mut self, why: LeftOutWhy, service: &Arc<str>, standing: &Standing, reason: String) {
        let of = of(standing);
        let key = (why, service.clone(), of.clone(), reason.clone());
        let left_out = self.left_out.entry(key).or_insert_with(|| LeftOut {
            why,
            service: service.clone(),
            of,
            reason,
            instances: Vec::new(),
        });
        left_out.instances.push(standing.origin.instance.clone());
    }

    fn finish(self) -> (Vec<Conflict>, Vec<LeftOut>) {
        (
            self.conflicts.into_values().collect(),
            self.left_out.into_values().collect(),
        )
    }
}

fn of(standing: &Standing) -> String {
    format!("{}.{}", standing.origin.service, standing.origin.registry)
}
