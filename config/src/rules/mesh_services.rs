//! MeshServices: members that exist, each once.

use std::sync::Arc;

use landfall_model::{
    RegistryName, ServiceId,
    rules::{MeshMember, MeshService},
};

use super::{Report, names::Names};
use crate::{
    document::Document,
    kinds::{Kind, mesh_service::Member},
};

/// The MeshServices in document order.
pub(super) fn translate(documents: &[Document], names: &Names<'_>, report: &mut Report) -> Vec<Arc<MeshService>> {
    let mut services = Vec::new();
    for document in documents.iter().filter(|d| d.kind == Kind::MeshService) {
        let Some(spec) = document.spec() else { continue };
        let mut members: Vec<MeshMember> = Vec::new();
        for at in spec.items("members") {
            let Some(member) = at.read::<Member>() else { continue };
            names.need_registry(&at, "namespace", &member.namespace, report);
            let Ok(registry) = RegistryName::new(&member.namespace) else {
                continue;
            };
            let service = ServiceId::new(registry, &*member.name);
            if members.iter().any(|known| known.service == service) {
                report.problems.push(at.problem(
                    "",
                    format!("the member {service} stands twice"),
                    "remove one of the two",
                ));
            }
            members.push(MeshMember {
                service,
                weight: member.weight.unwrap_or(1),
            });
        }
        if !members.is_empty() && members.iter().all(|member| member.weight == 0) {
            let what = "every member has weight 0, so none gets traffic";
            report
                .warnings
                .push(spec.problem("members", what, "give one of them a weight"));
        }
        services.push(Arc::new(MeshService {
            name: document.name.clone(),
            members,
        }));
    }
    services
}
