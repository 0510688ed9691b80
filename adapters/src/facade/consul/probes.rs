//! Runs what a Consul agent would: HTTP and TCP checks when they are due, and the ends of TTLs.
//!
//! ```text
//! every 250 ms:  book.due ──▶ probe (64 at once, the rest wait) ──▶ book.found
//! every second:  book.expire
//! ```
//!
//! As Consul's agent does it: 2xx is passing, 429 warning, everything else critical; a connection that opens is
//! passing. Proxies of the environment are not used: an instance is asked itself.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
    time::{MissedTickBehavior, timeout},
};
use tracing::{info, warn};

use super::{
    book::{Book, Due},
    record::{Health, Probe},
};
use crate::facade::shared::Shared;

const TICK: Duration = Duration::from_millis(250);
/// Ticks from one look at TTLs to the next.
const EXPIRE_EVERY: u32 = 4;
/// Probes under way at once.
const AT_ONCE: usize = 64;
/// What is read of an answer for the output.
const READ: usize = 4096;

/// Runs until the sender of `stopped` is dropped.
pub(crate) async fn run(book: Arc<Shared<Book>>, mut stopped: watch::Receiver<()>) {
    let clients = match (client(false), client(true)) {
        (Ok(careful), Ok(trusting)) => Some(Arc::new((careful, trusting))),
        (Err(error), _) | (_, Err(error)) => {
            warn!(%error, "HTTP checks of the embedded registry cannot be run");
            None
        }
    };
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = stopped.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        count = count.wrapping_add(1);
        if count.is_multiple_of(EXPIRE_EVERY) {
            let (silent, removed) = book.tend(Book::expire);
            if silent + removed > 0 {
                info!(silent, removed, "checks of the embedded registry have run out");
            }
        }
        for due in book.tend(Book::due) {
            let (book, room, clients) = (book.clone(), room.clone(), clients.clone());
            tokio::spawn(async move {
                // Closed never: it is ours.
                let _place = room.acquire_owned().await;
                let (status, output) = probe(&due, clients.as_deref()).await;
                book.tend(|book, now| book.found(&due, status, &output, now));
            });
        }
    }
}

fn client(skip_verify: bool) -> reqwest::Result<reqwest::Client> {
    // Whoever installs a provider first wins; it is ring in every case.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .user_agent("Consul Health Check")
        .danger_accept_invalid_certs(skip_verify)
        .pool_max_idle_per_host(0)
        .build()
}

async fn probe(due: &Due, clients: Option<&(reqwest::Client, reqwest::Client)>) -> (Health, String) {
    let patience = Duration::from_millis(due.timeout.max(1));
    match &due.probe {
        Probe::Http { skip_verify, .. } => {
            let Some((careful, trusting)) = clients else {
                return (Health::Critical, "HTTP checks cannot be run".to_owned());
            };
            let client = if *skip_verify { trusting } else { careful };
            match timeout(patience, http(client, &due.probe)).await {
                Ok(found) => found,
                Err(_) => (
                    Health::Critical,
                    format!("no answer within {} ms", patience.as_millis()),
                ),
            }
        }
        Probe::Tcp(address) | Probe::Inherited(address) => match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(_)) => (Health::Passing, format!("TCP connect {address}: Success")),
            Ok(Err(error)) => (Health::Critical, format!("dial tcp {address}: {error}")),
            Err(_) => (Health::Critical, format!("dial tcp {address}: i/o timeout")),
        },
        Probe::Stated | Probe::Ttl(_) => (Health::Critical, "nothing to run".to_owned()),
    }
}

async fn http(client: &reqwest::Client, probe: &Probe) -> (Health, String) {
    let Probe::Http {
        url,
        method,
        headers,
        body,
        ..
    } = probe
    else {
        return (Health::Critical, String::new());
    };
    let Ok(verb) = reqwest::Method::from_bytes(method.as_bytes()) else {
        return (Health::Critical, format!("`{}` is no method", method.escape_debug()));
    };
    let mut request = client.request(verb, url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if !body.is_empty() {
        request = request.body(body.clone());
    }
    let mut answer = match request.send().await {
        Ok(answer) => answer,
        // The URL may carry a password.
        Err(error) => return (Health::Critical, super::chain(&error.without_url())),
    };
    let status = answer.status();
    let mut said = Vec::new();
    while said.len() < READ {
        match answer.chunk().await {
            Ok(Some(chunk)) => said.extend_from_slice(&chunk[..chunk.len().min(READ - said.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    let output = format!("HTTP {method}: {status} Output: {}", String::from_utf8_lossy(&said));
    let health = match status.as_u16() {
        200..=299 => Health::Passing,
        429 => Health::Warning,
        _ => Health::Critical,
    };
    (health, output)
}
