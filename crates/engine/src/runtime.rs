//! The runtime: a snapshot compiled for calls. Immutable; a call takes one `Arc` of it at its start and keeps it.
//!
//! ```text
//! Snapshot ─▶ Runtime::compile ─┬─▶ routing:  port ─▶ PortScope ─▶ listener by host ─▶ RouteTable ─▶ Rule
//!             ▲                 └─▶ clusters: by index ─▶ ClusterRuntime
//!   previous ─┘  carried over: routing if no rule changed, clusters that did not change, live figures, regexes
//! ```
//!
//! On the path of a call: [`Runtime::scope`], [`PortScope::select`], then the rule's filters, [`Runtime::backend`] and
//! [`ClusterRuntime::pick`]. How listeners and routes are compiled is in `routing`.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::SystemTime};

use landfall_model::{
    ClusterId, Snapshot,
    rules::{HostPattern, ListenerId},
};

use crate::{
    authorize::{Asked, Guard},
    call::{Call, Scheme},
    cluster::ClusterRuntime,
    metrics::Metrics,
    moment::Moment,
    route::{BackendSlot, RouteTable, Rule, Where, dubbo::DubboTable, hosts::HostMap, regexes::Regexes},
    transcode::{Told, describe},
};

mod routing;

/// A snapshot, compiled.
#[derive(Debug)]
pub struct Runtime {
    snapshot: Arc<Snapshot>,
    routing: Arc<Routing>,
    clusters: Box<[Arc<ClusterRuntime>]>,
    guards: BTreeMap<ClusterId, Guard>,
    metrics: Arc<Metrics>,
    /// When this process compiled its first snapshot.
    first: SystemTime,
}

/// Everything that depends on listeners, routes and the names of clusters, but not on endpoints.
#[derive(Debug, Default)]
struct Routing {
    scopes: Vec<PortScope>,
    listeners: Vec<Arc<ListenerRuntime>>,
    dubbo: Vec<DubboScope>,
    /// Which cluster is at which place.
    places: BTreeMap<ClusterId, u32>,
    regexes: Regexes,
    /// Rules that make calls of Dubbo of HTTP requests.
    transcoded: Vec<Arc<Rule>>,
    problems: Vec<String>,
}

/// The listeners that share a port, a local address and whether they speak TLS.
#[derive(Debug)]
pub struct PortScope {
    port: u16,
    /// `None`: every address that has no scope of its own.
    address: Option<IpAddr>,
    scheme: Scheme,
    listeners: HostMap<Arc<ListenerRuntime>>,
}

/// A listener for Dubbo. Such listeners share no port and address.
#[derive(Debug)]
struct DubboScope {
    port: u16,
    /// `None`: every address that has no scope of its own.
    address: Option<IpAddr>,
    table: Arc<DubboTable>,
}

/// A listener with the routes attached to it.
#[derive(Debug)]
pub struct ListenerRuntime {
    /// Which.
    pub id: ListenerId,
    /// Its port as configured; redirects name this one.
    pub port: u16,
    /// Which hosts it answers for.
    pub hostname: HostPattern,
    /// The routes.
    pub routes: RouteTable,
}

/// What takes a call.
#[derive(Clone, Copy, Debug)]
pub enum Selected<'r> {
    /// A rule.
    Route(Matched<'r>),
    /// No listener or no rule: 404.
    NotFound,
    /// The connection was made for another listener's name: 421 (RFC 9110, section 15.5.20).
    Misdirected,
}

/// The rule that takes a call.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'r> {
    /// The listener that the call's host has chosen.
    pub listener: &'r Arc<ListenerRuntime>,
    /// The rule.
    pub rule: &'r Arc<Rule>,
    /// Which of the rule's matches, from 0.
    pub match_index: usize,
}

/// Where a rule sends a call.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'r> {
    /// To an endpoint of this cluster.
    Cluster {
        /// The backend chosen; its filters run after the rule's.
        backend: &'r Arc<BackendSlot>,
        /// Its cluster.
        cluster: &'r Arc<ClusterRuntime>,
    },
    /// To a backend that does not exist: 500.
    Missing {
        /// The backend chosen.
        backend: &'r Arc<BackendSlot>,
        /// Why it does not exist.
        reason: &'r str,
    },
    /// Nowhere: the rule has no backend, or none with a weight: 500.
    None,
}

impl PortScope {
    /// Whether no listener is there.
    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// The listener for a host name (lower case, without port): the most specific one.
    pub fn listener(&self, host: &str) -> Option<&Arc<ListenerRuntime>> {
        self.listeners.matching(host).next()
    }

    /// What takes the call.
    ///
    /// The listener is chosen by host alone and only its own routes count; there is no falling through to a less
    /// specific listener (GatewayHTTPListenerIsolation). `sni` is the server name that the client asked for in its
    /// TLS handshake, lower case: it must lead to the same listener as the host does, else the connection is being
    /// reused for a name it was not made for. A client that sent no server name cannot be judged by it.
    pub fn select(&self, call: &Call<'_>, sni: Option<&str>) -> Selected<'_> {
        let Some(listener) = self.listener(call.host) else {
            return Selected::NotFound;
        };
        if let Some(name) = sni
            && !self
                .listener(name)
                .is_some_and(|by_name| Arc::ptr_eq(by_name, listener))
        {
            return Selected::Misdirected;
        }
        listener.routes.find(call).map_or(Selected::NotFound, |found| {
            Selected::Route(Matched {
                listener,
                rule: found.rule,
                match_index: found.match_index,
            })
        })
    }
}

impl Runtime {
    /// Compiles a snapshot. What did not change since `previous`, and everything learnt from calls, is carried over.
    ///
    /// Never fails: a rule that does not compile answers 500 and is told in [`Runtime::problems`].
    pub fn compile(snapshot: Arc<Snapshot>, previous: Option<&Self>, metrics: &Arc<Metrics>) -> Self {
        let now = Moment::now();
        let wall = SystemTime::now();
        let known: BTreeMap<&ClusterId, &Arc<ClusterRuntime>> = previous
            .iter()
            .flat_map(|previous| &previous.clusters)
            .map(|cluster| (&cluster.id, cluster))
            .collect();
        let clusters: Box<[Arc<ClusterRuntime>]> = snapshot
            .clusters
            .values()
            .map(|cluster| ClusterRuntime::compile(cluster, known.get(&cluster.id).copied(), metrics, now))
            .collect();
        let routing = match previous {
            Some(previous) if previous.routes_alike(&snapshot) => previous.routing.clone(),
            _ => Arc::new(Routing::compile(
                &snapshot,
                previous.map(|previous| &previous.routing.regexes),
                metrics,
            )),
        };
        routing.learn(&snapshot);
        let policies = snapshot.authorization.iter();
        let guards = policies.map(|(id, policies)| (id.clone(), Guard::compile(policies)));
        let guards = guards.collect();
        if let Some(previous) = previous {
            note_first_uses(&clusters, &known, previous.first, wall, metrics);
        }
        metrics.compiles.increment();
        metrics.forget_unused();
        Self {
            snapshot,
            routing,
            clusters,
            guards,
            metrics: metrics.clone(),
            first: previous.map_or(wall, |previous| previous.first),
        }
    }

    /// Whether the routing compiled for this runtime also serves `snapshot`.
    fn routes_alike(&self, snapshot: &Snapshot) -> bool {
        self.snapshot.listeners == snapshot.listeners
            && self.snapshot.routes == snapshot.routes
            && self.snapshot.dubbo_routes == snapshot.dubbo_routes
            && self.snapshot.backends == snapshot.backends
            && self.snapshot.clusters.keys().eq(snapshot.clusters.keys())
    }

    /// The listeners for a connection: its listener's port as configured, the local address it came in on, and
    /// whether it speaks TLS. `None`: no listener is there any more; answer 404.
    pub fn scope(&self, port: u16, local: IpAddr, scheme: Scheme) -> Option<&PortScope> {
        let local = local.to_canonical();
        let mut found = None;
        for scope in self
            .routing
            .scopes
            .iter()
            .filter(|scope| scope.port == port && scope.scheme == scheme)
        {
            match scope.address {
                Some(address) if address == local => return Some(scope),
                Some(_) => {}
                None => found = Some(scope),
            }
        }
        found
    }

    /// The rules for a connection of Dubbo's, by its listener's port as configured and the local address it came in on.
    /// `None`: no listener is there any more.
    pub fn dubbo(&self, port: u16, local: IpAddr) -> Option<&DubboTable> {
        let local = local.to_canonical();
        let mut here = self.routing.dubbo.iter().filter(|scope| scope.port == port);
        let own = here.clone().find(|scope| scope.address == Some(local));
        own.or_else(|| here.find(|scope| scope.address.is_none()))
            .map(|scope| &*scope.table)
    }

    /// The backend for a call of that rule that drew this number.
    pub fn backend<'r>(&'r self, rule: &'r Rule, random: u64) -> Choice<'r> {
        match rule.pick_backend(random) {
            None => Choice::None,
            Some(backend) => match (&backend.to, self.cluster(&backend.to)) {
                (_, Some(cluster)) => Choice::Cluster { backend, cluster },
                (Where::Missing(reason), None) => Choice::Missing { backend, reason },
                (Where::Cluster(_), None) => Choice::Missing {
                    backend,
                    reason: "the rule is of another runtime",
                },
            },
        }
    }

    /// The cluster that a backend or a mirror of this runtime's rules leads to.
    pub fn cluster(&self, to: &Where) -> Option<&Arc<ClusterRuntime>> {
        match to {
            Where::Cluster(place) => self.clusters.get(*place as usize),
            Where::Missing(_) => None,
        }
    }

    /// The cluster of that id.
    pub fn cluster_by_id(&self, id: &ClusterId) -> Option<&Arc<ClusterRuntime>> {
        self.routing
            .places
            .get(id)
            .and_then(|place| self.clusters.get(*place as usize))
    }

    /// Whether the policies of a cluster let a call through.
    pub(crate) fn admits(&self, cluster: &ClusterId, asked: &Asked<'_>) -> bool {
        self.guards.get(cluster).is_none_or(|guard| {
            let decision = guard.decide(asked);
            if !decision.allowed {
                tracing::debug!(%cluster, by = ?decision.by, "call denied");
            }
            decision.allowed
        })
    }

    /// Why the policies of a cluster would deny a call, for people; `None` if they would not.
    pub(crate) fn denial(&self, cluster: &ClusterId, asked: &Asked<'_>) -> Option<String> {
        let decision = self.guards.get(cluster)?.decide(asked);
        match (decision.allowed, decision.by) {
            (true, _) => None,
            (false, Some((policy, rule))) => Some(format!("AuthorizationPolicy {policy}, rule {rule}")),
            (false, None) => Some("there are ALLOW policies, and no rule of theirs fits".to_owned()),
        }
    }

    /// All clusters, by id.
    pub fn clusters(&self) -> &[Arc<ClusterRuntime>] {
        &self.clusters
    }

    /// All listeners, in document order.
    pub fn listeners(&self) -> &[Arc<ListenerRuntime>] {
        &self.routing.listeners
    }

    /// What it was compiled from.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Version of the snapshot.
    pub fn version(&self) -> u64 {
        self.snapshot.version
    }

    /// Version of the rules in the snapshot.
    pub fn rules_version(&self) -> u64 {
        self.snapshot.rules_version
    }

    /// The OpenAPI document, in JSON, of the methods of Dubbo's services that can be called with it.
    pub fn openapi(&self) -> String {
        let mut told = Vec::new();
        for rule in &self.routing.transcoded {
            let route = self.snapshot.routes.iter().find(|route| route.id == rule.route);
            let source = route.and_then(|route| route.rules.get(rule.index));
            let (Some(source), Some(transcoder)) = (source, rule.filters.transcoder()) else {
                continue;
            };
            for backend in rule.backends() {
                if let Some(cluster) = self.cluster(&backend.to) {
                    told.push(Told {
                        transcoder,
                        cluster: &cluster.id,
                        matches: &source.matches,
                    });
                }
            }
        }
        describe(&told).to_string()
    }

    /// What did not compile, in words. Empty unless the configuration's checks have a gap.
    pub fn problems(&self) -> &[String] {
        &self.routing.problems
    }

    /// The figures that calls of this runtime are counted in.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

/// Measures how long the registry's changes took to become usable endpoints.
fn note_first_uses(
    clusters: &[Arc<ClusterRuntime>],
    known: &BTreeMap<&ClusterId, &Arc<ClusterRuntime>>,
    first: SystemTime,
    now: SystemTime,
    metrics: &Metrics,
) {
    for cluster in clusters {
        let before = known.get(&cluster.id);
        if before.is_some_and(|before| Arc::ptr_eq(before, cluster)) {
            continue;
        }
        for member in cluster.members() {
            // What had changed before this process knew anything is not a delay of ours.
            let Some(changed) = member.endpoint.changed.filter(|changed| changed.at >= first) else {
                continue;
            };
            let seen = before.is_some_and(|before| {
                let old = before
                    .members()
                    .binary_search_by_key(&member.endpoint.address, |old| old.endpoint.address);
                old.is_ok_and(|at| before.members()[at].endpoint.changed == Some(changed))
            });
            if !seen {
                // Another host's clock may be ahead of ours; that reads as no delay.
                metrics.first_use(changed.since, now.duration_since(changed.at).unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests;
