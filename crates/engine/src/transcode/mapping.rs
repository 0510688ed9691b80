//! An HTTPTranscoding, compiled: a consumer's call in, the request of HTTP that it means out; and its answer's way back.
//!
//! ```text
//!  call ─▶ Service::receive ─▶ method, arguments as JSON ─▶ path, query, headers, body ─▶ endpoint
//!  reply ◀── value or exception ◀── JSON, or text ◀── status, type, body ◀───────────────────┘
//! ```
//!
//! An argument is never more than a value: it ends neither its segment of the path nor its header, and no segment becomes `..`.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use landfall_codec::{
    dubbo2::Request,
    mapping::{Argument, Json, JsonLimits, Options, Received, ResultOptions, Service},
};
use landfall_model::rules::{HttpMethod, HttpTranscoding, ParameterTarget, PathPart};

use super::known;
use crate::dubbo::Fault;

/// An HTTPTranscoding, compiled.
#[derive(Debug)]
pub(crate) struct HttpMapping {
    source: Arc<HttpTranscoding>,
    service: Service,
}

/// Why a call is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unmapped {
    /// No method of the transcoding is meant.
    #[error("no request of HTTP stands for {0}")]
    Method(String),
    /// An argument cannot go where it should.
    #[error("the argument `{name}` cannot go into the {place}: {why}")]
    Argument {
        /// Its name.
        name: Arc<str>,
        /// Where it should go.
        place: &'static str,
        /// Why it cannot.
        why: String,
    },
}

/// A request of HTTP, ready for whichever endpoint takes it.
#[derive(Debug)]
pub(crate) struct HttpRequest {
    /// The HTTP method.
    pub(crate) verb: Arc<str>,
    /// Escaped.
    pub(crate) path: String,
    /// Escaped; without the question mark.
    pub(crate) query: Option<String>,
    /// Without those that an endpoint asks for.
    pub(crate) headers: HeaderMap,
    /// JSON.
    pub(crate) body: Option<Bytes>,
    received: Received,
}

/// Attachments that tell of a trace under the names of headers.
const TRACES: [&str; 9] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "sw8",
    "uber-trace-id",
];

impl HttpMapping {
    /// Compiles one.
    ///
    /// # Errors
    /// Declared types that cannot be read, in words.
    pub(crate) fn compile(source: &Arc<HttpTranscoding>) -> Result<Self, String> {
        let declared = &source.types;
        Ok(Self {
            service: known::service(declared, "", declared.definition.as_deref())?,
            source: source.clone(),
        })
    }

    /// Verbs and templates of the requests that stand for a method of this name.
    pub(crate) fn requests<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, String)> {
        let own = self.source.methods.iter().filter(move |method| *method.method == *name);
        own.map(|method| {
            let part = |part: &PathPart| match part {
                PathPart::Text(text) => format!("/{text}"),
                PathPart::Parameter(name) => format!("/{{{name}}}"),
            };
            (&*method.verb, method.path.iter().map(part).collect())
        })
    }

    /// The request that a call means.
    ///
    /// # Errors
    /// Why it means none.
    pub(crate) fn request(&self, call: &Request) -> Result<HttpRequest, Fault> {
        let received = self
            .service
            .receive(call, ResultOptions::default())
            .map_err(Fault::Unreceived)?;
        let count = received.arguments.len();
        let meant = |method: &&HttpMethod| *method.method == *received.method && method.parameters.len() == count;
        let Some(method) = self.source.methods.iter().find(meant) else {
            let name: String = received.method.chars().take(256).collect();
            let what = format!("the method `{name}` with {count} arguments");
            return Err(Fault::Unmapped(Unmapped::Method(what)));
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        for name in TRACES {
            let value = call.attachments.get(name).and_then(|value| value.to_text());
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let (path, query, body) = parts(method, &received.arguments, &mut headers).map_err(Fault::Unmapped)?;
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(HttpRequest {
            verb: method.verb.clone(),
            path,
            query,
            headers,
            body,
            received,
        })
    }

    /// The body of the reply for an answer of HTTP.
    ///
    /// # Errors
    /// Why it is no reply.
    pub(crate) fn reply(
        &self,
        request: &HttpRequest,
        (status, kind): (u16, &str),
        body: &[u8],
    ) -> Result<Bytes, Fault> {
        if !(200..300).contains(&status) {
            let failure = request.received.failure(status, body);
            return failure.map_err(|why| Fault::NoResult(why.to_string()));
        }
        let json = match body.iter().all(u8::is_ascii_whitespace) {
            true => None,
            false => Some(json_of(kind, body).map_err(Fault::NoResult)?),
        };
        let options = Options {
            ignore_unknown_members: true,
            ..Options::default()
        };
        let answer = request.received.answer(&self.service.classes, json.as_ref(), options);
        answer.map_err(|why| Fault::NoResult(why.to_string()))
    }
}

/// A body that says it is text is one text.
fn json_of(kind: &str, body: &[u8]) -> Result<Json, String> {
    if kind.starts_with("text/") {
        let text = str::from_utf8(body).map_err(|_| "the answer is text that is not UTF-8".to_owned())?;
        return Ok(Json::from(text));
    }
    Json::parse(body, JsonLimits::default()).map_err(|why| format!("the answer cannot be read: {why}"))
}

type Parts = (String, Option<String>, Option<Bytes>);

fn parts(method: &HttpMethod, arguments: &[Argument], headers: &mut HeaderMap) -> Result<Parts, Unmapped> {
    let mut query = String::new();
    let mut in_body: Vec<(&str, &Json)> = Vec::new();
    for (parameter, argument) in method.parameters.iter().zip(arguments) {
        let wrong = |place, why: String| Unmapped::Argument {
            name: parameter.name.clone(),
            place,
            why,
        };
        match &parameter.to {
            ParameterTarget::Path => {}
            ParameterTarget::Body => in_body.push((&parameter.name, &argument.value)),
            ParameterTarget::Query(name) => {
                for text in argument.texts().map_err(|why| wrong("query", why.to_string()))? {
                    if !query.is_empty() {
                        query.push('&');
                    }
                    escape(name, &mut query);
                    query.push('=');
                    escape(&text, &mut query);
                }
            }
            ParameterTarget::Header(name) => {
                for text in argument.texts().map_err(|why| wrong("header", why.to_string()))? {
                    let bad = || wrong("header", "a header is one line of plain text".to_owned());
                    let value = HeaderValue::from_str(&text).map_err(|_| bad())?;
                    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
                    headers.append(name, value);
                }
            }
        }
    }
    let mut path = String::new();
    for part in &method.path {
        path.push('/');
        match part {
            PathPart::Text(text) => path.push_str(text),
            PathPart::Parameter(name) => {
                let wrong = |why: String| Unmapped::Argument {
                    name: name.clone(),
                    place: "path",
                    why,
                };
                let mut named = method.parameters.iter().zip(arguments);
                let found = named.find(|(parameter, _)| parameter.name == *name);
                let (_, argument) = found.ok_or_else(|| wrong("there is none".to_owned()))?;
                let texts = argument.texts().map_err(|why| wrong(why.to_string()))?;
                match texts.as_slice() {
                    [text] if !matches!(&**text, "" | "." | "..") => escape(text, &mut path),
                    _ => return Err(wrong("it must be one text, neither empty nor dots alone".to_owned())),
                }
            }
        }
    }
    let body = match in_body.as_slice() {
        [] => None,
        [(_, whole)] => Some(whole.to_string()),
        members => {
            let members = members.iter().map(|(name, value)| (*name, (*value).clone()));
            Some(Json::object(members).to_string())
        }
    };
    Ok((
        path,
        Some(query).filter(|query| !query.is_empty()),
        body.map(Bytes::from),
    ))
}

/// Everything but what no reader takes for more than itself is escaped.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}
