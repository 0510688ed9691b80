//! Netflix and Spring Cloud Eureka: a follower, and the state and the HTTP surface of a server.
//!
//! ```text
//! follower   Eureka::follow ──▶ pace (full or delta?) ──▶ fetch (which server?) ──▶ wire ──▶ view ──▶ Knowledge
//! server     HTTP ──▶ surface (which operation?) ──▶ wire ──▶ book (leases, statuses, delta)
//! ```
//!
//! # What the follower promises
//! - **Service name**: the application's name in lower case, as Spring's consumers write it; the registry's
//!   own upper case is kept in each instance's metadata under [`convert::APP`].
//! - A full fetch first, then a delta each `poll` (with jitter). After each delta the reconcile hash over all
//!   that is known is compared; if it differs, everything is fetched again. A difference alone removes nothing.
//! - A full fetch whose hash does not describe its own content is half a list: it is not reported, and ends
//!   the session as *not ready*. An empty list that agrees with its hash is reported as it is; whether to
//!   believe it is the hub's affair.
//! - A full fetch ends in `CaughtUp` (and says before it what is gone), a poll without news is `Confirmed`,
//!   a delta reports the changed services only.
//! - Several servers: all are tried within one fetch before the session fails; the last good one stays the
//!   first. Another server's deltas are not applied to this one's list: changing servers fetches everything.
//!
//! Eureka itself is slow: its answers may be 30 s old, and a crashed instance stays listed for up to four
//! minutes. Statuses are kept exactly as the server says them.
//!
//! Next on the path: [`pace`], [`servers`], [`fetch`], [`wire`], [`convert`], [`view`]; for the server [`book`],
//! [`surface`].

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use landfall_config::kinds::registry::{EurekaAddress, EurekaSpec};
use tokio::time::Instant;
use tracing::{debug, warn};

use self::{
    fetch::Failure,
    pace::{Ask, Pace},
    servers::{Login, Servers},
    view::View,
};
use crate::registry::{ConnectError, Knowledge, Registry, RegistryError, Reports};

pub mod book;
pub mod convert;
pub mod fetch;
pub mod pace;
pub mod servers;
pub mod surface;
pub mod view;
pub mod wire;

#[cfg(test)]
mod tests;

/// Whatever is configured, no server is asked without a pause.
const MIN_POLL: Duration = Duration::from_millis(10);

/// An Eureka registry that is followed.
#[derive(Debug)]
pub struct Eureka {
    servers: Servers,
    poll: Duration,
    full_fetch: Duration,
    address: EurekaAddress,
    /// Index of the server that answered last: the one thing that outlives a session.
    last_good: AtomicUsize,
}

impl Eureka {
    /// Checks the configuration; asks nobody.
    pub fn new(spec: &EurekaSpec) -> Result<Self, ConnectError> {
        Ok(Self {
            servers: Servers::new(spec)?,
            poll: spec.poll.get().max(MIN_POLL),
            full_fetch: spec.full_fetch.get(),
            address: spec.address,
            last_good: AtomicUsize::new(0),
        })
    }
}

#[async_trait::async_trait]
impl Registry for Eureka {
    fn kind(&self) -> &'static str {
        "eureka"
    }

    fn address(&self) -> String {
        self.servers.shown()
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        let login = match self.servers.login() {
            Ok(login) => login,
            Err(error) => {
                return RegistryError::Denied {
                    address: self.address(),
                    what: error.to_string(),
                };
            }
        };
        let mut session = Session {
            eureka: self,
            reports,
            login,
            pace: Pace::new(self.full_fetch),
            view: None,
            server: self.last_good.load(Ordering::Relaxed),
        };
        loop {
            if let Err(error) = session.turn().await {
                return error;
            }
            tokio::time::sleep(jittered(self.poll)).await;
        }
    }
}

/// Nine to eleven tenths, so that many of us do not ask at once.
fn jittered(poll: Duration) -> Duration {
    poll.mul_f64(0.9 + 0.2 * fastrand::f64())
}

struct Session<'a> {
    eureka: &'a Eureka,
    reports: &'a Reports,
    login: Option<Login>,
    pace: Pace,
    /// `None` until the first full fetch.
    view: Option<View>,
    server: usize,
}

impl Session<'_> {
    async fn turn(&mut self) -> Result<(), RegistryError> {
        match (self.pace.ask(Instant::now()), self.view.take()) {
            (Ask::Delta, Some(view)) => self.delta(view).await,
            (_, view) => {
                self.view = view;
                self.full(self.server, Vec::new()).await
            }
        }
    }

    /// Asks for everything, every server in turn from `first` on.
    async fn full(&mut self, first: usize, mut failures: Vec<(usize, Failure)>) -> Result<(), RegistryError> {
        let servers = &self.eureka.servers;
        for step in 0..servers.count() {
            let at = (first + step) % servers.count();
            let asked = Instant::now();
            let failure = match servers.fetch(at, Ask::Full, self.login.as_ref()).await {
                Ok(answer) => {
                    let hash = answer.hash.clone();
                    let view = View::of(answer, self.eureka.address);
                    match half_a_list(&view, hash.as_deref()) {
                        None => {
                            self.use_server(at);
                            self.pace.full_read(asked);
                            self.report_all(view).await;
                            return Ok(());
                        }
                        Some(why) => Failure::NotReady(format!("it answered with half a list: {why}")),
                    }
                }
                Err(failure) => failure,
            };
            debug!(server = servers.address(at), %failure, "full fetch failed");
            failures.push((at, failure));
        }
        Err(servers.error(failures))
    }

    async fn delta(&mut self, mut view: View) -> Result<(), RegistryError> {
        let servers = &self.eureka.servers;
        let asked = Instant::now();
        match servers.fetch(self.server, Ask::Delta, self.login.as_ref()).await {
            Ok(delta) => {
                let hash = delta.hash.clone();
                let changed = view.apply(delta);
                for name in &changed {
                    self.reports.send(view.knowledge(name)).await;
                }
                let disagreement = view.disagreement(hash.as_deref());
                self.view = Some(view);
                match disagreement {
                    None => {
                        self.pace.delta_agrees(asked);
                        if changed.is_empty() {
                            self.reports.send(Knowledge::Confirmed).await;
                        }
                        Ok(())
                    }
                    Some(why) => {
                        debug!(server = servers.address(self.server), why, "delta and hash disagree");
                        match self.pace.delta_disagrees(asked) {
                            true => self.full(self.server, Vec::new()).await,
                            false => Ok(()),
                        }
                    }
                }
            }
            Err(Failure::NoDelta) => {
                self.view = Some(view);
                self.pace.delta_refused(asked);
                self.full(self.server, Vec::new()).await
            }
            // Asking the same silent server at once for more is of no use when it is the only one.
            Err(failure @ Failure::Unreachable(_)) if servers.count() == 1 => {
                Err(servers.error(vec![(self.server, failure)]))
            }
            Err(failure) => {
                self.view = Some(view);
                warn!(server = servers.address(self.server), %failure, "delta failed, asking for everything");
                self.full(self.server + 1, Vec::new()).await
            }
        }
    }

    fn use_server(&mut self, at: usize) {
        if self.server != at {
            self.pace.server_changed();
            self.server = at;
        }
        self.eureka.last_good.store(at, Ordering::Relaxed);
    }

    async fn report_all(&mut self, view: View) {
        let before = self.view.replace(view);
        let Some(view) = &self.view else { return };
        for name in view.names() {
            self.reports.send(view.knowledge(name)).await;
        }
        for name in before.iter().flat_map(View::names).filter(|name| !view.has(name)) {
            self.reports.send(Knowledge::Gone { name: name.clone() }).await;
        }
        self.reports
            .send(Knowledge::Unreadable(view.unreadable().to_vec()))
            .await;
        self.reports.send(Knowledge::CaughtUp).await;
    }
}

/// Like [`View::disagreement`], except that an empty hash beside a list means a server that computes none.
fn half_a_list(view: &View, hash: Option<&str>) -> Option<String> {
    match hash {
        Some("") if !view.is_empty() => None,
        hash => view.disagreement(hash),
    }
}
