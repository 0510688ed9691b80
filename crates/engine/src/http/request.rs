//! A request as a call, and what HTTP/2 leaves to check of it.

use http::{HeaderMap, HeaderValue, header};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::{
    answer::Answer,
    context::{CallState, Kind},
};
use crate::{
    call::{Call, Scheme, host_of},
    listen::{
        connection::{Connection, Security},
        head,
    },
};

pub(super) fn scheme_of(connection: &Connection) -> Scheme {
    match connection.security {
        Security::Tls { .. } => Scheme::Https,
        Security::Plain | Security::Mesh { .. } => Scheme::Http,
    }
}

/// Host and port as the client sent them.
pub(super) fn authority_of(request: &RequestHeader) -> Option<&str> {
    match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers.get(header::HOST)?.to_str().ok(),
    }
}

/// Looks at the request as a call.
pub(super) fn with_call<T>(session: &Session, state: &CallState, look: impl FnOnce(&Call<'_>) -> T) -> T {
    let request = session.req_header();
    let host = host_of(authority_of(request).unwrap_or(""));
    let nobody = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let connection = state.connection.as_ref();
    look(&Call {
        method: request.method.as_str(),
        scheme: connection.map_or(Scheme::Http, |connection| scheme_of(connection)),
        host: &host,
        path: request.uri.path(),
        query: request.uri.query(),
        headers: &request.headers as &HeaderMap,
        client: connection.map_or(nobody, |connection| connection.client),
        peer: connection.and_then(|connection| connection.peer()).map(|peer| &**peer),
    })
}

pub(super) fn kind_of(session: &Session) -> Kind {
    let request = session.req_header();
    let value = |name| request.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    if session.is_upgrade_req() && value(header::UPGRADE).eq_ignore_ascii_case(b"websocket") {
        return Kind::Upgrade;
    }
    let kind = value(header::CONTENT_TYPE);
    if let Some(rest) = kind.strip_prefix(b"application/grpc")
        && matches!(rest.first(), None | Some(b'+' | b';'))
    {
        return Kind::Grpc;
    }
    if value(header::ACCEPT).starts_with(b"text/event-stream") {
        return Kind::Events;
    }
    Kind::Plain
}

/// What the h2 crate and pingora leave to check of an HTTP/2 request; of HTTP/1 nothing is left.
pub(super) fn check_h2(request: &RequestHeader) -> std::result::Result<(), Answer> {
    const MAX_FIELDS: usize = 256;
    const MAX_TARGET: usize = 16 * 1024;
    let malformed = |refusal: crate::listen::refusal::Refusal| Answer::Malformed(refusal.why);
    let path = request.raw_path();
    if path.len() > MAX_TARGET {
        return Err(Answer::TooLarge(414, "request target too long"));
    }
    if request.headers.len() > MAX_FIELDS {
        return Err(Answer::TooLarge(431, "too many header fields"));
    }
    let asterisk = request.method == http::Method::OPTIONS && path == b"*";
    if !asterisk {
        if path.first() != Some(&b'/') {
            return Err(Answer::Malformed("malformed request target"));
        }
        head::check_path(path).map_err(malformed)?;
    }
    let authority = authority_of(request).ok_or(Answer::Malformed("Host missing"))?;
    head::check_host(authority.as_bytes()).map_err(malformed)?;
    let expects = request.headers.get(header::EXPECT);
    if expects.is_some_and(|expects| !expects.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Answer::TooLarge(417, "expectation not supported"));
    }
    Ok(())
}
