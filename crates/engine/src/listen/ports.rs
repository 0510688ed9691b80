//! The ports of a snapshot's listeners: bound, kept, drained, retried.
//!
//! ```text
//!  listener a: port 443, shop.test ─┐
//!  listener b: port 443, *.test    ─┴▶ Port [::]:443 ─▶ worker 0, worker 1, …    each its own listening socket
//!  listener c: port 80             ──▶ Port [::]:80
//! ```
//!
//! A port that stays is not touched, whatever changes about its listeners. A port that goes serves whoever has begun to
//! connect, closes its sockets, and then lets its connections finish. A port that cannot be bound is tried again until
//! it can.
//! Next on the path: [`accept`](super::accept).

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use landfall_model::rules::{Family, Listener, ListenerId, MutualTls};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use super::{
    inherited::Inherited,
    tls::{Names, Store},
};
use crate::runtime::Runtime;

/// Connections that may wait to be accepted, per socket; the system may cap it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Which socket: the address as configured (`None` is every address) and the port as configured.
pub(crate) type PortKey = (Option<IpAddr>, u16);

/// One port with its sockets.
pub(crate) struct Port {
    key: PortKey,
    /// Set while the listeners here say HTTPS.
    tls: ArcSwapOption<ServerConfig>,
    names: Arc<ArcSwap<Names>>,
    /// Set while a listener here is the inbound side of a sidecar.
    mutual_tls: ArcSwapOption<MutualTls>,
    /// Set while the listeners here say Dubbo.
    is_dubbo: AtomicBool,
    stage: watch::Sender<Stage>,
    /// Whether the stage is [`Stage::Closed`], for calls, which must not lock.
    is_closed: AtomicBool,
    /// Listening sockets that are open.
    sockets: AtomicUsize,
    /// The last runtime that knew this port: calls that still come are served by it.
    last: ArcSwapOption<Runtime>,
    connections: AtomicUsize,
    state: Mutex<State>,
}

/// How far a port's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum Stage {
    /// Accepts connections.
    Open,
    /// Its sockets serve what has begun, and close one after the other. Its connections know nothing of it yet: a
    /// client that is told to connect again now could come to a socket that is about to close.
    Closing,
    /// Its sockets are closed. Its connections are told to end.
    Closed,
}

struct State {
    listeners: Vec<ListenerId>,
    bound: Option<SocketAddr>,
    error: Option<String>,
    since: SystemTime,
}

/// How a listener stands. What `GET /api/v1/listeners` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerState {
    /// Which listener.
    pub id: ListenerId,
    /// The port as configured.
    pub port: u16,
    /// Where it accepts connections; `None` while it cannot.
    pub bound: Option<SocketAddr>,
    /// What is wrong, if anything: the address could not be bound, or a certificate was refused.
    pub error: Option<String>,
    /// Since when `bound` and `error` read as they do.
    pub since: SystemTime,
    /// Open connections of the whole port.
    pub connections: usize,
}

impl Port {
    pub(crate) fn new(key: PortKey) -> Self {
        Self {
            key,
            tls: ArcSwapOption::empty(),
            names: Arc::default(),
            mutual_tls: ArcSwapOption::empty(),
            is_dubbo: AtomicBool::new(false),
            stage: watch::channel(Stage::Open).0,
            is_closed: AtomicBool::new(false),
            sockets: AtomicUsize::new(0),
            last: ArcSwapOption::empty(),
            connections: AtomicUsize::new(0),
            state: Mutex::new(State {
                listeners: Vec::new(),
                bound: None,
                error: None,
                since: SystemTime::now(),
            }),
        }
    }

    /// The port as configured: what routes are looked up by.
    pub(crate) fn number(&self) -> u16 {
        self.key.1
    }

    /// The TLS configuration, if connections here begin with a handshake.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.load_full()
    }

    /// Whether callers may or have to use mutual TLS.
    pub(crate) fn mutual_tls(&self) -> Option<MutualTls> {
        self.mutual_tls.load().as_deref().copied()
    }

    /// Whether connections here are Dubbo's.
    pub(crate) fn is_dubbo(&self) -> bool {
        self.is_dubbo.load(Ordering::Relaxed)
    }

    /// How far its end has come, to wait on.
    pub(crate) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Whether no new connection is accepted here, and the present ones should end.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// The runtime for calls that come after the port has left the configuration.
    pub(crate) fn last_runtime(&self) -> Option<Arc<Runtime>> {
        self.last.load_full()
    }

    /// Ends accepting, and then has connections finish what they do.
    fn close(&self) {
        self.stage.send_replace(Stage::Closing);
        if self.sockets.load(Ordering::Acquire) == 0 {
            self.closed();
        }
    }

    fn closed(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.stage.send_replace(Stage::Closed);
    }

    /// Counts a listening socket until the guard is dropped. An inherited one is not ours to close.
    fn listen(self: &Arc<Self>, is_inherited: bool) -> Listening {
        self.sockets.fetch_add(1, Ordering::AcqRel);
        Listening {
            port: self.clone(),
            is_inherited,
        }
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Entered(self.clone())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the listeners of this port say now.
    fn configure(&self, listeners: &[&Arc<Listener>], store: &Store) {
        self.state().listeners = listeners.iter().map(|listener| listener.id.clone()).collect();
        let is_dubbo = listeners.iter().any(|listener| listener.family == Family::Dubbo);
        self.is_dubbo.store(is_dubbo, Ordering::Relaxed);
        // Where several listeners share the port, the strictest word counts: it is heard before any host name.
        let modes = listeners.iter().filter_map(|listener| listener.mutual_tls);
        let mode = modes.reduce(|one, other| match one {
            MutualTls::Strict => one,
            MutualTls::Permissive => other,
        });
        self.mutual_tls.store(mode.map(Arc::new));
        let secured: Vec<_> = listeners
            .iter()
            .filter_map(|listener| Some((listener, listener.tls.as_ref()?)))
            .map(|(listener, tls)| {
                let certificates = tls.certificates.iter().map(|files| store.certificate(files)).collect();
                (listener.hostname.clone(), certificates)
            })
            .collect();
        let has_tls = !secured.is_empty();
        self.names.store(Arc::new(Names::new(secured)));
        match (has_tls, self.tls.load().is_some()) {
            (true, false) => match store.config(self.names.clone()) {
                Ok(config) => self.tls.store(Some(config)),
                Err(error) => self.fail(format!("TLS cannot be set up: {error}")),
            },
            (false, true) => self.tls.store(None),
            _ => {}
        }
    }

    fn fail(&self, error: String) {
        let mut state = self.state();
        if state.error.as_ref() != Some(&error) {
            tracing::error!(port = self.key.1, "{error}");
            state.since = SystemTime::now();
            state.error = Some(error);
        }
    }

    fn report(&self, into: &mut Vec<ListenerState>) {
        let state = self.state();
        let problem = self.names.load().problems().into_iter().next();
        into.extend(state.listeners.iter().map(|id| ListenerState {
            id: id.clone(),
            port: self.key.1,
            bound: state.bound,
            error: state.error.clone().or_else(|| problem.clone()),
            since: state.since,
            connections: self.connections.load(Ordering::Relaxed),
        }));
    }
}

/// A connection that is counted while this lives.
pub(crate) struct Entered(Arc<Port>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A listening socket that is counted while this lives. The last one of a port that is closing has it closed.
pub(crate) struct Listening {
    port: Arc<Port>,
    is_inherited: bool,
}

impl Listening {
    pub(crate) fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// Whether another process goes on with what waits in the socket.
    pub(crate) fn is_inherited(&self) -> bool {
        self.is_inherited
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let port = &self.port;
        if port.sockets.fetch_sub(1, Ordering::AcqRel) == 1 && *port.stage.borrow() == Stage::Closing {
            port.closed();
        }
    }
}

/// A port that could not be bound.
#[derive(Debug)]
pub(crate) struct BindFailure {
    pub(crate) listener: ListenerId,
    pub(crate) address: SocketAddr,
    pub(crate) source: io::Error,
}

/// All ports.
pub(crate) struct Ports {
    workers: usize,
    overrides: HashMap<u16, u16>,
    inherited: Inherited,
    store: Store,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    open: BTreeMap<PortKey, Arc<Port>>,
    /// Gone from the configuration, still finishing connections.
    leaving: Vec<Arc<Port>>,
    shut: bool,
}

/// Sockets to be served, one per worker.
pub(crate) struct Opened {
    pub(crate) sockets: Vec<(TcpListener, Listening)>,
}

impl Ports {
    /// None yet. Every port gets a socket for each of `workers`; `overrides` maps ports as configured to those bound;
    /// what is `inherited` is not opened.
    pub(crate) fn new(workers: usize, overrides: HashMap<u16, u16>, inherited: Inherited, store: Store) -> Self {
        Self {
            workers,
            overrides,
            inherited,
            store,
            inner: Mutex::default(),
        }
    }

    /// Closes the ports that no listener names any more. Before the runtime that does not know them takes over:
    /// `last` still does, and serves what their connections may yet ask.
    pub(crate) fn retire(&self, listeners: &[Arc<Listener>], last: &Arc<Runtime>) {
        let wanted = by_port(listeners);
        let mut inner = self.inner();
        let gone: Vec<_> = inner
            .open
            .keys()
            .filter(|key| !wanted.contains_key(key))
            .copied()
            .collect();
        for key in gone {
            if let Some(port) = inner.open.remove(&key) {
                tracing::info!(port = key.1, "listener removed; its connections finish");
                port.last.store(Some(last.clone()));
                port.close();
                inner.leaving.push(port);
            }
        }
        inner
            .leaving
            .retain(|port| !port.is_closed() || port.connections.load(Ordering::Relaxed) > 0);
    }

    /// Opens the ports of a snapshot's listeners that are not open yet, and tells every port what its listeners say.
    /// Gives the ports that were opened and those that could not be; the latter are tried again by [`Ports::retry`].
    pub(crate) fn apply(&self, listeners: &[Arc<Listener>]) -> (Vec<Opened>, Vec<BindFailure>) {
        let wanted = by_port(listeners);
        let mut inner = self.inner();
        if inner.shut {
            return (Vec::new(), Vec::new());
        }
        for (key, listeners) in &wanted {
            let port = inner.open.entry(*key).or_insert_with(|| Arc::new(Port::new(*key)));
            port.configure(listeners, &self.store);
        }
        self.open_missing(&inner)
    }

    /// Tries again what could not be bound.
    pub(crate) fn retry(&self) -> Vec<Opened> {
        let inner = self.inner();
        if inner.shut {
            return Vec::new();
        }
        self.open_missing(&inner).0
    }

    /// Whether [`Ports::retry`] has something to do.
    pub(crate) fn any_missing(&self) -> bool {
        self.inner().open.values().any(|port| port.state().bound.is_none())
    }

    fn open_missing(&self, inner: &Inner) -> (Vec<Opened>, Vec<BindFailure>) {
        let (mut opened, mut failed) = (Vec::new(), Vec::new());
        for port in inner.open.values().filter(|port| port.state().bound.is_none()) {
            match self.bind(port.key) {
                Ok((sockets, bound, is_inherited)) => {
                    let mut state = port.state();
                    state.bound = Some(bound);
                    state.error = None;
                    state.since = SystemTime::now();
                    tracing::info!(%bound, port = port.key.1, is_inherited, "listening");
                    let sockets = sockets
                        .into_iter()
                        .map(|socket| (socket, port.listen(is_inherited)))
                        .collect();
                    opened.push(Opened { sockets });
                }
                Err((address, source)) => {
                    port.fail(format!("cannot listen on {address}: {source}"));
                    let listener = port.state().listeners.first().cloned();
                    failed.extend(listener.map(|listener| BindFailure {
                        listener,
                        address,
                        source,
                    }));
                }
            }
        }
        (opened, failed)
    }

    /// The sockets of a port, where they are bound, and whether they are inherited.
    fn bind(&self, (address, port): PortKey) -> Result<(Vec<TcpListener>, SocketAddr, bool), (SocketAddr, io::Error)> {
        let port = self.overrides.get(&port).copied().unwrap_or(port);
        let first = match address {
            Some(address) => SocketAddr::new(address, port),
            None => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
        };
        if let Some(given) = self.inherited.sockets((address, port), self.workers) {
            let given = given.map(|(sockets, bound)| (sockets, bound, true));
            return given.map_err(|error| (first, error));
        }
        let opened = match open(first, self.workers) {
            // A host without IPv6.
            Err(error) if address.is_none() && error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                let first = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
                open(first, self.workers).map_err(|error| (first, error))
            }
            result => result.map_err(|error| (first, error)),
        };
        opened.map(|(sockets, bound)| (sockets, bound, false))
    }

    /// Inherited sockets that no listener accepts from: connections to them wait for nobody.
    pub(crate) fn idle_sockets(&self) -> Vec<SocketAddr> {
        let inner = self.inner();
        let bound: Vec<_> = inner.open.values().filter_map(|port| port.state().bound).collect();
        self.inherited.unasked(&bound).collect()
    }

    /// Reads certificates that changed.
    pub(crate) fn refresh_certificates(&self) {
        self.store.refresh();
    }

    /// Stops accepting everywhere, for good.
    pub(crate) fn close(&self) {
        let mut inner = self.inner();
        inner.shut = true;
        for port in inner.open.values() {
            port.close();
        }
    }

    /// Whether a new connection may come yet.
    pub(crate) fn is_any_open(&self) -> bool {
        let inner = self.inner();
        let mut all = inner.open.values().chain(&inner.leaving);
        all.any(|port| port.sockets.load(Ordering::Relaxed) > 0)
    }

    /// Open connections on all ports, also on those that are gone from the configuration.
    pub(crate) fn connections(&self) -> usize {
        let inner = self.inner();
        let all = inner.open.values().chain(&inner.leaving);
        all.map(|port| port.connections.load(Ordering::Relaxed)).sum()
    }

    /// How every listener stands, in the order of address and port.
    pub(crate) fn states(&self) -> Vec<ListenerState> {
        let mut states = Vec::new();
        for port in self.inner().open.values() {
            port.report(&mut states);
        }
        states
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_port(listeners: &[Arc<Listener>]) -> BTreeMap<PortKey, Vec<&Arc<Listener>>> {
    let mut ports: BTreeMap<PortKey, Vec<_>> = BTreeMap::new();
    for listener in listeners {
        let named = listener.addresses.iter().copied().map(Some);
        let every = listener.addresses.is_empty().then_some(None);
        for address in named.chain(every) {
            ports.entry((address, listener.port)).or_default().push(listener);
        }
    }
    ports
}

/// Opens `count` listening sockets that share an address.
fn open(address: SocketAddr, count: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    // With SO_REUSEPORT the system lets two processes of one user share a port without a word. Two gateways that
    // take each other's calls are worse than an error, so the address is first tried for alone.
    if address.port() != 0 {
        socket(address, false)?;
    }
    let mut sockets = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = socket(address, true)?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        sockets.push(listener);
    }
    Ok((sockets, address))
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // "Every address" means IPv4 too; a literal IPv6 address is not affected.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_an_error_even_if_the_other_would_share_it() {
        let (first, address) = open("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_eq!(first.len(), 2);
        let error = open(address, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        open(address, 1).unwrap();
    }
}
