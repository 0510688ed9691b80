//! The body of a call, read as far as routing needs: who is called with what types, and the attachments behind the arguments.
//!
//! ```text
//!  +----------+------+---------+--------+-------+-----------------+-------------+----------+
//!  | protocol | path | version | method | types | arguments       | attachments | trailing |
//!  +----------+------+---------+--------+-------+-----------------+-------------+----------+
//!    "2.0.2"           or null            "I[J"   skipped, as many    map
//!                                                 as there are types
//! ```
//!
//! The arguments stay bytes. [`Request::rewrite`] writes new strings in front and new attachments behind and copies the arguments
//! between them as they are. That is sound because in front of them there are nothing but strings, which take no number in any of
//! Hessian's tables, and behind them pairs that do take one are not moved ([`Attachments`] tells more).
//!
//! Who is called is told twice, and the provider believes the attachments: ask [`Request::identity`].

use std::ops::Range;

use bytes::Bytes;

use super::{Attachment, Attachments, BodyError, Serialization, attachments, descriptor};
use crate::{
    Text,
    hessian2::{Decoder, EncodeError, Encoder, Error, Glimpse, Heap, Limits, Skipper, Value, encode},
};

/// Java methods have at most 255 parameters.
const MOST_ARGUMENTS: usize = 255;

/// The descriptor of `$invoke` and `$invokeAsync`: method, types, arguments.
pub const GENERIC_TYPES: &str = "Ljava/lang/String;[Ljava/lang/String;[Ljava/lang/Object;";

/// A call.
#[derive(Debug, Clone)]
pub struct Request {
    body: Bytes,
    limits: Limits,
    /// What the caller says it speaks: `2.0.2`, or the framework's version before 2.6.3.
    pub protocol: Text,
    /// The service as it stands in front. Not to be trusted: see [`identity`](Self::identity).
    pub path: Text,
    /// The version as it stands in front; `None` is null, which is usual.
    pub version: Option<Text>,
    /// The method. Of a generic call it is `$invoke`: see [`invoked`](Self::invoked).
    pub method: Text,
    /// The parameter types: [`descriptor::parse`] reads them.
    pub types: Text,
    /// What came with the call.
    pub attachments: Attachments,
    /// Where protocol, path, version and method end.
    ends: [usize; 4],
    arguments: Vec<Range<usize>>,
}

/// Who is really called: what a provider makes of the words in front and the attachments together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity<'a> {
    /// What the provider looks up.
    pub path: &'a str,
    /// The Java interface.
    pub interface: &'a str,
    /// Empty if there is none; `0.0.0` is none.
    pub version: &'a str,
    /// Empty if there is none.
    pub group: &'a str,
}

/// What is to be different in a call that is passed on.
#[derive(Debug, Clone, Default)]
pub struct Changes<'a> {
    /// Another path in front. Providers believe the attachment `path`: set it too.
    pub path: Option<&'a str>,
    /// Another version in front, perhaps null. Providers believe the attachment `version`: set it too.
    pub version: Option<Option<&'a str>>,
    /// Another method, of the same parameter types.
    pub method: Option<&'a str>,
    /// Attachments to add or replace.
    pub set: &'a [(&'a str, &'a str)],
    /// Attachments to leave out.
    pub remove: &'a [&'a str],
}

impl Request {
    /// Reads a body. The limits count for the arguments as for the rest.
    pub fn read(serialization: Serialization, body: Bytes, limits: Limits) -> Result<Self, BodyError> {
        if serialization != Serialization::HESSIAN2 {
            return Err(BodyError::Opaque(serialization));
        }
        let mut skipper = Skipper::new(&body, limits);
        let protocol = skipper.text(&body)?;
        let end_of_protocol = skipper.position();
        let path = skipper.text(&body)?;
        let end_of_path = skipper.position();
        let version = match skipper.peek() {
            Some(b'N') => skipper.skip().map(|_| None)?,
            _ => Some(skipper.text(&body)?),
        };
        let end_of_version = skipper.position();
        let method = skipper.text(&body)?;
        let ends = [end_of_protocol, end_of_path, end_of_version, skipper.position()];
        let types = skipper.text(&body)?;
        let count =
            descriptor::count(&types).map_err(|_| BodyError::Malformed("the parameter types are no descriptor"))?;
        if count > MOST_ARGUMENTS {
            return Err(Error::TooMuch {
                at: ends[3],
                what: "arguments",
                most: MOST_ARGUMENTS,
            }
            .into());
        }
        let arguments = (0..count).map(|_| skipper.skip()).collect::<Result<_, _>>()?;
        let attachments = Attachments::read(&mut skipper, &body)?;
        Ok(Self {
            limits,
            protocol,
            path,
            version,
            method,
            types,
            attachments,
            ends,
            arguments,
            body,
        })
    }

    /// Who is called, if the call is of one mind about it.
    pub fn identity(&self) -> Result<Identity<'_>, BodyError> {
        let path = self.single("path", "paths")?;
        let interface = self.single("interface", "interfaces")?;
        let version = self.single("version", "versions")?;
        let group = self.single("group", "groups")?.unwrap_or_default();
        let in_front = self.path.as_str();
        if path.is_some_and(|path| path != in_front) && interface != Some(in_front) {
            return Err(BodyError::TwoMinds("paths"));
        }
        let none = |version: &str| version.is_empty() || version == "0.0.0";
        let front_version = self.version.as_deref().filter(|version| !none(version));
        if let (Some(one), Some(other)) = (front_version, version.filter(|version| !none(version)))
            && one != other
        {
            return Err(BodyError::TwoMinds("versions"));
        }
        let version = version
            .or(front_version)
            .filter(|version| !none(version))
            .unwrap_or_default();
        let path = path.unwrap_or(in_front);
        Ok(Identity {
            path,
            interface: interface.unwrap_or(path),
            version,
            group,
        })
    }

    fn single(&self, key: &str, what: &'static str) -> Result<Option<&str>, BodyError> {
        let mut values = self.attachments.values(key);
        let value = values.next();
        if values.next().is_some() {
            return Err(BodyError::TwoMinds(what));
        }
        match value {
            None | Some(Attachment::Scalar(crate::hessian2::Scalar::Null)) => Ok(None),
            Some(Attachment::Text(text)) => Ok(Some(text)),
            Some(_) => Err(BodyError::Malformed("path, interface, version and group are text")),
        }
    }

    /// Whether the method is called by its name as an argument.
    pub fn is_generic(&self) -> bool {
        matches!(self.method.as_str(), "$invoke" | "$invokeAsync")
    }

    /// The method that will run: the first argument of a generic call, otherwise the method. `None` if a generic call does not
    /// tell it.
    pub fn invoked(&self) -> Option<Text> {
        if !self.is_generic() {
            return Some(self.method.clone());
        }
        match self.simple_argument(0)? {
            Glimpse::String(name) => name.as_str().map(|name| Text::from(name.to_owned())),
            _ => None,
        }
    }

    /// How many arguments there are.
    pub fn argument_count(&self) -> usize {
        self.arguments.len()
    }

    /// All arguments as they came.
    pub fn arguments(&self) -> Bytes {
        match (self.arguments.first(), self.arguments.last()) {
            (Some(first), Some(last)) => self.body.slice(first.start..last.end),
            _ => Bytes::new(),
        }
    }

    /// An argument that is null, a number, a truth value, a date or a string; these can be read without those before them.
    /// [`Glimpse::Other`] for all else, `None` if there is no such argument.
    pub fn simple_argument(&self, index: usize) -> Option<Glimpse> {
        let bytes = self.body.get(self.arguments.get(index)?.clone())?;
        // Anything that would need the tables of earlier arguments is no simple value.
        Some(Skipper::new(bytes, self.limits).glimpse().unwrap_or(Glimpse::Other))
    }

    /// How many arguments, from the first on, end within that many bytes of where the arguments begin.
    pub fn arguments_within(&self, bytes: usize) -> usize {
        let start = self.arguments.first().map_or(0, |first| first.start);
        self.arguments.partition_point(|argument| argument.end - start <= bytes)
    }

    /// The arguments as values.
    pub fn decode_arguments(&self) -> Result<(Vec<Value>, Heap), Error> {
        self.decode_first_arguments(self.argument_count())
    }

    /// The first arguments as values, so many of them, or all if there are fewer. What is behind them is not looked at.
    pub fn decode_first_arguments(&self, count: usize) -> Result<(Vec<Value>, Heap), Error> {
        let arguments = self.arguments();
        let mut decoder = Decoder::new(&arguments, self.limits);
        let values = (0..count.min(self.argument_count()))
            .map(|_| decoder.value())
            .collect::<Result<_, _>>()?;
        Ok((values, decoder.into_heap()))
    }

    /// The body as it came.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body with these changes. Arguments, and bytes behind the attachments, are copied as they are.
    pub fn rewrite(&self, changes: &Changes<'_>) -> Result<Bytes, BodyError> {
        let raw = |range: Range<usize>| self.body.get(range).unwrap_or_default();
        let [protocol, path, version, method] = self.ends;
        let mut out = Vec::with_capacity(self.body.len() + 128);
        out.extend_from_slice(raw(0..protocol));
        match changes.path {
            Some(text) => encode::string(&mut out, text),
            None => out.extend_from_slice(raw(protocol..path)),
        }
        match changes.version {
            Some(Some(text)) => encode::string(&mut out, text),
            Some(None) => encode::null(&mut out),
            None => out.extend_from_slice(raw(path..version)),
        }
        match changes.method {
            Some(text) => encode::string(&mut out, text),
            None => out.extend_from_slice(raw(version..method)),
        }
        let map = self.attachments.range();
        out.extend_from_slice(raw(method..map.start));
        self.attachments
            .rewrite(&self.body, changes.set, changes.remove, &mut out)?;
        out.extend_from_slice(raw(map.end..self.body.len()));
        Ok(out.into())
    }
}

/// A call that is made here.
#[derive(Debug, Clone)]
pub struct NewRequest<'a> {
    /// The path, which is the interface unless the provider says otherwise.
    pub path: &'a str,
    /// The version, if the service has one.
    pub version: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The parameter types.
    pub types: &'a str,
    /// Attachments; `path`, `interface` and, if there is one, `version` are to be among them.
    pub attachments: &'a [(&'a str, &'a str)],
}

impl NewRequest<'_> {
    /// The body in Hessian2, for protocol 2.0.2. There are to be as many arguments as types.
    pub fn encode(&self, arguments: &[Value], heap: &Heap) -> Result<Bytes, EncodeError> {
        let mut encoder = Encoder::new(heap);
        let out = encoder.out();
        encode::string(out, "2.0.2");
        encode::string(out, self.path);
        match self.version {
            Some(version) => encode::string(out, version),
            None => encode::null(out),
        }
        encode::string(out, self.method);
        encode::string(out, self.types);
        arguments.iter().try_for_each(|argument| encoder.value(argument))?;
        attachments::write(self.attachments.iter().copied(), encoder.out());
        Ok(encoder.finish().into())
    }
}
