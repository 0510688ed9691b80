//! Clients that take their time.

use std::time::{Duration, Instant};

use landfall_engine::ClientLimits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::*;

fn short() -> ClientLimits {
    ClientLimits {
        head: Duration::from_millis(300),
        handshake: Duration::from_millis(300),
        keep_alive: Duration::from_millis(400),
        h2_idle: Duration::from_millis(400),
        body: Duration::from_millis(300),
        connections: 4,
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_ended_by_a_deadline_over_all_of_it() {
    let origin = answers("ok").await;
    let world = World::with(&Plan::to(&[origin.address]), short());
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    let start = Instant::now();
    let (mut read, mut write) = stream.split();
    let trickle = async {
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "
            .iter()
            .chain([b'x'; 400].iter())
        {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let mut text = String::new();
    tokio::select! {
        () = trickle => {}
        _ = read.read_to_string(&mut text) => {}
    }
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(start.elapsed() < Duration::from_secs(4));
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn silent_clients_are_closed_without_a_word() {
    let origin = answers("ok").await;
    let world = World::with(&Plan::to(&[origin.address]), short());
    let mut silent = TcpStream::connect(world.address(80)).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");

    let mut kept = TcpStream::connect(world.address(80)).await.unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let text = read_to_end(&mut kept).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("ok"), "{text}");

    let (_client, connection) = h2::client::handshake(TcpStream::connect(world.address(80)).await.unwrap())
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), connection).await;
    assert!(ended.is_ok(), "an idle HTTP/2 connection is closed");
    eventually("all connections are gone", || world.engine.connections() == 0).await;
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_408_and_frees_the_endpoint() {
    let origin = echoes().await;
    let world = World::with(&Plan::to(&[origin.address]), short());
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nstart")
        .await
        .unwrap();
    let text = read_to_end(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    eventually("the endpoint's connection is freed", || origin.open() == 0).await;
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_the_others_are_served() {
    let origin = answers("ok").await;
    let limits = ClientLimits {
        keep_alive: Duration::from_secs(60),
        ..short()
    };
    let world = World::with(&Plan::to(&[origin.address]), limits);
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut sender = connect(world.address(80)).await;
        assert_eq!(
            Answer::read(sender.send_request(request("GET", "/", empty())).await.unwrap())
                .await
                .status,
            200
        );
        kept.push(sender);
    }
    let mut fifth = TcpStream::connect(world.address(80)).await.unwrap();
    assert_eq!(fifth.read(&mut [0; 16]).await.unwrap_or(0), 0);
    kept.truncate(2);
    eventually("there is room", || world.engine.connections() == 2).await;
    assert_eq!(world.get("/").await.0, 200);
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body() {
    let origin = echoes().await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"body").await.unwrap();
    let text = read_to_end(&mut stream).await;
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.ends_with("\n\nbody"),
        "{text}"
    );
}
