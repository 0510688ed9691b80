//! The supervisor: opens session after session with one registry, at a pace its errors set.
//!
//! ```text
//!        ┌──────────────────────────────────────────────┐
//!        ▼                                              │ pause, by RegistryError
//!     Opened ──▶ Said(Knowledge) … ──▶ Ended{error} ────┘
//! ```
//!
//! A panic in an adapter is an answer it did not understand: it ends the session, not the process.
//! The log gets one line per change of state, however many attempts lie between.
//!
//! Next on the path: [`hub`](crate::hub), which takes the events.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use landfall_model::RegistryName;
use tokio::{sync::mpsc, time::Instant};
use tracing::{debug, info, warn};

use crate::{
    Knowledge, Registry, RegistryError, Reports,
    definitions::{Definitions, Desk},
};

mod pace;

pub use pace::Pace;

/// Reports of one session that may wait for the hub.
const WAITING_REPORTS: usize = 64;

/// What happens with one registry, in order.
#[derive(Debug)]
pub enum SessionEvent {
    /// An attempt begins.
    Opened,
    /// The session says something.
    Said(Knowledge),
    /// The session, or the attempt, is over.
    Ended {
        /// Why.
        error: RegistryError,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
}

/// Follows a registry until nobody takes the events any more, and has it read the definitions that are asked for. Dropping the future ends the session.
pub async fn supervise(
    name: RegistryName,
    registry: Arc<dyn Registry>,
    events: mpsc::Sender<SessionEvent>,
    definitions: Definitions,
) {
    let desk = definitions.desk(name.clone());
    let mut pace = Pace::new(registry.patience());
    let mut told = Told::Nothing;
    while events.send(SessionEvent::Opened).await.is_ok() {
        let opened = Instant::now();
        let mut caught_up = None;
        let Some(error) = session(&*registry, &events, &desk, |knowledge| {
            if *knowledge == Knowledge::CaughtUp {
                caught_up.get_or_insert_with(Instant::now);
                told.live(&name, &*registry);
            }
        })
        .await
        else {
            return;
        };
        let healthy = caught_up.map(|since| since.elapsed());
        let retry_in = pace.after(&error, opened.elapsed(), healthy);
        told.ended(&name, &error, retry_in);
        if events.send(SessionEvent::Ended { error, retry_in }).await.is_err() {
            return;
        }
        tokio::time::sleep(retry_in).await;
    }
}

/// One session; `None` when nobody takes its events any more.
async fn session(
    registry: &dyn Registry,
    events: &mpsc::Sender<SessionEvent>,
    desk: &Desk,
    mut seen: impl FnMut(&Knowledge),
) -> Option<RegistryError> {
    let (reports, mut said) = Reports::channel(WAITING_REPORTS);
    let reports = reports.with_definitions(desk.clone());
    let follow = AssertUnwindSafe(registry.follow(&reports)).catch_unwind();
    tokio::pin!(follow);
    let error = loop {
        tokio::select! {
            biased;
            Some(knowledge) = said.recv() => {
                seen(&knowledge);
                events.send(SessionEvent::Said(knowledge)).await.ok()?;
            }
            end = &mut follow => break end.unwrap_or_else(|panic| panicked(registry, &*panic)),
        }
    };
    while let Ok(knowledge) = said.try_recv() {
        seen(&knowledge);
        events.send(SessionEvent::Said(knowledge)).await.ok()?;
    }
    Some(error)
}

fn panicked(registry: &dyn Registry, panic: &(dyn std::any::Any + Send)) -> RegistryError {
    let what = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    RegistryError::Malformed {
        address: registry.address(),
        what: format!("the adapter failed on it: {what}"),
        sample: String::new(),
    }
}

/// What the log was told last.
#[derive(PartialEq)]
enum Told {
    Nothing,
    Live,
    Ended(&'static str),
}

impl Told {
    fn live(&mut self, name: &RegistryName, registry: &dyn Registry) {
        if *self != Self::Live {
            info!(registry = %name, kind = registry.kind(), address = registry.address(), "caught up with the registry");
            *self = Self::Live;
        }
    }

    fn ended(&mut self, name: &RegistryName, error: &RegistryError, retry_in: Duration) {
        let now = Self::Ended(error.label());
        if *self == now {
            debug!(registry = %name, %error, ?retry_in, "still no session with the registry");
        } else {
            warn!(registry = %name, %error, ?retry_in, "the session with the registry ended; what it said last stays in use");
            *self = now;
        }
    }
}

#[cfg(test)]
mod tests;
