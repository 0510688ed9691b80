//! Asking Eureka servers over HTTP, and what their answers mean.
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
//! Next on the path: [`wire`](super::wire), which reads the body.

use reqwest::{
    StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::{
    pace::Ask,
    servers::{Login, Servers, chain},
    wire::{Applications, Format, read},
};
use crate::registry::RegistryError;

/// The largest answer that is read, after decompression.
pub const MAX_ANSWER: usize = 64 << 20;

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
    /// Asks one server. `login` is the configured one; a user in the server's URL goes before it.
    pub async fn fetch(&self, at: usize, ask: Ask, login: Option<&Login>) -> Result<Applications, Failure> {
        let Some((base, own)) = self.target(at) else {
            return Err(Failure::Unreachable("no such server".to_owned()));
        };
        let login = own.or(login);
        let path = match ask {
            Ask::Full => "apps/",
            Ask::Delta => "apps/delta",
        };
        let url = format!("{base}/{path}");
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

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(what) | Self::Denied(what) | Self::NotReady(what) => f.write_str(what),
            Self::Malformed { what, .. } => write!(f, "unexpected answer, {what}"),
            Self::NoDelta => f.write_str("it gives no deltas"),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let spec = serde_json::json!({ "urls": ["http://h1/eureka", "http://h2/eureka"] });
        let servers = Servers::new(&serde_json::from_value(spec).unwrap()).unwrap();
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
