use std::fs;

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;

const ORDERS: &str = "services:\n  - name: orders\n    instances: [\"127.0.0.1:8001\"]\n";
const STOCK: &str = "services:\n  - name: stock\n    instances: [\"127.0.0.1:8002\"]\n";

/// A session that runs, and what it says.
struct Session {
    reports: mpsc::Receiver<Knowledge>,
    end: tokio::task::JoinHandle<RegistryError>,
}

impl Session {
    fn open(path: PathBuf) -> Self {
        let (sender, reports) = Reports::channel(16);
        let registry = FileRegistry::new(path);
        let end = tokio::spawn(async move { registry.follow(&sender).await });
        Self { reports, end }
    }

    /// What it says next that is news; with a deadline.
    async fn news(&mut self) -> Option<Knowledge> {
        let news = async {
            loop {
                match self.reports.recv().await {
                    Some(Knowledge::Confirmed | Knowledge::Unreadable(_) | Knowledge::Governance(_)) => {}
                    other => return other,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), news)
            .await
            .expect("news in time")
    }

    /// The names of services said, and gone with a `-`, up to the next time it has caught up.
    async fn round(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            match self.news().await.expect("the session goes on") {
                Knowledge::Service { name, .. } => said.push(name.to_string()),
                Knowledge::Gone { name } => said.push(format!("-{name}")),
                Knowledge::CaughtUp => return said,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn ends(mut self) -> RegistryError {
        while self.news().await.is_some() {}
        self.end.await.expect("no panic")
    }
}

fn file(content: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yaml");
    fs::write(&path, content).unwrap();
    (directory, path)
}

#[tokio::test]
async fn a_changed_file_is_followed_and_only_differences_are_said() {
    let (_directory, path) = file(ORDERS);
    let mut session = Session::open(path.clone());
    assert_eq!(session.round().await, ["orders"]);
    fs::write(&path, format!("{ORDERS}  - name: users\n    instances: []\n")).unwrap();
    assert_eq!(session.round().await, ["users"]);
    let new = path.with_extension("new");
    fs::write(&new, STOCK).unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(session.round().await, ["-orders", "-users", "stock"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_swapped_symlink_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (version, content) in [("one", ORDERS), ("two", STOCK)] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("services.yaml"), content).unwrap();
    }
    // As Kubernetes mounts a ConfigMap: the file is a link through `..data`, which is replaced.
    std::os::unix::fs::symlink("one", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/services.yaml", at("services.yaml")).unwrap();
    let mut session = Session::open(at("services.yaml"));
    assert_eq!(session.round().await, ["orders"]);
    std::os::unix::fs::symlink("two", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(session.round().await, ["-orders", "stock"]);
}

#[tokio::test]
async fn a_truncated_file_ends_the_session_and_says_nothing() {
    for (truncated, told) in [
        ("", "empty"),
        ("services:\n  - name: ord", "services.yaml:"),
        ("services: [{", ""),
    ] {
        let (_directory, path) = file(ORDERS);
        let mut session = Session::open(path.clone());
        session.round().await;
        fs::write(&path, truncated).unwrap();
        assert_eq!(session.news().await, None, "{truncated:?}");
        let error = session.ends().await;
        assert!(
            matches!(&error, RegistryError::Malformed { what, .. } if what.contains(told)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_only_empty_for_a_moment_ends_nothing() {
    let (_directory, path) = file(ORDERS);
    let mut session = Session::open(path.clone());
    session.round().await;
    fs::write(&path, "").unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    fs::write(&path, STOCK).unwrap();
    assert_eq!(session.round().await, ["-orders", "stock"]);
}

#[tokio::test]
async fn what_is_no_list_of_services_is_malformed_with_the_place() {
    for (content, told) in [
        ("hello", ""),
        (
            "services:\n  - name: orders\n    instances: []\n    extra: 1\n",
            "extra",
        ),
        ("services: 7\n", "services.yaml:1:"),
        ("# nothing but a comment\n---\n", "empty"),
        ("\u{0}", ""),
        ("a: &a [*a]\n", ""),
    ] {
        let (_directory, path) = file(content);
        let error = Session::open(path).ends().await;
        assert!(
            matches!(&error, RegistryError::Malformed { what, .. } if what.contains(told)),
            "{content:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_missing_file_is_unreachable_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = Session::open(directory.path().join("none.yaml")).ends().await;
    assert!(matches!(error, RegistryError::Unreachable { .. }));
    assert!(error.to_string().contains("none.yaml"), "{error}");
}

#[tokio::test]
async fn a_file_that_grows_without_end_is_refused() {
    let (_directory, path) = file("");
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(LARGEST + 1)
        .unwrap();
    let error = Session::open(path).ends().await;
    assert!(error.to_string().contains("larger than"), "{error}");
}

#[tokio::test]
async fn one_bad_entry_is_quarantined_and_the_rest_of_the_file_is_used() {
    let (_directory, path) = file("services: [{ name: orders, instances: ['127.0.0.1', '127.0.0.1:8001'] }]");
    let mut session = Session::open(path);
    let Some(Knowledge::Service {
        instances, quarantined, ..
    }) = session.news().await
    else {
        panic!("a service is said first");
    };
    assert_eq!(&*instances[0].id, "127.0.0.1:8001");
    assert_eq!(&*quarantined[0].record, "127.0.0.1");
}
