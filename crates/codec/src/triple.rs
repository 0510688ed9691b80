//! Triple: Dubbo's calls as gRPC over HTTP/2. What HTTP carries is elsewhere; here is what is in its body and trailers.
//!
//! ```text
//!   :path /interface/method      body   00 | 00 00 00 24 | message …      trailers   grpc-status: 0
//!   tri-service-version                 │    └ length                                grpc-message: percent-encoded
//!   tri-service-group                   └ 1 if compressed
//!
//!   message of a method that is not protobuf's own:
//!     RequestWrapper  { serializeType = 1, args = 2 (each by itself), argTypes = 3 }
//!     ResponseWrapper { serializeType = 1, data = 2, type = 3 }
//! ```
//!
//! In Dubbo2 the arguments share their tables of references and classes, in the wrapper each argument has its own: a call that
//! goes from one to the other is decoded and encoded again ([`hessian2`](crate::hessian2)), never cut.
//!
//! Next on the path: [`Decoder`] for messages, [`RequestWrapper`] for what is in them, [`Code`] for how it went.

mod message;
mod status;
mod wrapper;

pub use message::{Decoded, Decoder, Message, MessageError};
pub use status::{Code, decode_message, encode_message};
pub use wrapper::{NotAWrapper, RequestWrapper, ResponseWrapper, serialization_of};
