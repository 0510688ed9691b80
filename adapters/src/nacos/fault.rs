//! What can go wrong with a question to Nacos, whichever way it was asked.
//!
//! Next on the path: [`RegistryError`] for who follows, `WriteError` for who writes.

use std::fmt::Display;

use crate::registry::RegistryError;

/// Of an answer that is quoted in an error.
const QUOTED: usize = 160;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody answered, or the connection broke.
    Lost(String),
    /// It answers, but has nothing to say yet.
    NotReady(String),
    /// The connection is not known to the server (any more): everything on it is gone.
    Unregistered(String),
    /// Credentials refused or lacking.
    Denied(String),
    /// The question itself is refused (400): it would be again.
    Refused(String),
    /// Not an answer that we understand.
    Garbled {
        /// What is wrong with it.
        what: String,
        /// How it begins.
        sample: String,
    },
}

impl Fault {
    /// By Nacos' code, which is that of HTTP where it has one (api: `NacosException`).
    pub(crate) fn of_code(code: i64, what: String, body: &[u8]) -> Self {
        match code {
            301 => Self::Unregistered(what),
            401 | 403 => Self::Denied(what),
            // Invalid parameters: of HTTP, of the client, of API v2.
            400 | -400 | 10000..=10002 => Self::Refused(what),
            // 300 starting; 500 any failure inside; 503 too much.
            300 | 429 | 500..=599 | 30000..=39999 => Self::NotReady(format!("{code} {what}")),
            _ => Self::garbled(format!("{code} {what}"), body),
        }
    }

    /// An answer nobody understands.
    pub(crate) fn garbled(what: impl Into<String>, body: &[u8]) -> Self {
        Self::Garbled {
            what: what.into(),
            sample: quoted(body),
        }
    }

    /// As the end of a session with this server.
    pub(super) fn of_session(self, server: &impl Display) -> RegistryError {
        let address = server.to_string();
        match self {
            Self::Lost(what) => RegistryError::Unreachable {
                address,
                source: what.into(),
            },
            Self::NotReady(what) => RegistryError::NotReady { address, what },
            Self::Unregistered(what) => RegistryError::SessionOver { address, what },
            Self::Denied(what) => RegistryError::Denied { address, what },
            Self::Refused(what) => RegistryError::Malformed {
                address,
                what: "it refuses a question".to_owned(),
                sample: what,
            },
            Self::Garbled { what, sample } => RegistryError::Malformed { address, what, sample },
        }
    }
}

/// The beginning of a body, on one line. Nothing of a body with a token in it.
pub(crate) fn quoted(body: &[u8]) -> String {
    let start = String::from_utf8_lossy(&body[..body.len().min(QUOTED)]);
    if start.contains("accessToken") {
        return "(it holds a token)".to_owned();
    }
    let line: String = start.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
