//! What went wrong, as RFC 9457 has it: `application/problem+json`.
//!
//! | what | HTTP status |
//! |---|---|
//! | the body is no JSON, or no arguments | 400; a method that is not there 404; a result that JSON cannot hold 502 |
//! | Dubbo status 30, 31 | 504 |
//! | 40 | 400 |
//! | 60 | 404 |
//! | 100 | 503 |
//! | any other | 502 |
//! | an exception of the method | 500, or what is said for its class |
//! | `RpcException` | by its code: timeout 504, forbidden 403, limit 429, validation 400, authorization 401, no provider 503, no method 404, else 502 |
//!
//! Stacks of Java and addresses of providers never get into an answer: of Dubbo's own errors only the kind is told, of a method's
//! exception its class and message.

use super::{
    call::ArgumentError,
    json::{Json, NotJson},
    result::ResultError,
};
use crate::{
    dubbo2::Status,
    hessian2::{Heap, Node, Object, Value},
};

/// The content type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// A problem, ready to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// `about:blank`, or `urn:dubbo:exception:` and the Java class.
    pub kind: String,
    /// The status in words, or the class without its package.
    pub title: String,
    /// What happened.
    pub detail: Option<String>,
    /// The Java class of an exception.
    pub exception: Option<String>,
    /// Dubbo's own status, where it was not OK.
    pub dubbo_status: Option<u8>,
}

/// Which HTTP status an exception has, by its class: `com.x.NotFoundException` or, for a package, `com.x.*`. The first that matches
/// counts; what none matches has its usual status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExceptionStatuses(Vec<(String, u16)>);

impl ExceptionStatuses {
    /// Of classes and their statuses.
    pub fn new(statuses: impl IntoIterator<Item = (String, u16)>) -> Self {
        Self(statuses.into_iter().collect())
    }

    fn of(&self, class: &str) -> Option<u16> {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => class.starts_with(start),
            None => class == pattern,
        };
        self.0
            .iter()
            .find(|(pattern, _)| matches(pattern))
            .map(|(_, status)| *status)
    }
}

/// Letters of a message that are passed on.
pub(super) const MOST_DETAIL: usize = 1024;

pub(super) fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        status if status < 500 => "Client Error",
        _ => "Server Error",
    }
}

/// The HTTP status and the words for a Dubbo status other than OK.
pub fn http_status(status: Status) -> (u16, &'static str) {
    match status {
        Status::CLIENT_TIMEOUT | Status::SERVER_TIMEOUT => (504, "the service did not answer in time"),
        Status::BAD_REQUEST => (400, "the service could not read the call"),
        Status::SERVICE_NOT_FOUND => (404, "there is no such service"),
        Status::BUSY => (503, "the service has too many calls at once"),
        Status::SERIALIZATION_ERROR | Status::BAD_RESPONSE => (502, "the service could not write its answer"),
        Status::CHANNEL_INACTIVE => (502, "the connection to the service broke"),
        _ => (502, "the service failed before its method was called"),
    }
}

/// The HTTP status and the words for a code of `RpcException`.
fn http_status_of_code(code: i32) -> (u16, &'static str) {
    match code {
        2 | 8 => (504, "the service did not answer in time"),
        4 => (403, "the service refuses the call"),
        6 | 9 | 10 => (503, "the service has no provider at present"),
        7 => (429, "the service has a limit for calls, and it is reached"),
        11 => (404, "the service has no such method"),
        12 => (400, "the service finds the arguments not valid"),
        13 => (401, "the service does not know the caller"),
        _ => (502, "the service could not be called"),
    }
}

impl Problem {
    /// A problem without a kind of its own.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind: "about:blank".to_owned(),
            title: phrase(status).to_owned(),
            detail: Some(detail.into()),
            exception: None,
            dubbo_status: None,
        }
    }

    /// Of an answer with a status other than OK. Its message is for the log: it has addresses in it.
    pub fn of_status(status: Status) -> Self {
        let (http, detail) = http_status(status);
        Self {
            dubbo_status: Some(status.0),
            ..Self::new(http, detail)
        }
    }

    /// Of an exception that a call ended with.
    pub fn of_exception(value: &Value, heap: &Heap, statuses: &ExceptionStatuses) -> Self {
        let thrown = match value {
            Value::Node(id) => heap.get(*id),
            _ => None,
        };
        let Some(Node::Object(object)) = thrown else {
            // Go's providers throw plain text.
            let text = if let Value::String(text) = value {
                text.to_text().into_owned()
            } else {
                String::new()
            };
            return Self::thrown("error", &text, statuses);
        };
        let class = heap
            .class(object.class)
            .map(|class| class.name.to_text().into_owned())
            .unwrap_or_default();
        let message = field(heap, object, "detailMessage");
        // What `$invoke` throws tells of the real one.
        if class.ends_with(".rpc.service.GenericException") {
            let class = field(heap, object, "exceptionClass").unwrap_or(class);
            let message = field(heap, object, "exceptionMessage").or(message);
            return Self::thrown(&class, &message.unwrap_or_default(), statuses);
        }
        if class.ends_with(".rpc.RpcException") {
            let code = match heap.field(object, "code") {
                Some(Value::Int(code)) => *code,
                _ => 0,
            };
            let (status, detail) = http_status_of_code(code);
            return Self {
                exception: Some(class.clone()),
                ..Self::new(statuses.of(&class).unwrap_or(status), detail)
            };
        }
        Self::thrown(&class, &message.unwrap_or_default(), statuses)
    }

    fn thrown(class: &str, message: &str, statuses: &ExceptionStatuses) -> Self {
        // A provider makes what its callers cannot know into a RuntimeException, whose message is the whole stack: the first line
        // says `com.x.NotThereException: no such order`.
        let is_stack = class == "java.lang.RuntimeException" && message.contains("\n\tat ");
        let first = message.lines().next().unwrap_or_default();
        let (class, message) = match first.split_once(": ") {
            Some((inner, text)) if is_stack && is_class(inner) => (inner, text),
            None if is_stack && is_class(first) => (first, ""),
            _ if is_stack => (class, first),
            _ => (class, message.split("\n\tat ").next().unwrap_or_default()),
        };
        let status = statuses.of(class).unwrap_or(match class {
            class if class.ends_with(".ConstraintViolationException") || class.ends_with(".ValidationException") => 400,
            class if class.ends_with(".remoting.TimeoutException") => 504,
            _ => 500,
        });
        let detail: String = message.trim().chars().take(MOST_DETAIL).collect();
        Self {
            status,
            kind: format!(
                "urn:dubbo:exception:{}",
                class.replace(|c: char| !(c.is_ascii_alphanumeric() || "._$-".contains(c)), "")
            ),
            title: class
                .rsplit(['.', '$'])
                .next()
                .unwrap_or(class)
                .chars()
                .take(200)
                .collect(),
            detail: (!detail.is_empty()).then_some(detail),
            exception: Some(class.chars().take(MOST_DETAIL).collect()),
            dubbo_status: None,
        }
    }

    /// The body.
    pub fn to_json(&self) -> Json {
        let mut members = vec![
            ("type", Json::from(self.kind.as_str())),
            ("title", self.title.as_str().into()),
            ("status", i64::from(self.status).into()),
        ];
        members.extend(self.detail.as_deref().map(|detail| ("detail", detail.into())));
        members.extend(self.exception.as_deref().map(|class| ("exception", class.into())));
        members.extend(
            self.dubbo_status
                .map(|status| ("dubboStatus", i64::from(status).into())),
        );
        Json::object(members)
    }
}

impl From<&NotJson> for Problem {
    fn from(error: &NotJson) -> Self {
        Self::new(400, error.to_string())
    }
}

impl From<&ArgumentError> for Problem {
    fn from(error: &ArgumentError) -> Self {
        let status = if matches!(error, ArgumentError::NoMethod { .. }) {
            404
        } else {
            400
        };
        Self::new(status, error.to_string())
    }
}

impl From<&ResultError> for Problem {
    fn from(error: &ResultError) -> Self {
        Self::new(502, error.to_string())
    }
}

fn field(heap: &Heap, object: &Object, name: &str) -> Option<String> {
    match heap.field(object, name)? {
        Value::String(text) => Some(text.to_text().into_owned()),
        _ => None,
    }
}

fn is_class(text: &str) -> bool {
    text.contains('.')
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '$'))
}
