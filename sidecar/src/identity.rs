//! The identity of this process as TLS needs it, kept up with the file that it is read from.
//!
//! Next on the path: `landfall_engine::Mesh`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_engine::{Mesh, Own, OwnError};
use landfall_identity::{Clients, HostError, Identity, Live, Store, TrustDomain, leaf};
use rustls_pki_types::CertificateDer;
use tokio::task::AbortHandle;

/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(5);
/// Less than this part of its life left: it is said, each hour.
const LATE: f64 = 0.25;
/// Between two warnings.
const AGAIN: Duration = Duration::from_secs(3600);

/// Why a process cannot be who it should be.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory has no identity in it.
    #[error("there is no identity in {0}: make one with `landfall identity issue`")]
    None(PathBuf),
    /// What is there cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It cannot be made TLS of.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// An identity that is read again when its file changes. Dropping it ends that.
#[derive(Debug)]
pub struct Followed {
    /// For the engine.
    pub mesh: Arc<Mesh>,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads the identity in a directory, and follows it.
///
/// # Errors
/// There is none, or it cannot be used: cut, expired, of another trust domain, or readable by others.
pub fn follow(directory: &Path, domain: TrustDomain) -> Result<Followed, IdentityError> {
    let store = Store::open(directory, domain)?;
    let found = store.load(SystemTime::now())?;
    let identity = found.ok_or_else(|| IdentityError::None(directory.to_owned()))?;
    tracing::info!(id = %identity.id(), "identity read");
    let (own, mut until) = (own(&identity)?, Life::of(&identity));
    let live = Live::new(identity);
    let server = live
        .server_config(Clients::Permissive)
        .map_err(|error| IdentityError::Tls(error.to_string()))?;
    let mesh = Arc::new(Mesh::new(server, name_of, own));
    let followed = mesh.clone();
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            // A changed file that is no good leaves the one before in use, until that expires.
            match read(&store, &live) {
                Ok(Some((identity, own))) => {
                    tracing::info!(id = %identity.id(), "identity read again");
                    until = Life::of(&identity);
                    live.replace(identity);
                    followed.replace(own);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the identity cannot be read again; the one before stays in use"),
            }
            until.warn(SystemTime::now());
        }
    });
    Ok(Followed {
        mesh,
        task: task.abort_handle(),
    })
}

/// What is on disk, if it is another one.
fn read(store: &Store, live: &Live) -> Result<Option<(Identity, Own)>, IdentityError> {
    let Some(identity) = store.load(SystemTime::now())? else {
        return Ok(None);
    };
    let present = live.present();
    if identity.chain() == present.chain() && identity.bundle().roots() == present.bundle().roots() {
        return Ok(None);
    }
    let own = own(&identity)?;
    Ok(Some((identity, own)))
}

fn own(identity: &Identity) -> Result<Own, OwnError> {
    Own::new(identity.chain(), identity.private(), identity.bundle().roots())
}

fn name_of(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    Some(leaf::read(certificate).ok()?.id.to_string().into())
}

/// How long an identity is good for, and when that was last said.
struct Life {
    from: SystemTime,
    until: SystemTime,
    said: Option<SystemTime>,
}

impl Life {
    fn of(identity: &Identity) -> Self {
        Self {
            from: identity.not_before(),
            until: identity.not_after(),
            said: None,
        }
    }

    /// Says that the end is near.
    fn warn(&mut self, now: SystemTime) {
        let whole = self.until.duration_since(self.from).unwrap_or_default();
        let left = self.until.duration_since(now).unwrap_or_default();
        let is_said = self
            .said
            .is_some_and(|said| now.duration_since(said).is_ok_and(|since| since < AGAIN));
        if left < whole.mul_f64(LATE) && !is_said {
            self.said = Some(now);
            tracing::warn!(
                seconds = left.as_secs(),
                "the identity expires soon; peers refuse this process then. Put a new one into the directory"
            );
        }
    }
}
