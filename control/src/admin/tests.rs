//! The admin server asked through a real socket; the cases stand in the files beside, by subject.

mod guard;
mod health;
mod lists;
mod questions;
mod reference;
mod sync;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::response::IntoResponse as _;
use landfall_adapters::facade::traffic::{Board, Description, Leases, Of, Peer, Place};
use landfall_config::ConfigState;
use landfall_model::rules::{ListenerId, PolicyTarget, TrafficPolicy};
use landfall_model::world::{Hold, Quarantined};
use landfall_model::{ClusterId, Instance, World};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::admin::{AdminServer, Sources};
use crate::testing::{self, Stage};
use crate::writing::WritingView;
use crate::{Control, DataPath, EndpointFigures, ListenerFigures, Question};

/// A data path that says what it is told to.
struct Told {
    version: u64,
    bound: bool,
}

impl DataPath for Told {
    fn snapshot_version(&self) -> u64 {
        self.version
    }

    fn listeners(&self) -> Vec<ListenerFigures> {
        vec![ListenerFigures {
            id: ListenerId {
                gateway: "edge".into(),
                listener: "web".into(),
            },
            bound: self.bound.then(|| "0.0.0.0:8080".parse().unwrap()),
            error: self.bound.then(|| "the certificate has expired".to_owned()),
            since: SystemTime::now(),
            connections: 3,
        }]
    }

    fn endpoints(&self, _: &ClusterId) -> Vec<EndpointFigures> {
        vec![EndpointFigures {
            address: "10.0.0.1:80".parse().unwrap(),
            in_flight: 2,
            failures: 5,
            latency: Some(Duration::from_micros(1_500)),
            ejected_for: Some(Duration::from_secs(9)),
        }]
    }

    fn render_metrics(&self, out: &mut String) {
        out.push_str("landfall_data_path 1\n");
    }

    fn openapi(&self) -> String {
        r#"{"openapi":"3.1.0"}"#.to_owned()
    }

    fn explain(&self, question: &Question) -> Result<Value, String> {
        if !question.url.starts_with("http://") {
            return Err(format!("`{}` is no URL", question.url));
        }
        Ok(json!({ "method": question.method, "url": question.url, "headers": question.headers }))
    }
}

/// A place at which one request was answered badly, with every optional part.
async fn facade(board: &Board) -> Arc<Place> {
    let description = Description {
        of: Of::Registry,
        name: "own".to_owned(),
        protocol: "eureka",
        address: "127.0.0.1:8761".to_owned(),
        path: "/mesh".to_owned(),
        view: "own".to_owned(),
        writes: "here".to_owned(),
    };
    let leases = || Leases { held: 1, evicted: 0 };
    let place = Place::new(board, description, Some(Box::new(leases)));
    let mut request = axum::extract::Request::new(axum::body::Body::empty());
    request.extensions_mut().insert(Peer([127, 0, 0, 1].into()));
    let unavailable = axum::http::StatusCode::SERVICE_UNAVAILABLE;
    place
        .answer(request, |_| async move { unavailable.into_response() })
        .await;
    place
}

struct Server {
    _facade: Arc<Place>,
    address: SocketAddr,
    control: Control,
    world: watch::Sender<Arc<World>>,
    _config: watch::Sender<ConfigState>,
    _end: tokio::sync::oneshot::Sender<()>,
}

impl Server {
    async fn start(stage: &Stage, data_path: Option<Told>) -> Self {
        Self::start_with(stage, stage.config(), data_path).await
    }

    async fn start_with(stage: &Stage, config: ConfigState, data_path: Option<Told>) -> Self {
        Self::serve(stage, config, data_path, None).await
    }

    async fn serve(stage: &Stage, config: ConfigState, data_path: Option<Told>, writing: Option<WritingView>) -> Self {
        let (_config, config) = watch::channel(config);
        let (world, worlds) = watch::channel(Arc::new(stage.world.clone()));
        let no_names: crate::resolve::LookUp = Arc::new(|_| Box::pin(async { Err(io::Error::other("no such name")) }));
        let control = Control::join(
            config,
            worlds,
            None,
            no_names,
            landfall_adapters::definitions::Definitions::default(),
        );
        let server = AdminServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let facades = Board::default();
        let place = facade(&facades).await;
        let sources = Sources {
            facades,
            control: control.clone(),
            data_path: data_path.map(|told| Arc::new(told) as Arc<dyn DataPath>),
            writing,
            metrics: vec![Arc::new(|out: &mut String| {
                out.push_str("landfall_registries_told 1\n")
            })],
        };
        let (_end, end) = tokio::sync::oneshot::channel();
        tokio::spawn(server.serve(sources, async move {
            let _ = end.await;
        }));
        Self {
            _facade: place,
            address,
            control,
            world,
            _config,
            _end,
        }
    }

    /// Sends a head as it is and reads the answer: status, head in lower case, body.
    async fn send(&self, head: &str) -> (u16, String, String) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(head.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            io::Result::Ok(answer)
        };
        let answer = timeout(Duration::from_secs(20), exchange).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self
            .send(&format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            ))
            .await;
        (status, body)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.text(path).await;
        (
            status,
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")),
        )
    }

    async fn ok(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

fn estate() -> Stage {
    let down = Instance {
        status: landfall_model::Status::Down,
        metadata: [("team".into(), "blue".into()), ("db.password".into(), "hunter2".into())].into(),
        ..testing::instance("down", "10.0.0.2", Vec::new())
    };
    let since = SystemTime::now() - Duration::from_secs(60);
    Stage::new()
        .service("eureka", "orders", &["10.0.0.1:80"])
        .service("consul", "orders", &["10.0.0.3:80"])
        .service("consul", "spare", &["10.0.0.4:80"])
        .instances("consul", "stock", vec![down])
        .mesh("shop", &[("eureka", "orders", 3), ("consul", "orders", 1)])
        .policy("calm", &[PolicyTarget::All], TrafficPolicy::default())
        .view("consul", |view| {
            view.holds.push(Hold {
                service: "stock".into(),
                instances: vec!["down".into()],
                reason: "all of its instances at once".into(),
                since,
                until: since + Duration::from_secs(90),
            });
            view.quarantined.push(Quarantined {
                service: Some("stock".into()),
                record: "stock/broken".into(),
                reason: "it has no port".into(),
            });
        })
        .routes(&["orders", "shop", "stock.consul", "nobody.eureka"])
}
