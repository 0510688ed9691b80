//! Shapes, and writing into our own Eureka server over HTTP.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU16, Ordering},
};

use axum::{extract::Request, middleware, response::IntoResponse};
use landfall_model::{Host, Protocol};
use proptest::prelude::*;

use super::*;
use crate::{
    eureka::{
        book::{Book, Limits},
        convert,
        surface::Surface,
    },
    facade::{shared::Shared, writes::Writes},
    publish::samples::{any_record, check, greeting, lost, orders, port, record},
};

fn publisher_at(address: &str, permit: Permit) -> EurekaPublisher {
    let spec = serde_json::json!({ "urls": [format!("http://{address}/eureka")] });
    let spec: EurekaSpec = serde_json::from_value(spec).unwrap();
    EurekaPublisher::with_lease(&spec, "c1", permit, Duration::from_secs(1), Duration::from_secs(3)).unwrap()
}

fn publisher() -> EurekaPublisher {
    publisher_at("127.0.0.1:1", Permit::always(1))
}

fn read_back(shaped: &Shaped) -> Vec<(Key, landfall_model::Instance)> {
    let sent = write::instance(&wire(shaped, LeaseInfo::default()), Format::Json);
    let info = read::instance(&sent, Format::Json).unwrap();
    let service = convert::service_name(&info.app);
    let instance = shape::read_back(&info);
    vec![(
        Key {
            service,
            id: instance.id.clone(),
        },
        instance,
    )]
}

fn shaped(record: &Record) -> Shaped {
    check(&publisher(), record, read_back).expect("it fits")
}

#[test]
fn a_plain_record_loses_nothing() {
    let shaped = shaped(&orders());
    assert_eq!(shaped.losses, []);
    let info = wire(&shaped, LeaseInfo::default());
    assert_eq!((info.app.as_str(), info.vip.as_deref()), ("ORDERS", Some("orders")));
    assert_eq!((info.host_name.as_str(), info.ip.as_str()), ("10.0.0.7", "10.0.0.7"));
    assert_eq!(info.metadata["management.port"], "8081");
    assert!(info.port.enabled && !info.secure_port.enabled);
    assert!(
        !info.metadata.contains_key("weight"),
        "beside native ones it counts as one of them"
    );
}

#[test]
fn names_that_eureka_cannot_hold_are_escaped_and_said() {
    for (name, written) in [
        ("Orders", "orders"),
        ("my_orders:v1.2", "my_orders:v1.2"),
        ("g1/org.x.Greeting:1.0", "g1_x2f_org.x.greeting:1.0"),
        ("a,b", "a_x2c_b"),
        ("two words 🦀", "two words 🦀"),
        ("..", "_x2e2e_"),
    ] {
        let shaped = shaped(&record(name, "a"));
        assert_eq!(&*shaped.key.service, written);
        assert_eq!(lost(&shaped).contains(&"service"), name != written, "{name}");
    }
    for bad in ["", "  ", &"x".repeat(2000)] {
        assert!(publisher().shape(&record(bad, "a")).is_err());
    }
}

#[test]
fn twins_in_upper_and_lower_case_share_an_application_but_not_an_id() {
    let (one, two) = (shaped(&record("Orders", "a")), shaped(&record("orders", "a")));
    assert_eq!(one.key.service, two.key.service);
    assert_ne!(one.key.id, two.key.id);
    let same = shaped(&record("orders", "a"));
    assert_eq!(two, same, "a duplicate id is the same record");
}

#[test]
fn hosts_that_are_none_are_refused_with_the_mend() {
    for bad in ["", "a b", "h/x", "h:80", "[::1", "h\n", "🦀 x"] {
        let mut odd = orders();
        odd.instance.host = Host::parse(bad);
        let unfit = publisher().shape(&odd).unwrap_err();
        assert!(unfit.reason.contains("IP address or a host name"), "{unfit}");
    }
    let mut six = orders();
    six.instance.host = Host::parse("::1");
    assert_eq!(wire(&shaped(&six), LeaseInfo::default()).host_name, "[::1]");
    let mut name = orders();
    name.instance.host = Host::parse("h1.example");
    assert_eq!(wire(&shaped(&name), LeaseInfo::default()).ip, "h1.example");
}

#[test]
fn keys_that_would_break_the_xml_list_are_escaped_and_come_back() {
    let mut odd = orders();
    for key in ["a b", "1st", "x/y", "snow☃", "@class", "a_xz"] {
        odd.instance.metadata.insert(key.into(), "v".into());
    }
    odd.instance.metadata.insert("bell".into(), "\u{7}".into());
    odd.instance.metadata.insert("".into(), "v".into());
    odd.instance
        .metadata
        .insert("large".into(), "x".repeat(64 << 10).into());
    odd.instance
        .metadata
        .insert("larger".into(), "x".repeat(100 << 10).into());
    let shaped = shaped(&odd);
    let info = wire(&shaped, LeaseInfo::default());
    for key in info.metadata.keys() {
        assert!(
            key.char_indices()
                .all(|(at, c)| c.is_ascii_alphanumeric() && !(at == 0 && c.is_ascii_digit()) || "_-.".contains(c)),
            "{key}"
        );
    }
    assert_eq!(info.metadata["a_x20_b"], "v");
    assert!(info.metadata.contains_key("large"), "64 KiB are carried");
    assert_eq!(lost(&shaped), ["bell", "larger", "metadata"]);
}

#[test]
fn ports_find_their_place_or_are_reported() {
    let p = port;
    let table = [
        (vec![], vec![], 0),
        (
            vec![p(443, Protocol::Http, true), p(80, Protocol::Http, false)],
            vec![443, 80],
            0,
        ),
        (
            vec![p(80, Protocol::Http, false), p(443, Protocol::Http, true)],
            vec![443, 80],
            1,
        ),
        (
            vec![p(80, Protocol::Unknown, false), p(90, Protocol::Grpc, false)],
            vec![80, 90],
            0,
        ),
        (vec![p(90, Protocol::Grpc, false)], vec![90], 0),
        (
            vec![p(443, Protocol::Unknown, true), p(90, Protocol::Grpc, false)],
            vec![443, 90],
            0,
        ),
        (
            vec![p(80, Protocol::Tcp, false), p(81, Protocol::Tcp, false)],
            vec![80],
            1,
        ),
    ];
    for (ports, kept, losses) in table {
        let mut odd = orders();
        odd.instance.ports = ports;
        let shaped = shaped(&odd);
        let numbers: Vec<u16> = shaped.record.instance.ports.iter().map(|port| port.number).collect();
        assert_eq!(numbers, kept);
        assert_eq!(shaped.losses.len(), losses, "{:?}", shaped.losses);
    }
    let dubbo = shaped(&greeting());
    assert_eq!(
        dubbo.record.instance.ports[0].protocol,
        Protocol::Dubbo,
        "it is not taken for HTTP"
    );
}

#[test]
fn weights_keep_their_ratio_on_eurekas_scale() {
    let mut heavy = orders();
    heavy.instance.weight = 300;
    assert_eq!(wire(&shaped(&heavy), LeaseInfo::default()).metadata["weight"], "3");
    let mut stated = orders();
    stated.instance.metadata.insert("weight".into(), "5".into());
    stated.instance.weight = 5;
    assert_eq!(wire(&shaped(&stated), LeaseInfo::default()).metadata["weight"], "5");
    let mut dubbo = greeting();
    dubbo.instance.metadata.insert("weight".into(), "200".into());
    dubbo.instance.weight = 200;
    assert_eq!(wire(&shaped(&dubbo), LeaseInfo::default()).metadata["weight"], "2");
    let mut half = orders();
    half.instance.weight = 50;
    assert_eq!(lost(&shaped(&half)), ["weight"]);
}

#[test]
fn a_digest_changes_with_what_matters_only() {
    let before = shaped(&orders()).digest;
    let mut zone = orders();
    zone.instance.zone = Some("b".into());
    let mut status = orders();
    status.instance.status = Status::Down;
    let mut path = orders();
    path.mark
        .path
        .push(landfall_model::RegistryName::new("consul").unwrap());
    for other in [zone, status, path] {
        assert_ne!(shaped(&other).digest, before);
    }
    let mut later = orders();
    later.instance.changed = Some(SystemTime::now());
    assert_eq!(shaped(&later).digest, before);
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn any_record_is_refused_with_a_reason_or_read_back_as_it_was_shaped(record in any_record()) {
        check(&publisher(), &record, read_back);
    }
}

/// Our own Eureka server, and what was asked of it.
struct Server {
    address: SocketAddr,
    book: Arc<Shared<Book>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// When not 0, every answer.
    refuse: Arc<AtomicU16>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let book = Shared::new(Book::new(Limits::default()));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let refuse = Arc::new(AtomicU16::new(0));
        let (log, refusing) = (asked.clone(), refuse.clone());
        let surface = Surface::new(book.clone(), Writes::Here);
        let app = axum::Router::new()
            .fallback(move |request: Request| surface.clone().answered(request))
            .layer(middleware::from_fn(move |request: Request, next: middleware::Next| {
                let line = format!("{} {}", request.method(), request.uri());
                log.lock().unwrap().push(line);
                let refuse = refusing.load(Ordering::Relaxed);
                async move {
                    match http::StatusCode::from_u16(refuse) {
                        Ok(status) if refuse > 0 => status.into_response(),
                        _ => next.run(request).await,
                    }
                }
            }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            book,
            asked,
            refuse,
            task,
        }
    }

    fn status(&self, shaped: &Shaped) -> Option<Status> {
        self.book.read(|book| {
            let found = book.instance(&shaped.key.service, &shaped.key.id);
            found.map(|info| info.known_status())
        })
    }

    fn asked(&self, method: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|line| line.starts_with(method)).count()
    }
}

async fn eventually(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn with_status(status: Status) -> Shaped {
    let mut record = orders();
    record.instance.status = status;
    shaped(&record)
}

#[tokio::test]
async fn a_record_is_registered_renewed_restored_and_cancelled() {
    let server = Server::start().await;
    let publisher = publisher_at(&server.address.to_string(), Permit::always(1));
    let up = with_status(Status::Up);
    assert_eq!(publisher.put(std::slice::from_ref(&up)).await, [Ok(())]);
    assert_eq!(server.status(&up), Some(Status::Up));
    eventually("it is renewed", || publisher.figures().renewals >= 2).await;
    assert_eq!(publisher.figures().puts, 1, "renewals are no writes");

    server
        .book
        .write(|book, now| book.cancel(&up.key.service, &up.key.id, now))
        .unwrap();
    eventually("it is restored", || publisher.figures().restores == 1).await;
    assert_eq!(server.status(&up), Some(Status::Up));

    assert_eq!(publisher.remove(std::slice::from_ref(&up.key)).await, [Ok(())]);
    assert_eq!(server.status(&up), None);
    assert_eq!(
        publisher.remove(std::slice::from_ref(&up.key)).await,
        [Ok(())],
        "gone is gone"
    );
    let renewals = publisher.figures().renewals;
    let puts = server.asked("PUT");
    // A second and a half is longer than an interval with its spread.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((publisher.figures().renewals, server.asked("PUT")), (renewals, puts));
}

#[tokio::test]
async fn a_change_between_up_and_out_of_service_is_not_swallowed() {
    let server = Server::start().await;
    let publisher = publisher_at(&server.address.to_string(), Permit::always(1));
    for status in [
        Status::Up,
        Status::OutOfService,
        Status::Up,
        Status::Down,
        Status::OutOfService,
    ] {
        let record = with_status(status);
        assert_eq!(publisher.put(std::slice::from_ref(&record)).await, [Ok(())]);
        assert_eq!(server.status(&record), Some(status));
    }
    // A process that knows nothing of what stands there.
    let other = publisher_at(&server.address.to_string(), Permit::always(2));
    let up = with_status(Status::Up);
    assert_eq!(other.put(std::slice::from_ref(&up)).await, [Ok(())]);
    assert_eq!(server.status(&up), Some(Status::Up));
}

#[tokio::test]
async fn a_record_with_a_later_timestamp_is_written_past() {
    let server = Server::start().await;
    let down = with_status(Status::Down);
    let ahead = next(None) + 3_600_000;
    let mut info = wire(&down, LeaseInfo::default());
    info.last_dirty = Some(ahead);
    server
        .book
        .write(|book, now| book.register("orders", info, now))
        .unwrap();
    let publisher = publisher_at(&server.address.to_string(), Permit::always(1));
    let up = with_status(Status::Up);
    assert_eq!(publisher.put(std::slice::from_ref(&up)).await, [Ok(())]);
    assert_eq!(server.status(&up), Some(Status::Up));
}

#[tokio::test]
async fn adopted_records_are_kept_alive_without_a_write() {
    let server = Server::start().await;
    let up = with_status(Status::Up);
    let first = publisher_at(&server.address.to_string(), Permit::always(1));
    first.put(std::slice::from_ref(&up)).await;
    first.release().await;
    assert_eq!(first.figures().held, 0);
    let second = publisher_at(&server.address.to_string(), Permit::always(2));
    second.adopt(std::slice::from_ref(&up)).await;
    eventually("it is renewed", || second.figures().renewals >= 2).await;
    assert_eq!((server.asked("POST"), second.figures().puts), (1, 0));
    second.disown(std::slice::from_ref(&up.key)).await;
    assert_eq!(second.figures().held, 0);
}

#[tokio::test]
async fn without_the_permit_nothing_is_sent() {
    let server = Server::start().await;
    let permit = Permit::refused();
    let publisher = publisher_at(&server.address.to_string(), permit.clone());
    let up = with_status(Status::Up);
    publisher.adopt(std::slice::from_ref(&up)).await;
    assert_eq!(
        publisher.put(std::slice::from_ref(&up)).await,
        [Err(WriteError::NotPermitted)]
    );
    assert_eq!(
        publisher.remove(std::slice::from_ref(&up.key)).await,
        [Err(WriteError::NotPermitted)]
    );
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(*server.asked.lock().unwrap(), Vec::<String>::new());
    permit.extend(crate::publish::permit::now(), Duration::from_secs(60), 1);
    eventually("it goes on by itself", || server.status(&up).is_some()).await;
}

#[tokio::test]
async fn what_is_not_ours_is_never_cancelled() {
    let server = Server::start().await;
    let publisher = publisher_at(&server.address.to_string(), Permit::always(1));
    let native = Key {
        service: "orders".into(),
        id: "h1:orders:8080".into(),
    };
    let answer = publisher.remove(&[native]).await;
    assert!(matches!(&answer[..], [Err(WriteError::Rejected { .. })]), "{answer:?}");
    assert_eq!(server.asked("DELETE"), 0);
}

#[tokio::test]
async fn a_record_that_another_cluster_has_written_over_ours_is_neither_cancelled_nor_restored() {
    let server = Server::start().await;
    let publisher = publisher_at(&server.address.to_string(), Permit::always(1));
    let ours = with_status(Status::Up);
    assert_eq!(publisher.put(std::slice::from_ref(&ours)).await, [Ok(())]);
    let mut record = orders();
    record.mark.cluster = "c2".into();
    let theirs = shaped(&record);
    assert_eq!(theirs.key, ours.key);
    let held = server
        .book
        .read(|book| book.instance(&ours.key.service, &ours.key.id).cloned());
    let ours_dirty = held.and_then(|info| info.last_dirty).unwrap();
    // By a clock that is behind: Eureka says 404 to our renewals, as if the record were lost.
    let over = || {
        let mut info = wire(&theirs, LeaseInfo::default());
        info.last_dirty = Some(ours_dirty - 3_600_000);
        server.book.write(|book, now| {
            let _ = book.cancel(&ours.key.service, &ours.key.id, now);
            book.register("orders", info, now)
        })
    };
    over().unwrap();
    eventually("it is let go", || publisher.figures().held == 0).await;
    assert_eq!((publisher.figures().restores, server.asked("POST")), (0, 1));

    publisher.adopt(std::slice::from_ref(&ours)).await;
    assert_eq!(publisher.remove(std::slice::from_ref(&ours.key)).await, [Ok(())]);
    assert_eq!((publisher.figures().removes, server.asked("DELETE")), (0, 0));
    assert_eq!(server.status(&theirs), Some(Status::Up));
}

#[tokio::test]
async fn what_another_writer_of_the_cluster_has_changed_is_restored_as_it_was_changed() {
    let server = Server::start().await;
    let publisher = publisher_at(&server.address.to_string(), Permit::always(1));
    let (up, down) = (with_status(Status::Up), with_status(Status::Down));
    assert_eq!(publisher.put(std::slice::from_ref(&up)).await, [Ok(())]);
    let other = publisher_at(&server.address.to_string(), Permit::always(1));
    assert_eq!(other.put(std::slice::from_ref(&down)).await, [Ok(())]);
    other.release().await;
    publisher.adopt(std::slice::from_ref(&down)).await;
    server
        .book
        .write(|book, now| book.cancel(&up.key.service, &up.key.id, now))
        .unwrap();
    eventually("it is restored", || publisher.figures().restores == 1).await;
    assert_eq!(server.status(&down), Some(Status::Down));
}

#[tokio::test]
async fn another_server_takes_over_and_errors_are_told_apart() {
    let server = Server::start().await;
    let urls = [
        "http://127.0.0.1:1/eureka".to_owned(),
        format!("http://u:secret@{}/eureka", server.address),
    ];
    let spec: EurekaSpec = serde_json::from_value(serde_json::json!({ "urls": urls })).unwrap();
    let publisher = EurekaPublisher::new(&spec, "c1", Permit::always(1)).unwrap();
    let up = [with_status(Status::Up)];
    assert_eq!(publisher.put(&up).await, [Ok(())]);
    for (code, expected) in [
        (401, "refused"),
        (429, "fewer"),
        (503, "no write"),
        (404, "no write"),
        (400, "not take"),
    ] {
        server.refuse.store(code, Ordering::Relaxed);
        let answers = publisher.put(&up).await;
        let text = answers[0].as_ref().unwrap_err().to_string();
        assert!(text.contains(expected) && !text.contains("secret"), "{code}: {text}");
    }
    assert!(!publisher.address().contains("secret"));
}
