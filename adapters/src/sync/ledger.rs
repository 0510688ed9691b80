//! The ledger on disk: what we have written into each registry and not removed.
//!
//! ```text
//! <data directory>/sync/
//!     consul.json        {"version":1,"cluster":"c1","records":[[{"service","id"},{"digest","origin","path"}], …]}
//!     consul.json.tmp    while it is written; then renamed over the former
//! ```
//!
//! Records carry their marks, so that most of it could be read from the registries; the ledger is for those that
//! drop marks, and for records that a registry has lost while we were away. One that cannot be read is left out:
//! nothing is ever removed because a ledger lacks it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use landfall_model::RegistryName;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Written;
use crate::{publish::Key, store};

const VERSION: u32 = 1;

/// The directory of ledgers.
#[derive(Clone, Debug)]
pub(super) struct Ledgers {
    directory: PathBuf,
    cluster: Arc<str>,
}

#[derive(Serialize, Deserialize)]
struct Page {
    version: u32,
    cluster: Arc<str>,
    records: Vec<(Key, Written)>,
}

impl Ledgers {
    pub fn new(data_dir: &Path, cluster: Arc<str>) -> Self {
        Self {
            directory: data_dir.join("sync"),
            cluster,
        }
    }

    /// The ledger of a registry; empty if there is none that can be used.
    pub fn load(&self, registry: &RegistryName) -> BTreeMap<Key, Written> {
        let path = self.path(registry);
        let why = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return BTreeMap::new(),
            Err(error) => error.to_string(),
            Ok(bytes) => match serde_json::from_slice::<Page>(&bytes) {
                Err(error) => error.to_string(),
                Ok(page) if page.version != VERSION => format!("it has format {}", page.version),
                // Another cluster's records are not ours, whoever had this directory before.
                Ok(page) if page.cluster != self.cluster => format!("it is of the cluster `{}`", page.cluster),
                Ok(page) => return page.records.into_iter().collect(),
            },
        };
        warn!(%registry, file = %path.display(), why, "the ledger of written records cannot be used; records are known by their marks");
        BTreeMap::new()
    }

    /// Replaces the ledger of a registry. A crash at any moment leaves the old or the new one.
    pub fn save(&self, registry: &RegistryName, ledger: &BTreeMap<Key, Written>) -> io::Result<()> {
        let page = Page {
            version: VERSION,
            cluster: self.cluster.clone(),
            records: ledger
                .iter()
                .map(|(key, written)| (key.clone(), written.clone()))
                .collect(),
        };
        store::make_directory(&self.directory)?;
        let path = self.path(registry);
        let draft = path.with_extension("json.tmp");
        let mut file = store::create_private(&draft)?;
        file.write_all(&serde_json::to_vec(&page)?)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(&self.directory)?.sync_all()
    }

    fn path(&self, registry: &RegistryName) -> PathBuf {
        self.directory.join(format!("{registry}.json"))
    }
}

#[cfg(test)]
mod tests {
    use landfall_model::Origin;

    use super::*;

    #[test]
    fn a_ledger_comes_back_and_that_of_another_cluster_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let registry = RegistryName::new("consul").unwrap();
        let key = Key {
            service: "orders".into(),
            id: "landfall~a~1".into(),
        };
        let written = Written {
            digest: "d".into(),
            origin: Origin {
                registry: RegistryName::new("a").unwrap(),
                service: "orders".into(),
                instance: "1".into(),
            },
            path: [RegistryName::new("a").unwrap()].into(),
        };
        let ledger = BTreeMap::from([(key, written)]);
        let ours = Ledgers::new(directory.path(), "c1".into());
        assert!(ours.load(&registry).is_empty());
        ours.save(&registry, &ledger).unwrap();
        ours.save(&registry, &ledger).unwrap();
        assert_eq!(ours.load(&registry), ledger);
        assert!(Ledgers::new(directory.path(), "c2".into()).load(&registry).is_empty());
        fs::write(directory.path().join("sync/consul.json"), "{").unwrap();
        assert!(ours.load(&registry).is_empty());
    }
}
