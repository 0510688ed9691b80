//! Large bodies stream through, both ways, and a client that leaves frees what it held.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use landfall_tests::{Landfall, eventually};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

const GIB: u64 = 1 << 30;
/// A debug build, allocator slack and buffers of a few streams; a buffered body would be ten times this.
const CONSTANT: u64 = 100 << 20;

/// Counts what it is sent; answers `/down/N` with N bytes and `/forever` without end; says how many bodies it is still
/// reading, or writing without end.
pub struct Streamer {
    /// Where it serves.
    pub address: SocketAddr,
    open: Arc<AtomicUsize>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Streamer {
    /// Waits until it holds this many bodies.
    pub async fn has_open(&self, expected: usize) {
        eventually(&format!("{expected} bodies are open"), || async {
            match self.open.load(Relaxed) {
                open if open == expected => Ok(()),
                open => Err(format!("{open} are")),
            }
        })
        .await;
    }
}

/// Serves on a free port.
pub async fn streamer() -> Streamer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            let serve = service_fn(move |request| stream_answer(request, Arc::clone(&counter)));
            tokio::spawn(async move {
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), serve)
                    .await;
            });
        }
    });
    Streamer { address, open }
}

async fn stream_answer(
    request: Request<Incoming>,
    open: Arc<AtomicUsize>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    if let Some(size) = path.strip_prefix("/down/").and_then(|size| size.parse::<u64>().ok()) {
        let chunk = Bytes::from(vec![b'x'; 64 << 10]);
        let frames = size / chunk.len() as u64;
        let body = stream::iter((0..frames).map(move |_| Ok(Frame::data(chunk.clone()))));
        return Ok(Response::new(BodyExt::boxed(StreamBody::new(body))));
    }
    if path == "/forever" {
        open.fetch_add(1, Relaxed);
        let guard = Open(open);
        let body = stream::unfold(guard, |guard| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok(Frame::data(Bytes::from_static(b"tick\n"))), guard))
        });
        return Ok(Response::new(BodyExt::boxed(StreamBody::new(body))));
    }
    open.fetch_add(1, Relaxed);
    let _guard = Open(open);
    let mut body = request.into_body();
    let mut total = 0u64;
    while let Some(frame) = body.frame().await {
        total += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(Response::new(Full::new(Bytes::from(total.to_string())).boxed()))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_gibibyte_streams_up_and_down_in_constant_memory() {
    let streamer = streamer().await;
    let landfall = Landfall::up(&super::one_origin(streamer.address)).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    let chunk = Bytes::from(vec![b'y'; 64 << 10]);
    let chunks = GIB / chunk.len() as u64;
    let body = stream::iter((0..chunks).map(move |_| Ok::<_, Infallible>(chunk.clone())));
    let answer = client
        .post(landfall.url("/up"))
        .body(reqwest::Body::wrap_stream(body))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), GIB.to_string());

    let mut down = client
        .get(landfall.url(&format!("/down/{GIB}")))
        .send()
        .await
        .unwrap()
        .bytes_stream();
    let mut total = 0;
    while let Some(chunk) = down.next().await {
        total += chunk.unwrap().len() as u64;
    }
    assert_eq!(total, GIB);
    let resident = landfall.peak_resident_bytes();
    assert!(resident < CONSTANT, "{} MiB were resident", resident >> 20);
}

#[tokio::test]
async fn a_client_that_stops_half_way_frees_its_upstream() {
    let streamer = streamer().await;
    let landfall = Landfall::up(&super::one_origin(streamer.address)).await;
    let mut answer = landfall
        .client
        .get(landfall.url("/forever"))
        .send()
        .await
        .unwrap()
        .bytes_stream();
    answer.next().await.unwrap().unwrap();
    assert_eq!(streamer.open.load(Relaxed), 1);
    drop(answer);
    streamer.has_open(0).await;
}

#[tokio::test]
async fn a_client_that_stops_sending_half_way_frees_its_upstream() {
    let streamer = streamer().await;
    let landfall = Landfall::up(&super::one_origin(streamer.address)).await;
    let half = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![b'y'; 64 << 10]))]).chain(stream::pending());
    let upload = landfall
        .client
        .post(landfall.url("/up"))
        .body(reqwest::Body::wrap_stream(half));
    let upload = tokio::spawn(upload.send());
    streamer.has_open(1).await;
    upload.abort();
    streamer.has_open(0).await;
}

#[tokio::test]
async fn a_slow_reader_does_not_make_the_gateway_hold_the_answer() {
    let streamer = streamer().await;
    let landfall = Landfall::up(&super::one_origin(streamer.address)).await;
    let mut answer = landfall
        .client
        .get(landfall.url(&format!("/down/{GIB}")))
        .send()
        .await
        .unwrap()
        .bytes_stream();
    answer.next().await.unwrap().unwrap();
    // Nobody reads; whatever the gateway would hold, it has taken after a second of loopback speed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let resident = landfall.peak_resident_bytes();
    assert!(resident < CONSTANT, "{} MiB were resident", resident >> 20);
}

#[tokio::test]
async fn a_websocket_echoes_through_the_gateway() {
    let address = echo_websocket().await;
    let landfall = Landfall::up(&super::one_origin(address)).await;
    let url = format!("ws://127.0.0.1:{}/chat", landfall.port);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for size in [0, 1, 125, 126, 65_535, 65_536, 300_000, 1 << 20] {
        let sent = Message::binary(vec![7u8; size]);
        socket.send(sent.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), sent, "{size} bytes");
    }
    let sent = Message::text("grüße");
    socket.send(sent.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), sent);
    socket.close(None).await.unwrap();
}

/// A WebSocket server that sends back what it is sent.
pub async fn echo_websocket() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}
