//! One session: from the first listing to the error that ends it.
//!
//! ```text
//! Listing ─┬ new name ──────▶ a blocking query of its own, or a place in the turn
//!          └ name missing ──▶ its own query is asked ─┬ nothing there, nothing hidden ─▶ Gone
//! Service ─▶ Service report                           └ otherwise ─▶ kept: the listing was not whole
//! every name of the first listing read once ─▶ CaughtUp
//! ```
//!
//! Next on the path: the supervisor takes the reports.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use super::{
    client::Client,
    record::{Listing, Reading},
    watch::{self as tasks, News, Verdict},
};
use crate::registry::{Knowledge, RegistryError, Reports};

/// A name that the catalog lists, or has listed and nobody has shown to be gone.
#[derive(Default)]
struct Known {
    /// Its blocking query; `None` means that it is asked in turn.
    query: Option<AbortHandle>,
    /// Read at least once.
    read: bool,
    /// The hub has been told of it.
    reported: bool,
    /// The question whether it is gone is open.
    in_doubt: bool,
    /// It was once found alive although the catalog did not list it.
    kept: bool,
    /// Tells two lives of one name apart.
    life: u64,
}

/// Everything a session knows.
struct Session<'a> {
    client: Arc<Client>,
    reports: &'a Reports,
    news: mpsc::Sender<News>,
    // Dropping it ends every task.
    tasks: JoinSet<()>,
    known: BTreeMap<Arc<str>, Known>,
    queries: usize,
    lives: u64,
    in_turn: watch::Sender<Vec<(Arc<str>, u64)>>,
    listed: bool,
    caught_up: bool,
}

/// Runs until Consul fails.
pub(super) async fn follow(client: Arc<Client>, reports: &Reports) -> RegistryError {
    let (news, mut inbox) = mpsc::channel(64);
    let (in_turn, turn) = watch::channel(Vec::new());
    let mut tasks = JoinSet::new();
    tasks.spawn(tasks::catalog(client.clone(), news.clone()));
    tasks.spawn(tasks::pulse(client.clone(), news.clone()));
    tasks.spawn(tasks::turn(client.clone(), turn, news.clone()));
    let mut session = Session {
        client,
        reports,
        news,
        tasks,
        known: BTreeMap::new(),
        queries: 0,
        lives: 0,
        in_turn,
        listed: false,
        caught_up: false,
    };
    // The session holds a sender, so the inbox never ends before an error arrives.
    while let Some(item) = inbox.recv().await {
        match item {
            News::Listing(listing) => session.listing(listing).await,
            News::Service(name, reading) => session.service(name, reading).await,
            News::Verdict(name, verdict) => session.verdict(name, verdict).await,
            News::Failed(error) => return error,
        }
        session.catch_up().await;
        while session.tasks.try_join_next().is_some() {}
    }
    session.client.not_ready("every watch has ended".to_owned())
}

impl Session<'_> {
    async fn listing(&mut self, listing: Listing) {
        let mut same = self.listed;
        self.listed = true;
        for name in &listing.names {
            if !self.known.contains_key(name) {
                same = false;
                self.lives += 1;
                let life = self.lives;
                self.known.insert(
                    name.clone(),
                    Known {
                        life,
                        ..Known::default()
                    },
                );
            }
        }
        for (name, known) in &mut self.known {
            let missing = listing.names.binary_search(name).is_err();
            if missing && !known.in_doubt {
                known.in_doubt = true;
                self.tasks
                    .spawn(tasks::verdict(self.client.clone(), name.clone(), self.news.clone()));
            }
            same &= !missing;
        }
        self.share_queries();
        if same && self.caught_up {
            self.reports.send(Knowledge::Confirmed).await;
        }
    }

    async fn service(&mut self, name: Arc<str>, reading: Reading) {
        // A reading that was on its way when its service was found gone: the catalog speaks again if it is back.
        let Some(known) = self.known.get_mut(&name) else {
            return;
        };
        known.read = true;
        match reading {
            Reading::Service { instances, quarantined } => {
                known.reported = true;
                let changed = None;
                self.reports
                    .send(Knowledge::Service {
                        name,
                        instances,
                        quarantined,
                        changed,
                    })
                    .await;
            }
            Reading::Machinery if known.reported => {
                known.reported = false;
                self.reports.send(Knowledge::Gone { name }).await;
            }
            Reading::Machinery => {}
        }
    }

    async fn verdict(&mut self, name: Arc<str>, verdict: Verdict) {
        match verdict {
            Verdict::Kept => {
                if let Some(known) = self.known.get_mut(&name) {
                    known.in_doubt = false;
                    if !std::mem::replace(&mut known.kept, true) {
                        tracing::warn!(service = %name, "kept, although Consul's catalog does not list it: it has instances");
                    }
                }
            }
            Verdict::Gone => {
                let Some(known) = self.known.remove(&name) else {
                    return;
                };
                if let Some(query) = known.query {
                    query.abort();
                    self.queries -= 1;
                }
                self.share_queries();
                if known.reported {
                    self.reports.send(Knowledge::Gone { name }).await;
                }
            }
        }
    }

    /// Every name gets a blocking query while there are any; the rest is asked in turn.
    fn share_queries(&mut self) {
        let limit = self.client.scope.max_watches;
        for (name, known) in self.known.iter_mut().filter(|(_, known)| known.query.is_none()) {
            if self.queries >= limit {
                break;
            }
            let watch = tasks::service(self.client.clone(), name.clone(), self.news.clone());
            known.query = Some(self.tasks.spawn(watch));
            self.queries += 1;
        }
        let rest = self.known.iter().filter(|(_, known)| known.query.is_none());
        let rest: Vec<_> = rest.map(|(name, known)| (name.clone(), known.life)).collect();
        self.in_turn.send_if_modified(|names| {
            let modified = *names != rest;
            *names = rest;
            modified
        });
    }

    async fn catch_up(&mut self) {
        if self.listed && !self.caught_up && self.known.values().all(|known| known.read) {
            self.caught_up = true;
            self.reports.send(Knowledge::CaughtUp).await;
        }
    }
}
