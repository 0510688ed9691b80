//! Records for the publishers' tests: plain ones, and as odd as registries hold them.

use std::{collections::BTreeMap, sync::Arc};

use landfall_model::{Host, Instance, Origin, Port, Protocol, RegistryName, Status};
use proptest::prelude::*;

use super::{Key, Mark, Provenance, Publisher, Record, Shaped, mark, rules};

/// A record of service `orders` at 10.0.0.7:8080, from `eureka`.
pub(super) fn orders() -> Record {
    record("orders", "h1:orders:8080")
}

pub(super) fn record(service: &str, id: &str) -> Record {
    let origin = Origin {
        registry: RegistryName::new("eureka").unwrap(),
        service: service.into(),
        instance: id.into(),
    };
    Record {
        service: service.into(),
        instance: Instance {
            id: id.into(),
            host: Host::parse("10.0.0.7"),
            ports: vec![port(8080, Protocol::Unknown, false)],
            status: Status::Up,
            weight: 100,
            zone: None,
            metadata: [("management.port".into(), "8081".into())].into(),
            changed: None,
        },
        mark: Mark::new(&origin, "c1".into(), 3),
    }
}

pub(super) fn port(number: u16, protocol: Protocol, tls: bool) -> Port {
    Port { number, protocol, tls }
}

/// A provider as the ZooKeeper follower reports it.
pub(super) fn greeting() -> Record {
    let mut record = record("g1/org.x.Greeting:1.0.0", "dubbo://10.0.0.5:20880");
    let pairs = [
        ("application", "greeter"),
        ("dubbo", "2.0.2"),
        ("dubbo.level", "interface"),
        ("group", "g1"),
        ("interface", "org.x.Greeting"),
        ("methods", "greet,sayHello"),
        ("release", "2.7.23"),
        ("side", "provider"),
        ("version", "1.0.0"),
    ];
    record.instance.metadata = pairs.map(|(key, value)| (key.into(), value.into())).into();
    record.instance.host = Host::parse("10.0.0.5");
    record.instance.ports = vec![port(20880, Protocol::Dubbo, false)];
    record
}

/// The same provider's application, as the ZooKeeper follower reports it.
pub(super) fn greeter() -> Record {
    let mut record = record("greeter", "10.0.0.5:20880");
    let pairs = [
        ("dubbo.interfaces", "org.x.Greeting"),
        ("dubbo.level", "application"),
        ("dubbo.metadata.revision", "1f2c"),
        ("dubbo.metadata.storage-type", "local"),
        ("dubbo.tag", "gray"),
    ];
    record.instance.metadata = pairs.map(|(key, value)| (key.into(), value.into())).into();
    record.instance.host = Host::parse("10.0.0.5");
    record.instance.ports = vec![
        port(20880, Protocol::Dubbo, false),
        port(50051, Protocol::Triple, false),
    ];
    record
}

const STATUSES: [Status; 10] = [
    Status::Up,
    Status::Down,
    Status::Starting,
    Status::OutOfService,
    Status::Unknown,
    Status::Passing,
    Status::Warning,
    Status::Critical,
    Status::Maintenance,
    Status::Disabled,
];
const PROTOCOLS: [Protocol; 7] = [
    Protocol::Unknown,
    Protocol::Http,
    Protocol::H2,
    Protocol::Grpc,
    Protocol::Triple,
    Protocol::Dubbo,
    Protocol::Tcp,
];

/// Any text a registry may hold, often one that means something.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z.]{1,12}",
        ".{0,20}",
        "[ _:./;&=#%?,🦀A-Za-z]{0,12}",
        Just("x".repeat(600)),
    ]
}

fn key() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 25] = [
        "weight",
        "zone",
        "interface",
        "group",
        "version",
        "path",
        "methods",
        "protocol",
        "secure",
        "gRPC_port",
        "side",
        "dubbo.level",
        "application",
        "disabled",
        "tag.v1",
        "timestamp",
        "x-pid",
        "category",
        "ext.protocol",
        "preferred.protocol",
        "eureka.vipAddress",
        "landfall-path",
        "ssl-enabled",
        "default.group",
        "class",
    ];
    prop_oneof![proptest::sample::select(&KNOWN[..]).prop_map(str::to_owned), text()]
}

fn value() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 9] = [
        "true",
        "false",
        "0",
        "7",
        "org.x.Svc",
        "application",
        "https",
        "9090",
        "tri",
    ];
    prop_oneof![
        proptest::sample::select(&KNOWN[..]).prop_map(str::to_owned),
        text(),
        Just("y".repeat(64 << 10))
    ]
}

/// Any record whatever.
pub(super) fn any_record() -> impl Strategy<Value = Record> {
    let host = prop_oneof![
        Just("10.0.0.7".to_owned()),
        Just("::1".to_owned()),
        "[a-z]{1,8}(\\.[a-z]{1,5})?",
        text(),
    ];
    let ports = proptest::collection::vec(
        (1..65535u16, proptest::sample::select(&PROTOCOLS[..]), any::<bool>()),
        0..4,
    );
    let service = prop_oneof![
        "[a-zA-Z]{1,8}",
        "([a-z]{1,3}/)?org\\.x\\.[A-Z][a-z]{1,3}(:[0-9.]{1,5})?",
        text()
    ];
    let metadata = proptest::collection::btree_map(key(), value(), 0..12);
    let weight = prop_oneof![Just(100u32), Just(1), Just(0), Just(300), any::<u32>()];
    let rest = (
        proptest::sample::select(&STATUSES[..]),
        weight,
        proptest::option::of(text()),
        text(),
        any::<u64>(),
    );
    (service, host, ports, metadata, rest).prop_map(|(service, host, ports, metadata, rest)| {
        let (status, weight, zone, id, epoch) = rest;
        let mut record = record(&service, &id);
        record.mark.epoch = epoch;
        record.instance.host = Host::parse(&host);
        record.instance.ports = ports.into_iter().map(|(n, p, tls)| port(n, p, tls)).collect();
        record.instance.status = status;
        record.instance.weight = weight;
        record.instance.zone = zone.map(Into::into);
        let pairs = metadata.into_iter();
        record.instance.metadata = pairs.map(|(key, value)| (Arc::from(key), Arc::from(value))).collect();
        record
    })
}

/// Keys that say what the record says by itself: ports, weight, zone, status, names.
const OURS: [&str; 26] = [
    "weight",
    "zone",
    "secure",
    "protocol",
    "gRPC_port",
    "gRPC.port",
    "grpc.port",
    "disabled",
    "enabled",
    "group",
    "version",
    "ssl-enabled",
    "eureka.app",
    "eureka.overriddenStatus",
    "eureka.vipAddress",
    "dubbo.level",
    "dubbo.interfaces",
    "dubbo.metadata.document",
    "dubbo.metadata.revision",
    "dubbo.metadata.storage-type",
    "meta-v",
    "interface",
    "path",
    "ext.protocol",
    "preferred.protocol",
    "default.group",
];

/// The first pair that stands in the one and not in the other.
fn with_marks(written: &BTreeMap<Arc<str>, Arc<str>>, read: &Instance) -> Option<(Arc<str>, Arc<str>)> {
    let missing = written
        .iter()
        .find(|(key, value)| read.metadata.get(*key) != Some(*value));
    missing.map(|(key, value)| (key.clone(), value.clone()))
}

/// What must hold of every shape: it is the same each time and under another writer, and what a follower reads back is
/// known as the same record, by its key, its digest and its mark.
pub(super) fn check(
    publisher: &dyn Publisher,
    record: &Record,
    read_back: impl Fn(&Shaped) -> Vec<(Key, Instance)>,
) -> Option<Shaped> {
    let shaped = match publisher.shape(record) {
        Ok(shaped) => shaped,
        Err(unfit) => {
            assert!(!unfit.reason.is_empty());
            return None;
        }
    };
    assert_eq!(publisher.shape(record).as_ref(), Ok(&shaped));
    let mut later = record.clone();
    later.mark.epoch = later.mark.epoch.wrapping_add(1);
    assert_eq!(publisher.shape(&later).unwrap().digest, shaped.digest);
    let read = read_back(&shaped);
    let found = read.iter().find(|(key, _)| *key == shaped.key);
    let (_, instance) = found.unwrap_or_else(|| panic!("{:?} is not among {read:?}", shaped.key));
    assert_eq!(instance.id, shaped.key.id);
    assert_eq!(mark::digest_in(instance), Some(&shaped.digest));
    assert_eq!(mark::provenance(instance), Provenance::Marked(record.mark.clone()));
    assert_eq!(instance.host, record.instance.host);
    assert_eq!(instance.status, shaped.record.instance.status);
    assert_eq!(instance.ports, shaped.record.instance.ports);
    assert_eq!(instance.weight, shaped.record.instance.weight);
    assert_eq!(instance.zone, shaped.record.instance.zone);
    assert_eq!(
        with_marks(&shaped.record.instance.metadata, instance),
        None,
        "changed on the way"
    );
    // Nothing is lost in silence: each key is read back as it was, or is reported.
    let mut metadata = instance.metadata.clone();
    mark::strip(&mut metadata);
    for (key, value) in &record.instance.metadata {
        let ours = mark::KEYS.contains(&&**key) || OURS.contains(&&**key);
        let reported = || shaped.losses.iter().any(|loss| loss.field == rules::shown(key));
        assert!(
            ours || key.is_empty() || metadata.get(key) == Some(value) || reported(),
            "{} is lost: {:?}",
            rules::shown(key),
            shaped.losses
        );
    }
    Some(shaped)
}

/// Every reported field of a shape.
pub(super) fn lost(shaped: &Shaped) -> Vec<&str> {
    shaped.losses.iter().map(|loss| loss.field.as_str()).collect()
}
