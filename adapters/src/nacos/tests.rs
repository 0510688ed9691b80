//! A Nacos that can be told to fail, and what the follower makes of it.

mod scripted;

use std::time::Duration;

use landfall_config::kinds::registry::NacosSpec;
use landfall_model::Status;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::*;
use crate::registry::Knowledge;
use scripted::Scripted;

const DEADLINE: Duration = Duration::from_secs(10);

fn host(port: u16, healthy: bool) -> Value {
    json!({"ip": "10.0.0.1", "port": port, "weight": 1.0, "healthy": healthy, "enabled": true, "ephemeral": true,
           "clusterName": "DEFAULT", "serviceName": "DEFAULT_GROUP@@s", "metadata": {}})
}

fn nacos(servers: &[&Scripted], more: Value) -> Nacos {
    let mut spec = json!({ "addresses": servers.iter().map(|server| server.address()).collect::<Vec<_>>(),
                           "transport": "grpc", "poll": "100ms" });
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    let spec: NacosSpec = serde_json::from_value(spec).unwrap();
    let nacos = Nacos::new(&spec).unwrap();
    nacos.first.store(0, Relaxed);
    nacos
}

/// One session and what it says.
struct Session {
    reports: mpsc::Receiver<Knowledge>,
    ended: JoinHandle<RegistryError>,
}

impl Session {
    fn of(nacos: Nacos) -> Self {
        let (sender, reports) = Reports::channel(64);
        let ended = tokio::spawn(async move { nacos.follow(&sender).await });
        Self { reports, ended }
    }

    /// The next report that is not a confirmation.
    async fn next(&mut self) -> Knowledge {
        let news = async {
            loop {
                match self.reports.recv().await {
                    Some(Knowledge::Confirmed) => {}
                    Some(knowledge) => return knowledge,
                    None => panic!("the session ended: {:?}", (&mut self.ended).await),
                }
            }
        };
        timeout(DEADLINE, news).await.expect("a report")
    }

    /// Ports and statuses of the next report, which is one of that service.
    async fn service(&mut self, wanted: &str) -> Vec<(u16, Status)> {
        match self.next().await {
            Knowledge::Service { name, instances, .. } if &*name == wanted => {
                instances.iter().map(|one| (one.ports[0].number, one.status)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    async fn caught_up(&mut self) {
        assert_eq!(self.next().await, Knowledge::CaughtUp);
    }

    async fn end(self) -> RegistryError {
        timeout(DEADLINE, self.ended).await.expect("an end").expect("no panic")
    }
}

async fn following(hosts: Vec<Value>) -> (Scripted, Session) {
    let server = Scripted::start().await;
    server.set("s", hosts);
    let mut session = Session::of(nacos(&[&server], json!({})));
    session.service("s").await;
    session.caught_up().await;
    (server, session)
}

#[tokio::test]
async fn what_is_there_is_reported_before_caught_up_and_pushes_follow() {
    let (server, mut session) = following(vec![host(1, true), host(2, false)]).await;
    server.push("s", vec![host(1, true)]);
    assert_eq!(session.service("s").await, [(1, Status::Up)]);
    server.set("t", vec![host(9, true)]);
    assert_eq!(session.service("t").await, [(9, Status::Up)]);
    server.acknowledged("NotifySubscriberResponse").await;
}

#[tokio::test]
async fn an_empty_registry_is_caught_up_with() {
    let server = Scripted::start().await;
    Session::of(nacos(&[&server], json!({}))).caught_up().await;
}

#[tokio::test]
async fn an_empty_push_is_asked_for_again_before_it_is_believed() {
    let (server, mut session) = following(vec![host(1, true)]).await;
    // The registry itself still has it: nothing is lost, and what comes next is the next change.
    server.push_only("s", vec![], 1_000_000);
    server.push("s", vec![host(1, true), host(2, true)]);
    assert_eq!(session.service("s").await, [(1, Status::Up), (2, Status::Up)]);
    // And when it really is empty, the service exists and has nobody.
    server.push("s", vec![]);
    assert_eq!(session.service("s").await, []);
}

#[tokio::test]
async fn a_push_older_than_the_last_answer_changes_nothing() {
    let (server, mut session) = following(vec![host(1, true)]).await;
    server.push_only("s", vec![host(7, true)], 1);
    server.push("s", vec![host(2, true)]);
    assert_eq!(session.service("s").await, [(2, Status::Up)]);
}

#[tokio::test]
async fn a_server_whose_clock_was_set_back_is_believed_when_it_is_asked() {
    let (server, mut session) = following(vec![host(1, true)]).await;
    server.set_clock(5);
    server.push("s", vec![host(2, true)]);
    assert_eq!(session.service("s").await, [(2, Status::Up)]);
}

#[tokio::test]
async fn the_protection_threshold_keeps_the_last_real_health() {
    let (server, mut session) = following(vec![host(1, true), host(2, false)]).await;
    server.protect(true);
    server.push("s", vec![host(1, true), host(2, true)]);
    assert_eq!(session.service("s").await, [(1, Status::Up), (2, Status::Down)]);
}

#[tokio::test]
async fn a_name_that_is_not_listed_but_has_instances_is_kept() {
    let (server, mut session) = following(vec![host(1, true)]).await;
    server.unlist("s");
    server.asked_again("SubscribeServiceRequest", 2).await;
    server.set("t", vec![host(9, true)]);
    assert_eq!(session.service("t").await, [(9, Status::Up)]);
}

#[tokio::test]
async fn a_name_that_is_not_listed_and_has_nobody_is_gone() {
    let (server, mut session) = following(vec![host(1, true)]).await;
    server.remove("s");
    assert_eq!(session.next().await, Knowledge::Gone { name: "s".into() });
}

#[tokio::test]
async fn a_connection_that_the_server_does_not_know_any_more_ends_the_session_at_once() {
    let (server, session) = following(vec![host(1, true)]).await;
    server.fail(Some(301));
    assert_eq!(session.end().await.label(), "session_over");
}

#[tokio::test]
async fn refusals_and_faults_are_told_apart() {
    for (code, label) in [(403, "denied"), (500, "not_ready"), (302, "malformed")] {
        let (server, session) = following(vec![host(1, true)]).await;
        server.fail(Some(code));
        assert_eq!(session.end().await.label(), label, "{code}");
    }
}

#[tokio::test]
async fn a_server_that_is_starting_is_not_ready_and_one_that_is_absent_unreachable() {
    let server = Scripted::start().await;
    server.fail(Some(300));
    let session = Session::of(nacos(&[&server], json!({})));
    assert_eq!(session.end().await.label(), "not_ready");
    let absent = json!({ "addresses": ["127.0.0.1:1"] });
    let session = Session::of(nacos(&[&server], absent));
    assert_eq!(session.end().await.label(), "unreachable");
}

#[tokio::test]
async fn a_stream_that_is_cut_ends_the_session_and_removes_nothing() {
    let (server, mut session) = following(vec![host(1, true)]).await;
    server.cut();
    let mut last = None;
    while let Some(knowledge) = timeout(DEADLINE, session.reports.recv()).await.expect("an end") {
        last = Some(knowledge).filter(|knowledge| *knowledge != Knowledge::Confirmed);
    }
    assert_eq!(last, None);
    assert_eq!(session.end().await.label(), "unreachable");
}

#[tokio::test]
async fn a_wish_to_get_rid_of_us_is_answered_and_followed_to_the_server_it_names() {
    let (one, other) = (Scripted::start().await, Scripted::start().await);
    for server in [&one, &other] {
        server.set("s", vec![host(1, true)]);
    }
    let nacos = Arc::new(nacos(&[&one, &other], json!({})));
    let (sender, mut reports) = Reports::channel(64);
    let follow = {
        let (nacos, sender) = (nacos.clone(), sender.clone());
        tokio::spawn(async move { nacos.follow(&sender).await })
    };
    while reports.recv().await != Some(Knowledge::CaughtUp) {}
    one.reset(&other);
    let end = timeout(DEADLINE, follow).await.expect("an end").expect("no panic");
    assert_eq!(end.label(), "session_over");
    one.acknowledged("ConnectResetResponse").await;
    assert_eq!(nacos.first.load(Relaxed), 1);
}

#[tokio::test]
async fn the_next_server_is_asked_when_the_first_is_down() {
    let server = Scripted::start().await;
    server.set("s", vec![host(1, true)]);
    let addresses = json!({ "addresses": ["127.0.0.1:1", server.address()] });
    let mut session = Session::of(nacos(&[&server], addresses));
    assert_eq!(session.service("s").await, [(1, Status::Up)]);
}

#[tokio::test]
async fn a_server_that_negotiates_gets_its_answer_and_is_asked_whether_it_lives() {
    let server = Scripted::start().await;
    server.negotiate();
    server.set("s", vec![host(1, true)]);
    let mut session = Session::of(nacos(&[&server], json!({})));
    assert_eq!(session.service("s").await, [(1, Status::Up)]);
    server.acknowledged("SetupAckResponse").await;
    server.detect();
    server.acknowledged("ClientDetectionResponse").await;
}
