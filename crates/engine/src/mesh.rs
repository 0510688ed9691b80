//! The identity that this process has in the mesh, as TLS needs it on both sides of a call.
//!
//! ```text
//!  caller ─ TLS, its certificate ─▶ listener with mutual_tls ─[name_of]─▶ who calls ─▶ AuthorizationPolicy, access log
//!  call ─▶ endpoint with a sidecar ─ TLS, our certificate ─▶ who answers there has to be the one that is named
//! ```
//!
//! Where identities come from, and what makes a certificate one, is the affair of who starts the engine: it gives the
//! configuration for those who come in, which may follow rotations by itself, and puts in our own anew when it changes.
//! Next on the path: [`listen`](crate::listen) inwards, `http/peer.rs` outwards.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use arc_swap::ArcSwap;
use pingora_core::{
    protocols::tls::CaType,
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Tells whom a verified certificate names; `None` if nobody.
pub type NameOf = fn(&CertificateDer<'_>) -> Option<Arc<str>>;

/// What TLS within the mesh is made of.
pub struct Mesh {
    server: Arc<ServerConfig>,
    name_of: NameOf,
    own: ArcSwap<Own>,
}

/// Our certificate, its key, and whom we believe.
pub struct Own {
    pub(crate) pair: Arc<CertKey>,
    pub(crate) roots: Arc<CaType>,
    /// Of all of it: a connection made as somebody else, or believing others, is not used.
    pub(crate) epoch: u64,
}

/// Why an identity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnError {
    /// No certificate, or no root.
    #[error("the identity has no {0}")]
    Missing(&'static str),
    /// A certificate that is none.
    #[error("the identity's {0} cannot be read")]
    Unreadable(&'static str),
}

impl Own {
    /// Of a chain, leaf first, its key, and the roots that peers are verified by.
    ///
    /// # Errors
    /// A list is empty, or a certificate or the key cannot be read.
    pub fn new(
        chain: &[CertificateDer<'_>],
        key: &PrivateKeyDer<'_>,
        roots: &[CertificateDer<'_>],
    ) -> Result<Self, OwnError> {
        // pingora panics on what it cannot read: everything is looked at before.
        readable(chain, "certificate")?;
        readable(roots, "roots")?;
        if rustls::crypto::ring::sign::any_supported_type(key).is_err() {
            return Err(OwnError::Unreadable("key"));
        }
        let mut hasher = DefaultHasher::new();
        (chain, roots).hash(&mut hasher);
        let wrapped: Box<[WrappedX509]> = roots
            .iter()
            .map(|root| WrappedX509::new(root.to_vec(), parse_x509))
            .collect();
        let chain = chain.iter().map(|certificate| certificate.to_vec()).collect();
        Ok(Self {
            pair: Arc::new(CertKey::new(chain, key.secret_der().to_vec())),
            roots: Arc::from(wrapped),
            epoch: hasher.finish(),
        })
    }
}

fn readable(certificates: &[CertificateDer<'_>], what: &'static str) -> Result<(), OwnError> {
    if certificates.is_empty() {
        return Err(OwnError::Missing(what));
    }
    let mut store = rustls::RootCertStore::empty();
    for certificate in certificates {
        store
            .add(certificate.clone().into_owned())
            .map_err(|_| OwnError::Unreadable(what))?;
    }
    Ok(())
}

impl Mesh {
    /// `server` is for listeners whose clients may show a certificate and need not; what it has verified, `name_of` names.
    pub fn new(mut server: ServerConfig, name_of: NameOf, own: Own) -> Self {
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            server: Arc::new(server),
            name_of,
            own: ArcSwap::from_pointee(own),
        }
    }

    /// From here on calls go out as this one. What stands is used no more, and ends with its last call.
    pub fn replace(&self, own: Own) {
        self.own.store(Arc::new(own));
    }

    pub(crate) fn own(&self) -> Arc<Own> {
        self.own.load_full()
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    pub(crate) fn name_of(&self, certificates: Option<&[CertificateDer<'_>]>) -> Option<Arc<str>> {
        (self.name_of)(certificates?.first()?)
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("own", &self.own()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Own {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
