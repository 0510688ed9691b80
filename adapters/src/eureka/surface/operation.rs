//! Which operation a method and a path ask for.
//!
//! `/eureka/…` and `/eureka/v2/…` are the same, and so is a path with a slash at its end.

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    All,
    Delta,
    Application(String),
    Register(String),
    Instance(String, String),
    Renew(String, String),
    Cancel(String, String),
    SetStatus(String, String),
    RemoveStatus(String, String),
    Metadata(String, String),
    ById(String),
    Vip { name: String, secure: bool },
}

impl Operation {
    /// One word, for people and metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Delta => "delta",
            Self::Application(_) => "application",
            Self::Instance(..) | Self::ById(_) => "instance",
            Self::Vip { .. } => "vip",
            Self::Register(_) => "register",
            Self::Renew(..) => "renew",
            Self::Cancel(..) => "deregister",
            Self::SetStatus(..) | Self::RemoveStatus(..) => "status",
            Self::Metadata(..) => "metadata",
        }
    }

    /// Whether nothing is changed by it.
    pub(super) fn reads(&self) -> bool {
        match self {
            Self::All | Self::Delta | Self::Application(_) | Self::Instance(..) | Self::ById(_) | Self::Vip { .. } => {
                true
            }
            Self::Register(_)
            | Self::Renew(..)
            | Self::Cancel(..)
            | Self::SetStatus(..)
            | Self::RemoveStatus(..)
            | Self::Metadata(..) => false,
        }
    }
}

/// Which operation it is; `Err` with 404 or 405 if none.
pub(super) fn operation(method: &Method, path: &str) -> Result<Operation, StatusCode> {
    let decoded: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let rest = match parts.as_slice() {
        ["eureka", version, rest @ ..] if version.eq_ignore_ascii_case("v2") => rest,
        ["eureka", rest @ ..] => rest,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let read = matches!(*method, Method::GET | Method::HEAD);
    let two = |app: &str, id: &str| (app.to_owned(), id.to_owned());
    let operation = match rest {
        ["apps"] if read => Operation::All,
        ["apps", "delta"] if read => Operation::Delta,
        ["apps", app] if read => Operation::Application((*app).to_owned()),
        ["apps", app] if method == Method::POST => Operation::Register((*app).to_owned()),
        ["apps", app, id] => {
            let (app, id) = two(app, id);
            match *method {
                Method::GET | Method::HEAD => Operation::Instance(app, id),
                Method::PUT => Operation::Renew(app, id),
                Method::DELETE => Operation::Cancel(app, id),
                _ => return Err(StatusCode::METHOD_NOT_ALLOWED),
            }
        }
        ["apps", app, id, "status"] if method == Method::PUT => {
            let (app, id) = two(app, id);
            Operation::SetStatus(app, id)
        }
        ["apps", app, id, "status"] if method == Method::DELETE => {
            let (app, id) = two(app, id);
            Operation::RemoveStatus(app, id)
        }
        ["apps", app, id, "metadata"] if method == Method::PUT => {
            let (app, id) = two(app, id);
            Operation::Metadata(app, id)
        }
        ["instances", id] if read => Operation::ById((*id).to_owned()),
        [kind @ ("vips" | "svips"), name] if read => Operation::Vip {
            name: (*name).to_owned(),
            secure: *kind == "svips",
        },
        ["apps", ..] | ["instances" | "vips" | "svips", _] => return Err(StatusCode::METHOD_NOT_ALLOWED),
        _ => return Err(StatusCode::NOT_FOUND),
    };
    Ok(operation)
}
