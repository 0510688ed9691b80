//! Transactions and what Consul says to them.
//!
//! ```text
//! operations ─▶ packs of ≤ 64 operations and ≤ 400 KiB ─▶ PUT /v1/txn ─┬ 200 ─▶ all done
//!                                                                       ├ 409 ─▶ rolled back: what failed is taken out, the rest again
//!                                                                       ├ 413 ─▶ again in halves
//!                                                                       └ 403 Denied, 429 Throttled, 5xx Unavailable
//! ```
//!
//! 64 and not 128 operations, because older versions take no more; the body's limit is 512 KiB by default.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::operation::Operation;
use crate::{
    consul::access::Access,
    eureka::servers::chain,
    publish::{Permit, WriteError},
};

/// Operations in one transaction.
const MAX_OPERATIONS: usize = 64;
/// Bytes of one transaction.
const MAX_BODY: usize = 400 << 10;
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// When it asks for fewer writes; it does not say for how long.
const PAUSE: Duration = Duration::from_secs(2);
/// Of an answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// Sends to one agent.
pub(super) struct Sender {
    pub(super) access: Access,
    permit: Permit,
}

/// What Consul said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

#[derive(Deserialize)]
struct Refusals {
    #[serde(rename = "Errors", default)]
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    #[serde(default)]
    op_index: usize,
    #[serde(default)]
    what: String,
}

impl Sender {
    pub(super) fn new(access: Access, permit: Permit) -> Self {
        Self { access, permit }
    }

    /// Whether anything may be sent at this moment.
    pub(super) fn may_send(&self) -> bool {
        self.permit.holds()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.permit.epoch()
    }

    /// One request.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, WriteError> {
        let address = self.access.shown();
        let headers = self.access.headers().map_err(|what| WriteError::Denied {
            address: address.clone(),
            what,
        })?;
        if !self.permit.holds() {
            return Err(WriteError::NotPermitted);
        }
        let mut request = self.access.http.request(method, self.access.url(path, query));
        request = request.headers(headers).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: reqwest::Error| WriteError::Unavailable {
            address: address.clone(),
            what: chain(&error.without_url()),
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.unavailable(format!("an answer is larger than {} MiB", MAX_ANSWER >> 20)));
            }
            body.extend_from_slice(&chunk);
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(&quoted(&body))),
            StatusCode::TOO_MANY_REQUESTS => Err(WriteError::Throttled { address, wait: PAUSE }),
            status if status.is_server_error() => {
                Err(self.unavailable(format!("{} {}", status.as_u16(), quoted(&body))))
            }
            status => Ok(Answer { status, body }),
        }
    }

    /// One answer for each operation, in order.
    pub(super) async fn transact(&self, operations: &[Operation<'_>]) -> Vec<Result<(), WriteError>> {
        let written: Vec<Vec<Value>> = operations.iter().map(Operation::json).collect();
        let mut answers: Vec<Option<Result<(), WriteError>>> = vec![None; operations.len()];
        let mut packs = packs(&written);
        packs.reverse();
        while let Some(mut pack) = packs.pop() {
            // The operation of each position.
            let body: Vec<&Value> = pack.iter().flat_map(|at| &written[*at]).collect();
            let owner: Vec<usize> = pack.iter().flat_map(|at| vec![*at; written[*at].len()]).collect();
            let answer = self.send(Method::PUT, &["v1", "txn"], &[], Some(&json!(body))).await;
            match answer {
                Ok(answer) if answer.status == StatusCode::OK => {
                    pack.iter().for_each(|at| answers[*at] = Some(Ok(())));
                }
                Ok(answer) if answer.status == StatusCode::PAYLOAD_TOO_LARGE && pack.len() > 1 => {
                    let second = pack.split_off(pack.len() / 2);
                    packs.extend([second, pack]);
                }
                Ok(answer) if answer.status == StatusCode::CONFLICT => {
                    let refusals: Refusals =
                        serde_json::from_slice(&answer.body).unwrap_or(Refusals { errors: Vec::new() });
                    let mut found = false;
                    for refusal in refusals.errors {
                        if let Some(at) = owner.get(refusal.op_index) {
                            found = true;
                            answers[*at].get_or_insert_with(|| Err(self.refused(&refusal.what)));
                        }
                    }
                    if !found {
                        let what = format!("a transaction was rolled back: {}", quoted(&answer.body));
                        pack.iter()
                            .for_each(|at| answers[*at] = Some(Err(self.unavailable(what.clone()))));
                    }
                    pack.retain(|at| answers[*at].is_none());
                    if !pack.is_empty() {
                        packs.push(pack);
                    }
                }
                Ok(answer) => {
                    let what = format!("{} {}", answer.status.as_u16(), quoted(&answer.body));
                    for at in pack {
                        answers[at] = Some(Err(self.refused(&what)));
                    }
                }
                Err(error) => {
                    // Nobody answers the next one either.
                    for at in pack.into_iter().chain(packs.drain(..).flatten()) {
                        answers[at] = Some(Err(error.clone()));
                    }
                }
            }
        }
        let mut ids = operations.iter();
        let named = |answer: Option<Result<(), WriteError>>| {
            let id = ids.next().map(Operation::id);
            match (answer, id) {
                (Some(Err(WriteError::Rejected { address, what, .. })), Some(id)) => {
                    Err(WriteError::Rejected { address, id, what })
                }
                (Some(answer), _) => answer,
                (None, _) => Err(self.unavailable("it was not sent".to_owned())),
            }
        };
        answers.into_iter().map(named).collect()
    }

    fn refused(&self, what: &str) -> WriteError {
        if what.contains("Permission denied") {
            return self.denied(what);
        }
        if what.contains(MISSING_NODE) {
            return self.unavailable(what.to_owned());
        }
        WriteError::Rejected {
            address: self.access.shown(),
            id: "".into(),
            what: what.to_owned(),
        }
    }

    fn denied(&self, what: &str) -> WriteError {
        WriteError::Denied {
            address: self.access.shown(),
            what: format!(
                "{what} (writing needs service:write on the services and node:write on our nodes, which begin with `landfall-`)"
            ),
        }
    }

    fn unavailable(&self, what: String) -> WriteError {
        WriteError::Unavailable {
            address: self.access.shown(),
            what,
        }
    }
}

/// What Consul says when the node is not, or no longer, there (agent/consul/state: ErrMissingNode).
pub(super) const MISSING_NODE: &str = "Missing node registration";

/// Positions that go together.
fn packs(written: &[Vec<Value>]) -> Vec<Vec<usize>> {
    let mut packs: Vec<Vec<usize>> = Vec::new();
    let (mut operations, mut bytes) = (MAX_OPERATIONS, 0);
    for (at, own) in written.iter().enumerate() {
        let size: usize = own.iter().map(|value| value.to_string().len() + 1).sum();
        if operations + own.len() > MAX_OPERATIONS || bytes + size > MAX_BODY {
            packs.push(Vec::new());
            (operations, bytes) = (0, 0);
        }
        operations += own.len();
        bytes += size;
        if let Some(pack) = packs.last_mut() {
            pack.push(at);
        }
    }
    packs
}

/// The beginning of a body, on one line.
pub(super) fn quoted(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let line: String = start.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}
