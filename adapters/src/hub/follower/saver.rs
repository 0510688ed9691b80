//! The last good view goes to disk: when it changes, at most each second; once a minute when it does not; and at the end.

use std::time::{Duration, SystemTime};

use tokio::{task::JoinHandle, time::Instant};
use tracing::warn;

use super::Running;
use crate::store::{LastGood, StoreError};

/// The last good view is written at most this often when it changes …
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// … and this often when it does not, to say that it is still good.
const SAVE_AGAIN: Duration = Duration::from_secs(60);

/// When the last good view was written, and what is under way.
#[derive(Default)]
pub(super) struct Saver {
    pub(super) due: bool,
    last: Option<Instant>,
    under_way: Option<JoinHandle<Result<(), StoreError>>>,
    failing: bool,
}

impl Running {
    /// Only what a live session says is good; it is written when it changes, and from time to time when it does not.
    pub(super) fn save_at(&self) -> Option<Instant> {
        if self.follower.store.is_none() || self.saver.under_way.is_some() || !self.ledger.is_live() {
            return None;
        }
        Some(match self.saver.last {
            None => Instant::now(),
            Some(last) if self.saver.due => last + SAVE_AFTER,
            Some(last) => last + SAVE_AGAIN,
        })
    }

    pub(super) fn start_saving(&mut self) {
        let Some(store) = self.follower.store.clone() else {
            return;
        };
        let (kind, address) = self.ledger.place();
        let name = self.follower.name.clone();
        let view = LastGood::new(
            name,
            kind,
            address.to_owned(),
            SystemTime::now(),
            self.ledger.services(),
        );
        self.saver.due = false;
        self.saver.last = Some(Instant::now());
        self.saver.under_way = Some(tokio::task::spawn_blocking(move || store.save(&view)));
    }

    pub(super) fn saved(&mut self, result: Result<(), StoreError>) {
        match result {
            Ok(()) => self.saver.failing = false,
            Err(error) => {
                self.follower.figures.store_failed();
                self.saver.due = true;
                if !std::mem::replace(&mut self.saver.failing, true) {
                    warn!(registry = %self.follower.name, %error, "the last good view cannot be written; a restart would start from an older one");
                }
            }
        }
    }

    pub(super) async fn save_now(&mut self) {
        if self.saver.under_way.is_some() {
            let result = self.saver.finished().await;
            self.saved(result);
        }
        if self.follower.store.is_some() && self.ledger.is_live() {
            self.start_saving();
            let result = self.saver.finished().await;
            self.saved(result);
        }
    }
}

impl Saver {
    /// Waits for the write under way; for ever if there is none.
    pub(super) async fn finished(&mut self) -> Result<(), StoreError> {
        let Some(task) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let result = task.await;
        self.under_way = None;
        result.unwrap_or_else(|stopped| Err(StoreError::interrupted(stopped)))
    }
}
