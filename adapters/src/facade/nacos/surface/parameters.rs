//! What a request brings along: its query and its form, which are one to Nacos.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use axum::{body::Body, response::Response};
use http::{StatusCode, header::CONTENT_TYPE, request::Parts};
use serde_json::Value;

use super::Fault;
use crate::facade::{consul::surface::plain, nacos::record};

/// The largest form that is read.
const MAX_BODY: usize = 1 << 20;
/// How long a client may take to send one.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Names and values, decoded; the query's come first.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads them; the answer if that is not possible.
    pub(super) async fn read(parts: &Parts, body: Body) -> Result<Self, Response> {
        let query = parts.uri.query().unwrap_or_default();
        let mut pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let body = match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                return Err(plain(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("a request has at most {MAX_BODY} bytes"),
                ));
            }
            Err(_) => return Err(plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
        };
        let kind = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        // Some clients send their parameters in the query and a body of another type that means nothing.
        if kind.is_empty()
            || kind
                .to_ascii_lowercase()
                .starts_with("application/x-www-form-urlencoded")
        {
            pairs.extend(url::form_urlencoded::parse(&body).into_owned());
        }
        Ok(Self(pairs))
    }

    /// A value; empty if it is not given.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// A value that must be given.
    pub(super) fn need(&self, name: &str) -> Result<&str, Fault> {
        match self.get(name) {
            "" => Err(Fault::parameter(format!("Param '{name}' is required."))),
            value => Ok(value),
        }
    }

    /// A value that is read, if it is given.
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Fault> {
        match self.get(name) {
            "" | "null" | "None" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                let text: String = text.chars().take(40).collect();
                Fault::parameter(format!("Param '{name}' is no number: \"{}\"", text.escape_debug()))
            }),
        }
    }

    /// A whole number, if it is given.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Fault> {
        self.parsed(name)
    }

    /// Yes or no, in any of the words that Java's Spring and Python's clients write.
    pub(super) fn flag(&self, name: &str, usual: bool) -> bool {
        match self.get(name).to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => usual,
        }
    }

    /// Metadata: JSON, or `a=b,c=d`.
    pub(super) fn metadata(&self) -> Result<Option<BTreeMap<String, String>>, Fault> {
        let text = self.get("metadata");
        if text.is_empty() || text == "null" || text == "None" {
            return Ok(None);
        }
        if text.starts_with('{') {
            let stated: BTreeMap<String, Value> = serde_json::from_str(text)
                .map_err(|error| Fault::parameter(format!("Param 'metadata' cannot be read: {error}")))?;
            return Ok(Some(record::metadata(stated)?));
        }
        let pairs = text.split(',').map(|pair| {
            let pair = pair.split_once('=');
            pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
                .ok_or_else(|| Fault::parameter("metadata format incorrect: write a JSON object, or `a=b,c=d`"))
        });
        pairs.collect::<Result<_, _>>().map(Some)
    }
}
