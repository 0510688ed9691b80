//! Dubbo's tag routing: which endpoints a call's tag leads to.
//!
//! ```text
//!  no tag ────────────────────────────────▶ endpoints without tag
//!  tag, and some endpoint has it ─────────▶ those
//!  tag, and none has it ──────────────────▶ endpoints without tag; nobody if `dubbo.force.tag` is `true`
//! ```
//!
//! As Dubbo's own consumers do without rules (`TagStateRouter`, `TagRouter`). Ejected endpoints count: their calls go to
//! nobody else. A cluster of which no endpoint has a tag, such as any for HTTP, does not look at calls.

use http::HeaderName;

use super::ClusterRuntime;
use crate::call::HeaderView;

const TAG: HeaderName = HeaderName::from_static("dubbo.tag");
const FORCE: HeaderName = HeaderName::from_static("dubbo.force.tag");

/// Which endpoints are for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagGate<'c> {
    /// All.
    Any,
    /// Those without tag.
    Untagged,
    /// Those of that tag.
    Only(&'c str),
    /// None.
    Nobody,
}

impl TagGate<'_> {
    /// Whether an endpoint of this tag is among them.
    pub fn admits(&self, tag: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Untagged => tag.is_none(),
            Self::Only(wanted) => tag == Some(*wanted),
            Self::Nobody => false,
        }
    }
}

impl ClusterRuntime {
    /// Which endpoints are for a call with these attachments.
    pub fn tag_gate(&self, attachments: &dyn HeaderView) -> TagGate<'_> {
        if !self.tagged {
            return TagGate::Any;
        }
        let Some(wanted) = attachments.first(&TAG).filter(|tag| !tag.is_empty()) else {
            return TagGate::Untagged;
        };
        let mut tags = self.members.iter().filter_map(|member| member.endpoint.tag.as_deref());
        match tags.find(|tag| tag.as_bytes() == wanted) {
            Some(tag) => TagGate::Only(tag),
            None if attachments.first(&FORCE).is_some_and(|force| force == b"true") => TagGate::Nobody,
            None => TagGate::Untagged,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landfall_model::rules::TrafficPolicy;

    use super::*;
    use crate::{
        cluster::{NoEndpoint, Tried},
        fixture::{Request, cluster, endpoint},
        metrics::Metrics,
        moment::{Dice, Moment},
    };

    /// Endpoints with these ports and tags.
    fn tagged(endpoints: &[(u16, Option<&str>)]) -> Arc<ClusterRuntime> {
        let endpoints = endpoints.iter().map(|(port, tag)| {
            let mut endpoint = (*endpoint(*port, 100)).clone();
            endpoint.tag = tag.map(Into::into);
            Arc::new(endpoint)
        });
        let source = cluster("orders", endpoints.collect(), TrafficPolicy::default());
        ClusterRuntime::compile(&source, None, &Metrics::default(), Moment::NEVER)
    }

    /// The ports that calls with these attachments get over many picks, each once.
    fn ports(cluster: &Arc<ClusterRuntime>, attachments: &[&str]) -> Result<Vec<u16>, NoEndpoint> {
        let request = Request::new("hello", "x/", attachments);
        let mut dice = Dice::new(3);
        let now = Moment::from_nanos(5_000_000_000_000);
        let picks = (0..100).map(|_| cluster.pick(&request.call(), &Tried::default(), now, dice.bits()));
        let mut ports: Vec<u16> = picks
            .map(|lease| lease.map(|lease| lease.endpoint().address.port()))
            .collect::<Result<_, _>>()?;
        ports.sort_unstable();
        ports.dedup();
        Ok(ports)
    }

    #[test]
    fn a_tag_leads_to_its_endpoints_and_without_one_calls_stay_away_from_them() {
        let cluster = tagged(&[
            (1, None),
            (2, Some("gray")),
            (3, Some("gray")),
            (4, Some("blue")),
            (5, None),
        ]);
        assert_eq!(ports(&cluster, &["dubbo.tag: gray"]), Ok(vec![2, 3]));
        assert_eq!(ports(&cluster, &["dubbo.tag: blue"]), Ok(vec![4]));
        assert_eq!(ports(&cluster, &[]), Ok(vec![1, 5]));
        assert_eq!(ports(&cluster, &["dubbo.tag: red"]), Ok(vec![1, 5]), "nobody has it");
        let forced = ["dubbo.tag: red", "dubbo.force.tag: true"];
        assert_eq!(ports(&cluster, &forced), Err(NoEndpoint::Tag));
        let forced = ["dubbo.tag: blue", "dubbo.force.tag: true"];
        assert_eq!(ports(&cluster, &forced), Ok(vec![4]));
        assert_eq!(cluster.in_flight(), 0);
    }

    #[test]
    fn endpoints_that_are_all_tagged_take_no_call_without_tag() {
        let cluster = tagged(&[(1, Some("gray"))]);
        assert_eq!(ports(&cluster, &[]), Err(NoEndpoint::Tag));
        assert_eq!(ports(&cluster, &["dubbo.tag: gray"]), Ok(vec![1]));
    }

    #[test]
    fn where_no_endpoint_is_tagged_a_tag_changes_nothing() {
        let cluster = tagged(&[(1, None), (2, None)]);
        assert_eq!(
            ports(&cluster, &["dubbo.tag: gray", "dubbo.force.tag: true"]),
            Ok(vec![1, 2])
        );
        assert_eq!(ports(&cluster, &[]), Ok(vec![1, 2]));
    }
}
