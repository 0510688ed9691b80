//! From an accepted connection to requests: limits, TLS, HTTP/2 or HTTP/1, and the loop over one client's requests.
//!
//! ```text
//!  accept ─▶ over the limit? close
//!         ─▶ Dubbo port: [dubbo], to the end of the connection
//!         ─▶ TLS port: first byte is a handshake? TLS : "400 plain HTTP request sent to TLS port"
//!         ─▶ inbound port of a sidecar: a handshake? mutual TLS : plain text, or 403 if that is refused
//!         ─▶ ALPN h2 or HTTP/2 preface ─▶ pingora's HTTP/2 loop ─▶ http, once per stream
//!         ─▶ else: head, checked ─▶ http ─▶ next head …          (nothing but the stream is held while idle)
//! ```
//!
//! Next on the path: [`wire`](super::wire), then [`http`](crate::http); or [`dubbo`](crate::dubbo).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use landfall_model::rules::MutualTls;
use pingora_core::{
    apps::{HttpPersistentSettings, HttpServerApp, ServerApp},
    protocols::{Stream, http::ServerSession},
};
use pingora_proxy::HttpProxy;
use socket2::SockFilter;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    connection::{Connection, Security},
    ports::{Entered, Listening, Port, Stage},
    refusal::Refusal,
    transport::{Transport, end_with},
    wire::{NoHead, Wire},
};
use crate::{dubbo, http::Gateway, mesh::Mesh, metrics::Metrics};

/// How long clients may take, and how many there may be.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// From the first byte of a request (or the accepted connection) to its complete head. Default 10 s.
    pub head: Duration,
    /// From the accepted connection to the end of the TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// Between two requests of an HTTP/1 connection. Default 60 s.
    pub keep_alive: Duration,
    /// Without any stream on an HTTP/2 connection. Default 5 min.
    pub h2_idle: Duration,
    /// Silence in the middle of a request body, or of a client that does not read its answer. Default 30 s.
    pub body: Duration,
    /// Connections at once, over all ports; more are closed at once. Default 65,536.
    pub connections: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            h2_idle: Duration::from_secs(300),
            body: Duration::from_secs(30),
            connections: 65_536,
        }
    }
}

/// How long an idle client of a closing port may still begin a request, which is then answered with
/// `Connection: close`. Closing at once would lose the requests that are under way.
pub(super) const LAST_CALL: Duration = Duration::from_millis(500);

/// What the connections of one worker share.
pub(crate) struct Server {
    proxy: Arc<HttpProxy<Gateway>>,
    dubbo: Arc<dubbo::Proxy>,
    shared: Arc<Shared>,
    /// Every connection of this worker. Locked when one comes or goes, not by its calls, and by this worker alone.
    live: Mutex<HashMap<u64, Live>>,
    /// Never true. pingora looks at such a thing per call, and one for all workers would be a lock for all of them;
    /// what it is for is done in `response_filter` and in the loop over requests.
    never: (watch::Sender<bool>, watch::Receiver<bool>),
}

struct Live {
    task: AbortHandle,
    /// Known once the first bytes told what it is.
    connection: Option<Arc<Connection>>,
    /// Has pingora send GOAWAY; for HTTP/2.
    goaway: Option<watch::Sender<bool>>,
}

/// What all workers share about connections.
pub(crate) struct Shared {
    pub(crate) limits: ClientLimits,
    pub(crate) metrics: Arc<Metrics>,
    /// Who this process is in the mesh.
    pub(crate) mesh: Option<Arc<Mesh>>,
    /// Open now.
    pub(crate) open: AtomicUsize,
    /// Where connection ids come from.
    pub(crate) ids: AtomicU64,
}

impl Server {
    pub(crate) fn new(proxy: Arc<HttpProxy<Gateway>>, dubbo: Arc<dubbo::Proxy>, shared: Arc<Shared>) -> Self {
        Self {
            proxy,
            dubbo,
            shared,
            live: Mutex::default(),
            never: watch::channel(false),
        }
    }

    /// Ends every connection now.
    pub(crate) fn cut(&self) {
        for live in self.live().values() {
            live.task.abort();
        }
    }

    /// Gives the idle HTTP/1 connections of a closing port their last call, and its HTTP/2 ones a GOAWAY.
    fn hurry(&self, port: &Arc<Port>) {
        for live in self.live().values() {
            if let Some(connection) = &live.connection
                && Arc::ptr_eq(&connection.port, port)
            {
                match &live.goaway {
                    Some(goaway) => {
                        goaway.send_replace(true);
                    }
                    None => connection.hurry(LAST_CALL),
                }
            }
        }
    }

    fn live(&self) -> MutexGuard<'_, HashMap<u64, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a connection out however its task ends.
struct Gone {
    id: u64,
    server: Arc<Server>,
    _entered: Entered,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.server.live().remove(&self.id);
        self.server.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts until the port closes, then serves whoever has begun to connect and lets the socket go. When all sockets of
/// the port are gone, its connections are told to end.
pub(crate) async fn accept(socket: TcpListener, listening: Listening, server: Arc<Server>) {
    let port = listening.port().clone();
    let mut stage = port.stage();
    let mut pause = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage >= Stage::Closing) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                pause = Duration::ZERO;
                start(&port, stream, client, &server);
            }
            // The client's own fault; the next one waits already.
            Err(error) if is_the_clients(&error) => {}
            // Out of file descriptors or memory: the connection stays in the backlog, so trying at once would spin.
            Err(error) => {
                pause = (pause * 2).clamp(Duration::from_millis(20), Duration::from_secs(1));
                tracing::error!(
                    port = port.number(),
                    "cannot accept, next attempt in {pause:?}: {error}"
                );
                tokio::time::sleep(pause).await;
            }
        }
    }
    match listening.is_inherited() {
        true => drop(socket),
        false => close(socket, &port, &server).await,
    }
    drop(listening);
    let _ = stage.wait_for(|stage| *stage == Stage::Closed).await;
    server.hurry(&port);
}

/// Closes a listening socket. That resets what is in its backlog, and whose handshake ends just then: connections the
/// client believes are open. So nobody may begin one any more, and those that have begun are waited for and served.
async fn close(socket: TcpListener, port: &Arc<Port>, server: &Arc<Server>) {
    if let Err(error) = socket2::SockRef::from(&socket).attach_filter(&NO_SYN) {
        let port = port.number();
        tracing::debug!(port, "cannot keep new connections away before closing: {error}");
    }
    let end = Instant::now() + CLOSING;
    while let Ok(accepted) = timeout_at(end, socket.accept()).await {
        match accepted {
            Ok((stream, client)) => start(port, stream, client, server),
            Err(error) if is_the_clients(&error) => {}
            Err(_) => break,
        }
    }
}

/// How long a handshake that has begun may take when its port closes. Short, because who begins one meanwhile asks
/// again a second later.
const CLOSING: Duration = Duration::from_millis(25);

/// A filter for a listening socket, in the kernel's packet filter language: what begins a connection (SYN without ACK)
/// is dropped, anything else, such as the end of a handshake, passes. Its client asks again after a second: then it is
/// refused, or answered by another process that listens there.
const NO_SYN: [SockFilter; 5] = [
    // A = the byte of flags in the TCP header; A &= SYN | ACK.
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    // If A == SYN go on, else skip one.
    SockFilter::new(0x15, 0, 1, 0x02),
    // Return 0 bytes; return all.
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Whether the next one can be accepted at once.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn start(port: &Arc<Port>, stream: TcpStream, client: SocketAddr, server: &Arc<Server>) {
    let shared = &server.shared;
    let id = shared.ids.fetch_add(1, Ordering::Relaxed);
    shared.metrics.connections.increment();
    if shared.open.fetch_add(1, Ordering::Relaxed) >= shared.limits.connections {
        shared.open.fetch_sub(1, Ordering::Relaxed);
        shared.metrics.connections_refused.increment();
        return;
    }
    let gone = Gone {
        id,
        server: server.clone(),
        _entered: port.enter(),
    };
    let port = port.clone();
    let task = tokio::spawn(async move {
        serve(id, &port, stream, client, &gone.server).await;
        drop(gone);
    });
    // The task runs on this thread, so not before this is in.
    let live = Live {
        task: task.abort_handle(),
        connection: None,
        goaway: None,
    };
    server.live().insert(id, live);
}

async fn serve(id: u64, port: &Arc<Port>, stream: TcpStream, client: SocketAddr, server: &Server) {
    let Ok(local) = stream.local_addr() else { return };
    tune(&stream);
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    if port.is_dubbo() {
        let metrics = &server.shared.metrics;
        return Box::pin(dubbo::serve(&server.dubbo, stream, (client, local), port, metrics)).await;
    }
    // Boxed: a handshake needs kilobytes that the connection should not hold for ever.
    let secured = match (port.tls(), port.mutual_tls()) {
        (None, None) => Some((Transport::Plain(stream), Security::Plain, false)),
        (Some(config), _) => Box::pin(handshake(stream, config, server)).await,
        (None, Some(mode)) => Box::pin(mutual_handshake(stream, mode, port, server)).await,
    };
    let Some((mut transport, security, alpn)) = secured else {
        return;
    };
    let mut read = Vec::new();
    let h2 = match alpn {
        true => Ok(true),
        false => Box::pin(Wire::sniff_h2(&mut transport, &mut read, server.shared.limits.head)).await,
    };
    let tls_on_plain = matches!(security, Security::Plain) && read.first() == Some(&HANDSHAKE);
    let connection = Connection::new(id, client, local, port.clone(), security, matches!(h2, Ok(true)));
    let (goaway, going) = watch::channel(port.is_closed());
    if let Some(live) = server.live().get_mut(&id) {
        live.connection = Some(connection.clone());
        live.goaway = connection.h2.then_some(goaway);
    }
    let Ok(wire) = Wire::new(transport, read, connection) else {
        return;
    };
    match h2 {
        Ok(_) if tls_on_plain => refuse(wire, Refusal::bad("TLS handshake sent to plain HTTP port"), server).await,
        Ok(true) => {
            let stream: Stream = Box::new(wire);
            server.proxy.process_new(stream, &going).await;
        }
        Ok(false) => http1(wire, server).await,
        Err(NoHead::Refused(refusal)) => refuse(wire, refusal, server).await,
        Err(NoHead::Closed) => {}
    }
}

async fn refuse(wire: Wire, refusal: Refusal, server: &Server) {
    server.shared.metrics.connections_refused.increment();
    let connection = wire.connection();
    tracing::debug!(client = %connection.client, port = connection.port.number(), "request refused: {}", refusal.why);
    Box::pin(wire.refuse(refusal)).await;
}

/// The requests of an HTTP/1 connection, one after the other.
async fn http1(wire: Wire, server: &Server) {
    let limits = &server.shared.limits;
    let mut wire = Box::new(wire);
    let mut settings: Option<HttpPersistentSettings> = None;
    let mut idle = limits.head;
    loop {
        match wire.next_head(idle, limits.head).await {
            Ok(()) => {}
            Err(NoHead::Closed) => return,
            Err(NoHead::Refused(refusal)) => return refuse(*wire, refusal, server).await,
        }
        let mut session = ServerSession::new_http1(wire);
        match settings.take() {
            Some(settings) => settings.apply_to_session(&mut session),
            None => session.set_keepalive(Some(0)),
        }
        session.set_read_timeout(Some(limits.body));
        session.set_write_timeout(Some(limits.body));
        let Some(reused) = server.proxy.process_new_http(session, &server.never.1).await else {
            return;
        };
        let (stream, kept) = reused.consume();
        let Ok(same) = stream.into_any().downcast::<Wire>() else {
            return;
        };
        wire = same;
        settings = kept;
        idle = limits.keep_alive;
    }
}

/// A stream, what lies in between, and whether HTTP/2 was agreed on.
type Secured = (Transport, Security, bool);

/// TLS with a certificate of the listener's.
async fn handshake(stream: TcpStream, config: Arc<rustls::ServerConfig>, server: &Server) -> Option<Secured> {
    let first = first_byte(&stream, server).await?;
    if first != HANDSHAKE {
        refuse_plain(
            stream,
            first,
            Refusal::bad("plain HTTP request sent to TLS port"),
            server,
        )
        .await;
        return None;
    }
    let tls = accept_tls(stream, config, server).await?;
    let state = tls.get_ref().1;
    let security = Security::Tls {
        sni: state.server_name().map(|name| name.to_ascii_lowercase().into()),
    };
    let h2 = state.alpn_protocol() == Some(b"h2");
    Some((Transport::Tls(Box::new(tls)), security, h2))
}

/// TLS of the mesh if the caller begins with it, else plain text if the mode allows it.
async fn mutual_handshake(stream: TcpStream, mode: MutualTls, port: &Port, server: &Server) -> Option<Secured> {
    const WANTED: Refusal = Refusal::with(
        403,
        "this service is called under mutual TLS alone: call it through a sidecar",
    );
    let first = first_byte(&stream, server).await?;
    match (first == HANDSHAKE, mode) {
        (false, MutualTls::Permissive) => return Some((Transport::Plain(stream), Security::Plain, false)),
        (false, MutualTls::Strict) => {
            refuse_plain(stream, first, WANTED, server).await;
            return None;
        }
        (true, _) => {}
    }
    let Some(mesh) = &server.shared.mesh else {
        tracing::error!(
            port = port.number(),
            "mutual TLS is asked for, and this process has no identity"
        );
        return None;
    };
    let mut tls = accept_tls(stream, mesh.server(), server).await?;
    let state = tls.get_ref().1;
    let h2 = state.alpn_protocol() == Some(b"h2");
    match mesh.name_of(state.peer_certificates()) {
        Some(peer) => Some((Transport::Tls(Box::new(tls)), Security::Mesh { peer }, h2)),
        None => {
            server.shared.metrics.connections_refused.increment();
            let refusal = if h2 { Vec::new() } else { WANTED.to_bytes() };
            let _ = end_with(&mut tls, &refusal).await;
            None
        }
    }
}

/// What every TLS connection begins with.
const HANDSHAKE: u8 = 0x16;

/// The first byte, which stays to be read.
async fn first_byte(stream: &TcpStream, server: &Server) -> Option<u8> {
    let mut first = [0; 1];
    match timeout(server.shared.limits.handshake, stream.peek(&mut first)).await {
        Ok(Ok(1..)) => Some(first[0]),
        _ => None,
    }
}

/// Ends a connection that should have begun with a handshake: with a word, if it may be HTTP.
async fn refuse_plain(mut stream: TcpStream, first: u8, refusal: Refusal, server: &Server) {
    server.shared.metrics.connections_refused.increment();
    let answer = match first.is_ascii_alphabetic() {
        true => refusal.to_bytes(),
        false => Vec::new(),
    };
    let _ = end_with(&mut stream, &answer).await;
}

async fn accept_tls(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    server: &Server,
) -> Option<TlsStream<TcpStream>> {
    match timeout(server.shared.limits.handshake, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(tls)) => Some(tls),
        // Port scanners and browsers that dislike a certificate: nothing for the operator to do.
        Ok(Err(error)) => {
            tracing::debug!("TLS handshake failed: {error}");
            None
        }
        Err(_) => {
            tracing::debug!("TLS handshake not complete in time");
            None
        }
    }
}

/// No delay for small packets, and an end for clients that vanished without a word.
pub(crate) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
