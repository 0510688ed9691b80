//! Who waits for which reply: ids of our own on the shared connection, each with its caller.
//!
//! ```text
//!  caller a, its id 7 ─▶ open ─▶ 41 ──▶ endpoint
//!  caller b, its id 7 ─▶ open ─▶ 42 ──▶ endpoint
//!             b ◀─ close(42) ◀── 42 ◀── endpoint     in any order
//!               nobody ◀─ close(42) ◀── 42           again, or after its caller has gone: dropped
//! ```
//!
//! An id is used once in the life of a connection, so a late reply can never reach another caller.
//!
//! No caller has a timer of its own: to set one and take it back costs more than all else here, and hardly any ever goes
//! off. One alarm for the connection is set for the first whose time may run out; when it goes off,
//! [`late`](Pending::late) finds who has waited long enough, and it is set for the next.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use tokio::time::Instant;

use crate::moment::mix;

/// The callers of one connection.
#[derive(Debug)]
pub(super) struct Pending<T> {
    last: u64,
    /// `None` once the connection takes no calls any more.
    waiting: Option<HashMap<u64, Waiter<T>, BuildHasherDefault<IdHasher>>>,
    /// When somebody's time may run out, at the earliest; `None` if nobody's can.
    alarm: Option<Instant>,
}

#[derive(Debug)]
struct Waiter<T> {
    caller: T,
    /// How long it waits; `None` is for ever.
    due: Option<Instant>,
}

/// Hashes ids of ours, which nobody else chooses.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = mix(id);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            last: 0,
            waiting: Some(HashMap::default()),
            alarm: None,
        }
    }
}

impl<T> Pending<T> {
    /// An id that nobody has had; the caller waits under it, until `due` if that is given. `None` after the end.
    pub(super) fn open(&mut self, caller: T, due: Option<Instant>) -> Option<u64> {
        let id = self.next()?;
        self.waiting.as_mut()?.insert(id, Waiter { caller, due });
        Some(id)
    }

    /// Has the alarm go off at that time at the latest; whether it was to go off later before, or never.
    pub(super) fn rouse_by(&mut self, due: Instant) -> bool {
        let sooner = self.alarm.is_none_or(|alarm| due < alarm);
        if sooner {
            self.alarm = Some(due);
        }
        sooner
    }

    /// When to look for [the late](Self::late).
    pub(super) fn alarm(&self) -> Option<Instant> {
        self.alarm
    }

    /// Whose time has run out: they wait no more. The alarm is set for the next whose time will.
    pub(super) fn late(&mut self, now: Instant) -> Vec<T> {
        let Some(waiting) = &mut self.waiting else {
            return Vec::new();
        };
        let late = waiting.extract_if(|_, waiter| waiter.due.is_some_and(|due| due <= now));
        let late = late.map(|(_, waiter)| waiter.caller).collect();
        self.alarm = waiting.values().filter_map(|waiter| waiter.due).min();
        late
    }

    /// An id for what nobody waits for. `None` after the end.
    pub(super) fn next(&mut self) -> Option<u64> {
        self.waiting.as_ref()?;
        self.last += 1;
        Some(self.last)
    }

    /// Who waits for this reply, if anybody does; it waits no more.
    pub(super) fn close(&mut self, id: u64) -> Option<T> {
        Some(self.waiting.as_mut()?.remove(&id)?.caller)
    }

    /// Ends it: nobody waits any more, and no id is given out. Gives those who waited, with their ids.
    pub(super) fn end(&mut self) -> Vec<(u64, T)> {
        let waiting = self.waiting.take().into_iter().flatten();
        waiting.map(|(id, waiter)| (id, waiter.caller)).collect()
    }

    /// Ends it if nobody waits; whether it has ended.
    pub(super) fn end_if_idle(&mut self) -> bool {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_empty()) {
            self.waiting = None;
        }
        self.has_ended()
    }

    /// Whether it takes no calls any more.
    pub(super) fn has_ended(&self) -> bool {
        self.waiting.is_none()
    }

    /// How many wait.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What can happen on a connection.
    #[derive(Clone, Debug)]
    enum Step {
        Call,
        /// The reply to one of the ids given out so far, in any order and perhaps again.
        Reply(prop::sample::Index),
        /// The caller of one of them goes.
        Leave(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Call),
            2 => any::<prop::sample::Index>().prop_map(Step::Reply),
            1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn every_reply_reaches_its_own_caller_once_or_nobody(steps in steps()) {
            let mut pending = Pending::default();
            // By our id: the caller, and whether it waits still.
            let mut calls: Vec<(u64, u32, bool)> = Vec::new();
            for (caller, step) in (0..).zip(steps) {
                match step {
                    Step::Call => {
                        let id = pending.open(caller, None).unwrap();
                        prop_assert!(calls.iter().all(|(known, ..)| *known != id), "an id is given out once");
                        calls.push((id, caller, true));
                    }
                    Step::Reply(index) | Step::Leave(index) if !calls.is_empty() => {
                        let (id, caller, waits) = index.get(&calls);
                        let expected = waits.then_some(*caller);
                        prop_assert_eq!(pending.close(*id), expected);
                        let at = index.index(calls.len());
                        calls[at].2 = false;
                    }
                    Step::Reply(_) | Step::Leave(_) => {}
                }
                prop_assert_eq!(pending.len(), calls.iter().filter(|call| call.2).count());
            }
            let mut left = pending.end();
            left.sort_unstable();
            let mut expected: Vec<_> = calls.iter().filter(|call| call.2).map(|call| (call.0, call.1)).collect();
            expected.sort_unstable();
            prop_assert_eq!(left, expected);
            prop_assert_eq!(pending.open(0, None), None);
            prop_assert_eq!(pending.next(), None);
        }
    }

    #[test]
    fn a_connection_with_a_call_is_not_idle() {
        let mut pending = Pending::default();
        let id = pending.open('a', None).unwrap();
        assert!(!pending.end_if_idle());
        pending.close(id);
        assert!(pending.end_if_idle() && pending.has_ended());
    }

    #[test]
    fn whose_time_has_run_out_is_found_once_and_the_alarm_is_set_for_the_next() {
        let start = Instant::now();
        let at = |seconds| start + std::time::Duration::from_secs(seconds);
        let mut pending = Pending::default();
        let mut open = |caller, due: Option<u64>| {
            let sooner = due.is_some_and(|due| pending.rouse_by(at(due)));
            (pending.open(caller, due.map(at)).unwrap(), sooner)
        };
        let (_, sooner) = open('a', Some(3));
        assert!(sooner, "there was no alarm");
        let (answered, sooner) = open('b', Some(5));
        assert!(!sooner);
        open('c', None);
        let (_, sooner) = open('d', Some(2));
        assert!(sooner);
        open('e', Some(9));
        assert_eq!(pending.alarm(), Some(at(2)));
        assert_eq!(pending.late(at(1)), []);
        let mut late = pending.late(at(3));
        late.sort_unstable();
        assert_eq!((late, pending.alarm()), (vec!['a', 'd'], Some(at(5))));
        assert_eq!(pending.close(answered), Some('b'));
        assert_eq!((pending.late(at(5)), pending.alarm()), (vec![], Some(at(9))));
        assert_eq!((pending.late(at(9)), pending.alarm()), (vec!['e'], None));
        assert_eq!(pending.len(), 1, "one waits for ever");
    }
}
