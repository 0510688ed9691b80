//! The agent's endpoints: what clients register here, and what they ask about it.

use axum::{body::Body, response::Response};
use http::{Method, StatusCode};
use serde_json::json;

use super::{Asked, Book, Surface, body, bytes, done, json_response, not_found, plain};
use crate::facade::consul::record::Health;

impl Surface {
    pub(super) async fn agent(&self, path: &[&str], asked: &Asked<'_>, body: Body) -> Response {
        let reads = matches!(
            path,
            ["self" | "members" | "services" | "checks" | "host" | "metrics"] | ["service", _] | ["health", ..]
        ) && !matches!(path, ["service", "register"]);
        let method = if reads { Method::GET } else { Method::PUT };
        if let Some(refused) = asked.only(&[method]) {
            return refused;
        }
        if reads {
            return self.agent_read(path, asked);
        }
        let body = match bytes(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        self.agent_write(path, asked, &body)
    }

    fn agent_read(&self, path: &[&str], asked: &Asked<'_>) -> Response {
        let shown = |body: Option<serde_json::Value>, id: &str| match body {
            Some(body) => json_response(&body, None),
            None => plain(StatusCode::NOT_FOUND, format!("unknown service ID: {id}")),
        };
        match *path {
            ["self"] => json_response(&self.agent_self(), None),
            ["members"] => json_response(&json!([self.member()]), None),
            ["services"] => json_response(&asked.rows(self.shared.read(Book::agent_services)), None),
            ["checks"] => json_response(&asked.rows(self.shared.read(Book::agent_checks)), None),
            ["service", id] => shown(self.shared.read(|book| book.agent_service(id)), id),
            ["health", "service", "id", id] => match self.shared.read(|book| book.agent_health(id)) {
                Some((worst, maintained, body)) => {
                    let mut response = json_response(&body, None);
                    *response.status_mut() = health_status(worst, maintained);
                    response
                }
                None => plain(StatusCode::NOT_FOUND, format!("ServiceId {id} not found")),
            },
            ["health", "service", "name", name] => {
                let found = self.shared.read(|book| {
                    let ids = book.own_ids(name);
                    ids.iter().filter_map(|id| book.agent_health(id)).collect::<Vec<_>>()
                });
                let Some(status) = found
                    .iter()
                    .map(|(worst, maintained, _)| health_status(*worst, *maintained))
                    .max()
                else {
                    let mut response = json_response(&json!([]), None);
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    return response;
                };
                let bodies: Vec<_> = found.into_iter().map(|(.., body)| body).collect();
                let mut response = json_response(&json!(bodies), None);
                *response.status_mut() = status;
                response
            }
            _ => not_found(),
        }
    }

    fn agent_write(&self, path: &[&str], asked: &Asked<'_>, body: &[u8]) -> Response {
        let (shared, query) = (&self.shared, &asked.query);
        let invalid = |what: String| plain(StatusCode::BAD_REQUEST, what);
        let note = || query.get("note").unwrap_or_default().to_owned();
        match *path {
            ["service", "register"] => match body::registration(body) {
                Ok((service, checks)) => {
                    let replace = query.flag("replace-existing-checks").unwrap_or(true);
                    done(
                        shared.write(|book, now| book.register(service, checks, replace, now)),
                        "",
                    )
                }
                Err(what) => invalid(what),
            },
            ["service", "deregister", id] => done(shared.write(|book, _| book.deregister(id)), ""),
            ["service", "maintenance", id] => match maintenance(query) {
                Ok((on, reason)) => done(shared.write(|book, now| book.maintain(id, on, &reason, now)), ""),
                Err(what) => invalid(what),
            },
            ["maintenance"] => match maintenance(query) {
                Ok((on, reason)) => {
                    shared.write(|book, now| book.maintain_node(on, &reason, now));
                    done(Ok(()), "")
                }
                Err(what) => invalid(what),
            },
            ["check", "register"] => match body::check_registration(body) {
                Ok(check) => done(shared.write(|book, now| book.register_check(check, now)), ""),
                Err(what) => invalid(what),
            },
            ["check", "deregister", id] => done(shared.write(|book, _| book.deregister_check(id)), ""),
            ["check", word @ ("pass" | "warn" | "fail"), id] => {
                let status = match word {
                    "pass" => Health::Passing,
                    "warn" => Health::Warning,
                    _ => Health::Critical,
                };
                done(
                    shared.write(|book, now| book.update_check(id, status, &note(), now)),
                    "",
                )
            }
            ["check", "update", id] => match body::check_update(body) {
                Ok((status, output)) => done(
                    shared.write(|book, now| book.update_check(id, status, &output, now)),
                    "",
                ),
                Err(what) => invalid(what),
            },
            _ => not_found(),
        }
    }

    fn agent_self(&self) -> serde_json::Value {
        let identity = &self.identity;
        json!({
            "Config": {
                "Datacenter": identity.datacenter, "PrimaryDatacenter": identity.datacenter,
                "NodeName": identity.node, "NodeID": identity.id, "Revision": "landfall",
                "Server": true, "Version": VERSION, "BuildDate": "1970-01-01T00:00:00Z",
            },
            "DebugConfig": {},
            "Coord": null,
            "Member": self.member(),
            "Stats": { "agent": { "check_monitors": "0" }, "consul": { "server": "true", "leader": "true" } },
            "Meta": { "consul-network-segment": "" },
        })
    }

    fn member(&self) -> serde_json::Value {
        let identity = &self.identity;
        json!({
            "Name": identity.node, "Addr": identity.address, "Port": 8301,
            "Tags": { "dc": identity.datacenter, "id": identity.id, "role": "consul", "build": format!("{VERSION}:landfall") },
            "Status": 1, "ProtocolMin": 1, "ProtocolMax": 5, "ProtocolCur": 2,
            "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
        })
    }
}

/// The Consul whose answers these are; some clients look at it.
const VERSION: &str = "1.14.4";

/// As load balancers read it (agent/agent_endpoint.go).
fn health_status(worst: Health, maintained: bool) -> StatusCode {
    match worst {
        _ if maintained => StatusCode::SERVICE_UNAVAILABLE,
        Health::Passing => StatusCode::OK,
        Health::Warning => StatusCode::TOO_MANY_REQUESTS,
        Health::Critical => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn maintenance(query: &super::Query) -> Result<(bool, String), String> {
    if !query.has("enable") {
        return Err("Missing value for enable".to_owned());
    }
    let on = query.flag("enable");
    let on = on.map_err(|()| {
        format!(
            "Invalid value for enable: \"{}\"",
            query.get("enable").unwrap_or_default()
        )
    })?;
    Ok((on, query.get("reason").unwrap_or_default().to_owned()))
}
