//! What of the book is kept over a restart.

use serde::{Deserialize, Serialize};

use super::{Book, Held, Key, Owner};
use crate::facade::{nacos::record::Record, shared::Moment};

/// The book on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The last version that was given out.
    pub version: u64,
    /// Everything that clients registered.
    #[serde(default)]
    instances: Vec<SavedInstance>,
}

impl Saved {
    /// Whether nobody was registered.
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedInstance {
    #[serde(flatten)]
    key: Key,
    /// Kept by beats over HTTP, not by a connection.
    beats: bool,
    record: Record,
}

impl Book {
    /// What is worth keeping: nothing that is mirrored.
    pub fn saved(&self) -> Saved {
        let mut instances = Vec::new();
        for (key, service) in &self.services {
            for (owner, held) in service.owners.iter().filter(|(owner, _)| **owner != Owner::Mirror) {
                instances.extend(held.values().map(|held| SavedInstance {
                    key: key.clone(),
                    beats: *owner == Owner::Beats,
                    record: held.record.clone(),
                }));
            }
        }
        Saved {
            version: self.version,
            instances,
        }
    }

    /// Fills an empty book; says how many records cannot be read any more. Beats are due anew from now on. What was on a connection is
    /// left behind by it: it stands until its client is back, or for its `ipDeleteTimeout`.
    pub fn restore(&mut self, saved: Saved, now: Moment) -> usize {
        let mut lost = 0;
        for SavedInstance { key, beats, record } in saved.instances {
            let key = Key::new(&key.namespace, &key.group, &key.service, &self.limits);
            let (Ok(key), Ok(())) = (key, record.check(&self.limits)) else {
                lost += 1;
                continue;
            };
            let owner = if beats { Owner::Beats } else { Owner::Left };
            let seen = now.steady;
            self.change(&key, now, |service| {
                let held = service.owners.entry(owner).or_default();
                held.insert(record.id(), Held { record, seen });
            });
        }
        lost
    }
}
