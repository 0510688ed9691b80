//! `landfall up` and `landfall gateway`: everything is made and joined in one place, in the order it depends on.
//!
//! ```text
//! config::load ─▶ admin port ─▶ hub ─▶ control ─▶ facades ─▶ writing ─▶ gateway ─▶ admin pages
//!     … ─▶ drain ─▶ writing gives its lock back ─▶ hub writes last good views
//! ```

use std::{
    collections::HashSet,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use landfall_adapters::{
    facade::{Facades, traffic::Board},
    hub::{Hub, HubOptions},
};
use landfall_config::{Config, ConfigFollower, LoadError, follow, kinds::registry::nacos_grpc};
use landfall_control::{
    Control, ControlOptions, DataPath,
    admin::{AdminServer, Sources},
    resolve,
    writing::{Writing, WritingError, WritingOptions},
};
use landfall_gateway::{AccessLogTarget, Gateway, GatewayError, GatewayOptions};
use landfall_model::Snapshot;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
};

use landfall_sidecar::identity::Followed;

use crate::{
    args::UpArgs,
    data_path::EngineDataPath,
    identity::Who,
    outcome::{Failure, chain},
    output, systemd,
};

/// Ports are opened after this time at the latest, whatever the registries do.
pub(crate) const OPEN_AFTER: Duration = Duration::from_secs(2);
/// Between two looks at whether something is so yet.
const PAUSE: Duration = Duration::from_millis(5);
/// … and when it has not been so for long: a registry may be away for days.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What a process is started with.
pub struct RunOptions {
    /// A file or a directory.
    pub config: PathBuf,
    /// Where the admin server listens.
    pub admin: SocketAddr,
    /// Where last good views are kept, and what was written into registries.
    pub data_dir: PathBuf,
    /// Id of the cluster that is written as.
    pub cluster: String,
    /// Registry where the writer is elected.
    pub elect_in: Option<String>,
    /// Who this process is in the mesh.
    pub identity: Option<Who>,
    /// The data path's.
    pub gateway: GatewayOptions,
}

/// A running Landfall.
pub struct Running {
    hub: Arc<Hub>,
    control: Control,
    config: ConfigFollower,
    facades: JoinHandle<()>,
    writing: Writing,
    gateway: Gateway,
    _identity: Option<Followed>,
    admin_end: oneshot::Sender<()>,
    admin: JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// Starts everything. A port that is taken, a broken configuration or a broken certificate fails the start.
    pub async fn start(options: RunOptions) -> Result<Self, Failure> {
        let first = landfall_config::load(&options.config).map_err(|error| refused(&error))?;
        for warning in &first.warnings {
            tracing::warn!("{warning}");
        }
        let unreachable = |error: &dyn std::error::Error| Failure::Unreachable(chain(error));
        let admin = AdminServer::bind(options.admin).await;
        let admin =
            admin.map_err(|error| Failure::Unreachable(format!("{}\nChoose another with --admin.", chain(&error))))?;
        std::fs::create_dir_all(&options.data_dir).map_err(|error| {
            Failure::Unreachable(format!(
                "cannot make {}: {error}\nChoose another with --data-dir.",
                options.data_dir.display()
            ))
        })?;
        registries_ports_are_free(&first)?;
        let board = Board::default();
        let hub = Arc::new(Hub::start(HubOptions {
            data_dir: Some(options.data_dir.clone()),
            board: board.clone(),
            ..HubOptions::default()
        }));
        let config = follow(&options.config, first);
        let identity = options.identity.as_ref().map(Who::follow).transpose()?;
        let control = Control::start(ControlOptions {
            config: config.state(),
            hub: hub.clone(),
            trust_domain: options.identity.map(|who| who.trust_domain),
            look_up: resolve::system(),
        })
        .await;
        let facades = tokio::spawn(Facades::new(hub.world(), board.clone()).follow(config.state()));
        let writing = Writing::start(WritingOptions {
            config: config.state(),
            hub: hub.clone(),
            cluster: options.cluster,
            elect_in: options.elect_in,
            who: who(),
            data_dir: Some(options.data_dir),
        })
        .await
        .map_err(|error| match error {
            WritingError::NoSuchRegistry { .. } => {
                Failure::Usage(format!("{error}\nName one of them with --elect-in."))
            }
            WritingError::Election(_) => unreachable(&error),
        })?;
        // Ports open when calls can be served, so that nobody is told 503 for being early.
        let ready = wait_until_ready(&control, None);
        if tokio::time::timeout(OPEN_AFTER, ready).await.is_err() {
            tracing::warn!("opening the ports although not every registry has answered; /readyz tells which");
        }
        let gateway = GatewayOptions {
            mesh: identity.as_ref().map(|identity| identity.mesh.clone()),
            ..options.gateway
        };
        let gateway = Gateway::start(control.snapshots(), gateway).map_err(|error| match &error {
            GatewayError::Engine(_) => unreachable(&error),
            GatewayError::AccessLog(_) => {
                Failure::Unreachable(format!("{}\nChoose another with --access-log.", chain(&error)))
            }
        })?;
        let (metrics, writes, places) = (hub.metrics(), writing.view().sync.metrics(), board.clone());
        let sources = Sources {
            control: control.clone(),
            data_path: Some(Arc::new(EngineDataPath(gateway.engine()))),
            writing: Some(writing.view()),
            metrics: vec![
                Arc::new(move |out: &mut String| metrics.render(out)),
                Arc::new(move |out: &mut String| writes.render(out)),
                Arc::new(move |out: &mut String| places.render(out)),
            ],
            facades: board,
        };
        tracing::info!(address = %admin.address(), "admin server listening");
        let (admin_end, end) = oneshot::channel::<()>();
        let ended = async move {
            let _ = end.await;
        };
        let admin = tokio::spawn(admin.serve(sources, ended));
        Ok(Self {
            hub,
            control,
            config,
            facades,
            writing,
            gateway,
            _identity: identity,
            admin_end,
            admin,
        })
    }

    /// Waits until calls can be served.
    pub async fn ready(&self) {
        let data_path = EngineDataPath(self.gateway.engine());
        wait_until_ready(&self.control, Some(&data_path)).await;
    }

    /// Waits until calls may go to each of these addresses.
    pub async fn carries(&self, addresses: &[SocketAddr]) {
        let all = |snapshot: &Arc<Snapshot>| {
            let endpoints = snapshot.clusters.values().flat_map(|cluster| &cluster.endpoints);
            let carried: HashSet<SocketAddr> = endpoints.map(|endpoint| endpoint.address).collect();
            addresses.iter().all(|address| carried.contains(address))
        };
        let mut snapshots = self.control.snapshots();
        let Ok(version) = snapshots.wait_for(all).await.map(|snapshot| snapshot.version) else {
            return;
        };
        let data_path = EngineDataPath(self.gateway.engine());
        while data_path.snapshot_version() < version {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lets calls in flight finish for at most `patience`, writes the last good views, and ends.
    pub async fn stop(self, patience: Duration) {
        let cut = self.gateway.drain(patience).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "cut what was still open after the drain time");
        }
        self.facades.abort();
        self.writing.stop().await;
        self.hub.shutdown().await;
        let _ = self.admin_end.send(());
        // Whoever still reads from the admin server has had its answer, or has stopped reading.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.admin).await;
        // The engine joins its threads, which is no work for the control plane's own.
        let _ = tokio::task::spawn_blocking(move || drop(self.gateway)).await;
    }
}

/// Runs until SIGTERM or SIGINT; SIGHUP reads the configuration at once; a second SIGTERM or SIGINT does not wait.
pub async fn until_told_to_end(args: UpArgs, inherited: Vec<Arc<TcpListener>>) -> Result<(), Failure> {
    raise_open_files();
    let mut signals = Signals::new()?;
    let running = Running::start(RunOptions {
        config: args.config,
        admin: args.admin,
        data_dir: args.data_dir.unwrap_or_else(default_data_dir),
        cluster: args.cluster,
        elect_in: args.elect_in,
        identity: Who::of(args.identity)?,
        gateway: GatewayOptions {
            workers: args.workers.unwrap_or(0),
            map_ports: args.map_port,
            inherited,
            mesh: None,
            access_log: AccessLogTarget::parse(&args.access_log),
        },
    })
    .await?;
    systemd::ports_are_open();
    let mut serving = false;
    let name = loop {
        let told = tokio::select! {
            told = signals.next() => told,
            () = running.ready(), if !serving => {
                serving = true;
                systemd::serving();
                continue;
            }
        };
        match told {
            Told::Reload => {
                tracing::info!("SIGHUP: reading the configuration again");
                running.config.reload_now();
            }
            Told::End(name) => break name,
        }
    };
    tracing::info!("{name}: ending; calls in flight have {} s", args.drain_seconds);
    systemd::stopping(Duration::from_secs(args.drain_seconds));
    tokio::select! {
        () = running.stop(Duration::from_secs(args.drain_seconds)) => {}
        name = signals.end() => tracing::warn!("{name} again: ending at once"),
    }
    Ok(())
}

/// What a signal tells.
pub(crate) enum Told {
    /// To read the configuration at once.
    Reload,
    /// To end; by the signal of this name.
    End(&'static str),
}

/// The signals a server is sent.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on they are ours to answer.
    pub fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::Unreachable(format!("cannot listen for signals: {error}")));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for any of them.
    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End("SIGTERM"),
            _ = self.interrupt.recv() => Told::End("SIGINT"),
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// Waits for SIGTERM or SIGINT and returns its name.
    pub async fn end(&mut self) -> &'static str {
        loop {
            if let Told::End(name) = self.next().await {
                return name;
            }
        }
    }
}

pub(crate) async fn wait_until_ready(control: &Control, data_path: Option<&dyn DataPath>) {
    let mut pause = PAUSE;
    while !control.readiness(data_path).ready {
        tokio::time::sleep(pause).await;
        pause = (pause * 5 / 4).min(LONGEST_PAUSE);
    }
}

/// What this process calls itself to others: host name and process id.
fn who() -> String {
    let host = rustix::system::uname();
    format!("{} ({})", host.nodename().to_string_lossy(), std::process::id())
}

/// A registry of our own or a facade that cannot listen fails the start, as a listener does; while running it is
/// tried again.
fn registries_ports_are_free(config: &Config) -> Result<(), Failure> {
    for registry in &config.registries {
        let Some(embedded) = &registry.spec.embedded else {
            continue;
        };
        for address in embedded.addresses() {
            if let Err(error) = std::net::TcpListener::bind(address) {
                let text = format!("registry {} cannot listen on {address}: {error}", registry.name);
                return Err(Failure::Unreachable(text));
            }
        }
    }
    for facade in &config.facades {
        let address = &facade.spec.address;
        let grpc = facade.spec.nacos.as_ref().and_then(|_| nacos_grpc(address));
        for address in [address.parse().ok(), grpc].into_iter().flatten() {
            let address: std::net::SocketAddr = address;
            if let Err(error) = std::net::TcpListener::bind(address) {
                let text = format!("facade {} cannot listen on {address}: {error}", facade.name);
                return Err(Failure::Unreachable(text));
            }
        }
    }
    Ok(())
}

/// What was wrong with a configuration, with every place. A path that cannot be read is an answer, too: no.
pub fn refused(error: &LoadError) -> Failure {
    let problems = error.problems();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let count = output::count(lines.len(), "problem");
    Failure::No(format!("{}\n{count}; nothing of it is used", lines.join("\n")))
}

/// systemd's StateDirectory, else the XDG state directory, else a directory below the home, else the temporary one.
pub fn default_data_dir() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("STATE_DIRECTORY")
        .or_else(|| Some(variable("XDG_STATE_HOME")?.join("landfall")))
        .or_else(|| Some(variable("HOME")?.join(".local/state/landfall")))
        .unwrap_or_else(|| std::env::temp_dir().join("landfall"))
}

/// The usual soft limit of 1,024 open files is some 500 calls; the hard limit is what the operator meant.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}
