//! The wire formats of the Dubbo world, without any input or output: bytes in, values out, and back.
//!
//! ```text
//!   connection ──▶ dubbo2::Decoder ──▶ Frame ──▶ Request | Response ──▶ hessian2::Skipper   where the arguments end
//!                  16 bytes, length               path, method, types,   hessian2::Decoder   what is in them
//!                                                 attachments                   ▲
//!   HTTP/2 body ─▶ triple::Decoder ──▶ Message ─▶ RequestWrapper ───────────────┘
//!   connection ──▶ motan2::Decoder ──▶ Frame      interface, method, group in front
//! ```
//!
//! Everything here is a pure function of bytes: nothing waits, nothing panics on any input, and no length is believed before
//! the bytes are there. What the caller does about an error is told by its variant.
//!
//! First on the path: [`dubbo2`], then [`hessian2`]; [`triple`] and [`motan2`] stand beside. [`mapping`] is for callers who speak JSON.

pub mod dubbo2;
pub mod hessian2;
pub mod mapping;
pub mod motan2;
mod text;
pub mod triple;

pub use text::Text;
