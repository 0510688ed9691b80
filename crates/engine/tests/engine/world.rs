//! Snapshots, servers and clients for the tests.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use landfall_engine::{ClientLimits, DubboOptions, Engine, EngineOptions, Mesh};
use landfall_model::{
    Cluster, ClusterId, Endpoint, Origin, Protocol, RegistryName, ServiceId, Snapshot,
    rules::{
        Attachment, AuthorizationPolicy, Backend, BackendRef, CertificateFiles, DubboMatch, DubboRoute, DubboRule,
        Family, Filter, HostPattern, HttpMatch, HttpRoute, Listener, ListenerId, ListenerTls, PathMatch, RouteRule,
        Timeouts, TrafficPolicy,
    },
    snapshot::{ClusterTarget, Resolution},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub type Body = BoxBody<Bytes, hyper::Error>;

/// What a snapshot is to say.
#[derive(Clone, Default)]
pub struct Plan {
    pub listeners: Vec<Arc<Listener>>,
    pub routes: Vec<RouteRule>,
    /// Rules of the listener of [`Plan::dubbo_to`].
    pub dubbo: Vec<DubboRule>,
    pub clusters: Vec<(String, Vec<Endpoint>, TrafficPolicy)>,
    /// Who the engine is.
    pub mesh: Option<Arc<Mesh>>,
    /// Of every cluster.
    pub authorization: Vec<Arc<AuthorizationPolicy>>,
}

pub fn reference(name: &str) -> BackendRef {
    BackendRef {
        name: name.into(),
        namespace: None,
        port: None,
        family: Family::Http,
    }
}

pub fn endpoint(address: SocketAddr, protocol: Protocol) -> Endpoint {
    Endpoint {
        address,
        protocol,
        tls: None,
        sidecar: None,
        weight: 100,
        zone: None,
        tag: None,
        exported: None,
        origin: Origin {
            registry: registry(),
            service: "s".into(),
            instance: address.to_string().into(),
        },
        changed: None,
    }
}

/// A rule that sends a prefix to a cluster of that name.
pub fn rule(prefix: &str, cluster: &str) -> RouteRule {
    RouteRule {
        name: None,
        matches: vec![HttpMatch {
            path: PathMatch::Prefix(prefix.trim_end_matches('/').into()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }],
        filters: Vec::new(),
        backends: vec![Backend {
            backend: reference(cluster),
            weight: 1,
            filters: Vec::new(),
        }],
        timeouts: Timeouts::default(),
    }
}

impl Plan {
    /// A listener on any port (the logical one is 80) and everything to one cluster of plain HTTP endpoints.
    pub fn to(addresses: &[SocketAddr]) -> Self {
        Self::default()
            .listener(80)
            .cluster("orders", addresses)
            .route(rule("/", "orders"))
    }

    /// A Dubbo listener (the logical port is 20880) and every call to one cluster of these endpoints.
    pub fn dubbo_to(addresses: &[SocketAddr]) -> Self {
        let mut plan = Self::default().listener(20880);
        Arc::make_mut(plan.listeners.last_mut().unwrap()).family = Family::Dubbo;
        plan.dubbo_cluster("calls", addresses)
            .dubbo_rule(dubbo_rule(DubboMatch::default(), "calls"))
    }

    pub fn dubbo_cluster(self, name: &str, addresses: &[SocketAddr]) -> Self {
        let endpoints = addresses.iter().map(|address| endpoint(*address, Protocol::Dubbo));
        self.cluster_with(name, endpoints.collect(), TrafficPolicy::default())
    }

    pub fn dubbo_rule(mut self, rule: DubboRule) -> Self {
        self.dubbo.push(rule);
        self
    }

    pub fn listener(self, port: u16) -> Self {
        self.listener_with(&format!("l{port}"), port, "", None)
    }

    pub fn listener_with(mut self, name: &str, port: u16, host: &str, tls: Option<Vec<CertificateFiles>>) -> Self {
        self.listeners.push(Arc::new(Listener {
            id: ListenerId {
                gateway: "edge".into(),
                listener: name.into(),
            },
            addresses: vec!["127.0.0.1".parse().unwrap()],
            port,
            hostname: HostPattern::parse(host),
            family: Family::Http,
            tls: tls.map(|certificates| ListenerTls { certificates }),
            mutual_tls: None,
        }));
        self
    }

    pub fn cluster(self, name: &str, addresses: &[SocketAddr]) -> Self {
        let endpoints = addresses
            .iter()
            .map(|address| endpoint(*address, Protocol::Http))
            .collect();
        self.cluster_with(name, endpoints, TrafficPolicy::default())
    }

    pub fn cluster_with(mut self, name: &str, mut endpoints: Vec<Endpoint>, policy: TrafficPolicy) -> Self {
        endpoints.sort_by_key(|endpoint| endpoint.address);
        self.clusters.retain(|known| known.0 != name);
        self.clusters.push((name.into(), endpoints, policy));
        self
    }

    /// Changes the policy of the last cluster.
    pub fn policy(mut self, change: impl FnOnce(&mut TrafficPolicy)) -> Self {
        change(&mut self.clusters.last_mut().unwrap().2);
        self
    }

    pub fn route(mut self, rule: RouteRule) -> Self {
        self.routes.push(rule);
        self
    }

    /// Adds a filter to the last rule.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.routes.last_mut().unwrap().filters.push(filter);
        self
    }

    pub fn timeouts(mut self, request: Option<u64>, per_try: Option<u64>) -> Self {
        self.routes.last_mut().unwrap().timeouts = Timeouts {
            request: request.map(Duration::from_millis),
            backend_request: per_try.map(Duration::from_millis),
        };
        self
    }

    pub fn snapshot(&self, version: u64) -> Arc<Snapshot> {
        let mut snapshot = Snapshot {
            version,
            rules_version: version,
            listeners: self.listeners.clone(),
            ..Snapshot::default()
        };
        for (name, endpoints, policy) in &self.clusters {
            let id = ClusterId {
                target: ClusterTarget::Service(ServiceId::new(registry(), name.as_str())),
                port: None,
                family: Family::Http,
            };
            snapshot
                .backends
                .insert(reference(name), Resolution::Cluster(id.clone()));
            let cluster = Cluster {
                id: id.clone(),
                endpoints: endpoints.iter().cloned().map(Arc::new).collect(),
                policy: Arc::new(policy.clone()),
            };
            if !self.authorization.is_empty() {
                snapshot.authorization.insert(id.clone(), self.authorization.clone());
            }
            snapshot.clusters.insert(id, Arc::new(cluster));
        }
        let attach = |listener: &Arc<Listener>| Attachment {
            listener: listener.id.clone(),
            hostnames: vec![listener.hostname.clone()],
        };
        if !self.routes.is_empty() {
            snapshot.routes.push(Arc::new(HttpRoute {
                id: "default/all".into(),
                created: None,
                hostnames: Vec::new(),
                attachments: self.listeners.iter().map(attach).collect(),
                rules: self.routes.clone(),
            }));
        }
        let speaks = |listener: &&Arc<Listener>| listener.family == Family::Dubbo;
        let calls = self.listeners.iter().filter(speaks);
        if !self.dubbo.is_empty() {
            snapshot.dubbo_routes.push(Arc::new(DubboRoute {
                id: "default/calls".into(),
                created: None,
                listeners: calls.map(|listener| listener.id.clone()).collect(),
                rules: self.dubbo.clone(),
            }));
        }
        Arc::new(snapshot)
    }
}

/// A rule that sends calls to a cluster of that name.
pub fn dubbo_rule(matches: DubboMatch, cluster: &str) -> DubboRule {
    DubboRule {
        name: None,
        matches: vec![matches],
        filters: Vec::new(),
        refuse: Vec::new(),
        backends: vec![Backend {
            backend: reference(cluster),
            weight: 1,
            filters: Vec::new(),
        }],
        timeouts: Timeouts::default(),
        idempotent: Vec::new(),
    }
}

/// An engine with its snapshots.
pub struct World {
    pub engine: Engine,
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    version: AtomicUsize,
    pub log: Log,
}

impl World {
    pub fn start(plan: &Plan) -> Self {
        Self::with(plan, ClientLimits::default())
    }

    pub fn with(plan: &Plan, clients: ClientLimits) -> Self {
        Self::with_workers(plan, clients, 2)
    }

    pub fn with_workers(plan: &Plan, clients: ClientLimits, workers: usize) -> Self {
        Self::with_options(plan, clients, workers, DubboOptions::default())
    }

    /// One worker, so that there is one connection to each endpoint.
    pub fn with_dubbo(plan: &Plan, dubbo: DubboOptions) -> Self {
        Self::with_options(plan, ClientLimits::default(), 1, dubbo)
    }

    fn with_options(plan: &Plan, clients: ClientLimits, workers: usize, dubbo: DubboOptions) -> Self {
        let (snapshots, follow) = watch::channel(plan.snapshot(1));
        let log = Log::default();
        let options = EngineOptions {
            workers,
            bind_override: [80, 81, 443, 444, 20880].map(|port| (port, 0)).into(),
            access_log: Some(Box::new(log.clone())),
            clients,
            dubbo,
            mesh: plan.mesh.clone(),
            ..EngineOptions::default()
        };
        Self {
            engine: Engine::start(follow, options).unwrap(),
            snapshots,
            version: AtomicUsize::new(1),
            log,
        }
    }

    /// Publishes a plan and waits until calls see it.
    pub async fn publish(&self, plan: &Plan) {
        let version = self.version.fetch_add(1, Ordering::Relaxed) as u64 + 1;
        self.snapshots.send_replace(plan.snapshot(version));
        eventually("the snapshot is in use", || self.engine.runtime().version() >= version).await;
    }

    /// Where the listener with that logical port accepts.
    pub fn address(&self, port: u16) -> SocketAddr {
        self.find(port).expect("the listener is bound")
    }

    pub fn find(&self, port: u16) -> Option<SocketAddr> {
        self.engine
            .listeners()
            .into_iter()
            .find(|state| state.port == port)?
            .bound
    }

    /// One GET over a connection of its own.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = get(self.address(80), path).await;
        (answer.status, answer.text())
    }
}

/// Access log lines.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub fn lines(&self) -> Vec<serde_json::Value> {
        let text = self.0.lock().unwrap();
        text.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

/// Waits for a condition, at most a minute.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "not in a minute: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An HTTP/1.1 server with a count of connections and requests.
#[derive(Clone)]
pub struct Origin1 {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub open: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
}

impl Origin1 {
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// Counts a connection out however it ends.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Which HTTP a test server speaks.
#[derive(Clone, Copy, PartialEq)]
pub enum Speaks {
    H1,
    H2,
}

/// Starts a server whose handler gets each request.
pub async fn serve<F, R>(speaks: Speaks, handler: F) -> Origin1
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Origin1 {
        address: listener.local_addr().unwrap(),
        connections: Arc::default(),
        open: Arc::default(),
        requests: Arc::default(),
    };
    let counts = server.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            counts.connections.fetch_add(1, Ordering::SeqCst);
            counts.open.fetch_add(1, Ordering::SeqCst);
            let (counts, handler) = (counts.clone(), handler.clone());
            let open = Open(counts.open.clone());
            tokio::spawn(async move {
                let _open = open;
                let requests = counts.requests.clone();
                let service = hyper::service::service_fn(move |request| {
                    requests.fetch_add(1, Ordering::SeqCst);
                    let answer = handler(request);
                    async move { Ok::<_, std::convert::Infallible>(answer.await) }
                });
                let io = TokioIo::new(stream);
                let _ = match speaks {
                    Speaks::H1 => {
                        let server = hyper::server::conn::http1::Builder::new();
                        server.serve_connection(io, service).with_upgrades().await
                    }
                    Speaks::H2 => {
                        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        server.serve_connection(io, service).await
                    }
                };
            });
        }
    });
    server
}

/// A server that answers every request with a text.
pub async fn answers(text: &'static str) -> Origin1 {
    serve(Speaks::H1, move |_| async move { Response::new(full(text)) }).await
}

/// A server that tells what it was asked: request line, headers in lower case, then the body.
pub async fn echoes() -> Origin1 {
    serve(Speaks::H1, echo).await
}

pub async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    text.push('\n');
    // A request that is cut gets no answer that anyone reads.
    let body = body
        .collect()
        .await
        .map_or_else(|_| Bytes::new(), |body| body.to_bytes());
    text.push_str(&String::from_utf8_lossy(&body));
    Response::new(full(text))
}

/// A server that does as told with the raw connection.
pub async fn raw<F, R>(handler: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(handler(stream, count));
            count += 1;
        }
    });
    address
}

/// An address where nobody listens.
pub async fn nobody() -> SocketAddr {
    // Bound and never listening, to the end of the process: so nobody else gets the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}

pub fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub async fn read(response: Response<Incoming>) -> Self {
        Self::try_read(response).await.unwrap()
    }

    pub async fn try_read(response: Response<Incoming>) -> Result<Self, hyper::Error> {
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        Ok(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body: collected.to_bytes(),
        })
    }
}

pub type Sender = hyper::client::conn::http1::SendRequest<Body>;

/// An HTTP/1.1 connection.
pub async fn connect(address: SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

pub fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "shop.test")
        .body(body)
        .unwrap()
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut sender = connect(address).await;
    Answer::read(sender.send_request(request("GET", path, empty())).await.unwrap()).await
}

/// Sends bytes and reads until the end, half a minute at most.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "still open after {:?}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until the text is there, half a minute at most.
pub async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut answer = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&answer).contains(text) {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&chunk[..count]);
        }
    };
    let read = tokio::time::timeout(Duration::from_secs(30), reading).await;
    assert!(read.is_ok(), "no {text:?} in {:?}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// A self-signed certificate for names, as files and as root for a client.
pub fn certificate(
    dir: &Path,
    file: &str,
    names: &[&str],
) -> (CertificateFiles, rustls_pki_types::CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = CertificateFiles {
        certificate: certificate.into(),
        key: key.into(),
    };
    (files, made.cert.der().clone())
}

/// A TLS connection that trusts these roots and offers this protocol.
pub async fn tls(
    address: SocketAddr,
    name: &str,
    roots: &[rustls_pki_types::CertificateDer<'static>],
    alpn: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut store = rustls::RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    }
    let stream = TcpStream::connect(address).await?;
    let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Headers as a map of texts.
pub fn headers(text: &str) -> HashMap<String, String> {
    text.lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn registry() -> RegistryName {
    RegistryName::new("file").unwrap()
}
