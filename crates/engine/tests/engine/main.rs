//! The engine from outside, in one process: real sockets, real servers behind it, hand-made snapshots.
//!
//! `world` builds snapshots and servers; every other file is about one subject.

mod authorization;
mod basics;
mod dubbo;
mod dubbo_peer;
mod filters;
mod held;
mod http2;
mod live;
mod mutual_tls;
mod retries;
mod slow;
mod smuggling;
mod streams;
mod world;
