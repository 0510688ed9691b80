//! The key-value store: reads with waiting, writes, `cas`, `recurse`, `keys` and `raw`.

use std::collections::BTreeSet;

use axum::{body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Asked, Surface, bytes, json_response, plain, query_headers, refused, text_json};
use crate::facade::consul::{book::Watch, record};

/// Consul's limit of a value.
const MAX_VALUE: usize = 512 << 10;

impl Surface {
    pub(super) async fn kv(&self, key: &str, asked: &Asked<'_>, body: Body) -> Response {
        if let Some(refused) = asked.only(&[Method::GET, Method::PUT, Method::DELETE]) {
            return refused;
        }
        let query = &asked.query;
        let list = query.has("recurse") || query.has("keys");
        if key.is_empty() && !list {
            return plain(StatusCode::BAD_REQUEST, "Missing key name");
        }
        match asked.parts.method {
            Method::PUT => self.kv_put(key, asked, body).await,
            Method::DELETE => match cas(asked) {
                Ok(cas) => {
                    let recurse = query.has("recurse");
                    text_json(
                        self.shared
                            .write(|book, _| book.kv_delete(key, recurse, cas))
                            .to_string(),
                    )
                }
                Err(what) => plain(StatusCode::BAD_REQUEST, what),
            },
            _ => self.kv_get(key, asked).await,
        }
    }

    async fn kv_get(&self, key: &str, asked: &Asked<'_>) -> Response {
        let query = &asked.query;
        let many = query.has("recurse") || query.has("keys");
        let watch = if many { Watch::Keys } else { Watch::Key(key.to_owned()) };
        if let Err(what) = self.wait(query, &watch).await {
            return plain(StatusCode::BAD_REQUEST, what);
        }
        let (index, found, raw) = self.shared.read(|book| {
            let index = book.index_of(&watch);
            if query.has("keys") {
                let names = book.kv_under(key).map(|(name, _)| name.as_str());
                return (
                    index,
                    keys(names, key, query.get("separator").unwrap_or_default()),
                    None,
                );
            }
            if many {
                let rows = book.kv_under(key).map(|(name, value)| row(name, value));
                return (index, rows.collect(), None);
            }
            let one = book.kv_get(key);
            let raw = one.and_then(|value| BASE64.decode(&value.value).ok());
            (index, one.map(|value| row(key, value)).into_iter().collect(), raw)
        });
        if found.is_empty() {
            let mut response = plain(StatusCode::NOT_FOUND, "");
            query_headers(response.headers_mut(), index);
            return response;
        }
        match raw.filter(|_| query.has("raw")) {
            Some(raw) => {
                let mut response = plain(StatusCode::OK, "");
                *response.body_mut() = Body::from(raw);
                query_headers(response.headers_mut(), index);
                response
            }
            None => json_response(&Value::Array(found), Some(index)),
        }
    }

    async fn kv_put(&self, key: &str, asked: &Asked<'_>, body: Body) -> Response {
        let query = &asked.query;
        if query.has("acquire") || query.has("release") {
            return plain(StatusCode::BAD_REQUEST, "sessions and locks are not supported here");
        }
        let flags = match query.get("flags").map(str::parse).transpose() {
            Ok(flags) => flags.unwrap_or(0),
            Err(_) => return plain(StatusCode::BAD_REQUEST, "Invalid flags"),
        };
        let cas = match cas(asked) {
            Ok(cas) => cas,
            Err(what) => return plain(StatusCode::BAD_REQUEST, what),
        };
        let body = match bytes(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        if body.len() > MAX_VALUE {
            return plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "Value for key \"{}\" is too large ({} > {MAX_VALUE} bytes)",
                    key.escape_debug(),
                    body.len()
                ),
            );
        }
        let value = BASE64.encode(&body);
        match self.shared.write(|book, _| book.kv_put(key, value, flags, cas)) {
            Ok(written) => text_json(written.to_string()),
            Err(refusal) => refused(&refusal),
        }
    }
}

fn cas(asked: &Asked<'_>) -> Result<Option<u64>, &'static str> {
    let cas = asked.query.get("cas").map(str::parse).transpose();
    cas.map_err(|_| "Invalid cas")
}

fn row(key: &str, value: &record::Value) -> Value {
    let text = if value.value.is_empty() {
        Value::Null
    } else {
        json!(value.value)
    };
    json!({
        "LockIndex": 0, "Key": key, "Flags": value.flags, "Value": text,
        "CreateIndex": value.created, "ModifyIndex": value.modified,
    })
}

/// Names up to the next separator after the prefix, each once.
fn keys<'a>(names: impl Iterator<Item = &'a str>, prefix: &str, separator: &str) -> Vec<Value> {
    let cut = |name: &'a str| match name.get(prefix.len()..).and_then(|rest| rest.find(separator)) {
        Some(at) if !separator.is_empty() => &name[..prefix.len() + at + separator.len()],
        _ => name,
    };
    let names: BTreeSet<&str> = names.map(cut).collect();
    names.into_iter().map(|name| json!(name)).collect()
}
