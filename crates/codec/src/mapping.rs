//! JSON to Dubbo and back: what an HTTP request means as a call of a Java method, and what its result is in JSON.
//!
//! ```text
//!  metadata ──▶ Service ─────────────┐   methods, classes, types; or declared by hand
//!                                    ▼
//!  path, query, body ──▶ Json ──▶ Service::call ──▶ Call ──▶ dubbo2::NewRequest ──▶ provider
//!                                    │ ArgumentError                                   │
//!                                    ▼                                                 ▼
//!  HTTP status, JSON ◀── Problem ◀───┴──── of_status, of_exception ◀──────── dubbo2::Response
//!                    ◀── result  ◀──────────────────────────────────────────────┘ value
//! ```
//!
//! Nothing is lost on the way: numbers stay text until their type is known, and what JSON has no form for has a stated one
//! (docs/dubbo-json.md has the table; its rows are tested). No request names a class to Java that the service's own definition does not
//! have, and all that is read or written has limits.
//!
//! First on the path: [`Service`], which knows what can be called; then [`Service::call`]; on the way back [`result`] and [`Problem`].
//! [`openapi`] tells all of it to callers. The other way, a Dubbo consumer that calls a service of HTTP, begins at [`Service::receive`].

mod call;
mod definition;
mod fit;
mod json;
mod known;
mod number;
pub mod openapi;
pub mod problem;
mod receive;
mod result;
mod time;
mod types;

#[cfg(test)]
mod tests;

pub use call::{ArgumentError, Call, Input, generic_call};
pub use definition::{Class, Classes, DefinitionError, Method, Parameter, Service, Shape};
pub use fit::{Misfit, Options};
pub use json::{Json, JsonLimits, NotJson};
pub use problem::{ExceptionStatuses, Problem};
pub use receive::{AnswerError, Argument, NotText, ReceiveError, Received};
pub use result::{ResultError, ResultOptions, json_of, result};
pub use types::{Known, NotAType, Scalar, Type};
