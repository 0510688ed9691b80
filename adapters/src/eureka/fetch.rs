//! Asking Eureka servers over HTTP: where they are, how they are asked, what their answers mean.
//!
//! | answer | means |
//! |---|---|
//! | none in 2 s to connect, 8 s of silence, 60 s in all | [`Failure::Unreachable`] |
//! | 401; 403 with a text, after we sent credentials | [`Failure::Denied`] |
//! | 403 otherwise | not ready: a server that has not synchronised refuses reads |
//! | 403 or 404 to a delta | [`Failure::NoDelta`] |
//! | 404, 429, 5xx | not ready, or the path is wrong, which the text says |
//! | 200 with anything but a list of applications | [`Failure::Malformed`] |
//!
//! User and password never enter a URL that is sent, logged or shown: they travel in the header alone.

use std::time::Duration;

use landfall_config::{
    kinds::registry::EurekaSpec,
    secret::{Secret, SecretError, SecretRef},
};
use percent_encoding::percent_decode_str;
use reqwest::{
    StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use url::Url;

use super::{
    pace::Ask,
    wire::{Applications, Format, read},
};
use crate::registry::{ConnectError, RegistryError};

/// The largest answer that is read, after decompression.
pub const MAX_ANSWER: usize = 64 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const READ_TIMEOUT: Duration = Duration::from_secs(8);
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Shorter than a server keeps an idle connection (Tomcat: 20 s), so none is used that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The servers of one registry.
#[derive(Debug)]
pub struct Servers {
    client: reqwest::Client,
    list: Vec<Server>,
    username: Option<String>,
    password: Option<SecretRef>,
}

#[derive(Debug)]
struct Server {
    /// Without user-info, without a slash at the end.
    base: Url,
    /// From the URL's user-info.
    login: Option<Login>,
}

/// User and password for basic auth.
#[derive(Clone, Debug)]
pub struct Login {
    user: String,
    password: Option<Password>,
}

/// A password from a URL. Its `Debug` shows nothing.
#[derive(Clone)]
struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Why one server gave no list.
#[derive(Debug)]
pub enum Failure {
    /// No answer, or it broke off.
    Unreachable(String),
    /// Our credentials were refused.
    Denied(String),
    /// It has nothing to say yet.
    NotReady(String),
    /// Nothing that we understand.
    Malformed {
        /// What is wrong.
        what: String,
        /// How it begins.
        sample: String,
    },
    /// This server gives no deltas.
    NoDelta,
}

impl Servers {
    /// Checks the addresses; asks nobody.
    pub fn new(spec: &EurekaSpec) -> Result<Self, ConnectError> {
        if spec.urls.is_empty() {
            return Err(ConnectError::BadUrl {
                field: "eureka.urls".to_owned(),
                value_without_credentials: "[]".to_owned(),
                why: "name at least one URL such as `http://127.0.0.1:8761/eureka`".to_owned(),
            });
        }
        let list = spec
            .urls
            .iter()
            .enumerate()
            .map(|(at, text)| Server::new(at, text))
            .collect::<Result<_, _>>()?;
        // One provider serves the whole process; if another part was first, that one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(WHOLE_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::limited(3))
            // A proxy variable is meant for applications; registries are asked directly, as Eureka's clients do.
            .no_proxy()
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ConnectError::BadUrl {
                field: "eureka.urls".to_owned(),
                value_without_credentials: without_login(&spec.urls[0]),
                why: format!("no HTTP client can be made: {}", chain(&error)),
            })?;
        Ok(Self {
            client,
            list,
            username: spec.username.clone(),
            password: spec.password.clone(),
        })
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// All addresses, for people.
    pub fn shown(&self) -> String {
        let all: Vec<_> = self.list.iter().map(|server| server.base.as_str()).collect();
        all.join(", ")
    }

    /// One address, for people.
    pub fn address(&self, at: usize) -> String {
        self.list
            .get(at)
            .map(|server| server.base.to_string())
            .unwrap_or_default()
    }

    /// Reads the configured password, for one session: it may have been exchanged since the last.
    pub fn login(&self) -> Result<Option<Login>, SecretError> {
        let password = self.password.as_ref().map(SecretRef::read).transpose()?;
        Ok(match (&self.username, password) {
            (None, None) => None,
            (user, password) => Some(Login {
                user: user.clone().unwrap_or_default(),
                password: password
                    .as_ref()
                    .map(Secret::expose)
                    .map(|text| Password(text.to_owned())),
            }),
        })
    }

    /// Asks one server. `login` is the configured one; a user in the server's URL goes before it.
    pub async fn fetch(&self, at: usize, ask: Ask, login: Option<&Login>) -> Result<Applications, Failure> {
        let Some(server) = self.list.get(at) else {
            return Err(Failure::Unreachable("no such server".to_owned()));
        };
        let login = server.login.as_ref().or(login);
        let path = match ask {
            Ask::Full => "apps/",
            Ask::Delta => "apps/delta",
        };
        let url = format!("{}/{path}", server.base.as_str().trim_end_matches('/'));
        let mut request = self.client.get(url).header(ACCEPT, "application/json");
        if let Some(login) = login {
            request = request.basic_auth(&login.user, login.password.as_ref().map(|text| &text.0));
        }
        let mut answer = request.send().await.map_err(unreachable)?;

        let status = answer.status();
        let content_type = header(&answer, CONTENT_TYPE.as_str());
        if status != StatusCode::OK {
            // A little of the text: whether there is one tells a refusal from a server that is not ready.
            let text = match answer.chunk().await {
                Ok(Some(text)) => sample(&text),
                _ => String::new(),
            };
            return Err(refusal(status, ask, login.is_some(), text));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::Malformed {
                    what: format!("more than {} MiB", MAX_ANSWER >> 20),
                    sample: sample(&body),
                });
            }
            body.extend_from_slice(&chunk);
        }
        // Ten thousand instances take long enough to read to hold up what else runs on this thread.
        let read = tokio::task::spawn_blocking(move || understand(&body, &content_type)).await;
        read.unwrap_or_else(|error| {
            Err(Failure::Malformed {
                what: format!("reading it was broken off: {error}"),
                sample: String::new(),
            })
        })
    }

    /// One error for all servers that were asked, each with its reason. The first one's kind decides, but
    /// refused credentials only if every server refused them: that error is retried slowly.
    pub fn error(&self, failures: Vec<(usize, Failure)>) -> RegistryError {
        let mut rest: Vec<_> = failures;
        let decisive = rest
            .iter()
            .position(|(_, failure)| !matches!(failure, Failure::Denied(_)))
            .unwrap_or(0);
        if rest.is_empty() {
            return RegistryError::NotReady {
                address: self.shown(),
                what: "no server was asked".to_owned(),
            };
        }
        let (at, failure) = rest.remove(decisive);
        let also: String = rest
            .iter()
            .map(|(at, failure)| format!("; {}: {failure}", self.address(*at)))
            .collect();
        let address = self.address(at);
        match failure {
            Failure::Unreachable(what) => RegistryError::Unreachable {
                address,
                source: format!("{what}{also}").into(),
            },
            Failure::Denied(what) => RegistryError::Denied {
                address,
                what: what + &also,
            },
            Failure::NotReady(what) => RegistryError::NotReady {
                address,
                what: what + &also,
            },
            Failure::Malformed { what, sample } => RegistryError::Malformed {
                address,
                what: what + &also,
                sample,
            },
            Failure::NoDelta => RegistryError::NotReady {
                address,
                what: format!("{}{also}", Failure::NoDelta),
            },
        }
    }
}

impl Server {
    fn new(at: usize, text: &str) -> Result<Self, ConnectError> {
        let bad = |why: &str| ConnectError::BadUrl {
            field: format!("eureka.urls[{at}]"),
            value_without_credentials: without_login(text),
            why: why.to_owned(),
        };
        if text.contains(',') {
            return Err(bad("it holds several; write each as an element of its own in the list"));
        }
        let mut base = Url::parse(text.trim()).map_err(|error| {
            bad(&format!(
                "it is no URL ({error}); write one such as `http://127.0.0.1:8761/eureka`"
            ))
        })?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad("it must begin with `http://` or `https://` and name a host"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad("it must end with the path, without `?` or `#`"));
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = match (base.username(), base.password()) {
            ("", None) => None,
            (user, password) => Some(Login {
                user: decode(user),
                password: password.map(|text| Password(decode(text))),
            }),
        };
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        // Neither fails for a URL that has a host.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        Ok(Self { base, login })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(what) | Self::Denied(what) | Self::NotReady(what) => f.write_str(what),
            Self::Malformed { what, .. } => write!(f, "unexpected answer, {what}"),
            Self::NoDelta => f.write_str("it gives no deltas"),
        }
    }
}

/// The text as it may be shown when it is no URL: what stands before an `@` could be a password.
fn without_login(text: &str) -> String {
    let (scheme, rest) = text
        .split_once("://")
        .map_or(("", text), |(scheme, rest)| (scheme, rest));
    // A password may hold a `/` that was not escaped: the last `@` counts, wherever it is.
    let kept = rest.rfind('@').map_or(rest, |at| &rest[at + 1..]);
    match scheme {
        "" => kept.to_owned(),
        scheme => format!("{scheme}://{kept}"),
    }
}

fn refusal(status: StatusCode, ask: Ask, logged_in: bool, text: String) -> Failure {
    let said = match text.as_str() {
        "" => status.to_string(),
        text => format!("{status}, {text:?}"),
    };
    match status {
        StatusCode::UNAUTHORIZED => Failure::Denied(said),
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if ask == Ask::Delta => Failure::NoDelta,
        StatusCode::FORBIDDEN if logged_in && !text.is_empty() => Failure::Denied(said),
        StatusCode::FORBIDDEN => Failure::NotReady(format!("{said}: it does not let anyone read yet")),
        StatusCode::NOT_FOUND => Failure::NotReady(format!(
            "{said}: it is still starting, or the path is wrong (usually it is `/eureka`)"
        )),
        StatusCode::TOO_MANY_REQUESTS => Failure::NotReady(said),
        status if status.is_server_error() => Failure::NotReady(said),
        _ => Failure::Malformed {
            what: format!("the status is {status}"),
            sample: text,
        },
    }
}

/// Reads a body by what it looks like: some servers answer XML whatever is asked for.
fn understand(body: &[u8], content_type: &str) -> Result<Applications, Failure> {
    let malformed = |what: String| Failure::Malformed {
        what,
        sample: sample(body),
    };
    let start = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let format = match start {
        None => return Err(malformed("an empty answer".to_owned())),
        Some(b'<') if content_type.contains("html") => {
            return Err(malformed("a web page instead of a list of applications".to_owned()));
        }
        Some(b'<') => Format::Xml,
        Some(_) => Format::Json,
    };
    read::applications(body, format).map_err(|error| malformed(error.to_string()))
}

fn header(answer: &reqwest::Response, name: &str) -> String {
    answer
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase()
}

fn sample(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(800)])
        .chars()
        .take(200)
        .collect()
}

fn unreachable(error: reqwest::Error) -> Failure {
    // The URL is known, and this one carries no credentials, but a redirect's might.
    Failure::Unreachable(chain(&error.without_url()))
}

/// An error with its causes in one line: "connection refused" stands at the end of four of them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(url: &str) -> EurekaSpec {
        let zone = serde_json::json!({ "urls": [url] });
        serde_json::from_value(zone).unwrap()
    }

    #[test]
    fn an_address_is_shown_without_its_user_and_password() {
        let servers = Servers::new(&spec("http://anna:s%40cret@h1:8761/eureka/")).unwrap();
        assert_eq!(servers.shown(), "http://h1:8761/eureka");
        let login = servers.list[0].login.as_ref().unwrap();
        assert_eq!(
            (login.user.as_str(), login.password.as_ref().unwrap().0.as_str()),
            ("anna", "s@cret")
        );
        assert!(!format!("{servers:?}").contains("cret"));
    }

    #[test]
    fn a_url_that_is_none_names_its_place_and_hides_its_password() {
        for bad in [
            "anna:secret@",
            "ftp://anna:secret@h1/eureka",
            "http://anna:sec/ret:secret@:99999/",
            "http://anna:secret@h1/eureka,http://h2/eureka",
            "http://anna:secret@h1/eureka?x=1",
            "",
        ] {
            let text = Servers::new(&spec(bad)).unwrap_err().to_string();
            assert!(text.contains("eureka.urls[0]"), "{text}");
            assert!(!text.contains("secret") && !text.contains("sec/ret"), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_server_that_is_not_ready() {
        let kind = |status: u16, ask, logged_in, text: &str| {
            let failure = refusal(StatusCode::from_u16(status).unwrap(), ask, logged_in, text.to_owned());
            match failure {
                Failure::Denied(_) => "denied",
                Failure::NotReady(_) => "not ready",
                Failure::Malformed { .. } => "malformed",
                Failure::NoDelta => "no delta",
                Failure::Unreachable(_) => "unreachable",
            }
        };
        let table = [
            (401, Ask::Full, false, "", "denied"),
            (401, Ask::Delta, true, "", "denied"),
            (403, Ask::Full, false, "", "not ready"),
            (403, Ask::Full, true, "", "not ready"),
            (403, Ask::Full, true, "{\"error\":\"Forbidden\"}", "denied"),
            (403, Ask::Delta, true, "", "no delta"),
            (404, Ask::Delta, false, "", "no delta"),
            (404, Ask::Full, false, "<html>", "not ready"),
            (500, Ask::Delta, false, "", "not ready"),
            (503, Ask::Full, false, "", "not ready"),
            (406, Ask::Full, false, "", "malformed"),
        ];
        for (status, ask, logged_in, text, expected) in table {
            assert_eq!(kind(status, ask, logged_in, text), expected, "{status} {ask:?} {text}");
        }
    }

    #[test]
    fn refused_credentials_count_only_if_every_server_refuses_them() {
        let mut two = spec("http://h1/eureka");
        two.urls.push("http://h2/eureka".to_owned());
        let servers = Servers::new(&two).unwrap();
        let denied = |at| (at, Failure::Denied("401 Unauthorized".to_owned()));
        let error = servers.error(vec![denied(0), (1, Failure::Unreachable("refused".to_owned()))]);
        assert!(matches!(&error, RegistryError::Unreachable { address, .. } if address == "http://h2/eureka"));
        assert!(error.to_string().contains("http://h1/eureka: 401"), "{error}");
        assert!(matches!(
            servers.error(vec![denied(0), denied(1)]),
            RegistryError::Denied { .. }
        ));
    }
}
