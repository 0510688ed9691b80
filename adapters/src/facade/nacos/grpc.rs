//! Listening for Nacos' gRPC: one HTTP/2 connection after the other, with bounds.
//!
//! ```text
//! accept ─▶ Link, one for each connection ─┬─ /Request/request ──────────────▶ questions
//!                                          └─ /BiRequestStream/requestBiStream ▶ setup, acknowledgements; pushes go back
//! ```
//! What is registered hangs on the connection, so the connection is the state and nothing is looked up by header. When this server
//! itself is told to stop, connections are cut, but nothing on them is taken for gone: their clients come back to whoever answers next.
//!
//! Next on the path: `link`.

use std::{
    convert::Infallible,
    fmt,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use landfall_config::kinds::registry::NACOS_GRPC_OFFSET;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::{debug, warn};

use super::{Upstreams, book::Book, link::Link};
use crate::facade::shared::Shared;

/// Most connections at once.
const CONNECTIONS: usize = 10_000;
/// Most questions at once on one connection; further ones wait.
const QUESTIONS: u32 = 256;
/// Bytes of all headers of one question.
const HEADERS: u32 = 16 << 10;

/// What becomes of registrations that come by gRPC.
pub enum Writes {
    /// The facade is the registry.
    Here,
    /// The client is told that nothing is written here.
    Refused,
    /// They go to a real Nacos, on a connection of their own for each client.
    Forward(Upstreams),
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "Here",
            Self::Refused => "Refused",
            Self::Forward(_) => "Forward",
        })
    }
}

/// Who answers gRPC.
#[derive(Debug)]
pub struct Server {
    pub(super) shared: Arc<Shared<Book>>,
    pub(super) writes: Writes,
    /// Until it is set everybody is told that the server is starting.
    pub(super) ready: Arc<AtomicBool>,
    numbers: AtomicU64,
}

impl Server {
    /// Over this book.
    pub fn new(shared: Arc<Shared<Book>>, writes: Writes, ready: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            writes,
            ready,
            numbers: AtomicU64::new(0),
        })
    }
}

/// The port of gRPC beside one of HTTP.
pub fn beside(address: SocketAddr) -> Option<SocketAddr> {
    Some(SocketAddr::new(
        address.ip(),
        address.port().checked_add(NACOS_GRPC_OFFSET)?,
    ))
}

/// Answers until the sender of `server` is dropped; when it sends another one, connections of the one before are cut. Needs a runtime.
pub(crate) fn spawn(listener: TcpListener, server: watch::Receiver<Arc<Server>>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(run(listener, server));
    Ok(())
}

async fn run(listener: tokio::net::TcpListener, mut server: watch::Receiver<Arc<Server>>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let (accepted, place) = tokio::select! {
            accepted = async {
                // Closed never: the semaphore is ours.
                let place = room.clone().acquire_owned().await.ok();
                (listener.accept().await, place)
            } => accepted,
            Some(_) = connections.join_next() => continue,
            changed = server.changed() => match changed {
                Ok(()) => {
                    connections.abort_all();
                    continue;
                }
                // The set cuts what is open; who is cut like that does not leave.
                Err(_) => return,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let server = server.borrow().clone();
                connections.spawn(async move {
                    connection(server, stream, peer).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "a Nacos facade cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection from its beginning to its end.
async fn connection(server: Arc<Server>, stream: TcpStream, peer: SocketAddr) {
    let number = server.numbers.fetch_add(1, Relaxed) + 1;
    let link = Link::new(server.clone(), number, peer);
    let answering = link.clone();
    let service = service_fn(move |request| {
        let link = answering.clone();
        async move { Ok::<_, Infallible>(link.answer(request).await) }
    });
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(QUESTIONS)
        .max_header_list_size(HEADERS);
    let talk = http.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = talk => if let Err(error) = ended {
            debug!(%error, %peer, "a connection to a Nacos facade ended early");
        },
        () = link.life() => debug!(%peer, "a connection to a Nacos facade is closed"),
    }
    link.close();
    server.shared.write(|book, now| book.leave(number, now));
}
