//! What every request must pass and every answer gets.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::answer::Refusal;

/// Pages that do something, by POST.
const ACTIONS: [&str; 1] = ["/api/v1/sync/apply"];
/// The header that says that a POST is meant. A page in a browser may send a POST anywhere without asking, but no header
/// of its own, so it cannot have this done (cross-site request forgery).
const MEANT: &str = "x-landfall";

/// Which host names may be asked for.
///
/// A page in a browser can make its own name point to 127.0.0.1 and then read what is there (DNS rebinding); the Host
/// header gives it away. Beyond loopback names are the operator's affair, and any will do.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    loopback: bool,
}

impl Host {
    /// For a server with that address.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            loopback: address.ip().is_loopback(),
        }
    }

    fn allows(self, host: &str) -> bool {
        !self.loopback || is_local(host)
    }
}

/// Whether a Host header means this host: `localhost`, or a loopback address; with any port, for tunnels change it.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// In front of every page.
pub async fn guard(State(host): State<Host>, request: Request, next: Next) -> Response {
    let mut response = match refusal(host, &request) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(name, value);
    }
    response
}

fn refusal(host: Host, request: &Request) -> Option<Refusal> {
    let path = request.uri().path();
    match (request.method(), ACTIONS.contains(&path)) {
        (&Method::GET | &Method::HEAD, false) => {}
        (&Method::POST, true) if request.headers().contains_key(MEANT) => {}
        (&Method::POST, true) => {
            let error = format!("{path} does something, and the header `{MEANT}` is missing");
            let mend = format!("send `{MEANT}: 1`; a page in a browser cannot, unless it is allowed to");
            return Some(Refusal::forbidden(error, mend));
        }
        (method, true) => {
            let error = format!("{method} is not answered: {path} does something");
            return Some(Refusal::method(error, "use POST".to_owned(), "POST"));
        }
        (method, false) => {
            let error = format!("{method} is not answered: nothing can be changed here");
            let mend = "use GET; what is to change is changed in the configuration".to_owned();
            return Some(Refusal::method(error, mend, "GET, HEAD"));
        }
    }
    let asked = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let named = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let allowed = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| host.allows(text));
    if !asked.into_iter().chain(named).all(allowed) {
        let error = "the admin server listens on loopback and answers to names of this host alone".to_owned();
        return Some(Refusal::forbidden(error, "ask for localhost or 127.0.0.1".to_owned()));
    }
    None
}

/// No answer is kept, guessed at, framed, or run as a script.
const SECURITY: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn names_of_this_host_are_told_from_names_that_point_to_it() {
        for good in [
            "localhost",
            "LocalHost:15000",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:15000",
        ] {
            assert!(is_local(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:15000",
            "10.0.0.1",
            "[::2]:1",
        ] {
            assert!(!is_local(bad), "{bad}");
        }
    }
}
