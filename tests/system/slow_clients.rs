//! Clients that send slowly are ended by a deadline, whatever they trickle.

use std::time::Duration;

use super::streaming::streamer;
use landfall_tests::{Landfall, Origin};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The gateway's own deadlines are 10 s for a head and 30 s of silence for a body; this leaves room for a busy machine.
const LATEST: Duration = Duration::from_secs(60);

/// Sends `start`, then one byte of `trickle` a second, until the other side ends the connection.
async fn trickle_until_closed(landfall: &Landfall, start: &[u8], trickle: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(("127.0.0.1", landfall.port)).await.unwrap();
    socket.write_all(start).await.unwrap();
    let (mut reading, mut writing) = socket.into_split();
    let trickle = trickle.to_vec();
    let writer = tokio::spawn(async move {
        for byte in trickle.iter().cycle() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if writing.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(LATEST, reading.read_to_end(&mut answer)).await;
    writer.abort();
    assert!(ended.is_ok(), "the connection still stands after {LATEST:?}");
    answer
}

#[tokio::test]
async fn a_head_that_never_ends_is_ended_by_a_deadline_although_bytes_keep_coming() {
    let origin = Origin::start("origin").await;
    let landfall = Landfall::up(&super::one_origin(origin.address)).await;
    trickle_until_closed(&landfall, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", b"x").await;
    assert_eq!(origin.calls(), 0);
}

#[tokio::test]
async fn a_client_that_connects_and_says_nothing_is_ended() {
    let origin = Origin::start("origin").await;
    let landfall = Landfall::up(&super::one_origin(origin.address)).await;
    let mut socket = TcpStream::connect(("127.0.0.1", landfall.port)).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(LATEST, socket.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection still stands after {LATEST:?}");
}

#[tokio::test]
async fn a_body_that_stops_is_ended_by_a_deadline_and_frees_the_endpoint() {
    let endpoint = streamer().await;
    let landfall = Landfall::up(&super::one_origin(endpoint.address)).await;
    let mut socket = TcpStream::connect(("127.0.0.1", landfall.port)).await.unwrap();
    socket
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        .await
        .unwrap();
    endpoint.has_open(1).await;
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(LATEST, socket.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the connection still stands after {LATEST:?}");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    endpoint.has_open(0).await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_ended_by_the_time_of_its_call_although_bytes_keep_coming() {
    let endpoint = streamer().await;
    let configuration = format!(
        "{}      timeouts: {{ request: 5s }}\n",
        super::one_origin(endpoint.address)
    );
    let landfall = Landfall::up(&configuration).await;
    let start = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let answer = trickle_until_closed(&landfall, start, b"x").await;
    assert!(answer.starts_with(b"HTTP/1.1 504 "), "{}", answer.escape_ascii());
    endpoint.has_open(0).await;
}

/// More than the buffers of both sockets hold: such a client reads nothing until somebody has read what it sends.
const UPLOAD: usize = 48 << 20;

/// Sends a head and a long body, reads only then, and gives back all that was answered.
async fn send_all_then_read(landfall: &Landfall, head: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", landfall.port)).await.unwrap();
    let sent_and_read = async {
        socket.write_all(head.as_bytes()).await.unwrap();
        let part = vec![b'x'; 1 << 20];
        for _ in 0..UPLOAD >> 20 {
            socket.write_all(&part).await.unwrap();
        }
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(LATEST, sent_and_read).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_gets_the_answer_that_came_before_the_end_of_its_body() {
    // An address that refuses: the answer is made while nearly all of the body is still to come.
    let refusing = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let landfall = Landfall::up(&super::one_origin(refusing)).await;
    for (head, status) in [
        (
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {UPLOAD}\r\n\r\n"),
            "HTTP/1.1 502 ",
        ),
        // A head that is refused leaves a body that nobody can measure.
        (
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {UPLOAD}\r\nContent-Length: 1\r\n\r\n"),
            "HTTP/1.1 400 ",
        ),
    ] {
        for round in 0..5 {
            let answer = send_all_then_read(&landfall, &head).await;
            assert!(answer.starts_with(status), "round {round}: {answer:?}");
            assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        }
    }
}
