//! The task that makes rounds of composing, and when.
//!
//! Next on the path: [`compose`](mod@crate::compose).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use landfall_adapters::definitions::{Definitions, Known};
use landfall_config::ConfigState;
use landfall_identity::TrustDomain;
use landfall_model::{Snapshot, World};
use tokio::{sync::watch, time::Instant};

use super::Composition;
use crate::{
    compose::{Inputs, compose},
    metrics::Metrics,
    resolve::Names,
};

/// After the first change others are waited for this long: one report of a registry is often several changes.
const GATHER: Duration = Duration::from_millis(1);

/// Two snapshots are at least this far apart, or as far as four times what composing takes.
const APART: Duration = Duration::from_millis(5);

/// The task that makes rounds.
pub(super) struct Composer {
    pub wants: watch::Sender<BTreeSet<Arc<str>>>,
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    pub compositions: watch::Sender<Arc<Composition>>,
    pub metrics: Arc<Metrics>,
    pub definitions: Definitions,
    /// Of the identity with which the data path calls sidecars.
    pub trust_domain: Option<TrustDomain>,
}

impl Composer {
    /// Makes a round for every change, or for all changes of a moment, until whoever makes them ends.
    pub async fn run(
        self,
        mut config: watch::Receiver<ConfigState>,
        mut world: watch::Receiver<Arc<World>>,
        mut names: watch::Receiver<Names>,
        mut known: watch::Receiver<Known>,
    ) {
        let mut apart = Duration::ZERO;
        let mut last = Instant::now();
        loop {
            let changed = tokio::select! {
                changed = config.changed() => changed,
                changed = world.changed() => changed,
                changed = names.changed() => changed,
                changed = known.changed() => changed,
            };
            // Whoever made the changes has ended, and with it the process: nothing will change any more.
            if changed.is_err() {
                return;
            }
            tokio::time::sleep_until((last + apart).max(Instant::now() + GATHER)).await;
            last = Instant::now();
            let took = self.round(&mut config, &mut world, &mut names, &mut known);
            apart = APART.max(took * 4);
        }
    }

    /// Composes once from the present values and publishes what is new.
    pub fn round(
        &self,
        config: &mut watch::Receiver<ConfigState>,
        world: &mut watch::Receiver<Arc<World>>,
        names: &mut watch::Receiver<Names>,
        known: &mut watch::Receiver<Known>,
    ) -> Duration {
        let begun = std::time::Instant::now();
        let before = self.compositions.borrow().clone();
        let config = config.borrow_and_update().current.clone();
        let world = world.borrow_and_update().clone();
        let names = names.borrow_and_update().clone();
        let definitions = known.borrow_and_update().clone();
        // Version 0 is the empty one that the channel began with.
        let previous = Some(&before.snapshot).filter(|snapshot| snapshot.version > 0);
        let composed = compose(Inputs {
            world: &world,
            rules: &config.rules,
            names: &names,
            seen: &before.seen,
            definitions: &definitions,
            trust_domain: self.trust_domain.as_ref(),
            previous,
        });
        for warning in composed.warnings.iter().filter(|w| !before.warnings.contains(w)) {
            tracing::warn!("{warning}");
        }
        let published = !previous.is_some_and(|previous| Arc::ptr_eq(previous, &composed.snapshot));
        if published {
            let (version, clusters) = (composed.snapshot.version, composed.snapshot.clusters.len());
            tracing::debug!(version, clusters, rules = config.rules.version, "new snapshot");
        }
        // The round first: who sees a snapshot finds what it was made from.
        let snapshot = composed.snapshot.clone();
        self.wants.send_if_modified(|wants| {
            let news = *wants != composed.names;
            if news {
                wants.clone_from(&composed.names);
            }
            news
        });
        self.definitions.want(composed.undefined);
        self.compositions.send_replace(Arc::new(Composition {
            world,
            config,
            names,
            definitions,
            trust_domain: self.trust_domain.clone(),
            wanted: composed.names,
            seen: composed.seen,
            snapshot: composed.snapshot,
            warnings: composed.warnings,
        }));
        if published {
            self.snapshots.send_replace(snapshot);
        }
        let took = begun.elapsed();
        self.metrics.round(took, published);
        took
    }
}
