//! The task that writes into one registry: takes the newest plan for it, does it at its pace, remembers what was done.
//!
//! ```text
//! Job (the newest plan) ──▶ adopt, disown ──▶ puts ──▶ removals       in batches, each within the Pace
//!                              ▲                 │
//!                              └── Book ◀────────┘ ledger, pending, rejected; read when the next plan is made
//! ```
//!
//! A plan may be older than what was done since: what is in the [`Book`] as done after the plan was begun is not
//! done again. Targets share nothing, so that one that fails delays no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use landfall_model::RegistryName;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tracing::{info, warn};

use super::{
    Memory, Pending, Rejected, TargetPlan, Write, Written,
    pace::Pace,
    status::{TargetState, TargetStatus},
};
use crate::publish::{Key, Permit, Publisher, Shaped, WriteError};

/// Most records in one call.
const BATCH: usize = 100;
/// So often a change or removal is undone by somebody else before it is given up.
const UNDONE: u32 = 3;
/// Within this time of each other. Longer than it takes until a write that nobody sees is repeated.
const UNDONE_WITHIN: Duration = Duration::from_secs(300);
/// How often it is looked whether this process may write.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// What a target is to do.
#[derive(Clone, Default)]
pub(super) struct Job {
    pub plan: Arc<TargetPlan>,
    /// The [`Book`]'s count when the plan was begun.
    pub as_of: u64,
    pub limits: Limits,
}

/// How fast a target is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub per_second: u32,
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_second: 50,
            burst: 50,
        }
    }
}

/// What is known of one target, shared by its task and by who plans.
#[derive(Default)]
pub(super) struct Book(Mutex<Page>);

/// The content of a [`Book`].
#[derive(Default)]
pub(super) struct Page {
    pub memory: Memory,
    /// When each pending write was done.
    pub pending_since: BTreeMap<Key, Instant>,
    /// Those of them that went where another cluster's record stood.
    pub replacing: BTreeSet<Key>,
    /// Counts writes.
    pub count: u64,
    /// Writes by count, with the digest of what was put.
    done: BTreeMap<Key, (u64, Option<Arc<str>>)>,
    /// What was done last to each record, and how often in a row although it had been done.
    repeated: BTreeMap<Key, Repeated>,
    /// Since when records are given up because what is done to them does not stay.
    pub contested: BTreeMap<Key, Instant>,
    /// Waiting writes that were applied by hand.
    pub approved: BTreeSet<(Key, Option<Arc<str>>)>,
    /// The ledger differs from that on disk.
    pub is_dirty: bool,
    pub status: TargetStatus,
}

/// The last thing that was done to a record.
struct Repeated {
    digest: Option<Arc<str>>,
    times: u32,
    at: Instant,
}

impl Book {
    pub fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    /// Forgets what every plan to come knows.
    pub fn planned(&mut self, as_of: u64) {
        self.done.retain(|_, (count, _)| *count > as_of);
        self.repeated.retain(|_, last| last.at.elapsed() < UNDONE_WITHIN);
    }

    /// A record of ours that is changed back, or comes again after it was removed, has another writer: nobody else may
    /// write with our cluster's mark. One that vanishes is no sign of it: registries lose records.
    fn note_repetition(&mut self, op: &Op) {
        let was_undone = match op {
            Op::Put(write) => write.was.is_some(),
            Op::Remove(_) => true,
        };
        let (key, digest) = (op.key().clone(), op.digest());
        let last = self.repeated.get(&key);
        let last = last.filter(|last| was_undone && last.digest == digest && last.at.elapsed() < UNDONE_WITHIN);
        let times = last.map_or(0, |last| last.times + 1);
        if times >= UNDONE {
            warn!(service = %key.service, id = %key.id, "somebody else writes this record, too, and in our cluster's name; it is left alone");
            self.contested.insert(key.clone(), Instant::now());
        }
        let at = Instant::now();
        self.repeated.insert(key, Repeated { digest, times, at });
    }

    fn is_done(&self, op: &Op, as_of: u64) -> bool {
        let done = self.done.get(op.key());
        done.is_some_and(|(count, digest)| *count > as_of && *digest == op.digest())
    }

    fn did(&mut self, op: &Op) {
        self.count += 1;
        self.note_repetition(op);
        let key = op.key().clone();
        self.done.insert(key.clone(), (self.count, op.digest()));
        self.approved.remove(&(key.clone(), op.digest()));
        self.memory.rejected.remove(&key);
        self.pending_since.insert(key.clone(), Instant::now());
        match op {
            Op::Put(write) if write.replaces.is_some() => self.replacing.insert(key.clone()),
            Op::Put(_) | Op::Remove(_) => self.replacing.remove(&key),
        };
        self.is_dirty = true;
        match op {
            Op::Put(write) => {
                self.memory.ledger.insert(key.clone(), Written::from(write));
                self.memory.pending.insert(key, Pending::Put);
            }
            Op::Remove(_) => {
                self.memory.ledger.remove(&key);
                self.memory.pending.insert(key, Pending::Removed);
            }
        }
        self.status.last_write = Some(SystemTime::now());
    }

    fn failed(&mut self, op: &Op, error: &WriteError) {
        if let (Op::Put(write), WriteError::Rejected { what, .. }) = (op, error) {
            let rejected = Rejected {
                digest: write.shaped.digest.clone(),
                reason: what.clone(),
            };
            self.memory.rejected.insert(op.key().clone(), rejected);
            self.approved.remove(&(op.key().clone(), op.digest()));
        }
        if *error != WriteError::NotPermitted {
            self.status.errors += 1;
            self.status.last_error = Some((SystemTime::now(), error.to_string()));
        }
    }
}

/// One thing to do.
#[derive(Clone)]
enum Op {
    Put(Write),
    Remove(Key),
}

impl Op {
    fn key(&self) -> &Key {
        match self {
            Self::Put(write) => &write.shaped.key,
            Self::Remove(key) => key,
        }
    }

    /// Whether it is put where nothing is seen.
    fn is_addition(&self) -> bool {
        matches!(self, Self::Put(write) if write.was.is_none())
    }

    /// Of what is put; nothing for a removal.
    fn digest(&self) -> Option<Arc<str>> {
        match self {
            Self::Put(write) => Some(write.shaped.digest.clone()),
            Self::Remove(_) => None,
        }
    }
}

/// The task of one target.
pub(super) struct Target {
    pub name: RegistryName,
    pub publisher: Arc<dyn Publisher>,
    pub permit: Permit,
    pub book: Arc<Book>,
    pub jobs: watch::Receiver<Job>,
    /// Something was done, so a new plan is due.
    pub done: mpsc::Sender<()>,
    /// Wakes a target that waits after an error.
    pub hurry: Arc<Notify>,
}

/// What the publisher holds, by key, with the digest.
type Holding = BTreeMap<Key, Arc<str>>;

impl Target {
    /// Runs until the sender of jobs is dropped. Records stay; leases end by themselves.
    pub async fn run(mut self) {
        let start = Instant::now();
        let limits = self.jobs.borrow().limits;
        let mut pace = Pace::new(limits.per_second, limits.burst, Duration::ZERO);
        let mut holding = Holding::new();
        loop {
            let job = self.jobs.borrow_and_update().clone();
            pace.limit(job.limits.per_second, job.limits.burst);
            let wait = if !self.permit.holds() {
                if !holding.is_empty() {
                    info!(target = %self.name, "another process writes now: its leases are no longer renewed here");
                    self.publisher.release().await;
                    holding.clear();
                }
                self.show(&pace, TargetState::NotWriter, 0);
                Some(LOOK)
            } else {
                self.hold(&job.plan, &mut holding).await;
                self.work(&job, start, &mut pace, &mut holding).await
            };
            let wait = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    // Idle: but another process may become the writer.
                    None => tokio::time::sleep(LOOK * 4).await,
                }
            };
            tokio::select! {
                changed = self.jobs.changed() => if changed.is_err() { break },
                () = self.hurry.notified() => pace.open(),
                () = wait => {}
            }
        }
    }

    /// Takes over the leases of what is there, and lets go of what another cluster has.
    async fn hold(&self, plan: &TargetPlan, holding: &mut Holding) {
        let is_new = |shaped: &&Shaped| holding.get(&shaped.key) != Some(&shaped.digest);
        let mut adopted: Vec<Shaped> = plan.kept.iter().map(Arc::as_ref).filter(is_new).cloned().collect();
        // What stays for now in another form is held only if nothing else is: a newer one may be on its way.
        let retained = plan.retained.iter().filter(|shaped| !holding.contains_key(&shaped.key));
        adopted.extend(retained.map(|shaped| Shaped::clone(shaped)));
        if !adopted.is_empty() {
            self.publisher.adopt(&adopted).await;
            let mut page = self.book.page();
            for shaped in adopted {
                // A ledger that was lost is written anew from what is seen.
                page.memory.ledger.entry(shaped.key.clone()).or_insert_with(|| Written {
                    digest: shaped.digest.clone(),
                    origin: shaped.record.mark.origin.clone(),
                    path: shaped.record.mark.path.as_slice().into(),
                });
                page.is_dirty = true;
                holding.insert(shaped.key, shaped.digest);
            }
        }
        if !plan.disowned.is_empty() {
            self.publisher.disown(&plan.disowned).await;
            let mut page = self.book.page();
            for key in &plan.disowned {
                holding.remove(key);
                page.is_dirty |= page.memory.ledger.remove(key).is_some();
                page.memory.pending.remove(key);
                page.pending_since.remove(key);
            }
        }
    }

    /// Does what may be done now of the job. How long to wait until more may be; `None` if nothing is left.
    async fn work(&mut self, job: &Job, start: Instant, pace: &mut Pace, holding: &mut Holding) -> Option<Duration> {
        let mut ops = self.ops(job).into_iter().peekable();
        let mut did = false;
        let mut wait = None;
        while ops.peek().is_some() && !self.jobs.has_changed().unwrap_or(true) {
            if !self.permit.holds() {
                wait = Some(Duration::ZERO);
                break;
            }
            let allowed = match pace.allowance(start.elapsed()) {
                Ok(allowed) => allowed.min(BATCH),
                Err(pause) => {
                    wait = Some(pause);
                    break;
                }
            };
            self.show(pace, TargetState::Writing, ops.len());
            let mut batch = vec![];
            // Puts and removals go apart, in order: nothing is removed before what takes its place is there.
            while let Some(op) = ops.next_if(|op| {
                batch.len() < allowed
                    && batch.last().is_none_or(|last| {
                        matches!((last, op), (Op::Put(_), Op::Put(_)) | (Op::Remove(_), Op::Remove(_)))
                    })
            }) {
                batch.push(op);
            }
            pace.take(batch.len());
            did = true;
            self.leave_switched_off(&mut batch, holding).await;
            if let Some(error) = self.send(&batch, start, pace, holding).await {
                if error != WriteError::NotPermitted {
                    warn!(target = %self.name, %error, "a write failed");
                    self.show(pace, TargetState::BackingOff { why: error.to_string() }, ops.len());
                }
                wait = Some(pace.allowance(start.elapsed()).err().unwrap_or(Duration::ZERO));
                break;
            }
        }
        if did {
            // Full is fine: a plan is due already.
            let _ = self.done.try_send(());
        }
        let left = ops.len();
        match wait {
            None if left == 0 => self.show(pace, TargetState::Idle, 0),
            _ => {
                let state = self.book.page().status.state.clone();
                self.show(pace, state, left);
            }
        }
        wait
    }

    /// What of the job is to be done and was not yet.
    fn ops(&self, job: &Job) -> Vec<Op> {
        let page = self.book.page();
        let writes = job.plan.additions.iter().chain(&job.plan.changes);
        let puts = writes.map(|write| (write.waits, Op::Put(write.clone())));
        let removals = job.plan.removals.iter();
        let removals = removals.map(|removal| (removal.waits, Op::Remove(removal.key.clone())));
        let may = |(waits, op): (bool, Op)| {
            let is_approved = !waits || page.approved.contains(&(op.key().clone(), op.digest()));
            let was_refused = match &op {
                Op::Put(write) => page
                    .memory
                    .rejected
                    .get(op.key())
                    .is_some_and(|r| r.digest == write.shaped.digest),
                Op::Remove(_) => false,
            };
            let is_off = op.is_addition() && page.memory.switched_off.contains(op.key());
            (is_approved && !was_refused && !is_off && !page.is_done(&op, job.as_of)).then_some(op)
        };
        puts.chain(removals).filter_map(may).collect()
    }

    /// Takes out what an operator has switched off in the target. It is asked of everything that nobody sees: what another
    /// writer of the cluster has written, or a process that died before it saved its ledger, our ledger does not know.
    async fn leave_switched_off(&self, batch: &mut Vec<Op>, holding: &mut Holding) {
        let additions = batch.iter().filter_map(|op| match op {
            Op::Put(write) if op.is_addition() => Some(write.clone()),
            Op::Put(_) | Op::Remove(_) => None,
        });
        let unseen: Vec<Write> = additions.collect();
        if unseen.is_empty() {
            return;
        }
        let records: Vec<Shaped> = unseen.iter().map(|write| Shaped::clone(&write.shaped)).collect();
        let off = self.publisher.switched_off(&records).await;
        let mut page = self.book.page();
        for (write, _) in unseen.into_iter().zip(off).filter(|(_, is_off)| *is_off) {
            let key = &write.shaped.key;
            info!(target = %self.name, service = %key.service, id = %key.id, "switched off there by an operator: left so");
            batch.retain(|op| op.key() != key);
            holding.insert(key.clone(), write.shaped.digest.clone());
            page.memory.switched_off.insert(key.clone());
            // Known from now on, so that it is taken out with its origin.
            let written = Written::from(&write);
            page.memory.ledger.entry(key.clone()).or_insert(written);
            page.is_dirty = true;
        }
    }

    /// Sends one batch of one sort. The first error that concerns more than one record.
    async fn send(&self, batch: &[Op], start: Instant, pace: &mut Pace, holding: &mut Holding) -> Option<WriteError> {
        if batch.is_empty() {
            return None;
        }
        let asked = start.elapsed();
        let puts: Vec<Shaped> = batch
            .iter()
            .filter_map(|op| match op {
                Op::Put(write) => Some(Shaped::clone(&write.shaped)),
                Op::Remove(_) => None,
            })
            .collect();
        let answers = if puts.is_empty() {
            let keys: Vec<Key> = batch.iter().map(|op| op.key().clone()).collect();
            self.publisher.remove(&keys).await
        } else {
            self.publisher.put(&puts).await
        };
        let now = start.elapsed();
        let mut error = None;
        let mut page = self.book.page();
        let mut good = 0;
        for (op, answer) in batch.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    good += 1;
                    page.did(op);
                    match op.digest() {
                        Some(digest) => drop(holding.insert(op.key().clone(), digest)),
                        None => drop(holding.remove(op.key())),
                    }
                }
                Err(failure) => {
                    page.failed(op, &failure);
                    if !matches!(failure, WriteError::Rejected { .. }) && error.is_none() {
                        // One failed call counts once, however many records it had.
                        pace.failed(now, &failure);
                        error = Some(failure);
                    }
                }
            }
        }
        if error.is_none() {
            pace.went_well(now, now.saturating_sub(asked), good);
        }
        error
    }

    fn show(&self, pace: &Pace, state: TargetState, pending: usize) {
        let mut page = self.book.page();
        page.status.state = state;
        page.status.pending = pending;
        // Bounded by the limit, which is a u32.
        page.status.rate = pace.rate() as u32;
        page.status.address = self.publisher.address();
        page.status.figures = self.publisher.figures();
    }
}
