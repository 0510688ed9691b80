//! What is asked of Consul's catalog, as operations of one transaction. Pure.
//!
//! There is no operation that deletes a node, nor one that names a node alone: `{"Node": …}` without a service
//! deregisters everything on it, whoever registered it.

use std::sync::Arc;

use landfall_model::Status;
use serde_json::{Value, json};

use super::nodes::Place;
use crate::publish::Shaped;

/// One record set or deleted. Each names an instance of a service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation<'a> {
    /// The service's instance with its check.
    Set { place: Place<'a>, shaped: &'a Shaped },
    /// The service's instance; its checks go with it.
    Delete { place: Place<'a>, service: &'a str },
}

impl Operation<'_> {
    /// Which record it is about.
    pub(super) fn id(&self) -> Arc<str> {
        match self {
            Self::Set { shaped, .. } => shaped.key.id.clone(),
            Self::Delete { place, .. } => format!("{}/{}", place.node, place.id).into(),
        }
    }

    /// As a transaction takes it.
    pub(super) fn json(&self) -> Vec<Value> {
        match *self {
            Self::Set { place, shaped } => set(place, shaped),
            Self::Delete { place, service } => vec![json!({
                "Service": { "Verb": "delete", "Node": place.node, "Service": { "ID": place.id, "Service": service } }
            })],
        }
    }
}

fn set(Place { node, id }: Place<'_>, shaped: &Shaped) -> Vec<Value> {
    let instance = &shaped.record.instance;
    let (tags, meta): (Vec<_>, Vec<_>) = instance.metadata.iter().partition(|(key, _)| key.starts_with("tag."));
    let tags: Vec<&str> = tags.iter().filter_map(|(key, _)| key.strip_prefix("tag.")).collect();
    let meta: Value = meta
        .into_iter()
        .map(|(key, value)| (key.to_string(), json!(**value)))
        .collect();
    let share = instance.weight / landfall_model::service::DEFAULT_WEIGHT;
    let maintenance = instance.status == Status::Maintenance;
    // Both are ids that Consul itself gives: of an agent's only check, and of its maintenance mode.
    let (normal, special) = (format!("service:{id}"), format!("_service_maintenance:{id}"));
    let (check, other) = if maintenance {
        (&special, &normal)
    } else {
        (&normal, &special)
    };
    let (name, status) = match instance.status {
        Status::Maintenance => ("Service Maintenance Mode", "critical"),
        Status::Warning => ("As Landfall read it", "warning"),
        Status::Passing => ("As Landfall read it", "passing"),
        _ => ("As Landfall read it", "critical"),
    };
    vec![
        json!({ "Service": { "Verb": "set", "Node": node, "Service": {
            "ID": id,
            "Service": *shaped.key.service,
            "Tags": tags,
            "Meta": meta,
            "Address": instance.host.to_string(),
            "Port": instance.ports.first().map_or(0, |port| port.number),
            "Weights": { "Passing": share.max(1), "Warning": share },
        } } }),
        json!({ "Check": { "Verb": "set", "Check": {
            "Node": node,
            "CheckID": check,
            "Name": name,
            "Status": status,
            "Notes": "This record was written by Landfall; the check follows the record it was taken from.",
            "Output": format!("{} of registry {}", shaped.record.mark.origin.instance, shaped.record.mark.origin.registry),
            "ServiceID": id,
            "ServiceName": *shaped.key.service,
        } } }),
        json!({ "Check": { "Verb": "delete", "Check": { "Node": node, "CheckID": other } } }),
    ]
}
