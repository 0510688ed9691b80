//! Changes while calls run: listeners, certificates, the end.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Response;
use landfall_engine::{Engine, EngineError, EngineOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

use crate::world::*;

/// Sends requests over kept connections until told to stop; counts what went wrong.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<(usize, Vec<String>)>>,
    done: Arc<AtomicUsize>,
}

impl Load {
    fn start(address: std::net::SocketAddr, clients: usize) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let done = Arc::<AtomicUsize>::default();
        let tasks = (0..clients)
            .map(|_| {
                let (stop, done) = (stop.clone(), done.clone());
                tokio::spawn(async move {
                    let (mut count, mut errors) = (0, Vec::new());
                    'connect: while !stop.load(Ordering::Relaxed) {
                        let Ok(stream) = TcpStream::connect(address).await else {
                            break;
                        };
                        let io = hyper_util::rt::TokioIo::new(stream);
                        let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(io).await else {
                            continue;
                        };
                        tokio::spawn(connection);
                        while !stop.load(Ordering::Relaxed) {
                            // Not ready: the connection was closed as announced. Open another.
                            if sender.ready().await.is_err() {
                                continue 'connect;
                            }
                            match sender.send_request(request("GET", "/", empty())).await {
                                Ok(response) => {
                                    let answer = Answer::try_read(response).await;
                                    match answer {
                                        Ok(answer) if answer.status == 200 => count += 1,
                                        other => errors.push(format!("{other:?}")),
                                    }
                                    done.fetch_add(1, Ordering::Relaxed);
                                }
                                // Closed while idle and before the request was sent: a client opens another.
                                Err(error) if error.is_canceled() => continue 'connect,
                                Err(error) => errors.push(format!("{error:?}")),
                            }
                        }
                    }
                    (count, errors)
                })
            })
            .collect();
        Self { stop, tasks, done }
    }

    async fn more(&self, requests: usize) {
        let goal = self.done.load(Ordering::Relaxed) + requests;
        eventually("the load goes on", || self.done.load(Ordering::Relaxed) >= goal).await;
    }

    /// Good answers, errors.
    async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut count, mut errors) = (0, Vec::new());
        for task in self.tasks {
            let (good, bad) = task.await.unwrap();
            count += good;
            errors.extend(bad);
        }
        (count, errors)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go_under_load_without_a_lost_request() {
    let origin = answers("ok").await;
    let base = Plan::to(&[origin.address]);
    let more = base.clone().listener(81);
    let world = World::start(&base);
    let kept = Load::start(world.address(80), 4);
    for _ in 0..5 {
        world.publish(&more).await;
        eventually("the second listener is bound", || world.find(81).is_some()).await;
        let leaving = Load::start(world.address(81), 4);
        leaving.more(50).await;
        kept.more(20).await;
        world.publish(&base).await;
        eventually("its connections end", || {
            let all = world.engine.connections();
            all <= 4
        })
        .await;
        let (_, errors) = leaving.end().await;
        assert_eq!(errors, Vec::<String>::new());
    }
    let (count, errors) = kept.end().await;
    assert_eq!(errors, Vec::<String>::new());
    assert!(count >= 100);
}

/// Connects for each request until connecting fails. What a kernel does with a socket's backlog when it closes shows here.
async fn connect_again_and_again(address: std::net::SocketAddr) -> Result<usize, String> {
    for count in 0.. {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            return Ok(count);
        };
        let request = b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
        let sent = stream.write_all(request).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        if sent.is_err() || read.is_err() || !answer.starts_with(b"HTTP/1.1 200") {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            return Err(format!("after {count}: {sent:?} {read:?} {answer:?}"));
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_could_connect_to_a_listener_that_goes_is_served() {
    let origin = answers("ok").await;
    let base = Plan::to(&[origin.address]);
    let more = base.clone().listener(81);
    let world = World::start(&base);
    for _ in 0..5 {
        world.publish(&more).await;
        eventually("the second listener is bound", || world.find(81).is_some()).await;
        let clients: Vec<_> = (0..16)
            .map(|_| tokio::spawn(connect_again_and_again(world.address(81))))
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.publish(&base).await;
        for client in clients {
            client.await.unwrap().expect("served");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_snapshots_under_load_lose_no_request_and_no_connection() {
    let (one, two) = (answers("one").await, answers("two").await);
    let plans = [
        Plan::to(&[one.address]),
        Plan::to(&[one.address, two.address]),
        Plan::to(&[two.address]),
    ];
    let world = World::start(&plans[0]);
    let connections = |world: &World| {
        let mut text = String::new();
        world.engine.render_metrics(&mut text);
        let line = text
            .lines()
            .find(|line| line.starts_with("landfall_connections_total"))
            .unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    let load = Load::start(world.address(80), 4);
    load.more(20).await;
    eventually("every client is connected", || world.engine.connections() == 4).await;
    let before = connections(&world);
    for round in 0..200 {
        world.publish(&plans[round % 3]).await;
    }
    load.more(20).await;
    assert_eq!(connections(&world), before, "no client had to connect again");
    let (_, errors) = load.end().await;
    assert_eq!(errors, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_what_is_in_flight_and_loses_nothing() {
    let origin = serve(Speaks::H1, |_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Response::new(full("ok"))
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]));
    let load = Load::start(world.address(80), 8);
    let slow = {
        let address = world.address(80);
        let (client, connection) = h2::client::handshake(TcpStream::connect(address).await.unwrap())
            .await
            .unwrap();
        tokio::spawn(connection);
        let get = http::Request::get("http://shop.test/").body(()).unwrap();
        let (answer, _) = client.ready().await.unwrap().send_request(get, true).unwrap();
        answer
    };
    load.more(100).await;
    let left = world.engine.drain(Duration::from_secs(10)).await;
    assert_eq!(left, 0, "connections that had to be cut");
    assert_eq!(slow.await.unwrap().status(), 200);
    let (count, errors) = load.end().await;
    assert!(count >= 100);
    assert_eq!(errors, Vec::<String>::new());
    assert!(
        TcpStream::connect(world.address(80)).await.is_err(),
        "nobody listens any more"
    );
}

#[tokio::test]
async fn a_drain_ends_with_its_deadline() {
    let origin = serve(Speaks::H1, |_| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        Response::new(full("late"))
    })
    .await;
    let world = World::start(&Plan::to(&[origin.address]));
    let mut stream = TcpStream::connect(world.address(80)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("the endpoint is asked", || origin.requests() == 1).await;
    assert_eq!(world.engine.drain(Duration::from_millis(200)).await, 1);
    assert_eq!(read_to_end(&mut stream).await, "");
    eventually("the endpoint's connection is freed", || origin.open() == 0).await;
}

#[tokio::test]
async fn a_port_in_use_fails_the_start_and_later_only_its_listener() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let origin = answers("ok").await;
    let base = Plan::to(&[origin.address]);
    let both = base.clone().listener(port);

    let (_keep, follow) = watch::channel(both.snapshot(1));
    let options = EngineOptions {
        bind_override: [(80, 0)].into(),
        ..EngineOptions::default()
    };
    match Engine::start(follow, options) {
        Err(EngineError::Bind { listener, address, .. }) => {
            assert_eq!((listener.to_string(), address.port()), (format!("edge/l{port}"), port));
        }
        other => panic!("{other:?}"),
    }

    let world = World::start(&base);
    world.publish(&both).await;
    let state = || {
        world
            .engine
            .listeners()
            .into_iter()
            .find(|state| state.port == port)
            .unwrap()
    };
    eventually("the failure shows", || state().error.is_some()).await;
    assert_eq!(world.get("/").await.0, 200);
    assert!(state().error.unwrap().contains("cannot listen on 127.0.0.1"));
    drop(taken);
    eventually("the port is tried again", || {
        state().bound.is_some() && state().error.is_none()
    })
    .await;
    let address = state().bound.unwrap();
    assert_eq!(get(address, "/").await.status, 200);
}

#[tokio::test]
async fn certificates_change_without_touching_connections() {
    let dir = tempfile::tempdir().unwrap();
    let (files, old) = certificate(dir.path(), "a", &["shop.test"]);
    let origin = answers("ok").await;
    let plan = Plan::default()
        .listener_with("tls", 443, "", Some(vec![files.clone()]))
        .cluster("orders", &[origin.address])
        .route(rule("/", "orders"));
    let world = World::start(&plan);
    let address = world.address(443);
    let stream = tls(address, "shop.test", std::slice::from_ref(&old), "").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);

    let (_, new) = certificate(dir.path(), "a", &["shop.test"]);
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while tls(address, "shop.test", std::slice::from_ref(&new), "").await.is_err() {
        assert!(std::time::Instant::now() < end, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sender.ready().await.unwrap();
    let answer = sender.send_request(request("GET", "/", empty())).await.unwrap();
    assert_eq!(answer.status(), 200, "the old connection lives on");

    std::fs::write(&files.certificate, "no certificate").unwrap();
    eventually("the bad file shows", || world.engine.listeners()[0].error.is_some()).await;
    assert!(
        tls(address, "shop.test", std::slice::from_ref(&new), "").await.is_ok(),
        "the last good one stays"
    );
}

#[tokio::test]
async fn a_start_with_a_bad_certificate_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (files, _) = certificate(dir.path(), "a", &["shop.test"]);
    std::fs::write(&files.key, "no key").unwrap();
    let plan = Plan::default().listener_with("tls", 443, "", Some(vec![files]));
    let (_keep, follow) = watch::channel(plan.snapshot(1));
    let options = EngineOptions {
        bind_override: [(443, 0)].into(),
        ..EngineOptions::default()
    };
    let error = Engine::start(follow, options).unwrap_err().to_string();
    assert!(
        error.starts_with("listener edge/tls: ") && error.contains("a.key"),
        "{error}"
    );
}
