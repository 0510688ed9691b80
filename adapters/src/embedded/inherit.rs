//! Taking over from a registry that is being switched off.
//!
//! ```text
//! last-good/eureka.json ──native records──▶ books ──▶ embedded/<name>.json ──▶ opened as after any restart
//! ```
//!
//! Done once, before the registry is opened, while nobody is registered in it. What was published into the old registry
//! by us or by another cluster is left out: it is nobody's registration, and it is still where it came from.
//!
//! **From Eureka** every lease stands for two of the usual durations. A record counts as older than anything its client says,
//! so that the first heartbeat is answered *unknown* and the client registers again, with all that a last good view does not
//! hold (its lease, its pages). It is shown all the while.
//!
//! **From Consul** a service comes to the one agent there is, with a check `service:<id>` ([`Probe::Inherited`]): a client's
//! `pass` is taken as ever, and where no client speaks (its agent asked it over HTTP) a connection to its port does. Checks
//! cannot be read from the catalog, so nothing more is known of them.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use landfall_config::RegistryConfig;
use landfall_model::{Instance, Serving};
use tracing::{info, warn};

use super::{
    books,
    state::{Saved, StateFile},
    twin::Books,
};
use crate::{
    facade::{
        consul::{
            book::Mirrored,
            record::{Owner, Probe},
        },
        project::{self, Place},
    },
    publish::mark::{Provenance, provenance},
    store::{LastGood, Store},
};

/// Between two connections to a service that was taken over, ms.
const INTERVAL: u64 = 5_000;
/// Patience of one, ms.
const TIMEOUT: u64 = 3_000;
/// So many in a row that fail make it critical.
const BAD: u32 = 3;
/// Gone if it is critical for that long, ms: 72 h, after which Consul forgets a node that failed.
const FORGOTTEN: u64 = 72 * 3_600_000;

/// Writes the first state of an embedded registry, if its document says from whom and it has none yet.
pub(crate) fn take_over(config: &RegistryConfig, data_dir: &Path) {
    let Some(spec) = &config.spec.embedded else { return };
    let Some(from) = spec.take_over.as_deref() else { return };
    let file = StateFile::new(data_dir, &config.name);
    let saved = file.load();
    if let Some(saved) = &saved
        && (saved.taken_over.as_deref() == Some(from) || !saved.is_empty())
    {
        return;
    }
    let store = Store::new(data_dir);
    let view = match store.any(from) {
        Ok(view) => view,
        Err(why) => {
            warn!(registry = %config.name, from, %why, "nothing can be taken over; the registry begins empty");
            return;
        }
    };
    let books = books(spec, None, saved);
    let counts = fill(&books, &view, spec.consul.is_some(), spec.eureka.is_some());
    let state = Saved::of(&config.name, &books, Some(from.to_owned()));
    if let Err(error) = file.write(&state) {
        warn!(registry = %config.name, from, %error, "what was taken over cannot be written; the registry begins empty");
        return;
    }
    // Under the same name it would be read as the last good view of the new one.
    if *from == *config.name.as_str() {
        store.set_aside(from, "taken-over");
    }
    info!(registry = %config.name, from, kind = view.kind, records = counts.taken, copies = counts.copies,
        unusable = counts.unusable, "the embedded registry has taken over");
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    taken: usize,
    /// Published there, by us or by others.
    copies: usize,
    unusable: usize,
}

/// Registers everybody in the view, in the protocol they used if it is answered.
fn fill(books: &Books, view: &LastGood, has_consul: bool, has_eureka: bool) -> Counts {
    let from_consul = view.kind == "consul";
    let to_consul = has_consul && (from_consul || !has_eureka);
    let mut counts = Counts::default();
    let mut ids = BTreeSet::new();
    for service in &view.services {
        let natives = service
            .instances
            .iter()
            .filter(|one| provenance(one) == Provenance::Native);
        let natives: Vec<Arc<Instance>> = natives.cloned().collect();
        counts.copies += service.instances.len() - natives.len();
        let weighted = project::weighted(&natives);
        for instance in &natives {
            let name = &service.id.name;
            let done = if to_consul {
                let place = Place {
                    registry: view.registry.as_str(),
                    is_consul: from_consul,
                };
                let mut record = project::consul(&place, name, instance);
                // Unique on its node there, and there is one node here.
                if !ids.insert(record.service.id.clone()) {
                    rename(&mut record);
                    ids.insert(record.service.id.clone());
                }
                in_consul(books, record, instance)
            } else {
                in_eureka(books, name, instance, weighted)
            };
            match done {
                true => counts.taken += 1,
                false => counts.unusable += 1,
            }
        }
    }
    counts
}

fn in_eureka(books: &Books, name: &str, instance: &Instance, weighted: bool) -> bool {
    let mut info = project::eureka(name, instance, weighted);
    info.last_dirty = Some(1);
    let (app, id) = (info.app.clone(), info.instance_id.clone());
    books.eureka.tend(|book, now| {
        let registered = book.register(&app, info, now).is_ok();
        // Two durations from now on. One that is UNKNOWN cannot be renewed and has one.
        let _ = book.renew(&app, &id, None, now);
        registered
    })
}

fn in_consul(books: &Books, record: Mirrored, instance: &Instance) -> bool {
    let Mirrored {
        mut service, checks, ..
    } = record;
    service.owner = Owner::Agent;
    // One that got nothing there stays so until its owner says otherwise: that it listens is not enough.
    let address = match (instance.status.serving(), service.port) {
        (Serving::No, _) | (_, 0) => String::new(),
        (_, port) if service.address.contains(':') => format!("[{}]:{port}", service.address),
        (_, port) => format!("{}:{port}", service.address),
    };
    let own = format!("service:{}", service.id);
    let checks = checks.into_iter().map(|mut check| {
        if check.id == own {
            check.probe = Probe::Inherited(address.clone());
            (check.interval, check.timeout, check.bad_before) = (INTERVAL, TIMEOUT, BAD);
            check.deregister_after = FORGOTTEN;
            check.output = format!("taken over; {}", check.output);
        }
        check
    });
    let checks = checks.collect();
    books
        .consul
        .tend(|book, now| book.register(service, checks, true, now).is_ok())
}

/// Gives it an id with its node's name.
fn rename(record: &mut Mirrored) {
    let (before, after) = (
        record.service.id.clone(),
        format!("{}-{}", record.node, record.service.id),
    );
    for check in &mut record.checks {
        check.id = check.id.replace(&before, &after);
        check.service.clone_from(&after);
    }
    record.service.id = after;
}

#[cfg(test)]
mod tests;
