//! Peers are verified by their SPIFFE ID: no host name plays a part.
//!
//! ```text
//! certificate ─▶ leaf rules ─▶ trust domain ─▶ chain to that domain's roots ─▶ is it one we expect?
//! ```
//!
//! Next on the path: [`live`](crate::live) calls this at every handshake with the present bundle.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::id::{SpiffeId, TrustDomain};
use crate::leaf::{self, LeafError};

/// The most roots a bundle may have: two are usual during a rotation.
const ROOTS: usize = 32;
/// The most certificates a peer may send beside its leaf.
const CHAIN: usize = 8;

/// Why a peer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Its certificate is no SVID.
    #[error("the peer's certificate is refused: {0}")]
    Leaf(#[from] LeafError),
    /// It belongs to another mesh.
    #[error("the peer {peer} is of another trust domain; here it is `{ours}`")]
    TrustDomain {
        /// Who it says it is.
        peer: SpiffeId,
        /// Our trust domain.
        ours: TrustDomain,
    },
    /// Its certificate is over.
    #[error(
        "the certificate of {peer} expired at {not_after} s, the clock here says {now} s (both since 1970): was its renewal missed, or is a clock wrong?"
    )]
    Expired {
        /// Who.
        peer: SpiffeId,
        /// The end of its certificate, in seconds since 1970.
        not_after: u64,
        /// Our time.
        now: u64,
    },
    /// Its certificate has not begun: one of the two clocks is wrong.
    #[error(
        "the certificate of {peer} is valid from {not_before} s, the clock here says {now} s (both since 1970): one of the two clocks is wrong"
    )]
    NotYet {
        /// Who.
        peer: SpiffeId,
        /// The beginning of its certificate, in seconds since 1970.
        not_before: u64,
        /// Our time.
        now: u64,
    },
    /// No root of the bundle has signed it.
    #[error(
        "no root in the bundle of `{domain}` vouches for {peer}: is the bundle older than the root that signed it?"
    )]
    UnknownIssuer {
        /// Who it says it is.
        peer: SpiffeId,
        /// The trust domain.
        domain: TrustDomain,
    },
    /// It is somebody, and not whom we called.
    #[error("{peer} answered where another identity was expected")]
    Unexpected {
        /// Who.
        peer: SpiffeId,
    },
    /// Anything else that is wrong with the chain.
    #[error("the chain of {peer} is refused: {why}")]
    Chain {
        /// Who it says it is.
        peer: SpiffeId,
        /// Why, in webpki's words.
        why: String,
    },
}

impl PeerError {
    /// The reason inside a failed handshake, if we refused the peer. rustls alone would print it as a debug value.
    pub fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => other.0.downcast_ref(),
            _ => None,
        }
    }
}

/// Why certificates make no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// None, or too many.
    #[error("a bundle has 1 to {ROOTS} roots, not {0}")]
    Count(usize),
    /// One of them cannot be a root.
    #[error("certificate {0} of the bundle is no X.509 certificate; the file may be cut")]
    Root(usize),
}

/// The roots of one trust domain. Those of several domains are never pooled.
#[derive(Debug, Clone)]
pub struct Bundle {
    domain: TrustDomain,
    anchors: Arc<[TrustAnchor<'static>]>,
    roots: Arc<[CertificateDer<'static>]>,
}

impl Bundle {
    /// Takes the roots of a trust domain.
    pub fn new(domain: TrustDomain, roots: &[CertificateDer<'_>]) -> Result<Self, BundleError> {
        if roots.is_empty() || roots.len() > ROOTS {
            return Err(BundleError::Count(roots.len()));
        }
        let anchor = |(at, root)| match webpki::anchor_from_trusted_cert(root) {
            Ok(anchor) => Ok(anchor.to_owned()),
            Err(_) => Err(BundleError::Root(at)),
        };
        let anchors = roots.iter().enumerate().map(anchor).collect::<Result<_, _>>()?;
        let roots = roots.iter().map(|root| root.clone().into_owned()).collect();
        Ok(Self { domain, anchors, roots })
    }

    /// Whose roots they are.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The roots as they were given.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// Verifies a peer that acts as `role`, and says who it is.
    pub fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<SpiffeId, PeerError> {
        let leaf = leaf::read(certificate)?;
        let peer = leaf.id;
        if *peer.trust_domain() != self.domain {
            let ours = self.domain.clone();
            return Err(PeerError::TrustDomain { peer, ours });
        }
        let refuse = |why: &str| PeerError::Chain {
            peer: peer.clone(),
            why: why.to_owned(),
        };
        if chain.len() > CHAIN {
            return Err(refuse("it is too long"));
        }
        let end = EndEntityCert::try_from(certificate).map_err(|error| refuse(&error.to_string()))?;
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let usage = match role {
            Role::Server => KeyUsage::server_auth(),
            Role::Client => KeyUsage::client_auth(),
        };
        match end.verify_for_usage(algorithms.all, &self.anchors, chain, now, usage, None, None) {
            Ok(_) => Ok(peer),
            Err(webpki::Error::CertExpired { time, not_after }) => Err(PeerError::Expired {
                peer,
                not_after: not_after.as_secs(),
                now: time.as_secs(),
            }),
            Err(webpki::Error::CertNotValidYet { time, not_before }) => Err(PeerError::NotYet {
                peer,
                not_before: not_before.as_secs(),
                now: time.as_secs(),
            }),
            Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey) => {
                let domain = self.domain.clone();
                Err(PeerError::UnknownIssuer { peer, domain })
            }
            Err(error) => Err(refuse(&error.to_string())),
        }
    }
}

/// What the peer is in the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It accepted the connection.
    Server,
    /// It made the connection.
    Client,
}

/// The time of a clock in the type that verification takes.
pub fn unix(now: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO))
}
