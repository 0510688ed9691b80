//! Consul, followed by blocking queries.
//!
//! ```text
//!                    ┌ catalog watch ── /v1/catalog/services   which names exist
//! follow ─ session ──┤ pulse ────────── the same, every 5 s    is it still there, does it still say so
//!                    ├ service watch ── /v1/health/service/x   one per service, `max_watches` at most
//!                    └ turn ─────────── the rest, asked when the index of all services, checks or nodes has moved
//! ```
//!
//! What is promised, and where it is kept:
//!
//! - An index belongs to one query; lower than before means start again (`index`).
//! - A service is gone only when the catalog does not list it *and* its own health query comes back
//!   empty from a server that knows its leader and hid nothing (`session`). A listing that lost half
//!   of its names removes nothing.
//! - An instance is gone only when the answer that lacks it is newer than the one that had it, *and* the catalog
//!   does not have it on its node either, *and* our rights do not hide it there (`evidence`). This holds over
//!   sessions: what was believed last is remembered, as questions to ask and never as an answer (`memory`).
//! - An instance's status is its worst check, node checks included (`record`).
//! - An answer is read up to a limit, a redirect is not followed (it would carry the token elsewhere), a
//!   token is a header, never a part of the URL (`client`).
//!
//! Consul has no time of change for a record, only an index that is no clock. A query that waits is answered at
//! once, so an instance's `changed` is when the head of the answer was here that had it in this form
//! ([`Since::Answer`](landfall_model::snapshot::Since)); what a session reads first has changed nobody knows when.
//!
//! # Why no Consul client crate is used
//!
//! `rs-consul` 0.15, the one that is kept up, cannot follow correctly: its `ServiceNode` has no checks, no
//! metadata, no weights, no `Kind` and reads a list all or nothing, so one odd record hides its siblings;
//! its answers carry the index but neither `X-Consul-KnownLeader` nor `X-Consul-Results-Filtered-By-ACLs`,
//! without which an empty list from a follower without a leader or from a token without rights reads as
//! "all gone"; a service name goes into the URL as it is; its time-out ends with the headers and its
//! bodies have no limit. What it does well (registering, KV, locks) begins where this module ends.
//!
//! Next on the path: `session`.

pub(crate) mod access;
mod client;
mod evidence;
mod index;
mod lock;
mod memory;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod turn;
mod watch;

use std::sync::Arc;

use landfall_config::{kinds::registry::ConsulSpec, secret::SecretRef};
use landfall_model::{Instance, world::Quarantined};
use url::Url;

use crate::registry::{ConnectError, Registry, RegistryError, Reports};
use client::Client;
use memory::Memory;

/// The instances in an answer of `/v1/health/service/:name`, and the entries that could not be understood; `None` if
/// it is no such answer, or holds proxies alone. For the embedded registry, which shows its own the same way.
pub(crate) fn read_health(service: &Arc<str>, body: &[u8]) -> Option<(Vec<Instance>, Vec<Quarantined>)> {
    let scope = Scope {
        datacenter: None,
        tags: Vec::new(),
        exclude: Vec::new(),
        wait: std::time::Duration::ZERO,
        max_watches: 0,
    };
    match record::health(service, body, &scope).map(|health| health.reading) {
        Ok(record::Reading::Service { instances, quarantined }) => Some((instances, quarantined)),
        Ok(record::Reading::Machinery) | Err(_) => None,
    }
}

/// A Consul agent or server that is followed.
#[derive(Debug)]
pub struct Consul {
    base: Url,
    token: Option<SecretRef>,
    http: reqwest::Client,
    scope: Arc<Scope>,
    memory: Arc<Memory>,
}

/// What of Consul is followed, and how.
#[derive(Debug)]
struct Scope {
    /// `None` is the agent's own.
    datacenter: Option<String>,
    /// An instance has all of these.
    tags: Vec<String>,
    /// Names that are left out.
    exclude: Vec<String>,
    /// Longest wait of a blocking query.
    wait: std::time::Duration,
    /// Blocking queries for services at once.
    max_watches: usize,
}

impl Consul {
    /// Checks the address and the token's place. Asks nothing of Consul yet.
    ///
    /// # Errors
    /// [`ConnectError::BadUrl`] when the address is no plain http or https URL, [`ConnectError::Secret`] when
    /// the token cannot be read now.
    pub fn new(spec: &ConsulSpec) -> Result<Self, ConnectError> {
        let base = client::base_url(&spec.address)?;
        if let Some(token) = &spec.token {
            token.read()?;
        }
        Ok(Self {
            http: client::http(&spec.address)?,
            base,
            token: spec.token.clone(),
            scope: Arc::new(Scope {
                datacenter: spec.datacenter.clone(),
                tags: spec.tags.clone(),
                exclude: spec.exclude.clone(),
                wait: spec.wait.get().clamp(client::SHORTEST_WAIT, client::LONGEST_WAIT),
                max_watches: spec.max_watches,
            }),
            memory: Arc::default(),
        })
    }
}

#[async_trait::async_trait]
impl Registry for Consul {
    fn kind(&self) -> &'static str {
        "consul"
    }

    fn address(&self) -> String {
        client::shown(&self.base)
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        // The token is read again for each session, so a rotated one is taken without a restart.
        let (scope, memory) = (self.scope.clone(), self.memory.clone());
        match Client::new(&self.http, &self.base, self.token.as_ref(), scope, memory) {
            Ok(client) => session::follow(Arc::new(client), reports).await,
            Err(error) => error,
        }
    }
}
