//! The gateway's engine as the admin API asks it: cli joins the two, which do not know each other.

use std::{sync::Arc, time::Duration};

use landfall_control::{DataPath, EndpointFigures, ListenerFigures, Question};
use landfall_engine::{
    Engine,
    explain::{ExplainRequest, explain},
    moment::Moment,
};
use landfall_model::ClusterId;
use serde_json::Value;

use crate::outcome::chain;

/// An engine that answers the control plane's questions.
pub struct EngineDataPath(pub Arc<Engine>);

impl DataPath for EngineDataPath {
    fn snapshot_version(&self) -> u64 {
        self.0.runtime().version()
    }

    fn listeners(&self) -> Vec<ListenerFigures> {
        let states = self.0.listeners().into_iter();
        let figures = states.map(|state| ListenerFigures {
            id: state.id,
            bound: state.bound,
            error: state.error,
            since: state.since,
            connections: state.connections,
        });
        figures.collect()
    }

    fn endpoints(&self, cluster: &ClusterId) -> Vec<EndpointFigures> {
        let runtime = self.0.runtime();
        let Some(cluster) = runtime.cluster_by_id(cluster) else {
            return Vec::new();
        };
        let view = cluster.view(Moment::now());
        let figures = view.endpoints.into_iter().map(|endpoint| EndpointFigures {
            address: endpoint.address,
            in_flight: endpoint.in_flight,
            failures: endpoint.failures,
            latency: endpoint.latency_micros.map(Duration::from_micros),
            ejected_for: endpoint.ejected_for_millis.map(Duration::from_millis),
        });
        figures.collect()
    }

    fn render_metrics(&self, out: &mut String) {
        self.0.render_metrics(out);
    }

    fn openapi(&self) -> String {
        self.0.runtime().openapi()
    }

    fn explain(&self, question: &Question) -> Result<Value, String> {
        let request = ExplainRequest {
            method: question.method.clone(),
            url: question.url.clone(),
            headers: question.headers.clone(),
        };
        let explanation = explain(&self.0.runtime(), &request).map_err(|error| chain(&error))?;
        serde_json::to_value(explanation).map_err(|error| chain(&error))
    }
}
