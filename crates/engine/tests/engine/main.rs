//! The engine from outside, in one process: real sockets, real servers behind it, hand-made snapshots.
//!
//! `world` builds snapshots and servers; every other file is about one subject.

mod basics;
mod world;
