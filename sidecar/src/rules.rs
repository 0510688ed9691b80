//! What of a configuration concerns one application: its own listeners, and routes to what it calls.
//!
//! ```text
//! outbound  127.0.0.1:15001   orders.eureka, orders ─▶ service orders of registry eureka       one route a service
//!                             shop                  ─▶ MeshService shop                        … or MeshService
//! inbound   :15006            any host              ─▶ the application's service, which `inbound` makes one address of
//! ```
//!
//! Gateways and their routes are the edge's and are left out; MeshServices, policies and registries stay. Two services of
//! one name in two registries have the short name in the order of the registries, as everywhere.
//!
//! Next on the path: control makes snapshots of it; then `inbound`.

use std::{collections::BTreeSet, sync::Arc};

use landfall_config::ConfigState;
use landfall_model::{
    Rules, ServiceId,
    rules::{
        Attachment, Backend, BackendRef, Family, HostPattern, HttpMatch, HttpRoute, Listener, ListenerId, MutualTls,
        PathMatch, PolicyTarget, RouteRule, Timeouts,
    },
};
use tokio::sync::watch;

use crate::SidecarOptions;

/// What the listeners are called in explanations, metrics and the admin API.
const GATEWAY: &str = "sidecar";

/// The configuration with this sidecar's rules in place of the edge's, now and after each change.
pub fn follow(mut config: watch::Receiver<ConfigState>, options: SidecarOptions) -> watch::Receiver<ConfigState> {
    let own = move |state: &ConfigState| {
        let mut state = state.clone();
        let mut config = (*state.current).clone();
        config.rules = of(&config.rules, &options);
        state.current = Arc::new(config);
        state
    };
    let (sender, receiver) = watch::channel(own(&config.borrow_and_update()));
    tokio::spawn(async move {
        while config.changed().await.is_ok() && !sender.is_closed() {
            let state = own(&config.borrow_and_update());
            sender.send_replace(state);
        }
    });
    receiver
}

/// The rules of this sidecar.
pub(crate) fn of(rules: &Rules, options: &SidecarOptions) -> Rules {
    let inbound = listener(
        "inbound",
        options.inbound.ip(),
        options.inbound.port(),
        mode(rules, options),
    );
    let outbound = listener("outbound", options.outbound.ip(), options.outbound.port(), None);
    let mut routes = vec![route(
        "inbound".to_owned(),
        &inbound,
        vec![HostPattern::Any],
        application(options),
    )];
    let mut short = BTreeSet::new();
    for mesh in &rules.mesh_services {
        short.insert(mesh.name.to_ascii_lowercase());
        let hosts = vec![HostPattern::parse(&mesh.name)];
        routes.push(route(
            format!("outbound/{}", mesh.name),
            &outbound,
            hosts,
            backend(mesh.name.clone(), None, None),
        ));
    }
    for ServiceId { registry, name } in in_order(rules, &options.calls) {
        let mut hosts = vec![HostPattern::parse(&format!("{name}.{registry}"))];
        if short.insert(name.to_ascii_lowercase()) {
            hosts.push(HostPattern::parse(name));
        }
        let to = backend(name.clone(), Some(registry.as_str().into()), None);
        routes.push(route(format!("outbound/{name}.{registry}"), &outbound, hosts, to));
    }
    Rules {
        listeners: vec![inbound, outbound],
        routes,
        dubbo_routes: Vec::new(),
        ..rules.clone()
    }
}

/// How callers come in: by the PeerAuthentication with the most exact target, else as the command line says.
fn mode(rules: &Rules, options: &SidecarOptions) -> Option<MutualTls> {
    let service = &options.service;
    let applies = |target: &&PolicyTarget| match target {
        PolicyTarget::Service(id) => id.registry == service.registry && id.name.eq_ignore_ascii_case(&service.name),
        PolicyTarget::Registry(registry) => *registry == service.registry,
        PolicyTarget::All => true,
        PolicyTarget::Mesh(_) => false,
    };
    let found = rules.authentication.iter().filter_map(|document| {
        let exact = document.targets.iter().filter(applies).min()?;
        Some((exact, document.mode))
    });
    // The first of equals.
    let best = found.min_by(|(one, _), (other, _)| one.cmp(other));
    best.map_or(Some(options.mode), |(_, mode)| mode)
}

/// The reference that stands for the application itself: its service, at the port where it listens.
pub(crate) fn application(options: &SidecarOptions) -> BackendRef {
    let registry = options.service.registry.as_str().into();
    backend(
        options.service.name.clone(),
        Some(registry),
        Some(options.application.port()),
    )
}

fn in_order<'a>(rules: &Rules, calls: &'a [ServiceId]) -> Vec<&'a ServiceId> {
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by_key(|call| rules.registries.iter().position(|registry| *registry == call.registry));
    calls
}

fn backend(name: Arc<str>, namespace: Option<Arc<str>>, port: Option<u16>) -> BackendRef {
    BackendRef {
        name,
        namespace,
        port,
        family: Family::Http,
    }
}

fn listener(name: &str, address: std::net::IpAddr, port: u16, mutual_tls: Option<MutualTls>) -> Arc<Listener> {
    Arc::new(Listener {
        id: ListenerId {
            gateway: GATEWAY.into(),
            listener: name.into(),
        },
        addresses: vec![address],
        port,
        hostname: HostPattern::Any,
        family: Family::Http,
        tls: None,
        mutual_tls,
    })
}

fn route(id: String, listener: &Listener, hostnames: Vec<HostPattern>, to: BackendRef) -> Arc<HttpRoute> {
    let everything = HttpMatch {
        path: PathMatch::Prefix("".into()),
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
    };
    Arc::new(HttpRoute {
        id: format!("{GATEWAY}/{id}").into(),
        created: None,
        hostnames: hostnames
            .iter()
            .filter(|host| **host != HostPattern::Any)
            .cloned()
            .collect(),
        attachments: vec![Attachment {
            listener: listener.id.clone(),
            hostnames,
        }],
        rules: vec![RouteRule {
            name: None,
            matches: vec![everything],
            filters: Vec::new(),
            backends: vec![Backend {
                backend: to,
                weight: 1,
                filters: Vec::new(),
            }],
            timeouts: Timeouts::default(),
        }],
    })
}

#[cfg(test)]
mod tests {
    use landfall_model::{
        RegistryName,
        rules::{MeshMember, MeshService, PeerAuthentication},
    };

    use super::*;

    fn service(registry: &str, name: &str) -> ServiceId {
        ServiceId::new(RegistryName::new(registry).unwrap(), name)
    }

    fn options(calls: Vec<ServiceId>) -> SidecarOptions {
        SidecarOptions {
            service: service("eureka", "shop"),
            application: "127.0.0.1:8080".parse().unwrap(),
            inbound: "[::]:15006".parse().unwrap(),
            outbound: "127.0.0.1:15001".parse().unwrap(),
            calls,
            mode: MutualTls::Strict,
            workers: 1,
        }
    }

    #[test]
    fn a_short_name_is_the_mesh_services_then_that_of_the_first_registry() {
        let rules = Rules {
            registries: ["consul", "eureka"].map(|name| RegistryName::new(name).unwrap()).into(),
            mesh_services: vec![Arc::new(MeshService {
                name: "Stock".into(),
                members: vec![MeshMember {
                    service: service("consul", "stock"),
                    weight: 1,
                }],
            })],
            ..Rules::default()
        };
        let calls = vec![
            service("eureka", "orders"),
            service("consul", "orders"),
            service("consul", "stock"),
        ];
        let own = of(&rules, &options(calls));
        let found: Vec<_> = own.routes[1..]
            .iter()
            .map(|route| {
                let hosts: Vec<_> = route.hostnames.iter().map(ToString::to_string).collect();
                let to = &route.rules[0].backends[0].backend;
                (
                    hosts.join(" "),
                    to.name.to_string(),
                    to.namespace.as_deref().map(str::to_owned),
                )
            })
            .collect();
        let expected = [
            ("stock", "Stock", None),
            ("orders.consul orders", "orders", Some("consul")),
            ("stock.consul", "stock", Some("consul")),
            ("orders.eureka", "orders", Some("eureka")),
        ];
        assert_eq!(
            found,
            expected.map(|(hosts, name, registry)| (hosts.to_owned(), name.to_owned(), registry.map(str::to_owned)))
        );
    }

    #[test]
    fn the_most_exact_peer_authentication_goes_before_the_command_line_and_the_first_of_equals_counts() {
        let document = |name: &str, target, mode| {
            Arc::new(PeerAuthentication {
                name: name.into(),
                targets: vec![target],
                mode,
            })
        };
        let of = |documents: &[Arc<PeerAuthentication>]| {
            let rules = Rules {
                authentication: documents.to_vec(),
                ..Rules::default()
            };
            mode(&rules, &options(Vec::new()))
        };
        let other = document("other", PolicyTarget::Service(service("eureka", "orders")), None);
        let all = document("all", PolicyTarget::All, Some(MutualTls::Permissive));
        let late = document("late", PolicyTarget::All, None);
        let own = document("own", PolicyTarget::Service(service("eureka", "Shop")), None);
        assert_eq!(of(&[]), Some(MutualTls::Strict), "as the command line says");
        assert_eq!(of(&[other]), Some(MutualTls::Strict));
        assert_eq!(of(&[all.clone(), late]), Some(MutualTls::Permissive));
        assert_eq!(of(&[all, own]), None);
    }

    #[test]
    fn the_edges_listeners_and_routes_are_left_out_and_only_the_inbound_side_asks_for_names() {
        let edge = of(&Rules::default(), &options(Vec::new()));
        let own = of(&edge, &options(vec![service("eureka", "orders")]));
        let listeners: Vec<_> = own
            .listeners
            .iter()
            .map(|listener| (listener.port, listener.mutual_tls))
            .collect();
        assert_eq!(listeners, [(15006, Some(MutualTls::Strict)), (15001, None)]);
        assert_eq!(own.routes.len(), 2);
        assert_eq!(own.routes[0].attachments[0].listener, own.listeners[0].id);
    }
}
