//! The engine of this process as the admin API's data path.

use std::time::{Duration, SystemTime};

use landfall_engine::{
    Engine,
    explain::{ExplainRequest, explain},
    moment::Moment,
};
use landfall_model::ClusterId;

use super::{DataPath, EndpointFigures, ListenerFigures, Question};

impl DataPath for Engine {
    fn snapshot_version(&self) -> u64 {
        self.runtime().version()
    }

    fn listeners(&self) -> Vec<ListenerFigures> {
        let figures = |state: landfall_engine::ListenerState| ListenerFigures {
            id: state.id,
            bound: state.bound,
            error: state.error,
            since: state.since.min(SystemTime::now()),
            connections: state.connections,
        };
        Engine::listeners(self).into_iter().map(figures).collect()
    }

    fn endpoints(&self, cluster: &ClusterId) -> Vec<EndpointFigures> {
        let runtime = self.runtime();
        let view = runtime
            .cluster_by_id(cluster)
            .map(|cluster| cluster.view(Moment::now()));
        let endpoints = view.into_iter().flat_map(|view| view.endpoints);
        endpoints
            .map(|endpoint| EndpointFigures {
                address: endpoint.address,
                in_flight: endpoint.in_flight,
                failures: endpoint.failures,
                latency: endpoint.latency_micros.map(Duration::from_micros),
                ejected_for: endpoint.ejected_for_millis.map(Duration::from_millis),
            })
            .collect()
    }

    fn render_metrics(&self, out: &mut String) {
        Engine::render_metrics(self, out);
    }

    fn explain(&self, question: &Question) -> Result<serde_json::Value, String> {
        let request = ExplainRequest {
            method: question.method.clone(),
            url: question.url.clone(),
            headers: question.headers.clone(),
        };
        let explanation = explain(&self.runtime(), &request).map_err(|error| error.to_string())?;
        serde_json::to_value(explanation).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, io, sync::Arc};

    use landfall_engine::EngineOptions;
    use tokio::sync::watch;

    use super::*;
    use crate::{Control, testing::Stage};

    #[tokio::test]
    async fn the_engine_answers_for_the_snapshot_that_control_made() {
        let stage = Stage::new()
            .service("eureka", "orders", &["127.0.0.1:9"])
            .routes(&["orders.eureka"]);
        let (_config, config) = watch::channel(stage.config());
        let (_world, world) = watch::channel(Arc::new(stage.world.clone()));
        let control = Control::join(
            config,
            world,
            Arc::new(|_| Box::pin(async { Err(io::Error::other("no such name")) })),
        );
        let options = EngineOptions {
            workers: 1,
            bind_override: HashMap::from([(8080, 0)]),
            ..EngineOptions::default()
        };
        let snapshots = control.snapshots();
        let engine = tokio::task::spawn_blocking(move || Engine::start(snapshots, options))
            .await
            .unwrap()
            .unwrap();

        assert!(control.readiness(Some(&engine)).ready);
        assert_eq!(engine.snapshot_version(), control.composition().snapshot.version);
        let listeners = DataPath::listeners(&engine);
        assert_eq!(listeners[0].id.to_string(), "edge/web");
        assert!(listeners[0].bound.is_some_and(|address| address.port() != 0));
        let cluster = control.composition().snapshot.clusters.keys().next().unwrap().clone();
        let endpoints = engine.endpoints(&cluster);
        assert_eq!(
            (
                endpoints[0].address.port(),
                endpoints[0].in_flight,
                endpoints[0].ejected_for
            ),
            (9, 0, None)
        );
        let question = |url: &str| Question {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
        };
        let explanation = engine.explain(&question("http://localhost:8080/r0/x")).unwrap();
        assert_eq!(explanation["route"]["route"], "default/r0", "{explanation}");
        assert!(engine.explain(&question("ftp://localhost/")).is_err());
        let mut metrics = String::new();
        DataPath::render_metrics(&engine, &mut metrics);
        control.render_metrics(Some(&engine), &mut metrics);
        let mut families: Vec<&str> = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .collect();
        let count = families.len();
        families.sort_unstable();
        families.dedup_by_key(|family| family.split(' ').next());
        assert!(
            count > 20 && families.len() == count,
            "a family is told twice: {metrics}"
        );
        tokio::task::spawn_blocking(move || drop(engine)).await.unwrap();
    }
}
