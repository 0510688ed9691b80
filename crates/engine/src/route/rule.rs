//! A rule: what is done with the calls that one of its matches takes.

use std::{sync::Arc, time::Duration};

use landfall_model::rules::{BackendRef, Family, RouteRule, Timeouts, TrafficPolicy};

use crate::{
    filter::{Filters, ResolveBackend},
    metrics::{BackendMetrics, Metrics, RouteMetrics},
    moment::scale,
};

/// A rule of a route, compiled.
#[derive(Debug)]
pub struct Rule {
    /// `namespace/name` of the route.
    pub route: Arc<str>,
    /// The rule's own name, if it has one.
    pub name: Option<Arc<str>>,
    /// Its place in the route, from 0.
    pub index: usize,
    /// Run for every call of the rule.
    pub filters: Filters,
    /// Figures of the rule.
    pub metrics: Arc<RouteMetrics>,
    backends: Box<[Arc<BackendSlot>]>,
    /// Sums of the weights up to and with each backend.
    shares: Box<[u64]>,
    timeouts: Timeouts,
}

/// A backend of a rule with its share.
#[derive(Debug)]
pub struct BackendSlot {
    /// As the route names it.
    pub backend: BackendRef,
    /// What it stands for.
    pub to: Where,
    /// Its part of the sum over the rule.
    pub weight: u32,
    /// Run after the rule's filters for calls that go here.
    pub filters: Filters,
    /// Figures of this backend within the rule.
    pub metrics: Arc<BackendMetrics>,
}

/// What a backend reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// The cluster at this place of the runtime.
    Cluster(u32),
    /// Nothing, and why. Its share of calls is answered 500.
    Missing(Arc<str>),
}

impl Rule {
    /// Compiles one rule of the route `route`.
    ///
    /// # Errors
    /// A filter that cannot be compiled; the rule must then answer 500, see [`Rule::broken`].
    pub fn compile(
        route: &Arc<str>,
        index: usize,
        source: &RouteRule,
        resolve: &mut ResolveBackend<'_>,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let filters = Filters::compile(&source.filters, resolve)?;
        let mut backends = Vec::with_capacity(source.backends.len());
        for backend in &source.backends {
            backends.push(Arc::new(BackendSlot {
                to: resolve(&backend.backend),
                weight: backend.weight,
                filters: Filters::compile(&backend.filters, resolve)?,
                metrics: metrics.backend(route, index, &backend.backend),
                backend: backend.backend.clone(),
            }));
        }
        Ok(Self::new(route, index, source, filters, backends, metrics))
    }

    /// A rule that could not be compiled: every call is answered 500, because serving it without what is missing
    /// could let through what the rule was to stop.
    pub fn broken(route: &Arc<str>, index: usize, source: &RouteRule, why: &str, metrics: &Metrics) -> Self {
        let backend = BackendRef {
            name: "broken-rule".into(),
            namespace: None,
            port: None,
            family: Family::Http,
        };
        let slot = BackendSlot {
            metrics: metrics.backend(route, index, &backend),
            backend,
            to: Where::Missing(why.into()),
            weight: 1,
            filters: Filters::default(),
        };
        Self::new(route, index, source, Filters::default(), vec![Arc::new(slot)], metrics)
    }

    fn new(
        route: &Arc<str>,
        index: usize,
        source: &RouteRule,
        filters: Filters,
        backends: Vec<Arc<BackendSlot>>,
        metrics: &Metrics,
    ) -> Self {
        let shares = backends.iter().scan(0_u64, |sum, slot| {
            *sum += u64::from(slot.weight);
            Some(*sum)
        });
        Self {
            route: route.clone(),
            name: source.name.clone(),
            index,
            filters,
            metrics: metrics.route(route, index),
            shares: shares.collect(),
            backends: backends.into(),
            timeouts: source.timeouts,
        }
    }

    /// The backend for a call that drew this number. `None`: the rule has none, or all have weight 0; answered 500.
    pub fn pick_backend(&self, random: u64) -> Option<&Arc<BackendSlot>> {
        let total = *self.shares.last().filter(|total| **total > 0)?;
        let point = scale(random, total);
        self.backends.get(self.shares.partition_point(|share| *share <= point))
    }

    /// All backends, in document order.
    pub fn backends(&self) -> &[Arc<BackendSlot>] {
        &self.backends
    }

    /// The limit of the whole call: the route's, else the policy's; `None` is unlimited.
    pub fn request_timeout(&self, policy: &TrafficPolicy) -> Option<Duration> {
        effective(self.timeouts.request, policy.request_timeout)
    }

    /// The limit of a whole call whose client has a limit of its own: the shorter one of that and the route's, else the
    /// one there is, else the policy's; `None` is unlimited.
    pub fn limit(&self, policy: &TrafficPolicy, own: Option<Duration>) -> Option<Duration> {
        let Some(own) = own else {
            return self.request_timeout(policy);
        };
        let route = self.timeouts.request.filter(|limit| !limit.is_zero());
        Some(route.map_or(own, |route| route.min(own)))
    }

    /// The limit of one try: the route's, else the policy's; `None` is unlimited.
    pub fn try_timeout(&self, policy: &TrafficPolicy) -> Option<Duration> {
        effective(self.timeouts.backend_request, policy.try_timeout)
    }
}

/// Zero in a route switches the limit off.
fn effective(route: Option<Duration>, policy: Option<Duration>) -> Option<Duration> {
    route.or(policy).filter(|limit| !limit.is_zero())
}
