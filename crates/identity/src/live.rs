//! The present certificate and bundle, read anew at every handshake.
//!
//! ```text
//! renewal ──▶ Live::replace ──▶ one atomic pointer ◀── resolver, verifier ◀── handshake
//! ```
//!
//! A rustls configuration is built once and stays; a rotation swaps the pointer and touches no connection. Tickets are off: a
//! resumed session would skip the look at a rotated bundle. Next on the path: [`ca`](crate::ca) issues what is put in here.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureScheme,
};

use crate::id::SpiffeId;
use crate::leaf::{self, LeafError};
use crate::verify::{Bundle, PeerError, Role};

/// Why a certificate, a key and a bundle do not make an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is no certificate.
    #[error("there is no certificate; the file may be empty")]
    Empty,
    /// The certificate is no SVID.
    #[error("the certificate is refused: {0}")]
    Leaf(#[from] LeafError),
    /// The key cannot be used, or is another certificate's.
    #[error("the key does not fit the certificate: the files may be mixed up or cut")]
    Key,
    /// The certificate does not lead to the bundle.
    #[error("the certificate does not fit the bundle: {0}")]
    Bundle(#[from] PeerError),
}

/// One identity with all it needs: checked to belong together.
pub struct Identity {
    id: SpiffeId,
    not_before: SystemTime,
    not_after: SystemTime,
    key: Arc<CertifiedKey>,
    private: PrivateKeyDer<'static>,
    bundle: Bundle,
}

impl Identity {
    /// Joins a chain (leaf first), its key and the bundle, if they belong together and are valid `now`.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        private: PrivateKeyDer<'static>,
        bundle: Bundle,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        let (first, rest) = chain.split_first().ok_or(IdentityError::Empty)?;
        let leaf = leaf::read(first)?;
        bundle.verify(first, rest, Role::Server, crate::verify::unix(now))?;
        let signer = rustls::crypto::ring::sign::any_supported_type(&private).map_err(|_| IdentityError::Key)?;
        let key = CertifiedKey::new(chain, signer);
        key.keys_match().map_err(|_| IdentityError::Key)?;
        Ok(Self {
            id: leaf.id,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            key: Arc::new(key),
            private,
            bundle,
        })
    }

    /// The name.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Valid from.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// Valid until.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }

    /// The key, for another who makes TLS of it.
    pub fn private(&self) -> &PrivateKeyDer<'static> {
        &self.private
    }

    /// The roots that peers are verified with.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Which servers a client is ready to talk to.
#[derive(Debug, Clone)]
pub enum Expected {
    /// Anyone of our trust domain; the caller looks at the name afterwards.
    TrustDomain,
    /// One of these.
    OneOf(Arc<[SpiffeId]>),
}

/// What a server does about clients without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// A client without a certificate is let in, nameless; one with a bad certificate is not.
    Permissive,
    /// Every client shows a certificate.
    Strict,
}

/// The present identity. Clones share it.
#[derive(Clone)]
pub struct Live(Arc<ArcSwap<Identity>>);

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&self.present()).finish()
    }
}

impl Live {
    /// Starts with an identity.
    pub fn new(identity: Identity) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(identity)))
    }

    /// What handshakes use now.
    pub fn present(&self) -> Arc<Identity> {
        self.0.load_full()
    }

    /// From here on handshakes use this one. Connections that stand are not touched.
    pub fn replace(&self, identity: Identity) {
        self.0.store(Arc::new(identity));
    }

    /// A server's configuration that follows every [`Live::replace`].
    pub fn server_config(&self, clients: Clients) -> Result<ServerConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let peers = Arc::new(Peers {
            live: self.clone(),
            expected: Expected::TrustDomain,
            clients,
            provider: provider.clone(),
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(peers)
            .with_cert_resolver(Arc::new(Own(self.clone())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// A client's configuration that follows every [`Live::replace`].
    pub fn client_config(&self, expected: Expected) -> Result<ClientConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let peers = Arc::new(Peers {
            live: self.clone(),
            expected,
            clients: Clients::Strict,
            provider: provider.clone(),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(peers)
            .with_client_cert_resolver(Arc::new(Own(self.clone())));
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// Shows our own certificate, on both sides.
#[derive(Debug)]
struct Own(Live);

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.0.load().key.clone())
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.0.load().key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Verifies the other side.
#[derive(Debug)]
struct Peers {
    live: Live,
    expected: Expected,
    clients: Clients,
    provider: Arc<CryptoProvider>,
}

impl Peers {
    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<(), Error> {
        let refuse = |error: PeerError| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))));
        let present = self.live.0.load();
        let peer = present.bundle.verify(certificate, chain, role, now).map_err(refuse)?;
        match &self.expected {
            Expected::OneOf(names) if !names.contains(&peer) => Err(refuse(PeerError::Unexpected { peer })),
            _ => Ok(()),
        }
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    /// Both sides offer TLS 1.3 alone, so rustls never comes here.
    fn old() -> Error {
        Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered)
    }
}

impl ServerCertVerifier for Peers {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(certificate, chain, Role::Server, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Peers {
    fn client_auth_mandatory(&self) -> bool {
        self.clients == Clients::Strict
    }

    /// None: the list of roots would name them to everyone who asks.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(certificate, chain, Role::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Self::old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
