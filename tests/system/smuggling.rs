//! Requests that two parsers could read differently are refused, and nothing of them reaches an origin.
//!
//! The engine has the long table; this one shows the same through the binary, with an origin that keeps every byte.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use landfall_tests::Landfall;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Keeps what it is sent and answers each connection's first bytes with 200.
async fn recorder() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let keep = Arc::clone(&keep);
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = socket.read(&mut buffer).await {
                    keep.lock().unwrap().extend_from_slice(&buffer[..count]);
                    let _ = socket
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await;
                }
            });
        }
    });
    (address, seen)
}

/// Sends raw bytes and returns everything that comes back until the connection ends or is quiet.
async fn exchange(port: u16, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_secs(2), socket.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

const REFUSED: &[(&str, &[u8])] = &[
    (
        "CL and TE",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    (
        "TE and CL",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nZ\r\n0\r\n\r\n",
    ),
    (
        "two CL that differ",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    ),
    (
        "a CL list",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd",
    ),
    (
        "a signed CL",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    ),
    (
        "a negative CL",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ),
    (
        "an odd TE",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE that is not last",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "TE twice",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    ),
    (
        "space before colon",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    ("folded header", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    ("bare LF", b"GET / HTTP/1.1\nHost: a\n\n"),
    (
        "bare LF in a header",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n",
    ),
    ("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rY: b\r\n\r\n"),
    ("NUL in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (
        "another Host than the absolute form",
        b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("user in the Host", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("a name with a space", b"GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n"),
    ("an empty name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    ("dot segments", b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("encoded dot segments", b"GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "TE on HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
];

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused_and_reach_no_origin() {
    let (address, seen) = recorder().await;
    let landfall = Landfall::up(&super::one_origin(address)).await;
    for (what, bytes) in REFUSED {
        let answer = exchange(landfall.port, bytes).await;
        let first = answer.lines().next().unwrap_or_default();
        assert!(
            answer.is_empty() || first.starts_with("HTTP/1.1 4") || first.starts_with("HTTP/1.0 4"),
            "{what}: {answer}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 4").count(),
            usize::from(!answer.is_empty()),
            "{what}: one answer at most: {answer}"
        );
        let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
        assert_eq!(seen, "", "{what}: the origin was reached");
    }
}

#[tokio::test]
async fn bad_chunks_end_the_request_and_nothing_after_them_is_taken_for_another_one() {
    let (address, seen) = recorder().await;
    let landfall = Landfall::up(&super::one_origin(address)).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for chunks in [
        "zz\r\nab\r\n0\r\n\r\n",
        "-2\r\nab\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
        "2\nab\n0\n\n",
        "2\r\nabXX0\r\n\r\n",
        "0x2\r\nab\r\n0\r\n\r\n",
    ] {
        exchange(landfall.port, format!("{head}{chunks}{next}").as_bytes()).await;
        let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
        assert!(!seen.contains("GET /smuggled"), "{chunks:?}: {seen}");
    }
}

#[tokio::test]
async fn an_honest_request_still_passes() {
    let (address, seen) = recorder().await;
    let landfall = Landfall::up(&super::one_origin(address)).await;
    let answer = exchange(
        landfall.port,
        b"GET /fine HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(String::from_utf8_lossy(&seen.lock().unwrap()).starts_with("GET /fine HTTP/1.1\r\n"));
}
