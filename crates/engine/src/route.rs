//! Routes: which rule takes a call.
//!
//! ```text
//! listener's table ─▶ host, most specific first ─▶ exact path ─▶ regex ─▶ longer prefix ─▶ conditions ─▶ Rule
//!                     [hosts]                      [table]                                 [condition]   [rule]
//! ```
//!
//! The order is the Gateway API's precedence (HTTPRouteRule, `matches`); [`table`] keeps it total.
//! Next on the path: [`filter`](crate::filter) changes the request, [`rule`] picks the backend.

pub mod condition;
pub mod dubbo;
pub mod hosts;
pub mod query;
pub mod regexes;
pub mod rule;
pub mod table;

pub use rule::{BackendSlot, Rule, Where};
pub use table::RouteTable;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod differential;
