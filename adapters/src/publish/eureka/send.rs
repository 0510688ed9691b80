//! One operation at Eureka's servers: who is asked, and what the answer means for the caller.
//!
//! ```text
//! permit? ─▶ last good server ─▶ the next one ─▶ … ─▶ Unavailable
//!               │ 2xx, 404            for: no answer, 5xx
//!               ▼
//!             Answer                  401, 403 ─▶ Denied     429 ─▶ Throttled     400 ─▶ Rejected, by the caller
//! ```
//!
//! A record is written to one server; Eureka's servers pass it on among themselves.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER},
};

use crate::{
    eureka::servers::{Servers, chain},
    publish::{Permit, WriteError},
};

/// As Spring's clients encode a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Of an answer that is read.
const MAX_ANSWER: usize = 1 << 20;
/// When a server asks for less and does not say for how long.
const PAUSE: Duration = Duration::from_secs(5);

/// The servers of one registry, for writing.
pub(super) struct Sender {
    servers: Servers,
    last_good: AtomicUsize,
    permit: Permit,
}

/// What a server said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    /// Which server.
    pub(super) address: String,
}

/// `apps/APP/id`, encoded.
pub(super) fn path(app: &str, id: &str) -> String {
    let part = |text| utf8_percent_encode(text, SEGMENT);
    format!("apps/{}/{}", part(app), part(id))
}

/// `apps/APP`, encoded.
pub(super) fn app_path(app: &str) -> String {
    format!("apps/{}", utf8_percent_encode(app, SEGMENT))
}

impl Sender {
    pub(super) fn new(servers: Servers, permit: Permit) -> Self {
        Self {
            servers,
            last_good: AtomicUsize::new(0),
            permit,
        }
    }

    /// Where it is sent, for people.
    pub(super) fn address(&self) -> String {
        self.servers.shown()
    }

    /// Whether anything may be sent at this moment.
    pub(super) fn may_send(&self) -> bool {
        self.permit.holds()
    }

    /// Sends to the first server that answers. A body is JSON.
    pub(super) async fn send(&self, method: Method, path: &str, body: Option<&[u8]>) -> Result<Answer, WriteError> {
        let login = self.servers.login().map_err(|error| WriteError::Denied {
            address: self.address(),
            what: error.to_string(),
        })?;
        let first = self.last_good.load(Ordering::Relaxed);
        let mut what = Vec::new();
        for step in 0..self.servers.count() {
            // Asked before each server: a time-out takes long enough for another writer to be elected.
            if !self.permit.holds() {
                return Err(WriteError::NotPermitted);
            }
            let at = (first + step) % self.servers.count();
            let Some((base, own)) = self.servers.target(at) else {
                continue;
            };
            let mut request = self.servers.client.request(method.clone(), format!("{base}/{path}"));
            request = request.header(ACCEPT, "application/json");
            if let Some(login) = own.or(login.as_ref()) {
                request = request.basic_auth(&login.user, login.password.as_ref().map(|text| &text.0));
            }
            if let Some(body) = body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.to_vec());
            }
            let address = self.servers.address(at);
            match request.send().await {
                Ok(answer) if answer.status().is_server_error() => {
                    what.push(format!("{address} answered {}", answer.status().as_u16()));
                }
                Ok(answer) => {
                    self.last_good.store(at, Ordering::Relaxed);
                    return judged(answer, address).await;
                }
                Err(error) => what.push(format!("{address}: {}", chain(&error.without_url()))),
            }
        }
        Err(WriteError::Unavailable {
            address: self.address(),
            what: what.join("; "),
        })
    }
}

async fn judged(mut answer: reqwest::Response, address: String) -> Result<Answer, WriteError> {
    let status = answer.status();
    if status == StatusCode::TOO_MANY_REQUESTS {
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = asked.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        return Err(WriteError::Throttled {
            address,
            wait: wait.unwrap_or(PAUSE),
        });
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(WriteError::Denied {
            address,
            what: format!("it answered {}: are user and password right?", status.as_u16()),
        });
    }
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        if body.len() + chunk.len() > MAX_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body, address })
}
