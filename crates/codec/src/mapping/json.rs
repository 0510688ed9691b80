//! JSON as it stands in the text: numbers keep every digit, strings every UTF-16 unit.
//!
//! `serde_json` would turn a BigDecimal into a double and refuse the single surrogates that Java strings may hold; its feature
//! against the first changes its numbers for the whole workspace. What is here also knows where it is, so that an error can say so.
//!
//! A key that comes twice is refused: the one who checks a request and the one who acts on it could each believe another of them.

use std::{collections::HashSet, fmt};

use crate::hessian2::JavaString;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number as it is written: `9007199254740993`, `1.50`, `1E+3`.
    Number(Box<str>),
    /// Text.
    String(JavaString),
    /// Values in order.
    Array(Vec<Json>),
    /// Names and values in order; no name comes twice.
    Object(Vec<(JavaString, Json)>),
}

/// How much of a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Bytes of the text. Default 8 MiB, as Dubbo has it for bodies.
    pub bytes: usize,
    /// Arrays and objects inside each other. Default 64; 256 is the most.
    pub depth: usize,
    /// Values of all kinds together. Default 1,048,576.
    pub values: usize,
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self {
            bytes: 8 << 20,
            depth: 64,
            values: 1 << 20,
        }
    }
}

/// Why bytes are no JSON that we take. Answered with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no JSON that is taken here: {what}, at byte {at}")]
pub struct NotJson {
    /// The byte, counted from 0.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Number(value.to_string().into())
    }
}

impl Json {
    /// Reads one value.
    pub fn parse(bytes: &[u8], limits: JsonLimits) -> Result<Self, NotJson> {
        let mut reader = Reader {
            bytes,
            at: 0,
            values: limits.values,
        };
        if bytes.len() > limits.bytes {
            reader.at = limits.bytes;
            return Err(reader.wrong("it is too long"));
        }
        reader.space();
        // Reading calls itself once a level.
        let value = reader.value(limits.depth.min(MOST_DEPTH))?;
        reader.space();
        if reader.at < bytes.len() {
            return Err(reader.wrong("something follows the value"));
        }
        Ok(value)
    }

    /// An object of these members; the caller sees to it that no name comes twice.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Json)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// An object's member.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| *key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if this is a string without single surrogates.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => text.as_str(),
            _ => None,
        }
    }

    /// What it is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// The deepest that is read, whatever the caller allows.
const MOST_DEPTH: usize = 256;

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(text) => f.write_str(text),
            Self::String(text) => quoted(f, text),
            Self::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(members) => {
                f.write_str("{")?;
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    quoted(f, name)?;
                    f.write_str(":")?;
                    value.fmt(f)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A single surrogate goes out as an escape, so the text is UTF-8 and nothing is lost.
fn quoted(f: &mut fmt::Formatter<'_>, text: &JavaString) -> fmt::Result {
    f.write_str("\"")?;
    match text.as_str() {
        Some(text) => text.chars().try_for_each(|c| escaped(f, c))?,
        None => {
            for unit in char::decode_utf16(text.units()) {
                match unit {
                    Ok(c) => escaped(f, c)?,
                    Err(lone) => write!(f, "\\u{:04x}", lone.unpaired_surrogate())?,
                }
            }
        }
    }
    f.write_str("\"")
}

fn escaped(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '"' => f.write_str("\\\""),
        '\\' => f.write_str("\\\\"),
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c)),
        c => fmt::Write::write_char(f, c),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How many may still come.
    values: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &'static str) -> NotJson {
        NotJson { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn taken(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Result<Json, NotJson> {
        self.values = self.values.checked_sub(1).ok_or(self.wrong("it has too many values"))?;
        match self.peek() {
            Some(b'n') => self.word(b"null", Json::Null),
            Some(b't') => self.word(b"true", Json::Bool(true)),
            Some(b'f') => self.word(b"false", Json::Bool(false)),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(_) => Err(self.wrong("no value begins so")),
            None => Err(self.wrong("it ends where a value should be")),
        }
    }

    fn word(&mut self, word: &[u8], value: Json) -> Result<Json, NotJson> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.wrong("no value begins so"))
    }

    fn array(&mut self, depth: usize) -> Result<Json, NotJson> {
        let depth = depth.checked_sub(1).ok_or(self.wrong("it is nested too deep"))?;
        self.at += 1;
        self.space();
        let mut items = Vec::new();
        if self.taken(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            self.space();
            items.push(self.value(depth)?);
            self.space();
            if self.taken(b']') {
                return Ok(Json::Array(items));
            }
            if !self.taken(b',') {
                return Err(self.wrong("a comma or `]` should be here"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, NotJson> {
        let depth = depth.checked_sub(1).ok_or(self.wrong("it is nested too deep"))?;
        self.at += 1;
        self.space();
        let (mut members, mut names) = (Vec::new(), HashSet::new());
        if self.taken(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name in quotes should be here"));
            }
            let name = self.string()?;
            if !names.insert(name.clone()) {
                return Err(self.wrong("a name comes twice in one object"));
            }
            self.space();
            if !self.taken(b':') {
                return Err(self.wrong("a colon should be here"));
            }
            self.space();
            members.push((name, self.value(depth)?));
            self.space();
            if self.taken(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.taken(b',') {
                return Err(self.wrong("a comma or `}` should be here"));
            }
        }
    }

    fn number(&mut self) -> Result<Json, NotJson> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = number_length(rest).ok_or(self.wrong("this is no number"))?;
        let text = rest.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        self.at += length;
        text.map(|text| Json::Number(text.into()))
            .ok_or(self.wrong("this is no number"))
    }

    fn string(&mut self) -> Result<JavaString, NotJson> {
        self.at += 1;
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    let plain = std::str::from_utf8(self.bytes.get(start..self.at).unwrap_or_default());
                    let text = plain.map_err(|_| self.wrong("this string is not UTF-8"))?;
                    self.at += 1;
                    return Ok(text.into());
                }
                b'\\' => return self.string_with_escapes(start),
                0..0x20 => return Err(self.wrong("a control character must be escaped")),
                _ => self.at += 1,
            }
        }
        Err(self.wrong("a string does not end"))
    }

    fn string_with_escapes(&mut self, start: usize) -> Result<JavaString, NotJson> {
        let mut units: Vec<u16> = Vec::new();
        self.at = start;
        loop {
            let plain = self.at;
            while self
                .peek()
                .is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
            {
                self.at += 1;
            }
            let text = std::str::from_utf8(self.bytes.get(plain..self.at).unwrap_or_default());
            units.extend(text.map_err(|_| self.wrong("this string is not UTF-8"))?.encode_utf16());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(JavaString::from_units(units));
                }
                Some(b'\\') => {
                    self.at += 1;
                    units.push(self.escape()?);
                }
                Some(_) => return Err(self.wrong("a control character must be escaped")),
                None => return Err(self.wrong("a string does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<u16, NotJson> {
        let unit = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => u16::from(byte),
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => 10,
            Some(b'r') => 13,
            Some(b't') => 9,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5).unwrap_or_default();
                let text = std::str::from_utf8(digits).unwrap_or_default();
                let unit = u16::from_str_radix(text, 16).ok();
                let unit = unit.filter(|_| digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit));
                let unit = unit.ok_or(self.wrong("four hexadecimal digits follow `\\u`"))?;
                self.at += 4;
                unit
            }
            _ => return Err(self.wrong("there is no such escape")),
        };
        self.at += 1;
        Ok(unit)
    }
}

/// How many bytes of these are a JSON number; `None` if they do not begin with one.
fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |at: usize| {
        bytes
            .get(at..)
            .unwrap_or_default()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    at += match bytes.get(at)? {
        b'0' => 1,
        b'1'..=b'9' => digits(at),
        _ => return None,
    };
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return None;
        }
        at += 1 + sign + exponent;
    }
    Some(at)
}

/// Whether this text is a JSON number and nothing else.
pub(super) fn is_number(text: &str) -> bool {
    number_length(text.as_bytes()) == Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8], depth: usize) -> Result<Json, NotJson> {
        Json::parse(
            text,
            JsonLimits {
                depth,
                ..JsonLimits::default()
            },
        )
    }

    #[test]
    fn what_is_read_is_written_again_digit_by_digit() {
        for text in [
            "null",
            "[true,false,-0.0,1E+3,9007199254740993,0.10000000000000000000000001]",
            r#"{"a":{"b":[]},"ü😀":"\ud83d\n\"\\","":{}}"#,
            r#""\ude00\ud83d""#,
        ] {
            assert_eq!(parse(text.as_bytes(), 8).expect(text).to_string(), text);
        }
        let surrogates = parse(br#""\ud83d\ude00""#, 1).expect("a pair");
        assert_eq!(surrogates, Json::from("😀"));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("[1,]", 3),
            ("{\"a\":1,\"a\":2}", 10),
            ("01", 1),
            ("1.", 0),
            ("-", 0),
            ("[[[1]]]", 2),
            ("\"\\x\"", 2),
            ("\"\\u12g4\"", 2),
            ("\"\u{1}\"", 1),
            ("nul", 0),
            ("{a:1}", 1),
            ("\"a", 2),
        ] {
            assert_eq!(parse(text.as_bytes(), 2).expect_err(text).at, at, "{text}");
        }
        assert!(parse(b"\"\xff\"", 2).is_err());
        assert!(parse(&b"[".repeat(1_000_000), usize::MAX).is_err());
        let few = JsonLimits {
            values: 3,
            bytes: 9,
            ..JsonLimits::default()
        };
        assert!(Json::parse(b"[1,2]", few).is_ok());
        assert!(Json::parse(b"[1,2,3]", few).is_err());
        assert!(Json::parse(b"1234567890", few).is_err());
    }
}
