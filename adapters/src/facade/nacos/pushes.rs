//! What one connection is subscribed to, and what of it has been pushed and acknowledged. Pure: the clock is handed in.
//!
//! ```text
//! a service's mark moves ─▶ due ─▶ sent ──(acknowledged)──▶ known
//!                            ▲       │
//!                            └─1 s───┴─(refused, or nothing within 5 s)
//! ```
//! Each push holds the whole service, so one that is on its way while more changes makes the next due only when it is answered.
//! Times are Nacos' own (`PushConstants`).
//!
//! Next on the path: `link`.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::book::{Asked, Key, Limits, Refusal};

/// For an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a push that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A connection's subscriptions.
#[derive(Debug, Default)]
pub struct Pushes {
    subscriptions: BTreeMap<Key, Subscription>,
    pushed: u64,
}

#[derive(Debug)]
struct Subscription {
    asked: Asked,
    /// The client's word for the namespace: pushes repeat it.
    namespace: String,
    /// Version of what the client has acknowledged.
    known: u64,
    sent: Option<Sent>,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Sent {
    id: u64,
    mark: u64,
    until: Instant,
}

/// A push to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The acknowledgement repeats it.
    pub id: u64,
    /// Of what.
    pub key: Key,
    /// Which of its instances.
    pub asked: Asked,
    /// The client's word for the namespace.
    pub namespace: String,
}

impl Pushes {
    /// Subscribes; the client has been told what stood at `mark`. A second time for one service replaces the first.
    ///
    /// # Errors
    /// Too many.
    pub fn subscribe(
        &mut self,
        key: Key,
        namespace: &str,
        asked: Asked,
        mark: u64,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        if self.subscriptions.len() >= limits.subscriptions && !self.subscriptions.contains_key(&key) {
            let limit = limits.subscriptions;
            return Err(Refusal::Full(format!("a connection has at most {limit} subscriptions")));
        }
        let subscription = Subscription {
            asked,
            namespace: namespace.to_owned(),
            known: mark,
            sent: None,
            not_before: None,
        };
        self.subscriptions.insert(key, subscription);
        Ok(())
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, key: &Key) {
        self.subscriptions.remove(key);
    }

    /// The client's answer to a push.
    pub fn answered(&mut self, id: u64, is_good: bool, now: Instant) {
        let of = |one: &&mut Subscription| one.sent.as_ref().is_some_and(|sent| sent.id == id);
        let Some(subscription) = self.subscriptions.values_mut().find(of) else {
            return;
        };
        match subscription.sent.take() {
            Some(sent) if is_good => subscription.known = sent.mark,
            _ => subscription.not_before = Some(now + AGAIN),
        }
    }

    /// What is to be pushed now, and is taken to be sent. `mark_of` says at which version a service last changed.
    pub fn due(&mut self, now: Instant, mark_of: impl Fn(&Key) -> u64) -> Vec<Push> {
        let mut due = Vec::new();
        for (key, one) in &mut self.subscriptions {
            if one.sent.as_ref().is_some_and(|sent| sent.until <= now) {
                one.sent = None;
            }
            let mark = mark_of(key);
            if one.sent.is_some() || mark <= one.known || one.not_before.is_some_and(|at| now < at) {
                continue;
            }
            self.pushed += 1;
            let id = self.pushed;
            let until = now + PATIENCE;
            one.not_before = None;
            one.sent = Some(Sent { id, mark, until });
            due.push(Push {
                id,
                key: key.clone(),
                asked: one.asked.clone(),
                namespace: one.namespace.clone(),
            });
        }
        due
    }

    /// When something may be due though nothing changes.
    pub fn next(&self) -> Option<Instant> {
        let times = self.subscriptions.values();
        times
            .filter_map(|one| one.sent.as_ref().map(|sent| sent.until).or(one.not_before))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("", "", name, &Limits::default()).unwrap()
    }

    fn subscribed(mark: u64) -> Pushes {
        let mut pushes = Pushes::default();
        pushes
            .subscribe(key("a"), "", Asked::default(), mark, &Limits::default())
            .unwrap();
        pushes
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_pushed_once_and_again_until_it_is_acknowledged() {
        let mut pushes = subscribed(3);
        let start = Instant::now();
        assert_eq!(pushes.due(start, |_| 3), []);
        let first = pushes.due(start, |_| 4);
        assert_eq!(first.len(), 1);
        assert_eq!(pushes.due(start, |_| 5), [], "one at a time");
        pushes.answered(first[0].id, false, start);
        assert_eq!(pushes.next(), Some(start + AGAIN));
        assert_eq!(pushes.due(start, |_| 5), []);
        let second = pushes.due(start + AGAIN, |_| 5);
        assert_eq!(second.len(), 1);
        // Nothing comes.
        let late = start + AGAIN + PATIENCE;
        assert_eq!(pushes.next(), Some(late));
        let third = pushes.due(late, |_| 5);
        assert_eq!(third.len(), 1);
        // The answer to an older one is no answer.
        pushes.answered(second[0].id, true, late);
        assert_eq!(pushes.due(late, |_| 5), []);
        pushes.answered(third[0].id, true, late);
        assert_eq!((pushes.due(late, |_| 5), pushes.next()), (vec![], None));
        assert_eq!(pushes.due(late, |_| 6).len(), 1);
    }

    #[test]
    fn a_connection_has_a_bounded_number_of_subscriptions() {
        let limits = Limits {
            subscriptions: 1,
            ..Limits::default()
        };
        let mut pushes = Pushes::default();
        let mut subscribe = |name| pushes.subscribe(key(name), "", Asked::default(), 0, &limits);
        assert_eq!(subscribe("a"), Ok(()));
        assert_eq!(subscribe("a"), Ok(()));
        assert!(matches!(subscribe("b"), Err(Refusal::Full(_))));
        pushes.unsubscribe(&key("a"));
        assert_eq!(pushes.subscribe(key("b"), "", Asked::default(), 0, &limits), Ok(()));
    }
}
