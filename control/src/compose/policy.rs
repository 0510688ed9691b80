//! Which ServicePolicy applies to a cluster.

use std::sync::{Arc, LazyLock};

use landfall_model::{
    Rules,
    rules::{PolicyTarget, ServicePolicy, TrafficPolicy},
    snapshot::ClusterTarget,
};

static DEFAULT: LazyLock<Arc<TrafficPolicy>> = LazyLock::new(Arc::default);

/// The policy of a cluster: the most exact target wins, then the first document, then the default.
pub fn of(rules: &Rules, target: &ClusterTarget) -> Arc<TrafficPolicy> {
    chosen(rules, target).map_or_else(|| DEFAULT.clone(), |policy| policy.policy.clone())
}

/// The document behind it; `None` if the default applies.
pub fn chosen<'a>(rules: &'a Rules, target: &ClusterTarget) -> Option<&'a ServicePolicy> {
    let applies = |policy: &ServicePolicy| {
        policy
            .targets
            .iter()
            .filter(|t| matches(t, target))
            .map(exactness)
            .min()
    };
    rules
        .policies
        .iter()
        .filter_map(|policy| Some((applies(policy)?, policy)))
        // The first of equals is kept, which is document order.
        .min_by_key(|(exactness, _)| *exactness)
        .map(|(_, policy)| &**policy)
}

fn matches(policy: &PolicyTarget, target: &ClusterTarget) -> bool {
    match (policy, target) {
        (PolicyTarget::Service(wanted), ClusterTarget::Service(id)) => wanted == id,
        (PolicyTarget::Mesh(wanted), ClusterTarget::Mesh(name)) => wanted == name,
        (PolicyTarget::Registry(wanted), ClusterTarget::Service(id)) => *wanted == id.registry,
        (PolicyTarget::All, _) => true,
        _ => false,
    }
}

fn exactness(target: &PolicyTarget) -> u8 {
    match target {
        PolicyTarget::Service(_) => 0,
        PolicyTarget::Mesh(_) => 1,
        PolicyTarget::Registry(_) => 2,
        PolicyTarget::All => 3,
    }
}
