//! HTTP/2 on either side, with and without TLS; gRPC; which certificate, and 421.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use landfall_model::Protocol;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

use crate::world::*;

type Client = h2::client::SendRequest<Bytes>;

async fn client<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Client {
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn h2c(address: SocketAddr) -> Client {
    client(TcpStream::connect(address).await.unwrap()).await
}

async fn read(body: &mut h2::RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

async fn ask(client: &mut Client, uri: &str) -> (u16, String) {
    let request = Request::get(uri).body(()).unwrap();
    let (answer, _) = client
        .clone()
        .ready()
        .await
        .unwrap()
        .send_request(request, true)
        .unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    (
        head.status.as_u16(),
        String::from_utf8(read(&mut body).await.unwrap()).unwrap(),
    )
}

/// A gRPC-like server: echoes each message as it comes, then trailers.
async fn grpc_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        assert_eq!(request.headers()["te"], "trailers");
                        let mut body = request.into_body();
                        let head = Response::builder()
                            .header("content-type", "application/grpc")
                            .body(())
                            .unwrap();
                        let mut send = respond.send_response(head, false).unwrap();
                        while let Some(Ok(chunk)) = body.data().await {
                            let _ = body.flow_control().release_capacity(chunk.len());
                            send.send_data(chunk, false).unwrap();
                        }
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        trailers.insert("grpc-message", "done".parse().unwrap());
                        send.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    address
}

fn grpc(path: &str) -> Request<()> {
    Request::post(format!("http://shop.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

#[tokio::test]
async fn cleartext_http2_is_told_by_its_preface_and_reaches_an_http1_endpoint() {
    let origin = echoes().await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut client = h2c(world.address(80)).await;
    let (status, text) = ask(&mut client, "http://shop.test/a?b=c").await;
    assert_eq!(status, 200);
    assert!(text.starts_with("GET /a?b=c\n"), "{text}");
    let seen = headers(&text);
    assert_eq!(
        (seen["host"].as_str(), seen["x-forwarded-host"].as_str()),
        ("shop.test", "shop.test")
    );
    let many: Vec<_> = (0..50)
        .map(|n| (client.clone(), format!("http://shop.test/{n}")))
        .collect();
    let asked = many
        .into_iter()
        .map(|(mut client, uri)| tokio::spawn(async move { ask(&mut client, &uri).await.0 }));
    for status in asked.collect::<Vec<_>>() {
        assert_eq!(status.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn grpc_streams_both_ways_with_trailers() {
    let plan = Plan::default()
        .listener(80)
        .cluster_with(
            "orders",
            vec![endpoint(grpc_echo().await, Protocol::Unknown)],
            Default::default(),
        )
        .route(rule("/", "orders"));
    let world = World::start(&plan);
    let client = h2c(world.address(80)).await;
    let (answer, mut send) = client
        .clone()
        .ready()
        .await
        .unwrap()
        .send_request(grpc("/s/m"), false)
        .unwrap();
    send.send_data("one".into(), false).unwrap();
    let mut body = answer.await.unwrap().into_body();
    for (received, next) in [("one", "two"), ("two", "three"), ("three", "")] {
        let chunk = body.data().await.unwrap().unwrap();
        assert_eq!(chunk, received);
        body.flow_control().release_capacity(chunk.len()).unwrap();
        match next {
            "" => send.send_data(Bytes::new(), true).unwrap(),
            next => send.send_data(next.into(), false).unwrap(),
        }
    }
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"0".parse().unwrap(), &"done".parse().unwrap())
    );
}

#[tokio::test]
async fn grpc_callers_get_a_grpc_status_for_our_own_answers() {
    let plan = Plan::default()
        .listener(80)
        .cluster("empty", &[])
        .route(rule("/empty", "empty"));
    let world = World::start(&plan);
    let client = h2c(world.address(80)).await;
    for (path, code) in [("/nowhere/m", "12"), ("/empty/m", "14")] {
        let (answer, _) = client
            .clone()
            .ready()
            .await
            .unwrap()
            .send_request(grpc(path), true)
            .unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["grpc-status"]),
            (200, &code.parse().unwrap()),
            "{path}"
        );
        assert!(answer.body().is_end_stream());
    }
}

#[tokio::test]
async fn http1_clients_reach_an_http2_endpoint() {
    let origin = serve(Speaks::H2, echo).await;
    let plan = Plan::default()
        .listener(80)
        .cluster_with(
            "orders",
            vec![endpoint(origin.address, Protocol::H2)],
            Default::default(),
        )
        .route(rule("/", "orders"));
    let world = World::with_workers(&plan, Default::default(), 1);
    let mut sender = connect(world.address(80)).await;
    for _ in 0..3 {
        sender.ready().await.unwrap();
        let answer = Answer::read(sender.send_request(request("POST", "/x", full("body"))).await.unwrap()).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.text().starts_with("POST http://shop.test/x\n") && answer.text().ends_with("\n\nbody"),
            "{}",
            answer.text()
        );
    }
    assert_eq!(origin.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_time_of_a_call_over_http2_is_kept() {
    let origin = serve(Speaks::H1, |_| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Response::new(full("late"))
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]).timeouts(Some(300), None));
    let mut client = h2c(world.address(80)).await;
    let start = std::time::Instant::now();
    assert_eq!(ask(&mut client, "http://shop.test/").await.0, 504);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_reset_stream_frees_the_endpoint() {
    let origin = serve(Speaks::H1, |_| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Response::new(full("late"))
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]));
    let client = h2c(world.address(80)).await;
    let get = Request::get("http://shop.test/").body(()).unwrap();
    let (answer, mut send) = client.clone().ready().await.unwrap().send_request(get, true).unwrap();
    eventually("the endpoint is asked", || origin.requests() == 1).await;
    send.send_reset(h2::Reason::CANCEL);
    drop(answer);
    eventually("the endpoint's connection is freed", || origin.open() == 0).await;
}

#[tokio::test]
async fn http2_requests_that_can_be_read_in_two_ways_are_refused() {
    let origin = answers("ok").await;
    let world = World::start(&Plan::to(&[origin.address]));
    let client = h2c(world.address(80)).await;
    let base = || Request::get("http://shop.test/");
    for (what, request) in [
        (
            "Host ≠ :authority",
            base().header("host", "other.test").body(()).unwrap(),
        ),
        (
            "dot segment",
            Request::get("http://shop.test/a/%2e%2e/b").body(()).unwrap(),
        ),
        ("userinfo", Request::get("http://user@shop.test/").body(()).unwrap()),
        ("no authority", Request::get("/").body(()).unwrap()),
        ("two lengths", base().header("content-length", "1, 2").body(()).unwrap()),
    ] {
        let sent = client.clone().ready().await.unwrap().send_request(request, true);
        let status = match sent {
            Ok((answer, _)) => answer.await.map(|answer| answer.status().as_u16()),
            Err(_) => continue,
        };
        assert!(matches!(status, Ok(400) | Err(_)), "{what}: {status:?}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn tls_serves_http2_and_http1_by_alpn_and_tells_plain_requests_off() {
    let dir = tempfile::tempdir().unwrap();
    let (files, root) = certificate(dir.path(), "a", &["shop.test"]);
    let origin = echoes().await;
    let plan = Plan::default()
        .listener_with("tls", 443, "", Some(vec![files]))
        .cluster("orders", &[origin.address])
        .route(rule("/", "orders"));
    let world = World::start(&plan);
    let address = world.address(443);
    let roots = [root];

    let mut h2 = client(tls(address, "shop.test", &roots, "h2").await.unwrap()).await;
    let (status, text) = ask(&mut h2, "https://shop.test/x").await;
    assert_eq!((status, headers(&text)["x-forwarded-proto"].as_str()), (200, "https"));

    let stream = tls(address, "shop.test", &roots, "http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        sender.ready().await.unwrap();
        let answer = Answer::read(sender.send_request(request("POST", "/y", full("z"))).await.unwrap()).await;
        assert!(answer.text().ends_with("\n\nz"), "{}", answer.text());
    }

    let text = exchange(address, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        text.starts_with("HTTP/1.1 400 ") && text.contains("plain HTTP request sent to TLS port"),
        "{text}"
    );
}

#[tokio::test]
async fn the_certificate_follows_the_name_and_a_reused_connection_may_not_stray() {
    let dir = tempfile::tempdir().unwrap();
    let (one, root_one) = certificate(dir.path(), "one", &["one.test"]);
    let (wild, root_wild) = certificate(dir.path(), "wild", &["*.wild.test"]);
    let origin = answers("ok").await;
    let plan = Plan::default()
        .listener_with("one", 443, "one.test", Some(vec![one]))
        .listener_with("wild", 443, "*.wild.test", Some(vec![wild]))
        .cluster("orders", &[origin.address])
        .route(rule("/", "orders"));
    let world = World::start(&plan);
    let address = world.address(443);
    let roots = [root_one.clone(), root_wild.clone()];
    for (name, host, status) in [
        ("one.test", "one.test", 200),
        ("one.test", "a.wild.test", 421),
        ("a.wild.test", "a.wild.test", 200),
        ("a.wild.test", "b.wild.test", 200),
        ("a.wild.test", "one.test", 421),
        ("one.test", "nobody.test", 404),
    ] {
        let mut h2 = client(tls(address, name, &roots, "h2").await.unwrap()).await;
        assert_eq!(
            ask(&mut h2, &format!("https://{host}/")).await.0,
            status,
            "{name} asked for {host}"
        );
    }
    assert!(
        tls(address, "one.test", &[root_wild], "h2").await.is_err(),
        "one.test has a certificate of its own"
    );
}

#[tokio::test]
async fn tls_endpoints_are_verified_by_authority_and_name() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = certificate(dir.path(), "origin", &["origin.test"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = {
        use rustls_pki_types::pem::PemObject;
        let chain = rustls_pki_types::CertificateDer::pem_file_iter(&*files.certificate).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = rustls_pki_types::PrivateKeyDer::from_pem_file(&*files.key).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap()
    };
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(Response::new(full("secret")))
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .await;
            });
        }
    });
    let plan = |name: Option<&str>, ca: bool, verify: bool| {
        let mut endpoint = endpoint(address, Protocol::Http);
        endpoint.tls = Some("origin.test".into());
        Plan::default()
            .listener(80)
            .cluster_with("orders", vec![endpoint], Default::default())
            .policy(|policy| {
                policy.tls.ca = ca.then(|| files.certificate.clone());
                policy.tls.server_name = name.map(Into::into);
                policy.tls.verify = verify;
                policy.retries.attempts = 0;
            })
            .route(rule("/", "orders"))
    };
    let world = World::start(&plan(None, true, true));
    assert_eq!(world.get("/").await, (200, "secret".into()));
    world.publish(&plan(Some("other.test"), true, true)).await;
    assert_eq!(world.get("/").await.0, 502);
    world.publish(&plan(Some("other.test"), true, false)).await;
    assert_eq!(world.get("/").await, (200, "secret".into()));
}
