//! What an embedded registry keeps over a restart, on disk.
//!
//! ```text
//! <data directory>/embedded/
//!     own.json        {"version":1,"registry":"own","savedAt":…,"eureka":{…},"consul":{…},"nacos":{…}}
//!     own.json.bad    what could not be used, moved aside
//! ```
//!
//! Written when anything has happened, renewals included: at most once a second, and with a large registry less
//! often, so that writing takes a twentieth of the time at most. The file is replaced as a whole. So a crash
//! loses the last second of a small registry, and no lease: after a start each stands for at least one
//! duration of its own.
//!
//! Files are for their owner alone (mode 0600).

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use landfall_model::RegistryName;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::warn;

use super::twin::Books;
use crate::{
    eureka::book as eureka,
    facade::{consul::book as consul, nacos::book as nacos, shared::wall_clock},
    store,
};

const VERSION: u32 = 1;
/// Larger files are not read.
const LARGEST: u64 = 1 << 30;
/// Least time between two writes.
const PAUSE: Duration = Duration::from_secs(1);
/// Writing takes at most one part in so many of the time.
const SHARE: u32 = 20;

/// The books on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Saved {
    version: u32,
    registry: RegistryName,
    /// Ms since 1970.
    saved_at: i64,
    /// The registry that was taken over, so that it is not taken over again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) taken_over: Option<String>,
    pub(super) eureka: eureka::Saved,
    pub(super) consul: consul::Saved,
    /// Missing in files of versions that knew nothing of it.
    #[serde(default)]
    pub(super) nacos: nacos::Saved,
}

impl Saved {
    /// All books as they stand.
    pub(super) fn of(registry: &RegistryName, books: &Books, taken_over: Option<String>) -> Self {
        Self {
            version: VERSION,
            registry: registry.clone(),
            saved_at: wall_clock(),
            taken_over,
            eureka: books.eureka.read(|book| book.saved(books.eureka.now())),
            consul: books.consul.read(consul::Book::saved),
            nacos: books.nacos.read(nacos::Book::saved),
        }
    }

    /// Whether nobody was registered.
    pub(super) fn is_empty(&self) -> bool {
        self.eureka.is_empty() && self.consul.is_empty() && self.nacos.is_empty()
    }

    /// How long ago it was written, ms; nothing if the clock says that it has not been written yet.
    pub(super) fn age(&self) -> u64 {
        u64::try_from(wall_clock().saturating_sub(self.saved_at)).unwrap_or(0)
    }
}

/// The file of one embedded registry, and what it is written from.
#[derive(Debug)]
pub(super) struct StateFile {
    registry: RegistryName,
    path: PathBuf,
}

impl StateFile {
    /// In `<data_dir>/embedded`, made when first written to.
    pub(super) fn new(data_dir: &Path, registry: &RegistryName) -> Self {
        Self {
            path: data_dir.join("embedded").join(format!("{registry}.json")),
            registry: registry.clone(),
        }
    }

    /// What was saved, if there is something that can be used. What cannot is moved aside with a warning.
    pub(super) fn load(&self) -> Option<Saved> {
        let why = match store::read_bounded(&self.path, LARGEST) {
            Ok(None) => return None,
            Ok(Some(bytes)) => match serde_json::from_slice::<Saved>(&bytes) {
                Ok(saved) if saved.version != VERSION => {
                    format!(
                        "it has format {} and this version reads format {VERSION}",
                        saved.version
                    )
                }
                Ok(saved) if saved.registry != self.registry => format!("it is of the registry `{}`", saved.registry),
                Ok(saved) => return Some(saved),
                Err(error) => error.to_string(),
            },
            Err(why) => why,
        };
        let aside = self.path.with_extension("json.bad");
        let moved = match fs::rename(&self.path, &aside) {
            Ok(()) => format!("moved to {}", aside.display()),
            Err(error) => format!("could not be moved aside: {error}"),
        };
        warn!(
            registry = %self.registry, file = %self.path.display(), why, moved,
            "the state of the embedded registry cannot be used; it starts empty, and clients register again"
        );
        None
    }

    /// Replaces the file.
    pub(super) fn write(&self, saved: &Saved) -> std::io::Result<()> {
        store::replace(&self.path, |out| serde_json::to_writer(out, saved).map_err(Into::into))
    }
}

/// Writes the books when they have changed.
#[derive(Debug)]
pub(super) struct Saver {
    file: StateFile,
    books: Books,
    taken_over: Option<String>,
    /// What the books were like when they were last written; held while they are.
    written: Mutex<Written>,
}

type Mark = [(u64, u64); 3];

#[derive(Debug)]
struct Written {
    mark: Mark,
    failed: bool,
}

fn mark(books: &Books) -> Mark {
    [books.eureka.mark(), books.consul.mark(), books.nacos.mark()]
}

impl Saver {
    pub(super) fn new(file: StateFile, books: Books, taken_over: Option<String>) -> Arc<Self> {
        let mark = mark(&books);
        Arc::new(Self {
            file,
            books,
            taken_over,
            written: Mutex::new(Written { mark, failed: false }),
        })
    }

    /// Writes if anything has happened since the last time.
    pub(super) fn save(&self) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = mark(&self.books);
        if written.mark == mark && !written.failed {
            return;
        }
        let saved = Saved::of(&self.file.registry, &self.books, self.taken_over.clone());
        match self.file.write(&saved) {
            Ok(()) => {
                if written.failed {
                    warn!(registry = %self.file.registry, "the state of the embedded registry can be written again");
                }
                *written = Written { mark, failed: false };
            }
            Err(error) => {
                if !written.failed {
                    warn!(registry = %self.file.registry, file = %self.file.path.display(), %error,
                        "the state of the embedded registry cannot be written; a restart would lose what is new");
                }
                written.failed = true;
            }
        }
    }

    /// Writes now and then until the sender of `stopped` is dropped; the last time is the caller's.
    pub(super) async fn run(self: Arc<Self>, mut stopped: watch::Receiver<()>) {
        let mut pause = PAUSE;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = stopped.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
            let saver = self.clone();
            let began = Instant::now();
            let _ = tokio::task::spawn_blocking(move || saver.save()).await;
            pause = PAUSE.max(began.elapsed() * SHARE);
        }
    }
}
