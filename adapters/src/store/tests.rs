use std::collections::BTreeMap;

use landfall_model::{Host, Instance, Port, Protocol, ServiceId, Status};
use proptest::prelude::*;

use super::*;

fn eureka() -> RegistryName {
    RegistryName::new("eureka").unwrap()
}

fn instances() -> impl Strategy<Value = BTreeMap<String, Instance>> {
    let instance = (
        prop_oneof!["[0-9]{1,2}\\.0\\.0\\.1", "[a-z]{1,9}", Just("[::1]".to_owned())],
        prop::collection::vec((1u16.., any::<bool>()), 0..3),
        prop::sample::select(vec![
            Status::Up,
            Status::OutOfService,
            Status::Critical,
            Status::Disabled,
        ]),
        any::<u32>(),
        prop::option::of("\\PC{0,5}"),
        prop::collection::btree_map("\\PC{0,5}", "\\PC{0,9}", 0..3),
        prop::option::of(0u64..4_000_000_000_000),
    )
        .prop_map(|(host, ports, status, weight, zone, metadata, changed)| Instance {
            id: "".into(),
            host: Host::parse(&host),
            ports: ports
                .into_iter()
                .map(|(number, tls)| Port {
                    number,
                    protocol: Protocol::Triple,
                    tls,
                })
                .collect(),
            status,
            weight,
            zone: zone.map(Into::into),
            metadata: metadata.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            changed: changed.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
        });
    prop::collection::btree_map("\\PC{1,8}", instance, 0..4)
}

fn view(services: BTreeMap<String, BTreeMap<String, Instance>>) -> LastGood {
    let service = |(name, instances): (String, BTreeMap<String, Instance>)| {
        let with_id = |(id, mut instance): (String, Instance)| {
            instance.id = id.into();
            Arc::new(instance)
        };
        Arc::new(Service {
            id: ServiceId::new(eureka(), name),
            instances: instances.into_iter().map(with_id).collect(),
        })
    };
    let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let services = services.into_iter().map(service).collect();
    LastGood::new(eureka(), "eureka", "http://one:8761".into(), at, services)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_saved_is_loaded(services in prop::collection::btree_map("\\PC{1,8}", instances(), 0..4)) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        let saved = view(services);
        store.save(&saved).unwrap();
        prop_assert_eq!(store.load(&eureka(), "eureka"), Some(saved));
    }

    #[test]
    fn no_content_of_a_file_stops_a_start(content in prop::collection::vec(any::<u8>(), 0..64)) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(directory.path());
        fs::create_dir_all(&store.directory).unwrap();
        fs::write(store.path(&eureka()), content).unwrap();
        prop_assert_eq!(store.load(&eureka(), "eureka"), None);
    }
}

#[test]
fn an_empty_directory_has_no_view() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Store::new(directory.path()).load(&eureka(), "eureka"), None);
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone_even_over_the_rest_of_a_crash() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    fs::create_dir_all(&store.directory).unwrap();
    fs::write(store.directory.join("eureka.json.tmp"), "half of a fil").unwrap();
    store.save(&view(BTreeMap::new())).unwrap();
    let mode = fs::metadata(store.path(&eureka())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!store.directory.join("eureka.json.tmp").exists());
}

#[test]
fn what_cannot_be_used_is_moved_aside_and_does_not_come_back() {
    let good = serde_json::to_string(&view(BTreeMap::new())).unwrap();
    for (what, content) in [
        ("cut off", good[..good.len() / 2].to_owned()),
        ("another format", good.replace("\"version\":1", "\"version\":2")),
        (
            "another registry",
            good.replace("\"registry\":\"eureka\"", "\"registry\":\"other\""),
        ),
        (
            "another kind",
            good.replace("\"kind\":\"eureka\"", "\"kind\":\"consul\""),
        ),
        ("too large", format!("{good}{}", " ".repeat(4096))),
        ("empty", String::new()),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store {
            largest: 4096,
            ..Store::new(directory.path())
        };
        fs::create_dir_all(&store.directory).unwrap();
        fs::write(store.path(&eureka()), &content).unwrap();
        assert_eq!(store.load(&eureka(), "eureka"), None, "{what}");
        let aside = fs::read_to_string(store.directory.join("eureka.json.bad")).unwrap();
        assert_eq!(aside, content, "{what}");
        assert_eq!(store.load(&eureka(), "eureka"), None, "{what}");
    }
}

#[test]
fn another_address_of_the_same_kind_is_the_same_registry() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path());
    store.save(&view(BTreeMap::new())).unwrap();
    let found = store.load(&eureka(), "eureka").unwrap();
    assert_eq!(found.address, "http://one:8761");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_that_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("last-good"), "a file in the way").unwrap();
    let error = Store::new(directory.path()).save(&view(BTreeMap::new())).unwrap_err();
    assert!(error.to_string().contains("eureka.json"), "{error}");
}
