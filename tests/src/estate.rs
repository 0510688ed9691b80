//! The real registries and applications of `tests/estate`, one estate a test, ended with the test.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use serde_json::Value;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running estate of this test's own.
pub struct Estate {
    instance: String,
}

impl Estate {
    fn new() -> Self {
        crate::landfall::install_crypto();
        Self {
            instance: format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)),
        }
    }

    /// Starts these parts with what they need, and waits until each is really ready.
    pub async fn up(parts: &[&str]) -> Self {
        Self::up_set(parts, &[]).await
    }

    /// Starts these parts without what they need, with settings of the form `part:KEY=VALUE`.
    pub async fn up_alone(parts: &[&str], settings: &[String]) -> Self {
        let estate = Self::new();
        let mut words = [&["up", "--alone"], parts].concat();
        settings.iter().for_each(|setting| words.extend(["--set", setting]));
        estate.tell(&words).await;
        estate
    }

    /// As [`Self::up`], with settings of the form `part:KEY=VALUE`.
    pub async fn up_set(parts: &[&str], settings: &[String]) -> Self {
        let estate = Self::new();
        estate.add_set(parts, settings).await;
        estate
    }

    /// Starts further parts, with settings of the form `part:KEY=VALUE`.
    pub async fn add_set(&self, parts: &[&str], settings: &[String]) {
        let mut words = [&["up"], parts].concat();
        settings.iter().for_each(|setting| words.extend(["--set", setting]));
        self.tell(&words).await;
    }

    /// Starts further parts.
    pub async fn add(&self, parts: &[&str]) {
        self.tell(&[&["up"], parts].concat()).await;
    }

    /// Starts further parts without what they need, with settings as in [`Estate::up_alone`].
    pub async fn add_alone(&self, parts: &[&str], settings: &[String]) {
        let mut words = [&["up", "--alone"], parts].concat();
        settings.iter().for_each(|setting| words.extend(["--set", setting]));
        self.tell(&words).await;
    }

    /// SIGTERM; the part says good-bye to its registry. Its ports are kept for the next start.
    pub async fn stop(&self, part: &str) {
        self.tell(&["stop", part]).await;
    }

    /// SIGKILL: no good-bye.
    pub async fn kill(&self, part: &str) {
        self.tell(&["kill", part]).await;
    }

    /// Starts a stopped part again, on the same ports, with its data.
    pub async fn start(&self, part: &str) {
        self.tell(&["start", part]).await;
    }

    /// Starts a stopped part again, on the same ports, without its data.
    pub async fn start_empty(&self, part: &str) {
        self.tell(&["start", part, "--empty"]).await;
    }

    /// Creates a node in ZooKeeper, with what is missing above it, or gives an existing one other data.
    pub async fn zk_create(&self, path: &str, data: &str) {
        self.tell(&["zk", "create", "--", path, data]).await;
    }

    /// Deletes a node in ZooKeeper.
    pub async fn zk_delete(&self, path: &str) {
        self.tell(&["zk", "delete", "--", path]).await;
    }

    /// Gives a node of one of several ZooKeepers this data, and creates what is missing above it.
    pub async fn zk_create_in(&self, part: &str, path: &str, data: &str) {
        self.tell(&["zk", "--part", part, "create", "--", path, data]).await;
    }

    /// A node's data in one of several ZooKeepers, or what was said instead.
    pub async fn zk_get(&self, part: &str, path: &str) -> Result<String, String> {
        self.ask(&["zk", "--part", part, "get", "--", path]).await
    }

    /// The names of a node's children, sorted, one a line; or what was said instead.
    pub async fn zk_list(&self, part: &str, path: &str) -> Result<String, String> {
        self.ask(&["zk", "--part", part, "ls", "--", path]).await
    }

    /// `127.0.0.1:port`, where the part is mainly reached.
    pub async fn address(&self, part: &str) -> String {
        let parts = self.parts().await;
        parts[part]["address"]
            .as_str()
            .unwrap_or_else(|| panic!("no {part} in {parts}"))
            .to_owned()
    }

    /// One of the part's ports by its name.
    pub async fn port(&self, part: &str, name: &str) -> u16 {
        let parts = self.parts().await;
        let port = parts[part]["ports"][name]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        port.unwrap_or_else(|| panic!("no port {name} of {part} in {parts}"))
    }

    async fn parts(&self) -> Value {
        let text = self.tell(&["ports", "--json"]).await;
        serde_json::from_str::<Value>(&text).expect("JSON from estate ports")["parts"].take()
    }

    async fn tell(&self, words: &[&str]) -> String {
        match self.ask(words).await {
            Ok(text) => text,
            Err(text) => panic!("estate {words:?}: {text}"),
        }
    }

    async fn ask(&self, words: &[&str]) -> Result<String, String> {
        let mut command = tokio::process::Command::from(self.command());
        let output = command.args(words).output().await.expect("tests/estate/estate runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("estate/estate"));
        // Whatever becomes of the test, the estate ends with it.
        let pid = std::process::id().to_string();
        command
            .args(["--instance", &self.instance, "--for-pid", &pid, "--lifetime", "3600"])
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        let _ = self
            .command()
            .arg("down")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
