//! The forms of answers that all pages share: refusals, parameters, times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{
    Json,
    extract::Query,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// An answer that says no: `{"error": …, "mend": …}`.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    body: RefusalBody,
    /// The methods that are answered.
    allow: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct RefusalBody {
    /// What is wrong.
    error: String,
    /// What would be right.
    mend: String,
}

impl Refusal {
    fn new(status: StatusCode, error: String, mend: String) -> Self {
        let body = RefusalBody { error, mend };
        Self {
            status,
            body,
            allow: None,
        }
    }

    /// 400: the question makes no sense.
    pub fn bad_request(error: String, mend: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, mend)
    }

    /// 403: not for whoever asks.
    pub fn forbidden(error: String, mend: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, error, mend)
    }

    /// 404: what is asked about is not there.
    pub fn not_found(error: String, mend: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, mend)
    }

    /// 405: not with this method.
    pub fn method(error: String, mend: String, allowed: &'static str) -> Self {
        Self {
            allow: Some(allowed),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, error, mend)
        }
    }

    /// 409: it was asked for something that has changed meanwhile.
    pub fn conflict(error: String, mend: String) -> Self {
        Self::new(StatusCode::CONFLICT, error, mend)
    }

    /// 503: not now, or not in this process.
    pub fn unavailable(error: String, mend: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, mend)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(methods) = self.allow {
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}

/// The parameters of a question, in order.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads the query; a parameter that the page does not know is refused, so a slip is not taken for "everything".
    pub fn read(uri: &Uri, known: &[&str]) -> Result<Self, Refusal> {
        let mend = || match known {
            [] => "this page takes no parameters".to_owned(),
            known => format!("this page takes {}", known.join(", ")),
        };
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Refusal::bad_request(format!("the query cannot be read: {error}"), mend()))?;
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(Refusal::bad_request(format!("there is no parameter `{name}`"), mend())),
            None => Ok(Self(pairs)),
        }
    }

    /// The first value of a parameter that is not empty.
    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A time as RFC 3339 in UTC, to the microsecond.
///
/// Registries' clocks are not ours: a time before 1970 or after 9999 becomes the nearest that can be written.
pub fn time(at: SystemTime) -> String {
    /// 9999-12-31T23:59:59Z.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_micros(UNIX_EPOCH + since).to_string()
}

/// How long ago that was, in seconds, to the millisecond; a time in the future is 0 seconds ago.
pub fn age(at: SystemTime) -> f64 {
    seconds(SystemTime::now().duration_since(at).unwrap_or_default())
}

/// How long until then, in seconds, to the millisecond; a time in the past is 0 seconds away.
pub fn until(at: SystemTime) -> f64 {
    seconds(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// A duration in seconds, to the millisecond.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_of_any_clock_can_be_written() {
        assert_eq!(
            time(UNIX_EPOCH + Duration::from_millis(1_500)),
            "1970-01-01T00:00:01.500000Z"
        );
        assert_eq!(time(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(
            time(UNIX_EPOCH + Duration::from_secs(1 << 40)),
            "9999-12-31T23:59:59.000000Z"
        );
    }
}
