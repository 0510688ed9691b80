//! A book with a clock and a bell: for everyone who changes it, reads it, waits on it or saves it.
//!
//! A *book* is the state of a registry without a clock and without a socket:
//! [`eureka::book`](crate::eureka::book) and [`consul::book`](super::consul::book).

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use tokio::sync::watch;

/// A moment by two clocks, both in ms: one that only goes forward, and the one on the wall (since 1970).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// For leases and windows.
    pub steady: u64,
    /// For the timestamps in records.
    pub wall: i64,
}

/// State that counts its changes.
pub trait Versioned: Send + 'static {
    /// Grows with every change that readers can see.
    fn version(&self) -> u64;
}

/// A book with a clock, shared by everyone who answers from it.
pub struct Shared<B> {
    book: Mutex<B>,
    started: Instant,
    version: watch::Sender<u64>,
    writes: AtomicU64,
}

impl<B: Versioned> Shared<B> {
    /// With this state.
    pub fn new(book: B) -> Arc<Self> {
        Arc::new(Self {
            version: watch::Sender::new(book.version()),
            book: Mutex::new(book),
            started: Instant::now(),
            writes: AtomicU64::new(0),
        })
    }

    /// The moment it is.
    pub fn now(&self) -> Moment {
        Moment {
            steady: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall: wall_clock(),
        }
    }

    /// Looks at the book.
    pub fn read<T>(&self, look: impl FnOnce(&B) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the book for a client, and wakes those who wait if there is something new to see.
    pub fn write<T>(&self, change: impl FnOnce(&mut B, Moment) -> T) -> T {
        self.writes.fetch_add(1, Relaxed);
        self.tend(change)
    }

    /// As [`write`](Self::write), for work of our own: it counts as a change only if the version moves.
    pub fn tend<T>(&self, change: impl FnOnce(&mut B, Moment) -> T) -> T {
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

    /// Differs from an earlier answer if anything that is worth saving has happened since, renewals included.
    pub fn mark(&self) -> (u64, u64) {
        (self.writes.load(Relaxed), *self.version.borrow())
    }

    // No operation of a book leaves it half changed, and one that panicked must not silence a registry.
    fn lock(&self) -> MutexGuard<'_, B> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> fmt::Debug for Shared<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Milliseconds since 1970.
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
