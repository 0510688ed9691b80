use std::time::Duration;

use bytes::Bytes;
use pingora_core::protocols::http::HttpTask;
use pingora_error::{Error, ErrorType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{super::verdict::HELD_TOO_LONG, *};

fn answer(status: u16, headers: &[(&'static str, &str)]) -> ResponseHeader {
    let mut answer = ResponseHeader::build(status, None).unwrap();
    for (name, value) in headers {
        answer.append_header(*name, *value).unwrap();
    }
    answer
}

#[tokio::test(start_paused = true)]
async fn small_answers_of_known_length_and_those_with_an_end_of_their_own_are_held_and_others_are_not() {
    const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");
    let length = |length| Some(Whole::Length(length));
    let end = Some(Whole::End(Instant::now() + PATIENCE));
    for (status, headers, whole) in [
        (200, &[("content-length", "1")][..], length(1)),
        (503, &[("content-length", "65536")], length(HOLD)),
        (200, &[("content-length", "65537")], None),
        (200, &[("content-length", "0")], None),
        (200, &[("content-length", "-1")], None),
        (200, &[("content-length", "99999999999999999999999")], None),
        (200, &[], None),
        (200, &[CHUNKED], end),
        (200, &[CHUNKED, ("content-length", "5")], end),
        (204, &[("content-length", "5")], None),
        (304, &[CHUNKED], None),
    ] {
        assert_eq!(
            whole_when(&answer(status, headers), false),
            whole,
            "{status} {headers:?}"
        );
    }
    assert_eq!(whole_when(&answer(200, &[CHUNKED]), true), None);
    let mut h2 = answer(200, &[]);
    assert_eq!(whole_when(&h2, false), None);
    h2.set_version(Version::HTTP_2);
    assert_eq!((whole_when(&h2, false), whole_when(&h2, true)), (end, None));
}

/// A client's HTTP/1 session with its other end.
async fn client() -> (Box<ServerSession>, tokio::io::DuplexStream) {
    let (mut far, near) = tokio::io::duplex(1 << 20);
    far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut session = Box::new(ServerSession::new_http1(Box::new(near)));
    session.read_request().await.unwrap();
    (session, far)
}

fn head(length: usize) -> HttpTask {
    HttpTask::Header(Box::new(answer(200, &[("content-length", &length.to_string())])), false)
}

fn piece(text: &'static str, end: bool) -> HttpTask {
    HttpTask::Body(Some(Bytes::from_static(text.as_bytes())), end)
}

#[tokio::test]
async fn nothing_is_written_before_the_whole_is_there() {
    let holds = Holds::default();
    let (mut session, mut far) = client().await;
    let held = holds.enter(&mut session, Whole::Length(6), None);
    assert!(!session.has_pending_downstream_proxy_tasks());
    assert!(!session.response_duplex_vec(vec![head(6)]).await.unwrap());
    assert!(!session.response_duplex_vec(vec![piece("abc", false)]).await.unwrap());
    assert!(session.has_pending_downstream_proxy_tasks() && session.response_written().is_none());
    assert!(session.response_duplex_vec(vec![piece("def", true)]).await.unwrap());
    assert!(session.response_written().is_some());
    holds.leave(held, &mut session);
    assert!(matches!(*session, ServerSession::H1(_)));
    drop(session);
    let mut text = String::new();
    far.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("\r\n\r\nabcdef"), "{text}");
}

#[tokio::test]
async fn a_hold_used_again_knows_nothing_of_the_answer_that_broke() {
    let holds = Holds::default();
    let (mut session, mut far) = client().await;
    let held = holds.enter(&mut session, Whole::Length(6), None);
    session
        .response_duplex_vec(vec![head(6), piece("abc", false)])
        .await
        .unwrap();
    let broken = HttpTask::Failed(Error::new(ErrorType::ConnectionClosed));
    let failed = session.response_duplex_vec(vec![piece("d", false), broken]).await;
    assert_eq!(failed.unwrap_err().etype(), &ErrorType::ConnectionClosed);
    holds.leave(held, &mut session);
    assert!(session.response_written().is_none());
    assert_eq!(lock(&holds.0).len(), 1);

    let held = holds.enter(&mut session, Whole::Length(2), None);
    assert!(lock(&holds.0).is_empty() && !session.has_pending_downstream_proxy_tasks());
    // More than was declared is not kept, and what to make of it is the session's business.
    assert!(
        session
            .response_duplex_vec(vec![head(2), piece("xyz", false)])
            .await
            .unwrap()
    );
    holds.leave(held, &mut session);
    drop(session);
    let mut text = String::new();
    far.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("\r\n\r\nxy"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_try_ends_the_wait_for_the_rest() {
    let holds = Holds::default();
    let (mut session, _far) = client().await;
    let start = Instant::now();
    let limit = Duration::from_secs(3);
    let _held = holds.enter(&mut session, Whole::Length(6), Some(start + limit));
    session.response_duplex_vec(vec![head(6)]).await.unwrap();
    let error = session.read_body_or_idle(true).await.unwrap_err();
    assert_eq!((error.etype(), start.elapsed()), (&HELD_TOO_LONG, limit));
}

fn chunked() -> HttpTask {
    HttpTask::Header(Box::new(answer(200, &[("transfer-encoding", "chunked")])), false)
}

/// What the client has got so far.
async fn got(far: &mut tokio::io::DuplexStream) -> String {
    let mut bytes = vec![0; 1 << 18];
    let count = tokio::time::timeout(Duration::from_millis(1), far.read(&mut bytes)).await;
    String::from_utf8(bytes[..count.map_or(0, Result::unwrap)].to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_is_passed_on_when_its_moment_is_over() {
    let holds = Holds::default();
    let (mut session, mut far) = client().await;
    let start = Instant::now();
    let held = holds.enter(&mut session, Whole::End(start + PATIENCE), None);
    session
        .response_duplex_vec(vec![chunked(), piece("abc", false)])
        .await
        .unwrap();
    assert_eq!(got(&mut far).await, "");
    // pingora listens to the client meanwhile, which says nothing.
    let silence = tokio::time::timeout(PATIENCE * 2, session.read_body_or_idle(true)).await;
    assert!(silence.is_err());
    assert!(got(&mut far).await.ends_with("\r\n\r\n3\r\nabc\r\n"));
    session.response_duplex_vec(vec![piece("de", false)]).await.unwrap();
    assert_eq!(got(&mut far).await, "2\r\nde\r\n");
    session.response_duplex_vec(vec![HttpTask::Done]).await.unwrap();
    assert!(holds.leave(held, &mut session), "passed on");
    drop(session);
    assert_eq!(got(&mut far).await, "0\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_passed_on_late_is_complete_though_it_is_left_in_the_middle() {
    let holds = Holds::default();
    let (mut far, near) = tokio::io::duplex(16);
    let send = tokio::spawn(async move {
        far.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        far
    });
    let mut session = Box::new(ServerSession::new_http1(Box::new(near)));
    session.read_request().await.unwrap();
    let mut far = send.await.unwrap();
    let held = holds.enter(&mut session, Whole::End(Instant::now() + PATIENCE), None);
    session
        .response_duplex_vec(vec![chunked(), piece("abc", false)])
        .await
        .unwrap();
    // The client takes 16 bytes and then reads no more, so the head itself is left in the middle, again and again.
    for _ in 0..3 {
        let read = tokio::time::timeout(PATIENCE * 2, session.read_body_or_idle(true)).await;
        assert!(read.is_err());
    }
    let reads = tokio::spawn(async move {
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        text
    });
    session
        .response_duplex_vec(vec![piece("de", false), HttpTask::Done])
        .await
        .unwrap();
    assert!(holds.leave(held, &mut session));
    drop(session);
    let text = reads.await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.matches("HTTP/1.1").count() == 1,
        "{text}"
    );
    assert!(text.ends_with("\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_grows_too_large_to_be_held_is_passed_on() {
    let holds = Holds::default();
    let (mut session, mut far) = client().await;
    let held = holds.enter(&mut session, Whole::End(Instant::now() + PATIENCE), None);
    let large = || HttpTask::Body(Some(Bytes::from(vec![b'x'; HOLD])), false);
    session.response_duplex_vec(vec![chunked(), large()]).await.unwrap();
    assert_eq!(got(&mut far).await, "");
    session.response_duplex_vec(vec![large()]).await.unwrap();
    assert_eq!(got(&mut far).await.matches('x').count(), 2 * HOLD);
    assert!(holds.leave(held, &mut session));
}
