//! The host's side: an identity that survives a restart without control, and when to ask for the next one.
//!
//! Key, certificates and roots are one file, `identity.json`, 0600: replaced as a whole, it cannot be half of two renewals.
//! Next on the path: [`live`](crate::live) takes what is loaded here.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::id::TrustDomain;
use crate::live::{Identity, IdentityError};
use crate::request::HostKey;
use crate::verify::{Bundle, BundleError};

/// The largest file that is read.
const FILE: u64 = 1024 * 1024;
/// The longest pause between two tries to renew, in seconds.
const PAUSE: u64 = 150;

/// Why there is no identity on disk, or none is written.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The disk.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is cut or damaged.
    #[error("{path}: the file is cut or damaged; join anew with a token")]
    Damaged {
        /// Where.
        path: PathBuf,
    },
    /// Its parts do not belong together, or are not valid now.
    #[error("{path}: {source}")]
    Refused {
        /// Where.
        path: PathBuf,
        /// Why.
        source: IdentityError,
    },
    /// The roots make no bundle.
    #[error("{path}: {source}")]
    Roots {
        /// Where.
        path: PathBuf,
        /// Why.
        source: BundleError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
    roots: Vec<Vec<u8>>,
}

/// The identity of a host on its disk.
pub struct Store {
    path: PathBuf,
    domain: TrustDomain,
}

impl Store {
    /// Keeps the identity in `directory`, which is made if need be and is for the owner alone.
    pub fn open(directory: &Path, domain: TrustDomain) -> Result<Self, HostError> {
        files::directory(directory).map_err(|source| disk(directory, source))?;
        Ok(Self {
            path: directory.join("identity.json"),
            domain,
        })
    }

    /// What was saved last, if anything was: checked as if it had just arrived.
    pub fn load(&self, now: SystemTime) -> Result<Option<Identity>, HostError> {
        let file = match std::fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(disk(&self.path, source)),
        };
        files::private(&self.path).map_err(|source| disk(&self.path, source))?;
        let mut bytes = Vec::new();
        file.take(FILE)
            .read_to_end(&mut bytes)
            .map_err(|source| disk(&self.path, source))?;
        let stored = serde_json::from_slice(&bytes).map_err(|_| HostError::Damaged {
            path: self.path.clone(),
        })?;
        self.check(&stored, now).map(Some)
    }

    /// Checks what control has answered and saves it. What is refused is not written: the last good one stays.
    pub fn save(
        &self,
        chain: &[CertificateDer<'_>],
        key: &HostKey,
        roots: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Identity, HostError> {
        let stored = Stored {
            chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
            key: key.private().secret_der().to_vec(),
            roots: roots.iter().map(|root| root.to_vec()).collect(),
        };
        let identity = self.check(&stored, now)?;
        let written = serde_json::to_vec(&stored).map_err(io::Error::from);
        let written = written.and_then(|bytes| files::write(&self.path, &bytes));
        written.map_err(|source| disk(&self.path, source))?;
        Ok(identity)
    }

    fn check(&self, stored: &Stored, now: SystemTime) -> Result<Identity, HostError> {
        let path = || self.path.clone();
        let roots: Vec<CertificateDer<'_>> = stored.roots.iter().map(|root| root.as_slice().into()).collect();
        let bundle = Bundle::new(self.domain.clone(), &roots);
        let bundle = bundle.map_err(|source| HostError::Roots { path: path(), source })?;
        let chain = stored.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(stored.key.clone()));
        Identity::new(chain, key, bundle, now).map_err(|source| HostError::Refused { path: path(), source })
    }
}

/// When to renew. It compares the wall clock, so ask about every minute: a timer of hours sleeps through a suspended host.
#[derive(Debug)]
pub struct Renewal {
    next: SystemTime,
    until: SystemTime,
    failures: u32,
}

impl Renewal {
    /// At half of the life of `identity`, give or take a tenth of the life, so that a fleet does not ask at once.
    pub fn of(identity: &Identity) -> Self {
        let life = identity
            .not_after()
            .duration_since(identity.not_before())
            .unwrap_or_default();
        Self {
            next: identity.not_before() + life.mul_f64(0.4 + 0.2 * fastrand::f64()),
            until: identity.not_after(),
            failures: 0,
        }
    }

    /// Is it time to ask?
    pub fn due(&self, now: SystemTime) -> bool {
        now >= self.next
    }

    /// The last try failed: the next one is after 1 s, doubling up to 150 s, each up to a half shorter by chance.
    pub fn failed(&mut self, now: SystemTime) {
        let pause = 1_u64.checked_shl(self.failures).unwrap_or(PAUSE).min(PAUSE);
        self.failures = (self.failures + 1).min(16);
        self.next = now + Duration::from_secs(pause).mul_f64(0.5 + 0.5 * fastrand::f64());
    }

    /// How long the certificate is still valid; nothing once it has expired.
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        self.until.duration_since(now).ok()
    }
}

fn disk(path: &Path, source: io::Error) -> HostError {
    HostError::Disk {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, SpiffeId};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn an_identity_survives_a_restart_and_a_bad_answer_but_not_a_cut_file_or_its_expiry() {
        let (directory, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let domain = TrustDomain::new("mesh").unwrap();
        let ca = Ca::open(&directory.path().join("ca"), domain.clone(), DAY, now).unwrap();
        let id = SpiffeId::new(&domain, "eureka", "orders").unwrap();
        let (key, other) = (HostKey::generate().unwrap(), HostKey::generate().unwrap());
        let chain = [ca.issue(&id, &key.request(&id).unwrap(), now).unwrap()];
        let store = Store::open(&directory.path().join("host"), domain).unwrap();
        assert!(store.load(now).unwrap().is_none());

        store.save(&chain, &key, &ca.roots(), now).unwrap();
        assert!(matches!(
            store.save(&chain, &other, &ca.roots(), now),
            Err(HostError::Refused { .. })
        ));
        assert!(matches!(
            store.save(&chain, &key, &[], now),
            Err(HostError::Roots { .. })
        ));
        assert_eq!(store.load(now).unwrap().unwrap().id(), &id);
        let expired = store.load(now + 2 * DAY).unwrap_err().to_string();
        assert!(
            expired.contains("identity.json") && expired.contains("expired at"),
            "{expired}"
        );

        let whole = std::fs::read(&store.path).unwrap();
        for cut in (0..whole.len()).step_by(17) {
            std::fs::write(&store.path, &whole[..cut]).unwrap();
            assert!(matches!(store.load(now), Err(HostError::Damaged { .. })), "{cut}");
        }
    }

    #[test]
    fn renewal_is_due_about_half_way_and_backs_off() {
        let (directory, now) = (tempfile::tempdir().unwrap(), SystemTime::now());
        let domain = TrustDomain::new("mesh").unwrap();
        let ca = Ca::open(&directory.path().join("ca"), domain.clone(), DAY, now).unwrap();
        let (id, key) = (
            SpiffeId::new(&domain, "eureka", "orders").unwrap(),
            HostKey::generate().unwrap(),
        );
        let certificate = ca.issue(&id, &key.request(&id).unwrap(), now).unwrap();
        let identity = Identity::new(vec![certificate], key.private(), ca.bundle().unwrap(), now).unwrap();
        for _ in 0..100 {
            let renewal = Renewal::of(&identity);
            assert!(!renewal.due(now + DAY.mul_f64(0.39)) && renewal.due(now + DAY.mul_f64(0.61)));
        }
        let mut renewal = Renewal::of(&identity);
        for longest in [1, 2, 4, 8, 16, 32, 64, 128, 150, 150] {
            renewal.failed(now);
            let longest = Duration::from_secs(longest);
            assert!(!renewal.due(now + longest.mul_f64(0.49)) && renewal.due(now + longest));
        }
        assert!(renewal.left(now).is_some_and(|left| left <= DAY));
        assert_eq!(renewal.left(now + 2 * DAY), None);
    }
}
