use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{
    super::{ZooKeeper, url::encode},
    server::{NO_AUTH, Server},
};
use crate::registry::{ConnectError, Knowledge, Registry, RegistryError, Reports};

const DEADLINE: Duration = Duration::from_secs(10);

pub(super) struct Followed {
    inbox: mpsc::Receiver<Knowledge>,
    session: tokio::task::JoinHandle<RegistryError>,
}

impl Followed {
    pub(super) fn start(address: &str, more: Value) -> Self {
        let mut spec = json!({"address": address, "sessionTimeout": "4s"});
        if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
            spec.extend(more);
        }
        Self::session(&Arc::new(
            ZooKeeper::new(&serde_json::from_value(spec).unwrap()).unwrap(),
        ))
    }

    /// One more session of the same follower.
    pub(super) fn session(zookeeper: &Arc<ZooKeeper>) -> Self {
        let zookeeper = zookeeper.clone();
        let (reports, inbox) = Reports::channel(64);
        let session = tokio::spawn(async move { zookeeper.follow(&reports).await });
        Self { inbox, session }
    }

    pub(super) async fn line(&mut self) -> String {
        loop {
            let knowledge = timeout(DEADLINE, self.inbox.recv()).await.expect("a report in time");
            if let Some(line) = line_of(knowledge.expect("a session")) {
                return line;
            }
        }
    }

    /// Reports until one of them is this; those before it.
    pub(super) async fn until(&mut self, end: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line().await {
                line if line == end => return lines,
                line => lines.push(line),
            }
            assert!(lines.len() < 50, "no `{end}` in {lines:?}");
        }
    }

    /// The next report of this kind; others are passed over.
    pub(super) async fn next<T>(&mut self, wanted: impl Fn(Knowledge) -> Option<T>) -> T {
        loop {
            let knowledge = timeout(DEADLINE, self.inbox.recv()).await.expect("a report in time");
            if let Some(found) = wanted(knowledge.expect("a session")) {
                return found;
            }
        }
    }

    /// What is said until the session ends.
    pub(super) async fn said(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(knowledge) = timeout(DEADLINE, self.inbox.recv()).await.expect("an end in time") {
            lines.extend(line_of(knowledge));
        }
        lines
    }

    pub(super) async fn ended(self) -> RegistryError {
        timeout(DEADLINE, self.session).await.expect("an end in time").unwrap()
    }
}

fn line_of(knowledge: Knowledge) -> Option<String> {
    Some(match knowledge {
        Knowledge::Confirmed | Knowledge::Governance(_) => return None,
        Knowledge::CaughtUp => "caught up".to_owned(),
        Knowledge::Gone { name } => format!("{name} gone"),
        Knowledge::Unreadable(records) => format!("{} unreadable", records.len()),
        Knowledge::Service {
            name,
            instances,
            quarantined,
            ..
        } => {
            let ids = instances.iter().map(|instance| instance.id.to_string());
            let ids: Vec<String> = ids
                .chain(quarantined.iter().map(|q| format!("!{}", q.record)))
                .collect();
            format!("{name}: {}", ids.join(" ")).trim_end().to_owned()
        }
    })
}

pub(super) fn provider(host: &str) -> String {
    format!(
        "/dubbo/org.x.Svc/providers/{}",
        encode(&format!("dubbo://{host}:20880/org.x.Svc?version=1.0"))
    )
}

fn application(revision: &str) -> String {
    json!({"address": "10.0.0.5", "port": 20880, "payload": {"metadata": {
        "dubbo.endpoints": "[{\"port\":20880,\"protocol\":\"dubbo\"}]", "dubbo.metadata.revision": revision,
        "dubbo.metadata.storage-type": "remote"}}})
    .to_string()
}

fn document(interface: &str) -> String {
    json!({"services": {interface: {"name": interface, "protocol": "dubbo", "port": 20880}}}).to_string()
}

/// The same story on a server with persistent watches and on one without.
async fn a_day_in_the_life(old: bool) {
    let (server, address) = Server::start().await;
    server.state().old = old;
    server.create(&provider("a"), "");
    server.create("/dubbo/org.x.Dead/consumers", "");
    server.create("/dubbo/config/dubbo/x", "");
    server.create("/dubbo/metadata/demo/r1", &document("org.x.App"));
    server.create("/services/demo/10.0.0.5:20880", &application("r1"));
    let mut followed = Followed::start(&address, json!({}));
    let lines = followed.until("caught up").await;
    assert_eq!(
        lines,
        [
            "demo: 10.0.0.5:20880",
            "org.x.App: dubbo://10.0.0.5:20880",
            "org.x.Svc:1.0: dubbo://a:20880"
        ],
    );
    server.create(&provider("b"), "");
    assert_eq!(followed.line().await, "org.x.Svc:1.0: dubbo://a:20880 dubbo://b:20880");
    server.delete(&provider("a"));
    assert_eq!(followed.line().await, "org.x.Svc:1.0: dubbo://b:20880");
    server.delete(&provider("b"));
    assert_eq!(
        followed.line().await,
        "org.x.Svc:1.0:",
        "nobody, but its folder is there"
    );
    server.create(&provider("c"), "");
    assert_eq!(followed.line().await, "org.x.Svc:1.0: dubbo://c:20880");
    server.create("/dubbo/org.x.New/providers/tri%3A%2F%2Fn%3A50051%2Forg.x.New", "");
    assert_eq!(
        followed.line().await,
        "org.x.New: tri://n:50051",
        "an interface that nobody had heard of"
    );
    server.create("/dubbo/org.x.Dead/providers/rest%3A%2F%2Fd%3A80%2Forg.x.Dead", "");
    assert_eq!(
        followed.line().await,
        "org.x.Dead: rest://d:80",
        "one that only had consumers"
    );
    server.create("/dubbo/org.x.Svc/providers/garbage", "");
    assert_eq!(followed.line().await, "1 unreadable");
    server.delete("/dubbo/org.x.Svc");
    let mut lines = followed.until("0 unreadable").await;
    lines.retain(|line| line != "org.x.Svc:1.0:");
    assert_eq!(lines, ["org.x.Svc:1.0 gone"]);
    // The document of a new revision stands before the instance names it.
    server.create("/dubbo/metadata/demo/r2", &document("org.x.App2"));
    server.create("/services/demo/10.0.0.5:20880", &application("r2"));
    assert_eq!(
        followed.until("org.x.App2: dubbo://10.0.0.5:20880").await,
        ["demo: 10.0.0.5:20880", "org.x.App:"]
    );
    // … and when it does not, it is read when it appears.
    server.create("/services/demo/10.0.0.5:20880", &application("r3"));
    assert_eq!(followed.line().await, "demo: 10.0.0.5:20880 !metadata/demo/r3");
    server.create("/dubbo/metadata/demo/r3", &document("org.x.App3"));
    let lines = followed.until("org.x.App3: dubbo://10.0.0.5:20880").await;
    assert_eq!(lines, ["demo: 10.0.0.5:20880", "org.x.App2:"]);
    server.create("/dubbo/mapping/org.x.App3", "demo, other");
    server.create("/services/demo/10.0.0.5:20880", "garbage");
    assert_eq!(
        followed.line().await,
        "demo: !10.0.0.5:20880",
        "quarantined, and its services stay as they were"
    );
    server.delete("/services/demo");
    let mut lines = followed.until("org.x.App3 gone").await;
    lines.retain(|line| !line.ends_with(':'));
    assert_eq!(lines, ["demo gone", "org.x.App gone", "org.x.App2 gone"]);
    server.delete("/dubbo");
    let mut lines = followed.until("org.x.New gone").await;
    lines.retain(|line| !line.ends_with(':'));
    assert_eq!(lines, ["org.x.Dead gone"]);
    server.create(&provider("z"), "");
    assert_eq!(followed.line().await, "org.x.Svc:1.0: dubbo://z:20880");
}

#[tokio::test]
async fn every_change_is_followed_by_one_recursive_watch() {
    a_day_in_the_life(false).await;
}

#[tokio::test]
async fn every_change_is_followed_by_one_shot_watches_on_a_server_before_3_6() {
    a_day_in_the_life(true).await;
}

#[tokio::test]
async fn an_empty_zookeeper_is_caught_up_with_and_watched() {
    let (server, address) = Server::start().await;
    let mut followed = Followed::start(&address, json!({}));
    assert_eq!(followed.line().await, "caught up");
    server.create(&provider("a"), "");
    assert_eq!(followed.line().await, "org.x.Svc:1.0: dubbo://a:20880");
}

#[tokio::test]
async fn what_changed_while_the_connection_was_down_is_found_by_listing_again() {
    let (server, address) = Server::start().await;
    server.create(&provider("a"), "");
    server.create("/dubbo/org.x.Gone/providers/tri%3A%2F%2Fn%3A1%2Forg.x.Gone", "");
    let mut followed = Followed::start(&address, json!({}));
    followed.until("caught up").await;
    server.state().down = true;
    server.cut();
    server.create(&provider("b"), "");
    server.delete("/dubbo/org.x.Gone");
    server.state().down = false;
    let lines = followed.until("caught up").await;
    assert_eq!(
        lines,
        ["org.x.Gone gone", "org.x.Svc:1.0: dubbo://a:20880 dubbo://b:20880"]
    );
    server.delete(&provider("a"));
    assert_eq!(
        followed.line().await,
        "org.x.Svc:1.0: dubbo://b:20880",
        "and the watch is in place again"
    );
}

#[tokio::test]
async fn an_expired_session_is_over() {
    let (server, address) = Server::start().await;
    let mut followed = Followed::start(&address, json!({}));
    followed.until("caught up").await;
    server.expire();
    server.cut();
    let error = followed.ended().await;
    assert!(
        matches!(&error, RegistryError::SessionOver { what, .. } if what.contains("expired")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_come_back_is_unreachable_before_the_session_ends() {
    let (server, address) = Server::start().await;
    let mut followed = Followed::start(&address, json!({"sessionTimeout": "30s"}));
    followed.until("caught up").await;
    server.state().down = true;
    server.cut();
    let error = followed.ended().await;
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    let nobody = Followed::start("127.0.0.1:1", json!({})).ended().await;
    assert!(matches!(nobody, RegistryError::Unreachable { .. }), "{nobody:?}");
}

#[tokio::test]
async fn the_session_is_closed_when_the_follower_is_dropped() {
    let (server, address) = Server::start().await;
    let mut followed = Followed::start(&address, json!({}));
    followed.until("caught up").await;
    assert_eq!(server.connections(), 1);
    followed.session.abort();
    timeout(DEADLINE, async {
        while server.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_folder_we_may_not_read_is_named() {
    let (server, address) = Server::start().await;
    server.create(&provider("a"), "");
    server
        .state()
        .faults
        .insert("/dubbo/org.x.Svc/providers".to_owned(), NO_AUTH);
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "hunter2\n").unwrap();
    let credentials = json!({"username": "dubbo", "password": format!("file:{}", password.path().display())});
    let error = Followed::start(&address, credentials).ended().await;
    assert!(
        matches!(&error, RegistryError::Denied { what, .. } if what.contains("/dubbo/org.x.Svc/providers")),
        "{error:?}"
    );
    assert_eq!(server.state().credentials, ["dubbo:hunter2"]);
}

#[tokio::test]
async fn a_root_behind_the_hosts_is_the_root_and_must_exist() {
    let (server, address) = Server::start().await;
    let error = Followed::start(&format!("{address}/a/b"), json!({})).ended().await;
    assert!(
        matches!(&error, RegistryError::NotReady { what, .. } if what.contains("/a/b")),
        "{error:?}"
    );
    server.create(&format!("/a/b{}", provider("x")), "");
    let mut followed = Followed::start(&format!("{address}/a/b"), json!({}));
    assert_eq!(followed.until("caught up").await, ["org.x.Svc:1.0: dubbo://x:20880"]);
    server.create(&format!("/a/b{}", provider("y")), "");
    assert_eq!(followed.line().await, "org.x.Svc:1.0: dubbo://x:20880 dubbo://y:20880");
}

#[tokio::test]
async fn a_folder_larger_than_java_clients_read_is_read() {
    let (server, address) = Server::start().await;
    let methods = "method,".repeat(500);
    for number in 0..400 {
        let url = format!("dubbo://10.0.0.1:{}/org.x.Big?methods={methods}", 20_000 + number);
        server.create(&format!("/dubbo/org.x.Big/providers/{}", encode(&url)), "");
    }
    let mut followed = Followed::start(&address, json!({}));
    let lines = followed.until("caught up").await;
    assert_eq!((lines.len(), lines[0].matches("dubbo://").count()), (1, 400));
}

#[tokio::test]
async fn a_burst_of_changes_is_read_together() {
    let (server, address) = Server::start().await;
    server.create(&provider("a"), "");
    let mut followed = Followed::start(&address, json!({}));
    followed.until("caught up").await;
    let listed = |server: &Server| server.state().listed["/dubbo/org.x.Svc/providers"];
    let before = listed(&server);
    for number in 0..200 {
        server.create(&provider(&format!("h{number}")), "");
    }
    loop {
        if followed.line().await.matches("dubbo://").count() == 201 {
            break;
        }
    }
    assert!(
        listed(&server) - before < 20,
        "listed {} times",
        listed(&server) - before
    );
}

#[test]
fn what_cannot_be_used_is_refused_with_its_field() {
    for (spec, field) in [
        (json!({"address": "zookeeper://h:2181"}), "zookeeper.address"),
        (json!({"address": "h:2181", "root": ""}), "zookeeper.root"),
        (json!({"address": "h:2181", "username": "u"}), "zookeeper.password"),
        (json!({"address": "h:2181", "password": "env:P"}), "zookeeper.username"),
    ] {
        let error = ZooKeeper::new(&serde_json::from_value(spec).unwrap()).unwrap_err();
        assert!(
            matches!(&error, ConnectError::BadUrl { field: named, .. } if named == field),
            "{error}"
        );
    }
    let spec = json!({"address": "h:2181", "username": "u", "password": "env:LANDFALL_NO_SUCH"});
    assert!(matches!(
        ZooKeeper::new(&serde_json::from_value(spec).unwrap()),
        Err(ConnectError::Secret(_))
    ));
}
