//! Something to route to: an HTTP service of the test's own that can be told to misbehave.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

/// A running origin, ended when dropped.
pub struct Origin {
    /// Where it serves.
    pub address: SocketAddr,
    state: Arc<Behaviour>,
    serving: JoinHandle<()>,
}

struct Behaviour {
    name: String,
    calls: AtomicU64,
    times: Mutex<Option<[Instant; 2]>>,
    status: AtomicU64,
    delay_millis: AtomicU64,
}

impl Origin {
    /// Serves on a free port; its answers carry `name`.
    pub async fn start(name: &str) -> Self {
        Self::start_at(name, 0).await
    }

    /// Serves on this port.
    pub async fn start_at(name: &str, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Behaviour {
            name: name.to_owned(),
            calls: AtomicU64::new(0),
            times: Mutex::default(),
            status: AtomicU64::new(200),
            delay_millis: AtomicU64::new(0),
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            state,
            serving,
        }
    }

    /// Calls answered so far.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Relaxed)
    }

    /// When the first and the last call arrived, if any did.
    pub fn first_and_last(&self) -> Option<[Instant; 2]> {
        *self.state.times.lock().expect("no panic while held")
    }

    /// The status of further answers.
    pub fn answer_with(&self, status: u16) {
        self.state.status.store(status.into(), Relaxed);
    }

    /// How long further answers take.
    pub fn delay(&self, delay: Duration) {
        self.state
            .delay_millis
            .store(delay.as_millis().try_into().unwrap_or(u64::MAX), Relaxed);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(state): State<Arc<Behaviour>>, request: Request) -> Response {
    state.calls.fetch_add(1, Relaxed);
    let now = Instant::now();
    state.times.lock().expect("no panic while held").get_or_insert([now; 2])[1] = now;
    let delay = state.delay_millis.load(Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let headers: std::collections::BTreeMap<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = json!({
        "origin": state.name, "method": request.method().as_str(), "uri": request.uri().to_string(), "headers": headers,
    });
    let status = u16::try_from(state.status.load(Relaxed))
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    (status.unwrap_or(StatusCode::OK), Json(body)).into_response()
}
