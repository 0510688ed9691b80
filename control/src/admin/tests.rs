//! The admin server asked through a real socket.

mod reference;
mod sync;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::{ConfigState, Problem, Refused};
use landfall_model::{
    ClusterId, Instance, World,
    rules::{Filter, HeaderEdits, ListenerId, PolicyTarget, TrafficPolicy},
    world::{Hold, Quarantined, Session},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};

use super::{AdminServer, Sources};
use crate::{
    Control, DataPath, EndpointFigures, ListenerFigures, Question,
    testing::{self, Stage, reference},
    writing::WritingView,
};

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

    fn explain(&self, question: &Question) -> Result<Value, String> {
        if !question.url.starts_with("http://") {
            return Err(format!("`{}` is no URL", question.url));
        }
        Ok(json!({ "method": question.method, "url": question.url, "headers": question.headers }))
    }
}

struct Server {
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
        let control = Control::join(config, worlds, no_names);
        let server = AdminServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let sources = Sources {
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

#[tokio::test]
async fn health_says_that_the_process_lives_whatever_the_registries_do() {
    let stage = estate().view("consul", |view| view.caught_up = None);
    let server = Server::start(&stage, None).await;
    assert_eq!(server.text("/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn ready_means_that_every_registry_is_and_that_the_data_path_carries_it() {
    let now = SystemTime::now();
    let stale = Session::Stale {
        since: now,
        why: "no answer from 10.9.9.9".into(),
        retry_at: now,
    };
    let unread = estate()
        .session("consul", stale)
        .view("consul", |view| view.caught_up = None);
    let server = Server::start(&unread, None).await;
    let (status, body) = server.get("/readyz").await;
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    assert_eq!(body["waitingFor"], json!(["registry consul: no answer from 10.9.9.9"]));
    assert_eq!(body["registries"][1]["state"], "caughtUp", "{body}");

    let last_good = unread.view("consul", |view| view.last_good = Some(now - Duration::from_secs(600)));
    server.world.send_replace(Arc::new(last_good.world));
    let taken = |c: &Arc<crate::control::Composition>| c.world.registries.values().all(|view| view.is_ready());
    server.control.compositions().wait_for(taken).await.unwrap();
    let (status, body) = server.get("/readyz").await;
    assert_eq!((status, &body["waitingFor"]), (200, &json!([])));
    let consul = &body["registries"][0];
    assert_eq!(consul["state"], "lastGood");
    assert!(consul["ageSeconds"].as_f64().unwrap() >= 600.0, "{body}");

    for (version, bound, status) in [(0, true, 503), (1, false, 503), (1, true, 200)] {
        let server = Server::start(&estate(), Some(Told { version, bound })).await;
        let (got, body) = server.get("/readyz").await;
        assert_eq!(got, status, "{body}");
        assert_eq!(body["waitingFor"].as_array().unwrap().is_empty(), status == 200);
    }
}

#[tokio::test]
async fn metrics_of_all_parts_are_on_one_page_and_well_formed() {
    let server = Server::start(
        &estate(),
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;
    let (status, text) = server.text("/metrics").await;
    assert_eq!(status, 200);
    for expected in [
        "landfall_data_path 1",
        "landfall_registries_told 1",
        "landfall_config_version 1",
        "landfall_control_snapshot_version 1",
        "landfall_control_backends_missing 1",
        "landfall_control_clusters 3",
        "landfall_control_clusters_empty 1",
        "landfall_control_endpoints 3",
        "landfall_ready 1",
        "landfall_control_compose_duration_seconds_count 1",
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected} is not in\n{text}"
        );
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn registries_show_session_age_holds_and_quarantine() {
    let since = SystemTime::now() - Duration::from_secs(30);
    let stale = Session::Stale {
        since,
        why: "no answer".into(),
        retry_at: SystemTime::now() + Duration::from_secs(100),
    };
    let server = Server::start(&estate().session("eureka", stale), None).await;
    let body = server.ok("/api/v1/registries").await;
    let (eureka, consul) = (&body["registries"][0], &body["registries"][1]);
    assert_eq!(
        (&eureka["name"], &eureka["kind"], &eureka["ready"]),
        (&json!("eureka"), &json!("static"), &json!(true))
    );
    let session = &eureka["session"];
    assert_eq!(
        (&session["state"], &session["why"]),
        (&json!("stale"), &json!("no answer"))
    );
    assert!(session["ageSeconds"].as_f64().unwrap() >= 30.0 && session["retryInSeconds"].as_f64().unwrap() > 80.0);
    assert!(session["since"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        (&consul["services"], &consul["instances"], &consul["servingInstances"]),
        (&json!(3), &json!(3), &json!(2))
    );
    assert_eq!(consul["holds"][0]["instances"], json!(["down"]));
    assert!(consul["holds"][0]["remainingSeconds"].as_f64().unwrap() > 20.0);
    assert_eq!(consul["quarantined"][0]["reason"], "it has no port");
}

#[tokio::test]
async fn services_are_listed_as_their_registry_states_them_without_secrets() {
    let server = Server::start(&estate(), None).await;
    let all = server.ok("/api/v1/services").await;
    assert_eq!(all["services"].as_array().unwrap().len(), 4);
    let some = server.ok("/api/v1/services?registry=consul&name=STOCK").await;
    assert_eq!(some["services"].as_array().unwrap().len(), 1);
    let stock = &some["services"][0];
    assert_eq!(
        (&stock["id"], &stock["routed"], &stock["inDataPath"]),
        (&json!("stock.consul"), &json!(true), &json!(0))
    );
    let instance = &stock["instances"][0];
    assert_eq!(
        (&instance["status"], &instance["serving"]),
        (&json!("DOWN"), &json!("no"))
    );
    assert_eq!(instance["metadata"]["team"], "blue");
    assert!(!some.to_string().contains("hunter2"), "{some}");
    let orders = server.ok("/api/v1/services?registry=eureka").await;
    assert_eq!(orders["services"][0]["instances"][0]["inDataPath"], true);
    let spare = server.ok("/api/v1/services?name=spare").await;
    assert_eq!(
        (&spare["services"][0]["routed"], &spare["services"][0]["inDataPath"]),
        (&json!(false), &json!(0))
    );
}

#[tokio::test]
async fn endpoints_show_share_origin_and_live_figures() {
    let server = Server::start(
        &estate(),
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;
    let body = server.ok("/api/v1/endpoints").await;
    let clusters = body["clusters"].as_array().unwrap();
    let shop = clusters.iter().find(|cluster| cluster["cluster"] == "shop").unwrap();
    assert_eq!(
        (&shop["kind"], &shop["policy"]),
        (&json!("MeshService"), &json!("calm"))
    );
    assert_eq!(shop["routes"], json!(["default/r1"]));
    let shares: Vec<&Value> = shop["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["sharePercent"])
        .collect();
    assert_eq!(shares, [&json!(75.0), &json!(25.0)]);
    let first = &shop["endpoints"][0];
    assert_eq!(
        first["origin"],
        json!({ "registry": "eureka", "service": "orders", "instance": "10.0.0.1:80" })
    );
    assert_eq!(
        (&first["live"]["inFlight"], &first["live"]["latencyMilliseconds"]),
        (&json!(2), &json!(1.5))
    );
    assert_eq!(first["live"]["ejectedForSeconds"], 9.0);
    assert!(
        shop["endpoints"][1].get("live").is_none(),
        "the data path said nothing about it"
    );
}

#[tokio::test]
async fn routes_show_what_each_backend_stands_for_in_the_gateway_apis_words() {
    let mut stage = estate();
    let mut route = (*stage.rules.routes[0]).clone();
    route.rules[0].filters.push(Filter::RequestHeaders(HeaderEdits {
        set: vec![("x-a".into(), "1".into())],
        ..HeaderEdits::default()
    }));
    route.rules[0].backends[0].weight = 3;
    let mut missing = route.rules[0].backends[0].clone();
    (missing.backend, missing.weight) = (reference("nobody.eureka:81"), 1);
    route.rules[0].backends.push(missing);
    stage.rules.routes[0] = Arc::new(route);
    let server = Server::start(&stage, None).await;
    let body = server.ok("/api/v1/routes").await;
    let route = &body["routes"][0];
    assert_eq!(
        (&route["id"], &route["resolved"]),
        (&json!("default/r0"), &json!(false))
    );
    assert_eq!(
        route["attachments"],
        json!([{ "listener": "edge/web", "port": 8080, "hostnames": ["*"] }])
    );
    let rule = &route["rules"][0];
    assert_eq!(
        rule["matches"],
        json!([{ "path": { "type": "PathPrefix", "value": "/r0" } }])
    );
    let edits = json!({ "set": [{ "name": "x-a", "value": "1" }] });
    assert_eq!(
        rule["filters"],
        json!([{ "type": "RequestHeaderModifier", "requestHeaderModifier": edits }])
    );
    let resolved =
        json!({ "ref": "orders", "cluster": "orders.eureka", "endpoints": 1, "weight": 3, "sharePercent": 75.0 });
    assert_eq!(rule["backends"][0], resolved);
    assert_eq!(
        rule["backends"][1]["missing"],
        "registry `eureka` has no service `nobody`"
    );
    assert_eq!(body["routes"][1]["resolved"], true);
}

#[tokio::test]
async fn listeners_show_whether_they_are_bound() {
    let server = Server::start(
        &estate(),
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;
    let body = server.ok("/api/v1/listeners").await;
    let listener = &body["listeners"][0];
    assert_eq!(
        (&listener["id"], &listener["protocol"], &listener["routes"]),
        (&json!("edge/web"), &json!("HTTP"), &json!(4))
    );
    assert_eq!(
        (&listener["live"]["bound"], &listener["live"]["connections"]),
        (&json!("0.0.0.0:8080"), &json!(3))
    );
}

#[tokio::test]
async fn the_configuration_in_force_and_the_refused_one_are_both_shown() {
    let stage = estate();
    let problem = Problem {
        file: "landfall.yaml".into(),
        line: 7,
        column: 3,
        path: "spec.rules[0]".to_owned(),
        what: "`backendRef` is unknown".to_owned(),
        mend: "write `backendRefs`".to_owned(),
    };
    let refused = Refused {
        at: SystemTime::now(),
        problems: vec![problem],
    };
    let config = ConfigState {
        refused: Some(refused),
        ..stage.config()
    };
    let server = Server::start_with(&stage, config, None).await;
    let body = server.ok("/api/v1/config").await;
    assert_eq!(
        (&body["version"], &body["fingerprint"]),
        (&json!(1), &json!("0123456789abcdef"))
    );
    let problem = &body["refused"]["problems"][0];
    assert_eq!(
        (&problem["line"], &problem["mend"]),
        (&json!(7), &json!("write `backendRefs`"))
    );
    let server = Server::start(&stage, None).await;
    assert!(server.ok("/api/v1/config").await.get("refused").is_none());
}

#[tokio::test]
async fn conflicts_list_names_in_several_registries_and_warnings() {
    let server = Server::start(&estate(), None).await;
    let body = server.ok("/api/v1/conflicts").await;
    let expected = json!([{
        "name": "orders",
        "services": ["orders.eureka", "orders.consul"],
        "means": "orders.eureka",
        "routes": ["default/r0"],
    }]);
    assert_eq!(body["conflicts"], expected);
    let warnings: Vec<&str> = body["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        warnings
            .iter()
            .any(|w| w.starts_with("backendRef `orders` names no registry")),
        "{warnings:?}"
    );
    assert!(
        warnings
            .iter()
            .any(|w| w.starts_with("backendRef `nobody.eureka` stands for nothing")),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn why_tells_where_an_endpoint_came_from_or_why_it_is_missing() {
    let server = Server::start(
        &estate(),
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;
    let reason = |body: &Value, index: usize| body["services"][0]["instances"][0]["reasons"][index].clone();

    let orders = server
        .ok("/api/v1/why?service=orders.eureka&endpoint=10.0.0.1:80")
        .await;
    assert_eq!(
        orders["services"][0]["clusters"],
        json!([{ "cluster": "orders.eureka" }, { "cluster": "shop", "memberWeight": 3 }])
    );
    assert_eq!(reason(&orders, 0)["inDataPath"], true);
    let text = "gets calls at 10.0.0.1:80; left out for another 9.0 s because calls to 10.0.0.1:80 failed";
    assert_eq!(reason(&orders, 0)["text"], text);

    let stock = server.ok("/api/v1/why?service=stock").await;
    assert_eq!(reason(&stock, 0)["text"], "its status is DOWN");
    assert_eq!(
        stock["services"][0]["holds"][0]["reason"],
        "all of its instances at once"
    );
    assert_eq!(stock["services"][0]["quarantined"][0]["record"], "stock/broken");

    let spare = server.ok("/api/v1/why?service=spare").await;
    assert_eq!(reason(&spare, 0)["text"], "no route refers to its service");
    let shop = server.ok("/api/v1/why?service=shop").await;
    assert_eq!(shop["services"].as_array().unwrap().len(), 2);
    let both = server.ok("/api/v1/why?service=orders").await;
    assert_eq!(both["services"].as_array().unwrap().len(), 2);

    for (path, status) in [
        ("/api/v1/why?service=nobody", 404),
        ("/api/v1/why?service=orders&endpoint=10.7.7.7:80", 404),
        ("/api/v1/why", 400),
    ] {
        let (got, body) = server.get(path).await;
        assert_eq!(got, status, "{path}");
        assert!(body["error"].is_string() && body["mend"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn explain_asks_the_data_path() {
    let server = Server::start(
        &estate(),
        Some(Told {
            version: 1,
            bound: true,
        }),
    )
    .await;
    let path = "/api/v1/explain?method=post&url=http%3A%2F%2Fshop%2Forders%3Fa%3Db&header=x-user:%207&header=a:b:c";
    let expected =
        json!({ "method": "POST", "url": "http://shop/orders?a=b", "headers": [["x-user", "7"], ["a", "b:c"]] });
    assert_eq!(server.ok(path).await, expected);
    for (path, status) in [
        ("/api/v1/explain", 400),
        ("/api/v1/explain?url=shop", 400),
        ("/api/v1/explain?url=http://shop&header=none", 400),
    ] {
        assert_eq!(server.get(path).await.0, status, "{path}");
    }
    let without = Server::start(&estate(), None).await;
    assert_eq!(without.get("/api/v1/explain?url=http://shop/").await.0, 503);
}

#[tokio::test]
async fn only_get_is_answered_and_every_answer_is_guarded() {
    let server = Server::start(&estate(), None).await;
    for method in ["POST", "DELETE", "PUT", "OPTIONS", "BREW"] {
        let head = format!("{method} /api/v1/config HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let (status, head, body) = server.send(&head).await;
        assert_eq!(status, 405, "{method}");
        assert!(
            head.contains("allow: get, head") && body.contains("\"mend\""),
            "{head}\n{body}"
        );
    }
    for path in ["/healthz", "/metrics", "/api/v1/routes", "/nowhere"] {
        let (_, head, _) = server
            .send(&format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            ))
            .await;
        for header in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "default-src 'none'",
            "x-frame-options: deny",
        ] {
            assert!(head.contains(header), "{path} lacks {header}: {head}");
        }
    }
    let (status, _, body) = server
        .send("HEAD /api/v1/config HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!((status, body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_name_that_only_points_to_loopback_is_refused() {
    let server = Server::start(&estate(), None).await;
    for (head, status) in [
        ("GET /api/v1/config HTTP/1.1\r\nhost: evil.example:15000", 403),
        ("GET http://evil.example/api/v1/config HTTP/1.1\r\nhost: localhost", 403),
        ("GET /metrics HTTP/1.1\r\nhost: localhost.evil.example", 403),
        ("GET /metrics HTTP/1.1\r\nhost: [::1]:15000", 200),
        ("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:15000", 200),
    ] {
        let (got, _, body) = server.send(&format!("{head}\r\nconnection: close\r\n\r\n")).await;
        assert_eq!(got, status, "{head}: {body}");
    }
}

#[tokio::test]
async fn a_page_or_parameter_that_does_not_exist_is_refused_with_those_that_do() {
    let server = Server::start(&estate(), None).await;
    let (status, body) = server.get("/api/v1/endpoint").await;
    assert_eq!(status, 404);
    assert!(body["mend"].as_str().unwrap().contains("/api/v1/endpoints"));
    let (status, body) = server.get("/api/v1/services?registri=eureka").await;
    assert_eq!(status, 400);
    assert_eq!(body["mend"], "this page takes registry, name");
    assert_eq!(server.get("/api/v1/services?registry=nacos").await.0, 404);
    assert_eq!(server.get("/api/v1/routes?x=%").await.0, 400);
}

#[tokio::test]
async fn an_address_in_use_fails_the_start_with_its_name() {
    let server = Server::start(&estate(), None).await;
    let error = AdminServer::bind(server.address).await.unwrap_err();
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}
