//! Registrations that a facade passes on to a real Nacos.
//!
//! What is registered by gRPC hangs on its connection, so each client that registers gets a connection of its own to the real one, opened with
//! its first registration. The client's requests travel on it unchanged, with the token they bring. Either end takes the other along:
//!
//! ```text
//! client gone ─▶ its upstream is closed ─▶ the real Nacos drops its instances
//! upstream gone, or asked to leave ─▶ the client is cut ─▶ it comes back and registers again
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use landfall_config::kinds::registry::NacosSpec;
use tokio::{sync::mpsc, time::sleep};
use tracing::warn;

use super::link::Link;
use crate::{
    ConnectError,
    nacos::{
        connection::{Connection, Event, PULSE},
        fault::Fault,
        login::Access,
        servers::Servers,
        wire::Payload,
    },
};

/// Where registrations go.
#[derive(Debug)]
pub struct Upstreams {
    servers: Servers,
    first: AtomicUsize,
}

/// One client's connection to a real Nacos.
#[derive(Debug)]
pub(super) struct Upstream {
    connection: Connection,
}

impl Upstreams {
    /// To these servers; the document's own user is not used.
    ///
    /// # Errors
    /// An address that is none.
    pub(crate) fn new(spec: &NacosSpec) -> Result<Self, ConnectError> {
        let spec = NacosSpec {
            username: None,
            password: None,
            ..spec.clone()
        };
        let servers = Servers::new(&spec)?;
        Ok(Self {
            first: AtomicUsize::new(fastrand::usize(..servers.list.len())),
            servers,
        })
    }

    async fn open(&self, namespace: &str) -> Result<(Connection, mpsc::Receiver<Event>), Fault> {
        let list = &self.servers.list;
        let first = self.first.load(Relaxed);
        let mut last = Fault::Lost("no address is known".to_owned());
        for offset in 0..list.len() {
            let at = (first + offset) % list.len();
            let access = Arc::new(Access::new(&self.servers, &list[at]));
            match Connection::open(list[at].clone(), namespace, access).await {
                Ok(opened) => {
                    self.first.store(at, Relaxed);
                    return Ok(opened);
                }
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    /// Passes on a client's request; the answer comes back as it is.
    pub(super) async fn pass(&self, link: &Arc<Link>, request: Payload) -> Result<Payload, Fault> {
        let upstream = {
            let mut slot = link.upstream.lock().await;
            match &*slot {
                Some(upstream) => upstream.clone(),
                None => {
                    let (connection, events) = self.open(&link.namespace()).await?;
                    let upstream = Arc::new(Upstream { connection });
                    tokio::spawn(keep(link.clone(), upstream.clone(), events));
                    slot.insert(upstream).clone()
                }
            }
        };
        let kind = request.kind().to_owned();
        let answer = upstream.connection.pass(&kind, request).await;
        if let Err(Fault::Lost(_)) = answer {
            link.close();
        }
        answer
    }
}

/// Keeps an upstream alive as long as its client is, and takes the client along when it ends.
async fn keep(link: Arc<Link>, upstream: Arc<Upstream>, mut events: mpsc::Receiver<Event>) {
    let why = loop {
        tokio::select! {
            () = link.cut() => break None,
            event = events.recv() => match event {
                // Nothing is subscribed on it.
                Some(Event::Push(_)) => {}
                Some(Event::Reset(_)) => break Some("it asked for a new connection".to_owned()),
                Some(Event::Ended(why)) => break Some(why),
                None => break Some("the connection is closed".to_owned()),
            },
            () = sleep(PULSE) => if let Err(fault) = upstream.connection.is_healthy().await {
                break Some(format!("{fault:?}"));
            },
        }
    };
    if let Some(why) = why {
        warn!(client = %link.peer(), %why, "the connection to the real Nacos has ended; its client is made to register again");
        link.close();
    }
    // Drops the connection with it, whoever still holds the link.
    link.upstream.lock().await.take();
}
