//! One registry behind several protocols: what is registered by one is shown by the others.
//!
//! ```text
//! Eureka's book ──natives──▶ mirrors of Consul's and Nacos' books
//! Consul's book ──natives──▶ mirrors of Eureka's and Nacos' books
//! Nacos' book   ──natives──▶ mirrors of Eureka's and Consul's books
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
        nacos::{Mirrors, book as nacos},
        project::{self, Place},
        shared::{Shared, Versioned as _},
    },
    nacos::{
        name::{DEFAULT_GROUP, Meaning},
        record,
    },
};

/// Pause between two rounds.
const BREATH: Duration = Duration::from_millis(10);

/// Which protocols are answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    pub(super) eureka: bool,
    pub(super) consul: bool,
    pub(super) nacos: bool,
}

/// All books; one whose protocol is not answered stays empty.
#[derive(Clone, Debug)]
pub(super) struct Books {
    pub(super) answers: Answers,
    pub(super) nacos: Arc<Shared<nacos::Book>>,
    pub(super) eureka: Arc<Shared<eureka::Book>>,
    pub(super) consul: Arc<Shared<consul::Book>>,
}

/// How far somebody has read them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    eureka: u64,
    consul: u64,
    nacos: u64,
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
        let nacos = self.nacos.read(|book| {
            names.extend(book.changed_since(seen.nacos));
            book.version()
        });
        (names, Seen { eureka, consul, nacos })
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
        names.extend(self.nacos.read(nacos::Book::native_names));
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

    /// What Nacos' clients have registered under that name.
    fn in_nacos(&self, name: &Arc<str>) -> Option<(Vec<Instance>, Vec<Quarantined>)> {
        let found = self.nacos.read(|book| book.native_info(name));
        let mut known: Option<(Vec<Instance>, Vec<Quarantined>)> = None;
        for (key, info) in found {
            let Meaning::Service { dubbo, .. } = key.meaning() else {
                continue;
            };
            if let Some(reading) = record::read_own(name, dubbo, &info) {
                let (instances, quarantined) = known.get_or_insert_default();
                instances.extend(reading.instances);
                quarantined.extend(reading.quarantined);
            }
        }
        if let Some((instances, _)) = &mut known {
            // Two of Nacos' names may be one here.
            instances.sort_by(|a, b| a.id.cmp(&b.id));
            instances.dedup_by(|a, b| a.id == b.id);
        }
        known
    }

    /// All that clients have registered under that name.
    pub(super) fn knowledge(&self, name: &Arc<str>) -> Knowledge {
        let (mut all, mut odd, mut last) = (Vec::new(), Vec::new(), None);
        let mut is_known = false;
        if let Some(Knowledge::Service {
            instances,
            quarantined,
            changed,
            ..
        }) = self.in_eureka(name)
        {
            is_known = true;
            all.extend(instances);
            odd.extend(quarantined);
            last = changed;
        }
        for (instances, quarantined) in [self.in_consul(name), self.in_nacos(name)].into_iter().flatten() {
            is_known = true;
            all.extend(instances);
            odd.extend(quarantined);
        }
        match is_known {
            true => Knowledge::Service {
                name: name.clone(),
                instances: all,
                quarantined: odd,
                changed: last,
            },
            false => Knowledge::Gone { name: name.clone() },
        }
    }

    /// Shows to each protocol's clients what the others' have registered, until the sender of `stopped` is dropped.
    pub(super) async fn keep_twins(self, registry: Arc<str>, mut stopped: watch::Receiver<()>) {
        let (mut from_eureka, mut from_consul) = (self.eureka.watch(), self.consul.watch());
        let mut from_nacos = self.nacos.watch();
        let mut seen = Seen::default();
        let mut shown = BTreeSet::new();
        let mut mirrors = Mirrors::new(self.nacos.clone(), DEFAULT_GROUP.to_owned());
        loop {
            from_eureka.borrow_and_update();
            from_consul.borrow_and_update();
            from_nacos.borrow_and_update();
            let (mut names, now) = self.changed_since(seen);
            seen = now;
            let mut cases: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
            let mut written: Vec<Arc<str>> = self.nacos.read(nacos::Book::native_names).into_iter().collect();
            let in_consul = self.consul.read(consul::Book::native_names);
            written.extend(in_consul.iter().map(|name| Arc::from(name.as_str())));
            for name in written {
                cases.entry(convert::service_name(&name)).or_default().insert(name);
            }
            let mut there = self.eureka.read(eureka::Book::native_names);
            there.extend(cases.values().flatten().cloned());
            // A name that went is known by its mirror alone.
            names.extend(shown.difference(&there).cloned());
            let none = BTreeSet::new();
            for name in names {
                let cases = cases.get(&convert::service_name(&name));
                self.show(&registry, &mut mirrors, &name, cases.unwrap_or(&none));
            }
            shown = there;
            // In a burst one round serves many changes.
            tokio::time::sleep(BREATH).await;
            tokio::select! {
                changed = from_eureka.changed() => if changed.is_err() { return },
                changed = from_consul.changed() => if changed.is_err() { return },
                changed = from_nacos.changed() => if changed.is_err() { return },
                changed = stopped.changed() => if changed.is_err() { return },
            }
        }
    }

    /// `cases`: names in Consul and Nacos that are the same in lower case, which are one application in Eureka.
    fn show(&self, registry: &str, mirrors: &mut Mirrors, name: &Arc<str>, cases: &BTreeSet<Arc<str>>) {
        let place = Place {
            registry,
            is_consul: false,
        };
        let in_eureka = match self.in_eureka(name) {
            Some(Knowledge::Service { instances, .. }) => instances,
            _ => Vec::new(),
        };
        let instances_of = |found: Option<(Vec<Instance>, Vec<Quarantined>)>| found.unwrap_or_default().0;
        if self.answers.consul {
            let in_nacos = instances_of(self.in_nacos(name));
            let all = in_eureka.iter().chain(&in_nacos);
            let mirrored = all.map(|one| project::consul(&place, name, one)).collect();
            self.consul.tend(|book, now| book.mirror(name, mirrored, now));
        }
        if self.answers.nacos {
            let in_consul = instances_of(self.in_consul(name));
            mirrors.show(name, in_eureka.iter().chain(&in_consul));
        }
        if self.answers.eureka {
            let app = convert::service_name(name);
            let found = cases
                .iter()
                .flat_map(|name| [self.in_consul(name), self.in_nacos(name)]);
            let instances: Vec<Arc<Instance>> = found
                .flatten()
                .flat_map(|(instances, _)| instances)
                .map(Arc::new)
                .collect();
            let weighted = project::weighted(&instances);
            let mirrored = instances
                .iter()
                .map(|one| project::eureka(&app, one, weighted))
                .collect();
            self.eureka.tend(|book, now| book.mirror(&app, mirrored, now));
        }
    }
}
