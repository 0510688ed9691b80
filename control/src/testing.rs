//! A small stage for tests: registries, services and routes in a few words.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::SystemTime,
};

use landfall_config::{Config, ConfigState};
use landfall_model::{
    Freshness, Host, Instance, Port, Protocol, RegistryName, RegistryView, Rules, Service, ServiceId, Status, World,
    rules::*,
    service::DEFAULT_WEIGHT,
    world::{ServiceView, Session},
};

use crate::{
    compose::{Composed, Inputs, compose, why},
    resolve::{Lookup, Names},
};

/// A registry's name, known to be one.
pub fn registry(name: &str) -> RegistryName {
    RegistryName::new(name).unwrap()
}

/// `name[.registry][:port]`.
pub fn reference(text: &str) -> BackendRef {
    let (text, port) = text
        .split_once(':')
        .map_or((text, None), |(t, p)| (t, Some(p.parse().unwrap())));
    let (name, namespace) = text.split_once('.').map_or((text, None), |(n, r)| (n, Some(r.into())));
    BackendRef {
        name: name.into(),
        namespace,
        port,
        family: Family::Http,
    }
}

/// An instance that is up.
pub fn instance(id: &str, host: &str, ports: Vec<Port>) -> Instance {
    Instance {
        id: id.into(),
        host: Host::parse(host),
        ports,
        status: Status::Up,
        weight: DEFAULT_WEIGHT,
        zone: None,
        metadata: BTreeMap::new(),
        changed: None,
    }
}

/// World, rules and names under construction.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    pub world: World,
    pub rules: Rules,
    pub trust_domain: Option<landfall_identity::TrustDomain>,
    pub names: Names,
    pub definitions: landfall_adapters::definitions::Known,
}

impl Stage {
    /// Live registries `eureka` and `consul`, in this order.
    pub fn new() -> Self {
        let mut stage = Self::default();
        stage.rules.version = 1;
        for name in ["eureka", "consul"] {
            stage.rules.registries.push(registry(name));
            let now = SystemTime::now();
            let view = RegistryView {
                name: registry(name),
                kind: "static",
                address: "in place".into(),
                session: Session::Live { since: now },
                caught_up: Some(now),
                last_good: None,
                services: BTreeMap::new(),
                holds: Vec::new(),
                quarantined: Vec::new(),
                governance: Vec::new(),
            };
            stage.world.registries.insert(registry(name), Arc::new(view));
        }
        stage
    }

    /// Changes what is known of a registry.
    pub fn view(mut self, name: &str, change: impl FnOnce(&mut RegistryView)) -> Self {
        change(Arc::make_mut(self.world.registries.get_mut(name).unwrap()));
        self
    }

    pub fn session(self, name: &str, session: Session) -> Self {
        self.view(name, |view| view.session = session)
    }

    /// A service with one instance for each `ip:port`, with the address as its id.
    pub fn service(self, registry: &str, name: &str, addresses: &[&str]) -> Self {
        let instances = addresses.iter().map(|text| {
            let address: SocketAddr = text.parse().unwrap();
            let port = Port {
                number: address.port(),
                protocol: Protocol::Http,
                tls: false,
            };
            instance(text, &address.ip().to_string(), vec![port])
        });
        let instances = instances.collect();
        self.instances(registry, name, instances)
    }

    /// A service with these instances; of two with one id the first is kept.
    pub fn instances(self, registry_name: &str, name: &str, instances: Vec<Instance>) -> Self {
        let mut by_id: BTreeMap<Arc<str>, Arc<Instance>> = BTreeMap::new();
        for instance in instances {
            by_id.entry(instance.id.clone()).or_insert_with(|| Arc::new(instance));
        }
        let service = Service {
            id: ServiceId::new(registry(registry_name), name),
            instances: by_id.into_values().collect(),
        };
        let view = ServiceView {
            service: Arc::new(service),
            freshness: Freshness::Fresh {
                since: SystemTime::now(),
            },
        };
        self.view(registry_name, |registry| {
            registry.services.insert(name.into(), Arc::new(view));
        })
    }

    pub fn mesh(mut self, name: &str, members: &[(&str, &str, u32)]) -> Self {
        let members = members.iter().map(|(registry_name, name, weight)| MeshMember {
            service: ServiceId::new(registry(registry_name), *name),
            weight: *weight,
        });
        self.rules.mesh_services.push(Arc::new(MeshService {
            name: name.into(),
            members: members.collect(),
        }));
        self
    }

    pub fn policy(mut self, name: &str, targets: &[PolicyTarget], policy: TrafficPolicy) -> Self {
        let policy = ServicePolicy {
            name: name.into(),
            targets: targets.to_vec(),
            policy: Arc::new(policy),
        };
        self.rules.policies.push(Arc::new(policy));
        self
    }

    /// One route `default/r0`, `default/r1`, … for each reference, at `/r0`, `/r1`, ….
    pub fn routes(mut self, references: &[&str]) -> Self {
        let listener = ListenerId {
            gateway: "edge".into(),
            listener: "web".into(),
        };
        self.rules.listeners = vec![Arc::new(Listener {
            id: listener.clone(),
            addresses: Vec::new(),
            port: 8080,
            hostname: HostPattern::Any,
            family: Family::Http,
            tls: None,
            mutual_tls: None,
        })];
        let routes = references.iter().enumerate().map(|(index, text)| {
            let path = PathMatch::Prefix(format!("/r{index}").into());
            let matched = HttpMatch {
                path,
                method: None,
                headers: Vec::new(),
                query: Vec::new(),
            };
            let rule = RouteRule {
                name: None,
                matches: vec![matched],
                filters: Vec::new(),
                backends: vec![Backend {
                    backend: reference(text),
                    weight: 1,
                    filters: Vec::new(),
                }],
                timeouts: Timeouts::default(),
            };
            Arc::new(HttpRoute {
                id: format!("default/r{index}").into(),
                created: None,
                hostnames: Vec::new(),
                attachments: vec![Attachment {
                    listener: listener.clone(),
                    hostnames: vec![HostPattern::Any],
                }],
                rules: vec![rule],
            })
        });
        self.rules.routes = routes.collect();
        self
    }

    /// A Dubbo listener and one route with a rule for each reference.
    pub fn dubbo_routes(mut self, references: &[&str]) -> Self {
        let listener = ListenerId {
            gateway: "edge".into(),
            listener: "calls".into(),
        };
        self.rules.listeners.push(Arc::new(Listener {
            id: listener.clone(),
            addresses: Vec::new(),
            port: 20880,
            hostname: HostPattern::Any,
            family: Family::Dubbo,
            tls: None,
            mutual_tls: None,
        }));
        let rules = references.iter().map(|text| DubboRule {
            name: None,
            matches: vec![DubboMatch::default()],
            filters: Vec::new(),
            refuse: Vec::new(),
            backends: vec![Backend {
                backend: BackendRef {
                    family: Family::Dubbo,
                    ..reference(text)
                },
                weight: 1,
                filters: Vec::new(),
            }],
            timeouts: Timeouts::default(),
            idempotent: Vec::new(),
        });
        let rules = rules.collect();
        self.rules.dubbo_routes.push(Arc::new(DubboRoute {
            id: "default/calls".into(),
            created: None,
            listeners: vec![listener],
            rules,
        }));
        self
    }

    pub fn name(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        self.names.insert(name.into(), Lookup { addresses, error: None });
        self
    }

    pub fn compose(&self, previous: Option<&Composed>) -> Composed {
        let nothing = BTreeSet::new();
        compose(self.inputs(previous, previous.map_or(&nothing, |p| &p.seen)))
    }

    pub fn why(&self, composed: &Composed, name: &str, registry_name: &str) -> Vec<why::Reason> {
        let service = ServiceId::new(registry(registry_name), name);
        why::reasons(&self.inputs(None, &composed.seen), &composed.snapshot, &service)
    }

    /// The rules as an accepted configuration.
    pub fn config(&self) -> ConfigState {
        let config = Config {
            registries: Vec::new(),
            syncs: Vec::new(),
            facades: Vec::new(),
            rules: self.rules.clone(),
            warnings: Vec::new(),
            fingerprint: "0123456789abcdef".to_owned(),
            sources: Arc::new([]),
        };
        ConfigState {
            version: config.rules.version,
            current: Arc::new(config),
            accepted_at: SystemTime::now(),
            refused: None,
        }
    }

    fn inputs<'a>(&'a self, previous: Option<&'a Composed>, seen: &'a BTreeSet<ServiceId>) -> Inputs<'a> {
        Inputs {
            world: &self.world,
            rules: &self.rules,
            names: &self.names,
            seen,
            definitions: &self.definitions,
            trust_domain: self.trust_domain.as_ref(),
            previous: previous.map(|p| &p.snapshot),
        }
    }
}
