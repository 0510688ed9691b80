//! Fault: which calls are delayed or ended on purpose.

use std::time::Duration;

use landfall_codec::dubbo2::Status;
use landfall_model::rules::DubboFault;

use crate::moment::scale;

/// Faults of a rule. Each is drawn by itself.
#[derive(Debug, Default)]
pub struct Faults {
    source: DubboFault,
}

impl Faults {
    pub(super) fn new(source: DubboFault) -> Self {
        Self { source }
    }

    /// How long the call that drew this number waits, if it does.
    pub fn delay(&self, random: u64) -> Option<Duration> {
        let (delay, fraction) = self.source.delay?;
        is_drawn(fraction, random).then_some(delay)
    }

    /// What the call that drew this number is answered with, if it is.
    pub fn abort(&self, random: u64) -> Option<Status> {
        let (status, fraction) = self.source.abort?;
        is_drawn(fraction, random).then_some(Status(status))
    }

    /// The status of every call, if none gets through.
    pub fn ends_all(&self) -> Option<Status> {
        let (status, (part, all)) = self.source.abort?;
        (part >= all).then_some(Status(status))
    }
}

fn is_drawn((numerator, denominator): (u32, u32), random: u64) -> bool {
    scale(random, u64::from(denominator.max(1))) < u64::from(numerator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Dice;

    #[test]
    fn each_fault_meets_its_share_of_calls_whatever_the_other_does() {
        let faults = Faults::new(DubboFault {
            delay: Some((Duration::from_millis(5), (1, 4))),
            abort: Some((70, (1, 2))),
        });
        let mut dice = Dice::new(7);
        let (mut delayed, mut aborted, mut both) = (0, 0, 0);
        for _ in 0..10_000 {
            let (delay, abort) = (faults.delay(dice.bits()), faults.abort(dice.bits()));
            assert!(delay.is_none_or(|delay| delay == Duration::from_millis(5)));
            assert!(abort.is_none_or(|status| status == Status::SERVICE_ERROR));
            delayed += u32::from(delay.is_some());
            aborted += u32::from(abort.is_some());
            both += u32::from(delay.is_some() && abort.is_some());
        }
        assert!((2300..2700).contains(&delayed), "{delayed}");
        assert!((4800..5200).contains(&aborted), "{aborted}");
        assert!((1100..1400).contains(&both), "{both}");
        assert_eq!(faults.ends_all(), None);
    }

    #[test]
    fn a_rule_without_faults_has_none_and_one_may_end_all() {
        let none = Faults::default();
        assert_eq!((none.delay(0), none.abort(0), none.ends_all()), (None, None, None));
        let all = Faults::new(DubboFault {
            delay: None,
            abort: Some((80, (100, 100))),
        });
        assert_eq!(all.abort(u64::MAX), Some(Status::SERVER_ERROR));
        assert_eq!(all.ends_all(), Some(Status::SERVER_ERROR));
    }
}
