//! Listeners and routes of a snapshot, compiled: rules once each, tables per listener, listeners by port and address.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use landfall_model::{
    ClusterId, Snapshot,
    rules::{BackendRef, Family, HostPattern, Listener, ListenerId},
    snapshot::Resolution,
};

use super::{DubboScope, ListenerRuntime, PortScope, Routing};
use crate::{
    call::Scheme,
    filter::ResolveBackend,
    metrics::Metrics,
    route::{
        RouteTable, Rule, Where,
        dubbo::{DubboRule, DubboTable},
        hosts::HostMap,
        regexes::Regexes,
    },
};

impl Routing {
    pub(super) fn compile(snapshot: &Snapshot, previous: Option<&Regexes>, metrics: &Metrics) -> Self {
        let places: BTreeMap<ClusterId, u32> = snapshot.clusters.keys().cloned().zip(0..).collect();
        let mut resolve = |backend: &BackendRef| match snapshot.backends.get(backend) {
            Some(Resolution::Cluster(id)) => match places.get(id) {
                Some(place) => Where::Cluster(*place),
                None => Where::Missing(format!("cluster {id} is not in the snapshot").into()),
            },
            Some(Resolution::Missing(why)) => Where::Missing(why.as_str().into()),
            None => Where::Missing("not resolved in the snapshot".into()),
        };
        let mut regexes = Regexes::default();
        let mut problems = Vec::new();
        let mut transcoded = Vec::new();
        let mut tables: HashMap<&ListenerId, (&HostPattern, RouteTable)> = snapshot
            .listeners
            .iter()
            .map(|listener| (&listener.id, (&listener.hostname, RouteTable::default())))
            .collect();
        for route in &snapshot.routes {
            for (index, source) in route.rules.iter().enumerate() {
                let rule = Rule::compile(&route.id, index, source, &mut resolve, metrics).unwrap_or_else(|why| {
                    problems.push(format!("route {}, rule {index}: {why}; it answers 500", route.id));
                    Rule::broken(&route.id, index, source, &why, metrics)
                });
                let rule = Arc::new(rule);
                if rule.filters.transcoder().is_some() {
                    transcoded.push(rule.clone());
                }
                for attachment in &route.attachments {
                    let Some((hostname, table)) = tables.get_mut(&attachment.listener) else {
                        continue;
                    };
                    for numbered in source.matches.iter().enumerate() {
                        let added = table.add(route, &rule, numbered, hostname, (&mut regexes, previous));
                        if let Err(why) = added {
                            problems.push(format!(
                                "route {}, rule {index}, match {}: {why}; it takes no call",
                                route.id, numbered.0
                            ));
                        }
                    }
                }
            }
        }
        let dubbo = dubbo(snapshot, &mut resolve, (&mut regexes, previous), metrics, &mut problems);
        let listeners = snapshot
            .listeners
            .iter()
            .map(|listener| {
                let mut routes = tables
                    .remove(&listener.id)
                    .map_or_else(RouteTable::default, |(_, table)| table);
                routes.finish();
                Arc::new(ListenerRuntime {
                    id: listener.id.clone(),
                    port: listener.port,
                    hostname: listener.hostname.clone(),
                    routes,
                })
            })
            .collect::<Vec<_>>();
        Self {
            scopes: scopes(snapshot, &listeners),
            listeners,
            dubbo,
            regexes,
            transcoded,
            problems,
            places,
        }
    }
}

impl Routing {
    /// Tells the rules that call Dubbo what the registries say of its services' types.
    pub(super) fn learn(&self, snapshot: &Snapshot) {
        for rule in &self.transcoded {
            let Some(transcoder) = rule.filters.transcoder() else {
                continue;
            };
            for backend in rule.backends() {
                if let Some(Resolution::Cluster(id)) = snapshot.backends.get(&backend.backend) {
                    let known = snapshot.definitions.get(&(transcoder.name().clone(), id.clone()));
                    transcoder.learn(id, known);
                }
            }
        }
    }
}

/// The rules of every listener for Dubbo. A rule that does not compile takes no call, which is answered with an error.
fn dubbo(
    snapshot: &Snapshot,
    resolve: &mut ResolveBackend<'_>,
    (regexes, previous): (&mut Regexes, Option<&Regexes>),
    metrics: &Metrics,
    problems: &mut Vec<String>,
) -> Vec<DubboScope> {
    let listeners = snapshot.listeners.iter();
    let mut tables: Vec<(&Listener, DubboTable)> = listeners
        .filter(|listener| listener.family == Family::Dubbo)
        .map(|listener| (&**listener, DubboTable::default()))
        .collect();
    for route in &snapshot.dubbo_routes {
        for (index, source) in route.rules.iter().enumerate() {
            let rule = match DubboRule::compile(route, index, resolve, (regexes, previous), metrics) {
                Ok(rule) => Arc::new(rule),
                Err(why) => {
                    problems.push(format!(
                        "DubboRoute {}, rule {index}: {why}; it takes no call",
                        route.id
                    ));
                    continue;
                }
            };
            for (listener, table) in &mut tables {
                if !route.listeners.contains(&listener.id) {
                    continue;
                }
                for numbered in source.matches.iter().enumerate() {
                    if let Err(why) = table.add(route, &rule, numbered, (regexes, previous)) {
                        problems.push(format!(
                            "DubboRoute {}, rule {index}, match {}: {why}; it takes no call",
                            route.id, numbered.0
                        ));
                    }
                }
            }
        }
    }
    tables
        .into_iter()
        .flat_map(|(listener, mut table)| {
            table.finish();
            let table = Arc::new(table);
            let everywhere = listener.addresses.is_empty() || listener.addresses.iter().any(IpAddr::is_unspecified);
            let own = listener.addresses.iter().map(|address| Some(address.to_canonical()));
            let addresses: Vec<_> = if everywhere { vec![None] } else { own.collect() };
            let port = listener.port;
            addresses.into_iter().map(move |address| DubboScope {
                port,
                address,
                table: table.clone(),
            })
        })
        .collect()
}

/// One scope per port, scheme and address that some listener names, and one for all other addresses.
fn scopes(snapshot: &Snapshot, compiled: &[Arc<ListenerRuntime>]) -> Vec<PortScope> {
    let scheme_of = |tls: bool| if tls { Scheme::Https } else { Scheme::Http };
    let mut keys: Vec<(u16, Scheme, Option<IpAddr>)> = Vec::new();
    let http = |listener: &&Arc<Listener>| listener.family == Family::Http;
    for listener in snapshot.listeners.iter().filter(http) {
        let scheme = scheme_of(listener.tls.is_some());
        // `0.0.0.0` and `::` are no address that a connection comes in on.
        let addresses = listener.addresses.iter().map(|address| Some(address.to_canonical()));
        keys.extend(
            addresses
                .filter(|address| address.is_some_and(|address| !address.is_unspecified()))
                .chain([None])
                .map(|address| (listener.port, scheme, address)),
        );
    }
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .map(|(port, scheme, address)| {
            let mut listeners = HostMap::default();
            for (listener, compiled) in snapshot.listeners.iter().zip(compiled) {
                let everywhere = listener.addresses.is_empty() || listener.addresses.iter().any(IpAddr::is_unspecified);
                let here =
                    address.is_some_and(|address| listener.addresses.iter().any(|own| own.to_canonical() == address));
                if http(&listener)
                    && listener.port == port
                    && scheme_of(listener.tls.is_some()) == scheme
                    && (everywhere || here)
                {
                    listeners.entry(&listener.hostname, || compiled.clone());
                }
            }
            PortScope {
                port,
                address,
                scheme,
                listeners,
            }
        })
        .collect()
}
