//! A registry in a YAML file that is followed live: `services: [{ name, instances }]`, as in `static`.
//!
//! ```text
//! notify (the directory: files are replaced, symlinks swapped) ─┐
//! every second ─────────────────────────────────────────────────┴▶ read ─▶ same bytes? ─▶ Confirmed
//!                                                                          else ─▶ parse ─▶ Service…, CaughtUp
//! ```
//!
//! The bytes decide, not times or events: both lie on network file systems and mounted configuration.
//! A file that is not there, cut off or wrong ends the session; what it said last stays in use.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::Watcher as _;
use tokio::sync::Notify;
use tracing::debug;

use crate::{Knowledge, Registry, RegistryError, Reports, static_};

/// The file is read at least this often.
const POLL: Duration = Duration::from_secs(1);
/// Writers that do not rename are given this long to finish.
const SETTLE: Duration = Duration::from_millis(50);
/// Times a bad content is read again before it is believed to be bad.
const LOOKS: u32 = 4;
/// Problems of a file that are told.
const SHOWN: usize = 3;
/// Larger files are refused.
const LARGEST: u64 = 16 << 20;

/// A file of services.
#[derive(Debug)]
pub struct FileRegistry {
    path: PathBuf,
}

impl FileRegistry {
    /// At this path, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads until the content is good, or has been bad for a while.
    async fn look(&self) -> Result<(Vec<u8>, Vec<Knowledge>), RegistryError> {
        let mut look = 0;
        loop {
            let result = self.read().await.and_then(|bytes| {
                let knowledge = self.understand(&bytes)?;
                Ok((bytes, knowledge))
            });
            look += 1;
            if result.is_ok() || look == LOOKS {
                return result;
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    async fn read(&self) -> Result<Vec<u8>, RegistryError> {
        let path = self.path.clone();
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| RegistryError::Unreachable {
            address: self.address(),
            source,
        };
        let bytes = tokio::task::spawn_blocking(move || read_bounded(&path)).await;
        let bytes = bytes.map_err(|stopped| unreachable(stopped.into()))?;
        let bytes = bytes.map_err(|error| unreachable(error.into()))?;
        if bytes.len() as u64 > LARGEST {
            return Err(self.malformed(format!("it is larger than {LARGEST} bytes"), ""));
        }
        Ok(bytes)
    }

    fn understand(&self, bytes: &[u8]) -> Result<Vec<Knowledge>, RegistryError> {
        let text = String::from_utf8_lossy(bytes);
        if text
            .lines()
            .map(str::trim)
            .all(|line| matches!(line, "" | "---") || line.starts_with('#'))
        {
            // Nobody empties a file to say that all services are gone, but many writers truncate first.
            return Err(self.malformed("it is empty; for no services write `services: []`".to_owned(), ""));
        }
        let spec = landfall_config::read_services(bytes, &self.address()).map_err(|problems| {
            let first: Vec<String> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
            let more = match problems.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            self.malformed(format!("{}{more}", first.join(" | ")), &text)
        })?;
        Ok(static_::knowledge(&spec.services))
    }

    fn malformed(&self, what: String, text: &str) -> RegistryError {
        RegistryError::Malformed {
            address: self.address(),
            what,
            sample: text.chars().take(80).collect(),
        }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[async_trait::async_trait]
impl Registry for FileRegistry {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn address(&self) -> String {
        self.path.display().to_string()
    }

    fn patience(&self) -> Duration {
        POLL
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        let touched = Arc::new(Notify::new());
        let _watcher = watch(&self.path, touched.clone());
        let (mut bytes, mut known) = match self.look().await {
            Ok(found) => found,
            Err(error) => return error,
        };
        for knowledge in &known {
            reports.send(knowledge.clone()).await;
        }
        reports.send(Knowledge::CaughtUp).await;
        loop {
            let woken = tokio::time::timeout(POLL, touched.notified()).await.is_ok();
            if woken {
                // Several events belong to one replacement.
                tokio::time::sleep(SETTLE).await;
            }
            match self.read().await {
                Ok(same) if same == bytes => {
                    reports.send(Knowledge::Confirmed).await;
                    continue;
                }
                Ok(_) => {}
                Err(RegistryError::Malformed { .. } | RegistryError::Unreachable { .. }) => {}
                Err(error) => return error,
            }
            let before = std::mem::take(&mut known);
            (bytes, known) = match self.look().await {
                Ok(found) => found,
                Err(error) => return error,
            };
            for knowledge in differences(&before, &known) {
                reports.send(knowledge).await;
            }
            reports.send(Knowledge::CaughtUp).await;
        }
    }
}

/// What is new or reads differently, and which services are gone.
fn differences(before: &[Knowledge], after: &[Knowledge]) -> Vec<Knowledge> {
    let name_of = |knowledge: &Knowledge| match knowledge {
        Knowledge::Service { name, .. } => Some(name.clone()),
        _ => None,
    };
    let kept: std::collections::BTreeSet<_> = after.iter().filter_map(name_of).collect();
    let gone = before.iter().filter_map(name_of).filter(|name| !kept.contains(name));
    let known: std::collections::BTreeMap<_, _> = before.iter().map(|k| (name_of(k), k)).collect();
    let news = after.iter().filter(|k| known.get(&name_of(k)) != Some(k)).cloned();
    gone.map(|name| Knowledge::Gone { name }).chain(news).collect()
}

/// Tells when something happens in the file's directory. Without it (no more inotify watches) polling goes on.
fn watch(path: &Path, touched: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an event too.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            touched.notify_one();
        }
    });
    let started = watcher.and_then(|mut watcher| {
        watcher.watch(directory, notify::RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    started
        .inspect_err(|error| debug!(path = %path.display(), %error, "changes of the file are found by polling"))
        .ok()
}

#[cfg(test)]
mod tests;
