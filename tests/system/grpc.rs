//! gRPC through the gateway: a real server and a real client, every kind of call, over cleartext HTTP/2 and over TLS.

mod cancel;
mod talk;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cancel::in_flight_is;
use futures_util::stream;
use landfall_tests::{Landfall, landfall};
use talk::{CHECKSUM, Caller, Note, Talk};
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::mpsc};
use tonic::{
    Code, Request,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

/// How many messages go to and fro.
const MESSAGES: u64 = 1_000;

async fn cleartext(landfall: &Landfall) -> Caller {
    let endpoint = Endpoint::from_shared(landfall.url("")).unwrap();
    Caller::new(endpoint.connect().await.unwrap())
}

/// A gateway with one HTTPS listener for `localhost`, and the certificate that it shows.
async fn tls_gateway(origin: SocketAddr) -> (Landfall, String, TempDir) {
    landfall::install_crypto();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TempDir::new().unwrap();
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let listener =
        "protocol: HTTPS, tls: { certificateRefs: [{ group: landfall.dev, kind: Certificate, name: local }] }";
    let configuration = super::one_origin(origin).replace("protocol: HTTP", listener);
    let landfall = Landfall::up(&format!(
        "{configuration}---\napiVersion: landfall.dev/v1\nkind: Certificate\nmetadata: {{ name: local }}\n\
         spec: {{ certificate: \"file:{}\", key: \"file:{}\" }}\n",
        certificate.display(),
        key.display()
    ))
    .await;
    (landfall, issued.cert.pem(), files)
}

/// A route with a limit on the whole call.
fn one_origin_within(address: SocketAddr, limit: &str) -> String {
    format!("{}      timeouts: {{ request: {limit} }}\n", super::one_origin(address))
}

async fn every_kind_of_call(mut caller: Caller) {
    let one = Note {
        number: 7,
        body: Bytes::from_static(b"one"),
    };
    let said = caller.unary("Once", Request::new(one.clone())).await.unwrap();
    assert_eq!(said.into_inner(), one);

    let notes = stream::iter((1..=MESSAGES).map(|number| Note {
        number,
        body: Bytes::from(vec![b'n'; 1 << 10]),
    }));
    let said = caller.sum(notes).await.unwrap().into_inner();
    assert_eq!(said.number, MESSAGES * (MESSAGES + 1) / 2);
    assert_eq!(said.body, (MESSAGES << 10).to_string());

    let mut numbers = caller.count(MESSAGES).await.unwrap().into_inner();
    for expected in 1..=MESSAGES {
        assert_eq!(numbers.message().await.unwrap(), Some(Note::number(expected)));
    }
    assert_eq!(numbers.message().await.unwrap(), None);

    to_and_fro(&mut caller).await;
}

/// Each answer is here before the next message is sent, so nothing on the way waits for more.
async fn to_and_fro(caller: &mut Caller) {
    let (send, mut receive) = mpsc::channel(1);
    let notes = stream::poll_fn(move |context| receive.poll_recv(context));
    // The head of the answer comes before anything was said.
    let mut answers = caller.chat(Request::new(notes)).await.unwrap().into_inner();
    for number in 1..=MESSAGES {
        send.send(Note::number(number)).await.unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(Note::number(number)));
    }
    drop(send);
    assert_eq!(answers.message().await.unwrap(), None);
}

#[tokio::test]
async fn every_kind_of_grpc_call_passes_over_cleartext_http2() {
    let talk = Talk::start().await;
    let landfall = Landfall::up(&super::one_origin(talk.address)).await;
    every_kind_of_call(cleartext(&landfall).await).await;
}

#[tokio::test]
async fn every_kind_of_grpc_call_passes_over_tls_that_agreed_on_http2() {
    let talk = Talk::start().await;
    let (landfall, certificate, _files) = tls_gateway(talk.address).await;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(certificate))
        .domain_name("localhost");
    // The client ends a connection on which h2 was not agreed on by ALPN.
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", landfall.port))
        .and_then(|endpoint| endpoint.origin("https://localhost".parse().unwrap()).tls_config(tls))
        .unwrap();
    every_kind_of_call(Caller::new(endpoint.connect().await.unwrap())).await;
}

#[tokio::test]
async fn trailers_pass_with_the_status_and_with_what_the_service_adds() {
    let talk = Talk::start().await;
    let landfall = Landfall::up(&super::one_origin(talk.address)).await;
    let mut caller = cleartext(&landfall).await;

    let mut numbers = caller.count(2).await.unwrap().into_inner();
    while numbers.message().await.unwrap().is_some() {}
    let trailers = numbers.trailers().await.unwrap().expect("trailers");
    assert_eq!(trailers.get("checksum").unwrap(), CHECKSUM);

    let note = stream::iter([Note::number(1)]);
    let mut answers = caller.chat(Request::new(note)).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    let trailers = answers.trailers().await.unwrap().expect("trailers");
    assert_eq!(trailers.get("checksum").unwrap(), CHECKSUM);
}

#[tokio::test]
async fn an_error_without_a_body_stays_a_head_that_ends_the_stream() {
    let talk = Talk::start().await;
    let landfall = Landfall::up(&super::one_origin(talk.address)).await;

    let failed = cleartext(&landfall)
        .await
        .unary("Fail", Request::new(Note::number(1)))
        .await;
    let status = failed.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such note"));
    assert_eq!(status.metadata().get("checksum").unwrap(), CHECKSUM);

    // The same seen by the frame.
    let socket = TcpStream::connect(("127.0.0.1", landfall.port)).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(landfall.url(&talk::path("Fail")))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut send) = client.ready().await.unwrap().send_request(request, false).unwrap();
    send.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "5");
    assert_eq!(answer.headers()["checksum"], CHECKSUM);
    assert!(answer.body().is_end_stream());
}

#[tokio::test]
async fn a_message_of_8_mib_passes_both_ways() {
    let talk = Talk::start().await;
    let landfall = Landfall::up(&super::one_origin(talk.address)).await;
    let body: Vec<u8> = (0..8_u32 << 20)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let sent = Note {
        number: 1,
        body: Bytes::from(body),
    };
    let said = cleartext(&landfall)
        .await
        .unary("Once", Request::new(sent.clone()))
        .await;
    assert!(said.unwrap().into_inner() == sent, "the message came back changed");
}

#[tokio::test]
async fn the_clients_own_deadline_reaches_the_endpoint() {
    let talk = Talk::start().await;
    let landfall = Landfall::up(&super::one_origin(talk.address)).await;
    let mut request = Request::new(Note::number(1));
    request.metadata_mut().insert("grpc-timeout", "1234S".parse().unwrap());
    let said = cleartext(&landfall).await.unary("Once", request).await.unwrap();
    assert_eq!(said.metadata().get("seen-timeout").unwrap(), "1234S");
}

#[tokio::test]
async fn a_call_over_its_routes_time_is_told_deadline_exceeded_and_frees_the_endpoint() {
    let talk = Talk::start().await;
    let landfall = Landfall::up(&one_origin_within(talk.address, "300ms")).await;
    let mut caller = cleartext(&landfall).await;
    let status = caller.unary("Quiet", Request::new(Note::number(1))).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "timed out"));
    in_flight_is(&landfall, (0, 0)).await;
}

#[tokio::test]
async fn a_stream_that_has_begun_outlives_its_routes_time() {
    let (limit, talk) = (Duration::from_secs(2), Talk::start().await);
    let landfall = Landfall::up(&one_origin_within(talk.address, "2s")).await;
    let mut caller = cleartext(&landfall).await;
    let (send, mut receive) = mpsc::channel(1);
    let notes = stream::poll_fn(move |context| receive.poll_recv(context));
    let began = Instant::now();
    let mut answers = caller.chat(Request::new(notes)).await.unwrap().into_inner();
    while began.elapsed() < limit + limit / 2 {
        send.send(Note::number(1)).await.unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(Note::number(1)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_the_gateway_answers_itself_is_a_grpc_status() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], landfall::free_port()));
    let talk = Talk::start().await;
    let configuration = format!(
        "{}\n---\n{}\n---\n{}\n---\n{}",
        super::static_registry(&[("nobody", &[nobody]), ("talk", &[talk.address])]),
        super::gateway(),
        super::route("nobody", &talk::path("Once"), &[("nobody", "static", 1)]),
        super::route("talk", &talk::path("Sum"), &[("talk", "static", 1)]),
    );
    let landfall = Landfall::up(&configuration).await;
    let mut caller = cleartext(&landfall).await;
    for (method, code, words) in [
        ("Once", Code::Unavailable, "no connection to the endpoint"),
        ("Fail", Code::Unimplemented, "no route"),
    ] {
        let status = caller.unary(method, Request::new(Note::number(1))).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, words), "{method}");
    }
    caller.sum(stream::iter([Note::number(1)])).await.unwrap();
}
