//! Answers that disagree with themselves, with what was answered before, or with each other.

use std::sync::Arc;

use serde_json::json;

use super::{
    super::ZooKeeper,
    follow::{Followed, provider},
    server::{Lie, Numbers, Server},
};
use crate::registry::RegistryError;

const FOLDER: &str = "/dubbo/org.x.Svc/providers";
const NO_NODE: i32 = -101;

fn follower(address: &str) -> Arc<ZooKeeper> {
    let spec = json!({"address": address, "sessionTimeout": "4s"});
    Arc::new(ZooKeeper::new(&serde_json::from_value(spec).unwrap()).unwrap())
}

/// Two providers, followed and caught up with.
async fn two_providers() -> (Server, Arc<ZooKeeper>, Followed) {
    let (server, address) = Server::start().await;
    server.create(&provider("a"), "");
    server.create(&provider("b"), "");
    let zookeeper = follower(&address);
    let mut followed = Followed::session(&zookeeper);
    assert_eq!(followed.until("caught up").await.len(), 1);
    (server, zookeeper, followed)
}

/// The end of a session that says nothing more: what, and where.
async fn malformed(mut followed: Followed) -> String {
    assert_eq!(followed.said().await, Vec::<String>::new(), "nothing was reported");
    match followed.ended().await {
        RegistryError::Malformed { what, .. } => what,
        other => panic!("{other:?}"),
    }
}

fn lie(lie: impl FnMut(&mut Vec<String>, &mut Numbers) + Send + 'static) -> Lie {
    Box::new(lie)
}

#[tokio::test]
async fn a_list_shorter_than_its_count_is_no_knowledge() {
    let (server, zookeeper, followed) = two_providers().await;
    server
        .state()
        .lies
        .insert(FOLDER.into(), lie(|names, _| names.truncate(1)));
    server.create(&provider("c"), "");
    let what = malformed(followed).await;
    assert!(
        what.starts_with(FOLDER) && what.contains("names 1 children") && what.contains("has 3"),
        "{what}"
    );
    let what = malformed(Followed::session(&zookeeper)).await;
    assert!(
        what.contains("names 1 children"),
        "a new session does not believe it either: {what}"
    );
    server.state().lies.clear();
    let lines = Followed::session(&zookeeper).until("caught up").await;
    assert_eq!(lines[0].matches("dubbo://").count(), 3);
}

#[tokio::test]
async fn a_child_named_twice_is_no_knowledge() {
    let (server, _, followed) = two_providers().await;
    let twice = lie(|names, _| names[1] = names[0].clone());
    server.state().lies.insert(FOLDER.into(), twice);
    server.create(&provider("c"), "");
    assert!(malformed(followed).await.contains("names 2 children"));
}

#[tokio::test]
async fn a_list_that_hides_a_child_with_its_count_is_found_out_by_a_second_look() {
    let (server, zookeeper, followed) = two_providers().await;
    let hide = || {
        lie(|names, stat| {
            names.retain(|name| !name.contains("%2Fb"));
            stat.children = i32::try_from(names.len()).unwrap();
        })
    };
    server.state().lies.insert(FOLDER.into(), hide());
    server.create(&provider("c"), "");
    let what = malformed(followed).await;
    assert!(
        what.contains("providers/dubbo%3A%2F%2Fb%3A20880") && what.contains("2 children"),
        "{what}"
    );
    let what = malformed(Followed::session(&zookeeper)).await;
    assert!(
        what.contains("dubbo%3A%2F%2Fb"),
        "the next session looks there too: {what}"
    );
    server.delete(&provider("b"));
    let lines = Followed::session(&zookeeper).until("caught up").await;
    assert_eq!(
        lines,
        ["org.x.Svc:1.0: dubbo://a:20880 dubbo://c:20880"],
        "now it is true"
    );
}

#[tokio::test]
async fn another_list_at_the_same_version_is_no_knowledge() {
    let (server, _, followed) = two_providers().await;
    let mut honest: Option<Numbers> = None;
    let swap = lie(move |names, stat| {
        // The version of the first list, for a later list.
        let first = *honest.get_or_insert(*stat);
        stat.pzxid = first.pzxid;
        stat.cversion = first.cversion;
        stat.children = i32::try_from(names.len()).unwrap();
    });
    server.state().lies.insert(FOLDER.into(), swap);
    let mut followed = followed;
    server.create(&provider("c"), "");
    assert_eq!(followed.line().await.matches("dubbo://").count(), 3);
    server.create(&provider("d"), "");
    let what = malformed(followed).await;
    assert!(what.contains("4 children where it named 3"), "{what}");
}

#[tokio::test]
async fn a_list_older_than_the_last_is_no_knowledge() {
    let (server, _, followed) = two_providers().await;
    let old = lie(|names, stat| {
        names.truncate(1);
        stat.children = 1;
        stat.pzxid -= 2;
    });
    server.state().lies.insert(FOLDER.into(), old);
    server.create(&provider("c"), "");
    assert!(malformed(followed).await.contains("is older"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_and_exists_is_no_knowledge() {
    let (server, _, followed) = two_providers().await;
    server.state().unlisted = Some(FOLDER.into());
    server.create(&provider("c"), "");
    assert!(malformed(followed).await.contains("and yet it does"));
}

#[tokio::test]
async fn a_server_that_has_lost_everything_and_its_root_is_not_believed() {
    let (server, _, followed) = two_providers().await;
    server.state().everything_is = Some(NO_NODE);
    server.create(&provider("c"), "");
    assert!(malformed(followed).await.contains("the root, which always exists"));
}

#[tokio::test]
async fn a_child_that_every_list_names_and_no_read_finds_is_no_knowledge() {
    let (server, _, followed) = two_providers().await;
    server.state().faults.insert(provider("c"), NO_NODE);
    server.create(&provider("c"), "");
    let what = malformed(followed).await;
    assert!(
        what.contains("dubbo%3A%2F%2Fc") && what.contains("said not to exist"),
        "{what}"
    );
}

#[tokio::test]
async fn a_child_that_was_created_again_since_the_list_was_made_is_there() {
    let (server, _, mut followed) = two_providers().await;
    let again = server.clone();
    let mut once = true;
    // Between the list and the second look the provider comes back, as one that restarts does.
    let race = lie(move |_, _| {
        if std::mem::take(&mut once) {
            again.create_later(provider("b"));
        }
    });
    server.state().lies.insert(FOLDER.into(), race);
    server.delete(&provider("b"));
    let mut line = followed.line().await;
    if line == "org.x.Svc:1.0: dubbo://a:20880" {
        line = followed.line().await;
    }
    assert_eq!(line, "org.x.Svc:1.0: dubbo://a:20880 dubbo://b:20880");
}

#[tokio::test]
async fn the_servers_own_trouble_is_not_ready_and_named() {
    for (code, name) in [
        (-1, "SystemError"),
        (-2, "RuntimeInconsistency"),
        (-4, "ConnectionLoss"),
        (-5, "MarshallingError"),
    ] {
        let (server, _, mut followed) = two_providers().await;
        server.state().everything_is = Some(code);
        server.create(&provider("c"), "");
        assert_eq!(followed.said().await, Vec::<String>::new());
        match followed.ended().await {
            RegistryError::NotReady { what, .. } => assert!(what.contains(name), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_count_of_noise_is_an_answer_we_do_not_understand_and_no_end_of_the_process() {
    for count in [i32::MAX, 0x4754_5450, 7, -1] {
        let (server, _, followed) = two_providers().await;
        server.state().counts = Some(count);
        server.create(&provider("c"), "");
        malformed(followed).await;
    }
}
