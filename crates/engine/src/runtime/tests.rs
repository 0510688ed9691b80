use std::{
    net::Ipv4Addr,
    time::{Duration, UNIX_EPOCH},
};

use landfall_model::{
    Cluster,
    rules::{Filter, HeaderEdits, Listener, Timeouts, TrafficPolicy},
    snapshot::{Change, Since},
};

use super::*;
use crate::fixture::{
    Request, cluster, cluster_id, endpoint, filtered, get, listener, prefix, regex, route, rule, runtime, snapshot,
};

fn web() -> [Arc<Listener>; 1] {
    [listener("web", 80, "", Scheme::Http)]
}

fn with_cluster(mut snapshot: Snapshot, changed: Arc<Cluster>) -> Arc<Snapshot> {
    snapshot.version += 1;
    snapshot.clusters.insert(changed.id.clone(), changed);
    Arc::new(snapshot)
}

#[test]
fn a_change_of_endpoints_keeps_the_routing_and_the_other_clusters() {
    let rules = vec![rule(vec![prefix("/a")], "v1"), rule(vec![prefix("/b")], "v2")];
    let first = snapshot(&web(), vec![route("one", &[], &web(), rules)]);
    let metrics = Arc::default();
    let before = Runtime::compile(Arc::new(first.clone()), None, &metrics);
    let moved = cluster("v2", vec![endpoint(9, 100)], TrafficPolicy::default());
    let after = Runtime::compile(with_cluster(first, moved), Some(&before), &metrics);
    assert!(Arc::ptr_eq(&before.routing, &after.routing));
    let same = |name: &str| {
        let id = cluster_id(name);
        Arc::ptr_eq(before.cluster_by_id(&id).unwrap(), after.cluster_by_id(&id).unwrap())
    };
    assert!(same("v1") && !same("v2"));
    assert_eq!((after.version(), get(&after, "x/b", &[])), (2, "v2".to_owned()));
}

#[test]
fn counters_survive_a_change_of_rules_and_go_when_their_rule_is_gone() {
    let metrics: Arc<Metrics> = Arc::default();
    let compile = |rules, previous: Option<&Runtime>| {
        let snapshot = snapshot(&web(), vec![route("one", &[], &web(), rules)]);
        Runtime::compile(Arc::new(snapshot), previous, &metrics)
    };
    let one = || rule(vec![prefix("/a")], "v1");
    let two = || rule(vec![regex("/b.*")], "v2");
    let first = compile(vec![one(), two()], None);
    let figures = metrics.route(&"default/one".into(), 1);
    figures.started();
    figures.finished(200, Duration::from_millis(3), 10, 20);
    drop(figures);
    let shows = |runtime: &Runtime| {
        let mut text = String::new();
        metrics.render(runtime, &mut text);
        text.contains("landfall_requests_total{route=\"default/one\",rule=\"1\",status=\"2xx\"} 1\n")
    };
    let second = compile(vec![rule(vec![prefix("/z")], "v1"), two()], Some(&first));
    assert!(shows(&second));
    drop(first);
    let third = compile(vec![one()], Some(&second));
    assert!(shows(&third), "the runtime before still holds it");
    drop(second);
    let fourth = compile(vec![one()], Some(&third));
    drop(third);
    let fifth = compile(vec![rule(vec![prefix("/y")], "v1")], Some(&fourth));
    assert!(!shows(&fifth));
}

#[test]
fn a_listener_on_one_address_does_not_answer_on_another() {
    let mut inside = (*listener("inside", 80, "", Scheme::Http)).clone();
    inside.addresses = vec!["10.0.0.1".parse().unwrap()];
    let mut everywhere = (*listener("everywhere", 80, "", Scheme::Http)).clone();
    everywhere.hostname = HostPattern::parse("all.example");
    let listeners = [Arc::new(inside), Arc::new(everywhere)];
    let routes = vec![
        route("inside", &[], &listeners[..1], vec![rule(vec![prefix("/")], "v1")]),
        route("everywhere", &[], &listeners[1..], vec![rule(vec![prefix("/")], "v2")]),
    ];
    let runtime = runtime(&listeners, routes);
    let ask = |local: &str, host: &str| {
        let scope = runtime.scope(80, local.parse().unwrap(), Scheme::Http).unwrap();
        match scope.select(&Request::new("GET", &format!("{host}/"), &[]).call(), None) {
            Selected::Route(matched) => matched.rule.route.to_string(),
            _ => "404".to_owned(),
        }
    };
    assert_eq!(ask("10.0.0.1", "x"), "default/inside");
    assert_eq!(ask("::ffff:10.0.0.1", "x"), "default/inside");
    assert_eq!(ask("10.0.0.1", "all.example"), "default/everywhere");
    assert_eq!(ask("10.0.0.2", "all.example"), "default/everywhere");
    assert_eq!(ask("10.0.0.2", "x"), "404");
    assert!(runtime.scope(80, Ipv4Addr::LOCALHOST.into(), Scheme::Https).is_none());
}

#[test]
fn a_rule_that_does_not_compile_answers_500_and_its_siblings_live() {
    let bad = Filter::RequestHeaders(HeaderEdits {
        set: vec![("not a name".into(), "x".into())],
        ..HeaderEdits::default()
    });
    let rules = vec![
        filtered("/bad", vec![bad], "v1"),
        rule(vec![prefix("/")], "v2"),
        rule(vec![regex("(")], "v3"),
    ];
    let snapshot = snapshot(&web(), vec![route("one", &[], &web(), rules)]);
    let runtime = Runtime::compile(Arc::new(snapshot), None, &Arc::default());
    assert_eq!(get(&runtime, "x/bad", &[]), "500");
    assert_eq!(get(&runtime, "x/good", &[]), "v2");
    assert_eq!(runtime.problems().len(), 2, "{:?}", runtime.problems());
    assert!(runtime.problems()[0].contains("route default/one, rule 0: `not a name` is no header name"));
}

#[test]
fn the_delay_from_a_registrys_change_is_measured_once_and_not_for_the_past() {
    let first = snapshot(
        &web(),
        vec![route("one", &[], &web(), vec![rule(vec![prefix("/")], "v1")])],
    );
    let metrics: Arc<Metrics> = Arc::default();
    let counts = || {
        let count = |since| metrics.change_to_first_use(since).read().count();
        (count(Since::Registry), count(Since::Answer))
    };
    let before = Runtime::compile(Arc::new(first.clone()), None, &metrics);
    let changed = |changed, since| {
        let mut endpoint = (*endpoint(9, 100)).clone();
        endpoint.changed = Some(Change { at: changed, since });
        cluster("v1", vec![Arc::new(endpoint)], TrafficPolicy::default())
    };
    let old = Runtime::compile(
        with_cluster(first.clone(), changed(UNIX_EPOCH, Since::Registry)),
        Some(&before),
        &metrics,
    );
    assert_eq!(counts(), (0, 0), "it had changed before this process knew anything");
    let now = SystemTime::now();
    let new = Runtime::compile(
        with_cluster(first.clone(), changed(now, Since::Registry)),
        Some(&old),
        &metrics,
    );
    assert_eq!(counts(), (1, 0));
    let same = Runtime::compile(
        with_cluster(first.clone(), changed(now, Since::Registry)),
        Some(&new),
        &metrics,
    );
    assert_eq!((counts(), same.version()), ((1, 0), 2));
    Runtime::compile(with_cluster(first, changed(now, Since::Answer)), Some(&same), &metrics);
    assert_eq!(
        counts(),
        (1, 1),
        "what the registry stamps and what it only tells are not mixed"
    );
}

#[test]
fn a_routes_timeouts_win_over_the_policys_and_zero_is_unlimited() {
    let mut timed = rule(vec![prefix("/")], "v1");
    timed.timeouts = Timeouts {
        request: Some(Duration::from_millis(500)),
        backend_request: Some(Duration::ZERO),
    };
    let snapshot = snapshot(
        &web(),
        vec![route("one", &[], &web(), vec![timed, rule(vec![prefix("/x")], "v1")])],
    );
    let runtime = Runtime::compile(Arc::new(snapshot), None, &Arc::default());
    let scope = runtime.scope(80, Ipv4Addr::LOCALHOST.into(), Scheme::Http).unwrap();
    let policy = TrafficPolicy {
        try_timeout: Some(Duration::from_secs(7)),
        ..TrafficPolicy::default()
    };
    let of = |url| match scope.select(&Request::new("GET", url, &[]).call(), None) {
        Selected::Route(matched) => (matched.rule.request_timeout(&policy), matched.rule.try_timeout(&policy)),
        _ => panic!("no route"),
    };
    assert_eq!(of("h/"), (Some(Duration::from_millis(500)), None));
    assert_eq!(of("h/x"), (Some(Duration::from_secs(60)), Some(Duration::from_secs(7))));
}

#[test]
fn rendered_figures_are_well_formed() {
    let runtime = runtime(
        &web(),
        vec![route("o\"ne", &[], &web(), vec![rule(vec![prefix("/")], "v1")])],
    );
    let request = Request::new("GET", "x/", &[]);
    let cluster = runtime.cluster_by_id(&cluster_id("v1")).unwrap();
    let now = Moment::now();
    let mut lease = cluster
        .pick(&request.call(), &crate::cluster::Tried::default(), now, 1)
        .unwrap();
    lease.connected(false);
    lease.answered(200, now.after(Duration::from_millis(3)));
    let mut text = String::new();
    runtime.metrics().render(&runtime, &mut text);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok() && name.starts_with("landfall_"), "{line}");
        assert_eq!(name.contains('{'), name.ends_with('}'), "{line}");
    }
    for line in [
        "landfall_upstream_tries_total{cluster=\"v1\",result=\"2xx\"} 1",
        "landfall_upstream_latency_seconds_bucket{cluster=\"v1\",le=\"0.0025\"} 0",
        "landfall_upstream_latency_seconds_bucket{cluster=\"v1\",le=\"0.005\"} 1",
        "landfall_upstream_connections_total{cluster=\"v1\",kind=\"new\"} 1",
        "landfall_upstream_in_flight{cluster=\"v1\"} 1",
        "landfall_endpoints{cluster=\"v1\"} 1",
        "landfall_requests_in_flight{route=\"default/o\\\"ne\",rule=\"0\"} 0",
        "landfall_change_to_first_use_seconds_count{since=\"registry\"} 0",
        "landfall_change_to_first_use_seconds_count{since=\"answer\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    // Every family is announced once and its samples follow at once, as the format demands.
    let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let unique: std::collections::BTreeSet<_> = types.iter().collect();
    assert_eq!(types.len(), unique.len());
}
