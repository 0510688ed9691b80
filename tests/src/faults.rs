//! A registry that misbehaves: a forwarder in front of a real one, whose faults are switched on and off.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode, header},
    response::IntoResponse,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// What the forwarder does to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: answers pass.
    None,
    /// 500 to everything.
    Error,
    /// 404 to everything.
    NotFound,
    /// A page of HTML with status 200, as a captive portal or a wrong port gives.
    Html,
    /// Lists lose every second entry, at every depth that a registry lists things at.
    HalfList,
    /// Lists are empty, as from a registry that has lost its data.
    Empty,
    /// Nothing is answered.
    Silence,
}

/// A running forwarder, ended when dropped.
pub struct FaultyRegistry {
    /// Where it serves.
    pub address: SocketAddr,
    state: Arc<Forwarder>,
    serving: JoinHandle<()>,
}

struct Forwarder {
    target: String,
    fault: Mutex<Fault>,
    client: reqwest::Client,
}

impl FaultyRegistry {
    /// Forwards to `target`, such as `http://127.0.0.1:8500`.
    pub async fn in_front_of(target: &str) -> Self {
        crate::landfall::install_crypto();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        // Longer than any blocking query that is asked through it.
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(90))
            .build()
            .expect("client");
        let state = Arc::new(Forwarder {
            target: target.to_owned(),
            fault: Mutex::new(Fault::None),
            client,
        });
        let app = Router::new().fallback(forward).with_state(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            state,
            serving,
        }
    }

    /// Changes what it does to answers from now on; questions already waiting are answered in the new way.
    pub fn set(&self, fault: Fault) {
        *self.state.fault.lock().expect("no panic while held") = fault;
    }
}

impl Drop for FaultyRegistry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Forwarder {
    fn fault(&self) -> Fault {
        *self.fault.lock().expect("no panic while held")
    }
}

async fn forward(State(state): State<Arc<Forwarder>>, request: Request) -> Response<Body> {
    if let Some(answer) = refusal(state.fault()).await {
        return answer;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, 16 << 20).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    // The body has to be readable to be halved, so reqwest asks for the encodings it undoes itself.
    for name in [header::ACCEPT_ENCODING, header::HOST, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
    let sent = state
        .client
        .request(parts.method, format!("{}{path}", state.target))
        .headers(headers)
        .body(body)
        .send()
        .await;
    let Ok(answer) = sent else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let Ok(body) = answer.bytes().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    if let Some(answer) = refusal(state.fault()).await {
        return answer;
    }
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
    ] {
        headers.remove(name);
    }
    answer_with(status, headers, spoil(state.fault(), body))
}

async fn refusal(fault: Fault) -> Option<Response<Body>> {
    match fault {
        Fault::None | Fault::HalfList | Fault::Empty => None,
        Fault::Error => Some((StatusCode::INTERNAL_SERVER_ERROR, "rpc error: made to fail").into_response()),
        Fault::NotFound => Some((StatusCode::NOT_FOUND, "made to know nothing").into_response()),
        Fault::Html => Some(axum::response::Html("<html><body>Please log in</body></html>").into_response()),
        Fault::Silence => std::future::pending().await,
    }
}

fn answer_with(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

fn spoil(fault: Fault, body: Bytes) -> Bytes {
    let keep = match fault {
        Fault::HalfList => 2,
        Fault::Empty => usize::MAX,
        _ => return body,
    };
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut value) => {
            thin(&mut value, keep, 0);
            Bytes::from(value.to_string())
        }
        Err(_) => body,
    }
}

/// Keeps every second entry (or none) of the lists a registry answers with: Eureka's `application` and `instance`
/// arrays, Consul's map of services, arrays of health entries and a node's services. Checks and tags inside an entry
/// stay.
fn thin(value: &mut Value, keep: usize, depth: usize) {
    match value {
        Value::Array(list) => {
            let mut index = 0;
            list.retain(|_| {
                index += 1;
                keep == 2 && index % 2 == 1
            });
            list.iter_mut().for_each(|entry| thin_named(entry, keep));
        }
        Value::Object(map) if map.contains_key("applications") => {
            if let Some(list) = map.get_mut("applications").and_then(|apps| apps.get_mut("application")) {
                thin(list, keep, depth + 1);
            }
        }
        Value::Object(map) if depth == 0 && map.get("Services").is_some_and(Value::is_array) => {
            if let Some(list) = map.get_mut("Services") {
                thin(list, keep, depth + 1);
            }
        }
        Value::Object(map) if map.values().all(Value::is_array) && depth == 0 => {
            let mut index = 0;
            map.retain(|name, _| {
                index += 1;
                name == "consul" || (keep == 2 && index % 2 == 1)
            });
        }
        _ => {}
    }
}

fn thin_named(entry: &mut Value, keep: usize) {
    if let Some(list) = entry.get_mut("instance") {
        thin(list, keep, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn half_a_list_is_half_of_what_registries_list() {
        let mut eureka = json!({"applications": {"application": [{"name": "A", "instance": [1, 2]}, {"name": "B"}]}});
        thin(&mut eureka, 2, 0);
        assert_eq!(
            eureka,
            json!({"applications": {"application": [{"name": "A", "instance": [1]}]}})
        );
        let mut services = json!({"consul": [], "a": ["t"], "b": []});
        thin(&mut services, usize::MAX, 0);
        assert_eq!(services, json!({"consul": []}));
        let mut node = json!({"Node": {"Node": "n1", "Meta": {}}, "Services": [{"ID": "a"}, {"ID": "b"}]});
        thin(&mut node, 2, 0);
        assert_eq!(
            node,
            json!({"Node": {"Node": "n1", "Meta": {}}, "Services": [{"ID": "a"}]})
        );
    }
}
