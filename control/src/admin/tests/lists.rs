//! The pages that list what there is.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_config::{ConfigState, Problem, Refused};
use landfall_model::rules::{
    ArgumentMatch, ArgumentsMatch, BackendRef, DubboFault, DubboFilter, Family, Filter, FrameworkCalls, HeaderEdits,
    Mirror, TextMatch, ValueMatch,
};
use landfall_model::world::Session;
use serde_json::{Value, json};

use super::{Server, Told, estate};
use crate::testing::reference;

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
async fn routes_of_dubbos_calls_stand_behind_those_of_http_in_their_own_words() {
    let mut stage = estate().dubbo_routes(&["nobody.eureka"]);
    let mut route = (*stage.rules.dubbo_routes[0]).clone();
    route.rules[0].matches[0].interface = Some(TextMatch::Exact("org.example.Greeter".into()));
    route.rules[0].matches[0].attachments = vec![ValueMatch {
        name: "user".into(),
        value: TextMatch::Regex("a.*".into()),
    }];
    route.rules[0].matches[0].arguments = ArgumentsMatch {
        count: Some(2),
        values: vec![ArgumentMatch {
            index: 1,
            value: TextMatch::Exact("EUR".into()),
        }],
    };
    route.rules[0].filters = vec![
        DubboFilter::Mirror(Mirror {
            backend: BackendRef {
                family: Family::Dubbo,
                ..reference("nobody.eureka")
            },
            fraction: (1, 100),
        }),
        DubboFilter::Fault(DubboFault {
            delay: Some((Duration::from_millis(200), (1, 10))),
            abort: Some((80, (1, 2))),
        }),
    ];
    route.rules[0].refuse = vec![FrameworkCalls::Generic, FrameworkCalls::Echo];
    route.rules[0].idempotent = vec![TextMatch::Regex("get.*".into())];
    stage.rules.dubbo_routes[0] = Arc::new(route);
    let server = Server::start(&stage, None).await;
    let body = server.ok("/api/v1/routes").await;
    let all = body["routes"].as_array().unwrap();
    assert_eq!(all[0]["kind"], "HTTPRoute");
    let route = all.last().unwrap();
    assert_eq!(
        (&route["kind"], &route["id"], &route["resolved"]),
        (&json!("DubboRoute"), &json!("default/calls"), &json!(false))
    );
    assert_eq!(
        route["attachments"],
        json!([{ "listener": "edge/calls", "port": 20880, "hostnames": [] }])
    );
    let rule = &route["rules"][0];
    assert_eq!(
        rule["matches"],
        json!([{
            "interface": { "type": "Exact", "value": "org.example.Greeter" },
            "attachments": [{ "type": "RegularExpression", "name": "user", "value": "a.*" }],
            "arguments": { "count": 2, "values": [{ "type": "Exact", "index": 1, "value": "EUR" }] },
        }])
    );
    assert_eq!(
        rule["filters"],
        json!([
            { "type": "RequestMirror", "requestMirror": {
                "backendRef": "nobody.eureka", "fraction": { "numerator": 1, "denominator": 100 } } },
            { "type": "Fault", "fault": {
                "delay": { "durationSeconds": 0.2, "fraction": { "numerator": 1, "denominator": 10 } },
                "abort": { "status": 80, "fraction": { "numerator": 1, "denominator": 2 } } } },
        ])
    );
    assert_eq!(
        rule["mirrors"][0]["missing"],
        "registry `eureka` has no service `nobody`"
    );
    assert_eq!(rule["refuse"], json!(["Generic", "Echo"]));
    assert_eq!(
        rule["idempotentMethods"],
        json!([{ "type": "RegularExpression", "value": "get.*" }])
    );
    assert_eq!(
        rule["backends"][0]["missing"],
        "registry `eureka` has no service `nobody`"
    );
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
