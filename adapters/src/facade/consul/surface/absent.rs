//! What a Consul agent has and this one has not: each is answered so that a client sees what is the matter.
//!
//! | | read | written |
//! |---|---|---|
//! | sessions | there are none: `[]` | 501 to create one; to renew one 404, as one that is over |
//! | transactions | | 501 |
//! | events | there are none: `[]`, after the wait | 501 |
//! | prepared queries | there are none: `[]` | 501 |
//! | ACLs | 401 `ACL support disabled`, as an agent without them | the same |
//! | everything else | 404 | 404 |

use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::json;

use super::{Asked, Surface, Watch, plain, text_json};

impl Surface {
    pub(super) async fn absent(&self, path: &[&str], asked: &Asked<'_>) -> Response {
        let reads = matches!(asked.parts.method, Method::GET | Method::HEAD);
        let without = |what: &str| {
            let text = format!("{what} are not supported by this registry, which is Landfall and no Consul agent");
            plain(StatusCode::NOT_IMPLEMENTED, text)
        };
        match (path, reads) {
            (["session", "list"] | ["session", "info" | "node", _], true) => {
                self.read(asked, Watch::Nothing, |_| json!([])).await
            }
            (["session", "renew", id], false) => plain(
                StatusCode::NOT_FOUND,
                format!("Session id \"{}\" not found", id.escape_debug()),
            ),
            // As Consul: one that is not there is as good as destroyed.
            (["session", "destroy", _], false) => text_json("true".to_owned()),
            (["session", ..], false) => without("sessions and locks"),
            (["txn"], false) => without("transactions"),
            (["event", "list"], true) => self.read(asked, Watch::Nothing, |_| json!([])).await,
            (["event", ..], false) => without("events"),
            (["query"], true) => self.read(asked, Watch::Nothing, |_| json!([])).await,
            (["query", ..], _) => without("prepared queries"),
            (["acl", ..], _) => plain(StatusCode::UNAUTHORIZED, "ACL support disabled"),
            _ => plain(
                StatusCode::NOT_FOUND,
                "Invalid URL path: not a recognized HTTP API endpoint",
            ),
        }
    }
}
