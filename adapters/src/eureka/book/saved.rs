//! What of the book is kept over a restart.

use landfall_model::Status;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Book, Moment, lease::Lease};
use crate::eureka::wire::{Format, exact_status, read, write};

/// The book on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    version: u64,
    leases: Vec<SavedLease>,
    /// Instance id, status, and for how long it has not been asked for (ms).
    overrides: Vec<(String, String, u64)>,
}

/// A lease on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedLease {
    /// How long it stood without another heartbeat, ms.
    remaining: u64,
    /// As in an answer to a client: `{"instance":{…}}`.
    record: Box<RawValue>,
}

impl Saved {
    /// Whether nobody was registered.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}

impl Book {
    /// What is worth keeping: nothing that is mirrored.
    pub fn saved(&self, now: Moment) -> Saved {
        let leases = self.applications.values().flat_map(|leases| leases.values());
        let leases = leases.filter(|lease| !lease.mirrored).filter_map(|lease| {
            let record = String::from_utf8(write::instance(&lease.info, Format::Json)).ok()?;
            Some(SavedLease {
                remaining: lease.remaining(now),
                record: RawValue::from_string(record).ok()?,
            })
        });
        let overrides = self
            .overrides
            .iter()
            .map(|(id, (status, used))| (id.clone(), status.as_str().to_owned(), now.steady.saturating_sub(*used)));
        Saved {
            version: self.version,
            leases: leases.collect(),
            overrides: overrides.collect(),
        }
    }

    /// Fills an empty book with what was saved `ago` ms before. Every lease stands for at least one duration from
    /// now on: nobody is taken out because we were not there to be told. Records that cannot be read are left out
    /// and counted.
    pub fn restore(&mut self, saved: &Saved, ago: u64, now: Moment) -> usize {
        let mut lost = 0;
        for one in &saved.leases {
            let Ok(info) = read::instance(one.record.get().as_bytes(), Format::Json) else {
                lost += 1;
                continue;
            };
            let (app, id, before) = (info.app.to_uppercase(), info.instance_id.clone(), info.clone());
            if self.register(&app, info, now).is_err() {
                lost += 1;
                continue;
            }
            if let Some(lease) = self.lease_mut(&app, &id) {
                // As it stood, and not as a registration of now makes it.
                let mut restored = Lease::new(before.clone(), Some(before.lease), now);
                restored.info = before;
                restored.stand_for(one.remaining.saturating_sub(ago), now);
                *lease = restored;
            }
        }
        for (id, word, unused) in &saved.overrides {
            let used = now
                .steady
                .saturating_sub(unused.saturating_add(ago).min(super::OVERRIDE_LIFE));
            if let Some(status) = exact_status(word).filter(|status| *status != Status::Unknown) {
                self.overrides.insert(id.clone(), (status, used));
            }
        }
        // Nobody asks for changes since a moment before we were there: who does, sees that the hash disagrees.
        self.recent.clear();
        self.version = self.version.max(saved.version.saturating_add(1000));
        lost
    }

    /// The last version that was given out, when it was saved.
    pub fn saved_version(saved: &Saved) -> u64 {
        saved.version
    }
}
