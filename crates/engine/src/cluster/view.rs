//! A cluster as people see it: for `explain`, `get endpoints` and the dashboard.

use std::net::SocketAddr;

use landfall_model::{Protocol, rules::TrafficPolicy};
use serde::Serialize;

use super::ClusterRuntime;
use crate::moment::Moment;

/// A cluster at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// Service and port, or MeshService.
    pub cluster: String,
    /// Calls in flight.
    pub in_flight: u32,
    /// Whether so many endpoints are ejected that ejections are ignored.
    pub panic: bool,
    /// What applies to calls.
    pub policy: TrafficPolicy,
    /// Its endpoints, sorted by address.
    pub endpoints: Vec<EndpointView>,
}

/// An endpoint at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Where it is.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The name verified, if TLS is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// Share among the cluster's endpoints.
    pub weight: u32,
    /// Availability zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The tag of the Dubbo calls that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// `registry/service/instance`.
    pub origin: String,
    /// Calls in flight.
    pub in_flight: u32,
    /// Failures since the last success.
    pub failures: u32,
    /// Milliseconds for which it is still left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ejected_for_millis: Option<u64>,
    /// Mean time to an answer's head, in microseconds; none before the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_micros: Option<u64>,
}

impl ClusterRuntime {
    /// How the cluster stands.
    pub fn view(&self, now: Moment) -> ClusterView {
        let endpoints = self.members.iter().map(|member| EndpointView {
            address: member.endpoint.address,
            protocol: member.endpoint.protocol,
            tls: member.endpoint.tls.as_deref().map(str::to_owned),
            weight: member.endpoint.weight,
            zone: member.endpoint.zone.as_deref().map(str::to_owned),
            tag: member.endpoint.tag.as_deref().map(str::to_owned),
            origin: member.endpoint.origin.to_string(),
            in_flight: member.state.in_flight(),
            failures: member.state.failures(),
            ejected_for_millis: member
                .state
                .ejected_for(now)
                .map(|rest| u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)),
            latency_micros: member.state.latency.mean(now).map(|mean| mean as u64),
        });
        ClusterView {
            cluster: self.id.to_string(),
            in_flight: self.in_flight(),
            panic: self.in_panic(now),
            policy: (*self.policy).clone(),
            endpoints: endpoints.collect(),
        }
    }
}
