//! Nacos, followed by gRPC pushes, and by polling over HTTP where gRPC cannot be reached.
//!
//! ```text
//!                     ┌ connection ── one HTTP/2 connection: stream + questions, Nacos 2 and 3 ─┐
//! follow ─ servers ───┤                                                                        ├─ session ─▶ reports
//!          login      └ web ───────── HTTP v2, v1 or v3, whichever the server has ──────────────┘
//!                                 record: JSON to instances · name: Nacos' names to ours
//! ```
//!
//! # What becomes a service
//!
//! | in Nacos | here |
//! |---|---|
//! | service `orders` in `DEFAULT_GROUP` | `orders` |
//! | service `orders` in the group `blue` | `blue@@orders`, as Nacos itself writes it |
//! | Dubbo's `providers:org.acme.Stock:1.0:g` | `g/org.acme.Stock:1.0`, Dubbo's service key, as in ZooKeeper |
//! | Dubbo's `consumers:…`, `routers:…`, `configurators:…` | nothing: they are no providers |
//!
//! An instance's id is `ip#port#cluster`: Nacos' own `instanceId` is left out by some versions and differs by setting. That
//! of a copy we wrote is `landfall~ip#port`.
//!
//! # What is promised, and where it is kept
//!
//! - Nacos gives no list of groups and, before version 3, pushes no new names: the names of each configured group are listed
//!   again every `poll`, and each service is subscribed (`session`).
//! - A name that is not listed any more is asked for itself before it is said to be gone; an empty push is asked for
//!   again; an answer older than the last one is asked for again. A lost push is made good within half a minute.
//! - The protection threshold is not health: while Nacos says that it calls every instance healthy because too few are,
//!   each keeps the last real word, and carries `nacos.health` = `protected` (`record`).
//! - Everything on a connection ends with it; a server's wish to get rid of us (`ConnectResetRequest`) is followed.
//!
//! # What cannot be known
//!
//! Nacos does not tell subscribers of instances that are switched off (`enabled` false): they are simply missing. It has no time of
//! change for a record, so `changed` is `None`. What a Dubbo 3 application serves stands in Nacos' configuration half
//! and is not read: it is followed under its own name.
//!
//! # Why `nacos-sdk` is not used
//!
//! Version 0.8 keeps the old instances when a service really loses its last one unless told otherwise; lets environment
//! variables override what the program sets; has no answer to `ConnectResetRequest` and `SetupAckRequest`; keeps the
//! connection's end and the reason of a refusal to itself, which the hub must know to say what is stale; and gives no
//! `reachProtectionThreshold` and no `lastRefTime`. The protocol is two methods and a dozen JSON documents.
//!
//! Next on the path: `servers`.

pub(crate) mod connection;
pub(crate) mod fault;
pub(crate) mod login;
pub(crate) mod name;
pub(crate) mod record;
pub(crate) mod servers;
mod session;
#[cfg(test)]
mod tests;
pub(crate) mod web;
pub(crate) mod wire;

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use landfall_config::kinds::registry::{NacosSpec, NacosTransport};

use crate::registry::{ConnectError, Registry, RegistryError, Reports};
use connection::Connection;
use fault::Fault;
use login::Access;
use servers::{Server, Servers};
use session::{Asker, End};
use web::Web;

/// A Nacos cluster that is followed.
#[derive(Debug)]
pub struct Nacos {
    servers: Servers,
    scope: Arc<Scope>,
    transport: NacosTransport,
    /// The server that the next session begins with.
    first: AtomicUsize,
}

/// What of Nacos is followed, and how.
#[derive(Debug)]
struct Scope {
    namespace: String,
    groups: Vec<Arc<str>>,
    poll: Duration,
}

impl Nacos {
    /// Checks the addresses and the password's place. Asks nothing of Nacos yet.
    ///
    /// # Errors
    /// [`ConnectError::BadUrl`] when an address is none, [`ConnectError::Secret`] when the password cannot be read now.
    pub fn new(spec: &NacosSpec) -> Result<Self, ConnectError> {
        let servers = Servers::new(spec)?;
        Ok(Self {
            // Not everybody goes to the first of the list.
            first: AtomicUsize::new(fastrand::usize(..servers.list.len())),
            servers,
            scope: Arc::new(Scope {
                namespace: servers::namespace(spec),
                groups: spec.groups.iter().map(|group| group.as_str().into()).collect(),
                poll: spec.poll.get().max(Duration::from_millis(100)),
            }),
            transport: spec.transport,
        })
    }

    /// One session with one server, by gRPC if that is possible and wanted.
    fn session(&self, server: Server, reports: Reports) -> BoxFuture<'static, Result<End, Fault>> {
        let (scope, transport) = (self.scope.clone(), self.transport);
        let access = Arc::new(Access::new(&self.servers, &server));
        Box::pin(async move {
            let fallback = match transport {
                NacosTransport::Http => None,
                transport => match Connection::open(server.clone(), &scope.namespace, access.clone()).await {
                    Ok((connection, events)) => {
                        let asker = Asker::Grpc(Arc::new(connection));
                        return Ok(session::follow(asker, Some(events), scope, reports, Box::pin(pending())).await);
                    }
                    Err(Fault::Lost(what)) if transport == NacosTransport::Auto => Some(what),
                    Err(fault) => return Err(fault),
                },
            };
            let web = Web::open(server.clone(), scope.namespace.clone(), access).await?;
            let better: BoxFuture<'static, ()> = match fallback {
                Some(what) => {
                    tracing::warn!(%server, %what, "gRPC cannot be reached, so Nacos is polled over HTTP");
                    Box::pin(connection::reachable_again(server))
                }
                None => Box::pin(pending()),
            };
            Ok(session::follow(Asker::Http(Arc::new(web)), None, scope, reports, better).await)
        })
    }
}

#[async_trait::async_trait]
impl Registry for Nacos {
    fn kind(&self) -> &'static str {
        "nacos"
    }

    fn address(&self) -> String {
        self.servers.shown()
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        let list = &self.servers.list;
        let first = self.first.load(Relaxed);
        let mut last = None;
        for offset in 0..list.len() {
            let at = (first + offset) % list.len();
            let server = &list[at];
            match self.session(server.clone(), reports.clone()).await {
                // It named where to go, or anywhere but there.
                Ok(End::Reset(wanted)) => {
                    let named = wanted.and_then(|wanted| list.iter().position(|server| server.is(&wanted)));
                    self.first.store(named.unwrap_or(at + 1), Relaxed);
                    return RegistryError::SessionOver {
                        address: server.to_string(),
                        what: "it asked for a new connection".to_owned(),
                    };
                }
                Ok(End::Better) => {
                    return RegistryError::SessionOver {
                        address: server.to_string(),
                        what: "gRPC can be reached again".to_owned(),
                    };
                }
                // What has begun to follow has reported: the next attempt is a session of its own.
                Ok(End::Broken(fault)) => {
                    self.first.store(at + 1, Relaxed);
                    return fault.of_session(server);
                }
                Err(fault) => last = Some(fault.of_session(server)),
            }
        }
        self.first.store(first + 1, Relaxed);
        last.unwrap_or_else(|| RegistryError::NotReady {
            address: self.address(),
            what: "no address is configured".to_owned(),
        })
    }
}
