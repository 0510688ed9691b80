//! Dubbo URLs as text and as znode names.
//!
//! ```text
//! dubbo%3A%2F%2F10.0.0.5%3A20880%2Forg.x.Svc%3Fgroup%3Dg1%26version%3D1.0.0     name of a znode
//!    │ decode (once, for the whole)                ▲ encode
//!    ▼                                             │
//! dubbo://10.0.0.5:20880/org.x.Svc?group=g1&version=1.0.0
//! ╰protocol╯╰─host─╯ port ╰─path─╯ ╰──── parameters ────╯  values are not encoded on their own
//! ```
//!
//! As `URL.java` and `URLStrParser.java` of Dubbo read it: hex in either case, `+` is a space, `&` and `;`
//! part parameters, a parameter without `=` has its name as value, what follows `#` before `?` is dropped.
//! As they and Java's `URLEncoder` write it: parameters sorted, hex in upper case (Dubbo 3 looks for the
//! literal `%3F`). User and password are never kept.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// A Dubbo URL in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DubboUrl {
    /// `dubbo`, `tri`, `rest`, `consumer`, `override` …
    pub protocol: String,
    /// Address or name, IPv6 without brackets.
    pub host: String,
    /// 1 to 65535; a consumer has none.
    pub port: Option<u16>,
    /// Without the leading `/`.
    pub path: String,
    /// As written, `default.` prefixes included; see [`DubboUrl::get`].
    pub parameters: BTreeMap<String, String>,
}

/// Why a text is no Dubbo URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// `%` without two hex digits behind it.
    #[error("`%` at byte {0} is not followed by two hex digits")]
    Escape(usize),
    /// The escapes spell no UTF-8.
    #[error("it is not UTF-8 when decoded")]
    Utf8,
    /// No `protocol://`.
    #[error("it does not begin with `protocol://`")]
    Protocol,
    /// No host.
    #[error("it has no host")]
    Host,
    /// What stands behind the last `:` of the address.
    #[error("`{0}` is no port")]
    Port(String),
}

impl DubboUrl {
    /// From the name of a znode: decodes once, then reads.
    pub fn from_node_name(name: &str) -> Result<Self, InvalidUrl> {
        decode(name)?.parse()
    }

    /// As the name of a znode.
    pub fn to_node_name(&self) -> String {
        encode(&self.to_string())
    }

    /// A parameter; under its `default.` name (Dubbo 2.5 and 2.6 write that) when the plain one is absent.
    /// Empty is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let plain = self.parameters.get(name);
        let value = plain.or_else(|| self.parameters.get(&format!("default.{name}")));
        value.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Every parameter by its plain name, as [`DubboUrl::get`] sees it.
    pub fn plain(&self) -> BTreeMap<&str, &str> {
        let bare = |name: &'_ str| name.strip_prefix("default.").map(str::len);
        let names = self.parameters.keys().map(|name| match bare(name) {
            Some(length) if length > 0 => &name[name.len() - length..],
            _ => name.as_str(),
        });
        names.filter_map(|name| Some((name, self.get(name)?))).collect()
    }
}

impl FromStr for DubboUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let (body, query) = text.split_once('?').unwrap_or((text, ""));
        let body = body.split_once('#').map_or(body, |(body, _)| body);
        let (protocol, rest) = body.split_once("://").ok_or(InvalidUrl::Protocol)?;
        if protocol.is_empty()
            || !protocol
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
        {
            return Err(InvalidUrl::Protocol);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
        let (host, port) = host_and_port(address)?;
        let mut parameters = BTreeMap::new();
        for part in query.split(['&', ';']).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, part));
            if !name.is_empty() {
                parameters.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(Self {
            protocol: protocol.to_owned(),
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            parameters,
        })
    }
}

fn host_and_port(address: &str) -> Result<(&str, Option<u16>), InvalidUrl> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (
            host,
            Some(
                rest.strip_prefix(':')
                    .ok_or_else(|| InvalidUrl::Port(rest.to_owned()))?,
            ),
        ),
        // An IPv6 address without brackets: the port is behind the last colon, unless that is inside a scope id.
        None => match address.rsplit_once(':') {
            Some((host, port)) if !port.contains('%') => (host, Some(port)),
            _ => (address, None),
        },
    };
    if host.is_empty() {
        return Err(InvalidUrl::Host);
    }
    match port {
        None | Some("") => Ok((host, None)),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            let number: u16 = digits.parse().map_err(|_| InvalidUrl::Port(digits.to_owned()))?;
            // Dubbo writes 0 for none.
            Ok((host, Some(number).filter(|number| *number > 0)))
        }
        Some(other) => Err(InvalidUrl::Port(other.to_owned())),
    }
}

impl fmt::Display for DubboUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]", self.protocol, self.host)?;
        } else {
            write!(f, "{}://{}", self.protocol, self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        let mut mark = '?';
        for (name, value) in &self.parameters {
            write!(f, "{mark}{name}={value}")?;
            mark = '&';
        }
        Ok(())
    }
}

/// As Java's `URLDecoder`: `+` is a space, `%XX` a byte of UTF-8, hex in either case.
pub fn decode(text: &str) -> Result<String, InvalidUrl> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
                let (Some(high), Some(low)) = (digit(0), digit(1)) else {
                    return Err(InvalidUrl::Escape(at - 1));
                };
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).map_err(|_| InvalidUrl::Utf8)
}

/// As Java's `URLEncoder`: letters, digits and `.-*_` stay, space becomes `+`, the rest `%XX` in upper case.
pub fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
