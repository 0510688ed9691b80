//! From a request to its rule, its backend and its cluster, or to an answer of our own.

use std::sync::Arc;

use http::header;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::time::Instant;

use super::{
    Gateway,
    answer::{Answer, end_with_head},
    context::CallState,
    forward::ResponseHeaders,
    request::{check_h2, scheme_of, with_call},
};
use crate::{
    authorize::Asked,
    filter::{Filters, Redirection},
    moment::Moment,
    runtime::{Choice, Selected},
    transcode::Transcoder,
};

impl Gateway {
    /// Finds the rule and the backend; `Some` is a redirect.
    pub(super) fn route(
        &self,
        session: &Session,
        state: &mut CallState,
    ) -> std::result::Result<Option<Redirection>, Answer> {
        if session.is_http2() {
            check_h2(session.req_header())?;
        }
        let Some(connection) = state.connection.clone() else {
            return Err(Answer::Internal);
        };
        let sni = connection.sni();
        let port = connection.port.number();
        if let Some(last) = connection.port.last_runtime() {
            state.runtime = last;
        }
        let runtime = state.runtime.clone();
        let scope = runtime.scope(port, connection.local.ip(), scheme_of(&connection));
        let selected = scope.ok_or(Answer::NoRoute).and_then(|scope| {
            with_call(session, state, |call| match scope.select(call, sni) {
                Selected::Route(found) => Ok((found.rule.clone(), found.rule.filters.redirect(call, port))),
                Selected::NotFound => Err(Answer::NoRoute),
                Selected::Misdirected => Err(Answer::Misdirected),
            })
        });
        let (rule, redirection) = selected?;
        rule.metrics.started();
        state.rule = Some(rule.clone());
        if redirection.is_some() {
            return Ok(redirection);
        }
        let (backend, cluster) = match runtime.backend(&rule, fastrand::u64(..)) {
            Choice::Cluster { backend, cluster } => (backend, Some(cluster)),
            Choice::Missing { backend, .. } => (backend, None),
            Choice::None => return Err(Answer::NoBackend),
        };
        state.backend = Some(backend.clone());
        let redirection = with_call(session, state, |call| backend.filters.redirect(call, port));
        if redirection.is_some() {
            return Ok(redirection);
        }
        let cluster = cluster.ok_or(Answer::NoBackend)?;
        // What becomes a call of Dubbo is judged when its method is known.
        if rule.filters.transcoder().is_none()
            && !with_call(session, state, |call| runtime.admits(&cluster.id, &Asked::http(call)))
        {
            return Err(Answer::Denied);
        }
        let now = Instant::now();
        state.deadline = rule.request_timeout(&cluster.policy).map(|limit| now + limit);
        cluster.begin_call(Moment::now());
        state.cluster = Some(cluster.clone());
        Ok(None)
    }

    pub(super) async fn redirect(&self, session: &mut Session, state: &mut CallState, to: Redirection) -> Result<()> {
        state.status = to.status;
        let mut head = ResponseHeader::build(to.status, Some(4))?;
        head.insert_header(header::LOCATION, to.location)?;
        head.insert_header(header::CONTENT_LENGTH, 0)?;
        for filters in filters_of(state) {
            filters.on_response(&mut ResponseHeaders(&mut head));
        }
        end_with_head(session, Box::new(head)).await
    }
}

/// What makes a call of Dubbo of the request, if its rule does.
pub(super) fn transcoder_of(state: &CallState) -> Option<Arc<Transcoder>> {
    state.rule.as_ref()?.filters.transcoder().cloned()
}

/// The filters of the rule, then those of the backend.
pub(super) fn filters_of(state: &CallState) -> impl Iterator<Item = &Filters> {
    let rule = state.rule.iter().map(|rule| &rule.filters);
    rule.chain(state.backend.iter().map(|backend| &backend.filters))
}
