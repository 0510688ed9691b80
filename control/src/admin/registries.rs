//! `/api/v1/registries`: the session with each registry, how old its knowledge is, what is held and what is unreadable.

use std::sync::Arc;

use axum::{Json, extract::State, http::Uri};
use landfall_model::{
    Freshness, RegistryName, RegistryView, Serving,
    world::{Hold, Quarantined, Session},
};
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal, age, time, until},
};

/// `/api/v1/registries`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Registries {
    /// By precedence.
    registries: Vec<Registry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Registry {
    name: RegistryName,
    /// `eureka`, `consul`, `zookeeper`, `file`, `static`, `embedded`; absent before it is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    /// Without credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// Its services may be used: it has caught up, or its last good view is loaded.
    ready: bool,
    session: SessionState,
    /// When this process last caught up with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    caught_up_at: Option<String>,
    /// When the last good view was written, if the process started from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_good_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_good_age_seconds: Option<f64>,
    services: usize,
    /// Services whose present state the registry has not confirmed in this session.
    stale_services: usize,
    instances: usize,
    /// Instances whose status allows new calls.
    serving_instances: usize,
    /// Removals that wait for confirmation.
    holds: Vec<HoldView>,
    /// Records that could not be understood.
    quarantined: Vec<Quarantined>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionState {
    /// `connecting`, `catchingUp`, `live`, `stale`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
    /// Why it is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// When the next attempt is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_seconds: Option<f64>,
}

/// A removal that waits for confirmation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldView {
    service: Arc<str>,
    /// The instances that would go.
    instances: Vec<Arc<str>>,
    reason: String,
    since: String,
    age_seconds: f64,
    /// When it takes effect if the registry keeps saying so.
    until: String,
    remaining_seconds: f64,
}

impl HoldView {
    /// Whether that instance is among those that would go.
    pub fn concerns(&self, instance: &str) -> bool {
        self.instances.iter().any(|id| **id == *instance)
    }

    /// Of a hold.
    pub fn new(hold: &Hold) -> Self {
        Self {
            service: hold.service.clone(),
            instances: hold.instances.clone(),
            reason: hold.reason.clone(),
            since: time(hold.since),
            age_seconds: age(hold.since),
            until: time(hold.until),
            remaining_seconds: until(hold.until),
        }
    }
}

/// How current the knowledge of a service is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FreshnessView {
    /// `fresh` or `stale`.
    pub state: &'static str,
    /// Since when.
    pub since: String,
    /// How long ago that was.
    pub age_seconds: f64,
    /// Why it is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl FreshnessView {
    /// Of a freshness.
    pub fn new(freshness: &Freshness) -> Self {
        let (state, since, why) = match freshness {
            Freshness::Fresh { since } => ("fresh", *since, None),
            Freshness::Stale { since, why } => ("stale", *since, Some(why.clone())),
        };
        Self {
            state,
            since: time(since),
            age_seconds: age(since),
            why,
        }
    }
}

pub async fn list(State(sources): State<Sources>, uri: Uri) -> Result<Json<Registries>, Refusal> {
    Parameters::read(&uri, &[])?;
    let composition = sources.control.composition();
    let registries = composition.rules().registries.iter().map(|name| {
        let view = composition.world.registries.get(name);
        view.map_or_else(|| unknown(name), |view| registry(view))
    });
    Ok(Json(Registries {
        registries: registries.collect(),
    }))
}

/// A registry that the configuration has and the hub has not taken up yet.
fn unknown(name: &RegistryName) -> Registry {
    Registry {
        name: name.clone(),
        kind: None,
        address: None,
        ready: false,
        session: SessionState {
            state: "connecting",
            since: None,
            age_seconds: None,
            why: None,
            retry_at: None,
            retry_in_seconds: None,
        },
        caught_up_at: None,
        last_good_at: None,
        last_good_age_seconds: None,
        services: 0,
        stale_services: 0,
        instances: 0,
        serving_instances: 0,
        holds: Vec::new(),
        quarantined: Vec::new(),
    }
}

fn registry(view: &RegistryView) -> Registry {
    let instances = || view.services.values().flat_map(|service| &service.service.instances);
    let stale = |freshness: &Freshness| matches!(freshness, Freshness::Stale { .. });
    Registry {
        name: view.name.clone(),
        kind: Some(view.kind),
        address: Some(view.address.clone()),
        ready: view.is_ready(),
        session: session(&view.session),
        caught_up_at: view.caught_up.map(time),
        last_good_at: view.last_good.map(time),
        last_good_age_seconds: view.last_good.map(age),
        services: view.services.len(),
        stale_services: view
            .services
            .values()
            .filter(|service| stale(&service.freshness))
            .count(),
        instances: instances().count(),
        serving_instances: instances().filter(|i| i.status.serving() == Serving::Yes).count(),
        holds: view.holds.iter().map(HoldView::new).collect(),
        quarantined: view.quarantined.clone(),
    }
}

fn session(session: &Session) -> SessionState {
    let (state, since, why, retry_at) = match session {
        Session::Connecting { since } => ("connecting", *since, None, None),
        Session::CatchingUp { since } => ("catchingUp", *since, None, None),
        Session::Live { since } => ("live", *since, None, None),
        Session::Stale { since, why, retry_at } => ("stale", *since, Some(why.clone()), Some(*retry_at)),
    };
    SessionState {
        state,
        since: Some(time(since)),
        age_seconds: Some(age(since)),
        why,
        retry_at: retry_at.map(time),
        retry_in_seconds: retry_at.map(until),
    }
}
