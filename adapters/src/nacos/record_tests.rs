//! Nacos' JSON, as real servers write it and as they should not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn info(body: Value) -> Info {
    serde_json::from_str(&body.to_string()).unwrap()
}

fn read_all(dubbo: bool, body: Value, health: &mut Health) -> Reading {
    read(&"s".into(), dubbo, &info(body), health)
}

fn one(dubbo: bool, host: Value) -> Instance {
    let mut reading = read_all(dubbo, json!({ "hosts": [host] }), &mut Health::new());
    assert_eq!(reading.quarantined, []);
    reading.instances.remove(0)
}

/// As Nacos 2.2.4 pushed it for its own Java client.
fn native() -> Value {
    json!({"ip":"127.0.0.1","port":31135,"weight":1.0,"healthy":true,"enabled":true,"ephemeral":true,
           "clusterName":"DEFAULT","serviceName":"DEFAULT_GROUP@@parts","metadata":{},
           "instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000,
           "instanceIdGenerator":"simple"})
}

fn with(mut host: Value, changes: Value) -> Value {
    let (Some(host_fields), Some(changes)) = (host.as_object_mut(), changes.as_object()) else {
        panic!()
    };
    host_fields.extend(changes.clone());
    host
}

#[test]
fn an_instance_of_nacos_own_client_is_read_whole() {
    let instance = one(false, native());
    assert_eq!(&*instance.id, "127.0.0.1#31135#DEFAULT");
    assert_eq!(instance.host, Host::parse("127.0.0.1"));
    assert_eq!(
        instance.ports,
        [Port {
            number: 31135,
            protocol: Protocol::Unknown,
            tls: false
        }]
    );
    assert_eq!(
        (instance.status, instance.weight, instance.zone),
        (Status::Up, 100, None)
    );
    assert!(instance.metadata.is_empty());
}

#[test]
fn enabled_and_healthy_become_the_status() {
    for (enabled, healthy, status) in [
        (true, true, Status::Up),
        (true, false, Status::Down),
        (false, true, Status::Disabled),
        (false, false, Status::Disabled),
    ] {
        let instance = one(false, with(native(), json!({ "enabled": enabled, "healthy": healthy })));
        assert_eq!(instance.status, status);
    }
}

#[test]
fn weight_one_is_our_hundred_and_a_little_is_not_nothing() {
    for (weight, ours) in [
        (1.0, 100),
        (0.0, 0),
        (0.5, 50),
        (0.001, 1),
        (-3.0, 0),
        (2.25, 225),
        (1e300, 1_000_000),
    ] {
        assert_eq!(
            one(false, with(native(), json!({ "weight": weight }))).weight,
            ours,
            "{weight}"
        );
    }
}

#[test]
fn a_cluster_is_a_zone_unless_the_metadata_names_one() {
    let blue = with(native(), json!({ "clusterName": "blue", "ephemeral": false }));
    let instance = one(false, blue.clone());
    assert_eq!(&*instance.id, "127.0.0.1#31135#blue");
    assert_eq!(instance.zone.as_deref(), Some("blue"));
    assert_eq!(instance.metadata["nacos.cluster"], "blue".into());
    assert_eq!(instance.metadata["nacos.ephemeral"], "false".into());
    let named = one(false, with(blue, json!({ "metadata": { "zone": "z1" } })));
    assert_eq!(named.zone.as_deref(), Some("z1"));
}

#[test]
fn metadata_of_spring_name_tls_and_a_port_of_grpc() {
    let instance = one(
        false,
        with(
            native(),
            json!({ "metadata": { "secure": "true", "gRPC_port": "9090", "x": null } }),
        ),
    );
    assert_eq!(
        instance.ports,
        [
            Port {
                number: 31135,
                protocol: Protocol::Unknown,
                tls: true
            },
            Port {
                number: 9090,
                protocol: Protocol::Grpc,
                tls: false
            }
        ]
    );
}

#[test]
fn endpoints_of_a_dubbo_application_are_its_ports() {
    let endpoints = r#"[{"port":20880,"protocol":"dubbo"},{"port":50051,"protocol":"tri"}]"#;
    let metadata = json!({ "dubbo.endpoints": endpoints, "dubbo.metadata.revision": "abc" });
    let instance = one(false, with(native(), json!({ "port": 20880, "metadata": metadata })));
    let spoken: Vec<_> = instance.ports.iter().map(|port| (port.number, port.protocol)).collect();
    assert_eq!(spoken, [(20880, Protocol::Dubbo), (50051, Protocol::Triple)]);
}

#[test]
fn a_dubbo_provider_is_read_as_its_url_and_its_secrets_are_left_out() {
    let metadata = json!({ "protocol": "tri", "weight": "50", "interface": "a.B", "token": "secret", "pid": "17" });
    let instance = one(true, with(native(), json!({ "weight": 2.0, "metadata": metadata })));
    assert_eq!(instance.ports[0].protocol, Protocol::Triple);
    assert_eq!(instance.weight, 100);
    assert_eq!(
        instance.metadata.keys().map(|key| &**key).collect::<Vec<_>>(),
        ["interface", "protocol", "weight"]
    );
    let off = one(true, with(native(), json!({ "metadata": { "disabled": "true" } })));
    assert_eq!(off.status, Status::Disabled);
}

#[test]
fn the_protection_threshold_is_not_mistaken_for_health() {
    let host = |port: u16, healthy: bool| with(native(), json!({ "port": port, "healthy": healthy }));
    let mut health = Health::new();
    read_all(false, json!({ "hosts": [host(1, true), host(2, false)] }), &mut health);
    let all = json!({ "hosts": [host(1, true), host(2, true), host(3, true)], "reachProtectionThreshold": true });
    let told = |reading: &Reading| {
        let word = |instance: &Instance| (instance.status, instance.metadata.contains_key("nacos.health"));
        reading.instances.iter().map(word).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        let reading = read_all(false, all.clone(), &mut health);
        // 3 has never had a word of its own, and Nacos wants it called.
        assert_eq!(
            told(&reading),
            [(Status::Up, true), (Status::Down, true), (Status::Up, true)]
        );
    }
    let after = read_all(false, json!({ "hosts": [host(2, true), host(1, false)] }), &mut health);
    assert_eq!(told(&after), [(Status::Down, false), (Status::Up, false)]);
}

#[test]
fn one_bad_record_is_set_aside_under_its_id_and_its_siblings_live() {
    let hosts = json!([
        native(),
        with(native(), json!({ "port": 70000 })),
        with(native(), json!({ "weight": "heavy", "port": 7 })),
        "nothing"
    ]);
    let reading = read_all(false, json!({ "hosts": hosts }), &mut Health::new());
    assert_eq!(reading.instances.len(), 1);
    let records: Vec<_> = reading
        .quarantined
        .iter()
        .map(|record| record.record.as_str())
        .collect();
    assert_eq!(records, ["127.0.0.1#7#DEFAULT", "127.0.0.1#70000#DEFAULT", "host 3"]);
}

#[test]
fn a_missing_list_is_not_an_empty_one() {
    assert!(serde_json::from_str::<Info>(r#"{"name":"s"}"#).is_err());
    assert!(serde_json::from_str::<Info>(r#"{"name":"s","hosts":null}"#).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let key = prop_oneof![
            Just("ip".to_owned()),
            Just("port".to_owned()),
            Just("weight".to_owned()),
            Just("metadata".to_owned()),
            Just("clusterName".to_owned()),
            Just("healthy".to_owned()),
            ".{0,4}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_json_stands_there_each_host_is_read_or_set_aside(hosts in prop::collection::vec(any_json(), 0..6), dubbo: bool) {
        let count = hosts.len();
        let reading = read_all(dubbo, json!({ "hosts": hosts }), &mut Health::new());
        prop_assert_eq!(reading.instances.len() + reading.quarantined.len(), count);
    }

    #[test]
    fn bytes_that_are_no_json_are_an_error_and_no_panic(bytes: Vec<u8>) {
        let _ = serde_json::from_slice::<Info>(&bytes);
    }

    #[test]
    fn an_address_and_a_port_are_read_back(ip: std::net::IpAddr, port in 1u16.., weight in 0.0f64..100.0) {
        let instance = one(false, with(native(), json!({ "ip": ip.to_string(), "port": port, "weight": weight })));
        prop_assert_eq!(instance.host, Host::Ip(ip));
        prop_assert_eq!(instance.ports[0].number, port);
    }
}

#[test]
fn a_copy_beside_a_native_instance_of_the_same_address_has_an_id_of_its_own() {
    let marks = json!({ "landfall-origin": "eureka/s/1", "preserved.ip.delete.timeout": "90000" });
    let copy = with(native(), json!({ "metadata": marks, "clusterName": "east" }));
    let reading = read_all(false, json!({ "hosts": [native(), copy] }), &mut Health::new());
    let ids: Vec<&str> = reading.instances.iter().map(|instance| &*instance.id).collect();
    assert_eq!(ids, ["127.0.0.1#31135#DEFAULT", "landfall~127.0.0.1#31135"]);
    assert!(
        !reading.instances[1]
            .metadata
            .contains_key("preserved.ip.delete.timeout")
    );
}

#[test]
fn one_that_stands_there_twice_is_read_once_and_up_if_either_is() {
    let down = with(native(), json!({ "healthy": false }));
    for hosts in [json!([down, native()]), json!([native(), down])] {
        let reading = read_all(false, json!({ "hosts": hosts }), &mut Health::new());
        assert_eq!(reading.instances.len(), 1);
        assert_eq!(reading.instances[0].status, Status::Up);
    }
}
