//! What the system tests share: a running `landfall`, things to route to, load, and waiting with a deadline.
//!
//! The tests see the system from outside: the binary, its configuration files, its ports.

pub mod estate;
pub mod faults;
pub mod landfall;
pub mod load;
pub mod natives;
pub mod origin;
pub mod wait;
pub mod zookeeper_faults;

pub use landfall::Landfall;
pub use load::Load;
pub use origin::Origin;
pub use wait::eventually;
