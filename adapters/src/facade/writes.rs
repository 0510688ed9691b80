//! Where a facade's writes go: here, to the real registry, or nowhere.
//!
//! What is passed on goes unchanged: method, path, query, headers and body, with the credentials of the client
//! and none of ours, so that nobody gets more rights by the detour. The real registry's answer comes back as it is.
//! When it cannot be reached, the client is told 503 with the reason; reads go on from what is known.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use tracing::warn;
use url::Url;

use super::consul::{chain, surface::plain};

/// The largest body that is passed on.
const MAX_BODY: usize = 2 << 20;
/// How long a client may take to send one.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Patience for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Patience for the answer to a write.
const WRITE: Duration = Duration::from_secs(30);
/// Patience for the answer to a read, which may wait for ten minutes and a sixteenth.
const READ: Duration = Duration::from_secs(660);

/// Headers that concern one connection alone (RFC 9110, 7.6.1), and those that the client library sets.
const HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where writes go.
#[derive(Clone, Debug)]
pub enum Writes {
    /// The facade is the registry.
    Here,
    /// To somebody else.
    Elsewhere(Arc<Elsewhere>),
}

/// What becomes of a write that is not kept here.
#[derive(Debug)]
pub enum Elsewhere {
    /// The client is told that nothing is written here.
    Refused,
    /// To a registry's own HTTP API.
    Forward(Forward),
}

/// A registry's own HTTP API.
#[derive(Debug)]
pub struct Forward {
    http: reqwest::Client,
    /// Tried in order until one can be reached; without credentials, ending with `/`.
    bases: Vec<Url>,
}

impl Writes {
    /// Who answers what is not answered here.
    pub(crate) fn elsewhere(&self) -> Option<&Elsewhere> {
        match self {
            Self::Here => None,
            Self::Elsewhere(elsewhere) => Some(elsewhere),
        }
    }
}

impl Elsewhere {
    /// Answers a request; `rest` is its path below the protocol's own base.
    pub(crate) async fn answer(&self, request: Request, rest: &str) -> Response {
        match self {
            Self::Refused => plain(
                StatusCode::FORBIDDEN,
                "this facade is for reading; its document says `writes: refuse`",
            ),
            Self::Forward(forward) => forward.pass_on(request, rest).await,
        }
    }
}

impl Forward {
    /// To these base URLs.
    ///
    /// # Errors
    /// What is wrong with a URL, without showing it.
    pub fn new(bases: &[String]) -> Result<Self, String> {
        // Whoever installs a provider first wins; it is ring in every case.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .no_gzip()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| chain(&error))?;
        let read = bases.iter().map(|base| {
            let mut url = Url::parse(base).map_err(|error| error.to_string())?;
            // The client's own credentials count.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
            Ok(url)
        });
        Ok(Self {
            http,
            bases: read.collect::<Result<_, String>>()?,
        })
    }

    async fn pass_on(&self, request: Request, rest: &str) -> Response {
        let (parts, body) = request.into_parts();
        let body = match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {MAX_BODY} bytes")),
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        };
        let patience = if parts.method == Method::GET { READ } else { WRITE };
        let mut why = String::from("no address is known");
        for base in &self.bases {
            let mut url = base.clone();
            url.set_path(&format!("{}{rest}", base.path()));
            url.set_query(parts.uri.query());
            let request = self
                .http
                .request(parts.method.clone(), url)
                .headers(without_hop(&parts.headers))
                .timeout(patience)
                .body(body.clone());
            match request.send().await {
                Ok(answer) => return returned(answer),
                // Only what surely has not arrived is tried elsewhere.
                Err(error) if error.is_connect() => why = chain(&error.without_url()),
                Err(error) => {
                    why = chain(&error.without_url());
                    break;
                }
            }
        }
        warn!(%why, "a write could not be passed on to the real registry");
        plain(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the real registry cannot be reached, nothing was written here: {why}"),
        )
    }
}

fn returned(answer: reqwest::Response) -> Response {
    let (status, headers) = (answer.status(), without_hop(answer.headers()));
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn without_hop(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if !HOP.contains(name) && !named.contains(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}
