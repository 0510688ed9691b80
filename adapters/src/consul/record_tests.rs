use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn scope(tags: &[&str]) -> Scope {
    Scope {
        datacenter: None,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        exclude: vec!["hidden".to_owned()],
        wait: std::time::Duration::from_secs(1),
        max_watches: 1,
    }
}

/// An entry as Consul 1.14 writes it, with these parts replaced.
fn entry(service: Value, checks: Value) -> Value {
    let mut whole = json!({
        "Node": {"ID": "40e4", "Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1",
                 "TaggedAddresses": {"lan": "10.0.0.1"}, "Meta": {"consul-network-segment": ""}},
        "Service": {"ID": "orders-1", "Service": "orders", "Tags": [], "Address": "10.0.0.7", "Meta": {}, "Port": 8080,
                    "TaggedAddresses": {"lan_ipv4": {"Address": "10.0.0.7", "Port": 8080}},
                    "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false},
        "Checks": checks,
    });
    if let (Some(target), Value::Object(parts)) = (whole["Service"].as_object_mut(), service) {
        target.extend(parts);
    }
    whole
}

fn check(id: &str, status: &str) -> Value {
    json!({"Node": "n1", "CheckID": id, "Name": id, "Status": status, "Output": "any", "Definition": {}})
}

fn read(entries: &[Value], scope: &Scope) -> (Vec<Instance>, Vec<Quarantined>) {
    let health = health(&"orders".into(), &serde_json::to_vec(entries).unwrap(), scope).unwrap();
    match health.reading {
        Reading::Service { instances, quarantined } => (instances, quarantined),
        Reading::Machinery => panic!("not a service"),
    }
}

fn one(entry: Value) -> Instance {
    let (instances, quarantined) = read(&[entry], &scope(&[]));
    assert_eq!((instances.len(), quarantined), (1, vec![]));
    instances[0].clone()
}

#[test]
fn an_instance_is_its_node_and_its_service_id() {
    let instance = one(entry(
        json!({"Tags": ["v1", "a=b"], "Meta": {"zone": "z1", "secure": "false"}}),
        json!([]),
    ));
    assert_eq!(&*instance.id, "n1/orders-1");
    assert_eq!(instance.host.to_string(), "10.0.0.7");
    assert_eq!(
        instance.ports,
        [Port {
            number: 8080,
            protocol: Protocol::Unknown,
            tls: false
        }]
    );
    assert_eq!(
        (instance.status, instance.weight, instance.zone.as_deref()),
        (Status::Passing, 100, Some("z1"))
    );
    let metadata: Vec<(&str, &str)> = instance.metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(
        metadata,
        [
            ("secure", "false"),
            ("tag.a=b", "true"),
            ("tag.v1", "true"),
            ("zone", "z1")
        ]
    );
    assert_eq!(instance.changed, None);
}

#[test]
fn the_status_is_the_worst_check_and_maintenance_wins() {
    for (checks, status) in [
        (json!([]), Status::Passing),
        (json!(null), Status::Passing),
        (
            json!([check("serfHealth", "passing"), check("service:orders-1", "passing")]),
            Status::Passing,
        ),
        (
            json!([check("serfHealth", "passing"), check("service:orders-1", "warning")]),
            Status::Warning,
        ),
        (
            json!([check("serfHealth", "critical"), check("service:orders-1", "warning")]),
            Status::Critical,
        ),
        (
            json!([check("_node_maintenance", "critical"), check("serfHealth", "passing")]),
            Status::Maintenance,
        ),
        (
            json!([
                check("_service_maintenance:orders-1", "critical"),
                check("x", "critical")
            ]),
            Status::Maintenance,
        ),
    ] {
        assert_eq!(one(entry(json!({}), checks.clone())).status, status, "{checks}");
    }
}

#[test]
fn the_weight_follows_the_status() {
    let weights = json!({"Weights": {"Passing": 10, "Warning": 0}});
    assert_eq!(one(entry(weights.clone(), json!([]))).weight, 1000);
    assert_eq!(one(entry(weights, json!([check("a", "warning")]))).weight, 0);
    assert_eq!(one(entry(json!({"Weights": null}), json!([]))).weight, DEFAULT_WEIGHT);
    assert_eq!(
        one(entry(json!({"Weights": {"Passing": 65535, "Warning": 1}}), json!([]))).weight,
        6_553_500
    );
}

#[test]
fn ports_say_what_is_spoken_there() {
    let port = |number, protocol, tls| Port { number, protocol, tls };
    for (service, ports) in [
        (
            json!({"Meta": {"secure": "true"}}),
            vec![port(8080, Protocol::Unknown, true)],
        ),
        (
            json!({"Tags": ["secure=true"]}),
            vec![port(8080, Protocol::Unknown, true)],
        ),
        (
            json!({"Meta": {"protocol": "HTTPS"}}),
            vec![port(8080, Protocol::Http, true)],
        ),
        (
            json!({"Meta": {"protocol": "grpc"}}),
            vec![port(8080, Protocol::Grpc, false)],
        ),
        (
            json!({"Meta": {"gRPC": "true"}}),
            vec![port(8080, Protocol::Grpc, false)],
        ),
        (
            json!({"Meta": {"gRPC_port": "9090"}}),
            vec![port(8080, Protocol::Unknown, false), port(9090, Protocol::Grpc, false)],
        ),
        (
            json!({"Meta": {"gRPC.port": "8080"}}),
            vec![port(8080, Protocol::Grpc, false)],
        ),
        (
            json!({"Meta": {"gRPC_port": "none"}}),
            vec![port(8080, Protocol::Unknown, false)],
        ),
        (json!({"Port": 0}), vec![]),
        (json!({"Port": null}), vec![]),
    ] {
        assert_eq!(one(entry(service.clone(), json!([]))).ports, ports, "{service}");
    }
}

#[test]
fn without_an_address_of_its_own_a_service_has_its_nodes() {
    assert_eq!(
        one(entry(json!({"Address": ""}), json!([]))).host.to_string(),
        "10.0.0.1"
    );
    let mut nowhere = entry(json!({"Address": ""}), json!([]));
    nowhere["Node"]["Address"] = json!("");
    let (instances, quarantined) = read(&[nowhere], &scope(&[]));
    assert!(instances.is_empty() && quarantined[0].reason.contains("address"));
}

#[test]
fn a_bad_entry_is_set_aside_under_its_id_and_its_siblings_live() {
    let good = entry(json!({"ID": "orders-2"}), json!([]));
    for bad in [
        entry(json!({"Port": 99999}), json!([])),
        entry(json!({"Port": "many"}), json!([])),
        entry(json!({"Meta": {"a": 1}}), json!([])),
        entry(json!({}), json!([check("x", "unsure")])),
        entry(json!({}), json!("none")),
    ] {
        let (instances, quarantined) = read(&[bad.clone(), good.clone()], &scope(&[]));
        assert_eq!(instances.len(), 1, "{bad}");
        assert_eq!(
            (quarantined.len(), quarantined[0].record.as_str()),
            (1, "n1/orders-1"),
            "{bad}"
        );
    }
    let (instances, quarantined) = read(&[json!("what?"), good], &scope(&[]));
    assert_eq!((instances.len(), quarantined[0].record.as_str()), (1, "entry 0"));
}

#[test]
fn proxies_and_gateways_are_no_instances_and_alone_no_service() {
    let proxy = entry(json!({"ID": "p", "Kind": "connect-proxy"}), json!([]));
    let (instances, _) = read(&[proxy.clone(), entry(json!({"Kind": ""}), json!([]))], &scope(&[]));
    assert_eq!(instances.len(), 1);
    let alone = serde_json::to_vec(&[proxy]).unwrap();
    assert_eq!(
        health(&"orders".into(), &alone, &scope(&[])).unwrap().reading,
        Reading::Machinery
    );
    let nobody = health(&"orders".into(), b"[]", &scope(&[])).unwrap().reading;
    assert!(nobody.is_nothing() && nobody != Reading::Machinery);
}

#[test]
fn an_answer_names_all_its_entries_and_those_it_is_read_from() {
    let entries = [
        entry(json!({"ID": "a", "Tags": ["public"]}), json!([])),
        entry(json!({"ID": "untagged"}), json!([])),
        entry(json!({"ID": "proxy", "Kind": "connect-proxy"}), json!([])),
        entry(json!({"ID": "odd", "Tags": ["public"], "Port": 99_999}), json!([])),
    ];
    let read = |entries: &[Value]| {
        let health = health(
            &"orders".into(),
            &serde_json::to_vec(entries).unwrap(),
            &scope(&["public"]),
        );
        let health = health.unwrap();
        let texts = |ids: &BTreeSet<Id>| ids.iter().map(Id::to_string).collect::<Vec<_>>().join(" ");
        (texts(&health.read), texts(&health.named), health.nameless)
    };
    assert_eq!(
        read(&entries),
        (
            "n1/a n1/odd".to_owned(),
            "n1/a n1/odd n1/proxy n1/untagged".to_owned(),
            false
        )
    );
    assert_eq!(
        read(&[entries[0].clone(), json!({"Node": {}})]),
        ("n1/a".to_owned(), "n1/a".to_owned(), true)
    );
}

#[test]
fn a_node_has_an_id_for_one_service_whatever_the_names_case() {
    let read = |body: &str| on_node("n1", body.as_bytes()).unwrap();
    let node = read(r#"{"Node":{"Node":"n1","Meta":null},"Services":[{"ID":"a-1","Service":"Orders","Port":80}]}"#);
    assert!(node.shows_node() && node.has("a-1", "orders"));
    assert!(!node.has("A-1", "orders"), "an id is its letters");
    assert!(
        !node.has("a-1", "stock"),
        "registered again under another name: gone from this one"
    );
    assert!(!read(r#"{"Node":null,"Services":null}"#).shows_node());
    let empty = read(r#"{"Node":{},"Services":[]}"#);
    assert!(empty.shows_node() && !empty.has("a-1", "orders"));
    for bad in [
        "",
        "<html>",
        "[]",
        "null",
        "{}",
        r#"{"Node":{}}"#,
        r#"{"Node":{},"Services":[{}]}"#,
        "[null,null]",
    ] {
        assert!(
            on_node("n1", bad.as_bytes()).unwrap_err().contains("node-services/n1"),
            "{bad}"
        );
    }
}

#[test]
fn what_consul_answers_of_a_name_in_another_case_is_another_services() {
    let twin = entry(json!({"ID": "twin-1", "Service": "Orders"}), json!([]));
    let (instances, quarantined) = read(&[twin.clone(), entry(json!({}), json!([]))], &scope(&[]));
    let ids: Vec<&str> = instances.iter().map(|instance| &*instance.id).collect();
    assert_eq!((ids, quarantined), (vec!["n1/orders-1"], vec![]));
    let body = serde_json::to_vec(&[twin]).unwrap();
    let alone = health(&"orders".into(), &body, &scope(&[])).unwrap();
    assert!(alone.reading.is_nothing(), "only the twin is left");
    assert_eq!(alone.named.len(), 1, "nothing of the answer is missing");
}

#[test]
fn with_tags_asked_for_an_instance_has_them_all() {
    let entries = [
        entry(json!({"ID": "a", "Tags": ["v1", "public"]}), json!([])),
        entry(json!({"ID": "b", "Tags": ["public"]}), json!([])),
        entry(json!({"ID": "c", "Tags": null}), json!([])),
    ];
    let (instances, _) = read(&entries, &scope(&["public", "v1"]));
    assert_eq!(instances.iter().map(|i| &*i.id).collect::<Vec<_>>(), ["n1/a"]);
}

#[test]
fn the_listing_leaves_out_consul_itself_what_is_excluded_and_what_lacks_a_tag() {
    let body = br#"{"consul":[],"orders":["v1","public"],"hidden":["v1"],"stock":[],"old":null}"#;
    let names = |tags: &[&str]| {
        let listing = listing(body, &scope(tags)).unwrap();
        assert!(listing.any);
        listing.names.iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["old", "orders", "stock"]);
    assert_eq!(names(&["public", "v1"]), ["orders"]);
    assert!(!listing(b"{}", &scope(&[])).unwrap().any);
    for bad in ["<html>", "[]", "", r#"{"orders":"v1"}"#] {
        assert!(listing(bad.as_bytes(), &scope(&[])).is_err(), "{bad}");
        assert!(
            health(&"x".into(), bad.replace("[]", "{}").as_bytes(), &scope(&[])).is_err(),
            "{bad}"
        );
    }
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic_and_no_order_makes_a_change(
        ids in proptest::collection::vec("[a-c]{1,2}", 0..6),
        noise in "\\PC{0,60}",
    ) {
        let _ = health(&"x".into(), noise.as_bytes(), &scope(&[]));
        let _ = listing(noise.as_bytes(), &scope(&[]));
        let _ = on_node("n1", noise.as_bytes());
        let mut entries: Vec<Value> = ids.iter().map(|id| entry(json!({"ID": id, "Address": id}), json!([]))).collect();
        let forward = read(&entries, &scope(&[]));
        entries.reverse();
        prop_assert_eq!(read(&entries, &scope(&[])), forward);
    }
}
