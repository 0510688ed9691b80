//! Where the servers of one registry are, and who we are to them.
//!
//! User and password never stay in a URL that is sent, logged or shown: they travel in the header alone.
//!
//! Next on the path: [`fetch`](super::fetch), which asks them.

use std::time::Duration;

use landfall_config::{
    kinds::registry::EurekaSpec,
    secret::{Secret, SecretError, SecretRef},
};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::registry::ConnectError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const READ_TIMEOUT: Duration = Duration::from_secs(8);
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Shorter than a server keeps an idle connection (Tomcat: 20 s), so none is used that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// The servers of one registry.
#[derive(Debug)]
pub struct Servers {
    pub(crate) client: reqwest::Client,
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
    pub(crate) user: String,
    pub(crate) password: Option<Password>,
}

/// A password from a URL. Its `Debug` shows nothing.
#[derive(Clone)]
pub(crate) struct Password(pub(crate) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
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

    /// The base URL, without a slash at the end, and the user in it; `None` if there is no such server.
    pub(crate) fn target(&self, at: usize) -> Option<(&str, Option<&Login>)> {
        let server = self.list.get(at)?;
        Some((server.base.as_str().trim_end_matches('/'), server.login.as_ref()))
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

/// The text as it may be shown when it is no URL: what stands before an `@` could be a password.
pub(crate) fn without_login(text: &str) -> String {
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

/// An error with its causes in one line: "connection refused" stands at the end of four of them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
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
}
