//! Writing into Nacos: registrations over HTTP that live by beats.
//!
//! ```text
//! put ───▶ register ─────────────────▶ held ──▶ renewals, a task of its own: a beat each 20 s, spread over them
//! adopt ─────────────────────────────▶ held      not there ─▶ register again: a restore; the others come early
//! remove ─▶ look ─▶ ours? ─▶ deregister
//! ```
//!
//! # Why not by gRPC
//!
//! What a connection has registered goes with it, at once (by 2.2.4 within 0.6 s of a `kill -9`): a crash, a restart or
//! a hand-over of the writer would take all copies away from applications whose instances are alive, until the next
//! writer has put them again. What lives by beats stays for its lease ([`Times::lease`]), so the next writer adopts it and writes nothing. Nacos keeps this way in
//! every version for clients without gRPC; all servers show its records to all clients alike.
//!
//! # What follows from it
//!
//! - Nacos holds one such registration for each service and address, whoever made it. So an id is the address, as in
//!   ZooKeeper; before a removal it is looked whether our marks stand there, and two clusters that write the same record
//!   let go of it by sync's rules.
//! - A beat says *healthy*. A record that is not is registered again instead, which says what it is.
//! - Nacos' own `instanceId` is made by the server here. The follower knows ours by the marks (`nacos/record.rs`).
//! - While nothing is due one record gets a beat each three seconds, so that a server that was emptied is noticed.
//! - A service of Nacos is ephemeral or persistent as a whole: into a persistent one nothing is written, and the reason
//!   is listed.
//!
//! Next on the path: `shape`, `send`.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use landfall_config::kinds::registry::NacosSpec;
use landfall_model::Instance;
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use self::{
    send::{Place, Sender},
    shape::{Wire, wire},
};
use super::{Figures, Key, Permit, Provenance, Publisher, Record, Shaped, Unfit, WriteError, counts::Counts, mark};
use crate::{
    nacos::{
        name::Source,
        record::{CLUSTER, DEFAULT_CLUSTER},
        servers::{self, Servers},
    },
    registry::ConnectError,
};

mod send;
mod shape;
#[cfg(test)]
mod tests;

/// Requests at once.
const AT_ONCE: usize = 16;
/// Renewals between two looks at what is due.
const ROUND: usize = 256;
/// Renewals wait this long after nobody answered.
const PAUSE: Duration = Duration::from_secs(2);
/// After one record was lost the others are renewed within this time.
const SOON: Duration = Duration::from_secs(3);
/// Between two beats, whether one is due or not.
const PROBE: Duration = Duration::from_secs(3);

/// The times of a [`NacosPublisher`].
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Between two beats of one record. Default 20 s.
    pub renewal: Duration,
    /// How long a record stands without a beat. Default 90 s. Nacos wants at least 5 s, and looks each 5 s.
    pub lease: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            renewal: Duration::from_secs(20),
            lease: Duration::from_secs(90),
        }
    }
}

/// Writes into one Nacos.
pub struct NacosPublisher {
    core: Arc<Core>,
    renewals: OnceLock<AbortHandle>,
}

struct Core {
    sender: Sender,
    groups: Vec<Arc<str>>,
    cluster: String,
    times: Times,
    held: Mutex<BTreeMap<Key, Held>>,
    /// Operations on one record never overlap: a beat cannot bring back what is just being removed.
    turns: [tokio::sync::Mutex<()>; 64],
    counts: Counts,
    /// Something is due earlier than was thought.
    wake: Notify,
}

#[derive(Clone)]
struct Held {
    wire: Wire,
    /// Of the next beat.
    due: Instant,
}

/// What stands in services, or why they could not be read.
type Standing = BTreeMap<Source, Result<Vec<Instance>, WriteError>>;

impl NacosPublisher {
    /// Checks the addresses and the password's place; asks nobody.
    ///
    /// # Errors
    /// As [`Nacos::new`](crate::nacos::Nacos::new).
    pub fn new(spec: &NacosSpec, cluster: &str, permit: Permit) -> Result<Self, ConnectError> {
        Self::with_times(spec, cluster, permit, Times::default())
    }

    /// With other times than the usual ones.
    ///
    /// # Errors
    /// As [`Nacos::new`](crate::nacos::Nacos::new).
    pub fn with_times(spec: &NacosSpec, cluster: &str, permit: Permit, times: Times) -> Result<Self, ConnectError> {
        let groups: Vec<Arc<str>> = spec.groups.iter().map(|group| group.as_str().into()).collect();
        let group = groups.first().cloned();
        let group = group.unwrap_or_else(|| crate::nacos::name::DEFAULT_GROUP.into());
        Ok(Self {
            core: Arc::new(Core {
                sender: Sender::new(Servers::new(spec)?, servers::namespace(spec), group, permit),
                groups,
                cluster: cluster.to_owned(),
                times,
                held: Mutex::default(),
                turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
                counts: Counts::default(),
                wake: Notify::new(),
            }),
            renewals: OnceLock::new(),
        })
    }

    fn renew_from_now_on(&self) {
        self.renewals
            .get_or_init(|| tokio::spawn(renewals(self.core.clone())).abort_handle());
    }
}

impl Drop for NacosPublisher {
    fn drop(&mut self) {
        if let Some(task) = self.renewals.get() {
            task.abort();
        }
    }
}

#[async_trait::async_trait]
impl Publisher for NacosPublisher {
    fn kind(&self) -> &'static str {
        "nacos"
    }

    fn address(&self) -> String {
        self.core.sender.address()
    }

    fn shape(&self, record: &Record) -> Result<Shaped, Unfit> {
        shape::shape(record, &self.core.groups)
    }

    async fn put(&self, records: &[Shaped]) -> Vec<Result<(), WriteError>> {
        self.renew_from_now_on();
        let puts: Vec<_> = records.iter().map(|record| self.core.put(record)).collect();
        stream::iter(puts).buffered(AT_ONCE).collect().await
    }

    async fn adopt(&self, records: &[Shaped]) {
        self.renew_from_now_on();
        let mut held = self.core.held();
        for record in records {
            // How much is left of its lease is not known.
            let due = Instant::now() + SOON.min(self.core.times.renewal).mul_f64(fastrand::f64());
            if let Ok(wire) = wire(record, &self.core.groups) {
                // The form that stands there now: another writer may have changed it.
                match held.entry(record.key.clone()) {
                    Entry::Occupied(mut known) => known.get_mut().wire = wire,
                    Entry::Vacant(place) => drop(place.insert(Held { wire, due })),
                }
            }
        }
        drop(held);
        self.core.wake.notify_one();
    }

    async fn switched_off(&self, records: &[Shaped]) -> Vec<bool> {
        self.renew_from_now_on();
        let core = &*self.core;
        let wires: Vec<Option<Wire>> = records.iter().map(|record| wire(record, &core.groups).ok()).collect();
        let places: BTreeSet<(&Source, &str)> = wires
            .iter()
            .flatten()
            .map(|wire| (&wire.source, &*wire.cluster))
            .collect();
        let looks = places
            .into_iter()
            .map(async |(source, cluster)| ((source, cluster), core.sender.switched_off(source, cluster).await));
        let looks: Vec<_> = looks.collect();
        let off: BTreeMap<(&Source, &str), Vec<Instance>> =
            stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        let mut held = core.held();
        let answers = records.iter().zip(&wires).map(|(record, wire)| {
            let Some(wire) = wire else { return false };
            let found = off.get(&(&wire.source, &*wire.cluster)).into_iter().flatten();
            let is_ours = |instance: &&Instance| {
                let is_by_us =
                    matches!(mark::provenance(instance), Provenance::Marked(mark) if *mark.cluster == *core.cluster);
                instance.id == record.key.id && is_by_us
            };
            let is_off = found.into_iter().any(|instance| is_ours(&instance));
            if is_off {
                // Its lease goes on, or Nacos would forget it, and with it what the operator has said.
                let due = Instant::now();
                held.entry(record.key.clone()).or_insert_with(|| Held {
                    wire: wire.clone(),
                    due,
                });
            }
            is_off
        });
        let answers = answers.collect();
        drop(held);
        core.wake.notify_one();
        answers
    }

    async fn remove(&self, keys: &[Key]) -> Vec<Result<(), WriteError>> {
        let core = &*self.core;
        let sources: Vec<Vec<Source>> = keys.iter().map(|key| core.sources(key)).collect();
        let distinct: BTreeSet<&Source> = sources.iter().flatten().collect();
        let looks: Vec<_> = distinct
            .into_iter()
            .map(async |source| (source.clone(), core.sender.standing(source).await))
            .collect();
        let standing: Standing = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        let standing = &standing;
        let removes: Vec<_> = keys
            .iter()
            .zip(&sources)
            .map(|(key, sources)| core.remove(key, sources, standing))
            .collect();
        stream::iter(removes).buffered(AT_ONCE).collect().await
    }

    async fn disown(&self, keys: &[Key]) {
        for key in keys {
            let _turn = self.core.turn(key).await;
            self.core.held().remove(key);
        }
    }

    async fn release(&self) {
        self.core.held().clear();
    }

    fn figures(&self) -> Figures {
        self.core.counts.figures(self.core.held().len())
    }
}

impl Core {
    async fn put(&self, record: &Shaped) -> Result<(), WriteError> {
        let _turn = self.turn(&record.key).await;
        let done = async {
            let wire = wire(record, &self.groups).map_err(|unfit| self.rejected(&record.key, unfit.reason))?;
            self.sender.register(&wire, self.times.lease).await?;
            Ok(wire)
        };
        match done.await {
            Ok(wire) => {
                Counts::one(&self.counts.puts);
                let due = Instant::now() + self.times.renewal.mul_f64(0.5 + 0.5 * fastrand::f64());
                self.held().insert(record.key.clone(), Held { wire, due });
                self.wake.notify_one();
                Ok(())
            }
            Err(error) => {
                if error != WriteError::NotPermitted {
                    Counts::one(&self.counts.failures);
                }
                Err(error)
            }
        }
    }

    /// Where a record may stand.
    fn sources(&self, key: &Key) -> Vec<Source> {
        match self.held().get(key) {
            Some(held) => vec![held.wire.source.clone()],
            None => Source::candidates(&key.service, &self.groups),
        }
    }

    async fn remove(&self, key: &Key, sources: &[Source], standing: &Standing) -> Result<(), WriteError> {
        let address = key.id.strip_prefix(mark::TAG).and_then(|rest| rest.rsplit_once('#'));
        let Some((ip, Ok(port))) = address.map(|(ip, port)| (ip, port.parse::<u16>())) else {
            return Err(self.rejected(key, "it is no record of ours"));
        };
        if !self.sender.may_send() {
            return Err(WriteError::NotPermitted);
        }
        let _turn = self.turn(key).await;
        let held = self.held().remove(key);
        let done = async {
            let mut foreign = false;
            for source in sources {
                let found = match standing.get(source) {
                    Some(Err(error)) => return Err(error.clone()),
                    Some(Ok(found)) => found.as_slice(),
                    None => &[],
                };
                let stands = found.iter().find(|instance| instance.id == key.id);
                let cluster = stands.and_then(|instance| instance.metadata.get(CLUSTER)).cloned();
                match stands.map(mark::provenance) {
                    Some(Provenance::Marked(mark)) if *mark.cluster == *self.cluster => {}
                    Some(_) => {
                        foreign = true;
                        continue;
                    }
                    // What we have just written may not be shown yet, but a native one may have taken its place.
                    None if held.is_some() && !has_native(found, ip, port) => {}
                    None => continue,
                }
                let place = Place {
                    source,
                    ip,
                    port,
                    cluster: cluster.as_deref().unwrap_or(DEFAULT_CLUSTER),
                };
                self.sender.remove(place).await?;
                return Ok(());
            }
            match foreign {
                true => Err(self.rejected(key, "another cluster's record stands there")),
                false => Ok(()),
            }
        };
        let result: Result<(), WriteError> = done.await;
        match &result {
            Ok(()) => Counts::one(&self.counts.removes),
            Err(WriteError::NotPermitted) => {}
            Err(_) => Counts::one(&self.counts.failures),
        }
        result
    }

    fn rejected(&self, key: &Key, what: impl Into<String>) -> WriteError {
        WriteError::Rejected {
            address: self.sender.address(),
            id: key.id.clone(),
            what: what.into(),
        }
    }

    /// Renews one lease, or registers what has been lost. Returns whether it had been.
    async fn renew(&self, key: &Key) -> Result<bool, WriteError> {
        let _turn = self.turn(key).await;
        // Removed meanwhile.
        let Some(Held { wire, .. }) = self.held().get(key).cloned() else {
            return Ok(false);
        };
        if wire.healthy && !self.sender.beat(&wire).await? {
            self.sender.register(&wire, self.times.lease).await?;
            Counts::one(&self.counts.restores);
            return Ok(true);
        }
        if !wire.healthy {
            self.sender.register(&wire, self.times.lease).await?;
        }
        Counts::one(&self.counts.renewals);
        Ok(false)
    }

    /// The records whose renewal is due, one of them in any case after `probe`, and when the next one will be.
    fn due(&self, probe: Instant) -> (Vec<Key>, Instant) {
        let now = Instant::now();
        let mut held = self.held();
        let mut due: Vec<Key> = held
            .iter()
            .filter(|(_, record)| record.due <= now)
            .map(|(key, _)| key.clone())
            .take(ROUND)
            .collect();
        if due.is_empty() && probe <= now {
            let healthy = held.iter().filter(|(_, record)| record.wire.healthy);
            let next = healthy.min_by_key(|(_, record)| record.due);
            due.extend(next.map(|(key, _)| key.clone()));
        }
        for key in &due {
            if let Some(record) = held.get_mut(key) {
                record.due = now + self.times.renewal;
            }
        }
        let next = held.values().map(|record| record.due).min();
        (due, next.map_or(now + self.times.renewal, |next| next.min(now + PROBE)))
    }

    /// Everything else is to be looked at soon: it is probably lost as well.
    fn hurry(&self) {
        let now = Instant::now();
        let soon = SOON.min(self.times.renewal);
        for record in self.held().values_mut() {
            record.due = record.due.min(now + soon.mul_f64(fastrand::f64()));
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self, key: &Key) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % 64).unwrap_or(0);
        self.turns[at].lock().await
    }
}

/// Whether an instance that is none of ours stands at this address.
fn has_native(found: &[Instance], ip: &str, port: u16) -> bool {
    found.iter().any(|instance| {
        !instance.id.starts_with(mark::TAG)
            && instance.host.to_string() == ip
            && instance.ports.first().map_or(0, |first| first.number) == port
    })
}

/// Renews for as long as the publisher lives.
async fn renewals(core: Arc<Core>) {
    let mut hurried = None::<Instant>;
    let mut probe = Instant::now() + PROBE;
    loop {
        let (due, next) = core.due(probe);
        if due.is_empty() {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = core.wake.notified() => {}
            }
            continue;
        }
        probe = Instant::now() + PROBE;
        let (core, silent) = (&core, &AtomicBool::new(false));
        let renewed = stream::iter(due).map(async |key| {
            // A server that does not answer is not asked for each record.
            if silent.load(Ordering::Relaxed) {
                return (None, key);
            }
            let answer = core.renew(&key).await;
            let is_silent = matches!(&answer, Err(error) if !matches!(error, WriteError::Rejected { .. }));
            silent.fetch_or(is_silent, Ordering::Relaxed);
            (Some(answer), key)
        });
        let answers: Vec<_> = renewed.buffer_unordered(AT_ONCE).collect().await;
        let mut lost = false;
        for (answer, key) in answers {
            match answer {
                Some(Ok(restored)) => {
                    lost |= restored;
                    continue;
                }
                // Refused as it is: with the next beat again.
                Some(Err(error @ WriteError::Rejected { .. })) => {
                    Counts::one(&core.counts.failures);
                    tracing::debug!(id = %key.id, %error, "not renewed");
                    continue;
                }
                Some(Err(WriteError::NotPermitted)) | None => {}
                Some(Err(error)) => {
                    Counts::one(&core.counts.failures);
                    tracing::debug!(id = %key.id, %error, "not renewed");
                }
            }
            if let Some(record) = core.held().get_mut(&key) {
                record.due = Instant::now();
            }
        }
        if lost && hurried.is_none_or(|at| at.elapsed() > SOON * 2) {
            hurried = Some(Instant::now());
            core.hurry();
        }
        if silent.load(Ordering::Relaxed) {
            tokio::time::sleep(PAUSE.min(core.times.renewal / 2)).await;
        }
    }
}
