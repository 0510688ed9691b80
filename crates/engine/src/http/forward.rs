//! The request as the endpoint sees it, and the answer as the client sees it: headers.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Version, header};
use pingora_error::{ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::{
    call::{HeaderBlock, HeaderView, Scheme},
    filter::Target,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Names a call across hops and logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers of one of pingora's heads as filters see them. pingora keeps the spelling of names beside the map, so
/// changes go through the head.
macro_rules! headers_of {
    ($(#[$doc:meta])* $name:ident, $head:ty) => {
        $(#[$doc])*
        pub(super) struct $name<'h>(pub(super) &'h mut $head);

        impl HeaderView for $name<'_> {
            fn first(&self, name: &HeaderName) -> Option<&[u8]> {
                self.0.headers.first(name)
            }

            fn each(&self, name: &HeaderName, visit: &mut dyn FnMut(&[u8])) {
                self.0.headers.each(name, visit);
            }
        }

        impl HeaderBlock for $name<'_> {
            fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
                // Fails only for a name that is none; this is one.
                let _ = self.0.insert_header(name, value);
            }

            fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
                let _ = self.0.append_header(name, value);
            }

            fn remove(&mut self, name: &HeaderName) {
                self.0.remove_header(name);
            }
        }
    };
}

headers_of!(
    /// Request headers as filters see them.
    RequestHeaders,
    RequestHeader
);
headers_of!(
    /// Answer headers as filters see them.
    ResponseHeaders,
    ResponseHeader
);

/// Tells the endpoint who asks. What a client says about itself is believed only with `trust`: then the address is
/// appended and protocol and host are kept; otherwise all three are replaced, for anyone can write them.
pub(super) fn add_forwarded(
    request: &mut RequestHeader,
    client: IpAddr,
    scheme: Scheme,
    host: Option<HeaderValue>,
    trust: bool,
) -> Result<()> {
    let mut text = AddressText::default();
    let address = text.of(client);
    let before = request.headers.get(&FORWARDED_FOR).filter(|_| trust);
    let chain = match before {
        Some(before) => {
            let joined = [before.as_bytes(), b", ", address].concat();
            HeaderValue::from_bytes(&joined)
        }
        None => HeaderValue::from_bytes(address),
    };
    let chain = chain.or_err(ErrorType::InternalError, "client address")?;
    request.insert_header(FORWARDED_FOR, chain)?;
    if !(trust && request.headers.contains_key(&FORWARDED_PROTO)) {
        request.insert_header(FORWARDED_PROTO, HeaderValue::from_static(scheme.as_str()))?;
    }
    if let Some(host) = host
        && !(trust && request.headers.contains_key(&FORWARDED_HOST))
    {
        request.insert_header(FORWARDED_HOST, host)?;
    }
    Ok(())
}

/// An address as text without an allocation.
struct AddressText {
    bytes: [u8; 45],
    length: usize,
}

impl Default for AddressText {
    fn default() -> Self {
        Self {
            bytes: [0; 45],
            length: 0,
        }
    }
}

impl AddressText {
    fn of(&mut self, address: IpAddr) -> &[u8] {
        use std::io::Write as _;
        match address {
            IpAddr::V4(v4) => {
                for (index, octet) in v4.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.push(b'.');
                    }
                    if octet >= 100 {
                        self.push(b'0' + octet / 100);
                    }
                    if octet >= 10 {
                        self.push(b'0' + octet / 10 % 10);
                    }
                    self.push(b'0' + octet % 10);
                }
            }
            IpAddr::V6(v6) => {
                let mut rest = &mut self.bytes[..];
                // 45 bytes hold the longest IPv6 text.
                let _ = write!(rest, "{v6}");
                let left = rest.len();
                self.length = self.bytes.len() - left;
            }
        }
        &self.bytes[..self.length]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }
}

/// Gives the call a name unless it has one.
pub(super) fn add_request_id(request: &mut RequestHeader) -> Result<()> {
    if request.headers.contains_key(&REQUEST_ID) {
        return Ok(());
    }
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut random = fastrand::u128(..);
    let mut text = [0; 32];
    for digit in &mut text {
        *digit = HEX[(random & 0xf) as usize];
        random >>= 4;
    }
    let value = HeaderValue::from_bytes(&text).or_err(ErrorType::InternalError, "request id")?;
    request.insert_header(REQUEST_ID, value)?;
    Ok(())
}

/// Points the request at what the filters decided: another host, another path.
pub(super) fn retarget(request: &mut RequestHeader, target: &Target) -> Result<()> {
    let query = request.uri.query().map(str::to_owned);
    if let Some(path) = target.path_and_query(query.as_deref()) {
        let authority = request.uri.authority().cloned().filter(|_| target.host.is_none());
        let mut uri = http::Uri::builder().path_and_query(path);
        // HTTP/2 requests name their host here; without a scheme `Uri` takes no authority.
        if let Some(authority) = authority {
            uri = uri.scheme("http").authority(authority);
        }
        let uri = uri.build().or_err(ErrorType::InvalidHTTPHeader, "rewritten path")?;
        request.set_uri(uri);
    }
    if let Some(host) = &target.host {
        // pingora makes HTTP/2's :authority from Host, and refuses the two to differ.
        if request.uri.authority().is_some() {
            let path = request.uri.path_and_query().cloned();
            let uri = http::Uri::builder().path_and_query(path.unwrap_or(http::uri::PathAndQuery::from_static("/")));
            request.set_uri(uri.build().or_err(ErrorType::InternalError, "rewritten host")?);
        }
        request.insert_header(header::HOST, host)?;
    }
    Ok(())
}

/// Makes a copy's head fit for the connection it goes out on, which pingora does for calls but not for copies.
pub(super) fn address_copy(
    request: &mut RequestHeader,
    host: Option<&HeaderValue>,
    h2: bool,
    tls: bool,
    bodiless: bool,
) -> Result<()> {
    let path = request
        .uri
        .path_and_query()
        .cloned()
        .unwrap_or(http::uri::PathAndQuery::from_static("/"));
    let uri = http::Uri::builder().path_and_query(path);
    if !h2 {
        request.set_uri(uri.build().or_err(ErrorType::InternalError, "path of a copy")?);
        request.set_version(Version::HTTP_11);
        if let Some(host) = host {
            request.insert_header(header::HOST, host)?;
        }
        if !bodiless && !request.headers.contains_key(header::CONTENT_LENGTH) {
            request.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        return Ok(());
    }
    let host = host.map_or(&b"localhost"[..], HeaderValue::as_bytes);
    let uri = uri.scheme(if tls { "https" } else { "http" }).authority(host);
    request.set_uri(uri.build().or_err(ErrorType::InvalidHTTPHeader, "host of a copy")?);
    request.set_version(Version::HTTP_2);
    request.remove_header(&header::HOST);
    request.remove_header(&header::TRANSFER_ENCODING);
    Ok(())
}

/// Removes what an answer says about its own connection only. pingora writes Connection itself.
pub(super) fn strip_hop_by_hop(response: &mut ResponseHeader) {
    let Some(named) = response.headers.get(header::CONNECTION).cloned() else {
        response.remove_header("keep-alive");
        response.remove_header("proxy-connection");
        return;
    };
    for name in named.as_bytes().split(|byte| *byte == b',') {
        let name = name.trim_ascii();
        // Naming a field of the framing would take the message apart.
        let framing = ["transfer-encoding", "content-length", "upgrade", "connection"];
        if framing.iter().any(|kept| name.eq_ignore_ascii_case(kept.as_bytes())) {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(name) {
            response.remove_header(&name);
        }
    }
    response.remove_header("keep-alive");
    response.remove_header("proxy-connection");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestHeader {
        RequestHeader::build("GET", b"/a?b=c", None).unwrap()
    }

    #[test]
    fn addresses_become_text() {
        for text in ["0.10.100.255", "192.168.1.1", "::1", "2001:db8::1", "1:2:3:4:5:6:7:8"] {
            let mut buffer = AddressText::default();
            assert_eq!(buffer.of(text.parse().unwrap()), text.as_bytes());
        }
    }

    #[test]
    fn what_a_client_says_of_itself_is_believed_only_when_told_so() {
        for (trust, chain, proto, host) in [
            (false, "10.0.0.9", "http", "shop"),
            (true, "1.2.3.4, 10.0.0.9", "https", "evil"),
        ] {
            let mut request = request();
            request.insert_header("x-forwarded-for", "1.2.3.4").unwrap();
            request.insert_header("x-forwarded-proto", "https").unwrap();
            request.insert_header("x-forwarded-host", "evil").unwrap();
            let shop = HeaderValue::from_static("shop");
            add_forwarded(
                &mut request,
                "10.0.0.9".parse().unwrap(),
                Scheme::Http,
                Some(shop),
                trust,
            )
            .unwrap();
            for (name, expected) in [("for", chain), ("proto", proto), ("host", host)] {
                assert_eq!(request.headers[format!("x-forwarded-{name}")], expected);
            }
        }
    }

    #[test]
    fn a_request_id_is_kept_or_made() {
        let mut fresh = request();
        add_request_id(&mut fresh).unwrap();
        assert_eq!(fresh.headers["x-request-id"].len(), 32);
        let mut named = request();
        named.insert_header("x-request-id", "mine").unwrap();
        add_request_id(&mut named).unwrap();
        assert_eq!(named.headers["x-request-id"], "mine");
    }

    #[test]
    fn the_query_survives_a_new_path_and_a_new_host_replaces_the_authority() {
        let mut plain = request();
        let target = Target {
            host: None,
            path: Some("/x".into()),
        };
        retarget(&mut plain, &target).unwrap();
        assert_eq!(plain.raw_path(), b"/x?b=c");

        let mut h2 = request();
        h2.set_uri("http://old.test/a?b=c".parse().unwrap());
        let target = Target {
            host: Some(HeaderValue::from_static("new.test")),
            path: None,
        };
        retarget(&mut h2, &target).unwrap();
        assert_eq!(h2.headers["host"], "new.test");
        assert_eq!(h2.uri, "/a?b=c");
    }

    #[test]
    fn an_answers_connection_fields_do_not_travel_but_its_framing_does() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("connection", "keep-alive, x-hop, Transfer-Encoding"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
        ] {
            response.insert_header(name, value).unwrap();
        }
        strip_hop_by_hop(&mut response);
        assert!(!response.headers.contains_key("x-hop") && !response.headers.contains_key("keep-alive"));
        assert_eq!(response.headers["transfer-encoding"], "chunked");
    }
}
