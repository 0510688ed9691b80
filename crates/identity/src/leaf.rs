//! What SPIFFE asks of a leaf certificate beside its chain.
//!
//! Exactly one URI SAN, no CA, a critical key usage with digitalSignature alone of the signing kinds, and an extended key usage
//! that, if there is one, has both directions. Next on the path: [`verify`](crate::verify) adds the chain.

use std::time::{Duration, SystemTime};

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::id::{IdError, SpiffeId};

/// The largest certificate or request that is looked at.
pub(crate) const LIMIT: usize = 8 * 1024;

/// Why a certificate is no SVID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not a certificate at all, or cut.
    #[error("it is no X.509 certificate of at most 8 KiB; the file or the message may be cut")]
    Unreadable,
    /// Names are missing or too many.
    #[error("it has {0} URI names, an identity is exactly one")]
    Names(usize),
    /// The one name is none of ours.
    #[error("its name is refused: {0}")]
    Id(#[from] IdError),
    /// Its usage is that of another kind of certificate.
    #[error("it {0}")]
    Usage(&'static str),
}

/// What a leaf says of itself. Nobody has vouched for it yet.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its name.
    pub id: SpiffeId,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
}

/// Reads a leaf certificate in DER.
pub fn read(der: &[u8]) -> Result<Leaf, LeafError> {
    if der.len() > LIMIT {
        return Err(LeafError::Unreadable);
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| LeafError::Unreadable)?;
    if !rest.is_empty() {
        return Err(LeafError::Unreadable);
    }
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| LeafError::Unreadable)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris[..] else {
        return Err(LeafError::Names(uris.len()));
    };
    let id = SpiffeId::parse(uri)?;
    usage(&certificate)?;
    Ok(Leaf {
        id,
        not_before: at(certificate.validity().not_before.timestamp()),
        not_after: at(certificate.validity().not_after.timestamp()),
    })
}

fn usage(certificate: &X509Certificate<'_>) -> Result<(), LeafError> {
    if certificate.is_ca() {
        return Err(LeafError::Usage("is a CA's certificate, which identifies nobody"));
    }
    let usage = certificate.key_usage().map_err(|_| LeafError::Unreadable)?;
    let Some(usage) = usage.filter(|usage| usage.critical && usage.value.digital_signature()) else {
        return Err(LeafError::Usage("lacks the critical key usage digitalSignature"));
    };
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(LeafError::Usage(
            "may sign certificates or lists, which an identity may not",
        ));
    }
    let extended = certificate.extended_key_usage().map_err(|_| LeafError::Unreadable)?;
    if extended.is_some_and(|extended| !(extended.value.server_auth && extended.value.client_auth)) {
        return Err(LeafError::Usage(
            "is for one direction alone; an identity is for servers and clients",
        ));
    }
    Ok(())
}

fn at(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_that_are_no_certificate_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(super::read(&bytes).is_err());
        }
    }
}
