//! Landfall answering a registry's protocol.
//!
//! ```text
//!                     ┌ instead: the embedded registry (crate::embedded), its books filled by clients
//! clients ─▶ surface ─┤
//!                     └ in front: a Facade document, its books filled from the World, writes passed on
//! ```
//!
//! | part | of it |
//! |---|---|
//! | `serve` | the listening side, with bounds |
//! | [`shared`] | a book with a clock and a bell |
//! | [`consul`] | Consul's HTTP API (Eureka's is in [`crate::eureka`]) |
//! | [`nacos`] | Nacos' naming half, HTTP and gRPC |
//! | [`writes`] | where writes go that are not kept here |
//! | `project` | any registry's instance as a record of these protocols |
//! | `view` | what of the World is shown |
//! | `front` | one Facade document at work |
//! | [`traffic`] | who asks for what, for the admin pages |
//! | [`mounted`] | all of them, by address and path |
//!
//! Next on the path: [`crate::embedded`], or [`mounted`].

pub mod consul;
mod front;
pub(crate) mod gzip;
pub mod mounted;
pub mod nacos;
pub(crate) mod project;
pub(crate) mod serve;
pub mod shared;
pub mod traffic;
mod view;
pub mod writes;

pub use mounted::Facades;
