//! A lock in ZooKeeper: the ephemeral node `/landfall/<cluster>/writer` belongs to one session.
//!
//! ```text
//! session ─▶ create ─┬─ made ────────▶ read it back, every quarter of the session timeout ──▶ lost: gone, another owner
//!                    └─ NodeExists ──▶ wait until it is deleted ─▶ again
//! ```
//!
//! The server ends a session one timeout after it last heard from it, so a permit of less than that from before the last
//! answer cannot outlive the node. The node's creation id (`czxid`) grows with each writer and is its epoch.
//!
//! Next on the path: [`crate::election`], which runs it.

use std::{convert::Infallible, time::Duration};

use tokio::{sync::Mutex, time::timeout};
use zookeeper_client::{Acls, Client, CreateMode, Error, Stat};

use super::{Settings, ZooKeeper};
use crate::{
    election::{Bench, Lock},
    publish::permit::now,
};

/// Asked for; the server may give another.
const SESSION: Duration = Duration::from_secs(10);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// The lock of one cluster's writer.
pub(crate) struct ZooKeeperLock {
    settings: Settings,
    parent: String,
    path: String,
    client: Mutex<Option<Client>>,
}

impl ZooKeeper {
    /// The lock that one process of the cluster holds.
    pub(crate) fn lock(self, cluster: &str) -> ZooKeeperLock {
        let parent = format!("/landfall/{cluster}");
        ZooKeeperLock {
            settings: self.settings,
            path: format!("{parent}/writer"),
            parent,
            client: Mutex::default(),
        }
    }
}

#[async_trait::async_trait]
impl Lock for ZooKeeperLock {
    async fn stand(&self, bench: &Bench) -> String {
        match self.campaign(bench).await {
            Ok(never) => match never {},
            Err(why) => why,
        }
    }

    async fn give_back(&self) {
        // The node goes with its session, and a session that is closed goes at once.
        let Some(client) = self.client.lock().await.take() else {
            return;
        };
        if let Ok(Ok(Some(stat))) = timeout(PATIENCE, client.check_stat(&self.path)).await
            && is_owner(&client, &stat)
            && let Err(error) = client.delete(&self.path, Some(stat.version)).await
        {
            tracing::debug!(%error, "the lock was not given back");
        }
    }
}

impl ZooKeeperLock {
    async fn campaign(&self, bench: &Bench) -> Result<Infallible, String> {
        self.give_back().await;
        let (client, acls) = self.session().await?;
        *self.client.lock().await = Some(client.clone());
        let ancestors = CreateMode::Persistent.with_acls(acls);
        answer(client.mkdir(&self.parent, &ancestors)).await?;
        let lasts = client.session_timeout();
        loop {
            let asked = now();
            let made = timeout(
                PATIENCE,
                client.create(&self.path, bench.who.as_bytes(), &CreateMode::Ephemeral.with_acls(acls)),
            )
            .await;
            match made {
                // A create whose answer was lost may have been done: who owns the node is read in both cases.
                Ok(Ok(_) | Err(Error::NodeExists)) => {}
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("ZooKeeper does not answer".to_owned()),
            }
            let read = timeout(PATIENCE, client.get_and_watch_data(&self.path)).await;
            let (data, stat, watcher) = match read.map_err(|_| "ZooKeeper does not answer".to_owned())? {
                Ok(read) => read,
                Err(Error::NoNode) => continue,
                Err(error) => return Err(error.to_string()),
            };
            if is_owner(&client, &stat) {
                return self.keep(&client, bench, asked, lasts, stat).await;
            }
            bench.waiting(String::from_utf8(data).ok());
            let event = watcher.changed().await;
            if event.session_state.is_terminated() {
                return Err(format!("the session ended: {}", event.session_state));
            }
        }
    }

    /// Holds it until it is lost.
    async fn keep(
        &self,
        client: &Client,
        bench: &Bench,
        mut asked: u64,
        session: Duration,
        taken: Stat,
    ) -> Result<Infallible, String> {
        let lasts = session.mul_f64(0.75);
        let epoch = u64::try_from(taken.czxid).unwrap_or(0);
        loop {
            bench.holds(asked, lasts, epoch);
            tokio::time::sleep(session / 4).await;
            loop {
                let now = now();
                match timeout(PATIENCE, client.check_stat(&self.path)).await {
                    Ok(Ok(Some(stat))) if stat.czxid == taken.czxid => {
                        asked = now;
                        break;
                    }
                    Ok(Ok(_)) => return Err(format!("the node {} is not ours any more", self.path)),
                    Ok(Err(error)) if bench.is_over() || client.state().is_terminated() => {
                        return Err(error.to_string());
                    }
                    Err(_) if bench.is_over() => return Err("ZooKeeper does not answer".to_owned()),
                    // Connection lost for a moment: the node stands while the session does.
                    _ => tokio::time::sleep(session / 40).await,
                }
            }
        }
    }

    async fn session(&self) -> Result<(Client, Acls<'static>), String> {
        let mut connector = Client::connector().with_session_timeout(SESSION).with_fail_eagerly();
        let mut acls = Acls::anyone_all();
        if let Some(digest) = self.settings.digest().map_err(|error| error.to_string())? {
            connector = connector.with_auth("digest", &digest);
            acls = Acls::creator_all();
        }
        let client = timeout(SESSION, connector.connect(&self.settings.ensemble)).await;
        let client = client.map_err(|_| format!("no session with {} in time", self.settings.ensemble))?;
        let client = client.map_err(|error| format!("no session with {}: {error}", self.settings.ensemble))?;
        Ok((client, acls))
    }
}

/// Whether the node is of this client's session.
fn is_owner(client: &Client, node: &Stat) -> bool {
    client.session_id().0 == node.ephemeral_owner
}

async fn answer<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("ZooKeeper does not answer".to_owned()),
    }
}
