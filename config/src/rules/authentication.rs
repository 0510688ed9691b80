//! PeerAuthentications: what they apply to.

use std::sync::Arc;

use landfall_model::rules::{MutualTls, PeerAuthentication, PolicyTarget};

use super::{Report, names::Names, policies::target};
use crate::{
    document::{At, Document},
    kinds::{
        Kind,
        peer_authentication::{Mode, PeerAuthenticationSpec},
        service_policy::TargetRef,
    },
};

/// The documents in their order.
pub(super) fn translate(
    documents: &[Document],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Arc<PeerAuthentication>> {
    let mut all = Vec::new();
    for document in documents.iter().filter(|d| d.kind == Kind::PeerAuthentication) {
        let Some(at) = document.spec() else { continue };
        let targets = targets(&at, names, report);
        let Some(spec) = at.read::<PeerAuthenticationSpec>() else {
            continue;
        };
        all.push(Arc::new(PeerAuthentication {
            name: document.name.clone(),
            targets,
            mode: match spec.mtls.mode {
                Mode::Strict => Some(MutualTls::Strict),
                Mode::Permissive => Some(MutualTls::Permissive),
                Mode::Disable => None,
            },
        }));
    }
    all
}

fn targets(at: &At<'_>, names: &Names<'_>, report: &mut Report) -> Vec<PolicyTarget> {
    let items = at.items("targetRefs");
    if items.is_empty() {
        return vec![PolicyTarget::All];
    }
    let mut targets = Vec::new();
    for at in &items {
        let Some(spec) = at.read::<TargetRef>() else { continue };
        match target(at, &spec, names, report) {
            Some(PolicyTarget::Mesh(_)) => {
                let what = "a MeshService has no callers of its own: its members have";
                report
                    .problems
                    .push(at.problem("kind", what, "name the members, by `kind: Service`"));
            }
            found => targets.extend(found),
        }
    }
    targets
}
