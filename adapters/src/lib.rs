//! Registries: one adapter each that follows it, one supervisor for all of them, one hub where they meet.
//!
//! ```text
//! registry ──▶ Registry::follow ──▶ supervisor ──▶ hub ──▶ World
//!              talks, converts      retry, backoff  merges, guards, keeps the last good view
//! ```
//!
//! [`registry`] is the contract. Each adapter is a module: `eureka`, `consul`, `zookeeper`, `file`.

pub mod registry;
