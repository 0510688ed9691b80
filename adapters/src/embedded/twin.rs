//! One registry behind two protocols: what is registered by the one is shown by the other.
//!
//! ```text
//! Eureka's book ──natives──▶ mirror of Consul's book
//! Consul's book ──natives──▶ mirror of Eureka's book
//! ```
//!
//! What is mirrored is never mirrored back: only natives are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use landfall_config::kinds::registry::EurekaAddress;
use landfall_model::{Instance, world::Quarantined};
use tokio::sync::watch;

use crate::{
    Knowledge,
    consul::read_health,
    eureka::{book as eureka, convert, view::View, wire::Applications},
    facade::{
        consul::book as consul,
        project::{self, Place},
        shared::{Shared, Versioned as _},
    },
};

/// Pause between two rounds.
const BREATH: Duration = Duration::from_millis(10);

/// Both books.
#[derive(Clone, Debug)]
pub(super) struct Books {
    pub(super) eureka: Arc<Shared<eureka::Book>>,
    pub(super) consul: Arc<Shared<consul::Book>>,
}

/// How far somebody has read both.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    eureka: u64,
    consul: u64,
}

impl Books {
    /// Names of services that may have changed since `seen`, and what is read by now. Names that are gone are not
    /// among them.
    pub(super) fn changed_since(&self, seen: Seen) -> (BTreeSet<Arc<str>>, Seen) {
        let mut names = BTreeSet::new();
        let eureka = self.eureka.read(|book| {
            names.extend(book.changed_since(seen.eureka).map(convert::service_name));
            book.version()
        });
        let consul = self.consul.read(|book| {
            names.extend(book.changed_since(seen.consul).map(Arc::from));
            book.version()
        });
        (names, Seen { eureka, consul })
    }

    /// Names of all services that clients have registered.
    pub(super) fn names(&self) -> BTreeSet<Arc<str>> {
        let mut names = self.eureka.read(eureka::Book::native_names);
        names.extend(
            self.consul
                .read(consul::Book::native_names)
                .iter()
                .map(|name| Arc::from(name.as_str())),
        );
        names
    }

    /// What Eureka's clients have registered under that name.
    fn in_eureka(&self, name: &str) -> Option<Knowledge> {
        let found = self.eureka.read(|book| book.native_application(name))?;
        // Another case of the same name is another service in Consul, but not in Eureka.
        if *convert::service_name(&found.name) != *name {
            return None;
        }
        let list = Applications {
            applications: vec![found],
            ..Applications::default()
        };
        Some(View::of(list, EurekaAddress::Ip).knowledge(&Arc::from(name)))
    }

    /// What Consul's clients have registered under that name.
    fn in_consul(&self, name: &str) -> Option<(Vec<Instance>, Vec<Quarantined>)> {
        let list = self.consul.read(|book| book.native_service(name))?;
        read_health(&Arc::from(name), list.to_string().as_bytes())
    }

    /// All that clients have registered under that name.
    pub(super) fn knowledge(&self, name: &Arc<str>) -> Knowledge {
        match (self.in_eureka(name), self.in_consul(name)) {
            (
                Some(Knowledge::Service {
                    name,
                    mut instances,
                    mut quarantined,
                    changed,
                }),
                Some((more, odd)),
            ) => {
                instances.extend(more);
                quarantined.extend(odd);
                Knowledge::Service {
                    name,
                    instances,
                    quarantined,
                    changed,
                }
            }
            (Some(known), _) => known,
            (None, Some((instances, quarantined))) => Knowledge::Service {
                name: name.clone(),
                instances,
                quarantined,
                changed: None,
            },
            (None, None) => Knowledge::Gone { name: name.clone() },
        }
    }

    /// Shows to each protocol's clients what the other's have registered, until the sender of `stopped` is dropped.
    pub(super) async fn keep_twins(self, registry: Arc<str>, mut stopped: watch::Receiver<()>) {
        let (mut from_eureka, mut from_consul) = (self.eureka.watch(), self.consul.watch());
        let mut seen = Seen::default();
        let mut shown = BTreeSet::new();
        loop {
            from_eureka.borrow_and_update();
            from_consul.borrow_and_update();
            let (mut names, now) = self.changed_since(seen);
            seen = now;
            let mut cases: BTreeMap<Arc<str>, Vec<String>> = BTreeMap::new();
            for name in self.consul.read(consul::Book::native_names) {
                cases.entry(convert::service_name(&name)).or_default().push(name);
            }
            let mut there = self.eureka.read(eureka::Book::native_names);
            there.extend(cases.values().flatten().map(|name| Arc::from(name.as_str())));
            // A name that went is known by its mirror alone.
            names.extend(shown.difference(&there).cloned());
            for name in names {
                let cases = cases.get(&convert::service_name(&name));
                self.show(&registry, &name, cases.map_or(&[], Vec::as_slice));
            }
            shown = there;
            // In a burst one round serves many changes.
            tokio::time::sleep(BREATH).await;
            tokio::select! {
                changed = from_eureka.changed() => if changed.is_err() { return },
                changed = from_consul.changed() => if changed.is_err() { return },
                changed = stopped.changed() => if changed.is_err() { return },
            }
        }
    }

    /// `cases`: names in Consul that are the same in lower case, which are one application in Eureka.
    fn show(&self, registry: &str, name: &Arc<str>, cases: &[String]) {
        let place = Place {
            registry,
            is_consul: false,
        };
        let instances = match self.in_eureka(name) {
            Some(Knowledge::Service { instances, .. }) => instances,
            _ => Vec::new(),
        };
        let mirrored = instances.iter().map(|one| project::consul(&place, name, one)).collect();
        self.consul.tend(|book, now| book.mirror(name, mirrored, now));
        let app = convert::service_name(name);
        let found = cases.iter().filter_map(|name| self.in_consul(name));
        let instances: Vec<Arc<Instance>> = found.flat_map(|(instances, _)| instances).map(Arc::new).collect();
        let weighted = project::weighted(&instances);
        let mirrored = instances
            .iter()
            .map(|one| project::eureka(&app, one, weighted))
            .collect();
        self.eureka.tend(|book, now| book.mirror(&app, mirrored, now));
    }
}
