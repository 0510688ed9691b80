//! Small answers that wait until they are whole, so that an endpoint that breaks off in the middle costs a try and
//! not the call.
//!
//! pingora writes an answer's head as soon as it has it, and tries nothing again after that. So where such an answer
//! begins, a hold ([`session`]) takes the place of the client's session: it passes everything on but the answer, and
//! that when it is whole.
//!
//! ```text
//!  head ─▶ response_filter: may be tried again, small? ─▶ a hold before the client
//!  rest in the same read ─▶ whole: the hold leaves before anything is written
//!  rest later            ─▶ the hold keeps it ─▶ whole: head and body in one write
//!                                            └─▶ broken off, too slow: dropped, and the next try
//! ```
//!
//! It is one of pingora's custom sessions, and pingora sees it only from the head of an answer to the end of the
//! try: what it does otherwise for custom sessions (authority, messages, no keep-alive) it decides before or after.
//! Each worker keeps its unused ones, so a call costs a few moved pointers and no allocation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, header};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::time::Instant;

use self::session::{Seat, Spare};
use super::{
    Gateway,
    context::{CallState, Kind},
};

mod session;
#[cfg(test)]
mod tests;

/// Largest body that is held, in bytes, and so the memory that a call may cost by it. As much as is kept of a
/// request's body for a retry.
const HOLD: usize = 64 * 1024;
/// Unused holds that a worker keeps.
const SPARE: usize = 64;

impl Gateway {
    /// Puts a hold before the client if this answer is one to hold: small, and to be had from another try if the
    /// present one breaks off. Nothing is set on a session behind a hold, so this comes last.
    pub(super) fn begin_hold(&self, session: &mut Session, state: &mut CallState, answer: &ResponseHeader) {
        let method = &session.req_header().method;
        let again = || {
            let cluster = state.cluster.as_ref();
            cluster.is_some_and(|cluster| cluster.may_retry(state.tries, method.as_str()))
                && !session.as_downstream().retry_buffer_truncated()
        };
        if state.kind != Kind::Plain || method == Method::HEAD {
            return;
        }
        let Some(length) = small(answer).filter(|_| again()) else {
            return;
        };
        // Connections of HTTP/1 keep the time themselves.
        let h2 = state.connection.as_ref().is_some_and(|connection| connection.h2);
        let due = state.due().filter(|_| h2);
        state.held = Some(self.holds.enter(&mut session.downstream_session, length, due));
    }

    /// Ends a hold that has nothing to do: all of the answer came in one read, and none of it was written yet.
    pub(super) fn end_idle_hold(&self, session: &mut Session, state: &mut CallState, end: bool) {
        let whole = |held: &Held| end || state.response_bytes >= held.length as u64;
        if state.held.as_ref().is_some_and(whole) && !session.has_pending_downstream_proxy_tasks() {
            self.end_hold(session, state);
        }
    }

    /// Lets pingora have the client's own session again. Whether there was a hold.
    pub(super) fn end_hold(&self, session: &mut Session, state: &mut CallState) -> bool {
        let held = state.held.take();
        held.map(|held| self.holds.leave(held, &mut session.downstream_session))
            .is_some()
    }
}

/// The length of an answer's body, if it is one to hold: declared, not zero and at most [`HOLD`].
fn small(answer: &ResponseHeader) -> Option<usize> {
    if matches!(answer.status.as_u16(), 101 | 204 | 304) || answer.headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    let length = answer.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    length.parse().ok().filter(|length| (1..=HOLD).contains(length))
}

/// The holds of one worker.
#[derive(Default)]
pub(crate) struct Holds(Mutex<Vec<Spare>>);

/// The way back for a call whose client is behind a hold.
pub(super) struct Held {
    seat: Arc<Mutex<Seat>>,
    /// Declared length of the body.
    length: usize,
}

impl Holds {
    /// Puts a hold before the client for an answer of `length` bytes. `due` is when the try must be over, unless
    /// the client's connection keeps that time.
    fn enter(&self, session: &mut Box<ServerSession>, length: usize, due: Option<Instant>) -> Held {
        let spare = lock(&self.0).pop();
        let Spare { session: hold, seat } = spare.unwrap_or_else(Spare::new);
        let client = std::mem::replace(session, hold);
        *lock(&seat) = Seat {
            client: Some(client),
            length,
            due,
        };
        session.set_proxy_tasks_enabled(true);
        Held { seat, length }
    }

    /// Puts the client's session back. What was held and not written is dropped.
    fn leave(&self, held: Held, session: &mut Box<ServerSession>) {
        session.set_proxy_tasks_enabled(false);
        let Some(client) = lock(&held.seat).client.take() else {
            return;
        };
        let session = std::mem::replace(session, client);
        let mut spares = lock(&self.0);
        if spares.len() < SPARE {
            spares.push(Spare {
                session,
                seat: held.seat,
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
