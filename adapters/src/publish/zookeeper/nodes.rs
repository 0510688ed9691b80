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
use zookeeper_client::{Acls, Client, CreateMode, Error, MultiWriteError};

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
        Err(WriteError::Unavailable {
            address: self.access.ensemble().to_owned(),
            what: format!("{} came and went while it was written", place(path)),
        })
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
