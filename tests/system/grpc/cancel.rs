//! Calls that are broken off half way: the endpoint is freed and told so, and its connection stays for others.

use std::net::SocketAddr;

use futures_util::{Stream, StreamExt, stream};
use landfall_tests::{Landfall, eventually, wait::PATIENCE};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{CancellationHandle, Request};

use super::{
    cleartext,
    talk::{Note, Talk},
};
use crate::one_origin;

/// The calls that the gateway says are under way: of clients, and towards endpoints.
async fn in_flight(landfall: &Landfall) -> Result<(u64, u64), String> {
    let page = landfall.metrics().await?;
    let sum = |name: &str| -> u64 {
        let lines = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    Ok((sum("landfall_requests_in_flight"), sum("landfall_upstream_in_flight")))
}

pub async fn in_flight_is(landfall: &Landfall, expected: (u64, u64)) {
    eventually(&format!("{expected:?} calls are in flight"), || async {
        let found = in_flight(landfall).await?;
        if found == expected {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
}

async fn freed(talk: &Talk) {
    eventually("the endpoint is freed", || async {
        match talk.open() {
            0 => Ok(()),
            open => Err(format!("{open} calls are still held")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_stops_listening_half_way_frees_the_endpoint_and_not_its_connection() {
    let talk = Talk::start().await;
    let landfall = Landfall::up(&one_origin(talk.address)).await;
    let mut caller = cleartext(&landfall).await;
    let mut numbers = caller.count(0).await.unwrap().into_inner();
    assert_eq!(numbers.message().await.unwrap(), Some(Note::number(1)));
    in_flight_is(&landfall, (1, 1)).await;
    drop(numbers);
    freed(&talk).await;
    in_flight_is(&landfall, (0, 0)).await;
    // One stream was reset, not the connection that others share.
    caller.unary("Once", Request::new(Note::number(2))).await.unwrap();
    assert_eq!(talk.connections(), 1);
}

#[tokio::test]
async fn a_client_that_cancels_while_both_sides_speak_frees_the_endpoint() {
    let talk = Talk::start().await;
    let landfall = Landfall::up(&one_origin(talk.address)).await;
    let mut caller = cleartext(&landfall).await;
    let (notes, handle) = endless_call();
    let mut answers = caller.chat(notes).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap(), Some(Note::number(1)));
    in_flight_is(&landfall, (1, 1)).await;
    handle.cancel();
    assert!(answers.message().await.is_err());
    freed(&talk).await;
    in_flight_is(&landfall, (0, 0)).await;
    caller.unary("Once", Request::new(Note::number(2))).await.unwrap();
    assert_eq!(talk.connections(), 1);
}

/// A call that says one thing and is never done.
fn endless_call() -> (Request<impl Stream<Item = Note> + Send + 'static>, CancellationHandle) {
    let mut notes = Request::new(stream::iter([Note::number(1)]).chain(stream::pending()));
    let handle = notes.cancellation_handle();
    (notes, handle)
}

/// An endpoint that answers one call with what it is sent, and tells how the caller's stream ended. By frames, since
/// gRPC libraries take a cancelled stream for one that has ended.
async fn frames_echoed_once() -> (SocketAddr, JoinHandle<Option<h2::Reason>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut send = respond.send_response(head.body(()).unwrap(), false).unwrap();
        let mut body = request.into_body();
        loop {
            match body.data().await {
                Some(Ok(data)) => send.send_data(data, false).unwrap(),
                Some(Err(error)) => return error.reason(),
                None => return None,
            }
        }
    });
    (address, ended)
}

#[tokio::test]
async fn a_cancelled_call_is_not_taken_for_a_finished_one_by_the_endpoint() {
    let (address, ended) = frames_echoed_once().await;
    let landfall = Landfall::up(&one_origin(address)).await;
    let (notes, handle) = endless_call();
    let mut answers = cleartext(&landfall).await.chat(notes).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap(), Some(Note::number(1)));
    handle.cancel();
    let ended = tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("the stream ends")
        .unwrap();
    assert_eq!(ended, Some(h2::Reason::CANCEL));
}
