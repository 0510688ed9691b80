//! `/api/v1/sync`, `/api/v1/sync/plan` and `/api/v1/sync/apply?plan=`: what is written from registry to registry.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::Uri};
use landfall_adapters::{
    election::Standing,
    publish::{Figures, mark::Mark},
    sync::{ApplyError, Conflict, Plan, SyncState, TargetState, TargetStatus},
};
use landfall_model::{Instance, Origin, RegistryName, ServiceId};
use serde::Serialize;

use super::{
    Sources,
    answer::{Parameters, Refusal, age, time},
};
use crate::writing::WritingView;

/// `/api/v1/sync`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncView {
    /// Id of the cluster that is written as.
    cluster: Arc<str>,
    writer: WriterView,
    /// Digest of the last plan.
    plan: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned_at: Option<String>,
    /// Writes that wait to be applied by hand.
    waiting: usize,
    /// Registries that are written.
    targets: Vec<TargetView>,
    /// By name of the RegistrySync.
    syncs: BTreeMap<Arc<str>, SyncState>,
}

/// Who writes.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct WriterView {
    /// `alone`, `candidate` or `writer`.
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Which writer this one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Who writes instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    /// What went wrong at the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetView {
    registry: RegistryName,
    address: String,
    /// `starting`, `idle`, `writing`, `backingOff`, `notWriter` or `unwritable`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Records of ours that are there as they are wanted.
    kept: usize,
    /// Writes that are to be done.
    to_write: usize,
    waiting: usize,
    /// Held by a guard.
    held: usize,
    conflicts: usize,
    left_out: usize,
    writes_per_second: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_write_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error_age_seconds: Option<f64>,
    errors: u64,
    figures: Figures,
}

/// `/api/v1/sync/plan`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Writes that wait to be applied by hand.
    waiting: usize,
    #[serde(flatten)]
    plan: Arc<Plan>,
}

/// `/api/v1/sync/apply`
#[derive(Debug, Serialize)]
pub struct Applied {
    /// How many were let through.
    writes: usize,
}

pub async fn show(State(sources): State<Sources>, uri: Uri) -> Result<Json<SyncView>, Refusal> {
    Parameters::read(&uri, &[])?;
    let writing = writing(&sources)?;
    let status = writing.sync.status().borrow().clone();
    Ok(Json(SyncView {
        cluster: status.cluster.clone(),
        writer: writer(&writing.standing.borrow()),
        plan: status.plan.clone(),
        planned_at: status.planned_at.map(time),
        waiting: status.waiting,
        targets: status.targets.iter().map(|(name, target)| view(name, target)).collect(),
        syncs: status.syncs.clone(),
    }))
}

pub async fn plan(State(sources): State<Sources>, uri: Uri) -> Result<Json<PlanView>, Refusal> {
    Parameters::read(&uri, &[])?;
    let plan = writing(&sources)?.sync.plan();
    Ok(Json(PlanView {
        waiting: plan.waiting(),
        plan,
    }))
}

pub async fn apply(State(sources): State<Sources>, uri: Uri) -> Result<Json<Applied>, Refusal> {
    let parameters = Parameters::read(&uri, &["plan"])?;
    let mend = "`landfall sync plan` shows what waits, and the digest to apply";
    let Some(digest) = parameters.get("plan") else {
        let error = "the parameter `plan` is missing".to_owned();
        return Err(Refusal::bad_request(error, mend.to_owned()));
    };
    match writing(&sources)?.sync.apply(digest).await {
        Ok(writes) => Ok(Json(Applied { writes })),
        Err(error @ ApplyError::Changed { .. }) => Err(Refusal::conflict(error.to_string(), mend.to_owned())),
        Err(error @ ApplyError::NotWriter) => {
            let mend = "`landfall sync status` tells who writes".to_owned();
            Err(Refusal::conflict(error.to_string(), mend))
        }
        Err(error @ ApplyError::Over) => {
            let mend = "ask the process that is started next".to_owned();
            Err(Refusal::unavailable(error.to_string(), mend))
        }
    }
}

/// Conflicts of what is written, with the registry that is written into.
pub(super) fn conflicts(sources: &Sources) -> Vec<(RegistryName, Conflict)> {
    let Some(writing) = &sources.writing else {
        return Vec::new();
    };
    let plan = writing.sync.plan();
    let of = |(target, plan): (&RegistryName, &Arc<landfall_adapters::sync::TargetPlan>)| {
        let target = target.clone();
        let conflicts = plan.conflicts.clone();
        conflicts.into_iter().map(move |conflict| (target.clone(), conflict))
    };
    plan.targets.iter().flat_map(of).collect()
}

/// Where a native instance stands by our writing: `registry/service/id` of each copy.
pub(super) fn copies(sources: &Sources, service: &ServiceId, instance: &Instance) -> Vec<String> {
    let Some(writing) = &sources.writing else {
        return Vec::new();
    };
    let origin = Origin {
        registry: service.registry.clone(),
        service: service.name.clone(),
        instance: instance.id.clone(),
    };
    // Long names stand in marks as their digests.
    let origin = Mark::new(&origin, "".into(), 0).origin;
    let plan = writing.sync.plan();
    let mut copies = Vec::new();
    for (registry, target) in &plan.targets {
        let here = target.kept.iter().filter(|shaped| shaped.record.mark.origin == origin);
        copies.extend(here.map(|shaped| format!("{registry}/{}/{}", shaped.key.service, shaped.key.id)));
    }
    copies
}

fn writing(sources: &Sources) -> Result<&WritingView, Refusal> {
    sources.writing.as_ref().ok_or_else(|| {
        let error = "this process writes into no registry".to_owned();
        Refusal::unavailable(error, "ask a process of `landfall up` or `landfall control`".to_owned())
    })
}

fn writer(standing: &Standing) -> WriterView {
    match standing {
        Standing::Alone => WriterView {
            role: "alone",
            ..WriterView::default()
        },
        Standing::Candidate { since, holder, why } => WriterView {
            role: "candidate",
            since: Some(time(*since)),
            holder: holder.clone(),
            why: why.clone(),
            epoch: None,
        },
        Standing::Writer { since, epoch } => WriterView {
            role: "writer",
            since: Some(time(*since)),
            epoch: Some(*epoch),
            ..WriterView::default()
        },
    }
}

fn view(registry: &RegistryName, target: &TargetStatus) -> TargetView {
    let why = match &target.state {
        TargetState::BackingOff { why } | TargetState::Unwritable { why } => Some(why.clone()),
        _ => None,
    };
    TargetView {
        registry: registry.clone(),
        address: target.address.clone(),
        state: target.state.word(),
        why,
        kept: target.kept,
        to_write: target.pending,
        waiting: target.waiting,
        held: target.held,
        conflicts: target.conflicts,
        left_out: target.left_out,
        writes_per_second: target.rate,
        last_write_at: target.last_write.map(time),
        last_error: target.last_error.as_ref().map(|(_, error)| error.clone()),
        last_error_age_seconds: target.last_error.as_ref().map(|(at, _)| age(*at)),
        errors: target.errors,
        figures: target.figures,
    }
}
