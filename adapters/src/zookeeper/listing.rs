//! Whether a list of children can be true. Pure, but for the memory of what was listed.
//!
//! ```text
//! getChildren2 ─▶ names + stat ─▶ as many names as the node says it has?
//!                                 another list at the same version? a version from before the last one?
//!                                        │ no
//!                 names that vanished ◀──┘ ─▶ exists? ─▶ no: gone      created since the list: there again
//!                                                        there all along: the list is wrong
//! ```
//!
//! Each answer of ZooKeeper carries its own evidence: a node's stat counts its children, and names the transaction
//! (`pzxid`) and the version (`cversion`) of the last change among them; a child's stat names the transaction that
//! created it (`czxid`). The server changes all of these in one step (`DataTree.java`), so a child with `czxid` ≤ the
//! folder's `pzxid` that exists now existed when the folder was listed. Answers that disagree are no knowledge.
//!
//! The names are remembered beyond the session, but only as places to look at again: what is believed rests on
//! answers of one session.
//!
//! Next on the path: [`session`](super::session) reads again what has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use zookeeper_client::Stat;

/// The children of a node.
pub(super) type Names = Arc<BTreeSet<Arc<str>>>;

/// Why a list cannot be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Contradiction {
    /// The list is cut off, or names a child twice.
    #[error("the list names {listed} children, and the node says it has {counted}")]
    Count { listed: usize, counted: i32 },
    /// Something is missing or new although nothing has changed.
    #[error("the list names {listed} children where it named {before}, and the node says nothing has changed since")]
    Unchanged { listed: usize, before: usize },
    /// The answer is from before what this session has seen.
    #[error("the list of {listed} children is older (transaction {pzxid:#x}) than what was read before ({seen:#x})")]
    Older { listed: usize, pzxid: i64, seen: i64 },
    /// A second look found a child that the list lacks.
    #[error("it exists, and the list of its folder ({listed} children, transaction {pzxid:#x}) does not name it")]
    Lacks { listed: usize, pzxid: i64 },
    /// A list names it, again and again, and it cannot be read.
    #[error("the list of its folder names it, and it is said not to exist")]
    Listed,
    /// The folder is said not to exist, and its stat is there.
    #[error("its children cannot be listed because it does not exist, and yet it does")]
    NoFolder,
    /// Not even the root exists.
    #[error("it is said not to exist, and so is the root, which always exists")]
    NoRoot,
}

/// One list of children.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) names: Names,
    czxid: i64,
    pzxid: i64,
    cversion: i32,
    /// Which session read it.
    session: u64,
}

impl Listing {
    /// From an answer of `getChildren2`.
    pub(super) fn new(names: Vec<String>, stat: &Stat) -> Result<Self, Contradiction> {
        let listed = names.len();
        let names: BTreeSet<Arc<str>> = names.into_iter().map(Into::into).collect();
        if i32::try_from(listed) != Ok(stat.num_children) || names.len() != listed {
            return Err(Contradiction::Count {
                listed: names.len(),
                counted: stat.num_children,
            });
        }
        Ok(Self {
            names: Arc::new(names),
            czxid: stat.czxid,
            pzxid: stat.pzxid,
            cversion: stat.cversion,
            session: 0,
        })
    }

    /// Whether it can come after `before`. What another session read proves nothing: the data may have been restored.
    pub(super) fn follows(&self, before: &Self, session: u64) -> Result<(), Contradiction> {
        if before.session != session {
            return Ok(());
        }
        let listed = self.names.len();
        if self.czxid < before.czxid || (self.czxid == before.czxid && self.pzxid < before.pzxid) {
            return Err(Contradiction::Older {
                listed,
                pzxid: self.pzxid,
                seen: before.pzxid,
            });
        }
        let unchanged = (self.czxid, self.pzxid, self.cversion) == (before.czxid, before.pzxid, before.cversion);
        if unchanged && self.names != before.names {
            let before = before.names.len();
            return Err(Contradiction::Unchanged { listed, before });
        }
        Ok(())
    }

    /// Whether a child with this stat was created after the list was made.
    pub(super) fn is_older_than(&self, child: &Stat) -> bool {
        child.czxid > self.pzxid
    }

    /// Whether the folder that was listed is this node, not one created later under its name.
    pub(super) fn is_the_same_node(&self, folder: &Stat) -> bool {
        folder.czxid <= self.czxid
    }

    /// What is wrong with it when it lacks a child.
    pub(super) fn lacks(&self) -> Contradiction {
        Contradiction::Lacks {
            listed: self.names.len(),
            pzxid: self.pzxid,
        }
    }
}

/// The last list of each folder. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Listings {
    known: Arc<Mutex<BTreeMap<String, Listing>>>,
    session: u64,
}

impl Listings {
    /// For a new session.
    pub(super) fn open(&self) -> Self {
        let last = self.locked().values().map(|listing| listing.session).max();
        Self {
            known: self.known.clone(),
            session: last.unwrap_or(0) + 1,
        }
    }

    /// The number of this session.
    pub(super) fn session(&self) -> u64 {
        self.session
    }

    /// The last list of a folder.
    pub(super) fn of(&self, path: &str) -> Option<Listing> {
        self.locked().get(path).cloned()
    }

    /// Remembers a list.
    pub(super) fn keep(&self, path: &str, listing: Listing) {
        let session = self.session;
        self.locked().insert(path.to_owned(), Listing { session, ..listing });
    }

    /// The folder is gone.
    pub(super) fn forget(&self, path: &str) {
        self.locked().remove(path);
    }

    /// Everything has been listed: what this session did not meet is not there any more.
    pub(super) fn caught_up(&self) {
        let session = self.session;
        self.locked().retain(|_, listing| listing.session == session);
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Listing>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
