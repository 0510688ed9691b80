//! Answers that are held until they are whole, and those that are not.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use landfall_model::{Protocol, rules::TrafficPolicy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::world::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole";
/// Longer than an answer of several packets takes, so that its pieces are read one by one.
const PAUSE: Duration = Duration::from_millis(20);

/// An endpoint and what it was asked.
struct Fragile {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fragile {
    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Dies on its first `broken` connections when it has sent these pieces; answers "whole" on later ones.
async fn dies_after(broken: usize, pieces: &'static [&'static str]) -> Fragile {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seen = asked.clone();
    let address = raw(move |mut stream, count| {
        let seen = seen.clone();
        async move {
            stream.set_nodelay(true).unwrap();
            let mut request = read_until(&mut stream, "\r\n\r\n").await;
            if request.contains("content-length: 4") || request.contains("Content-Length: 4") {
                while !request.ends_with("body") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.unwrap();
                    request.push(byte[0].into());
                }
            }
            seen.lock().unwrap().push(request);
            if count >= broken {
                stream.write_all(WHOLE.as_bytes()).await.unwrap();
                return;
            }
            for piece in pieces {
                stream.write_all(piece.as_bytes()).await.unwrap();
                tokio::time::sleep(PAUSE).await;
            }
            if pieces.len().is_multiple_of(2) {
                // As a killed process does it that had bytes left to read: a reset.
                socket2::SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        }
    })
    .await;
    Fragile { address, asked }
}

/// Sends these pieces and nothing more until it is told to end.
async fn waits_after(pieces: &'static [&'static str]) -> (SocketAddr, Arc<Notify>) {
    let end = Arc::new(Notify::new());
    let told = end.clone();
    let address = raw(move |mut stream, _| {
        let told = told.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            for piece in pieces {
                stream.write_all(piece.as_bytes()).await.unwrap();
                tokio::time::sleep(PAUSE).await;
            }
            told.notified().await;
        }
    })
    .await;
    (address, end)
}

async fn over_h2(address: SocketAddr) -> (u16, Vec<u8>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://shop.test/").body(()).unwrap();
    let (answer, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        all.extend_from_slice(&chunk);
    }
    (head.status.as_u16(), all)
}

#[tokio::test]
async fn an_endpoint_that_dies_in_the_middle_of_a_small_answer_costs_a_try_and_not_the_call() {
    const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for pieces in [
        &[HEAD][..],
        &[HEAD, "half"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
        &[HEAD, "ha", "lf"],
        &[HINTS, HEAD, "half", "more"],
        &["HTTP/1.1 200 OK\r\nConte"],
    ] {
        let origin = dies_after(1, pieces).await;
        let world = World::start(&Plan::to(&[origin.address]));
        assert_eq!(world.get("/").await, (200, "whole".into()), "{pieces:?}");
        assert_eq!(origin.asked(), 2, "{pieces:?}");
        eventually("the call is logged", || world.log.lines().len() == 1).await;
        let line = &world.log.lines()[0];
        assert_eq!(
            (&line["tries"], &line["sent"], line.get("error")),
            (&2.into(), &5.into(), None)
        );

        let origin = dies_after(1, pieces).await;
        let world = World::start(&Plan::to(&[origin.address]));
        assert_eq!(over_h2(world.address(80)).await, (200, b"whole".to_vec()), "{pieces:?}");
        assert_eq!(origin.asked(), 2, "{pieces:?}");
    }
}

/// On its first connection it sends these pieces and is gone at once; later it answers in chunks that come slowly.
async fn dies_in_chunks(pieces: &'static [&'static str], reset: bool) -> SocketAddr {
    raw(move |mut stream, count| async move {
        stream.set_nodelay(true).unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        if count > 0 {
            for piece in [CHUNKED, "5\r\nwhole\r\n", "0\r\n\r\n"] {
                stream.write_all(piece.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            return;
        }
        // Without a pause: how long one is held is a matter of time.
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
        }
        if reset {
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    })
    .await
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn an_endpoint_that_dies_in_the_middle_of_a_chunked_answer_costs_a_try_and_not_the_call() {
    for reset in [false, true] {
        for pieces in [
            &[CHUNKED][..],
            &[CHUNKED, "a\r\nha"],
            &[CHUNKED, "4\r\nhalf\r\n"],
            &[CHUNKED, "4\r\nhalf\r\n", "0\r\n"],
        ] {
            let world = World::start(&Plan::to(&[dies_in_chunks(pieces, reset).await]));
            assert_eq!(world.get("/").await, (200, "whole".into()), "{pieces:?} {reset}");
            eventually("the call is logged", || world.log.lines().len() == 1).await;
            assert_eq!(world.log.lines()[0]["tries"], 2, "{pieces:?} {reset}");
        }
    }
}

#[tokio::test]
async fn a_chunked_answer_arrives_as_it_was_sent_however_its_pieces_come() {
    for seed in 0..24 {
        let mut random = fastrand::Rng::with_seed(seed);
        let pieces: Vec<(String, u64)> = (0..random.usize(0..6))
            .map(|_| {
                let most = [10, 1000, 40_000][random.usize(..3)];
                let length = random.usize(1..=most);
                let text: String = (0..length).map(|_| random.alphanumeric()).collect();
                (text, [0, 1, 15, 25, 40][random.usize(..5)])
            })
            .collect();
        let expected: String = pieces.iter().map(|(text, _)| &**text).collect();
        let address = raw(move |mut stream, _| {
            let pieces = pieces.clone();
            async move {
                stream.set_nodelay(true).unwrap();
                read_until(&mut stream, "\r\n\r\n").await;
                stream.write_all(CHUNKED.as_bytes()).await.unwrap();
                for (text, pause) in pieces {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
                    stream.write_all(chunk.as_bytes()).await.unwrap();
                }
                stream.write_all(b"0\r\n\r\n").await.unwrap();
            }
        })
        .await;
        let world = World::start(&Plan::to(&[address]));
        let (status, body) = world.get("/").await;
        assert_eq!(status, 200);
        assert!(
            body == *expected,
            "seed {seed}: {} of {} bytes",
            body.len(),
            expected.len()
        );
    }
}

#[tokio::test]
async fn the_body_of_the_request_is_sent_again_to_the_next_endpoint() {
    let origin = dies_after(1, &[HEAD, "half"]).await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut sender = connect(world.address(80)).await;
    let answer = sender.send_request(request("PUT", "/", full("body"))).await.unwrap();
    assert_eq!(Answer::read(answer).await.text(), "whole");
    let asked = origin.asked.lock().unwrap();
    assert_eq!(asked.len(), 2);
    assert!(
        asked.iter().all(|request| request.ends_with("\r\n\r\nbody")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn without_a_further_try_the_head_goes_out_at_once_and_the_answer_is_cut() {
    // Two tries die while they are held, the third is the last. They end without a reset, which would take along what
    // has not been read yet.
    let origin = dies_after(9, &[HEAD, "ha", "lf"]).await;
    let world = World::start(&Plan::to(&[origin.address]));
    let text = exchange(world.address(80), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\nhalf"),
        "{text}"
    );
    assert_eq!(origin.asked(), 3);
}

#[tokio::test]
async fn an_exhausted_budget_ends_a_held_answer_with_a_whole_502() {
    let origin = dies_after(9, &[HEAD, "half"]).await;
    let plan = Plan::to(&[origin.address]).policy(|policy| {
        policy.retries.budget_percent = 0;
        policy.retries.budget_min_per_second = 0;
    });
    let world = World::start(&plan);
    assert_eq!(world.get("/").await, (502, "endpoint broke off\n".into()));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test]
async fn what_is_not_held_goes_out_piece_by_piece() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const SSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept: text/event-stream\r\n\r\n";
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const LARGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n";
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n";
    const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10\r\n\r\n";
    const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";
    let cases: [(&str, &'static [&'static str], u32); 7] = [
        (GET, &[LARGE, "start"], 2),
        (GET, &[CHUNKED, "start"], 2),
        (GET, &[EVENTS, "start"], 2),
        (GET, &[UNTIL_CLOSE, "start"], 2),
        (SSE, &[HEAD, "start"], 2),
        (POST, &[HEAD, "start"], 2),
        (GET, &[HEAD, "start"], 0),
    ];
    for (request, pieces, attempts) in cases {
        let (address, end) = waits_after(pieces).await;
        let plan = Plan::to(&[address]).policy(|policy| policy.retries.attempts = attempts);
        let world = World::start(&plan);
        let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "start").await;
        end.notify_one();
        read_to_end(&mut stream).await;
        eventually("the call is logged", || world.log.lines().len() == 1).await;
        assert_eq!(world.log.lines()[0]["tries"], 1, "{request} {pieces:?}");
    }
}

#[tokio::test]
async fn a_held_answer_that_drips_is_given_up_when_the_time_of_the_try_is_over() {
    let drips = || async {
        raw(|mut stream, count| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            if count > 0 {
                stream.write_all(WHOLE.as_bytes()).await.unwrap();
                return;
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await
    };
    let start = Instant::now();
    let plan = |address| Plan::to(&[address]).timeouts(Some(9000), Some(300));
    let world = World::start(&plan(drips().await));
    assert_eq!(world.get("/").await, (200, "whole".into()));
    let world = World::start(&plan(drips().await));
    assert_eq!(over_h2(world.address(80)).await, (200, b"whole".to_vec()));
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_held_answer_that_stalls_is_a_504_when_the_calls_time_is_over() {
    let (address, _end) = waits_after(&[HEAD, "start"]).await;
    let world = World::start(&Plan::to(&[address]).timeouts(Some(300), None));
    let start = Instant::now();
    assert_eq!(world.get("/").await, (504, "timed out\n".into()));
    assert_eq!(over_h2(world.address(80)).await, (504, b"timed out\n".to_vec()));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn connections_on_both_sides_stay_usable_after_held_answers() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let address = raw(move |mut stream, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            stream.set_nodelay(true).unwrap();
            // The endpoint sends every answer in pieces and keeps its connection.
            loop {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => return,
                    }
                }
                for piece in [HEAD, "01234", "56789"] {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    })
    .await;
    let world = World::with_workers(&Plan::to(&[address]), Default::default(), 1);
    let mut sender = connect(world.address(80)).await;
    for _ in 0..4 {
        sender.ready().await.unwrap();
        let answer = sender.send_request(request("GET", "/", empty())).await.unwrap();
        assert_eq!(Answer::read(answer).await.text(), "0123456789");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!(world.engine.connections(), 1);

    // Requests sent before the answers are there get theirs in order.
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    let one = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(&[&one[..], one].concat()).await.unwrap();
    read_until(&mut stream, "0123456789").await;
    read_until(&mut stream, "0123456789").await;
}

#[tokio::test]
async fn an_answer_of_the_largest_size_that_is_held_arrives_as_it_was_sent() {
    let body: Bytes = (0..64 * 1024_usize).map(|n| (n % 251) as u8).collect();
    let sent = body.clone();
    let address = raw(move |mut stream, _| {
        let sent = sent.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            for piece in sent.chunks(9973) {
                tokio::time::sleep(Duration::from_millis(2)).await;
                stream.write_all(piece).await.unwrap();
            }
        }
    })
    .await;
    let world = World::start(&Plan::to(&[address]));
    assert_eq!(get(world.address(80), "/").await.body, body);
    let (status, received) = over_h2(world.address(80)).await;
    assert!(status == 200 && received == body);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_answer_is_held_frees_the_endpoint() {
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    let address = raw(move |mut stream, _| {
        let count = count.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read_u8().await;
            count.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let world = World::start(&Plan::to(&[address]));
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("the answer has begun", || open.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(PAUSE).await;
    drop(stream);
    eventually("the endpoint is free", || open.load(Ordering::SeqCst) == 0).await;
    eventually("the call is over", || world.engine.connections() == 0).await;
}

#[tokio::test]
async fn a_reset_stream_of_an_http2_endpoint_is_tried_again_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let first = count.fetch_add(1, Ordering::SeqCst) == 0;
                    let head = Response::builder().header("content-length", "5").body(()).unwrap();
                    let mut send = respond.send_response(head, false).unwrap();
                    tokio::spawn(async move {
                        tokio::time::sleep(PAUSE).await;
                        if first {
                            send.send_data("wh".into(), false).unwrap();
                            tokio::time::sleep(PAUSE).await;
                            send.send_reset(h2::Reason::INTERNAL_ERROR);
                        } else {
                            send.send_data("whole".into(), true).unwrap();
                        }
                    });
                }
            });
        }
    });
    let plan = Plan::default()
        .listener(80)
        .cluster_with(
            "orders",
            vec![endpoint(address, Protocol::H2)],
            TrafficPolicy::default(),
        )
        .route(rule("/", "orders"));
    let world = World::start(&plan);
    assert_eq!(world.get("/").await, (200, "whole".into()));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(over_h2(world.address(80)).await, (200, b"whole".to_vec()));
}
