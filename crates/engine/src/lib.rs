//! The data path: takes snapshots, carries calls. The only crate that knows pingora.
//!
//! ```text
//! Snapshot ─▶ Runtime (compiled, immutable, behind one ArcSwap) ◀───────────────┐ one Arc per call
//!    └──────▶ ports: sockets that come and go                                   │
//! client ──▶ [listen] accept · TLS · sniff · strict reading ─▶ [http] pingora ──┴─▶ route ─▶ filter ─▶ cluster ─▶ endpoint
//! ```
//!
//! Two halves. [`call`], [`route`], [`filter`], [`cluster`], [`balance`], [`runtime`], [`metrics`] know nothing of
//! pingora or of any HTTP library's connections: they see a [`call::Call`]. `listen` and `http` bring HTTP to them,
//! `listen` and `dubbo` bring Dubbo2. Read [`Engine::start`] first, then `listen`, then `http` or `dubbo`.

pub mod access_log;
mod authorize;
pub mod balance;
pub mod call;
pub mod cluster;
mod dubbo;
mod engine;
pub mod explain;
pub mod filter;
mod http;
mod listen;
mod mesh;
pub mod metrics;
pub mod moment;
pub mod route;
pub mod runtime;
mod transcode;

pub use dubbo::DubboOptions;
pub use engine::{Engine, EngineError, EngineOptions};
pub use listen::{accept::ClientLimits, ports::ListenerState, tls::CertificateError};
pub use mesh::{Mesh, NameOf, Own, OwnError};
#[cfg(test)]
mod fixture;
