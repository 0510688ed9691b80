//! One question to Consul's HTTP API and its answer, with everything that can be wrong about it.
//!
//! ```text
//! get(path, after) ──▶ 200 + X-Consul-Index + leader known + body within limit ──▶ Answer
//!                      401, 403 ──▶ Denied     429, 5xx, no leader ──▶ NotReady
//!                      no connection, time-out ──▶ Unreachable     anything else ──▶ Malformed
//! ```
//!
//! Next on the path: [`record`](super::record) reads the body.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::secret::SecretRef;
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, HeaderValue},
};
use url::Url;

use super::{Scope, memory::Memory};
use crate::registry::{ConnectError, RegistryError};

/// Below this a blocking query would be a poll.
pub(super) const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// Consul clamps longer waits (api-docs/features/blocking).
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// For an answer that need not wait for a change, and on top of one that does.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Of one answer, decompressed: some 100,000 instances.
const BODY_LIMIT: usize = 64 << 20;
/// Of an answer that is quoted in an error.
const QUOTED: usize = 160;
/// A follower that has not heard from its leader for longer answers from the past.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Asks one Consul, with the token of one session.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    headers: HeaderMap,
    /// What is followed.
    pub(super) scope: Arc<Scope>,
    /// What was believed last.
    pub(super) memory: Arc<Memory>,
}

/// An answer that may be believed.
pub(super) struct Answer {
    /// At least 1.
    pub(super) index: u64,
    /// The token's rights hid something.
    pub(super) filtered: bool,
    /// When its head was here.
    pub(super) heard: SystemTime,
    /// JSON, hopefully.
    pub(super) body: Vec<u8>,
}

/// A URL that can be asked, or why it cannot.
pub(super) fn base_url(text: &str) -> Result<Url, ConnectError> {
    let bad = |shown: String, why: &str| ConnectError::BadUrl {
        field: "consul.address".to_owned(),
        value_without_credentials: shown,
        why: why.to_owned(),
    };
    let without_user = |text: &str| match text.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => text.to_owned(),
    };
    let url = Url::parse(text).map_err(|error| {
        let why = format!("{error}; write a URL such as `http://127.0.0.1:8500`");
        bad(without_user(text), &why)
    })?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        let why = "write a URL such as `http://127.0.0.1:8500`";
        return Err(bad(without_user(text), why));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let why = "Consul takes an ACL token, not a user: name it in `consul.token`";
        return Err(bad(without_user(text), why));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(
            url[..url::Position::AfterPath].to_owned(),
            "leave out what follows `?` or `#`",
        ));
    }
    Ok(url)
}

/// The connections of one registry.
pub(super) fn http(address: &str) -> Result<reqwest::Client, ConnectError> {
    // Whoever installs a provider first wins; it is ring in every case.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(Duration::from_secs(15))
        .redirect(reqwest::redirect::Policy::none())
        // A proxy in the environment is meant for applications; it may be our own gateway.
        .no_proxy()
        .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ConnectError::BadUrl {
            field: "consul.address".to_owned(),
            value_without_credentials: address.to_owned(),
            why: format!("no HTTP client can be made for it: {}", chain(&error)),
        })
}

/// The base URL as people read it.
pub(super) fn shown(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}

impl Client {
    /// For one session: the token is read now.
    pub(super) fn new(
        http: &reqwest::Client,
        base: &Url,
        token: Option<&SecretRef>,
        scope: Arc<Scope>,
        memory: Arc<Memory>,
    ) -> Result<Self, RegistryError> {
        let denied = |what: String| RegistryError::Denied {
            address: shown(base),
            what,
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let secret = token.read().map_err(|error| denied(chain(&error)))?;
            let mut value = HeaderValue::from_str(secret.expose())
                .map_err(|_| denied(format!("the token in {token} has characters that no header may carry")))?;
            value.set_sensitive(true);
            headers.insert("x-consul-token", value);
        }
        Ok(Self {
            http: http.clone(),
            base: base.clone(),
            headers,
            scope,
            memory,
        })
    }

    /// Which names exist, and their tags. `after` 0 answers at once.
    pub(super) async fn services(&self, after: u64) -> Result<Answer, RegistryError> {
        self.get(&["v1", "catalog", "services"], after, None).await
    }

    /// A service's instances with all their checks, whatever their status. `after` 0 answers at once.
    pub(super) async fn health(&self, service: &str, after: u64) -> Result<Answer, RegistryError> {
        self.get(&["v1", "health", "service", service], after, None).await
    }

    /// The index of a service's health, and nothing of what it says: small to write and to read.
    pub(super) async fn health_index(&self, service: &str) -> Result<u64, RegistryError> {
        let nobody = Some("Node.Node == \"\"");
        let answer = self.get(&["v1", "health", "service", service], 0, nobody).await?;
        Ok(answer.index)
    }

    /// The index of all checks: it moves with every one that comes, goes or changes (agent/consul/state: ChecksInState;
    /// a filter is applied to the result, not to the index).
    pub(super) async fn checks_index(&self, after: u64) -> Result<u64, RegistryError> {
        let nothing = Some("Node == \"\"");
        let answer = self.get(&["v1", "health", "state", "any"], after, nothing).await?;
        Ok(answer.index)
    }

    /// The index of all nodes: it moves with their addresses, which neither that of the services nor that of the checks does.
    pub(super) async fn nodes_index(&self, after: u64) -> Result<u64, RegistryError> {
        let nothing = Some("Node == \"\"");
        let answer = self.get(&["v1", "catalog", "nodes"], after, nothing).await?;
        Ok(answer.index)
    }

    /// Whether the catalog has this service id on this node. A question about one instance, so that it cannot be
    /// answered by half.
    pub(super) async fn on_node(&self, node: &str, id: &str) -> Result<Answer, RegistryError> {
        // Between backquotes everything stands for itself, but for these two; then the whole node is asked for.
        let filter = (!id.contains(['`', '\r'])).then(|| format!("ID == `{id}`"));
        // Not /v1/catalog/node/:node, which compares our rights with ids in place of names (seen in 1.14).
        self.get(&["v1", "catalog", "node-services", node], 0, filter.as_deref())
            .await
    }

    async fn get(&self, path: &[&str], after: u64, filter: Option<&str>) -> Result<Answer, RegistryError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let asked = url.path().to_owned();
        let mut timeout = PATIENCE;
        if let Some(datacenter) = &self.scope.datacenter {
            url.query_pairs_mut().append_pair("dc", datacenter);
        }
        if let Some(filter) = filter {
            url.query_pairs_mut().append_pair("filter", filter);
        }
        if after > 0 {
            let (index, wait) = (after.to_string(), self.scope.wait);
            let wait_text = format!("{}ms", wait.as_millis());
            url.query_pairs_mut()
                .append_pair("index", &index)
                .append_pair("wait", &wait_text);
            // The server adds up to a sixteenth, so that not everybody comes back at once.
            timeout += wait + wait / 16;
        }
        let request = self.http.get(url).headers(self.headers.clone()).timeout(timeout);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, headers, heard) = (response.status(), response.headers().clone(), SystemTime::now());
        let body = self.body(response).await?;
        match status {
            StatusCode::OK => self.judge(&asked, &headers, heard, body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Denied {
                address: shown(&self.base),
                what: format!("{asked}: {}", quoted(&body)),
            }),
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                Err(self.not_ready(format!("{asked}: {} {}", status.as_u16(), quoted(&body))))
            }
            status => Err(self.malformed(format!("{asked} answered {}", status.as_u16()), &body)),
        }
    }

    /// Whether a 200 may be believed.
    fn judge(
        &self,
        asked: &str,
        headers: &HeaderMap,
        heard: SystemTime,
        body: Vec<u8>,
    ) -> Result<Answer, RegistryError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(index) = header("x-consul-index").and_then(|text| text.trim().parse::<u64>().ok()) else {
            let what = format!("{asked} came without the header X-Consul-Index: is this Consul's HTTP address?");
            return Err(self.malformed(what, &body));
        };
        // The streaming backend, which answers health queries that wait (the default since 1.10), knows neither:
        // it sends `false` and 0, or leaves both out. Unknown is not "no"; the catalog's answers tell.
        let streaming = header("x-consul-query-backend").is_some_and(|backend| backend == "streaming");
        if !streaming && header("x-consul-knownleader").is_some_and(|known| known.eq_ignore_ascii_case("false")) {
            return Err(self.not_ready(format!("{asked}: no leader is known, so the answer may be old")));
        }
        if let Some(silence) = header("x-consul-lastcontact").and_then(|ms| ms.trim().parse::<u64>().ok())
            && Duration::from_millis(silence) > LONGEST_SILENCE
        {
            return Err(self.not_ready(format!(
                "{asked}: the server last heard from its leader {silence} ms ago"
            )));
        }
        Ok(Answer {
            // No data has index 1, so waiting for more than 1 is safe, and waiting for more than 0 is no wait.
            index: index.max(1),
            filtered: header("x-consul-results-filtered-by-acls").is_some_and(|on| on.eq_ignore_ascii_case("true")),
            heard,
            body,
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > BODY_LIMIT {
                let what = format!("the answer is larger than {} MiB", BODY_LIMIT >> 20);
                return Err(self.malformed(what, &body));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> RegistryError {
        RegistryError::Unreachable {
            address: shown(&self.base),
            source: chain(error).into(),
        }
    }

    /// Where it is, for people.
    pub(super) fn address(&self) -> String {
        shown(&self.base)
    }

    /// It answers, but not with what counts.
    pub(super) fn not_ready(&self, what: String) -> RegistryError {
        RegistryError::NotReady {
            address: shown(&self.base),
            what,
        }
    }

    /// Our token does not show what must be seen.
    pub(super) fn denied(&self, what: String) -> RegistryError {
        RegistryError::Denied {
            address: shown(&self.base),
            what,
        }
    }

    /// An answer nobody understands.
    pub(super) fn malformed(&self, what: String, body: &[u8]) -> RegistryError {
        RegistryError::Malformed {
            address: shown(&self.base),
            what,
            sample: quoted(body),
        }
    }
}

/// The beginning of a body, on one line.
fn quoted(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(QUOTED)]);
    let line: String = start.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

/// An error with its causes: reqwest alone only says which URL.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
