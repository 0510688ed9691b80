//! One gRPC connection: its setup, questions on it, and what the server says of itself.
//!
//! ```text
//! ServerCheck ─▶ stream + ConnectionSetup ─▶ (SetupAck, if the server negotiates) ─▶ HealthCheck until it is known
//!
//! questions ───▶ /Request/request                      every 5 s of silence a HealthCheck, by whoever uses it
//! the server ──▶ NotifySubscriber, ClientDetection, ConnectReset, SetupAck: answered here, told as [`Event`]
//! ```
//!
//! The server ties stream and questions by the HTTP/2 connection they travel on; everything registered and subscribed
//! ends with it. A Java server sends the stream's headers with its first message only, so nobody waits for them.
//!
//! Next on the path: [`session`](super::session).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::uri::PathAndQuery;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tonic::{
    client::Grpc,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{
    fault::{Fault, chain},
    login::Access,
    servers::Server,
    wire::{self, Payload},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For an answer (Nacos' own client: 3 s; lists may be long).
const PATIENCE: Duration = Duration::from_secs(6);
/// For the server to know the connection after the setup was sent.
const SETUP_TIMEOUT: Duration = Duration::from_secs(5);
const SETUP_PAUSE: Duration = Duration::from_millis(50);
/// Of one message; Nacos' own client takes 10 MiB.
const MESSAGE_LIMIT: usize = 32 << 20;
/// How often a server that was polled over HTTP is tried by gRPC again.
const RETRY: Duration = Duration::from_secs(20);
/// Pushes that may wait; more are not acknowledged and come again.
const WAITING: usize = 256;
/// A connection that is quiet for longer is asked for its health (Nacos' own client: 5 s).
pub(crate) const PULSE: Duration = Duration::from_secs(5);

/// What the server says of itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// A `NotifySubscriberRequest`.
    Push(Payload),
    /// It wants us to leave, perhaps for that `host:port`.
    Reset(Option<String>),
    /// The stream has ended.
    Ended(String),
}

/// A connection that is set up. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    grpc: Grpc<Channel>,
    access: Arc<Access>,
    client_ip: String,
    asked: AtomicU64,
    stream: tokio::task::AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stream.abort();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    #[serde(default)]
    support_ability_negotiation: bool,
}

impl Connection {
    /// Opens a connection for this namespace.
    pub(crate) async fn open(
        server: Server,
        namespace: &str,
        access: Arc<Access>,
    ) -> Result<(Self, mpsc::Receiver<Event>), Fault> {
        let channel = channel(&server).await?;
        let grpc = Grpc::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
        let client_ip = own_ip(&server);
        let (outbox, outgoing) = mpsc::channel::<Payload>(WAITING);
        let (events, inbox) = mpsc::channel(WAITING);
        let (acknowledged, mut setup) = watch::channel(false);
        let ip = client_ip.clone();
        let stream = tokio::spawn(stream(grpc.clone(), outbox.clone(), outgoing, events, acknowledged, ip));
        let connection = Self {
            grpc,
            access,
            client_ip,
            asked: AtomicU64::new(0),
            stream: stream.abort_handle(),
        };
        let checked: Checked = connection.read("ServerCheckRequest", json!({})).await?;
        let mut body = json!({
            "requestId": connection.request_id(),
            "module": "internal",
            "clientVersion": concat!("Landfall-Client:v", env!("CARGO_PKG_VERSION")),
            "tenant": namespace,
            "labels": { "source": "sdk", "module": "naming", "AppName": "landfall" },
        });
        if checked.support_ability_negotiation {
            // A server that is given a table answers with its own when the connection is known.
            body["abilityTable"] = json!({});
        }
        let request = Payload::new("ConnectionSetupRequest", &body, &connection.client_ip);
        outbox
            .send(connection.with_token(request).await?)
            .await
            .map_err(|_| Fault::Lost("the stream ended before the setup".to_owned()))?;
        if checked.support_ability_negotiation {
            // Without the word the health check below decides.
            let _ = timeout(SETUP_TIMEOUT, setup.wait_for(|done| *done)).await;
        }
        let deadline = Instant::now() + SETUP_TIMEOUT;
        loop {
            match connection.is_healthy().await {
                Ok(()) => return Ok((connection, inbox)),
                // Not known yet: the setup is still on its way through the server.
                Err(Fault::Unregistered(_)) if Instant::now() < deadline => sleep(SETUP_PAUSE).await,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Whether the server still knows this connection. Also what keeps it alive.
    pub(crate) async fn is_healthy(&self) -> Result<(), Fault> {
        self.ask("HealthCheckRequest", json!({ "module": "internal" }))
            .await
            .map(drop)
    }

    /// Asks and reads the answer.
    pub(super) async fn read<T: DeserializeOwned>(&self, kind: &'static str, body: Value) -> Result<T, Fault> {
        let answer = self.ask(kind, body).await?;
        serde_json::from_slice(answer.json())
            .map_err(|error| Fault::garbled(format!("the answer to {kind}: {error}"), answer.json()))
    }

    /// Asks; once more with a new token if the old one was refused.
    pub(crate) async fn ask(&self, kind: &'static str, body: Value) -> Result<Payload, Fault> {
        let asked = Instant::now();
        match self.ask_once(kind, body.clone()).await {
            Err(Fault::Denied(_)) if self.access.refused(asked).await => self.ask_once(kind, body).await,
            answer => answer,
        }
    }

    /// Passes on somebody else's question as it is, with the token it brings and none of ours, and returns the answer as it is.
    pub(crate) async fn pass(&self, kind: &str, request: Payload) -> Result<Payload, Fault> {
        self.exchange(kind, request).await
    }

    async fn ask_once(&self, kind: &'static str, mut body: Value) -> Result<Payload, Fault> {
        body["requestId"] = self.request_id().into();
        let request = self.with_token(Payload::new(kind, &body, &self.client_ip)).await?;
        let answer = self.exchange(kind, request).await?;
        wire::judge(kind, &answer).map(|()| answer)
    }

    async fn exchange(&self, kind: &str, request: Payload) -> Result<Payload, Fault> {
        let mut grpc = self.grpc.clone();
        let question = async move {
            let closed = |error: tonic::transport::Error| Fault::Lost(chain(&error));
            grpc.ready().await.map_err(closed)?;
            let path = PathAndQuery::from_static(wire::REQUEST);
            let codec = ProstCodec::<Payload, Payload>::default();
            let answer = grpc.unary(tonic::Request::new(request), path, codec).await;
            answer
                .map(tonic::Response::into_inner)
                .map_err(|status| fault_of(kind, &status))
        };
        timeout(PATIENCE, question)
            .await
            .map_err(|_| Fault::Lost(format!("{kind} was not answered within {} s", PATIENCE.as_secs())))?
    }

    async fn with_token(&self, request: Payload) -> Result<Payload, Fault> {
        Ok(match self.access.token().await? {
            Some(token) => request.with_header("accessToken", token.expose()),
            None => request,
        })
    }

    fn request_id(&self) -> String {
        self.asked.fetch_add(1, Relaxed).to_string()
    }
}

/// Returns when the server takes gRPC connections (again).
pub(super) async fn reachable_again(server: Server) {
    loop {
        sleep(RETRY).await;
        if channel(&server).await.is_ok() {
            return;
        }
    }
}

async fn channel(server: &Server) -> Result<Channel, Fault> {
    let address = server
        .grpc()
        .ok_or_else(|| Fault::Lost("the port of gRPC would be above 65535".to_owned()))?;
    let scheme = if server.is_tls() { "https" } else { "http" };
    let lost = |error: tonic::transport::Error| Fault::Lost(format!("gRPC at {address}: {}", chain(&error)));
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(lost)?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(Some(Duration::from_secs(15)))
        .buffer_size(1024);
    // No HTTP/2 pings: a Java server takes them for an attack.
    if server.is_tls() {
        let tls = ClientTlsConfig::new().with_native_roots().domain_name(server.host());
        endpoint = endpoint.tls_config(tls).map_err(lost)?;
    }
    timeout(CONNECT_TIMEOUT, endpoint.connect())
        .await
        .map_err(|_| {
            Fault::Lost(format!(
                "gRPC at {address}: no connection within {} s",
                CONNECT_TIMEOUT.as_secs()
            ))
        })?
        .map_err(lost)
}

/// Our address as the server may show it; empty if it cannot be told.
fn own_ip(server: &Server) -> String {
    let Some(ip) = server.grpc().and_then(|address| {
        // Nothing is sent: connecting a datagram socket only chooses a route. No name is looked up.
        let target: std::net::SocketAddr = address.parse().ok()?;
        let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = std::net::UdpSocket::bind(any).ok()?;
        socket.connect(target).ok()?;
        socket.local_addr().ok().map(|own| own.ip())
    }) else {
        return String::new();
    };
    ip.to_string()
}

/// The stream's life: what we have to say goes out, what the server says is answered and told.
async fn stream(
    mut grpc: Grpc<Channel>,
    outbox: mpsc::Sender<Payload>,
    mut outgoing: mpsc::Receiver<Payload>,
    events: mpsc::Sender<Event>,
    acknowledged: watch::Sender<bool>,
    client_ip: String,
) {
    let ended = async {
        grpc.ready().await.map_err(|error| chain(&error))?;
        let messages = futures_util::stream::poll_fn(move |context| outgoing.poll_recv(context));
        let path = PathAndQuery::from_static(wire::STREAM);
        let codec = ProstCodec::<Payload, Payload>::default();
        let answer = grpc.streaming(tonic::Request::new(messages), path, codec).await;
        let mut incoming = answer.map_err(|status| chain(&status))?.into_inner();
        while let Some(message) = incoming.message().await.map_err(|status| chain(&status))? {
            if let Some(event) = answer_to(message, &outbox, &acknowledged, &client_ip).await
                && events.send(event).await.is_err()
            {
                break;
            }
        }
        Ok::<_, String>(())
    };
    let what = match ended.await {
        Ok(()) => "the server closed the stream".to_owned(),
        Err(what) => format!("the stream broke: {what}"),
    };
    let _ = events.send(Event::Ended(what)).await;
}

/// Answers what the server asks on the stream; gives what others must know.
async fn answer_to(
    request: Payload,
    outbox: &mpsc::Sender<Payload>,
    acknowledged: &watch::Sender<bool>,
    client_ip: &str,
) -> Option<Event> {
    let id = wire::request_id(&request);
    let (answer, event) = match request.kind() {
        "NotifySubscriberRequest" => ("NotifySubscriberResponse", Some(Event::Push(request))),
        "ConnectResetRequest" => ("ConnectResetResponse", Some(Event::Reset(named(&request)))),
        "ClientDetectionRequest" => ("ClientDetectionResponse", None),
        "SetupAckRequest" => {
            acknowledged.send_replace(true);
            ("SetupAckResponse", None)
        }
        other => {
            let body = json!({ "resultCode": 500, "errorCode": 302, "success": false, "requestId": id,
                               "message": "not known to this client" });
            tracing::debug!(kind = other, "Nacos asks for what we do not know");
            let _ = outbox.send(Payload::new("ErrorResponse", &body, client_ip)).await;
            return None;
        }
    };
    let body = json!({ "resultCode": 200, "errorCode": 0, "success": true, "requestId": id });
    let _ = outbox.send(Payload::new(answer, &body, client_ip)).await;
    event
}

/// The server that a `ConnectResetRequest` names.
fn named(request: &Payload) -> Option<String> {
    let body: Value = serde_json::from_slice(request.json()).ok()?;
    let ip = body.get("serverIp")?.as_str().filter(|ip| !ip.is_empty())?;
    let port = match body.get("serverPort")? {
        Value::String(port) => port.clone(),
        Value::Number(port) => port.to_string(),
        _ => return None,
    };
    Some(format!("{ip}:{port}"))
}

fn fault_of(kind: &str, status: &tonic::Status) -> Fault {
    use tonic::Code;
    let what = format!("{kind}: {}", chain(status));
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => Fault::Denied(what),
        Code::Unimplemented | Code::OutOfRange | Code::InvalidArgument => Fault::garbled(what, &[]),
        Code::ResourceExhausted => Fault::NotReady(what),
        _ => Fault::Lost(what),
    }
}
