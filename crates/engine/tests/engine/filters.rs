//! Filters where they meet HTTP: rewrites, redirects, header edits, mirrors.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::Response;
use http_body_util::BodyExt;
use landfall_model::rules::{Filter, HeaderEdits, Mirror, PathRewrite, Redirect, UrlRewrite};

use crate::world::*;

fn pair(name: &str, value: &str) -> (Arc<str>, Arc<str>) {
    (name.into(), value.into())
}

#[tokio::test]
async fn host_path_and_headers_are_changed_on_the_way() {
    let origin = echoes().await;
    let plan = Plan::default()
        .listener(80)
        .cluster("orders", &[origin.address])
        .route(rule("/orders", "orders"))
        .filter(Filter::Rewrite(UrlRewrite {
            hostname: Some("inner.test".into()),
            path: Some(PathRewrite::Prefix {
                matched: "/orders".into(),
                replacement: "/v2".into(),
            }),
        }))
        .filter(Filter::RequestHeaders(HeaderEdits {
            set: vec![pair("x-set", "1")],
            add: vec![],
            remove: vec!["x-secret".into()],
        }))
        .filter(Filter::ResponseHeaders(HeaderEdits {
            set: vec![pair("x-answer", "yes")],
            add: vec![],
            remove: vec!["content-type".into()],
        }));
    let world = World::start(&plan);
    let mut sender = connect(world.address(80)).await;
    let mut asked = request("GET", "/orders/7?x=y", empty());
    asked.headers_mut().insert("x-secret", "s".parse().unwrap());
    let answer = Answer::read(sender.send_request(asked).await.unwrap()).await;
    let text = answer.text();
    let seen = headers(&text);
    assert!(text.starts_with("GET /v2/7?x=y\n"), "{text}");
    assert_eq!(
        (seen["host"].as_str(), seen["x-forwarded-host"].as_str()),
        ("inner.test", "shop.test")
    );
    assert!(seen["x-set"] == "1" && !seen.contains_key("x-secret"));
    assert_eq!(answer.headers["x-answer"], "yes");
}

#[tokio::test]
async fn a_redirect_answers_and_keeps_the_connection() {
    let plan = Plan::default()
        .listener(80)
        .route(rule("/old", "nothing"))
        .filter(Filter::Redirect(Redirect {
            scheme: Some("https".into()),
            hostname: None,
            port: None,
            path: Some(PathRewrite::Full("/new".into())),
            status: 301,
        }));
    let world = World::start(&plan);
    let mut sender = connect(world.address(80)).await;
    for _ in 0..2 {
        sender.ready().await.unwrap();
        let answer = Answer::read(sender.send_request(request("GET", "/old?a=b", empty())).await.unwrap()).await;
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (301, &"https://shop.test/new?a=b".parse().unwrap())
        );
    }
}

fn mirror(to: &str) -> Filter {
    Filter::Mirror(Mirror {
        backend: reference(to),
        fraction: (1, 1),
    })
}

#[tokio::test]
async fn a_mirror_gets_the_same_request_and_its_answer_is_ignored() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let shadow = serve(Speaks::H1, move |request| {
        let notes = notes.clone();
        async move {
            let uri = request.uri().to_string();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            notes.lock().unwrap().push((uri, body.len()));
            Response::builder().status(500).body(full("shadow")).unwrap()
        }
    })
    .await;
    let origin = answers("ok").await;
    let plan = Plan::to(&[origin.address])
        .cluster("shadow", &[shadow.address])
        .filter(mirror("shadow"));
    let world = World::start(&plan);
    for (method, body) in [("GET", ""), ("POST", "hello")] {
        let mut sender = connect(world.address(80)).await;
        let answer = Answer::read(sender.send_request(request(method, "/a?b", full(body))).await.unwrap()).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
    eventually("both copies have arrived", || seen.lock().unwrap().len() == 2).await;
    let mut copies = seen.lock().unwrap().clone();
    copies.sort();
    assert_eq!(copies, [("/a?b".to_owned(), 0), ("/a?b".to_owned(), 5)]);
}

#[tokio::test]
async fn a_mirror_that_hangs_or_is_gone_does_not_delay_the_call() {
    let stuck = raw(|stream, _| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    let origin = echoes().await;
    let plan = Plan::to(&[origin.address])
        .cluster("stuck", &[stuck])
        .cluster("gone", &[nobody().await])
        .filter(mirror("stuck"))
        .filter(mirror("gone"))
        .filter(mirror("missing"));
    let world = World::start(&plan);
    let mut sender = connect(world.address(80)).await;
    let start = Instant::now();
    let large = vec![b'x'; 8 << 20];
    let answer = Answer::read(sender.send_request(request("POST", "/", full(large))).await.unwrap()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() > 8 << 20);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
