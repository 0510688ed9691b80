//! One reading of a service, and the evidence that what it lacks is gone.
//!
//! ```text
//! health, waiting ─┬ lacks nothing ───────────────────────────────────────────────────▶ believed
//!                  └ lacks some ─▶ health, now ─▶ the same index as with them? ──▶ contradiction ─┐
//!                        ▲                      └▶ the node of each: ─┬ has it ──▶ contradiction ─┤
//!                        │                                            ├ hidden ──▶ Denied         │
//!                        │                                            └ has it not ─▶ believed    │
//!                        └── after 50 ms, after 200 ms; then Malformed ◀──────────────────────────┘
//! ```
//!
//! An answer with fewer entries is well formed, so only other evidence can tell a good-bye from half an answer:
//!
//! - Consul raises a query's index with each change of its result (agent/consul/state: index and content are read
//!   in one transaction), so other content at the same index is no knowledge. This is asked only within a session:
//!   servers that were replaced count anew.
//! - The catalog's list of a node is another table by another key, and is asked for one instance at a time, which
//!   leaves nothing to halve. It also tells what our rights hide: the answer that waits does not
//!   (`X-Consul-Results-Filtered-By-ACLs` is missing in streamed answers).
//! - An instance that was registered again between two of these questions looks like a contradiction, as does a
//!   follower that lags. So everything is asked anew before the session ends.
//!
//! An answer that lacks nothing costs nothing more, and a good-bye two round trips.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::StreamExt as _;

use super::{
    client::Client,
    memory::Known,
    record::{self, Health, Id, Reading},
};
use crate::registry::RegistryError;

/// Before everything is asked anew.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];
/// Instances asked about for one answer. Of more that are lacking as many are asked about, evenly: of a list that
/// lost half, any of them shows it.
const MOST_ASKED: usize = 32;
const ASKED_AT_ONCE: usize = 8;

/// A reading that is believed.
pub(super) struct Believed {
    /// Of the answer.
    pub(super) index: u64,
    /// What it says.
    pub(super) reading: Arc<Reading>,
    /// Our rights hid something, as far as the answer tells.
    pub(super) filtered: bool,
}

/// An answer that is not believed yet.
struct Said {
    index: u64,
    filtered: bool,
    heard: SystemTime,
    health: Health,
    body: Vec<u8>,
}

/// Reads a service; `after` 0 at once. What is remembered of it and lacking was seen to be gone.
pub(super) async fn read(client: &Client, name: &Arc<str>, after: u64) -> Result<Believed, RegistryError> {
    let known = client.memory.known(name);
    let mut said = ask(client, name, after).await?;
    let (heard, mut waited) = (said.heard, after > 0);
    let mut pauses = PAUSES.into_iter();
    loop {
        let nothing = said.health.reading.is_nothing();
        let lacking = known.lacking(&said.health);
        if waited && (nothing || !lacking.is_empty()) {
            let mut now = ask(client, name, 0).await?;
            if now.health == said.health {
                // The index that goes with the query that waits; a streamed answer's may be another one.
                now.index = said.index;
            }
            (said, waited) = (now, false);
            continue;
        }
        if nothing && said.filtered && lacking.is_empty() && !known.partly {
            // Empty because of our rights is not empty.
            let what = format!(
                "the token hides every instance of `{name}`: grant it node:read and service:read, or leave the \
                 service out with `consul.exclude`"
            );
            return Err(client.denied(what));
        }
        let Some(contradiction) = contradiction(client, name, &known, &said, &lacking).await? else {
            if said.filtered {
                client.memory.note_part(&client.address(), name);
            }
            let partly = if waited { known.partly } else { said.filtered };
            return Ok(believe(client, name, &known, said, partly, heard));
        };
        let Some(pause) = pauses.next() else {
            return Err(client.malformed(contradiction, &said.body));
        };
        tracing::debug!(service = %name, contradiction, "asked anew");
        tokio::time::sleep(pause).await;
        said = ask(client, name, 0).await?;
        waited = false;
    }
}

async fn ask(client: &Client, name: &Arc<str>, after: u64) -> Result<Said, RegistryError> {
    let answer = client.health(name, after).await?;
    match record::health(name, &answer.body, &client.scope) {
        Ok(health) => Ok(Said {
            index: answer.index,
            filtered: answer.filtered,
            heard: answer.heard,
            health,
            body: answer.body,
        }),
        Err(what) => Err(client.malformed(what, &answer.body)),
    }
}

fn believe(client: &Client, name: &Arc<str>, known: &Known, said: Said, partly: bool, heard: SystemTime) -> Believed {
    let mut reading = said.health.reading;
    // What is read for the first time, and what changed between two sessions, has changed nobody knows when.
    reading.note_changes(known.reading.as_deref(), known.index.map(|_| heard));
    let reading = Arc::new(reading);
    let mut ids = said.health.read;
    if said.health.nameless {
        ids.extend(known.ids.iter().cloned());
    }
    let now = Known {
        ids,
        index: Some(said.index),
        partly,
        reading: Some(reading.clone()),
    };
    client.memory.believe(name, now);
    Believed {
        index: said.index,
        reading,
        filtered: said.filtered,
    }
}

/// Why what an answer lacks is not gone, if anything says so.
async fn contradiction(
    client: &Client,
    name: &Arc<str>,
    known: &Known,
    said: &Said,
    lacking: &[Id],
) -> Result<Option<String>, RegistryError> {
    let Some(first) = lacking.first() else {
        return Ok(None);
    };
    // Rights are no part of the index.
    if known.index == Some(said.index) && !said.filtered {
        let more = match lacking.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        return Ok(Some(format!(
            "half an answer: /v1/health/service/{name} lacks {first}{more} at index {}, at which it had them",
            said.index
        )));
    }
    let nothing = said.health.reading.is_nothing();
    let some = lacking.iter().step_by(lacking.len().div_ceil(MOST_ASKED));
    let some: Vec<Id> = some.cloned().collect();
    let looks = futures_util::stream::iter(some).map(|id| async move { still_there(client, name, &id, nothing).await });
    let mut looks = std::pin::pin!(looks.buffer_unordered(ASKED_AT_ONCE));
    while let Some(found) = looks.next().await {
        if let Some(text) = found? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Says so if the catalog has the instance on its node. `nothing`: the health answer shows nobody of this service.
async fn still_there(
    client: &Client,
    name: &Arc<str>,
    id: &Id,
    nothing: bool,
) -> Result<Option<String>, RegistryError> {
    let answer = client.on_node(&id.node, &id.service).await?;
    let node = record::on_node(&id.node, &answer.body).map_err(|what| client.malformed(what, &answer.body))?;
    if node.has(&id.service, name) {
        return Ok(Some(format!(
            "half an answer: /v1/health/service/{name} lacks {id}, and /v1/catalog/node-services/{} has it",
            id.node
        )));
    }
    // Of a node that is shown, something else may be hidden; not this service, as long as others of it are seen.
    if answer.filtered && (nothing || !node.shows_node()) {
        let what = format!(
            "the token no longer sees the instance `{}` of `{name}` on the node `{}`: grant it node:read there and \
             service:read on `{name}`, or leave the service out with `consul.exclude`",
            id.service, id.node
        );
        return Err(client.denied(what));
    }
    Ok(None)
}
