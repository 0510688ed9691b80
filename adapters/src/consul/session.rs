//! One session: from the first listing to the error that ends it.
//!
//! ```text
//! Listing ─┬ new name ──────▶ a blocking query of its own, or a place in the turn
//!          ├ name missing, at the index that had it ──▶ half an answer: the session ends
//!          └ name missing ──▶ its own query is asked ─┬ nothing there, nothing hidden ─▶ Gone
//! Service ─▶ Service report                           └ otherwise ─▶ kept: the listing was not whole
//! every name of the first listing read once ─▶ CaughtUp
//! ```
//!
//! Names that an earlier session knew and that the first listing does not have are in doubt from the start: each is
//! asked by itself before this session has caught up.
//!
//! Next on the path: the supervisor takes the reports.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use super::{
    client::Client,
    record::Reading,
    turn::{self, Signs},
    watch::{self as tasks, Names, News, Verdict},
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
    in_turn: watch::Sender<turn::Names>,
    /// The last listing: what stands at one index cannot change.
    listed: Option<Names>,
    caught_up: bool,
}

/// Runs until Consul fails.
pub(super) async fn follow(client: Arc<Client>, reports: &Reports) -> RegistryError {
    client.memory.begin();
    let (news, mut inbox) = mpsc::channel(64);
    let (in_turn, turn) = watch::channel(Vec::new());
    let mut tasks = JoinSet::new();
    let signs = Signs::default();
    tasks.spawn(tasks::catalog(client.clone(), signs.clone(), news.clone()));
    tasks.spawn(tasks::pulse(client.clone(), news.clone()));
    for of in [turn::Table::Checks, turn::Table::Nodes] {
        let (client, turn, signs, news) = (client.clone(), turn.clone(), signs.clone(), news.clone());
        tasks.spawn(turn::watch_table(client, of, turn, signs, news));
    }
    tasks.spawn(turn::turn(client.clone(), turn, signs.heard(), news.clone()));
    let mut session = Session {
        client,
        reports,
        news,
        tasks,
        known: BTreeMap::new(),
        queries: 0,
        lives: 0,
        in_turn,
        listed: None,
        caught_up: false,
    };
    // The session holds a sender, so the inbox never ends before an error arrives.
    while let Some(item) = inbox.recv().await {
        match item {
            News::Listing(names) => {
                if let Err(error) = session.listing(names).await {
                    return error;
                }
            }
            News::Service(name, reading) => session.service(name, &reading).await,
            News::Verdict(name, verdict) => session.verdict(name, verdict).await,
            News::Failed(error) => return error,
        }
        session.catch_up().await;
        while session.tasks.try_join_next().is_some() {}
    }
    session.client.not_ready("every watch has ended".to_owned())
}

impl Session<'_> {
    async fn listing(&mut self, said: Names) -> Result<(), RegistryError> {
        let names = &said.listing.names;
        let lists = |name: &Arc<str>| names.binary_search(name).is_ok();
        let mut same = self.listed.is_some();
        match &self.listed {
            Some(last) if last.index == said.index && !said.filtered => {
                if let Some(lacking) = last.listing.names.iter().find(|name| !lists(name)) {
                    let what = format!(
                        "half an answer: /v1/catalog/services lacks `{lacking}` at index {}, at which it had it",
                        said.index
                    );
                    return Err(self.client.malformed(what, b""));
                }
            }
            Some(_) => {}
            None => {
                for name in self.client.memory.names() {
                    self.meet(&name);
                }
            }
        }
        for name in names {
            same &= !self.meet(name);
        }
        for (name, known) in &mut self.known {
            let missing = !lists(name);
            if missing && !known.in_doubt {
                known.in_doubt = true;
                self.tasks
                    .spawn(tasks::verdict(self.client.clone(), name.clone(), self.news.clone()));
            }
            same &= !missing;
        }
        self.listed = Some(said);
        self.share_queries();
        if same && self.caught_up {
            self.reports.send(Knowledge::Confirmed).await;
        }
        Ok(())
    }

    /// Whether the name is new.
    fn meet(&mut self, name: &Arc<str>) -> bool {
        if self.known.contains_key(name) {
            return false;
        }
        self.lives += 1;
        let known = Known {
            life: self.lives,
            ..Known::default()
        };
        self.known.insert(name.clone(), known);
        true
    }

    async fn service(&mut self, name: Arc<str>, reading: &Reading) {
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
                        instances: instances.clone(),
                        quarantined: quarantined.clone(),
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
                self.share_queries();
            }
            Verdict::Gone => {
                let Some(known) = self.known.remove(&name) else {
                    return;
                };
                if let Some(query) = known.query {
                    query.abort();
                    self.queries -= 1;
                }
                self.client.memory.forget(&name);
                self.share_queries();
                if known.reported {
                    self.reports.send(Knowledge::Gone { name }).await;
                }
            }
        }
    }

    /// Every name gets a blocking query while there are any; the rest is asked in turn. Not those that this session
    /// knows by memory alone: it has to be seen first whether they are there.
    fn share_queries(&mut self) {
        let limit = self.client.scope.max_watches;
        let waits = |known: &Known| known.query.is_none() && (known.read || !known.in_doubt);
        for (name, known) in self.known.iter_mut().filter(|(_, known)| waits(known)) {
            if self.queries >= limit {
                break;
            }
            let watch = tasks::service(self.client.clone(), name.clone(), self.news.clone());
            known.query = Some(self.tasks.spawn(watch));
            self.queries += 1;
        }
        let rest = self.known.iter().filter(|(_, known)| waits(known));
        let rest: Vec<_> = rest.map(|(name, known)| (name.clone(), known.life)).collect();
        self.in_turn.send_if_modified(|names| {
            let modified = *names != rest;
            *names = rest;
            modified
        });
    }

    async fn catch_up(&mut self) {
        if self.listed.is_some() && !self.caught_up && self.known.values().all(|known| known.read) {
            self.caught_up = true;
            self.reports.send(Knowledge::CaughtUp).await;
        }
    }
}
