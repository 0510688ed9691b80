//! When a try fails: whose fault it is, whether there is another, and which answer it is otherwise.

use pingora_error::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;
use tokio::time::Instant;

use super::{answer::Answer, context::CallState};
use crate::{
    cluster::{Failure, TryOutcome},
    moment::Moment,
};

/// What pingora is told when we decide to answer ourselves; which answer is in the call's state.
pub(super) const OWN_ANSWER: ErrorType = ErrorType::Custom("OwnAnswer");
/// … or to try again because of the answer's status.
pub(super) const RETRY_STATUS: ErrorType = ErrorType::Custom("RetryStatus");
/// … or that the time of the try ended while its answer was held.
pub(super) const HELD_TOO_LONG: ErrorType = ErrorType::Custom("HeldTooLong");

/// Notes which answer of our own ends the call.
pub(super) fn give(state: &mut CallState, answer: Answer) -> Box<Error> {
    state.answer = Some(answer);
    let mut error = Error::new_in(OWN_ANSWER);
    error.set_retry(false);
    error
}

pub(super) fn fail_lease(state: &mut CallState, failure: Failure) {
    if let Some(lease) = &mut state.lease {
        lease.failed(failure, Moment::now());
    }
}

/// Lets the endpoint go and remembers it.
pub(super) fn next_endpoint(state: &mut CallState) {
    if let Some(lease) = state.lease.take() {
        state.tried.add(&lease);
    }
    state.try_deadline = None;
    state.arm();
}

/// Whether there is a further try: nothing has reached the client, the body can be sent again, the policy says so,
/// and the wait fits into what is left of the call's time.
pub(super) fn decide_retry(session: &Session, state: &mut CallState, outcome: TryOutcome) -> bool {
    let begun = has_begun(session, state);
    let Some(cluster) = state
        .cluster
        .as_ref()
        .filter(|_| !begun && !session.as_downstream().retry_buffer_truncated())
    else {
        return false;
    };
    let left = state
        .deadline
        .map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return false;
    }
    let method = session.req_header().method.as_str();
    let again = cluster.retry(
        state.tries,
        method,
        outcome,
        state.connected,
        Moment::now(),
        fastrand::u64(..),
    );
    let again = again.filter(|wait| left.is_none_or(|left| *wait < left));
    state.next_try = again;
    if again.is_some() && outcome == TryOutcome::Failed(Failure::Connect) {
        next_endpoint(state);
    }
    again.is_some()
}

/// Whether the client may have seen something of an answer.
pub(super) fn has_begun(session: &Session, state: &CallState) -> bool {
    let written = session.response_written();
    state.answer_begun || written.is_some_and(|head| !head.status.is_informational())
}

/// How the endpoint failed; `None` if it was the client.
pub(super) fn whose_fault(error: &Error, state: &CallState) -> Option<Failure> {
    // Found while the client was listened to, and so by pingora's lights the client's doing.
    if *error.etype() == HELD_TOO_LONG {
        return Some(Failure::Timeout);
    }
    let timed_out = matches!(
        error.etype(),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout | ErrorType::ConnectTimedout
    );
    if *error.esource() != ErrorSource::Downstream {
        return Some(if timed_out { Failure::Timeout } else { Failure::Reset });
    }
    // Deadlines of HTTP/1 calls end the client's reads and writes; that is not the client's doing.
    let connection = state.connection.as_ref().filter(|connection| !connection.h2)?;
    let due = connection.due().is_some_and(|due| due <= Instant::now());
    due.then_some(Failure::Timeout)
}

/// The answer to what the client did wrong, if it can still be told.
pub(super) fn own_fault(error: &Error, state: &CallState) -> Option<Answer> {
    if *error.esource() != ErrorSource::Downstream || state.answer == Some(Answer::TimedOut) {
        return None;
    }
    if let Some(refusal) = state.connection.as_ref().and_then(|connection| connection.refusal()) {
        return Some(Answer::Malformed(refusal.why));
    }
    match error.etype() {
        ErrorType::ReadTimedout => Some(Answer::SlowClient),
        ErrorType::InvalidHTTPHeader => Some(Answer::Malformed("malformed request")),
        _ => None,
    }
}

pub(super) fn log_try(state: &CallState, error: &Error) {
    let address = state.lease.as_ref().map(|lease| lease.endpoint().address);
    tracing::debug!(?address, tries = state.tries, "try failed: {error}");
}
