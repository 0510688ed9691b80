//! A [`Book`] with a clock and a bell: for everyone who changes it, reads it or follows it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use tokio::sync::watch;

use super::book::{Book, Limits, Moment};

/// A book with a clock, shared by everyone who answers from it.
#[derive(Debug)]
pub struct Shared {
    book: Mutex<Book>,
    started: Instant,
    version: watch::Sender<u64>,
}

impl Shared {
    /// An empty registry.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            book: Mutex::new(Book::new(limits)),
            started: Instant::now(),
            version: watch::Sender::new(0),
        })
    }

    /// The moment it is.
    pub fn now(&self) -> Moment {
        let wall = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Moment {
            steady: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Looks at the book.
    pub fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the book, and wakes those who follow if there is something new to see.
    pub fn write<T>(&self, change: impl FnOnce(&mut Book, Moment) -> T) -> T {
        let mut book = self.lock();
        let result = change(&mut book, self.now());
        let version = book.version();
        self.version
            .send_if_modified(|seen| std::mem::replace(seen, version) != version);
        result
    }

    /// The book's version, as it changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    // No operation of the book leaves it half changed, and one that panicked must not silence a registry.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
