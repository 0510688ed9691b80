//! A `landfall` process of a test's own: free ports, its own directory, ended with the test.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::wait::eventually;

/// The binary under test: `LANDFALL_BIN`, else the one beside this test's own.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("LANDFALL_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.parent().and_then(Path::parent).expect("target/debug/deps/test");
    let path = target.join("landfall");
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --package landfall` first",
        path.display()
    );
    path
}

/// A port nobody uses at this moment, and that is given to one test only. It is none of those that the system takes for
/// outgoing connections, which could have it before the test does.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..1_000 {
        let port = fastrand::u16(10_000..32_000);
        let mut given = GIVEN.lock().expect("no panic while held");
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port between 10000 and 32000");
}

/// A running `landfall up`.
pub struct Landfall {
    child: Child,
    /// Its directory: `config.yaml`, `data/`, `log`, `access.log`.
    pub dir: TempDir,
    /// The admin server's port.
    pub admin: u16,
    /// The port that stands in every configuration as `{port}`.
    pub port: u16,
    /// A client of its own.
    pub client: reqwest::Client,
}

impl Landfall {
    /// Starts with this configuration, in which `{port}` is the port to listen on, and waits until it is ready.
    pub async fn up(config: &str) -> Self {
        let landfall = Self::start(config).await;
        landfall.ready().await;
        landfall
    }

    /// Starts, and does not wait.
    pub async fn start(config: &str) -> Self {
        Self::start_in(TempDir::new().expect("a directory"), config).await
    }

    /// Starts in a directory that may hold the data of an earlier run.
    pub async fn start_in(dir: TempDir, config: &str) -> Self {
        Self::spawn_in(dir, config, &[])
    }

    /// As [`Self::up`], with variables of the environment such as `LANDFALL_ELECT_IN`.
    pub async fn up_with(config: &str, variables: &[(&str, String)]) -> Self {
        let landfall = Self::spawn_in(TempDir::new().expect("a directory"), config, variables);
        landfall.ready().await;
        landfall
    }

    fn spawn_in(dir: TempDir, config: &str, variables: &[(&str, String)]) -> Self {
        install_crypto();
        let (admin, port) = (free_port(), free_port());
        std::fs::write(
            dir.path().join("config.yaml"),
            config.replace("{port}", &port.to_string()),
        )
        .expect("config");
        let child = spawn(
            "up",
            &["--config".as_ref(), dir.path().join("config.yaml").as_os_str()],
            variables,
            dir.path(),
            admin,
        );
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("client");
        Self {
            child,
            dir,
            admin,
            port,
            client,
        }
    }

    /// Starts with a file as it stands: its port is mapped to `port`, its variables are set. Waits until ready.
    pub async fn up_example(file: &str, port: u16, instead_of: u16, variables: &[(&str, String)]) -> Self {
        install_crypto();
        let (dir, admin) = (TempDir::new().expect("a directory"), free_port());
        let map = format!("{instead_of}={port}");
        let words = [
            "--config".as_ref(),
            OsStr::new(file),
            "--map-port".as_ref(),
            OsStr::new(&map),
        ];
        let child = spawn("up", &words, variables, dir.path(), admin);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("client");
        let landfall = Self {
            child,
            dir,
            admin,
            port,
            client,
        };
        landfall.ready().await;
        landfall
    }

    /// Starts `landfall sidecar` with further words, its outbound side on [`Landfall::port`], and waits until it is ready.
    pub async fn sidecar(config: &str, words: &[&str]) -> Self {
        install_crypto();
        let (dir, admin, port) = (TempDir::new().expect("a directory"), free_port(), free_port());
        let (file, outbound) = (dir.path().join("config.yaml"), format!("127.0.0.1:{port}"));
        std::fs::write(&file, config).expect("config");
        let mut all = vec![
            "--config".as_ref(),
            file.as_os_str(),
            "--outbound".as_ref(),
            OsStr::new(&outbound),
        ];
        all.extend(words.iter().map(OsStr::new));
        let child = spawn("sidecar", &all, &[], dir.path(), admin);
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("client");
        let landfall = Self {
            child,
            dir,
            admin,
            port,
            client,
        };
        landfall.ready().await;
        landfall
    }

    /// Waits until `/readyz` says yes.
    pub async fn ready(&self) {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        eventually("landfall is ready", || async {
            let answer = self
                .client
                .get(&url)
                .send()
                .await
                .map_err(|error| format!("{error}; log:\n{}", self.log()))?;
            let ok = answer.status().is_success();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if ok { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The URL of a path at the gateway.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// GETs a path at the gateway: status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let answer = self
            .client
            .get(self.url(path))
            .send()
            .await
            .map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| format!("{error:?}"))?))
    }

    /// GETs JSON from the admin API.
    pub async fn admin(&self, path: &str) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        let answer = self
            .client
            .get(url)
            .send()
            .await
            .map_err(|error| format!("{error:?}"))?;
        answer.json().await.map_err(|error| format!("{error:?}"))
    }

    /// The metrics page.
    pub async fn metrics(&self) -> Result<String, String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        let answer = self
            .client
            .get(url)
            .send()
            .await
            .map_err(|error| format!("{error:?}"))?;
        answer.text().await.map_err(|error| format!("{error:?}"))
    }

    /// Replaces the configuration in one step, as an editor or a deployment does.
    pub fn reconfigure(&self, config: &str) {
        let (new, target) = (self.dir.path().join("config.new"), self.dir.path().join("config.yaml"));
        std::fs::write(&new, config.replace("{port}", &self.port.to_string())).expect("config");
        std::fs::rename(new, target).expect("config");
    }

    /// Kills it without a warning and starts it again in the same directory, on the same ports.
    pub async fn crash_and_restart(&mut self) {
        self.crash();
        self.restart();
    }

    /// Kills it without a warning.
    pub fn crash(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Waits for its end, and starts it again in the same directory, on the same ports.
    pub fn restart(&mut self) {
        self.child.wait().expect("wait");
        let config = self.dir.path().join("config.yaml");
        self.child = spawn(
            "up",
            &["--config".as_ref(), config.as_os_str()],
            &[],
            self.dir.path(),
            self.admin,
        );
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a running process");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB")
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn stop(mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        eventually("landfall ends after SIGTERM", || {
            let state = self.child.try_wait();
            async move {
                state
                    .map_err(|error| error.to_string())?
                    .ok_or_else(|| "it still runs".to_owned())
            }
        })
        .await
    }

    /// Stops the process where it is (SIGSTOP), until it is told to go on.
    pub fn freeze(&self) {
        signal(self.child.id(), "STOP");
    }

    /// Lets a frozen process go on.
    pub fn wake(&self) {
        signal(self.child.id(), "CONT");
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }
}

impl Drop for Landfall {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of landfall:\n{}", self.log());
        }
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let done = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

fn spawn(role: &str, config: &[&OsStr], variables: &[(&str, String)], dir: &Path, admin: u16) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("log");
    Command::new(binary())
        .args([
            role,
            "--admin",
            &format!("127.0.0.1:{admin}"),
            "--workers",
            "2",
            "--drain-seconds",
            "10",
        ])
        .args(config)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .arg("--data-dir")
        .arg(dir.join("data"))
        .arg("--access-log")
        .arg(dir.join("access.log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("landfall starts")
}

/// Runs the binary to its end: exit code, standard output, standard error.
pub fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("landfall starts");
    let (mut out, mut err) = (String::new(), String::new());
    let mut stderr = child.stderr.take().expect("piped");
    let reader = std::thread::spawn(move || stderr.read_to_string(&mut err).map(|_| err).unwrap_or_default());
    let _ = child.stdout.take().expect("piped").read_to_string(&mut out);
    let code = child.wait().expect("wait").code().unwrap_or(-1);
    (code, out, reader.join().unwrap_or_default())
}

/// reqwest and rustls take the process's crypto provider.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
