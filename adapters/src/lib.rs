//! Registries: one adapter each that follows it, one supervisor for all of them, one hub where they meet.
//!
//! ```text
//! registry ──▶ Registry::follow ──▶ supervisor ──▶ hub ──▶ World
//!              talks, converts      retry, backoff  merges, guards, keeps the last good view
//! ```
//!
//! [`registry`] is the contract. Each adapter is a module: `eureka`, `consul`, `zookeeper`, `nacos`, `file`,
//! `static_`, `embedded`; [`connect`](mod@connect) makes one from its configuration, [`supervisor`] runs it,
//! [`definitions`] has what methods of Dubbo's services take and give, [`hub`] believes it within reason ([`hub::ledger`], [`brake`]), [`store`] keeps the last good view on disk. [`publish`] is the way back: writing
//! records into a registry; [`sync`] decides what is written. [`facade`] is Landfall answering a registry's protocol itself.

pub mod brake;
pub mod connect;
pub mod consul;
pub mod definitions;
pub mod election;
pub mod embedded;
pub mod eureka;
pub mod facade;
pub mod file;
pub mod hub;
pub mod nacos;
pub mod publish;
pub mod registry;
pub mod static_;
pub mod store;
pub mod supervisor;
pub mod sync;
pub mod zookeeper;

pub use registry::{ConnectError, Knowledge, Registry, RegistryError, Reports};
