//! What a host asks with: a key of its own and a request (PKCS#10) signed by it.
//!
//! The reader takes the public key and nothing else; names in a request must be those the asker has already shown to own.
//! Next on the path: [`live`](crate::live), where key and certificate come together.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType, SubjectPublicKeyInfo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::id::SpiffeId;
use crate::leaf::LIMIT;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not a request, cut, or too large.
    #[error("it is no PKCS#10 request of at most 8 KiB")]
    Unreadable,
    /// The sender does not have the key.
    #[error("its signature is not by its own key")]
    Signature,
    /// A kind of key that is not issued for.
    #[error("its key is not ECDSA P-256 or P-384")]
    Key,
    /// It asks for a name that is not the asker's.
    #[error("it asks for `{asked}`, but the asker is {allowed}")]
    Name {
        /// What it asks for, shortened.
        asked: String,
        /// Who asks.
        allowed: SpiffeId,
    },
}

/// Reads a request by `id` and gives its public key.
pub(crate) fn read(der: &[u8], id: &SpiffeId) -> Result<SubjectPublicKeyInfo, RequestError> {
    if der.len() > LIMIT {
        return Err(RequestError::Unreadable);
    }
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestError::Unreadable)?;
    if !rest.is_empty() {
        return Err(RequestError::Unreadable);
    }
    let key = &request.certification_request_info.subject_pki;
    match key.parsed() {
        Ok(PublicKey::EC(point)) if [256, 384].contains(&point.key_size()) => {}
        _ => return Err(RequestError::Key),
    }
    request.verify_signature().map_err(|_| RequestError::Signature)?;
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else {
            continue;
        };
        for name in &names.general_names {
            let asked = match name {
                GeneralName::URI(uri) if *uri == id.to_string() => continue,
                GeneralName::URI(uri) => (*uri).to_owned(),
                other => other.to_string(),
            };
            return Err(RequestError::Name {
                asked: asked.chars().take(200).flat_map(char::escape_default).collect(),
                allowed: id.clone(),
            });
        }
    }
    SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| RequestError::Key)
}

/// The public key in a certificate.
pub(crate) fn public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.public_key().subject_public_key.data.to_vec())
}

/// A new key of a host, and the request for its certificate. The key never leaves the host.
pub struct HostKey {
    pair: KeyPair,
}

impl HostKey {
    /// Makes a key, ECDSA P-256.
    pub fn generate() -> Result<Self, rcgen::Error> {
        Ok(Self {
            pair: KeyPair::generate()?,
        })
    }

    /// The request for a certificate of `id`, in DER.
    pub fn request(&self, id: &SpiffeId) -> Result<Vec<u8>, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.to_string().try_into()?)];
        Ok(params.serialize_request(&self.pair)?.der().to_vec())
    }

    /// The key itself, for [`Identity::new`](crate::live::Identity::new) alone.
    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pair.serialize_der()))
    }
}
