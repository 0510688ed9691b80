//! Bodies that are too large to hold, connections that stop being HTTP, clients that leave.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::*;

const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 1024;

fn large() -> Body {
    let chunk = Bytes::from(vec![7; CHUNK]);
    let frames =
        futures_util::stream::iter((0..CHUNKS).map(move |_| Ok::<_, hyper::Error>(Frame::data(chunk.clone()))));
    BodyExt::boxed(StreamBody::new(frames))
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_stream_through_both_ways_in_little_memory() {
    let origin = serve(Speaks::H1, |request| async move {
        let mut body = request.into_body().into_data_stream();
        let mut sum = 0;
        while let Some(chunk) = body.next().await {
            sum += chunk.unwrap().len();
        }
        assert_eq!(sum, CHUNK * CHUNKS);
        Response::new(large())
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut sender = connect(world.address(80)).await;
    let before = resident();
    let mut highest = before;
    let answer = sender.send_request(request("POST", "/", large())).await.unwrap();
    let mut body = answer.into_body().into_data_stream();
    let mut sum = 0;
    while let Some(chunk) = body.next().await {
        sum += chunk.unwrap().len();
        highest = highest.max(resident());
    }
    assert_eq!(sum, CHUNK * CHUNKS);
    // Other tests run beside this one; 64 MiB held once would show.
    assert!(highest - before < 48 << 20, "grew by {} MiB", (highest - before) >> 20);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_endpoint() {
    let origin = serve(Speaks::H1, |request| async move {
        if request.uri().path() == "/wait" {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        Response::new(large())
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]));
    for (path, read) in [("/wait", 0), ("/large", 100_000)] {
        let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let asked = origin.requests();
        eventually("the endpoint is asked", || origin.requests() > asked || asked > 0).await;
        let mut buffer = vec![0; read];
        stream.read_exact(&mut buffer).await.unwrap();
        drop(stream);
        eventually("the endpoint's connection is freed", || origin.open() == 0).await;
    }
    eventually("no call is in flight", || world.engine.connections() == 0).await;
}

#[tokio::test]
async fn an_endpoint_that_breaks_off_ends_the_answer_visibly() {
    let address = raw(|mut stream, _| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstart\r\n")
            .await;
    })
    .await;
    let world = World::start(&Plan::to(&[address]));
    let mut sender = connect(world.address(80)).await;
    let answer = sender.send_request(request("GET", "/", empty())).await.unwrap();
    assert!(
        Answer::try_read(answer).await.is_err(),
        "a cut answer must not look complete"
    );
}

#[tokio::test]
async fn websockets_pass_bytes_both_ways_until_one_side_ends() {
    let address = raw(|mut stream, _| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(
            head.contains("upgrade: websocket\r\n") && head.contains("sec-websocket-key: abc\r\n"),
            "{head}"
        );
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nwelcome";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => stream.write_all(&buffer[..count]).await.unwrap(),
            }
        }
    })
    .await;
    // The call's time ends with the 101; the stream lives on.
    let world = World::start(&Plan::to(&[address]).timeouts(Some(300), None));
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    // The first bytes after the handshake come with it, before the 101.
    let hello = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\nearly";
    stream.write_all(hello.as_bytes()).await.unwrap();
    let text = read_until(&mut stream, "early").await;
    assert!(text.starts_with("HTTP/1.1 101 ") && text.contains("welcome"), "{text}");
    for word in ["\0\u{1}binary\n\n", "more"] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.write_all(word.as_bytes()).await.unwrap();
        read_until(&mut stream, word).await;
    }
    drop(stream);
    eventually("the connection is gone", || world.engine.connections() == 0).await;
}

#[tokio::test]
async fn events_arrive_one_by_one_and_outlive_the_deadline() {
    let origin = serve(Speaks::H1, |_| async {
        let events = futures_util::stream::unfold(0, |n| async move {
            tokio::time::sleep(Duration::from_millis(150)).await;
            (n < 5).then(|| {
                (
                    Ok::<_, hyper::Error>(Frame::data(Bytes::from(format!("data: {n}\n\n")))),
                    n + 1,
                )
            })
        });
        Response::builder()
            .header("content-type", "text/event-stream")
            .body(BodyExt::boxed(StreamBody::new(events)))
            .unwrap()
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]).timeouts(Some(400), None));
    let mut sender = connect(world.address(80)).await;
    let answer = sender.send_request(request("GET", "/", empty())).await.unwrap();
    let mut body = answer.into_body().into_data_stream();
    let mut seen = Vec::new();
    while let Some(chunk) = body.next().await {
        seen.push(String::from_utf8(chunk.unwrap().to_vec()).unwrap());
    }
    assert_eq!(seen, (0..5).map(|n| format!("data: {n}\n\n")).collect::<Vec<_>>());
}
