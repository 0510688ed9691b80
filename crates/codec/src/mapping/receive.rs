//! The other way round: a call that a Dubbo consumer makes, as JSON for a service of HTTP, and that service's JSON as the call's result.
//!
//! ```text
//!  consumer ──▶ Request ─▶ Service::receive ─▶ Received ─▶ arguments: Json, or texts for path, query, headers ──▶ HTTP
//!                                                 │
//!  consumer ◀── body of a Response ◀─ Received::answer ◀──────────────────────────────── Json, or no body at all ◀──┤
//!                              throws ◀─ Received::failure ◀───────────────────────────────────── status, problem ◀──┘
//! ```
//!
//! Values have the forms of docs/dubbo-json.md, by the same code: arguments are written as results are there, and the answer is read as
//! arguments are. Types are the service's own where it has the method; else the call's parameter types, and the result tells its own:
//! map, list, text, number, which a generic call wants anyway. A type that a consumer names is only ever looked up.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    definition::{Classes, Method, Parameter, Service},
    fit::{Fit, Misfit, Options},
    json::{Json, JsonLimits},
    problem::{MOST_DETAIL, phrase},
    result::{ResultError, ResultOptions, json_within},
    types::Type,
};
use crate::{
    dubbo2::{
        BodyError, GENERIC_TYPES, Outcome, Request,
        descriptor::{self, JavaType},
        encode_response,
    },
    hessian2::{EncodeError, Heap, Node, Value},
};

/// A call as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The method that is meant; of a generic call the one that it names.
    pub method: String,
    /// What it is called with, in order.
    pub arguments: Vec<Argument>,
    /// What the consumer wants back; [`Type::Object`] if nothing is known of it.
    pub returns: Type,
    /// Whether it is a generic call, whose result has maps for objects.
    pub generic: bool,
    protocol: String,
}

/// An argument as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// The parameter's name, if it is known.
    pub name: Option<String>,
    /// The value.
    pub value: Json,
}

/// Why a call cannot be JSON. Answered with status 40: no other provider could make more of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// Its body makes no call.
    #[error(transparent)]
    Unreadable(#[from] BodyError),
    /// A generic call in a form of its own: native Java, beans, Gson.
    #[error("generic calls of the kind `{0}` are not read; use `true`")]
    Generic(String),
    /// An argument that has no form in JSON.
    #[error("argument {index} cannot be JSON: {}", of_argument(.why))]
    Argument {
        /// Which, from 0.
        index: usize,
        /// Why not.
        #[source]
        why: ResultError,
    },
}

/// Why a service's answer is no result. The call has been made, so it must not be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The JSON is nothing of the type that the consumer waits for.
    #[error("the answer is not what the method returns: {0}")]
    Misfit(#[from] Misfit),
    /// The value cannot be written.
    #[error("the result cannot be written: {0}")]
    Unwritable(#[from] EncodeError),
}

fn of_argument(why: &ResultError) -> String {
    match why {
        ResultError::Cycle { at } => format!("it holds itself at {at}"),
        ResultError::TooMuch { at, what, most } => format!("there are more than {most} {what}, at {at}"),
        ResultError::Broken { at } => format!("it points to nothing at {at}"),
    }
}

/// Why an argument is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no text: send it in the body")]
pub struct NotText(&'static str);

impl Service {
    /// What a call says. Its service need not be known: then types are the call's own. The size in the options is that of all arguments
    /// together.
    ///
    /// # Errors
    /// Why it cannot be JSON.
    pub fn receive(&self, request: &Request, options: ResultOptions) -> Result<Received, ReceiveError> {
        let generic = request.is_generic();
        if generic {
            let kind = request.attachments.get("generic").and_then(|value| value.to_text());
            if let Some(kind) = kind.filter(|kind| !kind.is_empty() && !kind.eq_ignore_ascii_case("true")) {
                return Err(ReceiveError::Generic(kind.chars().take(64).collect()));
            }
        }
        let (values, heap) = request.decode_arguments().map_err(BodyError::from)?;
        let call = if generic {
            named(request, &values, &heap)?
        } else {
            let types = descriptor::parse(&request.types).map_err(|_| NO_DESCRIPTOR)?;
            Named {
                method: request.method.to_string(),
                types: Some(types),
                values,
            }
        };
        let known = self.find(&call);
        // One thing can be in many arguments, and is written out in each.
        let mut left = options.size;
        let mut arguments = Vec::with_capacity(call.values.len());
        for (index, value) in call.values.iter().enumerate() {
            let parameter = known.and_then(|method| method.parameters.get(index));
            let own = call.types.as_ref().and_then(|types| types.get(index));
            let of = match (parameter, own) {
                (Some(parameter), _) => parameter.of.clone(),
                (None, Some(own)) => Type::parse(&own.to_string()).unwrap_or(Type::Object),
                (None, None) => Type::Object,
            };
            let value = json_within(value, &heap, &of, &self.classes, generic, options, &mut left)
                .map_err(|why| ReceiveError::Argument { index, why })?;
            let name = parameter.and_then(|parameter| parameter.name.clone());
            arguments.push(Argument { name, value });
        }
        Ok(Received {
            method: call.method,
            arguments,
            returns: known.map_or(Type::Object, |method| method.returns.clone()),
            generic,
            protocol: request.protocol.to_string(),
        })
    }

    /// The method of these very types; without types the only one of the name and so many parameters.
    fn find(&self, call: &Named) -> Option<&Method> {
        let of_name = self.methods.iter().filter(|method| method.name == call.method);
        let is_of = |parameters: &[Parameter], types: &[JavaType]| {
            parameters.len() == types.len()
                && parameters
                    .iter()
                    .zip(types)
                    .all(|(parameter, of)| parameter.of.java_type() == *of)
        };
        let mut found = of_name.filter(|method| match &call.types {
            Some(types) => is_of(&method.parameters, types),
            None => method.parameters.len() == call.values.len(),
        });
        let first = found.next();
        first.filter(|_| found.next().is_none())
    }
}

/// Java methods have at most 255 parameters.
const MOST_ARGUMENTS: usize = 255;

const NO_DESCRIPTOR: BodyError = BodyError::Malformed("the parameter types are no descriptor");

/// A call with what it says of its types.
struct Named {
    method: String,
    types: Option<Vec<JavaType>>,
    values: Vec<Value>,
}

/// The call inside of a generic one: its name, its types or null, its arguments or null.
fn named(request: &Request, values: &[Value], heap: &Heap) -> Result<Named, ReceiveError> {
    let malformed = BodyError::Malformed("a generic call has a name, types and arguments");
    let [Value::String(method), types, arguments] = values else {
        return Err(malformed.into());
    };
    if request.types.as_str() != GENERIC_TYPES {
        return Err(malformed.into());
    }
    let items = |value: &Value| match value {
        Value::Null => Some(None),
        Value::Node(id) => match heap.get(*id) {
            Some(Node::List(list)) => Some(Some(list.items.clone())),
            _ => None,
        },
        _ => None,
    };
    let (Some(types), Some(arguments)) = (items(types), items(arguments)) else {
        return Err(malformed.into());
    };
    let values = arguments.unwrap_or_default();
    if values.len() > MOST_ARGUMENTS {
        return Err(BodyError::Malformed("a method has at most 255 parameters").into());
    }
    let name = |of: &Value| match of {
        Value::String(name) => Some(JavaType::of_source(name.as_str()?)),
        _ => None,
    };
    // Dubbo 3 leaves the types out where the name is enough: null, or none at all.
    let types = types.filter(|types| !types.is_empty() || values.is_empty());
    let types: Option<Vec<JavaType>> = match types {
        Some(types) => Some(types.iter().map(name).collect::<Option<_>>().ok_or(malformed.clone())?),
        None => None,
    };
    if types.as_ref().is_some_and(|types| types.len() != values.len()) {
        return Err(BodyError::Malformed("a generic call has as many types as arguments").into());
    }
    Ok(Named {
        method: method.to_text().into_owned(),
        types,
        values,
    })
}

impl Received {
    /// The body of the response that returns this JSON; `None` is an answer without a body. A method that returns nothing returns
    /// nothing, whatever the answer was.
    ///
    /// # Errors
    /// Why the answer is no result.
    pub fn answer(&self, classes: &Classes, json: Option<&Json>, options: Options) -> Result<Bytes, AnswerError> {
        let mut fit = Fit::new(classes, options, self.generic);
        let value = match &self.returns {
            Type::Void => Value::Null,
            of => fit.argument(of, json.unwrap_or(&Json::Null), "$")?.0,
        };
        let outcome = match value {
            Value::Null => Outcome::Null,
            _ => Outcome::Value,
        };
        Ok(encode_response(outcome, &value, &fit.heap, &self.protocol, &[])?)
    }
}

impl Received {
    /// The body of the response that throws, for an answer of HTTP that is no result. `body` is read as far as it tells what happened: a
    /// problem (RFC 9457), or an object with a `message`. The exception is a `java.lang.RuntimeException`, which every consumer has and lets
    /// in, and which none takes for a reason to try again: `HTTP 404 Not Found: no such order`.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn failure(&self, status: u16, body: &[u8]) -> Result<Bytes, EncodeError> {
        let phrase = phrase(status);
        let mut message = format!("HTTP {status} {phrase}");
        if let Some(told) = told(body).filter(|told| !told.eq_ignore_ascii_case(phrase)) {
            message.push_str(": ");
            message.push_str(&told);
        }
        let mut heap = Heap::new();
        let thrown = heap.object(
            "java.lang.RuntimeException",
            vec![("detailMessage", Value::from(message.as_str()))],
        );
        encode_response(Outcome::Exception, &thrown, &heap, &self.protocol, &[])
    }
}

/// What a body says of what happened; of a stack only the line in front of it.
fn told(body: &[u8]) -> Option<String> {
    let json = Json::parse(body, JsonLimits::default()).ok()?;
    ["detail", "message", "title", "error"].into_iter().find_map(|name| {
        let text = json.get(name)?.as_str()?.split("\n\tat ").next()?.trim();
        (!text.is_empty()).then(|| text.chars().take(MOST_DETAIL).collect::<String>())
    })
}

impl Argument {
    /// The argument for a path, a query or a header: one text, several for a list, none for null. What reads texts as arguments reads
    /// the same value from them.
    ///
    /// # Errors
    /// That it has no such form: objects, and lists of anything but texts, numbers and truth values.
    pub fn texts(&self) -> Result<Vec<Cow<'_, str>>, NotText> {
        match &self.value {
            Json::Null => Ok(Vec::new()),
            Json::Array(items) => items.iter().map(text).collect(),
            one => Ok(vec![text(one)?]),
        }
    }
}

fn text(json: &Json) -> Result<Cow<'_, str>, NotText> {
    match json {
        Json::Bool(true) => Ok("true".into()),
        Json::Bool(false) => Ok("false".into()),
        Json::Number(text) => Ok(Cow::Borrowed(text)),
        Json::String(text) => text.as_str().map(Cow::Borrowed).ok_or(NotText("half of a character")),
        other => Err(NotText(other.kind())),
    }
}
