//! `kind: Certificate`: a certificate chain and its key in files, for listeners to name.
//!
//! ```yaml
//! apiVersion: landfall.dev/v1
//! kind: Certificate
//! metadata: { name: shop }
//! spec: { certificate: "file:tls/shop.crt", key: "file:tls/shop.key" }
//! ```

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretRef;

/// A certificate chain and its key as PEM files, read again when they change.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateSpec {
    /// The chain, leaf first: `file:` and a path, relative to the configuration file.
    pub certificate: SecretRef,
    /// The private key: `file:` and a path, relative to the configuration file.
    pub key: SecretRef,
}
