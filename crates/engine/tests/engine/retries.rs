//! Second chances and deadlines.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::*;

/// Answers `status` to the first `bad` requests, then 200.
async fn fails_at_first(bad: usize, status: u16) -> Origin1 {
    let count = Arc::new(AtomicUsize::new(0));
    serve(Speaks::H1, move |request| {
        let count = count.clone();
        async move {
            let answer = echo(request).await;
            match count.fetch_add(1, Ordering::SeqCst) < bad {
                true => Response::builder().status(status).body(full("bad")).unwrap(),
                false => answer,
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_status_is_tried_again_only_for_methods_that_may_be_repeated() {
    let origin = fails_at_first(1, 503).await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut sender = connect(world.address(80)).await;
    let put = request("PUT", "/", full("twice the same body"));
    let answer = Answer::read(sender.send_request(put).await.unwrap()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with("\n\ntwice the same body"), "{}", answer.text());
    assert_eq!(origin.requests(), 2);

    let origin = fails_at_first(1, 503).await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut sender = connect(world.address(80)).await;
    let answer = Answer::read(sender.send_request(request("POST", "/", full("once"))).await.unwrap()).await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "bad"));
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn the_last_status_is_returned_when_tries_run_out() {
    let origin = fails_at_first(9, 502).await;
    let world = World::start(&Plan::to(&[origin.address]));
    let answer = get(world.address(80), "/").await;
    assert_eq!((answer.status, answer.text().as_str()), (502, "bad"));
    assert_eq!(origin.requests(), 3);
    assert!(!answer.headers.contains_key("x-landfall-error"));
}

#[tokio::test]
async fn a_reset_is_tried_again_for_get_and_answered_502_for_post() {
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = tries.clone();
    let address = raw(move |mut stream, _| {
        let seen = seen.clone();
        async move {
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            if seen.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                return;
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .await;
        }
    })
    .await;
    let world = World::start(&Plan::to(&[address]));
    assert_eq!(world.get("/").await, (200, "ok".into()));
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    let mut sender = connect(world.address(80)).await;
    let answer = Answer::read(sender.send_request(request("POST", "/", full("x"))).await.unwrap()).await;
    assert_eq!((answer.status, answer.text().as_str()), (502, "endpoint broke off\n"));
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_not_sent_twice() {
    let origin = fails_at_first(1, 503).await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut sender = connect(world.address(80)).await;
    let put = request("PUT", "/", full(vec![b'x'; 300_000]));
    let answer = Answer::read(sender.send_request(put).await.unwrap()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn the_whole_call_ends_with_504_when_its_time_is_over() {
    let origin = serve(Speaks::H1, |_| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Response::new(full("late"))
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]).timeouts(Some(300), None));
    let start = Instant::now();
    assert_eq!(world.get("/").await, (504, "timed out\n".into()));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(5),
        "{took:?}"
    );
    eventually("the endpoint's connection is freed", || origin.open() == 0).await;
    assert_eq!(
        origin.requests(),
        1,
        "the call's time is over, so there is no further try"
    );
}

#[tokio::test]
async fn a_slow_try_is_given_up_and_another_endpoint_answers() {
    let count = Arc::new(AtomicUsize::new(0));
    let origin = serve(Speaks::H1, move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            Response::new(full("ok"))
        }
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]).timeouts(Some(5000), Some(200)));
    assert_eq!(world.get("/").await, (200, "ok".into()));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn an_answer_that_stalls_is_cut_when_the_calls_time_is_over() {
    let address = raw(|mut stream, _| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nstart")
            .await
            .unwrap();
        let _ = stream.read(&mut buffer).await;
    })
    .await;
    let world = World::start(&Plan::to(&[address]).timeouts(Some(300), None));
    let start = Instant::now();
    let text = exchange(world.address(80), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(text.ends_with("\r\n\r\nstart"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_kept_connection_that_died_unnoticed_costs_nothing() {
    // Answers one request per connection, says it stays open, and closes when the next one has arrived.
    let address = raw(|mut stream, _| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
        let _ = stream.read(&mut buffer).await;
    })
    .await;
    let world = World::with_workers(&Plan::to(&[address]), Default::default(), 1);
    for _ in 0..6 {
        assert_eq!(world.get("/").await, (200, "ok".into()));
    }
}

#[tokio::test]
async fn endpoints_that_keep_failing_are_left_out() {
    let (good, bad) = (answers("good").await, fails_at_first(usize::MAX, 500).await);
    let world = World::start(&Plan::to(&[good.address, bad.address]).policy(|policy| {
        policy.balancer = landfall_model::rules::Balancer::RoundRobin;
        policy.outlier.consecutive_failures = 3;
    }));
    for _ in 0..40 {
        get(world.address(80), "/").await;
    }
    assert!(bad.requests() <= 4, "{} calls to a failing endpoint", bad.requests());
}
