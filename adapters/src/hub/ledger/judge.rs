//! What becomes of instances that are missing: removed, or held by the brake.

use std::sync::Arc;

use landfall_model::world::Session;
use tracing::warn;

use super::{
    super::entry::{Entry, Existence},
    Ledger, SETTLE,
};
use crate::brake::{Evidence, Held, Loss, Moment, WINDOW};

impl Ledger {
    pub(super) fn gone(&mut self, now: Moment, name: &Arc<str>) {
        self.named.remove(name);
        if let Some(entry) = self.entries.get_mut(name) {
            entry.disappear(now, &self.brake);
            self.missing(now, name);
        }
    }

    /// There is something to judge: soon in a live session, else when the session catches up.
    pub(super) fn missing(&mut self, now: Moment, name: &Arc<str>) {
        self.unjudged.insert(name.clone());
        if self.is_live() {
            self.settle_at.get_or_insert(now.mono + SETTLE);
        }
    }

    pub(super) fn catch_up(&mut self, now: Moment) {
        let evidence = if self.is_live() {
            Evidence::FullRead
        } else {
            self.session = Session::Live { since: now.wall };
            self.caught_up = Some(now.wall);
            self.lost = None;
            self.dirty = true;
            Evidence::NewSession
        };
        for (name, entry) in &mut self.entries {
            if !self.named.contains(name) && entry.disappear(now, &self.brake) {
                self.unjudged.insert(name.clone());
            }
        }
        if evidence == Evidence::NewSession {
            for name in &self.held {
                if let Some(entry) = self.entries.get_mut(name) {
                    entry.held_all().for_each(|held| held.resume(now));
                }
            }
        }
        self.look_again(now);
        self.judge(now, evidence);
    }

    pub(super) fn look_again(&mut self, now: Moment) {
        for name in &self.held {
            if let Some(entry) = self.entries.get_mut(name) {
                entry.held_all().for_each(|held| held.look(now, &self.brake));
            }
        }
    }

    /// Removes or holds what is missing. Only ever called in a live session.
    pub(super) fn judge(&mut self, now: Moment, evidence: Evidence) {
        self.settle_at = None;
        let names = std::mem::take(&mut self.unjudged);
        for name in &names {
            if self.entries.get_mut(name).is_some_and(Entry::drop_replaced) {
                self.shrunk(name, now);
            }
        }
        self.recent.retain(|(at, _)| now.mono.saturating_sub(*at) < WINDOW);
        let recent: usize = self.recent.iter().map(|(_, count)| count).sum();
        let counts = self.entries.values().map(Entry::counts);
        let all = counts.fold(
            Loss {
                gone: recent,
                of: recent,
            },
            |sum, count| Loss {
                gone: sum.gone + count.gone,
                of: sum.of + count.of,
            },
        );
        let wide: Option<Arc<str>> = self.brake.registry(evidence, all).map(Into::into);
        let mut removed = 0;
        for name in names {
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            let suspect = entry.suspect.take();
            if entry.has_missing() {
                let narrow = || self.brake.service(evidence, entry.counts()).map(Into::into);
                match wide.clone().or_else(narrow).or(suspect) {
                    Some(reason) => {
                        let is_wide = wide.is_some() || evidence != Evidence::Report;
                        warn!(registry = %self.name, service = %name, reason = &*reason, "a removal is held; the instances stay in use");
                        entry.hold(|| Held::new(now, reason.clone(), is_wide));
                        entry.doubt(now.wall);
                        self.sort_out_held(&name);
                        self.show(&name);
                    }
                    None => {
                        removed += entry.remove_missing();
                        self.shrunk(&name, now);
                    }
                }
            }
            self.sweep(&name);
        }
        if removed > 0 {
            self.recent.push((now.mono, removed));
        }
    }

    /// A registry that forgets learns nothing meanwhile: what is added makes up for as many removals. Otherwise one
    /// instance that comes and goes would look like a registry that loses many.
    pub(super) fn make_up_for(&mut self, mut added: usize) {
        for (_, removed) in &mut self.recent {
            let made_up = added.min(*removed);
            *removed -= made_up;
            added -= made_up;
        }
        self.recent.retain(|(_, removed)| *removed > 0);
    }

    /// A service has lost instances.
    pub(super) fn shrunk(&mut self, name: &Arc<str>, now: Moment) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.shrunk(now.wall);
        }
        self.content = true;
        self.sort_out_held(name);
        self.show(name);
    }

    pub(super) fn show(&mut self, name: &Arc<str>) {
        self.stale_views.insert(name.clone());
        self.dirty = true;
    }

    pub(super) fn sort_out_held(&mut self, name: &Arc<str>) {
        if self
            .entries
            .get(name)
            .is_some_and(|entry| entry.held().next().is_some())
        {
            self.held.insert(name.clone());
        } else {
            self.held.remove(name);
        }
    }

    /// Forgets a service that is gone with the last of its instances.
    pub(super) fn sweep(&mut self, name: &Arc<str>) {
        let is_over = |entry: &Entry| entry.existence == Existence::Gone && entry.counts().of == 0;
        if self.entries.get(name).is_some_and(is_over) {
            self.entries.remove(name);
            self.held.remove(name);
            self.content = true;
            self.show(name);
        }
    }
}
