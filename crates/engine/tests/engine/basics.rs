//! HTTP/1.1 in and out: routing, headers, reuse, retries.

use std::sync::atomic::Ordering;

use http::Response;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::world::*;

#[tokio::test]
async fn a_request_reaches_the_endpoint_and_its_answer_comes_back() {
    let origin = echoes().await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut sender = connect(world.address(80)).await;
    let posted = request("POST", "/orders/7?full=yes", full("three items"));
    let answer = Answer::read(sender.send_request(posted).await.unwrap()).await;
    assert_eq!(answer.status, 200);
    let text = answer.text();
    assert!(
        text.starts_with("POST /orders/7?full=yes\n") && text.ends_with("\n\nthree items"),
        "{text}"
    );
    let seen = headers(&text);
    assert_eq!(seen["host"], "shop.test");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "shop.test");
    assert_eq!(seen["x-request-id"].len(), 32);
}

#[tokio::test]
async fn connections_on_both_sides_are_reused() {
    let origin = answers("ok").await;
    let world = World::with_workers(&Plan::to(&[origin.address]), Default::default(), 1);
    let mut sender = connect(world.address(80)).await;
    for _ in 0..20 {
        sender.ready().await.unwrap();
        let answer = Answer::read(sender.send_request(request("GET", "/", empty())).await.unwrap()).await;
        assert_eq!(answer.text(), "ok");
    }
    assert_eq!(origin.connections.load(Ordering::SeqCst), 1);
    assert_eq!(origin.requests(), 20);
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    let origin = answers("ok").await;
    let dead = [nobody().await, nobody().await];
    let world = World::start(&Plan::to(&[dead[0], origin.address, dead[1]]).policy(|policy| {
        policy.outlier.consecutive_failures = 0;
        policy.retries.budget_min_per_second = 1000;
    }));
    for method in ["GET", "POST"] {
        for _ in 0..10 {
            let mut sender = connect(world.address(80)).await;
            let answer = Answer::read(sender.send_request(request(method, "/", full("x"))).await.unwrap()).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        }
    }
}

#[tokio::test]
async fn what_no_endpoint_answers_is_answered_in_words() {
    let origin = answers("ok").await;
    let plan = Plan::default()
        .listener(80)
        .cluster("empty", &[])
        .cluster("dead", &[nobody().await])
        .cluster("orders", &[origin.address])
        .route(rule("/empty", "empty"))
        .route(rule("/dead", "dead"))
        .route(rule("/missing", "missing"))
        .route(rule("/orders", "orders"));
    let world = World::start(&plan);
    for (path, status, words) in [
        ("/orders", 200, "ok"),
        ("/nowhere", 404, "no route\n"),
        ("/missing", 500, "no such backend\n"),
        ("/dead", 502, "no connection to the endpoint\n"),
        ("/empty", 503, "no endpoint\n"),
    ] {
        assert_eq!(world.get(path).await, (status, words.to_owned()), "{path}");
    }
    let answer = get(world.address(80), "/empty").await;
    assert_eq!(answer.headers["x-landfall-error"], "no endpoint");
    eventually("the access log is written", || world.log.lines().len() == 6).await;
    // A line is written after its answer, so that the lines of two connections may come in either order.
    let lines = world.log.lines();
    let line = lines.iter().find(|line| line["path"] == "/dead").unwrap();
    assert_eq!(line["error"], "no connection to the endpoint");
    assert_eq!(line["tries"], 3);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = serve(Speaks::H1, |request| async move {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        Response::new(full(format!("[{}]", request.uri().path())))
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]));
    let one = "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let two = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let three = "POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nxy";
    let text = exchange(world.address(80), format!("{one}{two}{three}").as_bytes()).await;
    let places =
        ["[/1]", "[/2]", "[/3]"].map(|answer| text.find(answer).unwrap_or_else(|| panic!("{answer} in {text}")));
    assert!(places.is_sorted());
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
}

#[tokio::test]
async fn an_absolute_target_reaches_the_endpoint_as_a_path() {
    let origin = echoes().await;
    let world = World::start(&Plan::to(&[origin.address]));
    let text = exchange(
        world.address(80),
        b"GET http://shop.test/a?b=c HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        text.contains("GET /a?b=c\n") && text.contains("host: shop.test\n"),
        "{text}"
    );
}

#[tokio::test]
async fn answers_without_a_body_and_to_head_keep_the_connection() {
    let origin = serve(Speaks::H1, |request| async move {
        match request.uri().path() {
            "/304" => Response::builder().status(304).body(empty()).unwrap(),
            "/204" => Response::builder().status(204).body(empty()).unwrap(),
            _ => Response::new(full("body")),
        }
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut sender = connect(world.address(80)).await;
    for (method, path, status, length) in [
        ("HEAD", "/", 200, 0),
        ("GET", "/204", 204, 0),
        ("GET", "/304", 304, 0),
        ("GET", "/", 200, 4),
    ] {
        sender.ready().await.unwrap();
        let answer = Answer::read(sender.send_request(request(method, path, empty())).await.unwrap()).await;
        assert_eq!((answer.status, answer.body.len()), (status, length), "{method} {path}");
    }
}

#[tokio::test]
async fn an_offer_of_cleartext_http2_by_upgrade_is_not_passed_on() {
    let origin = echoes().await;
    let world = World::start(&Plan::to(&[origin.address]));
    // What Java's HttpClient sends with every first request.
    let asked = "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nHost: a\r\n\
                 HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nUser-Agent: Java\r\n\r\n";
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    for _ in 0..2 {
        stream.write_all(asked.as_bytes()).await.unwrap();
        let text = read_until(&mut stream, "\n\n").await.to_lowercase();
        assert!(
            text.starts_with("http/1.1 200 ") && text.contains("user-agent: java"),
            "{text}"
        );
        assert!(
            !text.contains("http2-settings: ") && !text.contains("upgrade: h2c"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_an_answer_it_can_read() {
    let address = raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let world = World::start(&Plan::to(&[address]));
    let text = exchange(world.address(80), b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(!text.to_lowercase().contains("transfer-encoding"), "{text}");
    assert!(text.ends_with("\r\n\r\nhello"), "{text}");
}
