//! Which AuthorizationPolicies apply to a cluster: every one whose target it touches, none hides another.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{
    ClusterId, Rules, ServiceId, World,
    rules::{AuthorizationPolicy, PolicyTarget},
    snapshot::ClusterTarget,
};

use super::members;

/// The policies of each cluster that has any.
pub fn of<'a>(
    world: &World,
    rules: &Rules,
    clusters: impl Iterator<Item = &'a ClusterId>,
) -> BTreeMap<ClusterId, Vec<Arc<AuthorizationPolicy>>> {
    if rules.authorization.is_empty() {
        return BTreeMap::new();
    }
    let with_policies = clusters.map(|id| {
        let members: Vec<ServiceId> = members(world, rules, &id.target)
            .into_iter()
            .map(|m| m.service)
            .collect();
        let all = rules.authorization.iter();
        let policies = all.filter(|policy| policy.targets.iter().any(|to| touches(to, &id.target, &members)));
        (id.clone(), policies.cloned().collect::<Vec<_>>())
    });
    with_policies.filter(|(_, policies)| !policies.is_empty()).collect()
}

/// What protects a service protects it behind a MeshService too. Names are compared without case, as registries such as
/// Eureka do: a policy that applies to one service too many is seen at once, one that applies to too few is not.
fn touches(to: &PolicyTarget, target: &ClusterTarget, members: &[ServiceId]) -> bool {
    match to {
        PolicyTarget::All => true,
        PolicyTarget::Registry(registry) => members.iter().any(|member| member.registry == *registry),
        PolicyTarget::Mesh(wanted) => matches!(target, ClusterTarget::Mesh(name) if name == wanted),
        PolicyTarget::Service(wanted) => members
            .iter()
            .any(|member| member.registry == wanted.registry && member.name.eq_ignore_ascii_case(&wanted.name)),
    }
}
