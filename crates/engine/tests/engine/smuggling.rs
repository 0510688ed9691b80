//! Requests that two servers could read differently: refused, closed, and nothing of them reaches an endpoint.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::world::*;

const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn corpus() -> Vec<(&'static str, String, u16)> {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    let chunks = "Transfer-Encoding: chunked\r\n";
    let list: &[(&str, String, u16)] = &[
        (
            "CL.TE",
            format!("{post}Content-Length: 6\r\n{chunks}\r\n0\r\n\r\nG"),
            400,
        ),
        ("TE.CL", format!("{post}{chunks}Content-Length: 4\r\n\r\n5c\r\n"), 400),
        (
            "CL.CL differing",
            format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            400,
        ),
        (
            "CL.CL equal",
            format!("{post}Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
            400,
        ),
        ("CL list", format!("{post}Content-Length: 1, 1\r\n\r\na"), 400),
        ("CL negative", format!("{post}Content-Length: -1\r\n\r\n"), 400),
        ("CL plus", format!("{post}Content-Length: +1\r\n\r\na"), 400),
        ("CL hex", format!("{post}Content-Length: 0x1\r\n\r\na"), 400),
        (
            "CL overflow",
            format!("{post}Content-Length: 99999999999999999999\r\n\r\na"),
            400,
        ),
        ("CL space inside", format!("{post}Content-Length: 1 1\r\n\r\na"), 400),
        ("TE identity", format!("{post}Transfer-Encoding: identity\r\n\r\n"), 400),
        (
            "TE chunked, identity",
            format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n"),
            400,
        ),
        (
            "TE gzip, chunked",
            format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            400,
        ),
        ("TE twice", format!("{post}{chunks}{chunks}\r\n0\r\n\r\n"), 400),
        (
            "TE vertical tab",
            format!("{post}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "TE quoted",
            format!("{post}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "TE space before colon",
            format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "TE tab before colon",
            format!("{post}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "TE folded",
            format!("{post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "TE underscore",
            format!("{post}Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "TE after bare CR",
            format!("{post}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "TE after bare LF",
            format!("{post}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "TE in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            400,
        ),
        ("NUL in value", format!("{post}X: a\0b\r\n\r\n"), 400),
        ("NUL in name", format!("{post}X\0: a\r\n\r\n"), 400),
        ("empty name", format!("{post}: a\r\n\r\n"), 400),
        ("bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n".into(), 400),
        ("bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n".into(), 400),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("tab for space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        (
            "three words and more",
            "GET / x HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
        ),
        ("no version", "GET /\r\nHost: a\r\n\r\n".into(), 400),
        ("version 3", "GET / HTTP/3.0\r\nHost: a\r\n\r\n".into(), 505),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), 400),
        ("Host with user", "GET / HTTP/1.1\r\nHost: x@a\r\n\r\n".into(), 400),
        ("Host with path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), 400),
        ("Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), 400),
        (
            "absolute form ≠ Host",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
        ),
        (
            "absolute form with user",
            "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n".into(),
            400,
        ),
        ("fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        ("dot segment", "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        (
            "encoded dot segment",
            "GET /a/%2e%2e%2fb HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
        ),
        (
            "parameter dot segment",
            "GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            400,
        ),
        ("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".into(), 405),
        (
            "TLS to a plain port",
            "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03".into(),
            400,
        ),
        ("chunk size with bare LF", format!("{post}{chunks}\r\n0\n\r\n"), 400),
        ("chunk size with space", format!("{post}{chunks}\r\n0 \r\n\r\n"), 400),
        ("chunk size 0x", format!("{post}{chunks}\r\n0x0\r\n\r\n"), 400),
        (
            "chunk size overflow",
            format!("{post}{chunks}\r\n10000000000000000\r\n\r\n"),
            400,
        ),
        (
            "chunk extension with LF",
            format!("{post}{chunks}\r\n1;\nxx\r\nx\r\n0\r\n\r\n"),
            400,
        ),
        (
            "chunk data too long",
            format!("{post}{chunks}\r\n1\r\nxy\r\n0\r\n\r\n"),
            400,
        ),
        (
            "chunk end with bare LF",
            format!("{post}{chunks}\r\n1\r\nx\n0\r\n\r\n"),
            400,
        ),
        (
            "trailer with bare LF",
            format!("{post}{chunks}\r\n0\r\nX: y\n\r\n"),
            400,
        ),
        ("trailer folded", format!("{post}{chunks}\r\n0\r\n X: y\r\n\r\n"), 400),
        (
            "target too long",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(17_000)),
            414,
        ),
        (
            "head too large",
            format!("{post}X: {}\r\n\r\n", "x".repeat(66_000)),
            431,
        ),
        ("too many fields", format!("{post}{}\r\n", "X: y\r\n".repeat(300)), 431),
    ];
    list.to_vec()
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_no_endpoint_sees_them() {
    let origin = answers("ok").await;
    let world = World::start(&Plan::to(&[origin.address]));
    for (what, text, status) in corpus() {
        let answer = exchange(world.address(80), format!("{text}{SECOND}").as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{what}: nothing is answered after a refusal: {answer:?}"
        );
        assert_eq!(origin.requests(), 0, "{what}");
    }
}

#[tokio::test]
async fn ambiguous_requests_are_refused_on_a_kept_connection_too() {
    let origin = answers("ok").await;
    let world = World::start(&Plan::to(&[origin.address]));
    for (what, text, status) in corpus().into_iter().filter(|(what, ..)| !what.starts_with("TLS")) {
        let before = origin.requests();
        let good = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = exchange(world.address(80), format!("{good}{text}{SECOND}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer:?}");
        assert!(answer.contains(&format!("HTTP/1.1 {status} ")), "{what}: {answer:?}");
        assert_eq!(origin.requests(), before + 1, "{what}");
    }
}

#[tokio::test]
async fn framing_that_turns_bad_later_ends_the_call_without_completing_it() {
    let origin = echoes().await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await
        .unwrap();
    eventually("the endpoint has the head", || origin.requests() == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    stream
        .write_all(format!("5\nhello\r\n0\r\n\r\n{SECOND}").as_bytes())
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("malformed chunk size"),
        "{answer}"
    );
    assert_eq!(origin.requests(), 1);
    eventually("the endpoint's connection is freed", || origin.open() == 0).await;
}

#[tokio::test]
async fn bytes_may_arrive_one_at_a_time() {
    let origin = echoes().await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let text = "\r\nPOST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
    for byte in text.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with("\n\nabcde"), "{answer}");
}
