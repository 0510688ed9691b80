//! Identities: who a workload is, who vouches for it, and how peers find out.
//!
//! ```text
//! host                                   control
//! HostKey ──request──▶ Tokens::redeem, or the peer of a mutual TLS connection ─▶ Ca::issue(id, request)
//! Identity ◀─────────── certificate, roots ──┘
//!    └─▶ Live ─▶ server_config, client_config: built once, read the present identity at each handshake
//! ```
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use landfall_identity::{Ca, Clients, Expected, HostKey, Identity, Live, SpiffeId, TrustDomain};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let now = SystemTime::now();
//! let domain = TrustDomain::new("mesh.example")?;
//! let ca = Ca::open(&directory.path().join("ca"), domain.clone(), Duration::from_secs(24 * 3600), now)?;
//!
//! let id = SpiffeId::new(&domain, "eureka", "orders")?;
//! let key = HostKey::generate()?;
//! let certificate = ca.issue(&id, &key.request(&id)?, now)?;
//! let live = Live::new(Identity::new(vec![certificate], key.private(), ca.bundle()?, now)?);
//! let server = live.server_config(Clients::Permissive)?;
//! let client = live.client_config(Expected::TrustDomain)?;
//! # Ok(())
//! # }
//! ```
//!
//! Begin with [`id`]; the path leads through [`leaf`], [`verify`], [`live`], [`ca`], [`token`], [`mod@request`] and [`host`].

pub mod ca;
mod files;
pub mod host;
pub mod id;
pub mod leaf;
pub mod live;
pub mod request;
pub mod token;
pub mod verify;

#[cfg(test)]
mod handshakes;

pub use ca::{Ca, CaError};
pub use host::{HostError, Renewal, Store};
pub use id::{IdError, SpiffeId, TrustDomain};
pub use live::{Clients, Expected, Identity, IdentityError, Live};
pub use request::{HostKey, RequestError};
pub use token::{JoinError, Tokens};
pub use verify::{Bundle, BundleError, PeerError, Role};
