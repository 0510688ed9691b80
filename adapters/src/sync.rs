//! Sync: which records are written into which registry, so that services of one are found in the others.
//!
//! ```text
//! World ──┐                ┌─▶ stand     which record of each origin stands where, by the shortest path
//! syncs ──┼──▶ Planner ────┼─▶ settle    which of them are written, and as what; conflicts
//! memory ─┘    (pure)      └─▶ diff      against what is there; guards ──▶ Plan ──▶ Sync (writes)
//! ```
//!
//! [`Planner`] knows no clock and does no I/O: equal input, equal [`Plan`]. What it promises:
//!
//! # What may be written
//! 1. **Roots** are the native records of every registry that is followed, and the records that *another* cluster
//!    has written, with their path, if their origin is not followed here or still has the native record. Records
//!    of our own cluster are output and never a source, nor is one whose marks were lost.
//! 2. From each root along the edges of the RegistrySyncs (both directions for `between`): an edge carries what it
//!    selects, renamed, relabelled and readdressed. A registry on the path is never a target again.
//! 3. In each registry stands one record of each origin: that of the shortest path, then of the
//!    lexicographically smallest path, then of the smallest cluster id. Only what stands goes further. If the one
//!    that stands is another cluster's, ours is not written, and goes if it was.
//!    Through a gateway's address one record, of instance `*`, stands for a whole service.
//!
//! # What is left out
//! Records for one registry are taken in order of path length, path and origin. One is left out if
//! - a **native** record of the same service (whatever the case of its name) has the same host and port;
//! - a record before it, of another origin, has the same service, host and port: the instance is registered twice;
//! - the registry cannot hold it ([`Unfit`](crate::publish::Unfit)): a state it has no word for, a name it does not allow;
//! - it is in **conflict** with a native service or a record before it: same name with another protocol, names that
//!   differ by case alone, two services of one registry that become one name, one id twice.
//!
//! What is left out in a registry still goes on from there: a native service in the middle of a path hides nobody.
//!
//! # What is done
//! - A record of ours that stands there with the same digest and path is **kept**, else **changed**; what is missing is
//!   **added**; what is not wanted any more is **removed**. Only records that carry our cluster's id, or whose key is
//!   in our ledger while the marks were lost, are changed or removed. A record of another cluster under our key that
//!   came by a longer path is replaced; one that came by a better one is **disowned**: we let go of the key.
//! - Nothing is added or changed before the target has caught up in this process, and nothing is removed unless the
//!   target is live and caught up, and the registry that says the origin is gone is so too. That a document does not
//!   want a record any more is evidence by itself.
//! - If more than half of our records in a target (and at least three) would go because their origins are gone, each
//!   of them waits until a later plan says the same (see [`Memory::confirmed`]).
//! - What a document of `mode: plan` wants is planned and marked `waits`: it is written when the plan is applied.
//!   A record once applied is kept alive, put again if the target loses it, and removed when its origin is gone.
//!
//! # Why this ends
//! Every record depends on records with shorter paths alone, and the order among those of one origin is total. So
//! by induction over the length of paths there is exactly one fixed point, however many clusters write, in
//! whatever order they see each other's records; and a path that never has a registry twice is no loop.
//!
//! Next on the path: [`planner`], then [`run`] which writes what was planned through a
//! [`Publisher`](crate::publish::Publisher).

mod diff;
mod edge;
mod ledger;
mod metrics;
mod pace;
pub mod plan;
pub mod planner;
pub mod run;
mod settle;
mod stand;
pub mod status;
mod target;

pub use metrics::Metrics;
pub use plan::{Conflict, ConflictKind, Held, HeldWhy, LeftOut, LeftOutWhy, Plan, TargetPlan, Write};
pub use planner::{Input, Memory, Pending, Planner, Rejected, Written};
pub use run::{ApplyError, Connect, RegistrySync, SyncOptions, publishers};
pub use status::{SyncState, SyncStatus, TargetState, TargetStatus};

#[cfg(test)]
mod tests;
