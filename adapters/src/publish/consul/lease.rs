//! The writer's lease: a session of Consul's own that holds a key for as long as the writer lives.
//!
//! ```text
//! key landfall/lease/<base> ── held by the session ──▶ the writer lives
//!                           ── held by none ────────▶ it has died: after a time of grace what it wrote is removed,
//!                                                     by whichever Landfall writes into this Consul
//!                           ── not there ───────────▶ it never had a lease (no rights for it): left alone
//! ```
//!
//! One for all nodes of the cluster, whose names begin with `<base>`.
//!
//! Nobody runs the checks of records written by catalog, so Consul itself would keep those of a writer that died
//! for ever. The records of a writer that comes back are its own again long before: a session ends 30 to 60 s after
//! its last renewal, the time of grace is minutes.
//!
//! The session also tells when Consul has lost its data: it is gone too. So what is held is compared at once with what
//! stands there, instead of by reading everything over and over.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    nodes,
    send::{Sender, quoted},
};
use crate::publish::WriteError;

/// Of the session. Consul takes at least 10 s.
const TTL: &str = "30s";

/// The lease of one writer.
#[derive(Default)]
pub(super) struct Lease {
    session: Mutex<Option<String>>,
    /// Writers without a session, by the base of their nodes' names, since when.
    dead: Mutex<BTreeMap<String, Instant>>,
}

/// What a renewal has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewed {
    /// The session lives: Consul has its data.
    Still,
    /// It is a new one: the first, or Consul has lost the old one.
    Anew,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default)]
    session: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    node: String,
}

impl Lease {
    /// Renews the session, or makes one, and takes the key for it.
    pub(super) async fn renew(&self, sender: &Sender, base: &str, cluster: &str) -> Result<Renewed, WriteError> {
        let known = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(id) = known {
            let path = ["v1", "session", "renew", &id];
            let answer = sender.send(Method::PUT, &path, &[], None).await?;
            if answer.status == StatusCode::OK {
                self.hold(sender, base, cluster, &id).await?;
                return Ok(Renewed::Still);
            }
        }
        let body = json!({
            "Name": format!("landfall writer of {base}"), "TTL": TTL, "Behavior": "release", "LockDelay": "0s",
            // By default a session hangs on `serfHealth` of the agent's node.
            "NodeChecks": [],
        });
        let answer = sender
            .send(Method::PUT, &["v1", "session", "create"], &[], Some(&body))
            .await?;
        let created: Created = serde_json::from_slice(&answer.body).map_err(|_| WriteError::Unavailable {
            address: sender.access.shown(),
            what: format!("no session: {}", quoted(&answer.body)),
        })?;
        self.hold(sender, base, cluster, &created.id).await?;
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(created.id);
        Ok(Renewed::Anew)
    }

    /// Takes the key, if no session of an earlier writer has it: that one ends soon.
    async fn hold(&self, sender: &Sender, base: &str, cluster: &str, session: &str) -> Result<(), WriteError> {
        let value = json!({ "cluster": cluster, "epoch": sender.epoch() });
        let path = ["v1", "kv", "landfall", "lease", base];
        sender
            .send(Method::PUT, &path, &[("acquire", session)], Some(&value))
            .await?;
        Ok(())
    }

    /// Forgets the session; it ends by itself.
    pub(super) fn forget(&self) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Nodes of writers that have been dead for this long.
    pub(super) async fn dead_for(
        &self,
        sender: &Sender,
        own: &str,
        grace: Duration,
    ) -> Result<Vec<String>, WriteError> {
        let marked = [("node-meta", super::NODE_META)];
        let answer = sender
            .send(Method::GET, &["v1", "catalog", "nodes"], &marked, None)
            .await?;
        let nodes: Vec<Node> = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut writers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in nodes.iter().map(|node| &*node.node) {
            let base = nodes::base_of(node);
            if base != own && base.starts_with(nodes::PREFIX) {
                writers.entry(base).or_default().push(node);
            }
        }
        let mut dead = BTreeMap::new();
        for base in writers.keys() {
            let path = ["v1", "kv", "landfall", "lease", base];
            let answer = sender.send(Method::GET, &path, &[], None).await?;
            // Absent is 404: that writer had no lease, so nothing says that it is dead.
            let entries: Vec<Entry> = serde_json::from_slice(&answer.body).unwrap_or_default();
            if entries.first().is_some_and(|entry| entry.session.is_none()) {
                dead.insert((*base).to_owned(), Instant::now());
            }
        }
        let mut known = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        for (base, since) in &mut dead {
            *since = known.get(base).copied().unwrap_or(*since);
        }
        known.clone_from(&dead);
        let long = dead.into_iter().filter(|(_, since)| since.elapsed() >= grace);
        let nodes = long.filter_map(|(base, _)| writers.remove(&*base)).flatten();
        Ok(nodes.map(str::to_owned).collect())
    }
}
