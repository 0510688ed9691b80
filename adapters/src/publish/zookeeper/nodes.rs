//! A provider's node: created, taken over, replaced, deleted.
//!
//! ```text
//! establish ─▶ create (ephemeral) ─┬─ made, or NodeExists and of our session ─▶ done
//!                                  ├─ NoNode: the folder is missing ─▶ made, persistent, then again
//!                                  └─ NodeExists, of another session ─▶ delete + create as one transaction
//! ```
//!
//! The last case is an earlier session's node, of this process or of the writer before: left alone it would vanish with
//! that session. As one transaction no consumer sees a list without it.

use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{Acls, Client, CreateMode, Error, MultiWriteError, MultiWriter, Stat};

use super::shape::interface_of;
use crate::{
    publish::{Key, WriteError, mark},
    zookeeper::{
        access::{Access, instance_id, service_key},
        url::DubboUrl,
    },
};

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How often a node that comes and goes meanwhile is tried.
const TRIES: usize = 5;

/// Writes in one session.
pub(super) struct Nodes<'a> {
    pub(super) client: &'a Client,
    pub(super) access: &'a Access,
    pub(super) acls: Acls<'static>,
}

enum Failed {
    Silent,
    Said(Error),
}

impl Nodes<'_> {
    /// Makes the node one of this session.
    pub(super) async fn establish(&self, path: &str) -> Result<(), WriteError> {
        for _ in 0..TRIES {
            if self.attempt(path).await.map_err(|failed| self.error(failed, path))? {
                return Ok(());
            }
        }
        Err(self.unsteady(path))
    }

    /// `false`: something has changed meanwhile.
    async fn attempt(&self, path: &str) -> Result<bool, Failed> {
        let ephemeral = CreateMode::Ephemeral.with_acls(self.acls);
        match answer(self.client.create(path, b"", &ephemeral)).await {
            Ok(_) => Ok(true),
            Err(Failed::Said(Error::NoNode)) => {
                let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
                let persistent = CreateMode::Persistent.with_acls(self.acls);
                answer(self.client.mkdir(folder, &persistent)).await?;
                Ok(false)
            }
            Err(Failed::Said(Error::NodeExists)) => match answer(self.client.check_stat(path)).await? {
                Some(stat) if stat.ephemeral_owner == self.client.session_id().0 => Ok(true),
                Some(stat) => self.replace(path, stat.version).await,
                None => Ok(false),
            },
            Err(failed) => Err(failed),
        }
    }

    /// Deletes and creates at once.
    async fn replace(&self, path: &str, version: i32) -> Result<bool, Failed> {
        let ephemeral = CreateMode::Ephemeral.with_acls(self.acls);
        let mut both = self.client.new_multi_writer();
        both.add_delete(path, Some(version)).map_err(Failed::Said)?;
        both.add_create(path, b"", &ephemeral).map_err(Failed::Said)?;
        match timeout(PATIENCE, both.commit()).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(MultiWriteError::RequestFailed { source })) => Err(Failed::Said(source)),
            Ok(Err(_)) => Ok(false),
            Err(_) => Err(Failed::Silent),
        }
    }

    /// Deletes a node; gone is gone.
    pub(super) async fn delete(&self, path: &str) -> Result<(), WriteError> {
        match answer(self.client.delete(path, None)).await {
            Ok(()) | Err(Failed::Said(Error::NoNode)) => Ok(()),
            Err(failed) => Err(self.error(failed, path)),
        }
    }

    /// The nodes of a folder; none if there is no such folder.
    pub(super) async fn children(&self, folder: &str) -> Result<Vec<String>, WriteError> {
        match answer(self.client.list_children(folder)).await {
            Ok(children) => Ok(children),
            Err(Failed::Said(Error::NoNode)) => Ok(Vec::new()),
            Err(failed) => Err(self.error(failed, folder)),
        }
    }

    fn error(&self, failed: Failed, path: &str) -> WriteError {
        let address = self.access.ensemble().to_owned();
        let place = place(path);
        match failed {
            Failed::Silent => WriteError::Unavailable {
                address,
                what: format!("no answer within {PATIENCE:?}"),
            },
            Failed::Said(error @ (Error::NoAuth | Error::AuthFailed)) => WriteError::Denied {
                address,
                what: format!(
                    "{place}: {error}; only Dubbo's own user may write there: set `username` and `password` as Dubbo has them"
                ),
            },
            Failed::Said(error @ (Error::BadArguments(_) | Error::InvalidAcl | Error::NoChildrenForEphemerals)) => {
                WriteError::Rejected {
                    address,
                    id: place.into(),
                    what: error.to_string(),
                }
            }
            Failed::Said(error) => WriteError::Unavailable {
                address,
                what: format!("{place}: {error}"),
            },
        }
    }
}

/// What became of a node that was to stand at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It stands there now.
    Written,
    /// It stood there already, in this session.
    Same,
    /// Another one stands there, and stays.
    Taken,
}

impl Nodes<'_> {
    /// A node's data and version; `None` if there is no such node.
    pub(super) async fn read(&self, path: &str) -> Result<Option<(Vec<u8>, i32)>, WriteError> {
        let found = self.data(path).await.map_err(|failed| self.error(failed, path))?;
        Ok(found.map(|(data, stat)| (data, stat.version)))
    }

    async fn data(&self, path: &str) -> Result<Option<(Vec<u8>, Stat)>, Failed> {
        match answer(self.client.get_data(path)).await {
            Ok(found) => Ok(Some(found)),
            Err(Failed::Said(Error::NoNode)) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Makes an ephemeral node of this session with this data, in the place of one that may be replaced.
    pub(super) async fn place(
        &self,
        path: &str,
        data: &[u8],
        may_replace: impl Fn(&[u8]) -> bool,
    ) -> Result<Placed, WriteError> {
        for _ in 0..TRIES {
            let tried = self.try_place(path, data, &may_replace).await;
            if let Some(placed) = tried.map_err(|failed| self.error(failed, path))? {
                return Ok(placed);
            }
        }
        Err(self.unsteady(path))
    }

    /// `None`: something has changed meanwhile.
    async fn try_place(
        &self,
        path: &str,
        data: &[u8],
        may_replace: &impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Placed>, Failed> {
        let ephemeral = CreateMode::Ephemeral.with_acls(self.acls);
        let Some((there, stat)) = self.data(path).await? else {
            return match answer(self.client.create(path, data, &ephemeral)).await {
                Ok(_) => Ok(Some(Placed::Written)),
                Err(Failed::Said(Error::NodeExists)) => Ok(None),
                Err(Failed::Said(Error::NoNode)) => {
                    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
                    self.container(folder).await?;
                    Ok(None)
                }
                Err(failed) => Err(failed),
            };
        };
        if !may_replace(&there) {
            return Ok(Some(Placed::Taken));
        }
        let is_own = stat.ephemeral_owner == self.client.session_id().0;
        if is_own && there == data {
            return Ok(Some(Placed::Same));
        }
        let mut all = self.client.new_multi_writer();
        if is_own {
            all.add_set_data(path, data, Some(stat.version)).map_err(Failed::Said)?;
        } else {
            all.add_delete(path, Some(stat.version)).map_err(Failed::Said)?;
            all.add_create(path, data, &ephemeral).map_err(Failed::Said)?;
        }
        Ok(self.commit(all).await?.then_some(Placed::Written))
    }

    /// Makes a folder that the server removes when it is empty, as Curator does; a lasting one where servers are older than 3.5.
    async fn container(&self, folder: &str) -> Result<(), Failed> {
        let container = CreateMode::Container.with_acls(self.acls);
        match answer(self.client.mkdir(folder, &container)).await {
            Err(Failed::Said(Error::Unimplemented)) => {
                let persistent = CreateMode::Persistent.with_acls(self.acls);
                answer(self.client.mkdir(folder, &persistent)).await
            }
            done => done,
        }
    }

    /// Makes a node that outlives the session. One that is there is left as it is.
    pub(super) async fn lasting(&self, path: &str, data: &[u8]) -> Result<(), WriteError> {
        let persistent = CreateMode::Persistent.with_acls(self.acls);
        for _ in 0..TRIES {
            let there = answer(self.client.check_stat(path)).await;
            if there.map_err(|failed| self.error(failed, path))?.is_some() {
                return Ok(());
            }
            match answer(self.client.create(path, data, &persistent)).await {
                Ok(_) | Err(Failed::Said(Error::NodeExists)) => return Ok(()),
                Err(Failed::Said(Error::NoNode)) => self.folder_of(path).await?,
                Err(failed) => return Err(self.error(failed, path)),
            }
        }
        Err(self.unsteady(path))
    }

    async fn folder_of(&self, path: &str) -> Result<(), WriteError> {
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let persistent = CreateMode::Persistent.with_acls(self.acls);
        let made = answer(self.client.mkdir(folder, &persistent)).await;
        made.map_err(|failed| self.error(failed, folder))
    }

    /// Adds a name to the list in a node, and notes in another node that it was we who did.
    pub(super) async fn map(&self, mapping: &str, note: &str, name: &str) -> Result<(), WriteError> {
        let persistent = CreateMode::Persistent.with_acls(self.acls);
        for _ in 0..TRIES * 2 {
            let there = self.read(mapping).await?;
            let (text, version) = match &there {
                Some((data, version)) => (String::from_utf8_lossy(data), Some(*version)),
                None => ("".into(), None),
            };
            if names(&text).any(|known| known == name) {
                return Ok(());
            }
            let is_noted = answer(self.client.check_stat(note)).await;
            let is_noted = is_noted.map_err(|failed| self.error(failed, note))?.is_some();
            let list: Vec<&str> = names(&text).chain([name]).collect();
            let list = list.join(",");
            let mut both = self.client.new_multi_writer();
            let added = match version {
                Some(version) => both.add_set_data(mapping, list.as_bytes(), Some(version)),
                None => both.add_create(mapping, list.as_bytes(), &persistent),
            };
            let noted = match is_noted {
                true => Ok(()),
                false => both.add_create(note, b"", &persistent),
            };
            added
                .and(noted)
                .map_err(|error| self.error(Failed::Said(error), mapping))?;
            match self.commit(both).await.map_err(|failed| self.error(failed, mapping))? {
                true => return Ok(()),
                // The folders may be missing, or another writer was quicker.
                false => {
                    self.folder_of(mapping).await?;
                    self.folder_of(note).await?;
                }
            }
        }
        Err(self.unsteady(mapping))
    }

    /// Takes a name out of the list in a node, with the note of it. A list without names is deleted.
    pub(super) async fn unmap(&self, mapping: &str, note: &str, name: &str) -> Result<(), WriteError> {
        for _ in 0..TRIES * 2 {
            let Some((data, version)) = self.read(mapping).await? else {
                return self.delete(note).await;
            };
            let text = String::from_utf8_lossy(&data);
            if !names(&text).any(|known| known == name) {
                return self.delete(note).await;
            }
            let left: Vec<&str> = names(&text).filter(|known| *known != name).collect();
            let mut both = self.client.new_multi_writer();
            let taken = match left.is_empty() {
                true => both.add_delete(mapping, Some(version)),
                false => both.add_set_data(mapping, left.join(",").as_bytes(), Some(version)),
            };
            let noted = both.add_delete(note, None);
            taken
                .and(noted)
                .map_err(|error| self.error(Failed::Said(error), mapping))?;
            if self.commit(both).await.map_err(|failed| self.error(failed, mapping))? {
                return Ok(());
            }
            let there = answer(self.client.check_stat(note)).await;
            if there.map_err(|failed| self.error(failed, note))?.is_none() {
                // Without a note it is not ours.
                return Ok(());
            }
        }
        Err(self.unsteady(mapping))
    }

    /// Deletes a node whose data say that it may be. `false`: it may not.
    pub(super) async fn delete_if(&self, path: &str, may: impl Fn(&[u8]) -> bool) -> Result<bool, WriteError> {
        for _ in 0..TRIES {
            let Some((data, version)) = self.read(path).await? else {
                return Ok(true);
            };
            if !may(&data) {
                return Ok(false);
            }
            match answer(self.client.delete(path, Some(version))).await {
                Ok(()) | Err(Failed::Said(Error::NoNode)) => return Ok(true),
                Err(Failed::Said(Error::BadVersion)) => {}
                Err(failed) => return Err(self.error(failed, path)),
            }
        }
        Err(self.unsteady(path))
    }

    /// Deletes a folder, unless something is in it.
    pub(super) async fn delete_empty(&self, path: &str) -> Result<(), WriteError> {
        match answer(self.client.delete(path, None)).await {
            Ok(()) | Err(Failed::Said(Error::NoNode | Error::NotEmpty)) => Ok(()),
            Err(failed) => Err(self.error(failed, path)),
        }
    }

    /// `false`: something has changed meanwhile, and nothing was done.
    async fn commit(&self, mut all: MultiWriter<'_>) -> Result<bool, Failed> {
        match timeout(PATIENCE, all.commit()).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(MultiWriteError::OperationFailed {
                source:
                    Error::NoNode | Error::NodeExists | Error::BadVersion | Error::NotEmpty | Error::RuntimeInconsistent,
                ..
            })) => Ok(false),
            Ok(Err(error)) => Err(Failed::Said(error.into())),
            Err(_) => Err(Failed::Silent),
        }
    }

    fn unsteady(&self, path: &str) -> WriteError {
        WriteError::Unavailable {
            address: self.access.ensemble().to_owned(),
            what: format!("{} came and went while it was written", place(path)),
        }
    }
}

/// The names in a list as Dubbo writes it.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// The path without the parameters: they are long, and not what is wrong.
fn place(path: &str) -> &str {
    path.split("%3F").next().unwrap_or(path)
}

async fn answer<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(Failed::Said),
        Err(_) => Err(Failed::Silent),
    }
}

/// What a node in a folder of providers is to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// Another provider, or none.
    Other,
    /// The key's record, written by this cluster.
    Ours,
    /// The key's record, written by somebody else.
    Foreign,
}

/// Reads a node's name.
pub(super) fn relation(node: &str, key: &Key, cluster: &str) -> Relation {
    let Ok(url) = DubboUrl::from_node_name(node) else {
        return Relation::Other;
    };
    let Some(port) = url.port else { return Relation::Other };
    let service = service_key(interface_of(&key.service), url.get("group"), url.get("version"));
    if service != key.service || instance_id(&url.protocol, &url.host, port) != key.id {
        return Relation::Other;
    }
    match url.get(mark::CLUSTER) {
        Some(writer) if writer == cluster && url.get(mark::ORIGIN).is_some() => Relation::Ours,
        _ => Relation::Foreign,
    }
}
