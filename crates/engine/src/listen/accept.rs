//! From an accepted connection to requests: limits, TLS, HTTP/2 or HTTP/1, and the loop over one client's requests.
//!
//! ```text
//!  accept ─▶ over the limit? close
//!         ─▶ TLS port: first byte is a handshake? TLS : "400 plain HTTP request sent to TLS port"
//!         ─▶ ALPN h2 or HTTP/2 preface ─▶ pingora's HTTP/2 loop ─▶ http, once per stream
//!         ─▶ else: head, checked ─▶ http ─▶ next head …          (nothing but the stream is held while idle)
//! ```
//!
//! Next on the path: [`wire`](super::wire), then [`http`](crate::http).

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pingora_core::{
    apps::{HttpServerApp, ServerApp},
    protocols::{Stream, http::ServerSession},
};
use pingora_proxy::HttpProxy;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    connection::{Connection, Secured},
    ports::Port,
    refusal::Refusal,
    wire::{NoHead, Transport, Wire, end_with},
};
use crate::{http::Gateway, metrics::Metrics};

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
const LAST_CALL: Duration = Duration::from_millis(500);

/// What the connections of one worker share.
pub(crate) struct Server {
    pub(crate) proxy: Arc<HttpProxy<Gateway>>,
    pub(crate) shared: Arc<Shared>,
}

/// What all workers share about connections.
pub(crate) struct Shared {
    pub(crate) limits: ClientLimits,
    pub(crate) metrics: Arc<Metrics>,
    /// Open now.
    pub(crate) open: AtomicUsize,
    /// Where connection ids come from.
    pub(crate) ids: AtomicU64,
    /// Turns true when patience ends: every connection is cut.
    pub(crate) cut: watch::Receiver<bool>,
}

/// Accepts until the port closes, then serves what waits in the backlog and lets the socket go.
pub(crate) async fn accept(port: Arc<Port>, socket: TcpListener, server: Arc<Server>) {
    let mut closing = port.closing();
    let mut pause = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                pause = Duration::ZERO;
                start(&port, stream, client, &server);
            }
            // The client's own fault; the next one waits already.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
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
    // Closing a socket of a SO_REUSEPORT group drops its backlog: connections the client believes are open.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, client)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            start(&port, stream, client, &server);
        }
    }
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
    let (port, server) = (port.clone(), server.clone());
    let entered = port.enter();
    tokio::spawn(async move {
        let mut cut = server.shared.cut.clone();
        tokio::select! {
            () = serve(id, &port, stream, client, &server) => {}
            _ = cut.wait_for(|cut| *cut) => {}
        }
        server.shared.open.fetch_sub(1, Ordering::Relaxed);
        drop(entered);
    });
}

async fn serve(id: u64, port: &Arc<Port>, stream: TcpStream, client: SocketAddr, server: &Server) {
    let Ok(local) = stream.local_addr() else { return };
    tune(&stream);
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let (mut transport, tls, alpn) = match port.tls() {
        None => (Transport::Plain(stream), None, false),
        // Boxed: a handshake needs kilobytes that the connection should not hold for ever.
        Some(config) => match Box::pin(handshake(stream, config, server)).await {
            Some(done) => done,
            None => return,
        },
    };
    let mut read = Vec::new();
    let h2 = match (&tls, alpn) {
        (_, true) => Ok(true),
        _ => Box::pin(Wire::sniff_h2(&mut transport, &mut read, server.shared.limits.head)).await,
    };
    let tls_on_plain = tls.is_none() && read.first() == Some(&0x16);
    let connection = Connection::new(id, client, local, port.clone(), tls, matches!(h2, Ok(true)));
    let Ok(wire) = Wire::new(transport, read, connection) else {
        return;
    };
    match h2 {
        Ok(_) if tls_on_plain => refuse(wire, Refusal::bad("TLS handshake sent to plain HTTP port"), server).await,
        Ok(true) => {
            let stream: Stream = Box::new(wire);
            server.proxy.process_new(stream, &port.closing()).await;
        }
        Ok(false) => http1(wire, port, server).await,
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
async fn http1(wire: Wire, port: &Port, server: &Server) {
    let limits = &server.shared.limits;
    let mut closing = port.closing();
    let mut wire = Box::new(wire);
    let mut settings = None;
    let mut idle = limits.head;
    loop {
        // Boxed for its size: while the connection is idle this is all there is.
        let leaving = *closing.borrow_and_update();
        let waiting = if leaving { idle.min(LAST_CALL) } else { idle };
        let head = tokio::select! {
            biased;
            head = wire.next_head(waiting, limits.head) => head,
            _ = closing.changed(), if !leaving => continue,
        };
        match head {
            Ok(()) => {}
            Err(NoHead::Closed) => return,
            Err(NoHead::Refused(refusal)) => return refuse(*wire, refusal, server).await,
        }
        let mut session = ServerSession::new_http1(wire);
        match settings.take() {
            Some(settings) => pingora_core::apps::HttpPersistentSettings::apply_to_session(settings, &mut session),
            None => session.set_keepalive(Some(0)),
        }
        session.set_read_timeout(Some(limits.body));
        session.set_write_timeout(Some(limits.body));
        let Some(reused) = server.proxy.process_new_http(session, &closing).await else {
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

async fn handshake(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    server: &Server,
) -> Option<(Transport, Option<Secured>, bool)> {
    let limit = server.shared.limits.handshake;
    let mut first = [0; 1];
    match timeout(limit, stream.peek(&mut first)).await {
        Ok(Ok(1..)) => {}
        _ => return None,
    }
    if first[0] != 0x16 {
        server.shared.metrics.connections_refused.increment();
        let refusal = match first[0].is_ascii_alphabetic() {
            true => Refusal::bad("plain HTTP request sent to TLS port").to_bytes(),
            false => Vec::new(),
        };
        let mut stream = stream;
        let _ = end_with(&mut stream, &refusal).await;
        return None;
    }
    match timeout(limit, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(tls)) => {
            let state = tls.get_ref().1;
            let secured = Secured {
                sni: state.server_name().map(|name| name.to_ascii_lowercase().into()),
            };
            let h2 = state.alpn_protocol() == Some(b"h2");
            Some((Transport::Tls(Box::new(tls)), Some(secured), h2))
        }
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
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
