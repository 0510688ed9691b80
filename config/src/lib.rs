//! The one configuration model: documents in the Gateway API's vocabulary, checked, as [`Rules`](landfall_model::Rules).
//!
//! ```text
//! path ─▶ source ─▶ yaml ─▶ document (kind, shape) ─▶ rules (checks over documents) ─▶ Config
//!         bytes     nodes   problems with places      names, listeners, routes          │
//!                                                                     follow ◀──────────┘ live, refused whole
//! ```
//!
//! [`load`](load()) reads once and reports every problem; [`follow`](follow()) keeps reading. [`kinds`] are the
//! documents, [`schema`](schema()) describes them to editors.
//!
//! Scalar values may hold `${NAME}` or `${NAME:-default}`, filled in from the environment; `$${` stands for `${`.

pub mod duration;
pub mod follow;
pub mod kinds;
pub mod load;
pub mod problem;
pub mod schema;
pub mod secret;
pub mod services;
pub mod source;

mod document;
mod rules;
mod shape;
mod yaml;

pub use follow::{ConfigFollower, ConfigState, Refused, follow};
pub use load::{Config, FacadeConfig, RegistryConfig, SyncConfig, load};
pub use problem::{LoadError, Problem, Problems};
pub use schema::schema;
pub use services::{parse_services, read_services};
