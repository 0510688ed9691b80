//! Points in time that fit in an atomic, and chance that can be replayed.
//!
//! What decides by time or chance takes both as arguments, so that a test can hand in its own.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A point of the monotonic clock, in nanoseconds; later than [`Moment::NEVER`] whenever it comes from the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

/// The clock of this process starts here, so that `Moment(0)` is never now.
const START: u64 = 1_000_000_000_000;

impl Moment {
    /// Before everything.
    pub const NEVER: Self = Self(0);

    /// Now.
    pub fn now() -> Self {
        static BASE: OnceLock<Instant> = OnceLock::new();
        let passed = BASE.get_or_init(Instant::now).elapsed();
        Self(START + u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX - START))
    }

    /// From [`Moment::nanos`].
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// For keeping in an atomic.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds, for windows that are counted by the second.
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Later by `duration`.
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// A small stream of chance from one number (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed throws the same numbers.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        scale(self.bits(), bound)
    }
}

/// Spreads every input bit over all output bits (the finalizer of SplitMix64); a bijection.
pub const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Maps 64 random bits evenly to a number below `bound`.
pub const fn scale(random: u64, bound: u64) -> u64 {
    ((random as u128 * bound as u128) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_after_never_and_does_not_run_backwards() {
        let first = Moment::now();
        let second = Moment::now();
        assert!(Moment::NEVER < first && first <= second);
        assert_eq!(first.since(second.after(Duration::from_secs(1))), Duration::ZERO);
    }

    #[test]
    fn dice_stay_below_the_bound_and_reach_every_side() {
        let mut dice = Dice::new(7);
        let mut seen = [0_u32; 6];
        for _ in 0..6000 {
            seen[usize::try_from(dice.below(6)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    }
}
