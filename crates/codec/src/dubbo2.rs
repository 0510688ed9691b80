//! Dubbo's own protocol: frames on one long-lived connection, many calls at once, answers in any order.
//!
//! ```text
//!   consumer                                                   provider
//!      │── request, two-way, id 7 ──────────────────────────────▶│   da bb c2 00 …07 length │ Request
//!      │── request, one-way, id 8 ──────────────────────────────▶│   da bb 82
//!      │◀────────────────────────────── response, id 7, status 20│   da bb 02 14 …07 length │ Response
//!      │── request, event (heartbeat) ──────────────────────────▶│   da bb e2 … 4e
//!      │◀─────────────────────── request, event, one-way: "R"    │   takes no new calls: it is about to leave
//! ```
//!
//! There is no handshake, no flow control and no cancelling. Ids are unique in the process that makes the request only.
//!
//! First on the path: [`Decoder`] cuts the stream into [`Frame`]s; [`Event::of`] tells events from calls; [`Request::read`] and
//! [`Response::read`] open bodies; [`reply`] makes the frames that we answer with ourselves.

mod attachments;
mod body;
pub mod descriptor;
mod frame;
mod header;
pub mod reply;
mod request;
mod response;
mod serialization;

#[cfg(test)]
mod tests;

pub use attachments::{Attachment, Attachments};
pub use body::BodyError;
pub use frame::{DEFAULT_PAYLOAD, Decoded, Decoder, Frame, NotDubbo};
pub use header::{HEADER, Header, Kind, MAGIC, Status, rewrite_id};
pub use reply::Event;
pub use request::{Changes, GENERIC_TYPES, Identity, NewRequest, Request};
pub use response::{Outcome, Response, encode_response, knows_attachments};
pub use serialization::{Readable, Serialization};
