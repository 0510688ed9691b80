//! One gRPC connection of a client: whether it is set up, whether it lives, what it is pushed.
//!
//! ```text
//! ServerCheck ─▶ stream + ConnectionSetup ─▶ questions …         20 s of silence ─▶ ClientDetection ─(5 s)─▶ cut
//!                                             the book changes ─▶ NotifySubscriber ─▶ acknowledged, or again
//! ```
//! Next on the path: [`questions`](super::questions).

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, future::BoxFuture};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, StreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::{grpc::Server, pushes::Pushes, questions, upstream::Upstream};
use crate::{
    facade::shared::wall_clock,
    nacos::wire::{self, Payload},
};

/// Bytes of one message (Nacos: 10 MiB).
const MESSAGE: usize = 10 << 20;
/// Whoever says nothing for so long is asked whether it lives (core: `ConnectionManager.KEEP_ALIVE_TIME`).
const SILENCE: Duration = Duration::from_secs(20);
/// For the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages to the client that may wait.
const WAITING: usize = 256;
/// Between a change and its push: in a burst one push serves many changes.
const BREATH: Duration = Duration::from_millis(50);

/// A connection.
pub(super) struct Link {
    pub(super) server: Arc<Server>,
    pub(super) number: u64,
    /// What Nacos calls it.
    pub(super) id: String,
    peer: SocketAddr,
    state: Mutex<State>,
    /// Something may be due.
    bell: Notify,
    over: watch::Sender<bool>,
    /// The connection to a real Nacos that carries this one's registrations.
    pub(super) upstream: tokio::sync::Mutex<Option<Arc<Upstream>>>,
}

struct State {
    outbox: Option<mpsc::Sender<Payload>>,
    is_set_up: bool,
    namespace: String,
    heard: Instant,
    /// Until then it must say something.
    deadline: Option<Instant>,
    pushes: Pushes,
}

impl Link {
    pub(super) fn new(server: Arc<Server>, number: u64, peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            server,
            number,
            id: format!("{}_{}_{}", wall_clock(), peer.ip(), peer.port()),
            peer,
            state: Mutex::new(State {
                outbox: None,
                is_set_up: false,
                namespace: String::new(),
                heard: Instant::now(),
                deadline: None,
                pushes: Pushes::default(),
            }),
            bell: Notify::new(),
            over: watch::Sender::new(false),
            upstream: tokio::sync::Mutex::new(None),
        })
    }

    /// Answers one HTTP/2 request.
    pub(super) async fn answer(self: Arc<Self>, request: http::Request<Incoming>) -> http::Response<Body> {
        let codec = ProstCodec::<Payload, Payload>::default();
        let mut grpc = Grpc::new(codec).max_decoding_message_size(MESSAGE);
        match request.uri().path() {
            wire::REQUEST => grpc.unary(Questions(self), request).await,
            wire::STREAM => grpc.streaming(Conversation(self), request).await,
            _ => Status::unimplemented("Nacos has two methods, and this is none of them").into_http(),
        }
    }

    /// Pushes what is due and sees to it that the client lives. Returns when the connection is to be cut.
    pub(super) async fn life(&self) {
        let mut changes = self.server.shared.watch();
        loop {
            let Some(wake) = self.round(Instant::now()) else { return };
            tokio::select! {
                () = self.cut() => return,
                changed = changes.changed() => match changed {
                    Ok(()) => sleep(BREATH).await,
                    Err(_) => return,
                },
                () = self.bell.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does what is due; says when to look again, or `None` if the client is dead.
    fn round(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let silent = state.heard + SILENCE;
        if now >= silent && state.deadline.is_none() {
            // Whoever has not come so far as to be asked never will.
            let outbox = state.outbox.as_ref().filter(|_| state.is_set_up)?;
            let _ = outbox.try_send(asked(
                "ClientDetectionRequest",
                json!({ "requestId": "0", "module": "internal" }),
            ));
            state.deadline = Some(now + PATIENCE);
        }
        if state.deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
        self.push(&mut state, now);
        let end = state.deadline.unwrap_or(silent);
        Some(state.pushes.next().map_or(end, |next| next.min(end)))
    }

    fn push(&self, state: &mut State, now: Instant) {
        let Some(outbox) = state.outbox.clone() else { return };
        let pushes = &mut state.pushes;
        let moment = self.server.shared.now();
        let due: Vec<(u64, Payload)> = self.server.shared.read(|book| {
            let due = pushes.due(now, |key| book.mark_of(key)).into_iter();
            due.map(|push| {
                let (info, _) = book.info(&push.key, &push.asked, moment);
                let body = json!({
                    "requestId": push.id.to_string(), "module": "naming", "headers": {}, "namespace": push.namespace,
                    "serviceName": push.key.service, "groupName": push.key.group, "serviceInfo": info,
                });
                (push.id, asked("NotifySubscriberRequest", body))
            })
            .collect()
        });
        for (id, message) in due {
            // A client that does not read is told later.
            if outbox.try_send(message).is_err() {
                state.pushes.answered(id, false, now);
            }
        }
    }

    /// The client has said something.
    pub(super) fn heard(&self) {
        let mut state = self.state();
        state.heard = Instant::now();
        state.deadline = None;
    }

    /// Whether the setup has come.
    pub(super) fn is_set_up(&self) -> bool {
        self.state().is_set_up
    }

    /// The namespace of the setup.
    pub(super) fn namespace(&self) -> String {
        self.state().namespace.clone()
    }

    /// Changes what is pushed.
    pub(super) fn subscriptions<T>(&self, change: impl FnOnce(&mut Pushes) -> T) -> T {
        let changed = change(&mut self.state().pushes);
        self.bell.notify_one();
        changed
    }

    /// Cuts the connection.
    pub(super) fn close(&self) {
        self.over.send_replace(true);
    }

    /// Returns when the connection is cut.
    pub(super) async fn cut(&self) {
        // The sender is ours, so it is not gone before.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// The client's address.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn hear(&self, message: &Payload) {
        self.heard();
        match message.kind() {
            "ConnectionSetupRequest" => {
                let body: Value = serde_json::from_slice(message.json()).unwrap_or_default();
                let namespace = body["tenant"].as_str().unwrap_or_default().to_owned();
                self.server.shared.tend(|book, _| book.connect(self.number));
                let mut state = self.state();
                state.namespace = namespace;
                state.is_set_up = true;
            }
            "NotifySubscriberResponse" | "ErrorResponse" => {
                let body: Value = serde_json::from_slice(message.json()).unwrap_or_default();
                let is_good = message.kind() == "NotifySubscriberResponse" && body["resultCode"] == 200;
                if let Some(id) = body["requestId"].as_str().and_then(|id| id.parse().ok()) {
                    self.subscriptions(|pushes| pushes.answered(id, is_good, Instant::now()));
                }
            }
            // To a `ClientDetectionRequest`, and what we never asked: all that counts is that it came.
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message from the server.
fn asked(kind: &str, body: Value) -> Payload {
    Payload::new(kind, &body, "")
}

/// `/Request/request`.
struct Questions(Arc<Link>);

impl UnaryService<Payload> for Questions {
    type Response = Payload;
    type Future = BoxFuture<'static, Result<Response<Payload>, Status>>;

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let link = self.0.clone();
        Box::pin(async move { Ok(Response::new(questions::answer(&link, request.into_inner()).await)) })
    }
}

/// `/BiRequestStream/requestBiStream`.
struct Conversation(Arc<Link>);

type Outgoing = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

impl StreamingService<Payload> for Conversation {
    type Response = Payload;
    type ResponseStream = Outgoing;
    type Future = BoxFuture<'static, Result<Response<Outgoing>, Status>>;

    fn call(&mut self, request: Request<Streaming<Payload>>) -> Self::Future {
        let link = self.0.clone();
        Box::pin(async move {
            let (outbox, mut waiting) = mpsc::channel(WAITING);
            {
                let mut state = link.state();
                if state.outbox.is_some() {
                    return Err(Status::already_exists("this connection has its stream"));
                }
                state.outbox = Some(outbox);
            }
            tokio::spawn(listen(link, request.into_inner()));
            let outgoing = futures_util::stream::poll_fn(move |context| waiting.poll_recv(context));
            Ok(Response::new(Box::pin(outgoing.map(Ok)) as Outgoing))
        })
    }
}

/// Hears the client's side of the stream; its end is the end of the connection.
async fn listen(link: Arc<Link>, mut incoming: Streaming<Payload>) {
    loop {
        tokio::select! {
            message = incoming.message() => match message {
                Ok(Some(message)) => link.hear(&message),
                Ok(None) | Err(_) => break,
            },
            () = link.cut() => break,
        }
    }
    link.close();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::facade::{
        nacos::{
            book::{Book, Limits},
            grpc::Writes,
        },
        shared::Shared,
    };

    fn link() -> Arc<Link> {
        let book = Shared::new(Book::new("public", Limits::default(), 1));
        let server = Server::new(book, Writes::Here, Arc::new(AtomicBool::new(true)));
        Link::new(server, 1, ([127, 0, 0, 1], 1).into())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_never_set_up_is_cut() {
        let link = link();
        assert!(link.round(Instant::now()).is_some());
        tokio::time::advance(SILENCE).await;
        assert!(link.round(Instant::now()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_silent_is_asked_and_cut_if_it_stays_so() {
        let link = link();
        let (outbox, mut inbox) = mpsc::channel(WAITING);
        link.state().outbox = Some(outbox);
        link.hear(&asked("ConnectionSetupRequest", json!({ "tenant": "t" })));
        assert!(link.is_set_up() && link.namespace() == "t");
        for _ in 0..2 {
            tokio::time::advance(SILENCE).await;
            assert_eq!(link.round(Instant::now()), Some(Instant::now() + PATIENCE));
            assert_eq!(inbox.try_recv().unwrap().kind(), "ClientDetectionRequest");
            link.hear(&asked("ClientDetectionResponse", json!({ "resultCode": 200 })));
        }
        tokio::time::advance(SILENCE).await;
        assert!(link.round(Instant::now()).is_some());
        tokio::time::advance(PATIENCE).await;
        assert!(link.round(Instant::now()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn noise_on_the_stream_is_borne() {
        let link = link();
        for kind in [
            "ConnectionSetupRequest",
            "NotifySubscriberResponse",
            "ErrorResponse",
            "",
        ] {
            for body in [
                json!([]),
                json!({ "requestId": 7, "tenant": 8 }),
                json!({ "requestId": "x" }),
            ] {
                link.hear(&asked(kind, body));
            }
        }
        assert!(link.is_set_up());
    }
}
