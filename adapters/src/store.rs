//! The last good view of each registry on disk, so that a start with every registry down still serves.
//!
//! ```text
//! <data directory>/last-good/
//!     eureka.json        {"version":1,"registry":"eureka","kind":"eureka","address":…,"savedAt":…,"services":[…]}
//!     eureka.json.tmp    while it is written; then renamed over the former
//!     eureka.json.bad    what could not be used, moved aside
//! ```
//!
//! A view belongs to a name and a kind. Another address of the same kind is the same registry reached in
//! another way, and its view is used; another kind under the same name is another registry, and it is not.
//!
//! Files are for their owner alone (mode 0600): metadata of instances may be confidential.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use landfall_model::{RegistryName, Service};
use serde::{Deserialize, Serialize};
use tracing::warn;

const VERSION: u32 = 1;

/// Larger files are not read: 256 MiB, which is some 500,000 instances.
const LARGEST: u64 = 256 << 20;

/// The last good view of one registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastGood {
    version: u32,
    /// Its name.
    pub registry: RegistryName,
    /// What it is.
    pub kind: String,
    /// Where it was reached, without credentials.
    pub address: String,
    /// When what follows was last known to be true: milliseconds since 1970.
    #[serde(rename = "savedAt", with = "unix_milliseconds")]
    pub saved_at: SystemTime,
    /// Its services.
    pub services: Vec<Arc<Service>>,
}

impl LastGood {
    /// A view to save.
    pub fn new(
        registry: RegistryName,
        kind: &str,
        address: String,
        saved_at: SystemTime,
        services: Vec<Arc<Service>>,
    ) -> Self {
        Self {
            version: VERSION,
            registry,
            kind: kind.to_owned(),
            address,
            saved_at,
            services,
        }
    }
}

/// Why a view could not be saved or found.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct StoreError {
    /// Which file.
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl StoreError {
    /// The thread that wrote did not come to an end.
    pub(crate) fn interrupted(why: tokio::task::JoinError) -> Self {
        Self {
            path: PathBuf::from("last-good"),
            source: std::io::Error::other(why),
        }
    }
}

/// The directory of last good views.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
    largest: u64,
}

impl Store {
    /// In `<data_dir>/last-good`, made when first written to.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            directory: data_dir.join("last-good"),
            largest: LARGEST,
        }
    }

    /// The last good view of a registry, if there is one that can be used. What cannot is moved
    /// aside with a warning, so that it neither stops a start nor is overwritten.
    pub fn load(&self, registry: &RegistryName, kind: &str) -> Option<LastGood> {
        let path = self.path(registry);
        let why = match self.read(&path) {
            Ok(None) => return None,
            Ok(Some(found)) if found.version != VERSION => {
                format!(
                    "it has format {} and this version reads format {VERSION}",
                    found.version
                )
            }
            Ok(Some(found)) if found.registry != *registry => format!("it is of the registry `{}`", found.registry),
            Ok(Some(found)) if found.kind != kind => {
                format!(
                    "it is of a registry of kind {}, and `{registry}` is of kind {kind} now",
                    found.kind
                )
            }
            Ok(Some(found)) => match flaw(&found) {
                None => return Some(found),
                Some(flaw) => flaw,
            },
            Err(why) => why,
        };
        let aside = path.with_extension("json.bad");
        let moved = match fs::rename(&path, &aside) {
            Ok(()) => format!("moved to {}", aside.display()),
            Err(error) => format!("could not be moved aside: {error}"),
        };
        warn!(%registry, file = %path.display(), why, moved, "the last good view cannot be used; this registry starts without one");
        None
    }

    /// The last good view under that name, of whatever kind the registry was.
    pub(crate) fn any(&self, registry: &str) -> Result<LastGood, String> {
        let found = self.read(&self.directory.join(format!("{registry}.json")))?;
        let found = found.ok_or_else(|| format!("there is no last good view of a registry `{registry}`"))?;
        match flaw(&found) {
            _ if found.version != VERSION => Err(format!("its last good view has format {}", found.version)),
            _ if !matches!(&*found.kind, "eureka" | "consul") => Err(format!(
                "`{registry}` is of kind {}, neither Eureka nor Consul",
                found.kind
            )),
            Some(flaw) => Err(format!("its last good view cannot be used: {flaw}")),
            None => Ok(found),
        }
    }

    /// Moves the last good view of a registry aside, under another ending.
    pub(crate) fn set_aside(&self, registry: &str, ending: &str) {
        let path = self.directory.join(format!("{registry}.json"));
        if let Err(error) = fs::rename(&path, path.with_extension(format!("json.{ending}"))) {
            warn!(registry, file = %path.display(), %error, "the last good view cannot be moved aside");
        }
    }

    /// Replaces the last good view of a registry. A crash at any moment leaves the old or the new one.
    pub fn save(&self, view: &LastGood) -> Result<(), StoreError> {
        let path = self.path(&view.registry);
        replace(&path, |out| serde_json::to_writer(out, view).map_err(Into::into))
            .map_err(|source| StoreError { path, source })
    }

    fn path(&self, registry: &RegistryName) -> PathBuf {
        self.directory.join(format!("{registry}.json"))
    }

    fn read(&self, path: &Path) -> Result<Option<LastGood>, String> {
        let Some(bytes) = read_bounded(path, self.largest)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| error.to_string())
    }
}

/// What is wrong with a view that reads well: it may have been edited.
fn flaw(view: &LastGood) -> Option<String> {
    let mut names = std::collections::BTreeSet::new();
    for service in &view.services {
        let name = &service.id.name;
        if service.id.registry != view.registry {
            return Some(format!(
                "its service `{name}` is of the registry `{}`",
                service.id.registry
            ));
        }
        if !names.insert(name) {
            return Some(format!("it has the service `{name}` twice"));
        }
        if service.instances.windows(2).any(|pair| pair[0].id >= pair[1].id) {
            return Some(format!("the instances of its service `{name}` are not sorted by id"));
        }
    }
    None
}

/// Replaces a file, for its owner alone, in a directory that is made if it is missing. A crash at any moment leaves
/// the old or the new one.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let written = path.with_extension("json.tmp");
    make_directory(directory)?;
    let mut file = create_private(&written)?;
    let mut buffered = std::io::BufWriter::with_capacity(1 << 16, &mut file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    file.sync_all()?;
    fs::rename(&written, path)?;
    File::open(directory)?.sync_all()
}

/// The content of a file; `None` if there is none, the reason if it cannot be read or is larger than that.
pub(crate) fn read_bounded(path: &Path, largest: u64) -> Result<Option<Vec<u8>>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut bytes = Vec::new();
    let read = file.take(largest + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > largest {
        return Err(format!("it is larger than {largest} bytes"));
    }
    Ok(Some(bytes))
}

pub(crate) fn make_directory(directory: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

pub(crate) fn create_private(path: &Path) -> std::io::Result<File> {
    // A file left by a crash may have another mode, which opening would keep.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

mod unix_milliseconds {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis())
            .unwrap_or(u64::MAX)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let since = Duration::from_millis(u64::deserialize(deserializer)?);
        let at = UNIX_EPOCH.checked_add(since);
        at.ok_or_else(|| serde::de::Error::custom("savedAt is no time"))
    }
}

#[cfg(test)]
mod tests;
