//! Why a connection or request is not served, as a status and a few words.

/// What is answered to bytes that are no acceptable request. The connection is closed after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub(crate) status: u16,
    /// Why, for the body of the answer, log and metric.
    pub(crate) why: &'static str,
}

impl Refusal {
    /// Not HTTP at all: the connection is closed without a word.
    pub(crate) const UNANSWERED: Self = Self {
        status: 0,
        why: "not HTTP",
    };

    /// 400 Bad Request.
    pub(crate) const fn bad(why: &'static str) -> Self {
        Self { status: 400, why }
    }

    /// Another status.
    pub(crate) const fn with(status: u16, why: &'static str) -> Self {
        Self { status, why }
    }

    /// The whole answer as bytes of HTTP/1.1, for a connection that has no session yet; none for what is no HTTP.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        if self == Self::UNANSWERED {
            return Vec::new();
        }
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Error");
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{}\n",
            self.status,
            self.why.len() + 1,
            self.why,
        )
        .into_bytes()
    }
}
