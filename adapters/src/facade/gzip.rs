//! Answers packed with gzip, for clients that take them so.

use std::io::Write as _;

use axum::{body::Body, response::Response};
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY},
};

/// Below that many bytes packing costs more than it saves.
const WORTH: usize = 1024;

/// Whether the client takes gzip.
pub(crate) fn is_taken(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT_ENCODING).iter();
    values.any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.to_ascii_lowercase().contains("gzip"))
    })
}

/// Packs; `None` only without memory.
pub(crate) fn pack(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// An answer whose body lies ready in memory, packed if the client takes that and it is worth it.
pub(crate) async fn packed(asked: &HeaderMap, response: Response) -> Response {
    if !is_taken(asked) || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It is ours and whole: there is nothing to wait for and nothing that can fail.
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    match (body.len() >= WORTH).then(|| pack(&body)).flatten() {
        Some(packed) => {
            parts.headers.remove(CONTENT_LENGTH);
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
            Response::from_parts(parts, Body::from(packed))
        }
        None => Response::from_parts(parts, Body::from(body)),
    }
}
