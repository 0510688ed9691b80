//! Dubbo's application level in a real ZooKeeper, written by several at once, beside what others have there.

use std::{collections::BTreeSet, time::Duration};

use landfall_adapters::publish::{
    Host, Instance, Mark, Origin, Permit, Port, Protocol, Publisher, Record, RegistryName, Shaped, Status, WriteError,
    zookeeper::ZooKeeperPublisher,
};
use landfall_tests::{estate::Estate, wait::within};

use super::publish::configured;

const INTERFACE: &str = "org.x.Many";
const MAPPING: &str = "/dubbo/mapping/org.x.Many";

fn record(service: &str, id: &str, host: &str, metadata: &[(&str, &str)]) -> Record {
    let origin = Origin {
        registry: RegistryName::new("elsewhere").expect("a name"),
        service: service.into(),
        instance: id.into(),
    };
    Record {
        service: service.into(),
        instance: Instance {
            id: id.into(),
            host: Host::parse(host),
            ports: vec![Port {
                number: 20880,
                protocol: Protocol::Dubbo,
                tls: false,
            }],
            status: Status::Up,
            weight: 100,
            zone: None,
            metadata: metadata
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            changed: None,
        },
        mark: Mark::new(&origin, "any".into(), 1),
    }
}

/// An application and its one provider, as a cluster writes them.
fn both(publisher: &ZooKeeperPublisher, cluster: &str, application: &str, host: &str, interface: &str) -> [Shaped; 2] {
    let provider = [
        ("interface", interface),
        ("application", application),
        ("side", "provider"),
    ];
    let itself = [("dubbo.level", "application"), ("dubbo.metadata.revision", "1")];
    [
        record(interface, &format!("dubbo://{host}:20880"), host, &provider),
        record(application, &format!("{host}:20880"), host, &itself),
    ]
    .map(|mut record| {
        record.mark.cluster = cluster.into();
        publisher.shape(&record).expect("it fits")
    })
}

fn native(application: &str, host: &str, class: &str, metadata: &str) -> String {
    format!(
        r#"{{"name":"{application}","id":"{host}:20880","address":"{host}","port":20880,"payload":{{"@class":"{class}","metadata":{metadata}}}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn many_write_one_mapping_and_none_loses_a_name_nor_is_anothers_instance_touched() {
    let estate = Estate::up_alone(&["zookeeper"], &[]).await;
    let address = estate.address("zookeeper").await;
    let config = configured(&format!("zookeeper: {{ address: \"{address}\", sessionTimeout: 4s }}"));
    let spec = config.spec.zookeeper.expect("zookeeper");
    let make = |cluster| ZooKeeperPublisher::new(&spec, cluster, Permit::always(1)).expect("a publisher");
    let dubbo = "org.apache.dubbo.registry.zookeeper.ZookeeperInstance";
    let spring = "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance";
    estate.zk_create(MAPPING, "native-app").await;
    let taken = native("one-0", "10.0.0.1", dubbo, "{}");
    for (path, data) in [
        ("/services/one-0/10.0.0.1:20880", &taken),
        (
            "/services/one-1/10.9.9.9:20880",
            &native("one-1", "10.9.9.9", dubbo, "{}"),
        ),
        (
            "/services/two-0/10.9.9.9:20880",
            &native("two-0", "10.9.9.9", spring, "{}"),
        ),
    ] {
        estate.zk_create(path, data).await;
    }

    let (one, two) = (make("one"), make("two"));
    let all = |publisher: &ZooKeeperPublisher, cluster: &str| -> Vec<Shaped> {
        (0..6)
            .flat_map(|n| {
                let (application, host) = (format!("{cluster}-{n}"), format!("10.0.{n}.1"));
                both(publisher, cluster, &application, &host, INTERFACE)
            })
            .collect()
    };
    let (ones, twos) = (all(&one, "one"), all(&two, "two"));
    let (of_one, of_two) = tokio::join!(one.put(&ones), two.put(&twos));
    for (written, answers, refused, why) in [
        (&ones, of_one, "one-0", "stands at this address"),
        (&twos, of_two, "two-0", "not Dubbo's"),
    ] {
        for (shaped, answer) in written.iter().zip(answers) {
            match answer {
                Err(WriteError::Rejected { what, .. }) if *shaped.key.service == *refused => {
                    assert!(what.contains(why), "{what}");
                }
                answer => assert_eq!(
                    (answer, &*shaped.key.service != refused),
                    (Ok(()), true),
                    "{:?}",
                    shaped.key
                ),
            }
        }
    }
    let names = || async {
        let text = estate.zk_get("zookeeper", MAPPING).await.expect("the mapping");
        text.trim().split(',').map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let mapped = names().await;
    let of = |cluster: &str| (1..6).map(|n| format!("{cluster}-{n}")).collect::<BTreeSet<_>>();
    let mut expected: BTreeSet<String> = of("one");
    expected.extend(of("two"));
    expected.insert("native-app".to_owned());
    assert_eq!(mapped, expected);
    assert_eq!(
        estate
            .zk_get("zookeeper", "/services/one-0/10.0.0.1:20880")
            .await
            .map(|text| text.trim().to_owned()),
        Ok(taken)
    );

    // What a native provider of Dubbo 2.7 serves is left to it: the copy stands at the interface level alone.
    let old = "dubbo%3A%2F%2F10.0.9.9%3A20880%2Forg.x.Old%3Fapplication%3Dold%26release%3D2.7.23%26side%3Dprovider";
    estate.zk_create(&format!("/dubbo/org.x.Old/providers/{old}"), "").await;
    let beside = both(&one, "one", "one-9", "10.0.9.1", "org.x.Old");
    assert_eq!(one.put(&beside).await, [Ok(()), Ok(())]);
    let providers = estate
        .zk_list("zookeeper", "/dubbo/org.x.Old/providers")
        .await
        .expect("providers");
    assert_eq!(providers.trim().lines().count(), 2, "{providers}");
    let instance = estate.zk_get("zookeeper", "/services/one-9/10.0.9.1:20880").await;
    assert!(instance.is_ok(), "{instance:?}");
    let mapped = estate.zk_get("zookeeper", "/dubbo/mapping/org.x.Old").await;
    assert!(mapped.is_err(), "{mapped:?}");

    let keys = |written: &[Shaped]| written.iter().map(|shaped| shaped.key.clone()).collect::<Vec<_>>();
    let (ones, twos) = (keys(&ones), keys(&twos));
    let (of_one, of_two) = tokio::join!(one.remove(&ones), two.remove(&twos));
    let refused = of_one.iter().chain(&of_two).filter(|answer| answer.is_err()).count();
    assert_eq!(refused, 1, "the native instance: {of_one:?} {of_two:?}");
    within(Duration::from_secs(30), "what was added is taken out", || async {
        // Natively there as well: its name is its own.
        let left: BTreeSet<String> = ["native-app".to_owned(), "one-1".to_owned()].into();
        let names = names().await;
        match names == left {
            true => Ok(()),
            false => Err(format!("{names:?}")),
        }
    })
    .await;
}
