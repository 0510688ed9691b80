//! Where the servers of one Nacos are.
//!
//! Next on the path: [`login`](super::login), then [`connection`](super::connection) or [`web`](super::web).

use std::{fmt, time::Duration};

use landfall_config::{kinds::registry::NacosSpec, secret::SecretRef};
use url::Url;

use crate::registry::ConnectError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one question over HTTP.
const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than a server keeps an idle connection (Tomcat: 20 s).
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// From the port of HTTP to that of gRPC (api: `Constants.SDK_GRPC_PORT_DEFAULT_OFFSET`).
const GRPC_OFFSET: u16 = 1000;

/// The servers of one Nacos, and who we are to them.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    pub(crate) list: Vec<Server>,
    pub(crate) http: reqwest::Client,
    pub(crate) user: Option<(String, SecretRef)>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// With the context path, without a slash at the end, without a user.
    base: Url,
    host: String,
    port: u16,
}

impl Servers {
    /// Checks the addresses and the password's place; asks nobody.
    pub(crate) fn new(spec: &NacosSpec) -> Result<Self, ConnectError> {
        let list = spec
            .addresses
            .iter()
            .enumerate()
            .map(|(at, text)| Server::new(at, text))
            .collect::<Result<Vec<_>, _>>()?;
        let bad = |shown: &str, why: String| ConnectError::BadUrl {
            field: "nacos.addresses".to_owned(),
            value_without_credentials: shown.to_owned(),
            why,
        };
        if list.is_empty() {
            return Err(bad(
                "[]",
                "name at least one, such as `http://127.0.0.1:8848`".to_owned(),
            ));
        }
        let user = match (&spec.username, &spec.password) {
            (Some(user), Some(password)) => {
                password.read()?;
                Some((user.clone(), password.clone()))
            }
            _ => None,
        };
        // Whoever installs a provider first wins; it is ring in every case.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(PATIENCE)
            .pool_idle_timeout(IDLE_TIMEOUT)
            // It would carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            // A proxy in the environment is meant for applications; it may be our own gateway.
            .no_proxy()
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| bad(&list[0].to_string(), super::fault::chain(&error)))?;
        Ok(Self { list, http, user })
    }

    /// All addresses, for people.
    pub(crate) fn shown(&self) -> String {
        let all: Vec<_> = self.list.iter().map(Server::to_string).collect();
        all.join(", ")
    }
}

impl Server {
    fn new(at: usize, text: &str) -> Result<Self, ConnectError> {
        let bad = |why: &str| ConnectError::BadUrl {
            field: format!("nacos.addresses[{at}]"),
            value_without_credentials: match text.rsplit_once('@') {
                Some((_, rest)) => format!("…@{rest}"),
                None => text.to_owned(),
            },
            why: why.to_owned(),
        };
        let with_scheme = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let mut base =
            Url::parse(&with_scheme).map_err(|error| bad(&format!("{error}; write it as `http://127.0.0.1:8848`")))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(bad("write it as `http://127.0.0.1:8848`"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad("name the user in `nacos.username` and `nacos.password`"));
        }
        let Some(host) = base.host_str().map(str::to_owned) else {
            return Err(bad("write it as `http://127.0.0.1:8848`"));
        };
        // The port of a scheme is left out of a URL; Nacos' own default is 8848.
        let written = with_scheme.split_once("://").map_or("", |(_, rest)| rest);
        let authority = written.split(['/', '?', '#']).next().unwrap_or_default();
        let port = match (base.port(), authority.ends_with(":80") || authority.ends_with(":443")) {
            (Some(port), _) => port,
            (None, true) => base.port_or_known_default().unwrap_or(8848),
            (None, false) => {
                let _ = base.set_port(Some(8848));
                8848
            }
        };
        base.set_query(None);
        base.set_fragment(None);
        if base.path() == "/" {
            base.set_path("/nacos");
        }
        Ok(Self { base, host, port })
    }

    /// Whether this is it, by the `host:port` of a server's own words.
    pub(super) fn is(&self, address: &str) -> bool {
        address == format!("{}:{}", self.host, self.port)
            || address == format!("{}:{}", self.host, self.port.saturating_add(GRPC_OFFSET))
    }

    /// Whether TLS is spoken.
    pub(super) fn is_tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Name or address, for TLS.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// `host:port` of gRPC; `None` if there is no such port.
    pub(super) fn grpc(&self) -> Option<String> {
        Some(format!("{}:{}", self.host, self.port.checked_add(GRPC_OFFSET)?))
    }

    /// A path below the context path.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.base.scheme(), self.host, self.port)
    }
}

/// The id of the namespace, which is never empty on the wire.
pub(crate) fn namespace(spec: &NacosSpec) -> String {
    match spec.namespace.trim() {
        "" => "public".to_owned(),
        namespace => namespace.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        Server::new(0, text).unwrap()
    }

    #[test]
    fn an_address_needs_neither_scheme_nor_port_nor_path() {
        let bare = server("10.0.0.1");
        assert_eq!(bare.to_string(), "http://10.0.0.1:8848");
        assert_eq!(bare.grpc().as_deref(), Some("10.0.0.1:9848"));
        assert_eq!(bare.url("v1/x").as_str(), "http://10.0.0.1:8848/nacos/v1/x");
        let whole = server("https://n.example:443/registry/");
        assert_eq!(whole.grpc().as_deref(), Some("n.example:1443"));
        assert_eq!(whole.url("v1/x").as_str(), "https://n.example/registry/v1/x");
        assert!(whole.is_tls() && whole.is("n.example:443"));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_shown() {
        let error = Server::new(1, "http://u:secret@one:8848").unwrap_err().to_string();
        assert!(
            error.contains("nacos.addresses[1]") && error.contains("nacos.username"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}
