//! The session that a ZooKeeper publisher writes in, and what is held, established in every new one.
//!
//! ```text
//! open ─▶ serve: settle what is held and not of this session ─▶ every minute compare with what stands there ─▶ settle
//!   ▲        └─ over, or HANDOVER without a writer ─┐
//!   └───────────────────────────────────────────────┘
//! ```
//!
//! Next on the path: `nodes`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout};
use zookeeper_client::{Client, Error};

use super::{AT_ONCE, Core, HANDOVER, Held, applications, instance, nodes::Nodes};
use crate::publish::{Key, WriteError, counts::Counts};

/// Between two looks at whether what is held still stands there.
const COMPARE: Duration = Duration::from_secs(60);
/// Between two looks at the permit.
const PULSE: Duration = Duration::from_millis(500);
/// After a session could not be opened.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps a session, and in it what is held, for as long as the publisher lives.
pub(super) async fn keep(core: Arc<Core>) {
    loop {
        if !core.permit.holds() {
            tokio::time::sleep(PULSE).await;
            continue;
        }
        match core.open().await {
            Ok(client) => {
                *core.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
                // Puts may come before what is held is established: none is forgotten by that.
                core.client.send_replace(Some(client.clone()));
                serve(&core, client).await;
                core.client.send_replace(None);
            }
            Err(error) => {
                Counts::one(&core.counts.failures);
                tracing::debug!(%error, "no session to write in");
                *core.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                tokio::time::sleep(AGAIN.mul_f64(0.5 + fastrand::f64())).await;
            }
        }
    }
}

/// Until the session is over, or has had no writer for long.
async fn serve(core: &Core, client: Client) {
    let mut states = client.state_watcher();
    let (mut compared, mut idle) = (Instant::now(), None::<Instant>);
    let mut settled = false;
    loop {
        let may_write = core.permit.holds();
        if may_write && compared.elapsed() >= COMPARE {
            core.compare(&client).await;
            compared = Instant::now();
            settled = false;
        }
        if may_write && (!settled || core.has_work()) {
            settled = core.settle(&client).await;
        }
        // Without a writer the nodes stay for the next one, but not for ever.
        if may_write {
            idle = None;
        } else if idle.get_or_insert_with(Instant::now).elapsed() >= HANDOVER {
            return;
        }
        tokio::select! {
            state = states.changed() => {
                if state.is_terminated() {
                    tracing::info!(session = %client.session_id(), %state, "the session is over; opening another");
                    return;
                }
            }
            () = core.wake.notified() => settled = false,
            () = tokio::time::sleep(PULSE) => {}
        }
    }
}

impl Core {
    /// Deletes nodes of ours that stand beside another cluster's. Returns whether all are gone.
    async fn make_way(&self, nodes: &Nodes<'_>) -> bool {
        let keys = {
            let held = self.held();
            let mut disowned = self.disowned();
            disowned.retain(|key| !held.contains_key(key));
            disowned.clone()
        };
        if keys.is_empty() {
            return true;
        }
        let folders = self
            .read(nodes, keys.iter().filter_map(|key| self.folder(key)).collect())
            .await;
        let mut all = true;
        for key in keys {
            let is_read = self
                .folder(&key)
                .is_none_or(|folder| folders.get(&folder).is_some_and(Result::is_ok));
            let mut done = is_read;
            for node in self.stale(&folders, &key, "") {
                if !self.permit.holds() {
                    return false;
                }
                done &= nodes.delete(&node).await.is_ok();
            }
            if done {
                self.disowned().remove(&key);
            }
            all &= done;
        }
        all
    }

    /// Establishes in this session what is held and not yet of it. Returns whether all could be.
    async fn settle(&self, client: &Client) -> bool {
        let _turn = self.turn.lock().await;
        let session = client.session_id().0;
        let nodes = self.nodes(client);
        let made_way = self.make_way(&nodes).await;
        let due: Vec<(Key, Held)> = {
            let held = self.held();
            let others = held.iter().filter(|(_, held)| held.session != Some(session));
            let providers = others.filter(|(key, _)| !instance::is_key_of_application(key));
            providers.map(|(key, held)| (key.clone(), held.clone())).collect()
        };
        let nodes = &nodes;
        let work: Vec<_> = due
            .into_iter()
            .map(|(key, mut held)| async move {
                if !self.permit.holds() {
                    return false;
                }
                let (was, done) = (held.session, nodes.establish(&held.path).await);
                match done {
                    Ok(()) => {
                        Counts::one(if was.is_some() {
                            &self.counts.restores
                        } else {
                            &self.counts.renewals
                        });
                        held.session = Some(session);
                        if let Some(known) = self.held().get_mut(&key) {
                            *known = held;
                        }
                        true
                    }
                    Err(error) => {
                        Counts::one(&self.counts.failures);
                        tracing::debug!(id = %key.id, %error, "not established");
                        false
                    }
                }
            })
            .collect();
        let done: Vec<bool> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
        let instances = self.settle_applications(nodes, session).await;
        self.clear(nodes).await;
        made_way && instances && done.into_iter().all(|done| done)
    }

    /// Writes the instances that are due or of another session. Returns whether all are done.
    async fn settle_applications(&self, nodes: &Nodes<'_>, session: i64) -> bool {
        let is_gathering = {
            let mut gathering = self.gathering();
            match *gathering {
                Some(since) if since.elapsed() < applications::GATHER => true,
                _ => {
                    *gathering = None;
                    false
                }
            }
        };
        let due: BTreeMap<Key, Option<i64>> = {
            let mut held = self.held();
            let all = held.iter_mut().filter(|(key, _)| instance::is_key_of_application(key));
            let due = all.filter(|(_, held)| held.session != Some(session) || held.is_due && !is_gathering);
            due.map(|(key, held)| {
                held.is_due = false;
                (key.clone(), held.session)
            })
            .collect()
        };
        let answers = match due.is_empty() {
            true => applications::Answers::new(),
            false => self.applications(nodes, &due.keys().cloned().collect(), false).await,
        };
        let mut all = !is_gathering;
        for (key, answer) in answers {
            let was = due.get(&key).copied().flatten();
            applications::count(&self.counts, was, session, answer.is_ok());
            if let Err(error) = answer {
                tracing::debug!(id = %key.id, %error, "not established");
                // What another has taken is the plan's to decide; it is looked at again with everything else.
                let is_final = matches!(error, WriteError::Rejected { .. } | WriteError::Denied { .. });
                if let Some(known) = self.held().get_mut(&key) {
                    match is_final {
                        true => known.session = Some(session),
                        false => known.is_due = true,
                    }
                }
                all &= is_final;
            }
        }
        all
    }

    /// Finds what somebody has deleted.
    async fn compare(&self, client: &Client) {
        let _turn = self.turn.lock().await;
        let nodes = self.nodes(client);
        let folders: BTreeSet<String> = self.held().keys().filter_map(|key| self.folder(key)).collect();
        let folders = self.read(&nodes, folders).await;
        let there: BTreeSet<String> = folders
            .iter()
            .filter_map(|(folder, children)| Some((folder, children.as_ref().ok()?)))
            .flat_map(|(folder, children)| children.iter().map(move |child| format!("{folder}/{child}")))
            .collect();
        self.remember(&nodes).await;
        for (key, held) in self.held().iter_mut() {
            held.is_due |= instance::is_key_of_application(key);
            let listed = self
                .folder(key)
                .and_then(|folder| folders.get(&folder).map(Result::is_ok));
            if listed == Some(true) && !there.contains(&held.path) {
                // Of no session that lives: established again, as a restore.
                held.session = held.session.map(|_| 0);
            }
        }
    }

    /// Whether something is to be done now that waited for its time.
    fn has_work(&self) -> bool {
        let gathering = *self.gathering();
        gathering.is_some_and(|since| since.elapsed() >= applications::GATHER)
            || self
                .leaving()
                .values()
                .any(|since| since.elapsed() >= applications::GRACE)
    }

    async fn open(&self) -> Result<Client, WriteError> {
        let address = || self.access.ensemble().to_owned();
        let wait = self.access.session_timeout();
        let mut connector = Client::connector().with_session_timeout(wait).with_fail_eagerly();
        let digest = self.access.digest().map_err(|error| WriteError::Denied {
            address: address(),
            what: error.to_string(),
        })?;
        if let Some(digest) = digest {
            connector = connector.with_auth("digest", &digest);
        }
        match timeout(wait, connector.connect(self.access.ensemble())).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error @ Error::AuthFailed)) => Err(WriteError::Denied {
                address: address(),
                what: format!("{error}: the credentials are wrong, or the server wants SASL"),
            }),
            Ok(Err(error)) => Err(WriteError::Unavailable {
                address: address(),
                what: error.to_string(),
            }),
            Err(_) => Err(WriteError::Unavailable {
                address: address(),
                what: format!("no session within {wait:?}"),
            }),
        }
    }
}
