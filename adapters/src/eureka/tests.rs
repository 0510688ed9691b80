//! The follower against servers that play every fault.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    gzip: bool,
    delay: Duration,
}

impl Answer {
    fn json(body: &Value) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            body: body.to_string().into_bytes(),
            gzip: false,
            delay: Duration::ZERO,
        }
    }

    fn status(status: u16, body: &str) -> Self {
        Self {
            status,
            content_type: "text/html",
            body: body.as_bytes().to_vec(),
            ..Self::json(&Value::Null)
        }
    }
}

#[derive(Debug)]
struct Script {
    full: Answer,
    delta: Answer,
    asked: Vec<String>,
    logins: Vec<Option<String>>,
}

/// A server that says what it is told to.
struct Server {
    script: Arc<Mutex<Script>>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(full: Answer, delta: Answer) -> Self {
        let script = Arc::new(Mutex::new(Script {
            full,
            delta,
            asked: Vec::new(),
            logins: Vec::new(),
        }));
        let shared = script.clone();
        let router = Router::new().fallback(move |request: Request| {
            let shared = shared.clone();
            async move {
                let answer = {
                    let mut script = shared.lock().unwrap();
                    script.asked.push(request.uri().path().to_owned());
                    let login = request.headers().get("authorization");
                    script
                        .logins
                        .push(login.map(|value| value.to_str().unwrap().to_owned()));
                    assert_eq!(request.headers()["accept"], "application/json");
                    match request.uri().path() {
                        "/eureka/apps/" => script.full.clone(),
                        "/eureka/apps/delta" => script.delta.clone(),
                        _ => Answer::status(404, ""),
                    }
                };
                tokio::time::sleep(answer.delay).await;
                let response = Response::builder()
                    .status(answer.status)
                    .header("content-type", answer.content_type);
                if answer.gzip {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    std::io::Write::write_all(&mut encoder, &answer.body).unwrap();
                    let packed = encoder.finish().unwrap();
                    response
                        .header("content-encoding", "gzip")
                        .body(Body::from(packed))
                        .unwrap()
                } else {
                    response.body(Body::from(answer.body)).unwrap()
                }
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { script, address, task }
    }

    /// Full and delta with the same content.
    async fn with(instances: &[(&str, &str, &str)]) -> Self {
        let (full, delta) = (list(instances), list(instances));
        Self::start(Answer::json(&full), Answer::json(&delta)).await
    }

    fn url(&self) -> String {
        format!("http://{}/eureka", self.address)
    }

    fn say(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn asked(&self, path: &str) -> usize {
        let script = self.script.lock().unwrap();
        script.asked.iter().filter(|asked| asked.ends_with(path)).count()
    }
}

fn instance(app: &str, id: &str, status: &str, action: &str) -> Value {
    json!({"instanceId": id, "app": app, "hostName": "h1", "ipAddr": "10.0.0.1", "status": status,
           "port": {"$": 8080, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
           "actionType": action})
}

/// A list with the right hash, of (application, id, status).
fn list(instances: &[(&str, &str, &str)]) -> Value {
    let hash: wire::census::Census = instances.iter().map(|(_, _, status)| wire::status(status)).collect();
    entries(
        instances.iter().map(|(app, id, status)| (*app, *id, *status, "ADDED")),
        &hash.to_string(),
    )
}

fn entries<'a>(all: impl Iterator<Item = (&'a str, &'a str, &'a str, &'a str)>, hash: &str) -> Value {
    let mut applications: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (app, id, status, action) in all {
        applications
            .entry(app)
            .or_default()
            .push(instance(app, id, status, action));
    }
    let applications: Vec<_> = applications
        .into_iter()
        .map(|(name, instances)| json!({"name": name, "instance": instances}))
        .collect();
    json!({"applications": {"versions__delta": "1", "apps__hashcode": hash, "application": applications}})
}

fn registry(urls: &[String]) -> Eureka {
    let spec = json!({"urls": urls, "poll": "20ms", "fullFetch": "1h"});
    Eureka::new(&serde_json::from_value(spec).unwrap()).unwrap()
}

/// A session that is followed report by report.
struct Session {
    reports: mpsc::Receiver<Knowledge>,
    task: JoinHandle<RegistryError>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    fn with(eureka: Eureka) -> Self {
        let (sender, reports) = Reports::channel(64);
        Self {
            reports,
            task: tokio::spawn(async move { eureka.follow(&sender).await }),
        }
    }

    async fn next(&mut self) -> Option<Knowledge> {
        tokio::time::timeout(DEADLINE, self.reports.recv())
            .await
            .expect("a report in time")
    }

    /// Everything up to and with the first report that fits.
    async fn up_to(&mut self, fits: impl Fn(&Knowledge) -> bool) -> Vec<Knowledge> {
        let mut seen = Vec::new();
        let end = Instant::now() + DEADLINE;
        while let Some(report) = self.next().await {
            let enough = fits(&report);
            seen.push(report);
            if enough {
                return seen;
            }
            assert!(
                Instant::now() < end,
                "not seen in time, but {} other reports",
                seen.len()
            );
        }
        panic!("the session ended after {seen:?}");
    }

    async fn caught_up(&mut self) -> Vec<Knowledge> {
        self.up_to(|report| *report == Knowledge::CaughtUp).await
    }

    /// What was still said, and why it ended.
    async fn end(mut self) -> (Vec<Knowledge>, RegistryError) {
        let mut seen = Vec::new();
        let end = Instant::now() + DEADLINE;
        while let Some(report) = self.next().await {
            seen.push(report);
            assert!(Instant::now() < end, "the session goes on and on");
        }
        let error = tokio::time::timeout(DEADLINE, &mut self.task)
            .await
            .expect("an end in time");
        (seen, error.unwrap())
    }
}

/// Service names with ids and statuses, of those reports that say something about a service.
fn said(reports: &[Knowledge]) -> Vec<String> {
    reports
        .iter()
        .filter_map(|report| match report {
            Knowledge::Service { name, instances, .. } => {
                let ids: Vec<_> = instances.iter().map(|i| format!("{}={}", i.id, i.status)).collect();
                Some(format!("{name}[{}]", ids.join(",")))
            }
            Knowledge::Gone { name } => Some(format!("{name} gone")),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn first_everything_then_deltas_that_report_the_changed_services_only() {
    let server = Server::with(&[("ORDERS", "a", "UP"), ("STOCK", "b", "DOWN")]).await;
    let mut session = Session::with(registry(&[server.url()]));
    assert_eq!(said(&session.caught_up().await), ["orders[a=UP]", "stock[b=DOWN]"]);
    assert_eq!(session.next().await, Some(Knowledge::Confirmed));
    let change = [("ORDERS", "a", "UP", "DELETED"), ("ORDERS", "c", "STARTING", "ADDED")];
    server.say(|script| script.delta = Answer::json(&entries(change.into_iter(), "DOWN_1_STARTING_1_")));
    let seen = session
        .up_to(|report| matches!(report, Knowledge::Service { .. }))
        .await;
    assert_eq!(said(&seen), ["orders[c=STARTING]"]);
    assert_eq!(
        session.next().await,
        Some(Knowledge::Confirmed),
        "the same delta again is no news"
    );
    let change = [("ORDERS", "c", "STARTING", "DELETED")];
    server.say(|script| script.delta = Answer::json(&entries(change.into_iter(), "DOWN_1_")));
    let seen = session.up_to(|report| matches!(report, Knowledge::Gone { .. })).await;
    assert_eq!(said(&seen), ["orders gone"]);
    assert_eq!(server.asked("apps/"), 1);
}

#[tokio::test]
async fn a_hash_that_disagrees_fetches_everything_and_what_is_missing_there_is_gone() {
    let server = Server::with(&[("ORDERS", "a", "UP"), ("STOCK", "b", "UP")]).await;
    let mut session = Session::with(registry(&[server.url()]));
    session.caught_up().await;
    server.say(|script| {
        script.full = Answer::json(&list(&[("ORDERS", "a", "UP")]));
        script.delta = Answer::json(&entries(std::iter::empty(), "UP_1_"));
    });
    let seen = session.caught_up().await;
    assert_eq!(said(&seen), ["orders[a=UP]", "stock gone"]);
    assert_eq!(session.next().await, Some(Knowledge::Confirmed));
    assert_eq!(server.asked("apps/"), 2);
}

#[tokio::test]
async fn half_a_list_is_not_reported() {
    let server = Server::with(&[("ORDERS", "a", "UP"), ("STOCK", "b", "UP")]).await;
    let half = entries([("ORDERS", "a", "UP", "ADDED")].into_iter(), "UP_2_");
    server.say(|script| script.full = Answer::json(&half));
    let (seen, error) = Session::with(registry(&[server.url()])).end().await;
    assert_eq!(seen, []);
    assert!(
        matches!(&error, RegistryError::NotReady { what, .. } if what.contains("half a list")),
        "{error}"
    );

    // In the middle of a session it ends the session, and takes nothing away.
    server.say(|script| script.full = Answer::json(&list(&[("ORDERS", "a", "UP"), ("STOCK", "b", "UP")])));
    let mut session = Session::with(registry(&[server.url()]));
    session.caught_up().await;
    server.say(|script| {
        script.full = Answer::json(&half);
        script.delta = Answer::json(&entries(std::iter::empty(), "UP_9_"));
    });
    let (seen, error) = session.end().await;
    assert_eq!(said(&seen), Vec::<String>::new());
    assert!(matches!(error, RegistryError::NotReady { .. }), "{error}");
}

#[tokio::test]
async fn an_empty_list_that_agrees_with_its_hash_is_reported_as_it_is() {
    let server = Server::with(&[("ORDERS", "a", "UP")]).await;
    let mut session = Session::with(registry(&[server.url()]));
    session.caught_up().await;
    server.say(|script| {
        script.full = Answer::json(&list(&[]));
        script.delta = Answer::json(&list(&[]));
    });
    assert_eq!(said(&session.caught_up().await), ["orders gone"]);
}

#[tokio::test]
async fn a_server_that_refuses_deltas_is_asked_for_everything_each_time() {
    for status in [403, 404] {
        let server = Server::with(&[("ORDERS", "a", "UP")]).await;
        server.say(|script| script.delta = Answer::status(status, ""));
        let mut session = Session::with(registry(&[server.url()]));
        for _ in 0..4 {
            assert_eq!(said(&session.caught_up().await), ["orders[a=UP]"]);
        }
        assert_eq!(server.asked("apps/delta"), 1, "{status}");
        assert!(server.asked("apps/") >= 4);
    }
}

#[tokio::test]
async fn faults_of_the_only_server_end_the_session_with_their_kind() {
    let good = || Answer::json(&list(&[("ORDERS", "a", "UP")]));
    let cases = [
        (Answer::status(500, "<h1>oops</h1>"), "not_ready"),
        (Answer::status(503, ""), "not_ready"),
        (Answer::status(403, ""), "not_ready"),
        (Answer::status(404, "<html>no such page</html>"), "not_ready"),
        (Answer::status(401, ""), "denied"),
        (Answer::status(200, "<html><body>log in</body></html>"), "malformed"),
        (Answer::status(200, "garbage"), "malformed"),
        (Answer::status(200, ""), "malformed"),
        (Answer::status(406, ""), "malformed"),
        (Answer::json(&json!({"something": "else"})), "malformed"),
    ];
    for (fault, kind) in cases {
        let server = Server::start(fault.clone(), good()).await;
        let (seen, error) = Session::with(registry(&[server.url()])).end().await;
        assert_eq!((error.label(), seen), (kind, vec![]), "{fault:?} at the start");
        assert!(error.to_string().contains(&server.address.to_string()), "{error}");

        let server = Server::start(good(), good()).await;
        let mut session = Session::with(registry(&[server.url()]));
        session.caught_up().await;
        server.say(|script| {
            script.full = fault.clone();
            script.delta = fault.clone();
        });
        let (seen, error) = session.end().await;
        assert_eq!(error.label(), kind, "{fault:?} in the middle");
        assert_eq!(said(&seen), Vec::<String>::new(), "{fault:?} takes nothing away");
    }
}

#[tokio::test]
async fn a_web_page_is_shown_by_its_beginning() {
    let page = "<html><head><title>Sign in</title></head></html>";
    let server = Server::start(Answer::status(200, page), Answer::status(200, page)).await;
    let (_, error) = Session::with(registry(&[server.url()])).end().await;
    assert!(
        matches!(&error, RegistryError::Malformed { sample, .. } if sample.contains("Sign in")),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_says_why() {
    let server = Server::with(&[]).await;
    let url = server.url();
    server.task.abort();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("http://{}/eureka", unused.local_addr().unwrap());
    drop(unused);
    let (_, error) = Session::with(registry(&[dead])).end().await;
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{url} {error}");
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
}

#[tokio::test]
async fn of_several_servers_the_first_that_answers_is_used_and_kept() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("http://{}/eureka", unused.local_addr().unwrap());
    drop(unused);
    let (second, third) = (
        Server::with(&[("ORDERS", "a", "UP")]).await,
        Server::with(&[("ORDERS", "a", "UP"), ("STOCK", "b", "UP")]).await,
    );
    let mut session = Session::with(registry(&[dead, second.url(), third.url()]));
    assert_eq!(said(&session.caught_up().await), ["orders[a=UP]"]);
    for _ in 0..3 {
        assert_eq!(session.next().await, Some(Knowledge::Confirmed));
    }
    assert_eq!(third.asked(""), 0, "no rotating without need");

    // The good one turns bad: the next takes over within the same fetch, with everything it has.
    second.say(|script| {
        script.full = Answer::status(500, "");
        script.delta = Answer::status(500, "");
    });
    assert_eq!(said(&session.caught_up().await), ["orders[a=UP]", "stock[b=UP]"]);
    assert_eq!(session.next().await, Some(Knowledge::Confirmed));
    assert_eq!(third.asked("apps/delta"), 1);

    // All bad: the session ends, and every reason is told.
    third.say(|script| {
        script.full = Answer::status(401, "");
        script.delta = Answer::status(401, "");
    });
    let (seen, error) = session.end().await;
    assert_eq!(said(&seen), Vec::<String>::new());
    let text = error.to_string();
    assert!(
        text.contains("500") && text.contains("401") && text.contains("refused"),
        "{text}"
    );
    assert!(
        !matches!(error, RegistryError::Denied { .. }),
        "not all of them refused us"
    );
}

#[tokio::test]
async fn the_last_good_server_is_the_first_of_the_next_session() {
    let (first, second) = (Server::with(&[]).await, Server::with(&[("ORDERS", "a", "UP")]).await);
    first.say(|script| script.full = Answer::status(500, ""));
    let eureka = Arc::new(registry(&[first.url(), second.url()]));
    for _ in 0..2 {
        let (sender, mut reports) = Reports::channel(64);
        let eureka = eureka.clone();
        let task = tokio::spawn(async move { eureka.follow(&sender).await });
        while tokio::time::timeout(DEADLINE, reports.recv()).await.unwrap() != Some(Knowledge::CaughtUp) {}
        task.abort();
    }
    assert_eq!(first.asked("apps/"), 1);
}

#[tokio::test]
async fn bad_records_are_quarantined_and_their_siblings_reported() {
    let body: Value = serde_json::from_slice(include_bytes!("testdata/bad-records.json")).unwrap();
    let server = Server::start(Answer::json(&body), Answer::json(&list(&[]))).await;
    let mut session = Session::with(registry(&[server.url()]));
    let seen = session.caught_up().await;
    let Some(Knowledge::Service {
        instances, quarantined, ..
    }) = seen.first()
    else {
        panic!("{seen:?}")
    };
    assert_eq!(&*instances[0].id, "good");
    assert_eq!(quarantined.len(), 4);
    assert!(
        quarantined
            .iter()
            .any(|q| q.record == "no-app" && q.reason.contains("`app`"))
    );
}

#[tokio::test]
async fn gzip_and_xml_are_understood_whatever_was_asked_for() {
    let server = Server::with(&[("ORDERS", "a", "OUT_OF_SERVICE")]).await;
    server.say(|script| script.full.gzip = true);
    let mut session = Session::with(registry(&[server.url()]));
    assert_eq!(said(&session.caught_up().await), ["orders[a=OUT_OF_SERVICE]"]);

    let xml = include_bytes!("testdata/full.xml").to_vec();
    server.say(|script| {
        script.full = Answer {
            content_type: "application/xml",
            body: xml,
            ..Answer::json(&Value::Null)
        };
    });
    let mut session = Session::with(registry(&[server.url()]));
    assert_eq!(said(&session.caught_up().await), ["orders[h1:orders:8080=UP]"]);
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let server = Server::with(&[("ORDERS", "a", "UP")]).await;
    server.say(|script| script.full.delay = Duration::from_millis(300));
    let mut session = Session::with(registry(&[server.url()]));
    assert_eq!(said(&session.caught_up().await), ["orders[a=UP]"]);
    assert_eq!(session.next().await, Some(Knowledge::Confirmed));
}

#[tokio::test]
async fn user_and_password_travel_in_the_header_and_show_nowhere() {
    let server = Server::with(&[]).await;
    let url = format!("http://anna:s%40cret@{}/eureka", server.address);
    let eureka = registry(&[url]);
    assert!(!eureka.address().contains("cret") && !eureka.address().contains("anna"));
    let mut session = Session::with(eureka);
    session.caught_up().await;
    // base64 of `anna:s@cret`
    let sent = Some("Basic YW5uYTpzQGNyZXQ=".to_owned());
    server.say(|script| assert_eq!(script.logins[0], sent));
    server.say(|script| {
        script.full = Answer::status(403, r#"{"error":"Forbidden"}"#);
        script.delta = script.full.clone();
    });
    let (_, error) = session.end().await;
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    assert!(!error.to_string().contains("cret"), "{error}");
}

#[tokio::test]
async fn a_configured_password_is_read_anew_for_each_session() {
    let server = Server::with(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let spec = json!({"urls": [server.url()], "poll": "20ms", "username": "anna",
                      "password": format!("file:{}", path.display())});
    let eureka = || Eureka::new(&serde_json::from_value(spec.clone()).unwrap()).unwrap();
    let (_, error) = Session::with(eureka()).end().await;
    assert!(
        matches!(&error, RegistryError::Denied { what, .. } if what.contains("password")),
        "{error}"
    );
    std::fs::write(&path, "one\n").unwrap();
    Session::with(eureka()).caught_up().await;
    // base64 of `anna:one`
    server.say(|script| assert_eq!(script.logins[0].as_deref(), Some("Basic YW5uYTpvbmU=")));
}
