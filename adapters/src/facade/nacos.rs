//! Nacos' naming half, answered by ourselves: gRPC as clients since 2.0 speak it, and HTTP v1 and v2.
//!
//! ```text
//! clients ──gRPC, port + 1000──▶ link ─▶ questions ─┬▶ book ◀── mirror: what other registries have
//!                                │  ◀── pushes ◀────┤
//!                                └▶ upstream ──────▶│ (writes that belong to a real Nacos)
//! clients ──HTTP v1, v2────────▶ surface ───────────┘
//! ```
//!
//! [`record`] is one instance, [`book`] the registry's rules, `link` one gRPC connection with all that hangs on it, [`pushes`] what
//! subscribers have been told, `questions` the meaning of each request, [`surface`] paths and status codes of HTTP.
//!
//! # As in Nacos
//!
//! What is registered on a connection ends with it. Whoever is silent for 20 s is asked whether it lives, and dropped 5 s later.
//! Over HTTP a beat is due every 5 s: without one an instance is unhealthy after 15 s and gone after 30 s, or as its metadata say.
//! A connection has one registration for each service: a second one replaces the first.
//!
//! # Other than in Nacos
//!
//! - Persistent instances are refused: nobody here would check their health.
//! - The configuration half is not there: each of its questions is answered with an error at once.
//! - A push comes 50 ms after a change, not 500.
//! - After a restart every registration stands until its client is back, for its `ipDeleteTimeout` at most.
//!
//! Next on the path: [`record`].

pub mod book;
pub mod grpc;
pub mod pushes;
pub mod record;
pub mod surface;

mod link;
mod mirror;
mod questions;
mod upstream;

pub(crate) use mirror::Mirrors;
pub(crate) use upstream::Upstreams;

#[cfg(test)]
mod tests;
