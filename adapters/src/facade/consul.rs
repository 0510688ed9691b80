//! Consul's HTTP API, answered by ourselves.
//!
//! ```text
//! clients ──HTTP──▶ surface ──▶ book ◀── probes (HTTP and TCP checks, ends of TTLs)
//!                   waits for    ▲
//!                   an index     └────── mirror: what other registries have
//! ```
//!
//! [`record`] are its records, [`book`] its rules, `surface` its paths and status codes, `body` what clients send.

pub mod book;
pub mod filter;
pub mod probes;
pub mod record;
pub mod surface;

mod body;
mod time;

/// An error with its causes: reqwest alone only says that there is one.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
