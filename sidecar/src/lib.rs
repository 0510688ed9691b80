//! The sidecar role: beside one application, takes its calls in and out, under mutual TLS where both sides can.
//!
//! ```text
//! configuration ─▶ [rules] what concerns this application ─▶ control ─▶ snapshots ─▶ [inbound] its own address put in
//!                                                                                         │
//!   application ─ plain, 127.0.0.1:15001 ─▶ outbound listener ─▶ engine ─▶ mutual TLS ─▶ other sidecars, or plain
//!   callers ─ mutual TLS or plain, :15006 ─▶ inbound listener ─▶ engine ─▶ plain, loopback ─▶ application
//! ```
//!
//! An application calls `http://orders.eureka/…` with the sidecar as its HTTP proxy, or the outbound listener with that
//! `Host`. Next on the path: [`rules`].

pub mod identity;
mod inbound;
pub mod rules;

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use landfall_config::ConfigState;
use landfall_engine::{Engine, EngineError, EngineOptions, Mesh};
use landfall_model::{ServiceId, Snapshot, rules::MutualTls};
use tokio::{sync::watch, task::AbortHandle};

/// How a sidecar is set up.
#[derive(Clone, Debug)]
pub struct SidecarOptions {
    /// The application's service.
    pub service: ServiceId,
    /// Where the application listens.
    pub application: SocketAddr,
    /// Where callers come in. Port 15006 by default, on every address.
    pub inbound: SocketAddr,
    /// Where the application's own calls go. `127.0.0.1:15001` by default; keep it on loopback, for it asks nobody who he is.
    pub outbound: SocketAddr,
    /// The services that the application calls.
    pub calls: Vec<ServiceId>,
    /// Whether callers have to come by mutual TLS, where no PeerAuthentication says it.
    pub mode: MutualTls,
    /// Threads that carry traffic; 0 is one a core.
    pub workers: usize,
}

/// A running sidecar. Dropping it cuts what is in flight; [`Sidecar::drain`] lets it finish.
#[derive(Debug)]
pub struct Sidecar {
    engine: Arc<Engine>,
    task: AbortHandle,
}

impl Sidecar {
    /// Opens both sides and follows `snapshots`, which are made from what [`rules::follow`] leaves of the configuration.
    ///
    /// # Errors
    /// A port cannot be had, or there is no thread.
    pub fn start(
        config: watch::Receiver<ConfigState>,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        options: &SidecarOptions,
        mesh: Option<Arc<Mesh>>,
        access_log: Option<Box<dyn Write + Send>>,
    ) -> Result<Self, EngineError> {
        let inbound = inbound::Inbound::new(options);
        let own = move |snapshot: &Snapshot| {
            let authorization = &config.borrow().current.rules.authorization;
            Arc::new(inbound.put_in(snapshot, authorization))
        };
        let (sender, receiver) = watch::channel(own(&snapshots.borrow_and_update()));
        let engine = Engine::start(
            receiver,
            EngineOptions {
                workers: options.workers,
                mesh,
                access_log,
                ..EngineOptions::default()
            },
        )?;
        let task = tokio::spawn(async move {
            while snapshots.changed().await.is_ok() {
                let snapshot = snapshots.borrow_and_update().clone();
                sender.send_replace(own(&snapshot));
            }
        });
        Ok(Self {
            engine: Arc::new(engine),
            task: task.abort_handle(),
        })
    }

    /// The engine inside, for the admin API.
    pub fn engine(&self) -> Arc<Engine> {
        self.engine.clone()
    }

    /// Ends softly: nothing new is accepted, calls in flight finish, what is left after `deadline` is cut.
    /// Returns how many connections were cut.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.engine.drain(deadline).await
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.task.abort();
    }
}
