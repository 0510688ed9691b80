//! Which calls are copied to mirrors, and what the copies look like. [`mirror`](super::mirror) sends them.

use http::{HeaderValue, header};
use pingora_error::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::{
    Gateway,
    context::{CallState, Kind},
    forward::{self, RequestHeaders},
    mirror::Copy,
    peer,
    request::{authority_of, scheme_of, with_call},
    select::filters_of,
};
use crate::{
    authorize::Asked,
    filter::{Filters, Target},
    moment::Moment,
};

impl Gateway {
    /// Sends copies to the mirrors of rule and backend.
    pub(super) fn start_copies(&self, session: &mut Session, state: &mut CallState) {
        let wanted = filters_of(state).any(|filters| !filters.mirrors().is_empty());
        if !wanted {
            return;
        }
        let bodiless = session.as_downstream_mut().is_body_empty();
        let mut copies = Vec::new();
        for filters in filters_of(state) {
            for mirror in filters
                .mirrors()
                .iter()
                .filter(|mirror| mirror.wants(fastrand::u64(..)))
            {
                let Some(cluster) = state.runtime.cluster(mirror.to()) else {
                    continue;
                };
                if !with_call(session, state, |call| {
                    state.runtime.admits(&cluster.id, &Asked::http(call))
                }) {
                    continue;
                }
                let now = Moment::now();
                let leased = with_call(session, state, |call| {
                    cluster.pick(call, &Default::default(), now, fastrand::u64(..))
                });
                let Ok(lease) = leased else { continue };
                if let Ok(copy) = self.copy(session, state, filters, mirror, lease, bodiless) {
                    copies.push(copy);
                }
            }
        }
        for copy in copies {
            state.copies.start(self.mirrors.clone(), copy, bodiless);
        }
    }

    fn copy(
        &self,
        session: &Session,
        state: &CallState,
        filters: &Filters,
        mirror: &crate::filter::MirrorSlot,
        lease: crate::cluster::Lease,
        bodiless: bool,
    ) -> Result<Copy> {
        let original = session.req_header();
        let mut head = Box::new(original.clone());
        let mut target = Target::default();
        filters.on_mirrored(mirror, original.uri.path(), &mut RequestHeaders(&mut head), &mut target);
        let host = head.headers.get(header::HOST).cloned();
        let host = host.or_else(|| HeaderValue::from_str(authority_of(&head)?).ok());
        if let Some(connection) = &state.connection {
            let client = connection.client.ip();
            forward::add_forwarded(
                &mut head,
                client,
                scheme_of(connection),
                host.clone(),
                self.trust_forwarded,
            )?;
        }
        forward::retarget(&mut head, &target)?;
        let endpoint = lease.endpoint();
        let policy = &lease.cluster().policy;
        for name in [
            "connection",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "te",
            "expect",
        ] {
            head.remove_header(name);
        }
        let h2 = peer::speaks_h2(endpoint, state.kind);
        let host = target.host.clone().or(host);
        forward::address_copy(&mut head, host.as_ref(), h2, peer::is_secured(endpoint), bodiless)?;
        let limits = peer::Limits {
            connect: policy.connect_timeout,
            read: policy.idle_timeout,
            write: policy.idle_timeout,
            due: None,
        };
        let kind = if state.kind == Kind::Upgrade {
            Kind::Plain
        } else {
            state.kind
        };
        let peer = self
            .reach
            .peer(endpoint, &policy.tls, kind, &limits)
            .map_err(|problem| Error::explain(ErrorType::InternalError, problem))?;
        Ok(Copy { head, peer, lease })
    }
}
