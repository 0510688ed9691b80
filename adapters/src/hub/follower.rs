//! The task around one ledger: feeds it, publishes what it believes, probes, and saves the last good view.
//!
//! ```text
//! supervisor ──events──▶ ┌──────────┐ ──view──▶ World (watch)
//! hub ────────orders───▶ │ follower │ ──▶ probes ──results──┐
//!                        └──────────┘ ──▶ store             │
//!                              ▲────────────────────────────┘
//! ```
//!
//! The first change after a quiet time is published at once; a burst after it at most every 20 ms.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_model::{RegistryName, World};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    ledger::{Event, Ledger, ProbeTarget},
    metrics::Figures,
    probe::Probe,
};
use crate::{
    Registry,
    brake::{Brake, Moment},
    definitions::Definitions,
    store::Store,
    supervisor::{SessionEvent, supervise},
};

mod saver;

/// Views are published at most this often.
const COALESCE: Duration = Duration::from_millis(20);
/// Events taken from the supervisor before anything else is looked at.
const BURST: usize = 256;
/// Probes under way at once.
const PROBES: usize = 32;

/// What a follower is made from.
pub(super) struct Follower {
    pub(super) name: RegistryName,
    pub(super) kind: &'static str,
    pub(super) address: String,
    pub(super) brake: Brake,
    pub(super) store: Option<Store>,
    pub(super) probe: Arc<dyn Probe>,
    pub(super) world: watch::Sender<Arc<World>>,
    pub(super) figures: Arc<Figures>,
    pub(super) definitions: Definitions,
    /// When the hub started: what monotonic time is counted from.
    pub(super) start: Instant,
}

/// What the hub asks of a follower.
pub(super) enum Order {
    /// Follow this one.
    Follow(Arc<dyn Registry>),
    /// End the session and let go of the registry; another `Follow` comes.
    Pause {
        why: String,
        kind: &'static str,
        address: String,
        brake: Brake,
        done: oneshot::Sender<()>,
    },
    /// Other limits.
    Brake(Brake),
    /// Save, and end.
    End { done: oneshot::Sender<()> },
}

/// A follower that runs.
pub(super) struct Handle {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Gives an order. A follower that is gone takes none, which only the end of the process explains.
    pub(super) async fn order(&self, order: Order) {
        let _ = self.orders.send(order).await;
    }

    /// Gives an order that is answered, and waits for the answer.
    pub(super) async fn ask(&self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (done, answer) = oneshot::channel();
        self.order(order(done)).await;
        let _ = answer.await;
    }

    /// Saves, ends, and waits for it.
    pub(super) async fn end(self) {
        self.ask(|done| Order::End { done }).await;
        let _ = self.task.await;
    }
}

impl Follower {
    /// Loads the last good view and starts. The world has the registry when this returns.
    pub(super) async fn start(self) -> Handle {
        let mut running = Running::new(self).await;
        running.publish_now();
        let (orders, taken) = mpsc::channel(8);
        let task = tokio::spawn(running.run(taken));
        Handle { orders, task }
    }
}

struct Running {
    follower: Follower,
    ledger: Ledger,
    session: Option<JoinHandle<()>>,
    events: mpsc::Receiver<SessionEvent>,
    probing: usize,
    waiting: Vec<ProbeTarget>,
    probed: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    published: Option<Instant>,
    saver: saver::Saver,
}

impl Running {
    async fn new(follower: Follower) -> Self {
        let now = moment(follower.start);
        let (name, kind, address) = (follower.name.clone(), follower.kind, follower.address.clone());
        let mut ledger = Ledger::new(name.clone(), kind, address, follower.brake, now);
        if let Some(store) = follower.store.clone() {
            let load = tokio::task::spawn_blocking(move || store.load(&name, kind));
            if let Ok(Some(found)) = load.await {
                ledger.restore(found.services, &found.address, found.saved_at);
            }
        }
        let (_, events) = mpsc::channel(1);
        Self {
            follower,
            ledger,
            session: None,
            events,
            probing: 0,
            waiting: Vec::new(),
            probed: mpsc::channel(PROBES),
            published: None,
            saver: saver::Saver::default(),
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Follow(registry)) => self.open(registry),
                    Some(Order::Pause { why, kind, address, brake, done }) => {
                        self.close().await;
                        // Another registry may be about to take over from this one.
                        self.save_now().await;
                        let retry_at = SystemTime::now();
                        self.ledger.apply(self.now(), Event::Ended { why, retry_at });
                        self.ledger.relocate(kind, address);
                        self.ledger.limit(brake);
                        let _ = done.send(());
                    }
                    Some(Order::Brake(brake)) => self.ledger.limit(brake),
                    Some(Order::End { done }) => {
                        self.close().await;
                        self.save_now().await;
                        let _ = done.send(());
                        return;
                    }
                    // The hub was dropped without its shutdown.
                    None => return self.close().await,
                },
                Some(event) = self.events.recv() => {
                    self.take(event);
                    for _ in 0..BURST {
                        let Ok(event) = self.events.try_recv() else { break };
                        self.take(event);
                    }
                }
                Some(event) = self.probed.1.recv() => {
                    self.probing -= 1;
                    let now = self.now();
                    self.ledger.apply(now, event);
                }
                saved = self.saver.finished() => self.saved(saved),
                () = sleep_until(wake_at) => {}
            }
            let now = self.now();
            self.ledger.tick(now);
            self.probe(now);
            if self.ledger.is_dirty() && self.publish_at() <= Instant::now() {
                self.publish_now();
            }
            if self.save_at().is_some_and(|at| at <= Instant::now()) {
                self.start_saving();
            }
        }
    }

    fn now(&self) -> Moment {
        moment(self.follower.start)
    }

    fn open(&mut self, registry: Arc<dyn Registry>) {
        let (events, taken) = mpsc::channel(BURST);
        self.events = taken;
        self.ledger.relocate(registry.kind(), registry.address());
        let (name, definitions) = (self.follower.name.clone(), self.follower.definitions.clone());
        self.session = Some(tokio::spawn(supervise(name, registry, events, definitions)));
    }

    /// Ends the session. When this returns nothing of the registry is left: its sockets are closed.
    async fn close(&mut self) {
        let (_, closed) = mpsc::channel(1);
        self.events = closed;
        if let Some(session) = self.session.take() {
            session.abort();
            let _ = session.await;
        }
    }

    fn take(&mut self, event: SessionEvent) {
        let now = self.now();
        let event = match event {
            SessionEvent::Opened => {
                self.follower.figures.opened();
                Event::Opened
            }
            SessionEvent::Said(knowledge) => Event::Said(knowledge),
            SessionEvent::Ended { error, retry_in } => {
                self.follower.figures.ended(error.label());
                Event::Ended {
                    why: error.to_string(),
                    retry_at: now.wall.checked_add(retry_in).unwrap_or(now.wall),
                }
            }
        };
        self.ledger.apply(now, event);
    }

    fn wake_at(&self) -> Option<Instant> {
        let ledger = self.ledger.wake_at(self.now()).map(|mono| self.follower.start + mono);
        let publish = self.ledger.is_dirty().then(|| self.publish_at());
        [ledger, publish, self.save_at()].into_iter().flatten().min()
    }

    fn publish_at(&self) -> Instant {
        self.published.map_or_else(Instant::now, |at| at + COALESCE)
    }

    fn publish_now(&mut self) {
        let now = self.now();
        let Some(published) = self.ledger.publish(now) else {
            return;
        };
        self.published = Some(Instant::now());
        self.saver.due |= published.content;
        let view = published.view;
        self.follower.world.send_modify(|world| {
            let mut registries = world.registries.clone();
            registries.insert(self.follower.name.clone(), view.clone());
            *world = Arc::new(World { registries });
        });
        self.follower
            .figures
            .published(&view, published.content, &published.changed, now.wall);
    }

    /// Starts the probes that are due, a bounded number at once.
    fn probe(&mut self, now: Moment) {
        self.waiting.extend(self.ledger.probes(now));
        while self.probing < PROBES {
            let Some(target) = self.waiting.pop() else { break };
            self.probing += 1;
            let (probe, results) = (self.follower.probe.clone(), self.probed.0.clone());
            tokio::spawn(async move {
                // A probe that panics is lost with its slot only if nothing is said, so it runs by itself.
                let ProbeTarget { service, instance } = target;
                let id = instance.id.clone();
                let asked = tokio::spawn(async move { probe.probe(&instance).await }).await;
                let found = asked.unwrap_or(crate::brake::Probed::Unknown);
                let _ = results
                    .send(Event::Probed {
                        service,
                        instance: id,
                        found,
                    })
                    .await;
            });
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn moment(start: Instant) -> Moment {
    Moment {
        wall: SystemTime::now(),
        mono: start.elapsed(),
    }
}

#[cfg(test)]
mod tests;
