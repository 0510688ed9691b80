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
//!                                            ├─▶ broken off, too slow: dropped, and the next try
//!                                            └─▶ no end known, and none came: passed on, no further try
//! ```
//!
//! An answer that does not say its length (chunked) may be one that is meant to be seen as it comes, so it waits only a
//! moment, [`PATIENCE`]: servers that write in chunks send the last one right behind the others. Only clients of HTTP/1
//! have that: what pingora writes to an HTTP/2 client cannot be left and taken up again, as it must be when the moment
//! is over while the endpoint is listened to.
//!
//! It is one of pingora's custom sessions, and pingora sees it only from the head of an answer to the end of the
//! try: what it does otherwise for custom sessions (authority, messages, no keep-alive) it decides before or after.
//! Each worker keeps its unused ones, so a call costs a few moved pointers and no allocation.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Method, Version, header};
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
/// How long an answer of unknown length is held. Much more than a server needs from its last bytes to the end, and little
/// to wait for the first of a stream.
const PATIENCE: Duration = Duration::from_millis(20);
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
        let h2 = state.connection.as_ref().is_some_and(|connection| connection.h2);
        let Some(whole) = whole_when(answer, h2).filter(|_| again()) else {
            return;
        };
        // Connections of HTTP/1 keep the time themselves.
        let due = state.due().filter(|_| h2);
        state.held = Some(self.holds.enter(&mut session.downstream_session, whole, due));
    }

    /// Ends a hold that has nothing to do: all of the answer came in one read, and none of it was written yet.
    pub(super) fn end_idle_hold(&self, session: &mut Session, state: &mut CallState, end: bool) {
        let whole = |held: &Held| match held.whole {
            Whole::Length(length) => end || state.response_bytes >= length as u64,
            Whole::End(_) => end,
        };
        if state.held.as_ref().is_some_and(whole) && !session.has_pending_downstream_proxy_tasks() {
            self.end_hold(session, state);
        }
    }

    /// Lets pingora have the client's own session again. Whether there was a hold and nothing has left it.
    pub(super) fn end_hold(&self, session: &mut Session, state: &mut CallState) -> bool {
        let Some(held) = state.held.take() else { return false };
        let passed_on = self.holds.leave(held, &mut session.downstream_session);
        state.answer_begun |= passed_on;
        !passed_on
    }
}

/// When an answer is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    /// With so many bytes of body.
    Length(usize),
    /// When its end has come; who has not seen it by then passes on what there is.
    End(Instant),
}

impl Default for Whole {
    fn default() -> Self {
        Self::Length(0)
    }
}

/// When an answer is whole, if it is one to hold: its length is declared, not zero and at most [`HOLD`], or it is not
/// declared, but its end will be told, and the client is one of HTTP/1.
fn whole_when(answer: &ResponseHeader, client_h2: bool) -> Option<Whole> {
    if matches!(answer.status.as_u16(), 101 | 204 | 304) {
        return None;
    }
    let chunked = answer.headers.contains_key(header::TRANSFER_ENCODING);
    if let Some(length) = answer.headers.get(header::CONTENT_LENGTH).filter(|_| !chunked) {
        let length = length.to_str().ok()?.parse().ok()?;
        return (1..=HOLD).contains(&length).then_some(Whole::Length(length));
    }
    // Without either, an HTTP/1 endpoint ends its answer by closing, and so does one that dies.
    let has_end = chunked || answer.version == Version::HTTP_2;
    (has_end && !client_h2).then(|| Whole::End(Instant::now() + PATIENCE))
}

/// The holds of one worker.
#[derive(Default)]
pub(crate) struct Holds(Mutex<Vec<Spare>>);

/// The way back for a call whose client is behind a hold.
pub(super) struct Held {
    seat: Arc<Mutex<Seat>>,
    whole: Whole,
}

impl Holds {
    /// Puts a hold before the client for an answer until it is whole. `due` is when the try must be over, unless the
    /// client's connection keeps that time.
    fn enter(&self, session: &mut Box<ServerSession>, whole: Whole, due: Option<Instant>) -> Held {
        let spare = lock(&self.0).pop();
        let Spare { session: hold, seat } = spare.unwrap_or_else(Spare::new);
        let client = std::mem::replace(session, hold);
        *lock(&seat) = Seat {
            client: Some(client),
            whole,
            due,
            passed_on: false,
        };
        session.set_proxy_tasks_enabled(true);
        Held { seat, whole }
    }

    /// Puts the client's session back. What was held and not written is dropped. Whether anything was passed on.
    fn leave(&self, held: Held, session: &mut Box<ServerSession>) -> bool {
        session.set_proxy_tasks_enabled(false);
        let mut seat = lock(&held.seat);
        let passed_on = seat.passed_on;
        let Some(client) = seat.client.take() else {
            return passed_on;
        };
        drop(seat);
        let session = std::mem::replace(session, client);
        let mut spares = lock(&self.0);
        if spares.len() < SPARE {
            spares.push(Spare {
                session,
                seat: held.seat,
            });
        }
        passed_on
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
