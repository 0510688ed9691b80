//! The engine: everything made and joined in one place.
//!
//! ```text
//!  start ─▶ compile the first snapshot ─▶ bind its listeners (or fail) ─▶ workers ─▶ control thread
//!  control thread: each snapshot ─▶ ports that go close ─▶ Runtime swapped ─▶ ports that come open
//!                  each second   ─▶ ports that could not be bound, certificates that changed
//! ```
//!
//! Next on the path: [`listen`](crate::listen).

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use landfall_model::{Snapshot, rules::ListenerId};
use tokio::{sync::watch, time::Instant};

use crate::{
    access_log::AccessLog,
    dubbo::{self, DubboOptions},
    http::{
        Gateway, http_proxy,
        peer::{Authorities, Reach},
    },
    listen::{
        accept::{ClientLimits, Server, Shared},
        inherited::Inherited,
        ports::{ListenerState, Opened, Ports},
        tls::Store,
        worker::Worker,
    },
    mesh::Mesh,
    metrics::Metrics,
    runtime::Runtime,
};

/// How often files of certificates and ports that could not be bound are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Access log lines that may wait for the disk.
const ACCESS_LOG_QUEUE: usize = 8192;

/// How an engine is set up. What may change while it runs is in the snapshots.
#[derive(Default)]
pub struct EngineOptions {
    /// Threads that carry calls; 0 is one per processor. Default 0.
    pub workers: usize,
    /// Ports to bind instead of those configured: for tests (0 is any free one) and for processes that may not bind
    /// low ports. Routes and redirects keep naming the configured ones.
    pub bind_override: HashMap<u16, u16>,
    /// Listening sockets that somebody else keeps open, for listeners of the same address and port: a restart loses no
    /// connection then. Default none.
    pub inherited: Vec<Arc<TcpListener>>,
    /// Where a JSON line per call goes, see [`access_log`](crate::access_log). Default nowhere.
    pub access_log: Option<Box<dyn io::Write + Send>>,
    /// Whether clients' own `X-Forwarded-*` headers are believed: only behind a proxy that writes them. Default no.
    pub trust_forwarded: bool,
    /// Who this process is in the mesh. Without it listeners with mutual TLS take plain text alone, if their mode does, and
    /// calls to sidecars fail. Default nobody.
    pub mesh: Option<Arc<Mesh>>,
    /// What clients may take and hold.
    pub clients: ClientLimits,
    /// What Dubbo's connections may take and hold.
    pub dubbo: DubboOptions,
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A listener of the first snapshot cannot have its address.
    #[error("listener {listener} cannot listen on {address}: {source}")]
    Bind {
        /// Which listener.
        listener: ListenerId,
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A certificate of the first snapshot cannot be used.
    #[error("listener {listener}: {problem}")]
    Certificate {
        /// Which listener.
        listener: ListenerId,
        /// What is wrong, naming the file.
        problem: String,
    },
    /// The system gives no thread, or no randomness for TLS.
    #[error("cannot start: {0}")]
    System(String),
}

/// A running data path. Dropping it ends every connection; see [`Engine::drain`] for a softer end.
pub struct Engine {
    core: Arc<Core>,
    workers: Arc<[Worker]>,
    stop: watch::Sender<bool>,
    control: Option<JoinHandle<()>>,
}

/// What the control thread and the engine's owner both use.
struct Core {
    runtime: Arc<ArcSwap<Runtime>>,
    authorities: Arc<ArcSwap<Authorities>>,
    metrics: Arc<Metrics>,
    ports: Ports,
}

impl Engine {
    /// Compiles the present snapshot, binds its listeners and follows `snapshots` from then on.
    /// Does not need a tokio runtime; it brings its own threads.
    ///
    /// # Errors
    /// A listener cannot be bound or has no usable certificate. After the start such things do not end the engine;
    /// [`Engine::listeners`] shows them.
    pub fn start(
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        mut options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let system = |error: &dyn std::fmt::Display| EngineError::System(error.to_string());
        let count = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        // pingora's upstream side takes the process default; ring is the only provider that is built in.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let snapshot = snapshots.borrow_and_update().clone();
        let metrics = Arc::<Metrics>::default();
        let store = Store::new().map_err(|error| system(&error))?;
        let inherited = Inherited::new(&options.inherited).map_err(|error| system(&error))?;
        let core = Arc::new(Core {
            authorities: Arc::new(ArcSwap::from_pointee(Authorities::of(
                &snapshot,
                &Authorities::default(),
            ))),
            runtime: Arc::new(ArcSwap::from_pointee(Runtime::compile(
                snapshot.clone(),
                None,
                &metrics,
            ))),
            ports: Ports::new(count, options.bind_override.clone(), inherited, store),
            metrics,
        });
        let (opened, failed) = core.ports.apply(&snapshot.listeners);
        for address in core.ports.idle_sockets() {
            tracing::warn!(%address, "a socket was given for which there is no listener; connections to it wait in vain");
        }
        if let Some(failure) = failed.into_iter().next() {
            return Err(EngineError::Bind {
                listener: failure.listener,
                address: failure.address,
                source: failure.source,
            });
        }
        if let Some((listener, problem)) = core
            .ports
            .states()
            .into_iter()
            .find_map(|state| Some((state.id, state.error?)))
        {
            return Err(EngineError::Certificate { listener, problem });
        }
        let access_log = match options.access_log.take() {
            Some(sink) => {
                let dropped = core.metrics.access_log_dropped.clone();
                let log = AccessLog::start(sink, ACCESS_LOG_QUEUE, dropped).map_err(|error| system(&error))?;
                Some(Arc::new(log))
            }
            None => None,
        };
        let shared = Arc::new(Shared {
            limits: options.clients.clone(),
            metrics: core.metrics.clone(),
            mesh: options.mesh.clone(),
            open: AtomicUsize::new(0),
            ids: AtomicU64::new(1),
        });
        let workers = (0..count)
            .map(|index| core.worker(index, &shared, access_log.clone(), &options))
            .collect::<io::Result<Arc<[Worker]>>>()
            .map_err(|error| system(&error))?;
        listen(&workers, opened);
        let (stop, stopped) = watch::channel(false);
        let control = {
            let (core, workers) = (core.clone(), workers.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| system(&error))?;
            std::thread::Builder::new()
                .name("landfall-engine".into())
                .spawn(move || runtime.block_on(follow(snapshots, core, workers, stopped)))
                .map_err(|error| system(&error))?
        };
        Ok(Self {
            core,
            workers,
            stop,
            control: Some(control),
        })
    }

    /// How every listener stands.
    pub fn listeners(&self) -> Vec<ListenerState> {
        self.core.ports.states()
    }

    /// The runtime that new calls take.
    pub fn runtime(&self) -> Arc<Runtime> {
        self.core.runtime.load_full()
    }

    /// Appends all figures in the Prometheus text format.
    pub fn render_metrics(&self, out: &mut String) {
        self.core.metrics.render(&self.runtime(), out);
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.core.ports.connections()
    }

    /// Ends softly: no new connection is accepted; calls in flight finish; HTTP/2 clients get GOAWAY, HTTP/1 clients
    /// `Connection: close`. What is left after `deadline` is cut. Returns how many connections that were.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.core.ports.close();
        let end = Instant::now() + deadline;
        while (self.core.ports.is_any_open() || self.connections() > 0) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left = self.connections();
        self.workers.iter().for_each(Worker::cut);
        left
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.core.ports.close();
        self.stop.send_replace(true);
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
        // The last reference to the workers is ours now; dropping it joins their threads.
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}

impl Core {
    fn worker(
        &self,
        index: usize,
        shared: &Arc<Shared>,
        access_log: Option<Arc<AccessLog>>,
        options: &EngineOptions,
    ) -> io::Result<Worker> {
        let (runtime, authorities) = (self.runtime.clone(), self.authorities.clone());
        let (shared, trust, dubbo) = (shared.clone(), options.trust_forwarded, options.dubbo);
        Worker::start(index, move || {
            let limits = &shared.limits;
            let reach = Reach {
                authorities,
                mesh: shared.mesh.clone(),
            };
            let dubbo = dubbo::Proxy::new(runtime.clone(), reach.clone(), access_log.clone(), dubbo);
            let gateway = Gateway::new(runtime, reach, access_log, trust, limits.body, dubbo.clone());
            Server::new(http_proxy(gateway, limits.h2_idle), dubbo, shared)
        })
    }

    /// Takes a snapshot into use. The order keeps every call answerable: what goes is served by the runtime before,
    /// what comes opens when its routes are there.
    fn take(&self, snapshot: &Arc<Snapshot>) -> Vec<Opened> {
        let before = self.runtime.load_full();
        self.ports.retire(&snapshot.listeners, &before);
        self.authorities
            .store(Arc::new(Authorities::of(snapshot, &self.authorities.load())));
        self.runtime.store(Arc::new(Runtime::compile(
            snapshot.clone(),
            Some(&before),
            &self.metrics,
        )));
        let (opened, _) = self.ports.apply(&snapshot.listeners);
        opened
    }
}

fn listen(workers: &[Worker], opened: Vec<Opened>) {
    for Opened { sockets } in opened {
        for (worker, (socket, listening)) in workers.iter().zip(sockets) {
            worker.listen(socket, listening);
        }
    }
}

/// The control thread.
async fn follow(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    core: Arc<Core>,
    workers: Arc<[Worker]>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut followed = true;
    // A port that another process (or our own closing socket) still holds is often free a moment later.
    let mut wait = LOOK_AGAIN;
    loop {
        let opened = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            changed = snapshots.changed(), if followed => match changed {
                Ok(()) => {
                    wait = Duration::from_millis(20);
                    let snapshot = snapshots.borrow_and_update().clone();
                    core.take(&snapshot)
                }
                // Nobody makes snapshots any more: the last one stays.
                Err(_) => {
                    followed = false;
                    continue;
                }
            },
            () = tokio::time::sleep(wait) => {
                core.ports.refresh_certificates();
                core.ports.retry()
            }
        };
        wait = match core.ports.any_missing() {
            true => (wait * 2).min(LOOK_AGAIN),
            false => LOOK_AGAIN,
        };
        listen(&workers, opened);
    }
}
