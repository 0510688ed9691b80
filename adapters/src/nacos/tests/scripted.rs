//! A gRPC server as Nacos' Java one behaves: stream headers only with the first message, state bound to the connection.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
    time::sleep,
};

use crate::nacos::wire::Payload;

#[derive(Clone)]
pub(super) struct Scripted {
    port: u16,
    world: Arc<Mutex<World>>,
    said: broadcast::Sender<Said>,
}

struct World {
    services: BTreeMap<String, Vec<Value>>,
    unlisted: HashSet<String>,
    clock: i64,
    protected: bool,
    negotiates: bool,
    /// Instead of any answer.
    fault: Option<i64>,
    asked: BTreeMap<String, usize>,
    answered: HashSet<String>,
}

/// What the server says on every open stream.
#[derive(Clone)]
enum Said {
    Message(String, Value),
    Cut,
}

impl Scripted {
    pub(super) async fn start() -> Self {
        // The port of gRPC is 1000 above the one that is configured.
        let listener = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if listener.local_addr().unwrap().port() > 2000 {
                break listener;
            }
        };
        let scripted = Self {
            port: listener.local_addr().unwrap().port() - 1000,
            world: Arc::new(Mutex::new(World {
                services: BTreeMap::new(),
                unlisted: HashSet::new(),
                clock: 100,
                protected: false,
                negotiates: false,
                fault: None,
                asked: BTreeMap::new(),
                answered: HashSet::new(),
            })),
            said: broadcast::Sender::new(64),
        };
        let server = scripted.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(server.clone().connection(socket));
            }
        });
        scripted
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Changes what it knows, and says nothing of it.
    pub(super) fn set(&self, service: &str, hosts: Vec<Value>) {
        let mut world = self.world.lock().unwrap();
        world.clock += 1;
        world.services.insert(service.to_owned(), hosts);
    }

    /// Changes what it knows, and pushes it.
    pub(super) fn push(&self, service: &str, hosts: Vec<Value>) {
        self.set(service, hosts.clone());
        let clock = self.world.lock().unwrap().clock;
        self.push_only(service, hosts, clock);
    }

    /// Pushes what it does not know itself.
    pub(super) fn push_only(&self, service: &str, hosts: Vec<Value>, clock: i64) {
        let protected = self.world.lock().unwrap().protected;
        let body = json!({ "requestId": "p", "namespace": "public", "groupName": "DEFAULT_GROUP", "serviceName": service,
                           "serviceInfo": info(service, &hosts, clock, protected) });
        self.say("NotifySubscriberRequest", body);
    }

    pub(super) fn set_clock(&self, clock: i64) {
        self.world.lock().unwrap().clock = clock;
    }

    pub(super) fn protect(&self, on: bool) {
        self.world.lock().unwrap().protected = on;
    }

    pub(super) fn negotiate(&self) {
        self.world.lock().unwrap().negotiates = true;
    }

    pub(super) fn unlist(&self, service: &str) {
        let mut world = self.world.lock().unwrap();
        world.unlisted.insert(service.to_owned());
        world.asked.clear();
    }

    pub(super) fn remove(&self, service: &str) {
        self.world.lock().unwrap().services.remove(service);
    }

    pub(super) fn fail(&self, code: Option<i64>) {
        self.world.lock().unwrap().fault = code;
    }

    pub(super) fn cut(&self) {
        let _ = self.said.send(Said::Cut);
    }

    pub(super) fn detect(&self) {
        self.say("ClientDetectionRequest", json!({ "requestId": "d" }));
    }

    pub(super) fn reset(&self, to: &Self) {
        let body = json!({ "requestId": "r", "serverIp": "127.0.0.1", "serverPort": (to.port + 1000).to_string() });
        self.say("ConnectResetRequest", body);
    }

    fn say(&self, kind: &str, body: Value) {
        let _ = self.said.send(Said::Message(kind.to_owned(), body));
    }

    /// Waits until the client has sent a message of this type on the stream.
    pub(super) async fn acknowledged(&self, kind: &str) {
        self.until(kind, |world| world.answered.contains(kind)).await;
    }

    /// Waits until a question has been asked this often since the last [`Scripted::unlist`].
    pub(super) async fn asked_again(&self, kind: &str, times: usize) {
        self.until(kind, |world| world.asked.get(kind).is_some_and(|asked| *asked >= times))
            .await;
    }

    async fn until(&self, what: &str, done: impl Fn(&World) -> bool) {
        for _ in 0..1000 {
            if done(&self.world.lock().unwrap()) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{what} never came");
    }

    async fn connection(self, socket: TcpStream) {
        let Ok(mut connection) = h2::server::handshake(socket).await else {
            return;
        };
        let known = Arc::new(Mutex::new(false));
        while let Some(Ok((request, respond))) = connection.accept().await {
            let path = request.uri().path().to_owned();
            let (server, known) = (self.clone(), known.clone());
            match path.as_str() {
                "/Request/request" => tokio::spawn(server.unary(request.into_body(), respond, known)),
                _ => tokio::spawn(server.stream(request.into_body(), respond, known)),
            };
        }
    }

    async fn unary(self, mut body: RecvStream, mut respond: SendResponse<Bytes>, known: Arc<Mutex<bool>>) {
        let mut bytes = BytesMut::new();
        let Some(request) = message(&mut body, &mut bytes).await else {
            return;
        };
        let answer = self.answer(&request, *known.lock().unwrap());
        let Ok(mut stream) = respond.send_response(headers(), false) else {
            return;
        };
        let _ = stream.send_data(frame(&answer), false);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let _ = stream.send_trailers(trailers);
    }

    fn answer(&self, request: &Payload, known: bool) -> Payload {
        let mut world = self.world.lock().unwrap();
        *world.asked.entry(request.kind().to_owned()).or_default() += 1;
        let asked: Value = serde_json::from_slice(request.json()).unwrap();
        let error = |code: i64| {
            let body = json!({ "resultCode": 500, "errorCode": code, "message": "as told" });
            Payload::new("ErrorResponse", &body, "")
        };
        let mut body = match (world.fault, request.kind()) {
            (Some(code), _) => return error(code),
            (_, "ServerCheckRequest") => {
                json!({ "connectionId": "1", "supportAbilityNegotiation": world.negotiates })
            }
            _ if !known => return error(301),
            (_, "HealthCheckRequest") => json!({}),
            (_, "ServiceListRequest") => {
                let listed = world.services.keys().filter(|name| !world.unlisted.contains(*name));
                let names: Vec<_> = listed.map(|name| format!("DEFAULT_GROUP@@{name}")).collect();
                json!({ "count": names.len(), "serviceNames": names })
            }
            (_, "SubscribeServiceRequest") => {
                let name = asked["serviceName"].as_str().unwrap();
                let hosts = world.services.get(name).cloned().unwrap_or_default();
                json!({ "serviceInfo": info(name, &hosts, world.clock, world.protected) })
            }
            (_, other) => panic!("{other} was asked"),
        };
        body["resultCode"] = 200.into();
        body["requestId"] = asked["requestId"].clone();
        Payload::new("Response", &body, "")
    }

    async fn stream(self, mut body: RecvStream, respond: SendResponse<Bytes>, known: Arc<Mutex<bool>>) {
        let mut said = self.said.subscribe();
        let mut bytes = BytesMut::new();
        // Set by the first message that is said.
        let mut opened: Option<SendStream<Bytes>> = None;
        let mut respond = Some(respond);
        loop {
            let (kind, message_body) = tokio::select! {
                heard = message(&mut body, &mut bytes) => {
                    let Some(heard) = heard else { return };
                    if heard.kind() != "ConnectionSetupRequest" {
                        self.world.lock().unwrap().answered.insert(heard.kind().to_owned());
                        continue;
                    }
                    *known.lock().unwrap() = true;
                    if !self.world.lock().unwrap().negotiates {
                        continue;
                    }
                    ("SetupAckRequest".to_owned(), json!({ "requestId": "s", "abilityTable": {} }))
                }
                said = said.recv() => match said {
                    Ok(Said::Message(kind, body)) => (kind, body),
                    Ok(Said::Cut) | Err(_) => return,
                },
            };
            if let Some(mut respond) = respond.take() {
                opened = respond.send_response(headers(), false).ok();
            }
            let payload = Payload::new(&kind, &message_body, "");
            if opened
                .as_mut()
                .is_none_or(|stream| stream.send_data(frame(&payload), false).is_err())
            {
                return;
            }
        }
    }
}

fn info(service: &str, hosts: &[Value], clock: i64, protected: bool) -> Value {
    json!({ "name": service, "groupName": "DEFAULT_GROUP", "clusters": "", "cacheMillis": 10000, "hosts": hosts,
            "lastRefTime": clock, "checksum": "", "allIPs": false, "reachProtectionThreshold": protected, "valid": true })
}

fn headers() -> Response<()> {
    Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap()
}

/// gRPC's frame: not compressed, length, message.
fn frame(payload: &Payload) -> Bytes {
    let message = payload.encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(&message);
    frame.freeze()
}

/// The next message of a body.
async fn message(body: &mut RecvStream, bytes: &mut BytesMut) -> Option<Payload> {
    loop {
        if bytes.len() >= 5 {
            let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            if bytes.len() >= 5 + length {
                let frame = bytes.split_to(5 + length);
                return Payload::decode(&frame[5..]).ok();
            }
        }
        let data = body.data().await?.ok()?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
}
