//! Counters spread over cache lines, so that threads do not wait for each other's.

use std::{
    cell::Cell,
    sync::OnceLock,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// A value per shard; every thread uses one shard, threads beyond the number of shards share.
#[derive(Debug)]
pub struct Sharded<T>(Box<[Shard<T>]>);

/// On lines of its own. Two lines, since processors fetch neighbours in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard<T>(T);

/// As many shards as processors, up to this: beyond it memory costs more than sharing.
const MOST_SHARDS: usize = 8;

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self((0..shards()).map(|_| Shard::default()).collect())
    }
}

impl<T> Sharded<T> {
    /// The calling thread's shard.
    pub fn mine(&self) -> &T {
        // The number of shards is a power of two and never 0.
        &self.0[this_thread() & (self.0.len() - 1)].0
    }

    /// All shards.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }
}

fn shards() -> usize {
    static SHARDS: OnceLock<usize> = OnceLock::new();
    *SHARDS.get_or_init(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        processors.next_power_of_two().min(MOST_SHARDS)
    })
}

/// A number of the calling thread, dealt in turn.
fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Relaxed) & (usize::MAX >> 1));
        }
        mine.get()
    })
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Sharded<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.mine().fetch_add(count, Relaxed);
    }

    /// The sum.
    pub fn get(&self) -> u64 {
        self.0.all().map(|shard| shard.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_many_threads_add_up() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..1000).for_each(|_| counter.increment()));
            }
        });
        assert_eq!(counter.get(), 20_000);
    }
}
