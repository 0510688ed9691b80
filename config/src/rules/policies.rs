//! ServicePolicies: what they apply to, and values that can be kept.

use std::{sync::Arc, time};

use landfall_model::{
    RegistryName, ServiceId,
    rules::{Balancer, HashKey, PolicyTarget, ServicePolicy, TrafficPolicy},
};

use super::{Report, certificates::pem_file, names::Names};
use crate::{
    document::{At, Document},
    duration::Duration,
    kinds::{
        Kind, LANDFALL,
        service_policy::{BalancerType, ServicePolicySpec, TargetKind, TargetRef},
    },
};

/// The policies in document order.
pub(super) fn translate(documents: &[Document], names: &Names<'_>, report: &mut Report) -> Vec<Arc<ServicePolicy>> {
    let mut policies: Vec<Arc<ServicePolicy>> = Vec::new();
    for document in documents.iter().filter(|d| d.kind == Kind::ServicePolicy) {
        let Some(at) = document.spec() else { continue };
        let targets = targets(&at, &policies, names, report);
        let Some(spec) = at.read::<ServicePolicySpec>() else {
            continue;
        };
        let policy = Arc::new(policy(&at, &spec, report));
        policies.push(Arc::new(ServicePolicy {
            name: document.name.clone(),
            targets,
            policy,
        }));
    }
    policies
}

fn targets(at: &At<'_>, before: &[Arc<ServicePolicy>], names: &Names<'_>, report: &mut Report) -> Vec<PolicyTarget> {
    let items = at.items("targetRefs");
    let mut targets: Vec<PolicyTarget> = Vec::new();
    if items.is_empty() {
        targets.push(PolicyTarget::All);
    }
    for at in &items {
        let Some(spec) = at.read::<TargetRef>() else { continue };
        let Some(target) = target(at, &spec, names, report) else {
            continue;
        };
        if targets.contains(&target) {
            report
                .problems
                .push(at.problem("", "the same target twice", "remove one of the two"));
        }
        targets.push(target);
    }
    for target in &targets {
        if let Some(first) = before.iter().find(|policy| policy.targets.contains(target)) {
            let what = format!(
                "the policy `{}` has the same target and stands first, so it applies",
                first.name
            );
            report
                .warnings
                .push(at.problem("targetRefs", what, "join the two, or make a target more exact"));
        }
    }
    targets
}

pub(super) fn target(at: &At<'_>, spec: &TargetRef, names: &Names<'_>, report: &mut Report) -> Option<PolicyTarget> {
    let group = match spec.kind {
        TargetKind::Service => "",
        TargetKind::MeshService | TargetKind::Registry => LANDFALL,
    };
    if let Some(given) = spec.group.as_deref().filter(|given| *given != group) {
        let what = format!("`{given}` is not the group of a {:?}", spec.kind);
        report.problems.push(at.problem("group", what, "leave `group` out"));
    }
    if spec.kind != TargetKind::Service && spec.namespace.is_some() {
        let what = format!("a {:?} belongs to no registry", spec.kind);
        report
            .problems
            .push(at.problem("namespace", what, "remove `namespace`"));
    }
    match spec.kind {
        TargetKind::MeshService => names
            .need_mesh_service(at, "name", &spec.name, report)
            .then(|| PolicyTarget::Mesh((*spec.name).into())),
        TargetKind::Registry => {
            let exists = names.need_registry(at, "name", &spec.name, report);
            exists
                .then(|| RegistryName::new(&spec.name).ok().map(PolicyTarget::Registry))
                .flatten()
        }
        TargetKind::Service => {
            let registry = match (&spec.namespace, names.registries.len()) {
                (Some(registry), _) => {
                    names.need_registry(at, "namespace", registry, report);
                    &**registry
                }
                (None, 1) => names.registries.first().copied()?,
                (None, _) => {
                    let what = "a Service without `namespace`, where there is not exactly one registry";
                    report
                        .problems
                        .push(at.problem("", what, "add the registry's name as `namespace`"));
                    return None;
                }
            };
            Some(PolicyTarget::Service(ServiceId::new(
                RegistryName::new(registry).ok()?,
                &*spec.name,
            )))
        }
    }
}

/// `0s` is off.
fn limit(given: Option<Duration>, default: Option<time::Duration>) -> Option<time::Duration> {
    match given.map(Duration::get) {
        None => default,
        Some(time::Duration::ZERO) => None,
        some => some,
    }
}

fn policy(at: &At<'_>, spec: &ServicePolicySpec, report: &mut Report) -> TrafficPolicy {
    let mut policy = TrafficPolicy {
        balancer: balancer(at, spec, report),
        ..TrafficPolicy::default()
    };

    let timeouts = &spec.timeouts;
    if let Some(connect) = timeouts.connect {
        policy.connect_timeout = connect.get();
        if connect.get().is_zero() {
            let what = "the limit for connecting cannot be switched off";
            report
                .problems
                .push(at.problem("timeouts.connect", what, "write a time such as `2s`"));
        }
    }
    policy.request_timeout = limit(timeouts.request, policy.request_timeout);
    policy.try_timeout = limit(timeouts.backend_request, policy.try_timeout);
    policy.idle_timeout = limit(timeouts.idle, policy.idle_timeout);
    if let (Some(whole), Some(one)) = (policy.request_timeout, policy.try_timeout)
        && one > whole
    {
        let what = "one try may take longer than the whole call";
        report
            .problems
            .push(at.problem("timeouts.backendRequest", what, "write at most what `request` says"));
    }

    let retries = &spec.retries;
    policy.retries.attempts = retries.attempts.unwrap_or(policy.retries.attempts);
    if let Some(codes) = &retries.codes {
        for (i, code) in codes
            .iter()
            .enumerate()
            .filter(|(_, code)| !(400..=599).contains(*code))
        {
            let what = format!("{code} is not the status of a failure");
            report
                .problems
                .push(at.problem(&format!("retries.codes[{i}]"), what, "write statuses from 400 to 599"));
        }
        policy.retries.statuses = codes.clone();
    }
    if let Some(methods) = &retries.methods {
        policy.retries.methods = methods.iter().map(|method| method.as_str().into()).collect();
    }
    policy.retries.backoff = retries.backoff.map_or(policy.retries.backoff, Duration::get);
    policy.retries.budget_percent = retries.budget.percent.unwrap_or(policy.retries.budget_percent);
    policy.retries.budget_min_per_second = retries
        .budget
        .min_per_second
        .unwrap_or(policy.retries.budget_min_per_second);

    policy.limits.max_requests = spec.limits.max_requests;
    policy.limits.dubbo_connections = spec.limits.dubbo_connections;
    policy.limits.max_requests_per_endpoint = spec.limits.max_requests_per_endpoint;

    let outlier = &spec.outlier_ejection;
    policy.outlier.consecutive_failures = outlier
        .consecutive_failures
        .unwrap_or(policy.outlier.consecutive_failures);
    policy.outlier.max_ejected_percent = outlier
        .max_ejected_percent
        .unwrap_or(policy.outlier.max_ejected_percent);
    if let Some(ejection) = outlier.base_ejection {
        policy.outlier.base_ejection = ejection.get();
        if ejection.get().is_zero() {
            let what = "an ejection of no time";
            let mend = "write a time such as `10s`; `consecutiveFailures: 0` switches ejection off";
            report
                .problems
                .push(at.problem("outlierEjection.baseEjection", what, mend));
        }
    }

    policy.slow_start = limit(spec.slow_start, policy.slow_start);
    policy.panic_threshold = spec.panic_threshold.unwrap_or(policy.panic_threshold);

    policy.tls.verify = spec.tls.verify.unwrap_or(policy.tls.verify);
    policy.tls.server_name = spec.tls.server_name.as_deref().map(Arc::from);
    if let Some(ca) = &spec.tls.ca {
        policy.tls.ca = pem_file(at, "tls.ca", ca, "CERTIFICATE", report);
    }
    if !policy.tls.verify {
        let what = "TLS endpoints are not verified: anyone on the way can pretend to be one";
        report
            .warnings
            .push(at.problem("tls.verify", what, "name their authority with `ca` instead"));
    }
    policy
}

fn balancer(at: &At<'_>, spec: &ServicePolicySpec, report: &mut Report) -> Balancer {
    let Some(spec) = &spec.balancer else {
        return Balancer::default();
    };
    if spec.type_ != BalancerType::RingHash && spec.hash_on.is_some() {
        let what = "`hashOn` belongs to RingHash";
        report
            .problems
            .push(at.problem("balancer.hashOn", what, "remove it, or write `type: RingHash`"));
    }
    match spec.type_ {
        BalancerType::PeakEwma => Balancer::PeakEwma,
        BalancerType::LeastRequest => Balancer::LeastRequest,
        BalancerType::RoundRobin => Balancer::RoundRobin,
        BalancerType::Random => Balancer::Random,
        BalancerType::RingHash => {
            let mut keys = Vec::new();
            if let Some(on) = &spec.hash_on {
                keys.extend(
                    on.header
                        .as_ref()
                        .map(|name| HashKey::Header(name.to_ascii_lowercase().into())),
                );
                keys.extend(on.cookie.as_ref().map(|name| HashKey::Cookie((**name).into())));
                keys.extend(on.source_ip.then_some(HashKey::SourceIp));
                keys.extend(on.path.then_some(HashKey::Path));
            }
            if keys.len() != 1 {
                let what = format!("RingHash looks at exactly one thing, here at {}", keys.len());
                let mend = "write `hashOn` with one of `header`, `cookie`, `sourceIp: true`, `path: true`";
                report.problems.push(at.problem("balancer", what, mend));
            }
            Balancer::RingHash(keys.pop().unwrap_or(HashKey::SourceIp))
        }
    }
}
