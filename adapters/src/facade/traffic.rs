//! Who asks us in a registry's protocol, for what, and how that was answered: for the admin pages and for metrics.
//!
//! ```text
//! request ──▶ Place::answer ──▶ surface ──▶ answer
//!                 └─ notes: kind of request, status, client, error ──▶ Board ──▶ /api/v1/facades, /metrics
//! ```
//!
//! A [`Place`] is a Facade document or one protocol of a registry of our own. Clients are told apart by address and by what they say
//! they are; of very many the oldest are forgotten.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    future::Future,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use axum::{extract::Request, response::Response};
use http::{Method, StatusCode, header::USER_AGENT};

use crate::eureka::surface::kind as eureka_kind;

/// Most clients that one place remembers.
const CLIENTS: usize = 1_000;
/// Who has asked within that time counts as a client of now.
const RECENT: Duration = Duration::from_secs(600);
/// The longest name of a client that is kept.
const AGENT: usize = 80;

/// Where a connection came from: an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Why a request was answered as it was: an extension of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Why(pub Arc<str>);

/// Whose place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// A Facade document's.
    Facade,
    /// A registry of our own.
    Registry,
}

impl Of {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Facade => "facade",
            Self::Registry => "registry",
        }
    }
}

/// What a place is, as its document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Whose it is.
    pub of: Of,
    /// Name of the document.
    pub name: String,
    /// `eureka` or `consul`.
    pub protocol: &'static str,
    /// `ip:port` it listens on.
    pub address: String,
    /// What stands before the protocol's own paths; empty for nothing.
    pub path: String,
    /// What is shown: `mesh`, or the name of a registry.
    pub view: String,
    /// What becomes of writes: `refuse`, `here`, or the name of the registry they are passed on to.
    pub writes: String,
}

/// How many leases a registry of our own holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Instances that clients have registered.
    pub held: usize,
    /// Taken out because nobody renewed them, since the start.
    pub evicted: u64,
}

/// A client that has asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where it is, if that is known.
    pub address: Option<IpAddr>,
    /// What it says it is (`User-Agent`); may be empty.
    pub agent: String,
    /// Requests so far.
    pub requests: u64,
    /// When it asked last.
    pub last: SystemTime,
}

/// What has been noted of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests by kind and status.
    pub requests: BTreeMap<(&'static str, u16), u64>,
    /// Clients, the latest first.
    pub clients: Vec<Client>,
    /// The last answer that says that something is wrong, and when.
    pub last_error: Option<(SystemTime, String)>,
}

/// A place where clients are answered.
pub struct Place {
    description: Description,
    noted: Mutex<Noted>,
    leases: Option<Box<dyn Fn() -> Leases + Send + Sync>>,
}

#[derive(Debug, Default)]
struct Noted {
    requests: BTreeMap<(&'static str, u16), u64>,
    clients: BTreeMap<(Option<IpAddr>, String), (u64, SystemTime)>,
    last_error: Option<(SystemTime, String)>,
}

/// All places of a process. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Vec<Weak<Place>>>>);

impl Place {
    /// On this board until it is dropped.
    pub fn new(
        board: &Board,
        description: Description,
        leases: Option<Box<dyn Fn() -> Leases + Send + Sync>>,
    ) -> Arc<Self> {
        let place = Arc::new(Self {
            description,
            noted: Mutex::default(),
            leases,
        });
        board.lock().push(Arc::downgrade(&place));
        place
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The leases it holds; `None` for a facade, which has none of its own.
    pub fn leases(&self) -> Option<Leases> {
        self.leases.as_ref().map(|leases| leases())
    }

    /// What has been noted so far.
    pub fn figures(&self) -> Figures {
        let noted = self.lock();
        let mut clients: Vec<Client> = noted
            .clients
            .iter()
            .map(|((address, agent), (requests, last))| Client {
                address: *address,
                agent: agent.clone(),
                requests: *requests,
                last: *last,
            })
            .collect();
        clients.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.agent.cmp(&b.agent)));
        Figures {
            requests: noted.requests.clone(),
            clients,
            last_error: noted.last_error.clone(),
        }
    }

    /// Has a request answered, and notes it.
    pub async fn answer<F>(&self, request: Request, answer: impl FnOnce(Request) -> F) -> Response
    where
        F: Future<Output = Response>,
    {
        let kind = match self.description.protocol {
            "consul" => consul_kind(request.method(), request.uri().path()),
            _ => eureka_kind(request.method(), request.uri().path()),
        };
        let address = request.extensions().get::<Peer>().map(|peer| peer.0);
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let agent: String = agent.unwrap_or_default().chars().take(AGENT).collect();
        let response = answer(request).await;
        self.note(kind, (address, agent), &response);
        response
    }

    fn note(&self, kind: &'static str, client: (Option<IpAddr>, String), response: &Response) {
        let (now, status) = (SystemTime::now(), response.status());
        let mut noted = self.lock();
        *noted.requests.entry((kind, status.as_u16())).or_default() += 1;
        if status.is_server_error() || is_refusal(status) {
            let why = response.extensions().get::<Why>().map(|why| format!(": {}", why.0));
            let text = format!("{kind} was answered {}{}", status.as_u16(), why.unwrap_or_default());
            noted.last_error = Some((now, text));
        }
        if noted.clients.len() >= CLIENTS && !noted.clients.contains_key(&client) {
            let oldest = noted.clients.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(client, _)| client.clone()) {
                noted.clients.remove(&oldest);
            }
        }
        let (requests, last) = noted.clients.entry(client).or_insert((0, now));
        *requests += 1;
        *last = now;
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that says that the request was wrong. Not 404: that is how clients are told to register.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::NOT_FOUND
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place")
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

impl Board {
    /// Those that are there, by name.
    pub fn places(&self) -> Vec<Arc<Place>> {
        let mut places: Vec<Arc<Place>> = {
            let mut known = self.lock();
            known.retain(|place| place.strong_count() > 0);
            known.iter().filter_map(Weak::upgrade).collect()
        };
        places.sort_by(|a, b| {
            let key = |place: &Place| {
                let one = &place.description;
                (one.of, one.name.clone(), one.protocol)
            };
            key(a).cmp(&key(b))
        });
        places
    }

    /// Appends metrics in Prometheus' text format.
    pub fn render(&self, out: &mut String) {
        let places = self.places();
        if places.is_empty() {
            return;
        }
        let labels = |place: &Place| {
            let one = &place.description;
            format!(
                "of=\"{}\",name=\"{}\",protocol=\"{}\"",
                one.of.word(),
                one.name,
                one.protocol
            )
        };
        let figures: Vec<(String, Figures, Option<Leases>)> = places
            .iter()
            .map(|place| (labels(place), place.figures(), place.leases()))
            .collect();
        head(
            out,
            "facade_requests_total",
            "counter",
            "Requests in a registry's protocol that were answered here.",
        );
        for (labels, figures, _) in &figures {
            for ((kind, status), count) in &figures.requests {
                let _ = writeln!(
                    out,
                    "landfall_facade_requests_total{{{labels},kind=\"{kind}\",status=\"{status}\"}} {count}"
                );
            }
        }
        head(
            out,
            "facade_clients",
            "gauge",
            "Clients that have asked within the last ten minutes.",
        );
        let now = SystemTime::now();
        for (labels, figures, _) in &figures {
            let recent = |client: &&Client| now.duration_since(client.last).unwrap_or_default() <= RECENT;
            let count = figures.clients.iter().filter(recent).count();
            let _ = writeln!(out, "landfall_facade_clients{{{labels}}} {count}");
        }
        type Value = fn(Leases) -> u64;
        let of_leases: [(&str, &str, &str, Value); 2] = [
            (
                "embedded_leases",
                "gauge",
                "Instances that clients have registered in a registry of our own.",
                |leases| u64::try_from(leases.held).unwrap_or(u64::MAX),
            ),
            (
                "embedded_evictions_total",
                "counter",
                "Instances taken out because nobody renewed them.",
                |leases| leases.evicted,
            ),
        ];
        for (name, kind, help, value) in of_leases {
            head(out, name, kind, help);
            for (labels, _, leases) in &figures {
                if let Some(leases) = leases {
                    let _ = writeln!(out, "landfall_{name}{{{labels}}} {}", value(*leases));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# HELP landfall_{name} {help}\n# TYPE landfall_{name} {kind}\n");
}

/// What a request of Consul's API is for.
fn consul_kind(method: &Method, path: &str) -> &'static str {
    let mut parts = path
        .trim_start_matches('/')
        .strip_prefix("v1/")
        .unwrap_or_default()
        .split('/');
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next(),
    ) {
        ("agent", "service", Some("register")) | ("catalog", "register", _) => "register",
        ("agent", "service", Some("deregister")) | ("catalog", "deregister", _) => "deregister",
        ("agent", "check", Some("pass" | "warn" | "fail" | "update")) => "renew",
        ("agent", "check", _) if !reads => "check",
        ("agent", ..) if reads => "agent",
        ("agent", ..) => "status",
        ("catalog", ..) => "catalog",
        ("health", ..) => "health",
        ("kv", ..) if reads => "key",
        ("kv", ..) => "keyWrite",
        ("status", ..) => "leader",
        ("session", ..) => "session",
        ("txn", ..) => "transaction",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
