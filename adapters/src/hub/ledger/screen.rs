//! What no adapter should let through and any registry may contain.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Host, Instance, world::Quarantined};

/// Instances by id, and the records that are quarantined.
pub(super) fn screen(service: &Arc<str>, instances: Vec<Instance>) -> (BTreeMap<Arc<str>, Instance>, Vec<Quarantined>) {
    let mut fit: BTreeMap<Arc<str>, Instance> = BTreeMap::new();
    let mut unfit = Vec::new();
    for instance in instances {
        let reason = if instance.id.is_empty() {
            "it has no id"
        } else if fit.contains_key(&instance.id) {
            "another instance of the service has the same id; the first one is used"
        } else if matches!(&instance.host, Host::Name(name) if name.is_empty()) {
            "it has no host"
        } else if instance.ports.iter().any(|port| port.number == 0) {
            "port 0 is no port"
        } else {
            fit.insert(instance.id.clone(), instance);
            continue;
        };
        unfit.push(Quarantined {
            service: Some(service.clone()),
            record: instance.id.to_string(),
            reason: reason.to_owned(),
        });
    }
    (fit, unfit)
}
