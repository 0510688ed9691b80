//! The services that have no blocking query of their own: asked in turn, once something says that anything has changed.
//!
//! ```text
//! index of /v1/catalog/services ──┐
//! index of /v1/health/state/any ──┼▶ Signs ─ settle ─▶ round over all: the index of each ─┬ is the same ─▶ nothing is read
//! index of /v1/catalog/nodes ─────┘     ▲                                                 └ has moved ──▶ evidence::read
//!                                       └── a pause, twice as long as the round took
//! every second ─▶ the sixtieth of them that was asked longest ago
//! ```
//!
//! - The three indexes move with everything that a health answer is made of (seen in 1.14: instances without checks, their
//!   metadata and weights; checks of services and nodes; addresses of nodes). All three queries wait, and answer little.
//! - A health query's index is that of the service, whatever its filter leaves (agent/consul/health_endpoint). So a
//!   service that has not changed costs an empty list on both sides.
//! - Whoever speaks this API and has no such index, or does not move it, is asked all the same, more slowly.
//!
//! Next on the path: [`session`](super::session) puts the news together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use super::{
    client::Client,
    evidence::{self, Believed},
    index::Index,
    record::Reading,
    watch::{News, Outbox, PULSE, tell},
};
use crate::registry::RegistryError;

/// Changes seldom come alone.
const SETTLE: Duration = Duration::from_millis(100);
/// Services asked at once, and the pause after as many.
const AT_ONCE: usize = 8;
const GAP: Duration = Duration::from_millis(4);
/// Between two rounds: twice what the first one took, but within these. Our own writes are signs, too.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Without a sign one part of all services is asked in each of these times,
const LOOK: Duration = Duration::from_secs(1);
/// and this many parts are all.
const PARTS: usize = 60;
/// An index that stays is believed for so long: a restored snapshot may have the same one.
const TRUST: Duration = Duration::from_secs(600);

/// Names in turn. The number beside a name tells two lives of it apart: what was read of the first says nothing about
/// the second. Sorted.
pub(super) type Names = Vec<(Arc<str>, u64)>;

/// Something in this Consul has changed.
#[derive(Clone, Default)]
pub(super) struct Signs(watch::Sender<u64>);

impl Signs {
    /// Says so.
    pub(super) fn give(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Those from now on.
    pub(super) fn heard(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// What has an index that is no service's. That of all services is seen by the catalog's watch.
#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    Checks,
    Nodes,
}

/// What is known of a service in turn.
struct Known {
    index: u64,
    reading: Arc<Reading>,
    /// When that was read.
    read: Instant,
    /// When its index was asked for.
    asked: Instant,
}

/// Watches one index by a blocking query, for as long as anybody is in turn.
pub(super) async fn watch_table(
    client: Arc<Client>,
    of: Table,
    mut in_turn: watch::Receiver<Names>,
    signs: Signs,
    news: Outbox,
) {
    while in_turn.wait_for(|names| !names.is_empty()).await.is_ok() {
        let (mut index, mut last) = (Index::default(), 0);
        while !in_turn.borrow().is_empty() {
            let asked = Instant::now();
            let answer = match of {
                Table::Checks => client.checks_index(index.after()).await,
                Table::Nodes => client.nodes_index(index.after()).await,
            };
            let pause = match answer {
                Ok(number) => {
                    if std::mem::replace(&mut last, number) != number {
                        signs.give();
                    }
                    index.take(number, asked.elapsed())
                }
                // It has no such index. Then everybody is asked at this pace.
                Err(error @ RegistryError::Malformed { .. }) => {
                    tracing::debug!(%error, "no index of all {of:?}");
                    signs.give();
                    PULSE
                }
                Err(error) => return tell(&news, News::Failed(error)).await,
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// Asks the services that have no blocking query of their own.
pub(super) async fn turn(
    client: Arc<Client>,
    mut names: watch::Receiver<Names>,
    mut signs: watch::Receiver<u64>,
    news: Outbox,
) {
    let mut known: BTreeMap<(Arc<str>, u64), Known> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut round_at, mut rested) = (None, Instant::now());
    loop {
        let all = names.borrow_and_update().clone();
        known.retain(|key, _| all.binary_search(key).is_ok());
        let unread: Names = all.iter().filter(|key| !known.contains_key(*key)).cloned().collect();
        let (due, is_round) = if unread.is_empty() {
            tokio::select! {
                changed = names.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                given = signs.changed(), if round_at.is_none() => {
                    if given.is_err() {
                        return;
                    }
                    round_at = Some(rested.max(Instant::now() + SETTLE));
                    continue;
                }
                () = tokio::time::sleep_until(round_at.unwrap_or(rested)), if round_at.is_some() => {
                    // What was said until now is seen by this round.
                    signs.mark_unchanged();
                    round_at = None;
                    (all, true)
                }
                _ = looks.tick(), if !known.is_empty() => (stalest(&known), false),
            }
        } else {
            (unread, false)
        };
        let started = Instant::now();
        if let Err(error) = ask(&client, due, &mut known, &news).await {
            return tell(&news, News::Failed(error)).await;
        }
        if is_round {
            let pause = (started.elapsed() * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            rested = Instant::now() + pause;
        }
    }
}

/// Those that were asked longest ago: one part of all.
fn stalest(known: &BTreeMap<(Arc<str>, u64), Known>) -> Names {
    let mut all: Vec<_> = known.iter().collect();
    all.sort_by_key(|(_, known)| known.asked);
    let part = all.len().div_ceil(PARTS);
    all.into_iter().take(part).map(|(key, _)| key.clone()).collect()
}

/// Asks each of them, and tells what is new.
async fn ask(
    client: &Client,
    due: Names,
    known: &mut BTreeMap<(Arc<str>, u64), Known>,
    news: &Outbox,
) -> Result<(), RegistryError> {
    let believed = |key: &(Arc<str>, u64)| known.get(key).filter(|known| known.read.elapsed() < TRUST);
    let questions: Vec<_> = due
        .into_iter()
        .map(|key| (believed(&key).map(|known| known.index), key))
        .collect();
    let paced = futures_util::stream::iter(questions.into_iter().enumerate()).then(|(at, question)| async move {
        if at % AT_ONCE == AT_ONCE - 1 {
            tokio::time::sleep(GAP).await;
        }
        question
    });
    let answers = paced.map(|(index, key)| async move { (look(client, &key.0, index).await, key) });
    let mut answers = std::pin::pin!(answers.buffer_unordered(AT_ONCE));
    while let Some((answer, key)) = answers.next().await {
        let asked = Instant::now();
        let Some(believed) = answer? else {
            if let Some(known) = known.get_mut(&key) {
                known.asked = asked;
            }
            continue;
        };
        let now = Known {
            index: believed.index,
            reading: believed.reading.clone(),
            read: asked,
            asked,
        };
        let name = key.0.clone();
        let last = known.insert(key, now);
        if last.is_none_or(|last| last.reading != believed.reading) {
            tell(news, News::Service(name, believed.reading)).await;
        }
    }
    Ok(())
}

/// Reads a service, unless its index is still the one that is known.
async fn look(client: &Client, name: &Arc<str>, index: Option<u64>) -> Result<Option<Believed>, RegistryError> {
    // An error here is one of the reading, too, which says it.
    if let Some(index) = index
        && client.health_index(name).await.is_ok_and(|now| now == index)
    {
        return Ok(None);
    }
    evidence::read(client, name, 0).await.map(Some)
}
