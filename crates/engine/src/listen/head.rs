//! The head of an HTTP/1 request, checked byte by byte before pingora parses it.
//!
//! ```text
//!  GET /orders?id=7 HTTP/1.1 CR LF       one space each, visible ASCII, known version
//!  Host: shop.example:8080 CR LF         exactly one, equal to an absolute target's
//!  Name: value CR LF                     token, colon at once, no control characters, no folding
//!  CR LF
//! ```
//!
//! pingora (and httparse under it) accepts bare LF, repairs illegal targets and lets Transfer-Encoding win over
//! Content-Length. A gateway must not repair: what this file does not understand in exactly one way is refused, so
//! that no two hops can read it differently. What remains of a request after [`check`] is well formed.
//! Next on the path: [`framing`](super::framing) for the body.

use super::{framing::Framing, refusal::Refusal};

/// Longest head in bytes, request line and all fields.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Most fields in a head; the number pingora can parse.
const MAX_FIELDS: usize = 256;
/// Longest request target in bytes.
const MAX_TARGET: usize = 16 * 1024;
const MAX_METHOD: usize = 32;

/// A head that may be served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its length with the empty line.
    pub(crate) length: usize,
    /// What follows.
    pub(crate) body: Framing,
    /// Where an absolute target's scheme and authority stand in the request line: to be cut out, because the
    /// Host field says the same and everything behind reads the origin form.
    pub(crate) cut: Option<std::ops::Range<usize>>,
}

/// Whether a byte may stand in a method or field name (RFC 9110 section 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let allowed = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut at = 0;
    while at < allowed.len() {
        table[allowed[at] as usize] = true;
        at += 1;
    }
    table
};

/// Finds the end of the head in `bytes`, of which the first `seen` were looked at before.
/// A line that does not end in CR LF is refused at once, so nobody waits for an end that cannot come.
pub(crate) fn find_end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Refusal> {
    // Three bytes back: the terminator may straddle two reads.
    for at in seen.saturating_sub(3)..bytes.len() {
        if bytes[at] != b'\n' {
            continue;
        }
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(Refusal::bad("line not ended by CRLF"));
        }
        if at >= 3 && &bytes[at - 3..at - 1] == b"\r\n" {
            return Ok(Some(at + 1));
        }
    }
    if bytes.len() > MAX_HEAD {
        // The first line tells which limit the client ran into.
        return Err(match bytes.contains(&b'\n') {
            true => Refusal::with(431, "request head too large"),
            false => Refusal::with(414, "request target too long"),
        });
    }
    Ok(None)
}

/// Checks a whole head, `bytes` being exactly its bytes up to and with the empty line.
pub(crate) fn check(bytes: &[u8]) -> Result<Head, Refusal> {
    if bytes.len() > MAX_HEAD {
        return Err(Refusal::with(431, "request head too large"));
    }
    let mut lines = Lines { bytes, at: 0 };
    let line = lines.next().ok_or(Refusal::bad("empty request"))?;
    let (method, target, minor) = request_line(line)?;
    let authority = target_form(method, target)?;
    let fields = Fields::read(&mut lines)?;
    let host = match (fields.host, minor) {
        (Some(host), _) => Some(host),
        (None, 0) if authority.is_none() => None,
        (None, _) => return Err(Refusal::bad("Host missing")),
    };
    if let (Some(authority), Some(host)) = (authority, host)
        && !authority.eq_ignore_ascii_case(host)
    {
        return Err(Refusal::bad("Host differs from the request target"));
    }
    let body = match (fields.chunked, fields.length, minor) {
        (true, Some(_), _) => return Err(Refusal::bad("both Transfer-Encoding and Content-Length")),
        (true, None, 0) => return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0")),
        (true, None, _) => Framing::chunked(),
        (false, length, _) => Framing::length(length.unwrap_or(0)),
    };
    let cut = authority.map(|authority| {
        let start = method.len() + 1;
        let scheme = target.iter().position(|byte| *byte == b'/').unwrap_or(0) + 2;
        start..start + scheme + authority.len()
    });
    Ok(Head {
        length: bytes.len(),
        body,
        cut,
    })
}

struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    /// The next line without its CR LF; `None` at the empty line.
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.at += end + 1;
        let line = &rest[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.is_empty()).then_some(line)
    }
}

fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], u8), Refusal> {
    const BAD: Refusal = Refusal::bad("malformed request line");
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BAD);
    };
    if method.is_empty() || method.len() > MAX_METHOD || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Refusal::bad("malformed method"));
    }
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Refusal::with(505, "HTTP version not supported"));
        }
        odd if odd.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"HTTP/")) => return Err(BAD),
        // Another protocol, such as a broken HTTP/2 preface (RFC 9113, 3.4: close): an answer in HTTP/1.1 would be noise.
        _ => return Err(Refusal::UNANSWERED),
    };
    if target.is_empty() {
        return Err(BAD);
    }
    if target.len() > MAX_TARGET {
        return Err(Refusal::with(414, "request target too long"));
    }
    if !target.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
        return Err(Refusal::bad("illegal character in the request target"));
    }
    Ok((method, target, minor))
}

/// Checks the form of the target; for the absolute form returns its authority.
fn target_form<'a>(method: &[u8], target: &'a [u8]) -> Result<Option<&'a [u8]>, Refusal> {
    if method == b"CONNECT" {
        return Err(Refusal::with(405, "CONNECT is not offered"));
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(None);
    }
    if target[0] == b'/' {
        check_path(target)?;
        return Ok(None);
    }
    let rest = strip_scheme(target).ok_or(Refusal::bad("malformed request target"))?;
    let end = rest
        .iter()
        .position(|byte| *byte == b'/')
        .ok_or(Refusal::bad("absolute target without a path"))?;
    let (authority, path) = rest.split_at(end);
    check_host(authority)?;
    check_path(path)?;
    Ok(Some(authority))
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })
}

/// Refuses paths that two servers may resolve differently: dot segments, plain, encoded or behind parameters
/// (`/a/..;/b`), encoded NUL, backslashes, fragments. Also used for the `:path` of HTTP/2.
pub(crate) fn check_path(target: &[u8]) -> Result<(), Refusal> {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or(target);
    if target.contains(&b'#') {
        return Err(Refusal::bad("fragment in the request target"));
    }
    if path.contains(&b'\\') {
        return Err(Refusal::bad("backslash in the path"));
    }
    // Almost no path has a dot or a percent sign: one look settles it.
    if !path.iter().any(|byte| matches!(byte, b'.' | b'%')) {
        return Ok(());
    }
    let (mut at, mut dots, mut others, mut parameters) = (0, 0, 0, false);
    while at < path.len() {
        let (byte, width) = decoded(&path[at..]);
        at += width;
        match byte {
            0 => return Err(Refusal::bad("NUL in the path")),
            b'/' | b'\\' => {
                dot_segment(dots, others)?;
                (dots, others, parameters) = (0, 0, false);
            }
            b';' if width == 1 => parameters = true,
            _ if parameters => {}
            b'.' => dots += 1,
            _ => others += 1,
        }
    }
    dot_segment(dots, others)
}

fn dot_segment(dots: usize, others: usize) -> Result<(), Refusal> {
    match (dots, others) {
        (1 | 2, 0) => Err(Refusal::bad("dot segment in the path")),
        _ => Ok(()),
    }
}

/// The first byte of `text`, percent-decoded if it is encoded, and how many bytes it took.
fn decoded(text: &[u8]) -> (u8, usize) {
    let hex = |byte: u8| (byte as char).to_digit(16);
    if let [b'%', high, low, ..] = text
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return ((high << 4 | low) as u8, 3);
    }
    (text[0], 1)
}

/// Checks the text of a Host field or authority: a name, an address or a bracketed address, then maybe a port.
pub(crate) fn check_host(host: &[u8]) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::bad("malformed Host");
    let (name, rest) = match host.strip_prefix(b"[") {
        Some(inner) => {
            let end = inner.iter().position(|byte| *byte == b']').ok_or(BAD)?;
            (&inner[..end], &inner[end + 1..])
        }
        None => host.split_at(host.iter().position(|byte| *byte == b':').unwrap_or(host.len())),
    };
    let bracketed = host.first() == Some(&b'[');
    let good = |byte: &u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' => true,
        b':' => bracketed,
        b'-' | b'_' | b'~' | b'%' => !bracketed,
        _ => false,
    };
    if name.is_empty() || name.len() > 255 || !name.iter().all(good) {
        return Err(BAD);
    }
    match rest {
        [] => Ok(()),
        [b':', port @ ..] if !port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit) => Ok(()),
        _ => Err(BAD),
    }
}

#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
}

impl<'a> Fields<'a> {
    fn read(lines: &mut Lines<'a>) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for (count, line) in lines.enumerate() {
            if count == MAX_FIELDS {
                return Err(Refusal::with(431, "too many header fields"));
            }
            fields.field(line)?;
        }
        Ok(fields)
    }

    fn field(&mut self, line: &'a [u8]) -> Result<(), Refusal> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(Refusal::bad("folded header field"));
        }
        let colon = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
        if colon == 0 || line.get(colon) != Some(&b':') {
            return Err(Refusal::bad("malformed header field name"));
        }
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // trim_ascii also takes form feeds and the like, so the raw value is checked.
        if !line[colon + 1..]
            .iter()
            .all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
        {
            return Err(Refusal::bad("control character in a header field"));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host.replace(value).is_some() {
                    return Err(Refusal::bad("more than one Host"));
                }
                check_host(value)
            }
            6 if name.eq_ignore_ascii_case(b"expect") && !value.eq_ignore_ascii_case(b"100-continue") => {
                Err(Refusal::with(417, "expectation not supported"))
            }
            14 if like(name, b"content-length") => self.content_length(name, value),
            17 if like(name, b"transfer-encoding") => self.transfer_encoding(name, value),
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.contains(&b'_') {
            return Err(Refusal::bad("header field name that looks like Content-Length"));
        }
        // 18 digits: no overflow is possible. A list, even of equal numbers, is refused.
        if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::bad("malformed Content-Length"));
        }
        let length = value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        match self.length.replace(length) {
            None => Ok(()),
            Some(_) => Err(Refusal::bad("more than one Content-Length")),
        }
    }

    fn transfer_encoding(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.contains(&b'_') {
            return Err(Refusal::bad("header field name that looks like Transfer-Encoding"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") || self.chunked {
            return Err(Refusal::bad("Transfer-Encoding is not exactly chunked"));
        }
        self.chunked = true;
        Ok(())
    }
}

/// Equal without case, `_` counting as `-`: gateways behind CGI-like variables cannot tell the two apart.
fn like(name: &[u8], wanted: &[u8]) -> bool {
    name.iter()
        .zip(wanted)
        .all(|(a, b)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Head, Refusal> {
        match find_end(text.as_bytes(), 0)? {
            Some(end) => check(&text.as_bytes()[..end]),
            None => panic!("no end in {text:?}"),
        }
    }

    #[test]
    fn plain_requests_pass() {
        for (text, body) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Done),
            (
                "GET /a%2Fb/.well-known/x.y?q=../a HTTP/1.1\r\nhost: [::1]:80\r\n\r\n",
                Framing::Done,
            ),
            (
                "POST / HTTP/1.1\r\nHost: a:8080\r\nContent-Length: 12\r\n\r\n",
                Framing::Length(12),
            ),
            (
                "POST / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding:\tChunked \r\n\r\n",
                Framing::chunked(),
            ),
            (
                "OPTIONS * HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\nEmpty:\r\n\r\n",
                Framing::Done,
            ),
            ("GET / HTTP/1.0\r\n\r\n", Framing::Done),
        ] {
            assert_eq!(read(text).map(|head| head.body), Ok(body), "{text:?}");
        }
    }

    #[test]
    fn an_absolute_target_is_cut_to_its_path() {
        let text = "GET http://a.example:80/x?y HTTP/1.1\r\nHost: A.example:80\r\n\r\n";
        let cut = read(text).unwrap().cut.unwrap();
        assert_eq!(
            [&text[..cut.start], &text[cut.end..]].concat().split("\r").next(),
            Some("GET /x?y HTTP/1.1")
        );
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let host = "Host: a\r\n";
        for text in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(),
            "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET / http/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: \r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            format!("GET /a/../b HTTP/1.1\r\n{host}\r\n"),
            format!("GET /a/%2e%2E/b HTTP/1.1\r\n{host}\r\n"),
            format!("GET /a/.%2e HTTP/1.1\r\n{host}\r\n"),
            format!("GET /a/..;x=y/b HTTP/1.1\r\n{host}\r\n"),
            format!("GET /a/..%2fb HTTP/1.1\r\n{host}\r\n"),
            format!("GET /a%5c..%5cb HTTP/1.1\r\n{host}\r\n"),
            format!("GET /./b HTTP/1.1\r\n{host}\r\n"),
            format!("GET /a\\b HTTP/1.1\r\n{host}\r\n"),
            format!("GET /a%00b HTTP/1.1\r\n{host}\r\n"),
            format!("GET /a#b HTTP/1.1\r\n{host}\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 1, 1\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Content-Length: +1\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 0x1\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Content-Length: \r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Content_Length: 1\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: \x0bchunked\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Transfer_Encoding: chunked\r\n\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n"),
            format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host} folded: x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}: x\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}nocolon\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"),
            format!("GET / HTTP/1.1\r\n{host}X\u{e9}: a\r\n\r\n"),
        ] {
            assert_eq!(read(&text).map_err(|refusal| refusal.status), Err(400), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_http_is_not_answered() {
        let preface = "INVALID CONNECTION PREFACE\r\n\r\n";
        let refusal = read(preface).map(|_| ()).unwrap_err();
        assert_eq!(refusal, Refusal::UNANSWERED);
        assert!(refusal.to_bytes().is_empty());
    }

    #[test]
    fn limits_and_expectations_have_their_own_status() {
        let many = "X: y\r\n".repeat(300);
        for (text, status) in [
            (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000)), 414),
            (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
            (
                format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000)),
                431,
            ),
            ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(), 405),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n".to_owned(), 417),
        ] {
            assert_eq!(read(&text).map_err(|refusal| refusal.status), Err(status));
        }
        assert_eq!(
            find_end(&vec![b'x'; MAX_HEAD + 1], 0).map_err(|refusal| refusal.status),
            Err(414)
        );
    }
}
