//! The configuration while it lives: a changed file takes effect, a bad change is refused whole.
//!
//! ```text
//! notify (a hint) ─┐
//! poll, 1 s ───────┼─▶ read ─▶ same bytes twice, 100 ms apart? ─▶ interpret ─┬▶ good: current, version + 1
//! reload_now ──────┘                                                         └▶ bad: refused, current stays
//! ```
//!
//! The poll compares contents, so a swapped symlink, an editor's rename and a file system without
//! notification are all the same. A refused configuration is tried again at every poll: the fault may lie
//! in what it refers to, such as a missing certificate.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use notify::{RecursiveMode, Watcher};
use serde::Serialize;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time,
};

mod unchanged;

use unchanged::keep_unchanged;

use crate::{
    load::{Config, interpret},
    problem::{LoadError, Problem},
    source::{self, Source},
};

/// How often contents are compared without a hint.
const POLL: Duration = Duration::from_secs(1);
/// How long contents must stay the same before they are believed.
const QUIET: Duration = Duration::from_millis(100);
/// Accepted versions that are kept.
const HISTORY: usize = 20;

/// The configuration in use, and what was refused after it.
#[derive(Clone, Debug)]
pub struct ConfigState {
    /// The last good one.
    pub current: Arc<Config>,
    /// `current.rules.version`: counts accepted configurations, the first is 1.
    pub version: u64,
    /// When `current` was accepted.
    pub accepted_at: SystemTime,
    /// What is in the files now, if that is bad.
    pub refused: Option<Refused>,
}

/// A change that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// When it was seen first.
    pub at: SystemTime,
    /// Everything that is wrong with it.
    pub problems: Vec<Problem>,
}

/// An accepted configuration of the past or present.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its `rules.version`.
    pub version: u64,
    /// When.
    pub at: SystemTime,
    /// Of its files.
    pub fingerprint: String,
    /// Its files, variables not filled in.
    pub sources: Arc<[Source]>,
}

/// Follows a configuration until it is dropped.
#[derive(Debug)]
pub struct ConfigFollower {
    state: watch::Receiver<ConfigState>,
    history: Arc<Mutex<VecDeque<Accepted>>>,
    reload: Arc<Notify>,
    task: JoinHandle<()>,
}

/// Follows `path`, whose content was `first`. Must be called inside a tokio runtime.
pub fn follow(path: impl Into<PathBuf>, first: Config) -> ConfigFollower {
    let now = SystemTime::now();
    let first_state = ConfigState {
        version: first.rules.version,
        current: Arc::new(first),
        accepted_at: now,
        refused: None,
    };
    let history = Arc::new(Mutex::new(VecDeque::from([accepted(&first_state)])));
    let (sender, state) = watch::channel(first_state);
    let reload = Arc::new(Notify::new());
    let follow = Follow {
        path: path.into(),
        sender,
        history: history.clone(),
        reload: reload.clone(),
    };
    let task = tokio::spawn(follow.run());
    ConfigFollower {
        state,
        history,
        reload,
        task,
    }
}

impl ConfigFollower {
    /// The state now and later.
    pub fn state(&self) -> watch::Receiver<ConfigState> {
        self.state.clone()
    }

    /// Looks at the files at once, as for SIGHUP. The outcome shows in the state.
    pub fn reload_now(&self) {
        self.reload.notify_one();
    }

    /// The last twenty accepted versions, the newest first.
    pub fn history(&self) -> Vec<Accepted> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.iter().cloned().collect()
    }
}

impl Drop for ConfigFollower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn accepted(state: &ConfigState) -> Accepted {
    Accepted {
        version: state.version,
        at: state.accepted_at,
        fingerprint: state.current.fingerprint.clone(),
        sources: state.current.sources.clone(),
    }
}

struct Follow {
    path: PathBuf,
    sender: watch::Sender<ConfigState>,
    history: Arc<Mutex<VecDeque<Accepted>>>,
    reload: Arc<Notify>,
}

/// What stood in the files at one moment; an error counts by its text.
type Seen = Result<Vec<Source>, String>;

impl Follow {
    async fn run(self) {
        let hint = Arc::new(Notify::new());
        // A missing watcher costs at most a second: the poll sees everything that it sees.
        let _watcher = watch_directories(&self.path, hint.clone());
        let mut judged: Seen = Ok(self.sender.borrow().current.sources.to_vec());
        let mut poll = time::interval(POLL);
        poll.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = hint.notified() => {}
                () = self.reload.notified() => {}
                _ = poll.tick() => {}
                () = self.sender.closed() => return,
            }
            let again = self.sender.borrow().refused.is_some();
            let Some(mut seen) = self.look().await else { return };
            if seen == judged && !again {
                continue;
            }
            // A file may be half written: believe it when it has stopped changing.
            if seen != judged {
                loop {
                    time::sleep(QUIET).await;
                    let Some(next) = self.look().await else { return };
                    let quiet = next == seen;
                    seen = next;
                    if quiet {
                        break;
                    }
                }
            }
            judged = seen;
            self.judge(judged.clone()).await;
        }
    }

    /// What stands in the files; `None` when the runtime ends.
    async fn look(&self) -> Option<Seen> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || source::read(&path).map_err(|error| error.to_string()));
        read.await.ok()
    }

    async fn judge(&self, seen: Seen) {
        let (path, same) = (self.path.clone(), self.sender.borrow().current.clone());
        let refused_before = self.sender.borrow().refused.is_some();
        let unchanged = seen.as_ref().is_ok_and(|sources| sources[..] == same.sources[..]);
        let interpreted = tokio::task::spawn_blocking(move || match seen {
            Ok(sources) => interpret(&path, sources, &|name| std::env::var(name).ok()),
            Err(what) => Err(LoadError::Unreadable {
                path,
                source: io::Error::other(what),
            }),
        });
        match interpreted.await {
            // Back to what is in use already: nothing to publish but that the refusal is over.
            Ok(Ok(_)) if unchanged => {
                if refused_before {
                    self.sender.send_modify(|state| state.refused = None);
                }
            }
            Ok(Ok(config)) => self.accept(config),
            Ok(Err(error)) => self.refuse(error.problems()),
            Err(error) => tracing::error!(%error, "reading the configuration ended early"),
        }
    }

    fn accept(&self, mut config: Config) {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        self.sender.send_modify(|state| {
            config.rules.version = state.version + 1;
            keep_unchanged(&state.current.rules, &mut config.rules);
            tracing::info!(version = config.rules.version, fingerprint = %config.fingerprint, "new configuration");
            *state = ConfigState {
                version: config.rules.version,
                current: Arc::new(config),
                accepted_at: SystemTime::now(),
                refused: None,
            };
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.push_front(accepted(state));
            history.truncate(HISTORY);
        });
    }

    fn refuse(&self, problems: Vec<Problem>) {
        self.sender.send_if_modified(|state| {
            if state
                .refused
                .as_ref()
                .is_some_and(|refused| refused.problems == problems)
            {
                return false;
            }
            tracing::error!(
                count = problems.len(),
                "the changed configuration is refused, the last good one stays"
            );
            for problem in &problems {
                tracing::error!("{problem}");
            }
            state.refused = Some(Refused {
                at: SystemTime::now(),
                problems,
            });
            true
        });
    }
}

/// Watches the directory that holds the path (a file is replaced there, a symlink swapped) and, for a
/// directory, itself.
fn watch_directories(path: &Path, hint: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let report = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            hint.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(report)
        .inspect_err(
            |error| tracing::warn!(%error, "no notification of changed files; they are looked at every second"),
        )
        .ok()?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let directories = [Some(parent), path.is_dir().then_some(path)];
    for directory in directories.into_iter().flatten() {
        if let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, directory = %directory.display(), "not watched; looked at every second");
        }
    }
    Some(watcher)
}

#[cfg(test)]
mod tests;
