//! Durations in fixed buckets: 1, 2.5, 5 of each power of ten from 100 µs to a minute.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::counter::Sharded;

/// Upper bounds in microseconds, with the text Prometheus shows for them (seconds).
pub const BOUNDS: [(u64, &str); 18] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// Counts of durations, spread over shards.
#[derive(Debug, Default)]
pub struct Histogram(Sharded<Buckets>);

/// One shard's counts; the last bucket has no bound.
#[derive(Debug, Default)]
pub struct Buckets {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Per bucket, not summed up; the last has no bound.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Of all durations, in microseconds.
    pub sum_micros: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        self.0.mine().observe(took);
    }

    /// What has been counted.
    pub fn read(&self) -> Reading {
        read(self.0.all())
    }
}

impl Buckets {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }
}

/// The sum over shards.
pub fn read<'b>(shards: impl Iterator<Item = &'b Buckets>) -> Reading {
    shards.fold(Reading::default(), |mut reading, shard| {
        for (total, count) in reading.counts.iter_mut().zip(&shard.counts) {
            *total += count.load(Relaxed);
        }
        reading.sum_micros = reading.sum_micros.wrapping_add(shard.sum_micros.load(Relaxed));
        reading
    })
}

impl Reading {
    /// How many durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The upper bound of the bucket that holds this share (0 to 1) of the durations: a percentile, rounded up.
    /// `None` if there is none or it lies beyond a minute.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (count, (bound, _)) in self.counts.iter().zip(&BOUNDS) {
            seen += count;
            if seen >= wanted {
                return Some(Duration::from_micros(*bound));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 60_000_000, 60_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let reading = histogram.read();
        assert_eq!((reading.counts[0], reading.counts[1]), (2, 1));
        assert_eq!((reading.counts[17], reading.counts[18]), (1, 1));
        assert_eq!(reading.count(), 5);
        assert_eq!(reading.sum_micros, 120_000_202);
        assert_eq!(reading.quantile(0.5), Some(Duration::from_micros(250)));
        assert_eq!(reading.quantile(1.0), None);
    }
}
