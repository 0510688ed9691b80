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

#[test]
fn small_answers_of_known_length_are_held_and_others_are_not() {
    for (status, headers, held) in [
        (200, &[("content-length", "1")][..], Some(1)),
        (503, &[("content-length", "65536")], Some(HOLD)),
        (200, &[("content-length", "65537")], None),
        (200, &[("content-length", "0")], None),
        (200, &[("content-length", "-1")], None),
        (200, &[("content-length", "99999999999999999999999")], None),
        (200, &[], None),
        (200, &[("transfer-encoding", "chunked"), ("content-length", "5")], None),
        (204, &[("content-length", "5")], None),
        (304, &[("content-length", "5")], None),
    ] {
        assert_eq!(small(&answer(status, headers)), held, "{status} {headers:?}");
    }
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
    let held = holds.enter(&mut session, 6, None);
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
    let held = holds.enter(&mut session, 6, None);
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

    let held = holds.enter(&mut session, 2, None);
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
    let _held = holds.enter(&mut session, 6, Some(start + limit));
    session.response_duplex_vec(vec![head(6)]).await.unwrap();
    let error = session.read_body_or_idle(true).await.unwrap_err();
    assert_eq!((error.etype(), start.elapsed()), (&HELD_TOO_LONG, limit));
}
