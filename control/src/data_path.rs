//! What the admin API asks of whatever carries traffic.
//!
//! Whoever starts a control plane beside an engine joins the two through [`DataPath`]. A control plane without a data path of its own has none to ask; its answers then lack the live figures.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use landfall_model::{ClusterId, rules::ListenerId};

/// Something that carries traffic by snapshots.
pub trait DataPath: Send + Sync + 'static {
    /// The version of the snapshot in force; 0 before the first.
    fn snapshot_version(&self) -> u64;

    /// Every listener of the snapshot in force.
    fn listeners(&self) -> Vec<ListenerFigures>;

    /// The endpoints of a cluster with their figures; empty if it has no such cluster.
    fn endpoints(&self, cluster: &ClusterId) -> Vec<EndpointFigures>;

    /// Appends its metrics in Prometheus' text format.
    fn render_metrics(&self, out: &mut String);

    /// The OpenAPI document, in JSON, of the methods of Dubbo's services that can be called with it.
    fn openapi(&self) -> String;

    /// What would become of a call: route, filters, endpoints, and why. The text says what is wrong with the question.
    fn explain(&self, question: &Question) -> Result<serde_json::Value, String>;
}

/// How a listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerFigures {
    /// Which.
    pub id: ListenerId,
    /// Where it accepts connections; `None` while it cannot.
    pub bound: Option<SocketAddr>,
    /// What is wrong, if anything.
    pub error: Option<String>,
    /// Since when it stands so.
    pub since: SystemTime,
    /// Open connections of its port.
    pub connections: usize,
}

/// Live figures of an endpoint in a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointFigures {
    /// Which.
    pub address: SocketAddr,
    /// Calls in flight.
    pub in_flight: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Moving average of the time to an answer; `None` before the first.
    pub latency: Option<Duration>,
    /// For how much longer it is left out because of its failures.
    pub ejected_for: Option<Duration>,
}

/// A call that is asked about and not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// In upper case.
    pub method: String,
    /// Absolute: `http://shop.example:8080/orders?x=1`.
    pub url: String,
    /// Names as given, and values.
    pub headers: Vec<(String, String)>,
}
