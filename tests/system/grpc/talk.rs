//! A gRPC service of every kind of call, and a caller of it; messages and methods as `protoc` would write them.
//!
//! ```text
//! service Talk {
//!   rpc Once  (Note)        returns (Note);         // the same again
//!   rpc Sum   (stream Note) returns (Note);         // how many bytes, and the sum of the numbers
//!   rpc Count (Note)        returns (stream Note);  // 1, 2, 3 … as far as it is told; 0: without end
//!   rpc Chat  (stream Note) returns (stream Note);  // each as it comes
//!   rpc Fail  (Note)        returns (Note);         // NOT_FOUND, without a message
//!   rpc Quiet (Note)        returns (Note);         // no answer ever
//! }
//! ```
//!
//! Answers carry the caller's `grpc-timeout` as `seen-timeout`; the streams' trailers, and the error, carry `checksum`.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tonic::{Code, Request, Response, Status, Streaming, body::Body, metadata::MetadataMap, transport::Channel};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// What is said.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Note {
    /// A number.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub body: Bytes,
}

impl Note {
    /// A number and nothing else.
    pub fn number(number: u64) -> Self {
        Self {
            number,
            body: Bytes::new(),
        }
    }
}

/// The largest message that either side takes.
const LARGEST: usize = 16 << 20;

/// What a trailer of the service's own says.
pub const CHECKSUM: &str = "5d41402a";

/// The path of a method.
pub fn path(method: &str) -> String {
    format!("/landfall.test.Talk/{method}")
}

/// A running server, ended with the test's runtime.
pub struct Talk {
    /// Where it serves cleartext HTTP/2.
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

/// What the server notices.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
}

/// Counts a stream for as long as the server holds it.
struct Open(Arc<Seen>);

impl Open {
    fn new(seen: Arc<Seen>) -> Self {
        seen.open.fetch_add(1, SeqCst);
        Self(seen)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

impl Talk {
    /// Serves on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let methods = Router::new()
            .route(&path("Once"), post(once))
            .route(&path("Sum"), post(sum))
            .route(&path("Count"), post(count))
            .route(&path("Chat"), post(chat))
            .route(&path("Fail"), post(fail))
            .route(&path("Quiet"), post(quiet))
            .with_state(Arc::clone(&seen));
        let counter = Arc::clone(&seen);
        let sockets = stream::unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(socket, _)| socket);
            Some((accepted, listener))
        })
        .inspect(move |_| {
            counter.connections.fetch_add(1, SeqCst);
        });
        tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_routes(methods.into())
                .serve_with_incoming(sockets)
                .await
                .unwrap();
        });
        Self { address, seen }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    /// `Count` and `Chat` calls that the server still holds.
    pub fn open(&self) -> usize {
        self.seen.open.load(SeqCst)
    }
}

type Http = axum::extract::Request;
type Answer = Result<Response<Note>, Status>;

fn server() -> tonic::server::Grpc<ProstCodec<Note, Note>> {
    tonic::server::Grpc::new(ProstCodec::default())
        .max_decoding_message_size(LARGEST)
        .max_encoding_message_size(LARGEST)
}

fn answer<T>(metadata: &MetadataMap, message: T) -> Response<T> {
    let mut answer = Response::new(message);
    if let Some(timeout) = metadata.get("grpc-timeout") {
        answer.metadata_mut().insert("seen-timeout", timeout.clone());
    }
    answer
}

fn farewell(code: Code, words: &str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("checksum", CHECKSUM.parse().unwrap());
    Status::with_metadata(code, words, metadata)
}

async fn once(request: Http) -> http::Response<Body> {
    let same = service_fn(|request: Request<Note>| async move {
        let (metadata, _, note) = request.into_parts();
        Answer::Ok(answer(&metadata, note))
    });
    server().unary(same, request).await
}

async fn sum(request: Http) -> http::Response<Body> {
    let add = service_fn(|request: Request<Streaming<Note>>| async move {
        let (metadata, _, mut notes) = request.into_parts();
        let (mut number, mut bytes) = (0, 0);
        while let Some(note) = notes.message().await? {
            number += note.number;
            bytes += note.body.len();
        }
        let body = Bytes::from(bytes.to_string());
        Answer::Ok(answer(&metadata, Note { number, body }))
    });
    server().client_streaming(add, request).await
}

async fn count(State(seen): State<Arc<Seen>>, request: Http) -> http::Response<Body> {
    let numbers = service_fn(|request: Request<Note>| {
        let open = Open::new(Arc::clone(&seen));
        async move {
            let (metadata, _, note) = request.into_parts();
            let last = if note.number == 0 { u64::MAX } else { note.number };
            let numbers = stream::iter(1..=last).map(move |number| {
                let _held = &open;
                Ok(Note::number(number))
            });
            let end = stream::iter([Err(farewell(Code::Ok, ""))]);
            Ok::<_, Status>(answer(&metadata, numbers.chain(end)))
        }
    });
    server().server_streaming(numbers, request).await
}

async fn chat(State(seen): State<Arc<Seen>>, request: Http) -> http::Response<Body> {
    let echo = service_fn(|request: Request<Streaming<Note>>| {
        let open = Open::new(Arc::clone(&seen));
        async move {
            let (metadata, _, notes) = request.into_parts();
            let notes = notes.inspect(move |_| {
                let _held = &open;
            });
            let end = stream::iter([Err(farewell(Code::Ok, ""))]);
            Ok::<_, Status>(answer(&metadata, notes.chain(end)))
        }
    });
    server().streaming(echo, request).await
}

async fn fail(request: Http) -> http::Response<Body> {
    let refuse = service_fn(|_: Request<Note>| async { Answer::Err(farewell(Code::NotFound, "no such note")) });
    server().unary(refuse, request).await
}

async fn quiet(request: Http) -> http::Response<Body> {
    let wait = service_fn(|_: Request<Note>| std::future::pending::<Answer>());
    server().unary(wait, request).await
}

/// A caller over one connection.
#[derive(Clone)]
pub struct Caller(tonic::client::Grpc<Channel>);

type Said = Result<Response<Note>, Status>;
type Told = Result<Response<Streaming<Note>>, Status>;

impl Caller {
    /// Calls through this channel.
    pub fn new(channel: Channel) -> Self {
        Self(
            tonic::client::Grpc::new(channel)
                .max_decoding_message_size(LARGEST)
                .max_encoding_message_size(LARGEST),
        )
    }

    /// One message for one.
    pub async fn unary(&mut self, method: &str, request: Request<Note>) -> Said {
        self.0.ready().await.map_err(refused)?;
        self.0.unary(request, target(method), ProstCodec::default()).await
    }

    /// One message for a stream.
    pub async fn sum<S>(&mut self, notes: S) -> Said
    where
        S: Stream<Item = Note> + Send + 'static,
    {
        self.0.ready().await.map_err(refused)?;
        let request = Request::new(notes);
        self.0
            .client_streaming(request, target("Sum"), ProstCodec::default())
            .await
    }

    /// A stream for one message.
    pub async fn count(&mut self, last: u64) -> Told {
        self.0.ready().await.map_err(refused)?;
        let request = Request::new(Note::number(last));
        self.0
            .server_streaming(request, target("Count"), ProstCodec::default())
            .await
    }

    /// A stream for a stream.
    pub async fn chat<S>(&mut self, notes: Request<S>) -> Told
    where
        S: Stream<Item = Note> + Send + 'static,
    {
        self.0.ready().await.map_err(refused)?;
        self.0.streaming(notes, target("Chat"), ProstCodec::default()).await
    }
}

fn target(method: &str) -> http::uri::PathAndQuery {
    path(method).parse().unwrap()
}

fn refused(error: tonic::transport::Error) -> Status {
    Status::unavailable(format!("no connection to the gateway: {error:?}"))
}
