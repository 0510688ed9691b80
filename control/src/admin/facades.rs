//! `/api/v1/facades`: where clients are answered in registries' own protocols, who they are, and how they were answered.

use axum::{Json, extract::State, http::Uri};
use landfall_adapters::facade::traffic::{Client, Leases, Place};
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal, age, time},
};

/// Most clients that are listed of each.
const LISTED: usize = 100;

/// `/api/v1/facades`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facades {
    /// Sorted by what they are and by name.
    facades: Vec<FacadeView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FacadeView {
    /// Name of the Facade, or of the Registry that is `embedded`.
    name: String,
    /// `facade` or `registry`.
    of: &'static str,
    protocol: &'static str,
    address: String,
    /// What stands before the protocol's own paths.
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    /// `mesh`, or the name of a registry.
    view: String,
    /// `refuse`, `here`, or the name of the registry they are passed on to.
    writes: String,
    /// Of an embedded registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    leases: Option<LeasesView>,
    /// By kind and status.
    requests: Vec<Requests>,
    /// How many have asked, as far as they are remembered.
    client_count: usize,
    /// Those of them that asked last.
    clients: Vec<ClientView>,
    /// The last request that was answered with an error; a 404 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<LastError>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LeasesView {
    held: usize,
    /// Taken out because nobody renewed them, since the start.
    evicted: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Requests {
    kind: &'static str,
    status: u16,
    count: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientView {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// What it says it is (`User-Agent`).
    agent: String,
    requests: u64,
    last_at: String,
    age_seconds: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LastError {
    at: String,
    age_seconds: f64,
    what: String,
}

pub async fn list(State(sources): State<Sources>, uri: Uri) -> Result<Json<Facades>, Refusal> {
    Parameters::read(&uri, &[])?;
    let places = sources.facades.places();
    Ok(Json(Facades {
        facades: places.iter().map(|place| view(place)).collect(),
    }))
}

fn view(place: &Place) -> FacadeView {
    let (one, figures) = (place.description().clone(), place.figures());
    FacadeView {
        name: one.name,
        of: one.of.word(),
        protocol: one.protocol,
        address: one.address,
        path: one.path,
        view: one.view,
        writes: one.writes,
        leases: place
            .leases()
            .map(|Leases { held, evicted }| LeasesView { held, evicted }),
        requests: figures
            .requests
            .iter()
            .map(|((kind, status), count)| Requests {
                kind,
                status: *status,
                count: *count,
            })
            .collect(),
        client_count: figures.clients.len(),
        clients: figures.clients.into_iter().take(LISTED).map(client).collect(),
        last_error: figures.last_error.map(|(at, what)| LastError {
            at: time(at),
            age_seconds: age(at),
            what,
        }),
    }
}

fn client(client: Client) -> ClientView {
    ClientView {
        address: client.address.map(|address| address.to_string()),
        agent: client.agent,
        requests: client.requests,
        last_at: time(client.last),
        age_seconds: age(client.last),
    }
}
