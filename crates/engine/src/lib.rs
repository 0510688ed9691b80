//!
pub mod balance;
pub mod call;
pub mod cluster;
pub mod filter;
pub mod metrics;
pub mod moment;
pub mod route;
pub mod runtime;
