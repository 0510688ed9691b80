//! Snapshots for tests, in few words.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use landfall_model::{
    Cluster, ClusterId, Endpoint, Origin, Protocol, RegistryName, Snapshot,
    rules::{
        Attachment, Backend, BackendRef, CertificateFiles, Family, Filter, HostPattern, HttpMatch, HttpRoute, Listener,
        ListenerId, ListenerTls, PathMatch, RouteRule, TextMatch, Timeouts, TrafficPolicy, ValueMatch,
    },
    snapshot::{ClusterTarget, Resolution},
};

use crate::{
    call::{Call, Scheme, host_of},
    cluster::ClusterRuntime,
    metrics::Metrics,
    moment::Moment,
    runtime::{Choice, Runtime, Selected},
};

/// A listener without addresses; `https` gives it a certificate.
pub fn listener(name: &str, port: u16, hostname: &str, scheme: Scheme) -> Arc<Listener> {
    let certificate = CertificateFiles {
        certificate: Arc::from(std::path::Path::new("chain.pem")),
        key: Arc::from(std::path::Path::new("key.pem")),
    };
    Arc::new(Listener {
        id: ListenerId {
            gateway: "edge".into(),
            listener: name.into(),
        },
        addresses: Vec::new(),
        port,
        hostname: HostPattern::parse(hostname),
        family: Family::Http,
        tls: (scheme == Scheme::Https).then(|| ListenerTls {
            certificates: vec![certificate],
        }),
        mutual_tls: None,
    })
}

/// A route attached to those of the listeners that its host names meet.
pub fn route(name: &str, hosts: &[&str], listeners: &[Arc<Listener>], rules: Vec<RouteRule>) -> Arc<HttpRoute> {
    route_since(name, None, hosts, listeners, rules)
}

/// A route with a creation time.
pub fn route_since(
    name: &str,
    created: Option<SystemTime>,
    hosts: &[&str],
    listeners: &[Arc<Listener>],
    rules: Vec<RouteRule>,
) -> Arc<HttpRoute> {
    let hostnames: Vec<_> = hosts.iter().map(|host| HostPattern::parse(host)).collect();
    let own = if hostnames.is_empty() {
        vec![HostPattern::Any]
    } else {
        hostnames.clone()
    };
    let attachments = listeners.iter().filter_map(|listener| {
        let served: Vec<_> = own.iter().filter_map(|own| own.intersect(&listener.hostname)).collect();
        (!served.is_empty()).then(|| Attachment {
            listener: listener.id.clone(),
            hostnames: served,
        })
    });
    Arc::new(HttpRoute {
        id: format!("default/{name}").into(),
        created,
        attachments: attachments.collect(),
        hostnames,
        rules,
    })
}

/// A rule with one backend.
pub fn rule(matches: Vec<HttpMatch>, backend: &str) -> RouteRule {
    weighted(matches, &[(backend, 1)])
}

/// A rule with backends by weight.
pub fn weighted(matches: Vec<HttpMatch>, backends: &[(&str, u32)]) -> RouteRule {
    RouteRule {
        name: None,
        matches,
        filters: Vec::new(),
        backends: backends
            .iter()
            .map(|(name, weight)| Backend {
                backend: backend_ref(name),
                weight: *weight,
                filters: Vec::new(),
            })
            .collect(),
        timeouts: Timeouts::default(),
    }
}

/// A rule for everything under a prefix with these filters.
pub fn filtered(path: &str, filters: Vec<Filter>, backend: &str) -> RouteRule {
    RouteRule {
        filters,
        ..rule(vec![prefix(path)], backend)
    }
}

pub fn backend_ref(name: &str) -> BackendRef {
    BackendRef {
        name: name.into(),
        namespace: None,
        port: None,
        family: Family::Http,
    }
}

fn on_path(path: PathMatch) -> HttpMatch {
    HttpMatch {
        path,
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
    }
}

pub fn exact(path: &str) -> HttpMatch {
    on_path(PathMatch::Exact(path.into()))
}

pub fn prefix(path: &str) -> HttpMatch {
    on_path(PathMatch::Prefix(path.trim_end_matches('/').into()))
}

pub fn regex(pattern: &str) -> HttpMatch {
    on_path(PathMatch::Regex(pattern.into()))
}

/// More conditions on a match.
pub trait Conditioned {
    fn method(self, method: &str) -> Self;
    fn header(self, name: &str, value: &str) -> Self;
    fn header_like(self, name: &str, pattern: &str) -> Self;
    fn query(self, name: &str, value: &str) -> Self;
}

impl Conditioned for HttpMatch {
    fn method(mut self, method: &str) -> Self {
        self.method = Some(method.into());
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(ValueMatch {
            name: name.to_ascii_lowercase().into(),
            value: TextMatch::Exact(value.into()),
        });
        self
    }

    fn header_like(mut self, name: &str, pattern: &str) -> Self {
        self.headers.push(ValueMatch {
            name: name.to_ascii_lowercase().into(),
            value: TextMatch::Regex(pattern.into()),
        });
        self
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(ValueMatch {
            name: name.into(),
            value: TextMatch::Exact(value.into()),
        });
        self
    }
}

pub fn cluster_id(name: &str) -> ClusterId {
    ClusterId {
        target: ClusterTarget::Mesh(name.into()),
        port: None,
        family: Family::Http,
    }
}

/// `127.0.0.1` with that port.
pub fn endpoint(port: u16, weight: u32) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        protocol: Protocol::Http,
        tls: None,
        sidecar: None,
        weight,
        zone: None,
        tag: None,
        exported: None,
        origin: Origin {
            registry: RegistryName::new("eureka").unwrap(),
            service: "orders".into(),
            instance: format!("orders:{port}").into(),
        },
        changed: None,
    })
}

pub fn cluster(name: &str, endpoints: Vec<Arc<Endpoint>>, policy: TrafficPolicy) -> Arc<Cluster> {
    Arc::new(Cluster {
        id: cluster_id(name),
        endpoints,
        policy: Arc::new(policy),
    })
}

/// A cluster with endpoints of these weights on ports 1, 2, …
pub fn cluster_runtime(weights: &[u32], policy: TrafficPolicy) -> Arc<ClusterRuntime> {
    let endpoints = weights
        .iter()
        .zip(1..)
        .map(|(weight, port)| endpoint(port, *weight))
        .collect();
    let source = cluster("orders", endpoints, policy);
    ClusterRuntime::compile(&source, None, &Metrics::default(), Moment::now())
}

/// A snapshot in which every backend named by a route is a cluster with one endpoint, but those called `missing`.
pub fn snapshot(listeners: &[Arc<Listener>], routes: Vec<Arc<HttpRoute>>) -> Snapshot {
    let mut snapshot = Snapshot {
        version: 1,
        rules_version: 1,
        listeners: listeners.to_vec(),
        routes,
        dubbo_routes: Vec::new(),
        backends: BTreeMap::new(),
        clusters: BTreeMap::new(),
        authorization: BTreeMap::new(),
        definitions: BTreeMap::new(),
    };
    let rules = snapshot.routes.iter().flat_map(|route| &route.rules);
    let named = rules.flat_map(|rule| {
        let mirrored = rule.filters.iter().filter_map(|filter| match filter {
            Filter::Mirror(mirror) => Some(&mirror.backend),
            _ => None,
        });
        rule.backends.iter().map(|backend| &backend.backend).chain(mirrored)
    });
    for backend in named {
        let resolution = if &*backend.name == "missing" {
            Resolution::Missing("no registry knows `missing`".to_owned())
        } else {
            let id = cluster_id(&backend.name);
            let source = cluster(&backend.name, vec![endpoint(8080, 100)], TrafficPolicy::default());
            snapshot.clusters.insert(id.clone(), source);
            Resolution::Cluster(id)
        };
        snapshot.backends.insert(backend.clone(), resolution);
    }
    snapshot
}

pub fn runtime(listeners: &[Arc<Listener>], routes: Vec<Arc<HttpRoute>>) -> Runtime {
    let runtime = Runtime::compile(Arc::new(snapshot(listeners, routes)), None, &Arc::default());
    assert_eq!(runtime.problems(), [""; 0]);
    runtime
}

/// A request that owns its parts.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
}

impl Request {
    /// `GET`, `POST` …, then host and path with query as in `example.org:8080/orders?x=1`, then headers `name: value`.
    pub fn new(method: &str, url: &str, headers: &[&str]) -> Self {
        let at = url.find('/').unwrap();
        let (authority, rest) = url.split_at(at);
        let (path, query) = rest
            .split_once('?')
            .map_or((rest, None), |(path, query)| (path, Some(query)));
        let pairs = headers.iter().map(|header| header.split_once(": ").unwrap());
        Self {
            method: method.to_owned(),
            scheme: Scheme::Http,
            host: host_of(authority).into_owned(),
            port: 80,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers: pairs
                .map(|(name, value)| {
                    (
                        name.parse::<HeaderName>().unwrap(),
                        HeaderValue::from_str(value).unwrap(),
                    )
                })
                .collect(),
        }
    }

    pub fn https(mut self) -> Self {
        self.scheme = Scheme::Https;
        self.port = 443;
        self
    }

    pub fn call(&self) -> Call<'_> {
        Call {
            method: &self.method,
            scheme: self.scheme,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            client: "192.0.2.7:4000".parse().unwrap(),
            peer: None,
        }
    }

    /// The backend that gets the request, or the status that answers it.
    pub fn fate(&self, runtime: &Runtime, sni: Option<&str>) -> String {
        let Some(scope) = runtime.scope(self.port, Ipv4Addr::LOCALHOST.into(), self.scheme) else {
            return "no listener".to_owned();
        };
        match scope.select(&self.call(), sni) {
            Selected::NotFound => "404".to_owned(),
            Selected::Misdirected => "421".to_owned(),
            Selected::Route(matched) => match runtime.backend(matched.rule, fastrand::u64(..)) {
                Choice::Cluster { backend, .. } => backend.backend.name.to_string(),
                Choice::Missing { .. } | Choice::None => "500".to_owned(),
            },
        }
    }
}

/// The fate of a `GET`.
pub fn get(runtime: &Runtime, url: &str, headers: &[&str]) -> String {
    Request::new("GET", url, headers).fate(runtime, None)
}
