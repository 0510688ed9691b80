//! What travels on a gRPC connection with Nacos: an envelope with the name of a type and JSON.
//!
//! ```text
//! Payload { metadata = 2: Metadata { type = 3, headers = 7, clientIp = 8 }, body = 3: Any { value = 2: JSON } }
//! ```
//! As in `api/src/main/proto/nacos_grpc_service.proto`: no package, `Any.type_url` empty. Declared by hand, so nothing is
//! generated.
//!
//! Next on the path: [`connection`](super::connection).

use std::{collections::HashMap, fmt};

use serde::Deserialize;
use serde_json::Value;

use super::fault::Fault;

/// The path of a question.
pub(crate) const REQUEST: &str = "/Request/request";
/// The path of the stream in both directions.
pub(crate) const STREAM: &str = "/BiRequestStream/requestBiStream";

/// One message in either direction.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Payload {
    #[prost(message, optional, tag = "2")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    body: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct Metadata {
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(map = "string, string", tag = "7")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "8")]
    client_ip: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers hold the token.
        f.debug_tuple("Payload").field(&self.kind()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metadata").field(&self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Any").finish_non_exhaustive()
    }
}

impl Payload {
    /// A message of this type.
    pub(crate) fn new(kind: &str, body: &Value, client_ip: &str) -> Self {
        Self {
            metadata: Some(Metadata {
                kind: kind.to_owned(),
                headers: HashMap::new(),
                client_ip: client_ip.to_owned(),
            }),
            body: Some(Any {
                type_url: String::new(),
                value: body.to_string().into_bytes(),
            }),
        }
    }

    /// With one more header.
    pub(super) fn with_header(mut self, name: &str, value: &str) -> Self {
        let metadata = self.metadata.get_or_insert_default();
        metadata.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The name of the type.
    pub(crate) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.kind)
    }

    /// The JSON, hopefully.
    pub(crate) fn json(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| &body.value)
    }
}

/// What every answer has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    #[serde(default)]
    result_code: Option<i64>,
    #[serde(default)]
    error_code: i64,
    #[serde(default)]
    message: Option<String>,
}

/// Whether an answer is one to the question; else what is wrong.
pub(super) fn judge(asked: &str, answer: &Payload) -> Result<(), Fault> {
    let body = answer.json();
    let verdict: Verdict = serde_json::from_slice(body)
        .map_err(|error| Fault::garbled(format!("the answer to {asked} is no JSON ({error})"), body))?;
    if verdict.result_code == Some(200) {
        return Ok(());
    }
    let said = verdict.message.unwrap_or_default();
    let code = match (verdict.error_code, verdict.result_code) {
        (0, Some(code)) => code,
        (0, None) => return Err(Fault::garbled(format!("the answer to {asked} has no resultCode"), body)),
        (code, _) => code,
    };
    Err(Fault::of_code(code, format!("{asked}: {said}"), body))
}

/// The id that an answer on the stream must repeat.
pub(crate) fn request_id(request: &Payload) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Numbered {
        #[serde(default)]
        request_id: Option<String>,
    }
    let numbered = serde_json::from_slice::<Numbered>(request.json()).ok();
    numbered.and_then(|numbered| numbered.request_id).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_has_the_bytes_that_nacos_own_client_writes() {
        let payload = Payload::new("X", &json!({}), "1.2.3.4").with_header("a", "b");
        let bytes = payload.encode_to_vec();
        // Tag 2 (metadata): tag 3 "X", tag 7 {1: "a", 2: "b"}, tag 8 "1.2.3.4"; tag 3 (body): tag 2 "{}".
        let metadata = b"\x1a\x01X\x3a\x06\x0a\x01a\x12\x01b\x42\x071.2.3.4";
        let mut expected = vec![0x12, metadata.len() as u8];
        expected.extend_from_slice(metadata);
        expected.extend_from_slice(b"\x1a\x04\x12\x02{}");
        assert_eq!(bytes, expected);
        assert_eq!(Payload::decode(&*bytes).unwrap(), payload);
    }

    #[test]
    fn a_message_is_never_printed_with_its_token() {
        let payload = Payload::new("X", &json!({}), "").with_header("accessToken", "secret");
        assert!(!format!("{payload:?}").contains("secret"));
    }

    #[test]
    fn codes_are_told_apart() {
        let answer = |body: Value| Payload::new("R", &body, "");
        let judged = |body: Value| judge("Q", &answer(body));
        assert_eq!(judged(json!({"resultCode": 200})), Ok(()));
        assert!(matches!(
            judged(json!({"resultCode": 500, "errorCode": 301})),
            Err(Fault::Unregistered(_))
        ));
        assert!(matches!(
            judged(json!({"resultCode": 500, "errorCode": 403})),
            Err(Fault::Denied(_))
        ));
        assert!(matches!(
            judged(json!({"resultCode": 500, "errorCode": 300})),
            Err(Fault::NotReady(_))
        ));
        assert!(matches!(judged(json!({"resultCode": 500})), Err(Fault::NotReady(_))));
        assert!(matches!(
            judged(json!({"resultCode": 500, "errorCode": 302})),
            Err(Fault::Garbled { .. })
        ));
        assert!(matches!(judged(json!({})), Err(Fault::Garbled { .. })));
        assert!(matches!(judged(json!([])), Err(Fault::Garbled { .. })));
    }
}
