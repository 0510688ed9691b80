//! A registry of our own inside this process: it answers Eureka's, Consul's and Nacos' protocols, and is followed
//! without asking.
//!
//! ```text
//! Eureka's clients ──HTTP────────▶ surface ──▶ book ─┐
//!                                            ▲ │     │
//!                                     twins  │ ▼     ├─▶ (a change wakes) follow ──▶ Knowledge
//! Consul's clients ──HTTP────────▶ surface ──▶ book ─┤
//!                                            ▲ │     │
//!                                     twins  │ ▼     │
//! Nacos' clients ──gRPC, HTTP────▶ surface ──▶ book ─┘     every second: state ──▶ disk
//! ```
//!
//! The ports are bound when the registry is made, so a port in use is an error at the start. The servers run
//! from then on (or from the first `follow`, when it was made outside a runtime) over all sessions, and end
//! when this value is dropped: the ports are closed, requests under way are finished, the state is written.
//!
//! With a data directory it goes on where it was left (`state`): every registration is there again, and its lease
//! stands for at least one duration. Without one it starts empty; clients come back with their next
//! heartbeat, which is answered 404 and makes them register.
//!
//! With several protocols each shows what was registered by the others (`twin`). It may begin with what another registry
//! had (`inherit`).

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use axum::{Router, extract::Request, response::Response};
use landfall_config::kinds::registry::{EmbeddedSpec, NACOS_GRPC_OFFSET};
use landfall_model::RegistryName;
use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::{info, warn};

use self::{
    state::{Saver, StateFile},
    twin::{Answers, Books, Seen},
};
use crate::{
    eureka::{book as eureka, surface::Surface as EurekaSurface},
    facade::{
        consul::{book as consul, probes, surface::Surface as ConsulSurface},
        nacos::{
            book as nacos,
            grpc::{self, Server as NacosServer, Writes as NacosWrites},
            surface::Surface as NacosSurface,
        },
        serve,
        shared::{Shared, wall_clock},
        traffic::{Board, Description, Of, Place},
        writes::Writes,
    },
    publish::mark::digest_of,
    registry::{ConnectError, Knowledge, Registry, RegistryError, Reports},
};

mod inherit;
mod state;
mod twin;

pub(crate) use inherit::take_over;

/// How often leases are looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often it is said that nothing has changed.
const CONFIRM: Duration = Duration::from_secs(5);
/// Indexes and versions are raised by that much over what was saved: more than one second of changes.
const LEAP: u64 = 100_000;

/// The embedded registry.
#[derive(Debug)]
pub struct Embedded {
    name: Arc<str>,
    books: Books,
    eureka: Option<SocketAddr>,
    consul: Option<SocketAddr>,
    /// On the board as long as it lives.
    _places: Vec<Arc<Place>>,
    nacos: Option<SocketAddr>,
    /// Until they are served.
    listeners: Mutex<Vec<(TcpListener, Router)>>,
    /// Likewise, for Nacos' gRPC.
    grpc: Mutex<Option<TcpListener>>,
    /// Dropped with this value, which ends gRPC.
    nacos_server: watch::Sender<Arc<NacosServer>>,
    saver: Option<Arc<Saver>>,
    /// Dropped with this value, which ends the servers.
    stop: watch::Sender<()>,
}

impl Embedded {
    /// Binds the ports, and begins to answer if there is a runtime to do it in. Keeps nothing over a restart.
    ///
    /// # Errors
    /// An address that is none, or is in use.
    pub fn new(spec: &EmbeddedSpec) -> Result<Self, ConnectError> {
        Self::open(spec, None, &Board::default())
    }

    /// As [`new`](Self::new), and goes on where the registry of that name was left in this data directory. It is listed on
    /// the board.
    ///
    /// # Errors
    /// An address that is none, or is in use.
    pub fn open(
        spec: &EmbeddedSpec,
        kept: Option<(&Path, &RegistryName)>,
        board: &Board,
    ) -> Result<Self, ConnectError> {
        let bind = |address: Option<&String>, field: &str| address.map(|stated| serve::bind(stated, field)).transpose();
        let eureka = bind(spec.eureka.as_ref().map(|one| &one.address), "embedded.eureka.address")?;
        let consul = bind(spec.consul.as_ref().map(|one| &one.address), "embedded.consul.address")?;
        let nacos = bind(spec.nacos.as_ref().map(|one| &one.address), "embedded.nacos.address")?;
        let nacos_grpc = nacos
            .as_ref()
            .map(|(_, address)| match grpc::beside(*address) {
                Some(beside) => serve::bind(&beside.to_string(), "embedded.nacos.address"),
                None => Err(ConnectError::BadUrl {
                    field: "embedded.nacos.address".to_owned(),
                    value_without_credentials: address.to_string(),
                    why: format!(
                        "choose a port up to {}: gRPC is answered 1000 above",
                        u16::MAX - NACOS_GRPC_OFFSET
                    ),
                }),
            })
            .transpose()?;
        // Only now: whoever had the ports has written its state.
        let file = kept.map(|(data_dir, name)| StateFile::new(data_dir, name));
        let saved = file.as_ref().and_then(StateFile::load);
        let taken_over = saved.as_ref().and_then(|saved| saved.taken_over.clone());
        let books = books(spec, consul.as_ref().map(|(_, address)| *address), saved);
        let saver = file.map(|file| Saver::new(file, books.clone(), taken_over));
        let name = kept.map_or("embedded", |(_, name)| name.as_str());
        let (mut listeners, mut places) = (Vec::new(), Vec::new());
        let mut stated = String::new();
        let (mut eureka_address, mut consul_address, mut nacos_address) = (None, None, None);
        if let Some((listener, address)) = eureka {
            let surface = EurekaSurface::new(books.eureka.clone(), Writes::Here);
            let book = books.eureka.clone();
            let leases = move || book.read(eureka::Book::leases);
            let place = Place::new(board, describe(name, "eureka", address), Some(Box::new(leases)));
            listeners.push((
                listener,
                router(&place, move |request| surface.clone().answered(request)),
            ));
            places.push(place);
            eureka_address = Some(address);
            stated = address.to_string();
        }
        if let Some((listener, address)) = consul {
            let surface = ConsulSurface::new(books.consul.clone(), Writes::Here);
            let book = books.consul.clone();
            let leases = move || book.read(consul::Book::leases);
            let place = Place::new(board, describe(name, "consul", address), Some(Box::new(leases)));
            listeners.push((
                listener,
                router(&place, move |request| surface.clone().answered(request)),
            ));
            places.push(place);
            consul_address = Some(address);
            stated = address.to_string();
        }
        if let Some((listener, address)) = nacos {
            let surface = NacosSurface::new(books.nacos.clone(), Writes::Here);
            let place = Place::new(board, describe(name, "nacos", address), None);
            let answer = move |request| {
                let surface = surface.clone();
                async move { surface.answer(request).await }
            };
            listeners.push((listener, router(&place, answer)));
            places.push(place);
            nacos_address = Some(address);
            stated = address.to_string();
        }
        let ready = Arc::new(AtomicBool::new(true));
        let nacos_server = NacosServer::new(books.nacos.clone(), NacosWrites::Here, ready);
        let embedded = Self {
            name: name.into(),
            _places: places,
            books,
            eureka: eureka_address,
            consul: consul_address,
            nacos: nacos_address,
            listeners: Mutex::new(listeners),
            grpc: Mutex::new(nacos_grpc.map(|(listener, _)| listener)),
            nacos_server: watch::Sender::new(nacos_server),
            saver,
            stop: watch::Sender::new(()),
        };
        if tokio::runtime::Handle::try_current().is_ok() {
            embedded.serve().map_err(|source| ConnectError::Bind {
                address: stated,
                source,
            })?;
        }
        Ok(embedded)
    }

    /// Where it answers Eureka's protocol; the real port if 0 was asked for.
    pub fn eureka_addr(&self) -> Option<SocketAddr> {
        self.eureka
    }

    /// Where it answers Consul's protocol; the real port if 0 was asked for.
    pub fn consul_addr(&self) -> Option<SocketAddr> {
        self.consul
    }

    /// Where it answers Nacos' protocol over HTTP; the real port if 0 was asked for. gRPC is 1000 above.
    pub fn nacos_addr(&self) -> Option<SocketAddr> {
        self.nacos
    }

    /// Begins to answer, once. Needs a runtime.
    fn serve(&self) -> std::io::Result<()> {
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        if listeners.is_empty() {
            return Ok(());
        }
        for (listener, router) in listeners {
            serve::spawn(listener, router, self.stop.subscribe())?;
        }
        if let Some(address) = self.eureka {
            info!(%address, "the embedded registry answers Eureka's protocol");
            tokio::spawn(expire(self.books.eureka.clone(), self.stop.subscribe()));
        }
        if let Some(address) = self.consul {
            info!(%address, "the embedded registry answers Consul's protocol");
            tokio::spawn(probes::run(self.books.consul.clone(), self.stop.subscribe()));
        }
        let grpc = self.grpc.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = grpc {
            grpc::spawn(listener, self.nacos_server.subscribe())?;
        }
        if let Some(address) = self.nacos {
            info!(%address, "the embedded registry answers Nacos' protocol");
            tokio::spawn(tend_nacos(self.books.nacos.clone(), self.stop.subscribe()));
        }
        if [self.eureka, self.consul, self.nacos].iter().flatten().count() > 1 {
            tokio::spawn(self.books.clone().keep_twins(self.name.clone(), self.stop.subscribe()));
        }
        if let Some(saver) = &self.saver {
            tokio::spawn(saver.clone().run(self.stop.subscribe()));
        }
        Ok(())
    }

    /// Reports what has changed since `seen`, and what is gone of what was reported.
    async fn report(&self, seen: &mut Seen, reported: &mut BTreeSet<Arc<str>>, reports: &Reports) {
        let (mut names, now) = self.books.changed_since(*seen);
        *seen = now;
        let there = self.books.names();
        names.extend(reported.difference(&there).cloned());
        for name in names {
            let known = self.books.knowledge(&name);
            match &known {
                Knowledge::Gone { .. } if !reported.remove(&name) => continue,
                Knowledge::Gone { .. } => {}
                _ => {
                    reported.insert(name);
                }
            }
            reports.send(known).await;
        }
    }
}

impl Drop for Embedded {
    /// What was said in the last second is written before the value is gone.
    fn drop(&mut self) {
        if let Some(saver) = &self.saver {
            saver.save();
        }
    }
}

fn describe(name: &str, protocol: &'static str, address: SocketAddr) -> Description {
    Description {
        of: Of::Registry,
        name: name.to_owned(),
        protocol,
        address: address.to_string(),
        path: String::new(),
        view: name.to_owned(),
        writes: "here".to_owned(),
    }
}

/// A service of its own, whose requests are noted.
fn router<F>(place: &Arc<Place>, answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static) -> Router
where
    F: Future<Output = Response> + Send + 'static,
{
    let place = place.clone();
    Router::new().fallback(move |request: Request| {
        let (place, answer) = (place.clone(), answer.clone());
        async move { place.answer(request, answer).await }
    })
}

/// All books, with what was saved.
fn books(spec: &EmbeddedSpec, consul_address: Option<SocketAddr>, saved: Option<state::Saved>) -> Books {
    let clock = u64::try_from(wall_clock()).unwrap_or(0);
    let beginning = |last: u64| clock.max(last.saturating_add(LEAP));
    let settings = spec.consul.clone().unwrap_or_default();
    let address = match consul_address {
        Some(address) if !address.ip().is_unspecified() => address.ip().to_string(),
        _ => "127.0.0.1".to_owned(),
    };
    let identity = consul::Identity {
        id: uuid_of(&settings.node, &settings.datacenter),
        datacenter: settings.datacenter,
        node: settings.node,
        address,
    };
    let consul_index = beginning(saved.as_ref().map_or(0, |saved| saved.consul.index));
    let eureka_version = beginning(
        saved
            .as_ref()
            .map_or(0, |saved| eureka::Book::saved_version(&saved.eureka)),
    );
    let nacos_version = beginning(saved.as_ref().map_or(0, |saved| saved.nacos.version));
    let namespace = spec
        .nacos
        .as_ref()
        .map_or(nacos::PUBLIC, |nacos| match nacos.namespace.trim() {
            "" => nacos::PUBLIC,
            namespace => namespace,
        });
    let books = Books {
        answers: Answers {
            eureka: spec.eureka.is_some(),
            consul: spec.consul.is_some(),
            nacos: spec.nacos.is_some(),
        },
        nacos: Shared::new(nacos::Book::new(namespace, nacos::Limits::default(), nacos_version)),
        eureka: Shared::new(eureka::Book::starting_at(eureka::Limits::default(), eureka_version)),
        consul: Shared::new(consul::Book::new(identity, consul::Limits::default(), consul_index)),
    };
    if let Some(saved) = saved {
        let ago = saved.age();
        let lost = books.eureka.tend(|book, now| book.restore(&saved.eureka, ago, now))
            + books.nacos.tend(|book, now| book.restore(saved.nacos, now));
        if lost > 0 {
            warn!(
                lost,
                "registrations in the state of the embedded registry could not be read"
            );
        }
        books.consul.tend(|book, now| book.restore(saved.consul, now));
        info!(
            eureka = books.eureka.read(eureka::Book::len),
            consul = books.consul.read(consul::Book::len),
            nacos = books.nacos.read(nacos::Book::len),
            "the embedded registry goes on where it was left; every lease stands for one duration at least"
        );
    }
    books
}

/// The same UUID for the same node: clients remember it.
pub(crate) fn uuid_of(node: &str, datacenter: &str) -> String {
    let digest = digest_of(&[b"node", node.as_bytes(), datacenter.as_bytes()]);
    let more = digest_of(&[digest.as_bytes()]);
    format!(
        "{}-{}-4{}-8{}-{}",
        &digest[..8],
        &digest[8..12],
        &digest[12..15],
        &digest[15..18],
        &more[..12]
    )
}

async fn expire(shared: Arc<Shared<eureka::Book>>, mut stopped: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let gone = shared.tend(eureka::Book::expire);
                if gone > 0 {
                    info!(gone, "leases of the embedded registry have run out");
                }
            }
            changed = stopped.changed() => if changed.is_err() { return },
        }
    }
}

/// Beats that are missing, clients that do not come back, services that are empty.
pub(crate) async fn tend_nacos(shared: Arc<Shared<nacos::Book>>, mut stopped: watch::Receiver<()>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let gone = shared.tend(nacos::Book::expire);
                if gone > 0 {
                    info!(gone, "instances of Nacos' clients have not been heard of in time");
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
        let eureka = self.eureka.map(|address| format!("http://{address}/eureka"));
        let consul = self.consul.map(|address| format!("http://{address}"));
        let nacos = self.nacos.map(|address| format!("http://{address}/nacos"));
        [eureka, consul, nacos]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ")
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        if let Err(source) = self.serve() {
            return RegistryError::Unreachable {
                address: self.address(),
                source: source.into(),
            };
        }
        let (mut eureka, mut consul) = (self.books.eureka.watch(), self.books.consul.watch());
        let mut nacos = self.books.nacos.watch();
        let mut seen = Seen::default();
        let mut reported = BTreeSet::new();
        self.report(&mut seen, &mut reported, reports).await;
        reports.send(Knowledge::CaughtUp).await;
        loop {
            let changed = async {
                tokio::select! {
                    changed = eureka.changed() => changed,
                    changed = consul.changed() => changed,
                    changed = nacos.changed() => changed,
                }
            };
            match tokio::time::timeout(CONFIRM, changed).await {
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

#[cfg(test)]
mod tests;
