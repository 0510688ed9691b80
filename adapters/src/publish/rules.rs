//! What the shapes of all registries have in common: digest, hosts, scales of weight, reports of losses.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Host, Instance, Protocol, service::DEFAULT_WEIGHT};

use super::{Key, Loss, Record, Shaped, Unfit, escape, mark};
use crate::zookeeper::access::is_host;

/// Of all metadata together, in bytes; what is too large goes first.
pub(super) const MAX_METADATA: usize = 128 << 10;
/// Longest name of a service, in bytes.
const MAX_NAME: usize = 1024;

/// Losses as they are found.
#[derive(Debug, Default)]
pub(super) struct Losses(Vec<Loss>);

impl Losses {
    pub(super) fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Loss {
            field: field.into(),
            reason: reason.into(),
        });
    }

    /// Those of a step before.
    pub(super) fn join(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

/// A refusal.
pub(super) fn unfit(reason: impl Into<String>) -> Unfit {
    Unfit { reason: reason.into() }
}

/// Ends a shape: the digest is taken and the marks are put into the metadata.
pub(super) fn finish(key: Key, mut record: Record, losses: Losses) -> Shaped {
    for key in mark::KEYS {
        record.instance.metadata.remove(key);
    }
    let digest: Arc<str> = digest(&record).into();
    record.mark.write(&digest, &mut record.instance.metadata);
    let mut losses = losses.0;
    losses.sort();
    losses.dedup();
    Shaped {
        key,
        record: Arc::new(record),
        digest,
        losses,
    }
}

/// Of all that matters in a record without marks. The epoch does not: another writer need not write it again.
fn digest(record: &Record) -> String {
    let Record {
        service,
        instance,
        mark,
    } = record;
    let ports: Vec<String> = instance.ports.iter().map(|port| format!("{port:?}")).collect();
    let path: Vec<&str> = mark.path.iter().map(|name| name.as_str()).collect();
    let mut parts: Vec<String> = vec![
        service.to_string(),
        instance.host.to_string(),
        ports.join(","),
        instance.status.as_str().to_owned(),
        instance.weight.to_string(),
        instance.zone.as_deref().unwrap_or_default().to_owned(),
        mark.origin.registry.to_string(),
        mark.origin.service.to_string(),
        mark.origin.instance.to_string(),
        path.join(","),
        mark.cluster.to_string(),
    ];
    for (key, value) in &instance.metadata {
        parts.extend([key.to_string(), value.to_string()]);
    }
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    mark::digest_of(&parts)
}

/// The address as text, if it can be one.
pub(super) fn host(host: &Host) -> Result<String, Unfit> {
    let text = host.to_string();
    let is_address = match host {
        Host::Ip(_) => true,
        // A scope belongs to the machine that states it.
        Host::Name(name) => name.len() <= 253 && !name.contains('%') && is_host(name),
    };
    if !is_address {
        return Err(unfit(format!(
            "`{}` is no address; give the instance an IP address or a host name",
            shown(&text)
        )));
    }
    Ok(text)
}

/// Refuses names that no registry can hold.
pub(super) fn name(service: &str) -> Result<(), Unfit> {
    if service.trim().is_empty() {
        return Err(unfit("the service has no name"));
    }
    if service.len() > MAX_NAME {
        return Err(unfit(format!(
            "the name of the service has {} bytes; {MAX_NAME} is the limit",
            service.len()
        )));
    }
    Ok(())
}

/// The weight on the scale where 100 is what everybody has. What Spring's consumers read in the metadata counts from 1,
/// and so does an instance without one beside others that state theirs; Dubbo's parameter counts from 100.
pub(super) fn weight(instance: &Instance) -> u32 {
    let stated = instance.metadata.get("weight");
    let stated = stated.and_then(|text| text.trim().parse::<u32>().ok());
    match stated {
        Some(weight) if weight == instance.weight && !is_dubbo(&instance.metadata) => weight.saturating_mul(100),
        None if instance.weight == 1 => DEFAULT_WEIGHT,
        _ => instance.weight,
    }
}

/// The same for registries where 1 is what everybody has: at least 1 for whoever gets anything.
pub(super) fn share(instance: &Instance, losses: &mut Losses) -> u32 {
    let weight = weight(instance);
    let share = (weight.saturating_add(50) / 100).max(u32::from(weight > 0));
    if share.saturating_mul(100) != weight {
        losses.add(
            "weight",
            format!("{weight} of 100 is written as {share}: the registry counts whole shares"),
        );
    }
    share
}

/// Whether the metadata is that of a Dubbo provider.
pub(super) fn is_dubbo(metadata: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
    metadata.contains_key("dubbo.level") || metadata.get("side").is_some_and(|side| &**side == "provider")
}

/// The word for a protocol in metadata; nothing for what everybody assumes.
pub(super) fn word(protocol: Protocol) -> Option<&'static str> {
    Some(match protocol {
        Protocol::Unknown => return None,
        Protocol::Http => "http",
        Protocol::H2 => "h2",
        Protocol::Grpc => "grpc",
        Protocol::Triple => "triple",
        Protocol::Dubbo => "dubbo",
        Protocol::Tcp => "tcp",
    })
}

/// Leaves out the longest values until all fit together.
pub(super) fn bound(metadata: &mut BTreeMap<Arc<str>, Arc<str>>, limit: usize, losses: &mut Losses) {
    let mut total: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    while total > limit {
        let longest = metadata.iter().max_by_key(|(key, value)| key.len() + value.len());
        let Some(key) = longest.map(|(key, _)| key.clone()) else {
            return;
        };
        let size = key.len() + metadata.remove(&key).map_or(0, |value| value.len());
        total -= size;
        losses.add(
            shown(&escape::undo(&key)),
            format!("{size} bytes: all metadata together would be over {limit}"),
        );
    }
}

/// A text as it may stand in a report: short, on one line.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(80)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
