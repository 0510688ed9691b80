//! Shapes of the application level.

use super::{
    instance::{Composed, Owner, compose, is_application, owner, revision_in, revisions_of, serves},
    *,
};

fn composed(application: &Shaped, providers: &[&Shaped]) -> Composed {
    let providers = providers.iter().map(|shaped| &*shaped.record);
    compose(&application.record, providers, |_| false, "c1")
}

/// What the follower reads of an instance with these providers.
pub(super) fn read_with(application: &Shaped, providers: &[&Shaped]) -> Vec<(Key, Instance)> {
    let Composed { data, document, .. } = composed(application, providers);
    let read = read_application(&application.key.service, &application.key.id, data, document);
    read.into_iter()
        .map(|(service, instance)| {
            let id = instance.id.clone();
            (Key { service, id }, instance)
        })
        .collect()
}

fn shaped_application(record: &Record) -> Shaped {
    check(&publisher(), record, |shaped| read_with(shaped, &[])).expect("it fits")
}

#[test]
fn an_application_is_written_as_curator_and_dubbo_write_it() {
    let application = shaped_application(&greeter());
    assert_eq!(
        (&*application.key.service, &*application.key.id),
        ("greeter", "10.0.0.5:20880")
    );
    assert_eq!(application.losses, []);
    let Composed { revision, data, .. } = composed(&application, &[]);
    let mut node: serde_json::Value = serde_json::from_slice(&data).unwrap();
    let metadata = node["payload"]["metadata"].as_object_mut().unwrap();
    for key in mark::KEYS {
        assert!(metadata.remove(key).is_some(), "{key}");
    }
    let endpoints = r#"[{"port":20880,"protocol":"dubbo"},{"port":50051,"protocol":"tri"}]"#;
    let expected = serde_json::json!({
        "name": "greeter", "id": "10.0.0.5:20880", "address": "10.0.0.5", "port": 20880, "sslPort": null,
        "payload": {
            "@class": "org.apache.dubbo.registry.zookeeper.ZookeeperInstance",
            "id": "10.0.0.5:20880", "name": "greeter",
            "metadata": {
                "dubbo.endpoints": endpoints, "dubbo.metadata.revision": revision,
                "dubbo.metadata.storage-type": "remote", "dubbo.tag": "gray",
            },
        },
        "registrationTimeUTC": 0, "serviceType": "DYNAMIC", "uriSpec": null,
    });
    assert_eq!(node, expected);
}

#[test]
fn its_document_is_made_of_its_providers_and_says_of_them_what_their_urls_say() {
    let (application, provider) = (shaped_application(&greeter()), shaped(&greeting()));
    let mut elsewhere = greeting();
    elsewhere.instance.host = Host::parse("10.0.0.6");
    let mut another = with(&[("application", "another")]);
    another.instance.ports = vec![port(50051, Protocol::Triple, false)];
    let (elsewhere, another) = (shaped(&elsewhere), shaped(&another));
    let all = [&provider, &elsewhere, &another];
    assert!(serves(&application.record, &provider.record));
    let Composed {
        document, interfaces, ..
    } = composed(&application, &all);
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let services = document["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["g1/org.x.Greeting:1.0.0:dubbo"]);
    assert_eq!(interfaces, ["org.x.Greeting".to_owned()].into());

    // By either level it is one record: the same key, mark and digest, and what the application says is not said of it.
    let read = read_with(&application, &all);
    let (_, by_application) = read.iter().find(|(key, _)| *key == provider.key).expect("it is there");
    let (_, by_interface) = read_back(&provider).remove(0);
    assert_eq!(*by_application, by_interface);
    assert_eq!(mark::digest_in(by_application), Some(&provider.digest));
}

#[test]
fn a_revision_tells_the_content_and_not_the_writer() {
    let (application, provider) = (shaped_application(&greeter()), shaped(&greeting()));
    let before = composed(&application, &[&provider]).revision;
    assert!(before.starts_with(&revisions_of("c1")) && !before.starts_with(&revisions_of("c2")));
    let mut later = greeting();
    later.mark.epoch += 1;
    assert_eq!(composed(&application, &[&shaped(&later)]).revision, before);
    assert_ne!(
        composed(&application, &[&shaped(&with(&[("timeout", "1")]))]).revision,
        before
    );
    assert_ne!(composed(&application, &[]).revision, before);
    let data = composed(&application, &[&provider]).data;
    assert_eq!(revision_in(&data), Some(before));
    let alone = compose(&application.record, [&*provider.record].into_iter(), |_| true, "c1");
    assert_eq!(alone.interfaces.len(), 0);
}

#[test]
fn one_that_is_out_of_service_serves_nothing() {
    let mut off = greeter();
    off.instance.status = Status::Down;
    let application = shaped_application(&off);
    assert_eq!(
        (application.record.instance.status, lost(&application)),
        (Status::OutOfService, vec!["status"])
    );
    assert_eq!(composed(&application, &[&shaped(&greeting())]).interfaces.len(), 0);
}

#[test]
fn an_instance_is_ours_by_its_marks_alone() {
    let application = shaped_application(&greeter());
    let data = composed(&application, &[]).data;
    assert_eq!((owner(&data, "c1"), owner(&data, "c2")), (Owner::Ours, Owner::Another));
    for native in ["", "[]", r#"{"address":"10.0.0.5","payload":{"metadata":{"a":"b"}}}"#] {
        assert_eq!(owner(native.as_bytes(), "c1"), Owner::Native);
    }
    assert!(instance::is_of_dubbo(&data));
    assert!(!instance::is_of_dubbo(
        br#"{"address":"10.0.0.5","payload":{"@class":"org.springframework.cloud.X"}}"#
    ));
}

#[test]
fn what_is_seen_of_a_copy_composes_to_the_same_again() {
    let (application, provider) = (shaped_application(&greeter()), shaped(&greeting()));
    let before = composed(&application, &[&provider]);
    let read = read_with(&application, &[&provider]);
    let again = |shaped: &Shaped| {
        let (_, instance) = read.iter().find(|(key, _)| *key == shaped.key).expect("it is there");
        let record = Record {
            service: shaped.key.service.clone(),
            instance: instance.clone(),
            mark: shaped.record.mark.clone(),
        };
        Shaped {
            record: Arc::new(record),
            ..shaped.clone()
        }
    };
    assert_eq!(composed(&again(&application), &[&again(&provider)]), before);
}

#[test]
fn names_that_cannot_be_an_applications_are_refused() {
    for name in ["a/b", "a,b", "..", "two words", ""] {
        let mut odd = greeter();
        odd.service = name.into();
        odd.mark.origin.service = name.into();
        assert!(publisher().shape(&odd).is_err(), "{name}");
    }
    let mut renamed = greeter();
    renamed.service = "another".into();
    assert!(publisher().shape(&renamed).unwrap_err().reason.contains("as it is"));
    let mut spring = greeter();
    spring.instance.metadata = [("management.port".into(), "8081".into())].into();
    assert!(!is_application(&spring) && publisher().shape(&spring).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn any_application_is_refused_with_a_reason_or_read_back_as_it_was_shaped(record in any_record(), is_dubbo: bool) {
        let mut record = record;
        record.instance.metadata.remove("interface");
        record.instance.metadata.insert("dubbo.level".into(), "application".into());
        if is_dubbo {
            record.instance.ports.push(port(20880, Protocol::Dubbo, false));
        }
        check(&publisher(), &record, |shaped| read_with(shaped, &[]));
    }

    #[test]
    fn any_provider_in_a_document_is_read_back_as_it_was_shaped(record in any_record(), number in 1..65535u16) {
        let mut record = record;
        let metadata = &mut record.instance.metadata;
        metadata.insert("interface".into(), "org.x.Svc".into());
        metadata.insert("application".into(), "greeter".into());
        record.instance.ports.insert(0, port(number, Protocol::Dubbo, false));
        let read = |shaped: &Shaped| {
            if !shaped.record.instance.metadata.contains_key("application") {
                // It was too large, and is reported; then no application's document has it.
                return read_back(shaped);
            }
            let mut application = greeter();
            application.instance.host = shaped.record.instance.host.clone();
            let (_, number) = shaped.key.id.rsplit_once(':').unwrap();
            application.instance.ports = vec![port(number.parse().unwrap(), Protocol::Dubbo, false)];
            read_with(&publisher().shape(&application).unwrap(), &[shaped])
        };
        check(&publisher(), &record, read);
    }
}
