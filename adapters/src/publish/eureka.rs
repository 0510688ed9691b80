//! Writing into Eureka: register, renew, cancel.
//!
//! ```text
//! put ──▶ register (JSON) ──▶ read back if it was not held ──▶ held ──▶ renewals, a task of its own:
//! adopt ────────────────────────────────────────────────────▶ held      each record once an interval, spread over it
//! remove ─▶ no longer held ─▶ whose is it? ─▶ cancel                     404 ─▶ whose is it? ─▶ register again: a restore
//! ```
//!
//! - **Leases**: 30 s between renewals, 90 s of life, as every client has it (a server forgets after about twice the
//!   latter). When one renewal is answered 404 the server has probably lost everything, so the others come early.
//! - **`lastDirtyTimestamp`** grows with every registration. A server keeps the record with the greater one and
//!   says nothing, so a record that was not held before is read back and, if an older run had a faster clock, written
//!   past it.
//! - **Status**: a server lets nobody change UP into OUT_OF_SERVICE, or back, by registering (eureka-core's rule
//!   "keep the existing lease's status"), so such a change goes through DOWN. An operator's override stays.
//! - **Whose it is**: clusters that share a Eureka write one origin under one id, and who writes last has it. So a record
//!   is read before it is cancelled or restored; one with another cluster's mark is left alone.
//! - Operations on one record never overlap: a renewal cannot bring back what is just being removed.
//!
//! Next on the path: `shape`, `send`.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream};
use landfall_config::kinds::registry::EurekaSpec;
use landfall_model::Status;
use reqwest::{Method, StatusCode};
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use self::{
    send::{Answer, Sender, app_path, path},
    shape::wire,
};
use super::{Figures, Key, Permit, Publisher, Record, Shaped, Unfit, WriteError, counts::Counts, mark};
use crate::{
    eureka::{
        servers::Servers,
        wire::{Format, InstanceInfo, LeaseInfo, read, write},
    },
    registry::ConnectError,
};

mod send;
mod shape;
#[cfg(test)]
mod tests;

/// Requests at once.
const AT_ONCE: usize = 16;
/// Renewals between two looks at what is due: a server that does not answer is not asked for each record.
const ROUND: usize = 256;
/// Renewals wait this long after nobody answered.
const PAUSE: Duration = Duration::from_secs(2);
/// After a 404 the other records are renewed within this time.
const SOON: Duration = Duration::from_secs(3);

/// Writes into one Eureka registry.
pub struct EurekaPublisher {
    core: Arc<Core>,
    renewals: OnceLock<AbortHandle>,
}

struct Core {
    sender: Sender,
    cluster: String,
    lease: LeaseInfo,
    held: Mutex<BTreeMap<Key, Held>>,
    turns: [tokio::sync::Mutex<()>; 64],
    counts: Counts,
    /// Something is due earlier than was thought.
    wake: Notify,
}

#[derive(Clone)]
struct Held {
    info: InstanceInfo,
    /// As it was sent last; unknown of an adopted record.
    dirty: Option<i64>,
    /// Of the next renewal.
    due: Instant,
}

impl EurekaPublisher {
    /// Checks the addresses; asks nobody.
    ///
    /// # Errors
    /// As [`Servers::new`].
    pub fn new(spec: &EurekaSpec, cluster: &str, permit: Permit) -> Result<Self, ConnectError> {
        Self::with_lease(spec, cluster, permit, Duration::from_secs(30), Duration::from_secs(90))
    }

    /// With other times than Eureka's usual ones, both in whole seconds and at least 1 s.
    ///
    /// # Errors
    /// As [`Servers::new`].
    pub fn with_lease(
        spec: &EurekaSpec,
        cluster: &str,
        permit: Permit,
        renewal: Duration,
        duration: Duration,
    ) -> Result<Self, ConnectError> {
        let seconds = |time: Duration| i64::try_from(time.as_secs().max(1)).unwrap_or(i64::MAX);
        let lease = LeaseInfo {
            renewal_interval: seconds(renewal),
            duration: seconds(duration),
            ..LeaseInfo::default()
        };
        Ok(Self {
            core: Arc::new(Core {
                sender: Sender::new(Servers::new(spec)?, permit),
                cluster: cluster.to_owned(),
                lease,
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

impl Drop for EurekaPublisher {
    fn drop(&mut self) {
        if let Some(task) = self.renewals.get() {
            task.abort();
        }
    }
}

#[async_trait::async_trait]
impl Publisher for EurekaPublisher {
    fn kind(&self) -> &'static str {
        "eureka"
    }

    fn address(&self) -> String {
        self.core.sender.address()
    }

    fn shape(&self, record: &Record) -> Result<Shaped, Unfit> {
        shape::shape(record)
    }

    async fn put(&self, records: &[Shaped]) -> Vec<Result<(), WriteError>> {
        self.renew_from_now_on();
        let puts: Vec<_> = records.iter().map(|record| self.core.put(record)).collect();
        stream::iter(puts).buffered(AT_ONCE).collect().await
    }

    async fn adopt(&self, records: &[Shaped]) {
        self.renew_from_now_on();
        let interval = self.core.interval();
        let mut held = self.core.held();
        for record in records {
            let info = wire(record, self.core.lease);
            let digest = |info: &InstanceInfo| info.metadata.get(mark::DIGEST).cloned();
            if held
                .get(&record.key)
                .is_some_and(|known| digest(&known.info) == digest(&info))
            {
                continue;
            }
            let adopted = Held {
                info,
                dirty: None,
                due: Instant::now() + interval.mul_f64(fastrand::f64()),
            };
            held.insert(record.key.clone(), adopted);
        }
        drop(held);
        self.core.wake.notify_one();
    }

    async fn remove(&self, keys: &[Key]) -> Vec<Result<(), WriteError>> {
        let removes: Vec<_> = keys.iter().map(|key| self.core.remove(key)).collect();
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
        let key = &record.key;
        let _turn = self.turn(key).await;
        let before = self.held().get(key).cloned();
        let mut info = wire(record, self.lease);
        let mut dirty = next(before.as_ref().and_then(|held| held.dirty));
        let done = async {
            if before.as_ref().is_some_and(|before| crosses(&before.info, &info)) {
                info.status = Some(Status::Down);
                self.register(&mut info, dirty).await?;
                dirty += 1;
                info.status = Some(record.record.instance.status);
            }
            self.register(&mut info, dirty).await?;
            if before.as_ref().is_none_or(|held| held.dirty.is_none()) {
                dirty = self.verify(&mut info, dirty).await?;
            }
            Ok(())
        };
        let result: Result<(), WriteError> = done.await;
        match &result {
            Ok(()) => {
                Counts::one(&self.counts.puts);
                let held = Held {
                    info,
                    dirty: Some(dirty),
                    due: Instant::now() + self.interval().mul_f64(0.5 + 0.5 * fastrand::f64()),
                };
                self.held().insert(key.clone(), held);
                self.wake.notify_one();
            }
            Err(WriteError::NotPermitted) => {}
            Err(_) => Counts::one(&self.counts.failures),
        }
        result
    }

    async fn register(&self, info: &mut InstanceInfo, dirty: i64) -> Result<(), WriteError> {
        info.last_dirty = Some(dirty);
        info.last_updated = dirty;
        let body = write::instance(info, Format::Json);
        let answer = self
            .sender
            .send(Method::POST, &app_path(&info.app), Some(&body))
            .await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Err(WriteError::Rejected {
                what: said(&answer),
                address: answer.address,
                id: info.instance_id.as_str().into(),
            }),
            _ => Err(unavailable(&answer, "registering")),
        }
    }

    /// Whether what stands there now is what was sent. Returns the timestamp it was sent with last.
    async fn verify(&self, info: &mut InstanceInfo, mut dirty: i64) -> Result<i64, WriteError> {
        let answer = self
            .sender
            .send(Method::GET, &path(&info.app, &info.instance_id), None)
            .await?;
        let Some(stored) = Some(&answer.body)
            .filter(|_| answer.status == StatusCode::OK)
            .and_then(|body| read::instance(body, Format::Json).ok())
        else {
            return Ok(dirty);
        };
        if let Some(newer) = stored.last_dirty.filter(|stored| *stored > dirty) {
            dirty = newer + 1;
            self.register(info, dirty).await?;
        }
        // Kept from an earlier lease; what an operator has set stays.
        if crosses(&stored, info) && stored.overridden == Status::Unknown {
            let wanted = info.status.replace(Status::Down);
            self.register(info, dirty + 1).await?;
            info.status = wanted;
            dirty += 2;
            self.register(info, dirty).await?;
        }
        Ok(dirty)
    }

    async fn remove(&self, key: &Key) -> Result<(), WriteError> {
        if !key.id.contains(mark::TAG) {
            return Err(WriteError::Rejected {
                address: self.sender.address(),
                id: key.id.clone(),
                what: "it is no record of ours".to_owned(),
            });
        }
        if !self.sender.may_send() {
            return Err(WriteError::NotPermitted);
        }
        let _turn = self.turn(key).await;
        self.held().remove(key);
        let app = key.service.to_uppercase();
        let done = async {
            if self.is_of_another(&app, &key.id).await? {
                return Ok(false);
            }
            let answer = self.sender.send(Method::DELETE, &path(&app, &key.id), None).await?;
            match answer.status {
                status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(true),
                _ => Err(unavailable(&answer, "cancelling")),
            }
        };
        let result: Result<bool, WriteError> = done.await;
        match &result {
            Ok(true) => Counts::one(&self.counts.removes),
            Ok(false) | Err(WriteError::NotPermitted) => {}
            Err(_) => Counts::one(&self.counts.failures),
        }
        result.map(drop)
    }

    /// Whether the record that stands there bears another cluster's mark. One that is not there, or bears none any
    /// more, is nobody else's: its id is ours.
    async fn is_of_another(&self, app: &str, id: &str) -> Result<bool, WriteError> {
        let answer = self.sender.send(Method::GET, &path(app, id), None).await?;
        match answer.status {
            StatusCode::OK => {
                let stored = read::instance(&answer.body, Format::Json).ok();
                let writer = stored.and_then(|mut stored| stored.metadata.remove(mark::CLUSTER));
                Ok(writer.is_some_and(|writer| writer != self.cluster))
            }
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(unavailable(&answer, "reading")),
        }
    }

    /// Renews one lease, or registers what has been lost. Returns whether it had been.
    async fn renew(&self, key: &Key) -> Result<bool, WriteError> {
        let _turn = self.turn(key).await;
        // Removed meanwhile.
        let Some(mut held) = self.held().get(key).cloned() else {
            return Ok(false);
        };
        let mut target = path(&held.info.app, &held.info.instance_id);
        target += &format!("?status={}", held.info.known_status());
        if let Some(dirty) = held.dirty {
            target += &format!("&lastDirtyTimestamp={dirty}");
        }
        let answer = self.sender.send(Method::PUT, &target, None).await?;
        match answer.status {
            status if status.is_success() => {
                Counts::one(&self.counts.renewals);
                Ok(false)
            }
            // Lost, or another cluster has written it with an older clock.
            StatusCode::NOT_FOUND if self.is_of_another(&held.info.app, &held.info.instance_id).await? => {
                self.held().remove(key);
                Ok(false)
            }
            StatusCode::NOT_FOUND => {
                let dirty = next(held.dirty);
                self.register(&mut held.info, dirty).await?;
                held.dirty = Some(dirty);
                if let Some(known) = self.held().get_mut(key) {
                    known.info = held.info;
                    known.dirty = held.dirty;
                }
                Counts::one(&self.counts.restores);
                Ok(true)
            }
            _ => Err(unavailable(&answer, "renewing")),
        }
    }

    /// The records whose renewal is due, and when the next one will be.
    fn due(&self) -> (Vec<Key>, Instant) {
        let (now, interval) = (Instant::now(), self.interval());
        let mut held = self.held();
        let mut due = Vec::new();
        for (key, record) in held.iter_mut().filter(|(_, record)| record.due <= now).take(ROUND) {
            due.push(key.clone());
            record.due = now + interval;
        }
        let next = held.values().map(|record| record.due).min();
        (due, next.unwrap_or(now + interval).min(now + interval))
    }

    /// Everything else is to be looked at soon: it is probably lost as well.
    fn hurry(&self) {
        let now = Instant::now();
        let soon = SOON.min(self.interval());
        for record in self.held().values_mut() {
            record.due = record.due.min(now + soon.mul_f64(fastrand::f64()));
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.lease.renewal_interval).unwrap_or(30).max(1))
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

/// Renews for as long as the publisher lives.
async fn renewals(core: Arc<Core>) {
    let mut hurried = None::<Instant>;
    loop {
        let (due, next) = core.due();
        if due.is_empty() {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = core.wake.notified() => {}
            }
            continue;
        }
        let core = &core;
        let renewed = stream::iter(due).map(async |key| (core.renew(&key).await, key));
        let answers: Vec<_> = renewed.buffer_unordered(AT_ONCE).collect().await;
        let (mut lost, mut silent) = (false, false);
        for (answer, key) in answers {
            match answer {
                Ok(restored) => lost |= restored,
                Err(error) => {
                    silent = true;
                    if error != WriteError::NotPermitted {
                        Counts::one(&core.counts.failures);
                        tracing::debug!(id = %key.id, %error, "not renewed");
                    }
                    if let Some(record) = core.held().get_mut(&key) {
                        record.due = Instant::now();
                    }
                }
            }
        }
        if lost && hurried.is_none_or(|at| at.elapsed() > core.interval()) {
            hurried = Some(Instant::now());
            core.hurry();
        }
        if silent {
            tokio::time::sleep(PAUSE.min(core.interval() / 2)).await;
        }
    }
}

/// A timestamp after the last one, by the clock if it agrees. Ms since 1970.
fn next(last: Option<i64>) -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    last.map_or(now, |last| now.max(last.saturating_add(1)))
}

/// Whether registering the second over the first leaves the first one's status.
fn crosses(stored: &InstanceInfo, wanted: &InstanceInfo) -> bool {
    let sticky = |status| matches!(status, Status::Up | Status::OutOfService);
    let (one, other) = (stored.known_status(), wanted.known_status());
    sticky(one) && sticky(other) && one != other
}

fn unavailable(answer: &Answer, doing: &str) -> WriteError {
    WriteError::Unavailable {
        address: answer.address.clone(),
        what: format!("{doing} was answered {}", said(answer)),
    }
}

fn said(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(160)]);
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{} {}", answer.status.as_u16(), line.trim()).trim().to_owned()
}
