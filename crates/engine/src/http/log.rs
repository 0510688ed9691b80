//! A call's line in the access log.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Version, header};
use pingora_proxy::Session;

use super::{
    Gateway,
    context::CallState,
    forward::REQUEST_ID,
    request::{authority_of, scheme_of},
};
use crate::access_log::Record;

impl Gateway {
    pub(super) fn log(&self, session: &Session, state: &CallState, took: Duration) {
        let (Some(log), Some(connection)) = (&self.access_log, &state.connection) else {
            return;
        };
        let request = session.req_header();
        let value = |name: header::HeaderName| request.headers.get(name).map(HeaderValue::as_bytes);
        log.log(&Record {
            time: SystemTime::now() - took,
            client: connection.client,
            peer: connection.peer().map(|peer| &**peer),
            method: request.method.as_str(),
            scheme: scheme_of(connection).as_str(),
            host: authority_of(request).unwrap_or("").as_bytes(),
            path: request.uri.path().as_bytes(),
            // Queries carry tokens and names; what is needed of them is in the service's own log.
            query: None,
            protocol: match request.version {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
            status: state.status,
            received: state.request_bytes,
            sent: state.response_bytes,
            took,
            upstream_took: state.upstream_time,
            route: state.rule.as_ref().map(|rule| (&*rule.route, rule.index)),
            cluster: state.cluster.as_ref().map(|cluster| &cluster.id),
            endpoint: state
                .lease
                .as_ref()
                .map(|lease| lease.endpoint().address)
                .or(state.called),
            tries: state.tries,
            error: state.answer.map(|answer| answer.words()),
            request_id: value(REQUEST_ID),
            trace: value(header::HeaderName::from_static("traceparent")),
            user_agent: value(header::USER_AGENT),
        });
    }
}
