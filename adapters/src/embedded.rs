//! A registry of our own inside this process: it answers Eureka's protocol, and is followed without asking.
//!
//! ```text
//! clients ──HTTP──▶ surface ──▶ book ──▶ (a change wakes) follow ──▶ Knowledge
//!                               ▲
//!                        every second: leases that have run out
//! ```
//!
//! The port is bound when the registry is made, so a port in use is an error at the start. The server runs
//! from then on (or from the first `follow`, when it was made outside a runtime) over all sessions, and ends
//! when this value is dropped: the port is closed, requests under way are finished.
//!
//! It starts empty; clients come back with their next heartbeat, which is answered 404 and makes them register.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use landfall_config::kinds::registry::{EmbeddedSpec, EurekaAddress};
use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::{info, warn};

use crate::{
    eureka::{
        book::{Book, Limits},
        shared::Shared,
        surface,
        view::View,
        wire::Applications,
    },
    registry::{ConnectError, Knowledge, Registry, RegistryError, Reports},
};

/// How often leases are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often it is said that nothing has changed.
const CONFIRM: Duration = Duration::from_secs(5);

/// The embedded registry.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Until it is served.
    listener: Mutex<Option<TcpListener>>,
    /// Dropped with this value, which ends the server.
    stop: watch::Sender<()>,
}

impl Embedded {
    /// Binds the port, and begins to answer if there is a runtime to do it in.
    pub fn new(spec: &EmbeddedSpec) -> Result<Self, ConnectError> {
        let stated = &spec.eureka.address;
        let address: SocketAddr = stated.parse().map_err(|_| ConnectError::BadUrl {
            field: "embedded.eureka.address".to_owned(),
            value_without_credentials: stated.clone(),
            why: "write an IP address and a port, such as `127.0.0.1:8761`".to_owned(),
        })?;
        let bind = |address: SocketAddr| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let bound = listener.local_addr()?;
            Ok((listener, bound))
        };
        let (listener, bound) = bind(address).map_err(|source| ConnectError::Bind {
            address: stated.clone(),
            source,
        })?;
        let embedded = Self {
            shared: Shared::new(Limits::default()),
            address: bound,
            listener: Mutex::new(Some(listener)),
            stop: watch::Sender::new(()),
        };
        if tokio::runtime::Handle::try_current().is_ok() {
            embedded.serve().map_err(|source| ConnectError::Bind {
                address: stated.clone(),
                source,
            })?;
        }
        Ok(embedded)
    }

    /// Where it listens; the real port if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer, once. Needs a runtime.
    fn serve(&self) -> std::io::Result<()> {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = listener else { return Ok(()) };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = surface::router(self.shared.clone());
        let mut stopped = self.stop.subscribe();
        info!(address = %self.address, "the embedded registry answers Eureka's protocol");
        tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(async move {
                // Only the sender's end ends this: nothing is ever sent.
                while stopped.changed().await.is_ok() {}
            });
            if let Err(error) = served.await {
                warn!(%error, "the embedded registry has stopped answering");
            }
        });
        tokio::spawn(expire(self.shared.clone(), self.stop.subscribe()));
        Ok(())
    }
}

async fn expire(shared: Arc<Shared>, mut stopped: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let gone = shared.write(Book::expire);
                if gone > 0 {
                    info!(gone, "leases of the embedded registry have run out");
                }
            }
            changed = stopped.changed() => if changed.is_err() { return },
        }
    }
}

#[async_trait::async_trait]
impl Registry for Embedded {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn address(&self) -> String {
        format!("http://{}/eureka", self.address)
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        if let Err(source) = self.serve() {
            return RegistryError::Unreachable {
                address: self.address(),
                source: source.into(),
            };
        }
        let mut changes = self.shared.watch();
        let mut seen = 0;
        let mut reported = BTreeSet::new();
        self.report(&mut seen, &mut reported, reports).await;
        reports.send(Knowledge::CaughtUp).await;
        loop {
            match tokio::time::timeout(CONFIRM, changes.changed()).await {
                Ok(Ok(())) => self.report(&mut seen, &mut reported, reports).await,
                Err(_) => reports.send(Knowledge::Confirmed).await,
                Ok(Err(_)) => {
                    return RegistryError::SessionOver {
                        address: self.address(),
                        what: "it has been closed".to_owned(),
                    };
                }
            }
        }
    }
}

impl Embedded {
    /// Reports what has changed since the version `seen`, and what is gone of what was reported.
    async fn report(&self, seen: &mut u64, reported: &mut BTreeSet<Arc<str>>, reports: &Reports) {
        let (version, changed, gone) = self.shared.read(|book| {
            let changed = Applications {
                applications: book
                    .changed_since(*seen)
                    .filter_map(|app| book.application(app))
                    .collect(),
                ..Applications::default()
            };
            let gone: Vec<_> = reported
                .iter()
                .filter(|name| book.application(name).is_none())
                .cloned()
                .collect();
            (book.version(), changed, gone)
        });
        *seen = version;
        let view = View::of(changed, EurekaAddress::Ip);
        for name in view.names() {
            reported.insert(name.clone());
            reports.send(view.knowledge(name)).await;
        }
        for name in gone {
            reported.remove(&name);
            reports.send(Knowledge::Gone { name }).await;
        }
    }
}

#[cfg(test)]
mod tests;
