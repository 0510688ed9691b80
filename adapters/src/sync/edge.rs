//! Edges: from one registry to another, and what happens to a record on the way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_config::{
    SyncConfig,
    kinds::registry_sync::{
        GatewayAddress, InstanceSelection, Labels, Rename, ServiceSelection, SyncAddress, SyncMode,
    },
};
use landfall_model::{Host, Instance, Port, Protocol, RegistryName, Serving, service::DEFAULT_WEIGHT};

/// All edges of all documents.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges {
    from: BTreeMap<RegistryName, Vec<Arc<Edge>>>,
    targets: BTreeSet<RegistryName>,
}

/// One document's way from one registry to another.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub to: RegistryName,
    /// Name of the RegistrySync.
    pub sync: Arc<str>,
    pub mode: SyncMode,
    services: ServiceSelection,
    instances: InstanceSelection,
    rename: Rename,
    labels: Labels,
    /// A gateway that is called instead of the instances.
    pub gateway: Option<GatewayAddress>,
}

impl Edges {
    /// In document order: of several documents with one edge the first that selects a record carries it.
    pub fn new(syncs: &[SyncConfig]) -> Self {
        let mut edges = Self::default();
        for sync in syncs {
            for (from, to) in sync.spec.edges() {
                let (Ok(from), Ok(to)) = (RegistryName::new(from), RegistryName::new(to)) else {
                    continue;
                };
                edges.targets.insert(to.clone());
                let edge = Edge {
                    sync: sync.name.clone(),
                    mode: sync.spec.mode,
                    services: sync.spec.services.clone(),
                    instances: sync.spec.instances.clone(),
                    rename: sync.spec.rename_for(to.as_str()).clone(),
                    labels: sync.spec.labels_for(to.as_str()).clone(),
                    gateway: match sync.spec.address_for(to.as_str()) {
                        SyncAddress::Own(_) => None,
                        SyncAddress::Through(gateway) => Some(gateway.clone()),
                    },
                    to,
                };
                edges.from.entry(from).or_default().push(Arc::new(edge));
            }
        }
        edges
    }

    /// The edges that begin in a registry.
    pub fn from(&self, registry: &RegistryName) -> &[Arc<Edge>] {
        self.from.get(registry).map_or(&[], Vec::as_slice)
    }

    /// Registries that something is written into.
    pub fn targets(&self) -> &BTreeSet<RegistryName> {
        &self.targets
    }

    /// The documents that go from one registry to another.
    pub fn between<'a>(&'a self, from: &RegistryName, to: &'a RegistryName) -> impl Iterator<Item = &'a Arc<Edge>> {
        self.from(from).iter().filter(move |edge| edge.to == *to)
    }
}

impl Edge {
    /// Whether it carries an instance of a service.
    pub fn selects(&self, service: &str, instance: &Instance) -> bool {
        let wanted = &self.instances;
        self.services.fits(service)
            && (wanted.zones.is_empty()
                || instance
                    .zone
                    .as_deref()
                    .is_some_and(|zone| wanted.zones.iter().any(|wanted| wanted == zone)))
            && (wanted.statuses.is_empty() || wanted.statuses.iter().any(|status| status == instance.status.as_str()))
            && wanted.metadata.iter().all(|(key, pattern)| {
                let value = instance.metadata.get(key.as_str());
                value.is_some_and(|value| pattern.fits(value))
            })
    }

    /// What the service is called at its end.
    pub fn name(&self, service: &Arc<str>) -> Arc<str> {
        if self.rename.is_empty() {
            service.clone()
        } else {
            self.rename.apply(service).into()
        }
    }

    /// The instance with the metadata it has at its end. Shared if nothing changes.
    pub fn relabel(&self, instance: &Arc<Instance>) -> Arc<Instance> {
        if self.labels.is_empty() {
            return instance.clone();
        }
        let mut changed = Instance::clone(instance);
        for key in &self.labels.remove {
            changed.metadata.remove(key.as_str());
        }
        for (key, value) in &self.labels.set {
            changed.metadata.insert(key.as_str().into(), value.as_str().into());
        }
        if changed == **instance {
            instance.clone()
        } else {
            Arc::new(changed)
        }
    }
}

/// The one record that stands for the instances of a service behind a gateway. Without a port if the gateway
/// has none for what they speak.
pub(super) fn through(gateway: &GatewayAddress, members: &[Arc<Instance>]) -> Instance {
    let spoken = members.iter().flat_map(|member| match member.ports.is_empty() {
        true => vec![Protocol::Unknown],
        false => member.ports.iter().map(|port| port.protocol).collect(),
    });
    let mut ports: Vec<Port> = Vec::new();
    for protocol in spoken {
        let Some(number) = port_for(gateway, protocol) else {
            continue;
        };
        if !ports
            .iter()
            .any(|known| known.number == number && known.protocol == protocol)
        {
            ports.push(Port {
                number,
                protocol,
                tls: false,
            });
        }
    }
    let rank = |instance: &Arc<Instance>| match instance.status.serving() {
        Serving::Yes => 0,
        Serving::Draining => 1,
        Serving::No => 2,
    };
    let best = members.iter().min_by_key(|member| rank(member));
    let mut metadata = best.map(|best| best.metadata.clone()).unwrap_or_default();
    // Only what is true of all of them is true of the gateway's record.
    metadata.retain(|key, value| members.iter().all(|member| member.metadata.get(key) == Some(value)));
    Instance {
        id: super::stand::WHOLE.into(),
        host: Host::parse(&gateway.host),
        ports,
        status: best.map_or(landfall_model::Status::Unknown, |best| best.status),
        weight: DEFAULT_WEIGHT,
        zone: None,
        metadata,
        changed: None,
    }
}

fn port_for(gateway: &GatewayAddress, protocol: Protocol) -> Option<u16> {
    let word = match protocol {
        Protocol::Unknown | Protocol::Http => "http",
        Protocol::H2 => "h2",
        Protocol::Grpc => "grpc",
        Protocol::Triple => "triple",
        Protocol::Dubbo => "dubbo",
        Protocol::Tcp => "tcp",
    };
    gateway.ports.get(word).or_else(|| gateway.ports.get("other")).copied()
}
