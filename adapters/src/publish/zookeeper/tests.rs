//! Shapes. Real ZooKeepers are in `tests/real/publish.rs`.

use landfall_model::{Host, Instance, Protocol, Status};
use proptest::prelude::*;

use super::*;
use crate::{
    publish::{
        Provenance, mark,
        samples::{any_record, check, greeter, greeting, lost, orders, port, record},
    },
    zookeeper::{
        access::{read_application, read_provider},
        url::DubboUrl,
    },
};

mod applications;

fn publisher_at(address: &str, permit: Permit) -> ZooKeeperPublisher {
    let spec = serde_json::json!({ "address": address, "sessionTimeout": "4s" });
    ZooKeeperPublisher::new(&serde_json::from_value(spec).unwrap(), "c1", permit).unwrap()
}

fn publisher() -> ZooKeeperPublisher {
    publisher_at("127.0.0.1:1", Permit::always(1))
}

fn read_back(shaped: &Shaped) -> Vec<(Key, Instance)> {
    let node = shape::url(shaped).to_node_name();
    assert!(node.len() < 32 << 10, "{} bytes", node.len());
    assert!(node.contains("%3A%2F%2F") && node.contains("%3F"));
    for cut in ["timestamp%3D", "pid%3D"] {
        assert!(!node.contains(cut), "{node}");
    }
    let read = read_provider(shape::interface_of(&shaped.key.service), &node);
    read.into_iter()
        .map(|(service, instance)| {
            let id = instance.id.clone();
            (Key { service, id }, instance)
        })
        .collect()
}

fn shaped(record: &Record) -> Shaped {
    check(&publisher(), record, read_back).expect("it fits")
}

fn with(pairs: &[(&str, &str)]) -> Record {
    let mut record = greeting();
    for (key, value) in pairs {
        record.instance.metadata.insert((*key).into(), (*value).into());
    }
    record
}

#[test]
fn a_provider_is_written_as_it_was_with_the_marks_beside() {
    let shaped = shaped(&greeting());
    assert_eq!(shaped.losses, []);
    assert_eq!(&*shaped.key.service, "g1/org.x.Greeting:1.0.0");
    assert_eq!(&*shaped.key.id, "dubbo://10.0.0.5:20880");
    let mut url = shape::url(&shaped);
    for key in mark::KEYS {
        assert!(url.parameters.remove(key).is_some());
    }
    assert_eq!(
        url.to_string(),
        "dubbo://10.0.0.5:20880/org.x.Greeting?application=greeter&dubbo=2.0.2&dynamic=true&generic=false&group=g1\
         &interface=org.x.Greeting&methods=greet,sayHello&release=2.7.23&side=provider&version=1.0.0"
    );
}

#[test]
fn schemes_paths_and_further_protocols_are_kept() {
    let mut triple = with(&[
        ("ext.protocol", "tri"),
        ("preferred.protocol", "tri"),
        ("path", "a/org.x.Greeting"),
    ]);
    triple.instance.ports.insert(0, port(20880, Protocol::Triple, false));
    let one = shaped(&triple);
    assert_eq!(shape::url(&one).path, "a/org.x.Greeting");
    assert_eq!(one.record.instance.ports.len(), 2);

    let mut through_gateway = triple.clone();
    let metadata = &mut through_gateway.instance.metadata;
    metadata.insert("ext.protocol".into(), "dubbo".into());
    through_gateway.instance.ports = vec![port(15001, Protocol::Triple, true)];
    let two = shaped(&through_gateway);
    assert_eq!(&*two.key.id, "tri://10.0.0.5:15001");
    assert_eq!(two.record.instance.ports, [port(15001, Protocol::Triple, true)]);
    assert!(!two.record.instance.metadata.contains_key("ext.protocol"));

    let mut rest = greeting();
    rest.instance.id = "rest://10.0.0.5:8080".into();
    rest.instance.ports = vec![port(8080, Protocol::Http, false)];
    assert_eq!(&*shaped(&rest).key.id, "rest://10.0.0.5:8080");
}

#[test]
fn what_dubbo_cannot_call_is_refused_with_the_reason() {
    let mut no_port = greeting();
    no_port.instance.ports.clear();
    let mut http = greeting();
    http.instance.ports = vec![port(80, Protocol::Http, false)];
    let mut unnamed = greeting();
    unnamed.instance.metadata.remove("interface");
    let mut host = greeting();
    host.instance.host = Host::parse("a b");
    for (record, expected) in [
        (orders(), "set metadata `interface`"),
        (no_port, "no port"),
        (http, "Dubbo or Triple"),
        (unnamed, "application's own record"),
        (host, "host name"),
        (with(&[("interface", "../mapping")]), "no name of an interface"),
        (with(&[("interface", "mapping")]), "no name of an interface"),
        (with(&[("interface", "..")]), "no name of an interface"),
    ] {
        let unfit = publisher().shape(&record).unwrap_err();
        assert!(unfit.reason.contains(expected), "{unfit}");
    }
    let mut spring = record("greeting", "h1:greeting:20880");
    let metadata = &mut spring.instance.metadata;
    metadata.insert("interface".into(), "org.x.Greeting".into());
    spring.instance.ports = vec![port(20880, Protocol::Dubbo, false)];
    let shaped = shaped(&spring);
    assert_eq!(&*shaped.key.service, "org.x.Greeting");
    assert_eq!(lost(&shaped), ["service"]);
    assert_eq!(&*shaped.record.instance.metadata["prefer.serialization"], "hessian2");
}

#[test]
fn group_and_version_are_those_of_the_name() {
    for (name, key) in [
        ("org.x.Greeting", "org.x.Greeting"),
        ("g2/org.x.Greeting", "g2/org.x.Greeting"),
        ("org.x.Greeting:2.0", "org.x.Greeting:2.0"),
        ("something else", "g1/org.x.Greeting:1.0.0"),
    ] {
        let mut renamed = greeting();
        renamed.service = name.into();
        let shaped = shaped(&renamed);
        assert_eq!(&*shaped.key.service, key);
        assert_eq!(lost(&shaped).contains(&"service"), name != key);
    }
    let mut zeros = with(&[("version", "0.0.0")]);
    zeros.service = "g1/org.x.Greeting".into();
    let version = &shaped(&zeros).record.instance.metadata["version"];
    assert_eq!(&**version, "0.0.0", "not the same as none");
}

#[test]
fn parameters_that_break_the_url_are_lost_and_said() {
    let large = "x".repeat(64 << 10);
    let odd = with(&[
        ("remote.timestamp", "1"),
        ("x-pid", "1"),
        ("text", "pid=7"),
        ("a", "b&c"),
        ("b", "c;d"),
        ("c", " d"),
        ("token", "secret"),
        ("default.retries", "1"),
        ("huge", &large),
        ("snow ☃", "kept"),
        ("hash", "a#b?c=d%26"),
    ]);
    let shaped = shaped(&odd);
    let expected = [
        "a",
        "b",
        "c",
        "default.retries",
        "huge",
        "remote.timestamp",
        "text",
        "token",
        "x-pid",
    ];
    assert_eq!(lost(&shaped), expected);
    assert_eq!(&*shaped.record.instance.metadata["snow_x20e29883_"], "kept");
}

#[test]
fn statuses_and_weights_say_who_gets_calls() {
    let mut off = greeting();
    off.instance.status = Status::OutOfService;
    let one = shaped(&off);
    assert_eq!(
        (one.record.instance.status, lost(&one)),
        (Status::Disabled, vec!["status"])
    );
    assert_eq!(shape::url(&one).get("disabled"), Some("true"));
    let mut heavy = greeting();
    heavy.instance.weight = 300;
    assert_eq!(shape::url(&shaped(&heavy)).get("weight"), Some("300"));
    let mut spring = with(&[("weight", "3")]);
    spring.instance.metadata.remove("side");
    spring.instance.metadata.remove("dubbo.level");
    spring.instance.weight = 3;
    assert_eq!(shape::url(&shaped(&spring)).get("weight"), Some("300"));
}

#[test]
fn a_node_is_ours_by_its_marks_alone() {
    let shaped = shaped(&greeting());
    let url = shape::url(&shaped);
    let node = url.to_node_name();
    assert_eq!(relation(&node, &shaped.key, "c1"), Relation::Ours);
    assert_eq!(relation(&node, &shaped.key, "c2"), Relation::Foreign);
    let mut native = url.clone();
    native.parameters.retain(|name, _| !name.starts_with("landfall"));
    assert_eq!(relation(&native.to_node_name(), &shaped.key, "c1"), Relation::Foreign);
    let mut other = url;
    other.port = Some(1);
    assert_eq!(relation(&other.to_node_name(), &shaped.key, "c1"), Relation::Other);
    for text in ["", "%", "consumer%3A%2F%2F10.0.0.5%2Forg.x.Greeting"] {
        assert_eq!(relation(text, &shaped.key, "c1"), Relation::Other);
    }
    assert_eq!(DubboUrl::from_node_name(&node).unwrap(), shape::url(&shaped));
    let instance = read_back(&shaped).remove(0).1;
    assert!(matches!(mark::provenance(&instance), Provenance::Marked(_)));
}

#[test]
fn a_version_that_hides_where_the_interface_ends_is_refused() {
    for (key, value) in [("version", "1/2"), ("version", "/"), ("group", "a:b/c:d")] {
        let record = with(&[("interface", "org.x.Plain"), (key, value)]);
        match publisher().shape(&record) {
            Err(unfit) => assert!(unfit.reason.contains("group and version"), "{}", unfit.reason),
            Ok(shaped) => assert_eq!(shape::interface_of(&shaped.key.service), "org.x.Plain", "{key}={value}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn any_record_is_refused_with_a_reason_or_read_back_as_it_was_shaped(
        record in any_record(),
        interface in proptest::option::of("(org\\.x\\.)?[A-Z][a-z]{1,5}"),
        number in 1..65535u16,
    ) {
        let mut record = record;
        if let Some(interface) = interface {
            record.instance.metadata.insert("interface".into(), interface.into());
            record.instance.ports.push(port(number, Protocol::Dubbo, false));
        }
        check(&publisher(), &record, |shaped| match instance::is_key_of_application(&shaped.key) {
            true => applications::read_with(shaped, &[]),
            false => read_back(shaped),
        });
    }
}

#[tokio::test]
async fn without_the_permit_not_even_a_session_is_opened() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let permit = Permit::refused();
    let publisher = publisher_at(&address, permit.clone());
    let records = [shaped(&greeting())];
    publisher.adopt(&records).await;
    assert_eq!(publisher.put(&records).await, [Err(WriteError::NotPermitted)]);
    let keys = [records[0].key.clone()];
    assert_eq!(publisher.remove(&keys).await, [Err(WriteError::NotPermitted)]);
    let nobody = timeout(Duration::from_millis(1200), listener.accept()).await;
    assert!(nobody.is_err(), "somebody has connected");
    permit.extend(crate::publish::permit::now(), Duration::from_secs(60), 1);
    let somebody = timeout(Duration::from_secs(10), listener.accept()).await;
    somebody.expect("it goes on by itself").unwrap();
}

#[tokio::test]
async fn without_a_server_a_write_says_so() {
    let publisher = publisher();
    let answers = publisher.put(&[shaped(&greeting())]).await;
    assert!(
        matches!(&answers[0], Err(WriteError::Unavailable { .. })),
        "{answers:?}"
    );
    assert_eq!(publisher.figures().held, 0);
}
