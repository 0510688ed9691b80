//! The tasks of a session: each asks one thing again and again and tells what it learnt.
//!
//! Next on the path: [`turn`](super::turn) asks the services without a query of their own; [`session`](super::session)
//! puts the news together.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use super::{
    client::{Answer, Client},
    evidence,
    index::Index,
    record::{self, Listing, Reading},
    turn::Signs,
};
use crate::registry::RegistryError;

/// How often the catalog is read besides its blocking query: this shows a server that hangs, and confirms
/// to whoever holds a removal back that Consul still says so.
pub(super) const PULSE: Duration = Duration::from_secs(5);

/// What a task learnt.
pub(super) enum News {
    /// The names that exist.
    Listing(Names),
    /// A service's first reading, or one that differs from the last.
    Service(Arc<str>, Arc<Reading>),
    /// Asked because the catalog does not list it any more: is it gone?
    Verdict(Arc<str>, Verdict),
    /// The session is over.
    Failed(RegistryError),
}

/// The names that exist, and what is known of the answer that says so.
pub(super) struct Names {
    /// The names.
    pub(super) listing: Listing,
    /// Of the answer.
    pub(super) index: u64,
    /// Our rights hid something.
    pub(super) filtered: bool,
}

/// Whether a service that the catalog does not list is gone.
pub(super) enum Verdict {
    /// Its own query agrees: nothing there, nothing hidden.
    Gone,
    /// It has instances, or our rights hide them.
    Kept,
}

/// To the session.
pub(super) type Outbox = mpsc::Sender<News>;

/// Watches the catalog's names by one blocking query.
pub(super) async fn catalog(client: Arc<Client>, signs: Signs, news: Outbox) {
    let (mut index, mut last) = (Index::default(), 0);
    loop {
        let asked = Instant::now();
        let pause = match client
            .services(index.after())
            .await
            .and_then(|answer| listing(&client, answer))
        {
            Ok(names) => {
                let number = names.index;
                tell(&news, News::Listing(names)).await;
                // The names may be the same: it moves with each registration.
                if std::mem::replace(&mut last, number) != number {
                    signs.give();
                }
                index.take(number, asked.elapsed())
            }
            Err(error) => return tell(&news, News::Failed(error)).await,
        };
        tokio::time::sleep(pause).await;
    }
}

/// Reads the catalog's names at fixed times.
pub(super) async fn pulse(client: Arc<Client>, news: Outbox) {
    let mut times = tokio::time::interval_at(Instant::now() + PULSE, PULSE);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        match client.services(0).await.and_then(|answer| listing(&client, answer)) {
            Ok(names) => tell(&news, News::Listing(names)).await,
            Err(error) => return tell(&news, News::Failed(error)).await,
        }
    }
}

/// Watches one service by a blocking query.
pub(super) async fn service(client: Arc<Client>, name: Arc<str>, news: Outbox) {
    let (mut index, mut last) = (Index::default(), None);
    loop {
        let asked = Instant::now();
        let pause = match evidence::read(&client, &name, index.after()).await {
            Ok(believed) => {
                // A return is no proof of change: an output text, a node's check, another service's end.
                if last.as_ref() != Some(&believed.reading) {
                    last = Some(believed.reading.clone());
                    tell(&news, News::Service(name.clone(), believed.reading)).await;
                }
                index.take(believed.index, asked.elapsed())
            }
            Err(error) => return tell(&news, News::Failed(error)).await,
        };
        tokio::time::sleep(pause).await;
    }
}

/// Asks a service that the catalog does not list any more.
pub(super) async fn verdict(client: Arc<Client>, name: Arc<str>, news: Outbox) {
    match evidence::read(&client, &name, 0).await {
        Ok(believed) => {
            let gone = believed.reading.is_nothing() && !believed.filtered;
            let verdict = if gone { Verdict::Gone } else { Verdict::Kept };
            tell(&news, News::Verdict(name, verdict)).await;
        }
        Err(error) => tell(&news, News::Failed(error)).await,
    }
}

/// Tells the session.
pub(super) async fn tell(news: &Outbox, item: News) {
    // Fails only when the session has ended, which ends this task too.
    let _ = news.send(item).await;
}

fn listing(client: &Client, answer: Answer) -> Result<Names, RegistryError> {
    let listing = record::listing(&answer.body, &client.scope).map_err(|what| client.malformed(what, &answer.body))?;
    match (listing.any, answer.filtered) {
        (true, filtered) => {
            if filtered {
                client.memory.note_part(&client.address(), "/v1/catalog/services");
            }
            Ok(Names {
                listing,
                index: answer.index,
                filtered,
            })
        }
        (false, true) => {
            let what = "the token sees no service at all: it needs service:read".to_owned();
            Err(client.denied(what))
        }
        // Consul registers itself as `consul`. A server that lists nothing is still starting, or hides
        // everything from us in a version that does not say so.
        (false, false) => Err(client.not_ready(
            "it lists no service, not even itself: it is still starting, or the ACL token lacks service:read"
                .to_owned(),
        )),
    }
}
