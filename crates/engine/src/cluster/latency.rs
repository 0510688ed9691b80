//! Peak EWMA: the mean latency of an endpoint, quick to rise and slow to fall, in one atomic.
//!
//! The idea is Finagle's: a slow answer raises the mean at once, quick ones lower it with a time constant, and
//! silence lets it fall so that an endpoint that was slow once is asked again.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::moment::Moment;

/// After this time a sample counts for 1/e of what it did.
const TIME_CONSTANT: Duration = Duration::from_secs(10);

/// Mean latency in microseconds as `f32` bits above, the millisecond of the last sample (wrapping) below.
/// Zero: no sample yet.
#[derive(Debug, Default)]
pub struct Latency(AtomicU64);

impl Latency {
    /// Takes in how long an answer took.
    pub fn sample(&self, took: Duration, now: Moment) {
        let sample = (took.as_secs_f64() * 1e6).clamp(1.0, 1e12) as f32;
        let update = |packed: u64| {
            let mean = match decayed(packed, now) {
                Some(mean) if sample < mean => {
                    let kept = (-(elapsed(packed, now).as_secs_f32() / TIME_CONSTANT.as_secs_f32())).exp();
                    let undecayed = f32::from_bits((packed >> 32) as u32);
                    undecayed * kept + sample * (1.0 - kept)
                }
                _ => sample,
            };
            Some(pack(mean.max(1.0), now))
        };
        // The closure always returns Some, so this cannot fail.
        let _ = self.0.fetch_update(Relaxed, Relaxed, update);
    }

    /// The mean in microseconds as it stands now; `None` before the first sample.
    pub fn mean(&self, now: Moment) -> Option<f32> {
        decayed(self.0.load(Relaxed), now)
    }
}

fn pack(mean: f32, now: Moment) -> u64 {
    u64::from(mean.to_bits()) << 32 | (now.nanos() / 1_000_000) & 0xffff_ffff
}

fn decayed(packed: u64, now: Moment) -> Option<f32> {
    if packed == 0 {
        return None;
    }
    let mean = f32::from_bits((packed >> 32) as u32);
    let elapsed = elapsed(packed, now);
    // Between the answers of a busy endpoint nothing worth an exponential happens.
    if elapsed < Duration::from_millis(100) {
        return Some(mean);
    }
    Some(mean * (-(elapsed.as_secs_f32() / TIME_CONSTANT.as_secs_f32())).exp())
}

/// Since the last sample; the counter wraps after 49 days, and a sample from another thread's future is now.
fn elapsed(packed: u64, now: Moment) -> Duration {
    let passed = ((now.nanos() / 1_000_000) as u32).wrapping_sub(packed as u32);
    Duration::from_millis(u64::from(if passed > u32::MAX / 2 { 0 } else { passed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_nanos(1_000_000_000_000);

    #[test]
    fn the_mean_rises_at_once_and_falls_slowly() {
        let latency = Latency::default();
        assert_eq!(latency.mean(START), None);
        latency.sample(Duration::from_millis(1), START);
        latency.sample(Duration::from_millis(100), START);
        assert_eq!(latency.mean(START), Some(100_000.0));
        let soon = START.after(Duration::from_secs(1));
        latency.sample(Duration::from_millis(1), soon);
        let mean = latency.mean(soon).unwrap();
        assert!((85_000.0..95_000.0).contains(&mean), "{mean}");
    }

    #[test]
    fn a_slow_endpoint_is_forgiven_in_silence() {
        let latency = Latency::default();
        latency.sample(Duration::from_secs(5), START);
        let mean = latency.mean(START.after(Duration::from_secs(100))).unwrap();
        assert!(mean < 1000.0, "{mean}");
    }
}
