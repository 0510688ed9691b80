//! The edge role: one engine that follows snapshots, its access log, and a soft end.
//!
//! ```text
//! snapshots ──▶ Gateway::start ──▶ engine (crates/engine) ──▶ endpoints
//!                    └──▶ access log: a file that may be rotated, standard output, or nothing
//! ```
//!
//! Next on the path: `landfall_engine::Engine`.

mod access_log;

use std::{net::TcpListener, sync::Arc, time::Duration};

use landfall_engine::{Engine, EngineError, EngineOptions, Mesh};
use landfall_model::Snapshot;
use tokio::sync::watch;

pub use access_log::{AccessLogTarget, OpenError};

/// How a gateway is set up. What may change while it runs is in the snapshots.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// Threads that carry traffic; 0 is one a core.
    pub workers: usize,
    /// Ports to bind instead of those that listeners name: `(80, 8080)`.
    pub map_ports: Vec<(u16, u16)>,
    /// Listening sockets that somebody else keeps open, such as systemd.
    pub inherited: Vec<Arc<TcpListener>>,
    /// Who this process is in the mesh: with it, sidecars are called under mutual TLS.
    pub mesh: Option<Arc<Mesh>>,
    /// Where a JSON line a request goes.
    pub access_log: AccessLogTarget,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Something it needs cannot be had: a port, a certificate, a thread.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The access log cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] OpenError),
}

/// A running gateway. Dropping it cuts what is in flight; [`Gateway::drain`] lets it finish.
#[derive(Debug)]
pub struct Gateway {
    engine: Arc<Engine>,
}

impl Gateway {
    /// Binds the listeners of the present snapshot and follows `snapshots` from then on.
    ///
    /// # Errors
    /// A listener cannot be bound, its certificate cannot be used, or the access log cannot be opened.
    pub fn start(snapshots: watch::Receiver<Arc<Snapshot>>, options: GatewayOptions) -> Result<Self, GatewayError> {
        let options = EngineOptions {
            workers: options.workers,
            bind_override: options.map_ports.into_iter().collect(),
            inherited: options.inherited,
            mesh: options.mesh,
            access_log: options.access_log.open()?,
            ..EngineOptions::default()
        };
        Ok(Self {
            engine: Arc::new(Engine::start(snapshots, options)?),
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
