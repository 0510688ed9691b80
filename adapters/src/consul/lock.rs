//! A lock in Consul: a session with a time to live holds the key `landfall/<cluster>/writer`.
//!
//! ```text
//! session/create ─▶ kv?acquire ─┬─ true ──▶ session/renew + read the key, every TTL / 4 ──▶ lost: 404, another holder
//!                               └─ false ─▶ wait for the key to be free, renewing ─▶ again
//! ```
//!
//! A session lives at least its TTL and at most twice that (consul: website/content/docs/dynamic-app-config/sessions),
//! so a permit of less than the TTL from before the last renewal cannot outlive the lock. `LockIndex` of the key counts
//! who has held it and is the writer's epoch. `NodeChecks` is empty: by default a session hangs on `serfHealth` of
//! the agent's node, and a flap of it would cost the lock.
//!
//! Needed rights: `session:write` on the agent's node, `key:write` on the key.
//!
//! Next on the path: [`crate::election`], which runs it.

use std::{sync::Mutex, time::Duration};

use landfall_config::secret::SecretRef;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{Consul, client};
use crate::{
    election::{Bench, Lock},
    publish::permit::now,
};

/// The shortest that Consul takes (agent/structs: SessionTTLMin).
const TTL: Duration = Duration::from_secs(10);
/// A permit ends this much before the session could.
const MARGIN: Duration = Duration::from_secs(2);
/// Between two renewals.
const RENEW: Duration = Duration::from_millis(2500);
/// For one answer that does not wait.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two attempts to take a key that is free but not given: it is in its lock delay.
const AGAIN: Duration = Duration::from_millis(500);
/// After a session was lost, not given back, the key stays closed this long for all. What the last writer had sent
/// has arrived by then.
const LOCK_DELAY: &str = "2s";

/// The lock of one cluster's writer.
pub(crate) struct ConsulLock {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretRef>,
    datacenter: Option<String>,
    key: String,
    session: Mutex<Option<String>>,
}

impl Consul {
    /// The lock that one process of the cluster holds.
    pub(crate) fn lock(&self, cluster: &str) -> ConsulLock {
        ConsulLock {
            http: self.http.clone(),
            base: self.base.clone(),
            token: self.token.clone(),
            datacenter: self.scope.datacenter.clone(),
            key: format!("landfall/{cluster}/writer"),
            session: Mutex::default(),
        }
    }
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
    lock_index: u64,
    #[serde(default)]
    session: Option<String>,
    /// Base64, as Consul writes all values.
    #[serde(default)]
    value: Option<String>,
}

/// Who holds the key.
struct Held {
    session: Option<String>,
    who: Option<String>,
    epoch: u64,
}

#[async_trait::async_trait]
impl Lock for ConsulLock {
    async fn stand(&self, bench: &Bench) -> String {
        match self.campaign(bench).await {
            Ok(never) => match never {},
            Err(why) => why,
        }
    }

    async fn give_back(&self) {
        let Some(session) = self.known_session(|known| known.take()) else {
            return;
        };
        // Released first: a session that is destroyed with its lock closes the key for the lock delay.
        let released = self
            .send(Method::PUT, &self.key_path(), &[("release", &session)], Vec::new())
            .await;
        let destroyed = self
            .send(Method::PUT, &["session", "destroy", &session], &[], Vec::new())
            .await;
        if let Err(why) = released.and(destroyed) {
            tracing::debug!(why, "the lock was not given back");
        }
    }
}

impl ConsulLock {
    async fn campaign(&self, bench: &Bench) -> Result<std::convert::Infallible, String> {
        // One that an attempt before has left is given back, or its lock would keep us out.
        self.give_back().await;
        let mut asked = now();
        let session = self.create_session(&bench.who).await?;
        self.known_session(|known| *known = Some(session.clone()));
        let mut held = false;
        loop {
            if !held {
                held = self.acquire(&session, &bench.who).await?;
            }
            let holder = match self.holder().await {
                Ok(holder) => holder,
                // What is held stays held until the permit runs out; a candidate begins again.
                Err(why) if !held || bench.is_over() => return Err(why),
                Err(_) => {
                    tokio::time::sleep(AGAIN).await;
                    asked = self.renewed(&session, bench, held).await?.unwrap_or(asked);
                    continue;
                }
            };
            if held {
                if holder.session.as_deref() != Some(&session) {
                    return Err(format!("the key {} is not ours any more", self.key));
                }
                bench.holds(asked, TTL - MARGIN, holder.epoch);
                tokio::time::sleep(RENEW).await;
            } else {
                bench.waiting(holder.session.and(holder.who));
                tokio::time::sleep(AGAIN).await;
            }
            asked = self.renewed(&session, bench, held).await?.unwrap_or(asked);
        }
    }

    /// Renews the session; the moment before it was asked, or `None` if nobody answered and the lock is still ours by time.
    async fn renewed(&self, session: &str, bench: &Bench, held: bool) -> Result<Option<u64>, String> {
        let asked = now();
        match self
            .send(Method::PUT, &["session", "renew", session], &[], Vec::new())
            .await
        {
            Ok((StatusCode::NOT_FOUND, _)) => Err("the session has run out".to_owned()),
            Ok((status, body)) => self.expect_ok(status, &body).map(|()| Some(asked)),
            Err(why) if !held || bench.is_over() => Err(why),
            Err(_) => Ok(None),
        }
    }

    async fn create_session(&self, who: &str) -> Result<String, String> {
        let body = json!({
            "Name": format!("landfall writer: {who}"),
            "TTL": format!("{}s", TTL.as_secs()),
            "LockDelay": LOCK_DELAY,
            "Behavior": "release",
            "NodeChecks": [],
        });
        let (status, body) = self
            .send(Method::PUT, &["session", "create"], &[], body.to_string().into_bytes())
            .await?;
        self.expect_ok(status, &body)?;
        let created: Created = serde_json::from_slice(&body).map_err(|error| format!("/v1/session/create: {error}"))?;
        Ok(created.id)
    }

    async fn acquire(&self, session: &str, who: &str) -> Result<bool, String> {
        let (status, body) = self
            .send(
                Method::PUT,
                &self.key_path(),
                &[("acquire", session)],
                who.as_bytes().to_vec(),
            )
            .await?;
        self.expect_ok(status, &body)?;
        Ok(body.trim_ascii() == b"true")
    }

    async fn holder(&self) -> Result<Held, String> {
        let (status, body) = self
            .send(Method::GET, &self.key_path(), &[("consistent", "")], Vec::new())
            .await?;
        let none = Held {
            session: None,
            who: None,
            epoch: 0,
        };
        if status == StatusCode::NOT_FOUND {
            return Ok(none);
        }
        self.expect_ok(status, &body)?;
        let entries: Vec<Entry> =
            serde_json::from_slice(&body).map_err(|error| format!("the key {}: {error}", self.key))?;
        let Some(entry) = entries.into_iter().next() else {
            return Ok(none);
        };
        let who = entry.value.and_then(|value| {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
            String::from_utf8(bytes).ok()
        });
        Ok(Held {
            session: entry.session.filter(|session| !session.is_empty()),
            who,
            epoch: entry.lock_index,
        })
    }

    fn key_path(&self) -> Vec<&str> {
        std::iter::once("kv").chain(self.key.split('/')).collect()
    }

    fn known_session<T>(&self, with: impl FnOnce(&mut Option<String>) -> T) -> T {
        with(&mut self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn expect_ok(&self, status: StatusCode, body: &[u8]) -> Result<(), String> {
        if status.is_success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&body[..body.len().min(160)]).trim().to_owned();
        Err(format!(
            "{} answered {}: {said}",
            client::shown(&self.base),
            status.as_u16()
        ))
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        for (name, value) in query.iter().copied() {
            url.query_pairs_mut().append_pair(name, value);
        }
        if let Some(datacenter) = &self.datacenter {
            url.query_pairs_mut().append_pair("dc", datacenter);
        }
        let mut request = self.http.request(method, url).timeout(PATIENCE).body(body);
        if let Some(token) = &self.token {
            let secret = token.read().map_err(|error| error.to_string())?;
            request = request.header("x-consul-token", secret.expose());
        }
        let failed =
            |error: reqwest::Error| format!("no answer from {}: {}", client::shown(&self.base), error.without_url());
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        // What is asked for here is small; the connection closes on anything else.
        let body = response.bytes().await.map_err(failed)?;
        Ok((status, body.to_vec()))
    }
}
