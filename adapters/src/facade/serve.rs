//! Listening for a facade: HTTP/1.1 with bounds that `axum::serve` does not set.
//!
//! - A request's head must come within [`HEAD`], which is also how long an idle connection is kept: longer than
//!   the 30 s between two heartbeats, so that no client meets a connection that is just being closed.
//! - At most [`CONNECTIONS`] connections; further ones wait to be accepted.
//! - When told to stop, the port is closed at once, requests under way have [`LAST`] to finish.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tracing::{debug, warn};

use super::traffic::Peer;
use crate::ConnectError;

/// Longest wait for a request's head.
const HEAD: Duration = Duration::from_secs(75);
/// Most connections at once to one port.
const CONNECTIONS: usize = 10_000;
/// Time for requests under way after the port was closed.
const LAST: Duration = Duration::from_secs(5);

/// Takes an address. `field` is where it stands in the document.
pub(crate) fn bind(stated: &str, field: &str) -> Result<(TcpListener, SocketAddr), ConnectError> {
    let address: SocketAddr = stated.parse().map_err(|_| ConnectError::BadUrl {
        field: field.to_owned(),
        value_without_credentials: stated.to_owned(),
        why: "write an IP address and a port, such as `127.0.0.1:8761`".to_owned(),
    })?;
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind().map_err(|source| ConnectError::Bind {
        address: stated.to_owned(),
        source,
    })
}

/// Answers until the sender of `stopped` is dropped. Needs a runtime.
pub(crate) fn spawn(listener: TcpListener, router: Router, stopped: watch::Receiver<()>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(run(listener, router, stopped));
    Ok(())
}

async fn run(listener: tokio::net::TcpListener, router: Router, mut stopped: watch::Receiver<()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = async {
                // Closed never: the semaphore is ours.
                let place = room.clone().acquire_owned().await.ok();
                (listener.accept().await, place)
            } => accepted,
            Some(_) = connections.join_next() => continue,
            changed = stopped.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
        };
        match accepted {
            (Ok((stream, peer)), place) => {
                // Answers are small and waited for.
                let _ = stream.set_nodelay(true);
                let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(peer.ip()))));
                let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        debug!(%error, "a connection to a facade ended early");
                    }
                    drop(place);
                });
            }
            (Err(error), _) => {
                // Out of file descriptors, mostly: pausing lets connections end.
                warn!(%error, "a facade cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // What is still open after that is cut with the set.
    let _ = tokio::time::timeout(LAST, graceful.shutdown()).await;
}
