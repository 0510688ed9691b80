//! The built-in certificate authority of one trust domain.
//!
//! ```text
//! prepare_root ──▶ in the bundle, does not sign ──▶ use_next_root ──▶ signs
//!                                                        └─▶ the old one: in the bundle without its key until the last
//!                                                            certificate under it has expired, then `drop_expired` removes it
//! ```
//!
//! Everything is in one file, `ca.json`, 0600 in a directory of 0700: roots, the keys of those that sign or will, and dates. One
//! file that is replaced as a whole cannot be half of two rotations. What a caller is shown is on disk first.
//! Next on the path: [`token`](crate::token) lets a host in that has no certificate yet.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::files;
use crate::id::{SpiffeId, TrustDomain};
use crate::request::{self, RequestError};
use crate::verify::{Bundle, BundleError};

/// How far before its issue a certificate is valid: hosts whose clocks are a little behind take it.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// How long a root lives.
const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The longest life of a leaf.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 3600);
/// The largest file that is read.
const FILE: u64 = 1024 * 1024;

/// Why the authority cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The disk. Nothing has changed in memory.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is cut, mixed up or another trust domain's. It is left as it is.
    #[error("{path}: {why}; restore it from a backup, or move it away to begin with a new root")]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What the host asked for is refused.
    #[error("the request for a certificate is refused: {0}")]
    Request(#[from] RequestError),
    /// A name of another trust domain.
    #[error("{0} is of another trust domain than this authority")]
    Domain(SpiffeId),
    /// The life of certificates is out of range.
    #[error("the life of a certificate is 1 minute to 90 days")]
    Life,
    /// The step of the rotation cannot be taken now.
    #[error("{0}")]
    Step(&'static str),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// rcgen could not make a certificate.
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    certificate: Vec<u8>,
    /// PKCS#8; gone when the root signs no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The end of the last certificate under it, once it signs no more: seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_expiry: Option<u64>,
    /// Its own end, which no certificate under it outlives: seconds since 1970.
    not_after: u64,
    /// The longest life it has signed for, in seconds.
    longest: u64,
}

/// The roots in the order of their making: retired ones, the one that signs, perhaps the next.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    trust_domain: String,
    roots: Vec<Root>,
}

/// An authority in a data directory.
pub struct Ca {
    path: PathBuf,
    domain: TrustDomain,
    life: Duration,
    state: State,
}

impl Ca {
    /// Opens the authority in `directory`, or makes it with a first root. `life` is that of the certificates it issues.
    pub fn open(directory: &Path, domain: TrustDomain, life: Duration, now: SystemTime) -> Result<Self, CaError> {
        if life < Duration::from_secs(60) || life > LONGEST {
            return Err(CaError::Life);
        }
        let path = directory.join("ca.json");
        files::directory(directory).map_err(|source| disk(directory, source))?;
        let state = match read(&path)? {
            Some(state) => state,
            None => State {
                trust_domain: domain.to_string(),
                roots: vec![root(&domain, life, now)?],
            },
        };
        let mut ca = Self {
            path,
            domain,
            life,
            state,
        };
        ca.check()?;
        let mut state = ca.state.clone();
        for root in &mut state.roots {
            root.longest = root.longest.max(life.as_secs());
        }
        ca.store(state)?;
        Ok(ca)
    }

    /// The roots that hosts trust.
    pub fn roots(&self) -> Vec<CertificateDer<'static>> {
        self.state
            .roots
            .iter()
            .map(|root| root.certificate.clone().into())
            .collect()
    }

    /// The same as a bundle to verify with.
    pub fn bundle(&self) -> Result<Bundle, BundleError> {
        Bundle::new(self.domain.clone(), &self.roots())
    }

    /// Issues a certificate for `id`, which the caller has from a token or from the peer's present certificate, never from the
    /// request. Of the request only the key is taken.
    pub fn issue(&self, id: &SpiffeId, csr: &[u8], now: SystemTime) -> Result<CertificateDer<'static>, CaError> {
        if *id.trust_domain() != self.domain {
            return Err(CaError::Domain(id.clone()));
        }
        let key = request::read(csr, id)?;
        let signer = self.signer().ok_or(CaError::Step("no root signs here"))?;
        let until = (now + self.life).min(SystemTime::UNIX_EPOCH + Duration::from_secs(signer.not_after));
        let mut params = blank(now - BACKDATE, until)?;
        params.subject_alt_names = vec![
            SanType::URI(id.to_string().try_into()?),
            SanType::DnsName(id.server_name().try_into()?),
        ];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::from_pem(signer.key.as_deref().unwrap_or_default())?;
        let issuer = Issuer::from_ca_cert_der(&signer.certificate.as_slice().into(), pair)?;
        Ok(params.signed_by(&key, &issuer)?.der().clone())
    }

    /// First step of a rotation: a new root joins the bundle and signs nothing yet. Give every host the bundle, then go on.
    pub fn prepare_root(&mut self, now: SystemTime) -> Result<(), CaError> {
        if self.keyed() > 1 {
            return Err(CaError::Step("the next root is already prepared"));
        }
        let mut state = self.state.clone();
        state.roots.push(root(&self.domain, self.life, now)?);
        self.store(state)
    }

    /// Second step: the prepared root signs. The old one loses its key and stays in the bundle.
    pub fn use_next_root(&mut self, now: SystemTime) -> Result<(), CaError> {
        if self.keyed() < 2 {
            return Err(CaError::Step("no next root is prepared"));
        }
        let mut state = self.state.clone();
        if let Some(old) = state.roots.iter_mut().find(|root| root.key.is_some()) {
            old.key = None;
            old.last_expiry = Some(crate::verify::unix(now).as_secs() + old.longest);
        }
        self.store(state)
    }

    /// Last step: removes retired roots under which no certificate is valid any more. Says how many.
    pub fn drop_expired(&mut self, now: SystemTime) -> Result<usize, CaError> {
        let now = crate::verify::unix(now).as_secs();
        let mut state = self.state.clone();
        state.roots.retain(|root| root.last_expiry.is_none_or(|end| end >= now));
        let gone = self.state.roots.len() - state.roots.len();
        if gone > 0 {
            self.store(state)?;
        }
        Ok(gone)
    }

    fn signer(&self) -> Option<&Root> {
        self.state.roots.iter().find(|root| root.key.is_some())
    }

    fn keyed(&self) -> usize {
        self.state.roots.iter().filter(|root| root.key.is_some()).count()
    }

    fn check(&self) -> Result<(), CaError> {
        let damaged = |why: String| CaError::Damaged {
            path: self.path.clone(),
            why,
        };
        if self.state.trust_domain != self.domain.as_str() {
            let theirs = &self.state.trust_domain;
            return Err(damaged(format!(
                "it is the authority of `{theirs}`, not of `{}`",
                self.domain
            )));
        }
        self.bundle().map_err(|error| damaged(error.to_string()))?;
        if self.signer().is_none() {
            return Err(damaged("no root in it has a key".to_owned()));
        }
        for root in &self.state.roots {
            let Some(key) = &root.key else { continue };
            let pair = KeyPair::from_pem(key).map_err(|_| damaged("a key in it is unreadable".to_owned()))?;
            if request::public_key(&root.certificate).as_deref() != Some(pair.public_key_raw()) {
                return Err(damaged("a key in it is not that of its root".to_owned()));
            }
        }
        Ok(())
    }

    /// To disk first, then to memory.
    fn store(&mut self, state: State) -> Result<(), CaError> {
        let bytes = serde_json::to_vec(&state).map_err(|error| disk(&self.path, error.into()))?;
        files::write(&self.path, &bytes).map_err(|source| disk(&self.path, source))?;
        self.state = state;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<State>, CaError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(disk(path, source)),
    };
    files::private(path).map_err(|source| disk(path, source))?;
    let mut bytes = Vec::new();
    file.take(FILE)
        .read_to_end(&mut bytes)
        .map_err(|source| disk(path, source))?;
    // The words of serde could quote a part of a key; its place cannot.
    let state = serde_json::from_slice(&bytes).map_err(|error| CaError::Damaged {
        path: path.to_owned(),
        why: format!(
            "it is cut or damaged at line {}, column {}",
            error.line(),
            error.column()
        ),
    })?;
    Ok(Some(state))
}

fn root(domain: &TrustDomain, life: Duration, now: SystemTime) -> Result<Root, CaError> {
    let pair = KeyPair::generate()?;
    let not_after = now + ROOT_LIFE;
    let mut params = blank(now - BACKDATE, not_after)?;
    // Roots of one domain differ in their subjects, so that a verifier need not try each.
    let mark = format!("Landfall root {:032x}", u128::from_be_bytes(random()?));
    params.distinguished_name.push(DnType::CommonName, mark);
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{domain}").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(Root {
        certificate: params.self_signed(&pair)?.der().to_vec(),
        key: Some(pair.serialize_pem()),
        last_expiry: None,
        not_after: crate::verify::unix(not_after).as_secs(),
        longest: life.as_secs(),
    })
}

/// rcgen's defaults are a life of two thousand years, a name of its own and a serial that repeats with the key.
fn blank(from: SystemTime, until: SystemTime) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = OffsetDateTime::from(from);
    params.not_after = OffsetDateTime::from(until);
    let mut serial: [u8; 16] = random()?;
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// Random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CaError> {
    let mut bytes = [0; N];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut bytes).map_err(|_| CaError::Random)?;
    Ok(bytes)
}

fn disk(path: &Path, source: io::Error) -> CaError {
    CaError::Disk {
        path: path.to_owned(),
        source,
    }
}
