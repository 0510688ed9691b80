//! What is registered over HTTP and kept by beats, and what runs out by time.

use super::{Book, Held, Key, Owner, Refusal, persistent};
use crate::facade::{nacos::record::Record, shared::Moment};

impl Book {
    /// Registers an instance that is kept by beats, or changes it.
    ///
    /// # Errors
    /// A persistent one, and no room.
    pub fn beat_register(&mut self, key: &Key, record: Record, now: Moment) -> Result<(), Refusal> {
        if !record.ephemeral {
            return Err(persistent(&record));
        }
        let id = record.id();
        let known = self
            .services
            .get(key)
            .and_then(|service| service.owners.get(&Owner::Beats));
        self.has_room(usize::from(!known.is_some_and(|held| held.contains_key(&id))))?;
        let seen = now.steady;
        self.change(key, now, |service| {
            service.take(Owner::Left, [&id].into_iter());
            service
                .owners
                .entry(Owner::Beats)
                .or_default()
                .insert(id, Held { record, seen });
        });
        Ok(())
    }

    /// A beat: false if there is no such instance, and the client must send it whole.
    pub fn beat(&mut self, key: &Key, id: &str, now: Moment) -> bool {
        let beats = self
            .services
            .get_mut(key)
            .and_then(|service| service.owners.get_mut(&Owner::Beats));
        let Some(held) = beats.and_then(|held| held.get_mut(id)) else {
            return false;
        };
        held.seen = now.steady;
        // Most beats change nothing that is shown.
        if held.record.healthy {
            return true;
        }
        self.change(key, now, |service| {
            if let Some(held) = service.owners.get_mut(&Owner::Beats).and_then(|held| held.get_mut(id)) {
                held.record.healthy = true;
            }
        });
        true
    }

    /// Takes one away that is kept by beats, or was left.
    pub fn beat_remove(&mut self, key: &Key, id: &std::sync::Arc<str>, now: Moment) {
        if self.services.contains_key(key) {
            self.change(key, now, |service| {
                service.take(Owner::Beats, [id].into_iter());
                service.take(Owner::Left, [id].into_iter());
            });
        }
    }

    /// Changes an instance that a client registered, by whatever way. False if there is none.
    pub fn update(&mut self, key: &Key, id: &str, change: impl FnOnce(&mut Record), now: Moment) -> bool {
        let owners = self.services.get(key).map(|service| &service.owners);
        let owner = owners.and_then(|owners| {
            let natives = owners.iter().rev().filter(|(owner, _)| **owner != Owner::Mirror);
            natives
                .into_iter()
                .find(|(_, held)| held.contains_key(id))
                .map(|(owner, _)| *owner)
        });
        let Some(owner) = owner else { return false };
        self.change(key, now, |service| {
            if let Some(held) = service.owners.get_mut(&owner).and_then(|held| held.get_mut(id)) {
                change(&mut held.record);
            }
        });
        true
    }

    /// Does what is due by time: who has not beaten is unhealthy, then gone; who has not come back is gone. Says how many went.
    pub fn expire(&mut self, now: Moment) -> usize {
        let silent = |held: &Held| now.steady.saturating_sub(held.seen);
        let due: Vec<Key> = self
            .services
            .iter()
            .filter(|(_, service)| {
                let lapsing = |owner| service.owners.get(&owner).into_iter().flat_map(|held| held.values());
                let beats = lapsing(Owner::Beats)
                    .any(|held| silent(held) >= held.record.delete_timeout().min(held.record.beat_timeout()));
                beats || lapsing(Owner::Left).any(|held| silent(held) >= held.record.delete_timeout())
            })
            .map(|(key, _)| key.clone())
            .collect();
        let before = self.natives;
        for key in due {
            self.change(&key, now, |service| {
                for owner in [Owner::Beats, Owner::Left] {
                    let Some(held) = service.owners.get_mut(&owner) else {
                        continue;
                    };
                    held.retain(|_, held| silent(held) < held.record.delete_timeout());
                    for held in held.values_mut().filter(|_| owner == Owner::Beats) {
                        if silent(held) >= held.record.beat_timeout() {
                            held.record.healthy = false;
                        }
                    }
                    if held.is_empty() {
                        service.owners.remove(&owner);
                    }
                }
            });
        }
        self.forget_empty(now);
        before - self.natives
    }
}
