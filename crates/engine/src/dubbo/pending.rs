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

use std::collections::HashMap;

/// The callers of one connection.
#[derive(Debug)]
pub(super) struct Pending<T> {
    last: u64,
    /// `None` once the connection takes no calls any more.
    waiting: Option<HashMap<u64, T>>,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            last: 0,
            waiting: Some(HashMap::new()),
        }
    }
}

impl<T> Pending<T> {
    /// An id that nobody has had; the caller waits under it. `None` after the end.
    pub(super) fn open(&mut self, caller: T) -> Option<u64> {
        let id = self.next()?;
        self.waiting.as_mut()?.insert(id, caller);
        Some(id)
    }

    /// An id for what nobody waits for. `None` after the end.
    pub(super) fn next(&mut self) -> Option<u64> {
        self.waiting.as_ref()?;
        self.last += 1;
        Some(self.last)
    }

    /// Who waits for this reply, if anybody does; it waits no more.
    pub(super) fn close(&mut self, id: u64) -> Option<T> {
        self.waiting.as_mut()?.remove(&id)
    }

    /// Ends it: nobody waits any more, and no id is given out. Gives those who waited, with their ids.
    pub(super) fn end(&mut self) -> Vec<(u64, T)> {
        self.waiting.take().into_iter().flatten().collect()
    }

    /// Ends it if nobody waits; whether it has ended.
    pub(super) fn end_if_idle(&mut self) -> bool {
        if self.waiting.as_ref().is_some_and(HashMap::is_empty) {
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
        self.waiting.as_ref().map_or(0, HashMap::len)
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
                        let id = pending.open(caller).unwrap();
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
            prop_assert_eq!(pending.open(0), None);
            prop_assert_eq!(pending.next(), None);
        }
    }

    #[test]
    fn a_connection_with_a_call_is_not_idle() {
        let mut pending = Pending::default();
        let id = pending.open('a').unwrap();
        assert!(!pending.end_if_idle());
        pending.close(id);
        assert!(pending.end_if_idle() && pending.has_ended());
    }
}
