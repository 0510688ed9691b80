use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_model::{Instance, Port, Protocol, Status};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    application::{self, Application, Document, Node},
    interface,
    merge::{Contribution, Folder, Merge},
    url::encode,
};
use crate::registry::Knowledge;

const SVC: &str = "org.x.Svc";

fn at(millis: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

fn providers(urls: &[&str]) -> Contribution {
    let children = urls
        .iter()
        .enumerate()
        .map(|(number, url)| (encode(url).into(), at(number as u64 + 1)));
    interface::contribution(SVC, &children.collect(), None)
}

/// The one instance of the one service that this URL makes.
fn provider(url: &str) -> (String, Instance) {
    let mut contribution = providers(&[url]);
    assert_eq!(contribution.unreadable, []);
    let (key, mut claims) = contribution
        .services
        .pop_first()
        .unwrap_or_else(|| panic!("{url} is a provider"));
    assert!(contribution.services.is_empty());
    (key.to_string(), claims.remove(0).instance)
}

fn curator(port: u16, metadata: Value) -> Vec<u8> {
    let node = json!({
        "name": "demo", "id": format!("10.0.0.5:{port}"), "address": "10.0.0.5", "port": port, "sslPort": null,
        "payload": {"@class": "org.apache.dubbo.registry.zookeeper.ZookeeperInstance", "id": format!("10.0.0.5:{port}"),
                    "name": "demo", "metadata": metadata},
        "registrationTimeUTC": 1700000000000u64, "serviceType": "DYNAMIC", "uriSpec": null,
    });
    serde_json::to_vec(&node).unwrap()
}

fn dubbo(revision: &str, storage: &str) -> Value {
    json!({"dubbo.endpoints": "[{\"port\":20880,\"protocol\":\"dubbo\"},{\"port\":50051,\"protocol\":\"tri\"}]",
           "dubbo.metadata.revision": revision, "dubbo.metadata.storage-type": storage, "timestamp": "1700000000000",
           "dubbo.tag": "gray"})
}

fn document() -> Value {
    json!({"app": "demo", "revision": "r1", "services": {
        "g1/org.x.Svc:1.0.0:dubbo": {"name": SVC, "group": "g1", "version": "1.0.0", "protocol": "dubbo", "port": 20880,
            "path": SVC, "params": {"application": "demo", "methods": "a,b", "timeout": "500", "token": "s3cret",
            "group": "g1", "version": "1.0.0", "weight": "30"}},
        "org.x.Other:tri": {"name": "org.x.Other", "protocol": "tri", "path": "org.x.Other", "params": {"release": "3.3.6"}}}})
}

struct App {
    nodes: BTreeMap<Arc<str>, Node>,
    documents: BTreeMap<String, Document>,
    interfaces: Vec<&'static str>,
}

impl App {
    fn new(nodes: &[(&str, Vec<u8>)], document: Option<Value>) -> Self {
        let node = |(name, data): &(&str, Vec<u8>)| {
            (
                (*name).into(),
                Node {
                    data: data.clone(),
                    changed: at(7),
                },
            )
        };
        let documents = document.map(|value| ("r1".to_owned(), Document::Data(serde_json::to_vec(&value).unwrap())));
        Self {
            nodes: nodes.iter().map(node).collect(),
            documents: documents.into_iter().collect(),
            interfaces: vec![SVC],
        }
    }

    fn contribution(&self, before: Option<&Contribution>) -> Contribution {
        let application = Application {
            name: "demo",
            nodes: &self.nodes,
            documents: &self.documents,
            interfaces: self.interfaces.clone(),
        };
        application::contribution(&application, before)
    }
}

/// What a hub would know after these reports.
#[derive(Debug, Default, PartialEq)]
struct Believed(BTreeMap<Arc<str>, Vec<Instance>>);

impl Believed {
    fn take(&mut self, news: Vec<Knowledge>) {
        for knowledge in news {
            match knowledge {
                Knowledge::Service { name, instances, .. } => drop(self.0.insert(name, instances)),
                Knowledge::Gone { name } => assert!(self.0.remove(&name).is_some(), "{name} was never reported"),
                _ => {}
            }
        }
    }

    fn ids(&self, service: &str) -> Vec<&str> {
        self.0
            .get(service)
            .into_iter()
            .flatten()
            .map(|instance| &*instance.id)
            .collect()
    }
}

#[test]
fn a_provider_url_is_an_instance_of_its_service_key() {
    let (key, instance) = provider(
        "dubbo://10.0.0.5:20880/org.x.Svc?application=demo&group=g1&version=1.0.0&interface=org.x.Svc&methods=a,b\
         &weight=30&timestamp=1&pid=2&token=s3cret&qos.port=1&bind.ip=0.0.0.0&remote.timestamp=3&dubbo.tag=gray&zone=z1",
    );
    assert_eq!(
        (key.as_str(), &*instance.id),
        ("g1/org.x.Svc:1.0.0", "dubbo://10.0.0.5:20880")
    );
    assert_eq!(
        instance.ports,
        [Port {
            number: 20880,
            protocol: Protocol::Dubbo,
            tls: false
        }]
    );
    assert_eq!(
        (instance.status, instance.weight, instance.zone.as_deref()),
        (Status::Up, 30, Some("z1"))
    );
    assert_eq!(instance.changed, at(1));
    let keys: Vec<&str> = instance.metadata.keys().map(|key| &**key).collect();
    assert_eq!(
        keys,
        [
            "application",
            "dubbo.tag",
            "group",
            "interface",
            "methods",
            "version",
            "weight",
            "zone"
        ]
    );
}

#[test]
fn the_service_key_leaves_out_what_is_empty_and_version_0_0_0() {
    for (query, key) in [
        ("", "org.x.Svc"),
        ("?version=0.0.0", "org.x.Svc"),
        ("?version=2.0", "org.x.Svc:2.0"),
        ("?group=g", "g/org.x.Svc"),
        ("?default.group=g&version=", "g/org.x.Svc"),
    ] {
        assert_eq!(provider(&format!("dubbo://h:1/org.x.Svc{query}")).0, key, "{query}");
    }
}

#[test]
fn a_port_says_every_protocol_spoken_there_the_preferred_one_first() {
    use Protocol::{Dubbo, Grpc, Http, Tcp, Triple};
    for (url, protocols) in [
        ("tri://h:1/org.x.Svc", vec![Triple]),
        ("rest://h:1/org.x.Svc", vec![Http]),
        ("grpc://h:1/org.x.Svc", vec![Grpc]),
        ("thrift://h:1/org.x.Svc", vec![Tcp]),
        ("dubbo://h:1/org.x.Svc?ext.protocol=tri", vec![Dubbo, Triple]),
        (
            "dubbo://h:1/org.x.Svc?ext.protocol=tri,dubbo&preferred.protocol=tri",
            vec![Triple, Dubbo],
        ),
    ] {
        let ports = provider(url).1.ports;
        assert_eq!(
            ports.iter().map(|port| port.protocol).collect::<Vec<_>>(),
            protocols,
            "{url}"
        );
        assert!(ports.iter().all(|port| port.number == 1 && !port.tls));
    }
    assert!(provider("tri://h:1/org.x.Svc?ssl-enabled=true").1.ports[0].tls);
}

#[test]
fn what_is_switched_off_or_weighs_nothing_is_kept_as_it_says() {
    for (query, status, weight) in [
        ("disabled=true", Status::Disabled, 100),
        ("enabled=false", Status::Disabled, 100),
        ("disabled=false&enabled=false", Status::Up, 100),
        ("weight=0", Status::Up, 0),
        ("weight=-5", Status::Up, 0),
        ("weight=heavy", Status::Up, 100),
        ("default.weight=7", Status::Up, 7),
        ("dynamic=false", Status::Up, 100),
    ] {
        let (_, instance) = provider(&format!("dubbo://h:1/org.x.Svc?{query}"));
        assert_eq!((instance.status, instance.weight), (status, weight), "{query}");
    }
}

#[test]
fn urls_that_are_no_providers_are_skipped_and_garbage_is_set_aside_with_its_path() {
    let skipped = [
        "empty://0.0.0.0/org.x.Svc?category=providers",
        "consumer://10.0.0.1/org.x.Svc?category=consumers",
        "override://0.0.0.0/org.x.Svc?category=configurators&weight=5",
        "route://0.0.0.0/org.x.Svc?category=routers",
        "dubbo://h:1/org.x.Svc?category=configurators",
    ];
    assert_eq!(providers(&skipped), Contribution::default());
    let mut mixed = skipped.to_vec();
    mixed.push("dubbo://good:1/org.x.Svc?category=providers,configurators");
    let garbage = [
        "no url at all",
        "dubbo://me:hunter2@:1/org.x.Svc?password=hunter2",
        "dubbo://h/org.x.Svc",
        "dubbo://h:1/org.x.Another?token=hunter2",
    ];
    mixed.extend(garbage);
    let contribution = providers(&mixed);
    assert_eq!(contribution.services[SVC].len(), 1, "the sibling lives");
    assert_eq!(contribution.unreadable.len(), garbage.len() - 1);
    for record in &contribution.unreadable {
        assert!(record.record.starts_with("org.x.Svc/providers/") && !record.reason.is_empty());
        assert!(!record.record.contains("hunter2"), "{}", record.record);
    }
    let known = &contribution.quarantined[SVC];
    assert_eq!(
        (known.len(), &*known[0].record),
        (1, "dubbo://h:1"),
        "its address can be read"
    );
    assert!(
        known[0].reason.contains("org.x.Svc/providers/dubbo%3A%2F%2Fh%3A1") && !known[0].reason.contains("hunter2")
    );
}

/// A node name, as it stands, as the only child; and what it claimed before.
fn child(name: &str, before: Option<&Contribution>) -> Contribution {
    interface::contribution(SVC, &BTreeMap::from([(name.into(), None)]), before)
}

#[test]
fn a_provider_whose_parameters_cannot_be_read_is_set_aside_under_its_id_so_that_its_last_form_is_kept() {
    let good = encode("dubbo://10.0.0.5:20880/org.x.Svc?group=g1&version=1.0.0");
    let before = child(&good, None);
    let key = "g1/org.x.Svc:1.0.0";
    for bad in [
        format!("{good}%26tag%3D%ZZ"),
        format!("{good}%26tag%3D%C3%28"),
        format!("{good}%26tag%3D%"),
        good.replace("org.x.Svc", "org.x.Another"),
    ] {
        // In a session that knew it, in one that did not, and at every further look.
        let known = child(&bad, Some(&before));
        for contribution in [&known, &child(&bad, None), &child(&bad, Some(&known))] {
            assert_eq!(contribution.unreadable, [], "{bad}");
            let keys: Vec<&str> = contribution.services.keys().map(|key| &**key).collect();
            assert_eq!(keys, [key], "{bad}");
            assert_eq!(
                contribution.quarantined[key][0].record, "dubbo://10.0.0.5:20880",
                "{bad}"
            );
        }
    }
    // Where group and version are lost too, it is still the instance that was known.
    let lost = format!("{}%3Fgroup%3D%ZZ", encode("dubbo://10.0.0.5:20880/org.x.Svc"));
    assert_eq!(
        child(&lost, Some(&before)).quarantined[key][0].record,
        "dubbo://10.0.0.5:20880"
    );
    assert_eq!(
        (child(&lost, None).unreadable.len(), child(&lost, None).services.len()),
        (1, 0),
        "of no service that is known"
    );
    let reported = |contribution: Contribution| {
        let mut merge = Merge::default();
        merge.put(Folder::Interface(SVC.to_owned()), contribution);
        merge.drain()
    };
    match &reported(child(&lost, Some(&before)))[..] {
        [
            Knowledge::Service {
                name,
                instances,
                quarantined,
                ..
            },
        ] => {
            assert_eq!((&**name, instances.len(), quarantined.len()), (key, 0, 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_that_is_none_is_set_aside() {
    for host in [
        "10.0.0.5",
        "[fe80::1]",
        "fe80::1",
        "fe80::1%eth0",
        "web-1.example.com.",
        "a_b",
        "x",
        "1.example",
        "localhost",
    ] {
        assert!(interface::host(host).is_ok(), "{host}");
    }
    let long = "x".repeat(64);
    for host in [
        "",
        "a b",
        "300.1.1.1",
        "1.2.3",
        "a..b",
        "-a",
        "a-",
        "\u{1f600}",
        "x%y",
        "a/b",
        "@",
        "*",
        &long,
        &"a.".repeat(200),
    ] {
        assert!(interface::host(host).is_err(), "{host}");
    }
    let contribution = providers(&["dubbo://300.1.1.1:1/org.x.Svc", "dubbo://h:1/org.x.Svc"]);
    assert_eq!(
        (contribution.services[SVC].len(), contribution.unreadable.len()),
        (1, 1)
    );
    let node = json!({"address": "no host", "port": 1});
    let app = App::new(&[("a", serde_json::to_vec(&node).unwrap())], None).contribution(None);
    assert_eq!(app.quarantined["demo"][0].reason, "`no host` is no host");
}

#[test]
fn what_is_quoted_from_a_bad_record_is_no_longer_than_can_be_shown() {
    let long = "x".repeat(64 << 10);
    let contribution = providers(&[
        &format!("dubbo://h:{long}/org.x.Svc"),
        &format!("dubbo://h:1/{long}"),
        &long,
    ]);
    let records = contribution
        .unreadable
        .iter()
        .chain(contribution.quarantined.values().flatten());
    let sizes: Vec<usize> = records.map(|q| q.record.len() + q.reason.len()).collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size < 800), "{sizes:?}");
}

#[test]
fn an_application_instance_has_its_endpoints_as_ports_and_its_document_as_services() {
    let app = App::new(
        &[("10.0.0.5:20880", curator(20880, dubbo("r1", "remote")))],
        Some(document()),
    );
    let contribution = app.contribution(None);
    assert_eq!(
        (&contribution.unreadable, &contribution.quarantined),
        (&vec![], &BTreeMap::new())
    );
    let keys: Vec<&str> = contribution.services.keys().map(|key| &**key).collect();
    assert_eq!(keys, ["demo", "g1/org.x.Svc:1.0.0", "org.x.Other"]);
    let only = |key: &str| contribution.services[key][0].instance.clone();
    let itself = only("demo");
    let protocols: Vec<_> = itself.ports.iter().map(|port| (port.number, port.protocol)).collect();
    assert_eq!(
        (&*itself.id, protocols),
        (
            "10.0.0.5:20880",
            vec![(20880, Protocol::Dubbo), (50051, Protocol::Triple)]
        )
    );
    assert_eq!(&*itself.metadata["dubbo.interfaces"], "org.x.Other,org.x.Svc");
    let service = only("g1/org.x.Svc:1.0.0");
    assert_eq!(
        (&*service.id, service.weight, service.changed),
        ("dubbo://10.0.0.5:20880", 30, at(7))
    );
    assert!(!service.metadata.contains_key("token") && !service.metadata.contains_key("timestamp"));
    assert_eq!(
        &*service.metadata["dubbo.tag"], "gray",
        "said by the instance for all its services"
    );
    let other = only("org.x.Other");
    assert_eq!(
        &*other.id, "tri://10.0.0.5:50051",
        "without a port of its own: the endpoint of its protocol"
    );
}

#[test]
fn a_provider_that_keeps_its_document_is_still_an_instance_of_its_application() {
    let app = App::new(&[("10.0.0.5:20880", curator(20880, dubbo("r1", "local")))], None);
    let contribution = app.contribution(None);
    let itself = &contribution.services["demo"][0].instance;
    assert!(itself.metadata["dubbo.metadata.document"].contains("local"));
    assert_eq!(
        (&*itself.metadata["dubbo.interfaces"], contribution.services.len()),
        (SVC, 1)
    );
    assert!(contribution.quarantined.is_empty(), "that is no fault");
    let remote = App::new(&[("10.0.0.5:20880", curator(20880, dubbo("r1", "remote")))], None).contribution(None);
    assert_eq!(
        remote.quarantined["demo"][0].record, "metadata/demo/r1",
        "but this is one"
    );
    assert_eq!(remote.services["demo"].len(), 1);
}

#[test]
fn an_instance_without_revision_serves_nothing() {
    for metadata in [
        dubbo("0", "remote"),
        dubbo("", "remote"),
        json!({"dubbo.endpoints": "[]"}),
    ] {
        let contribution = App::new(&[("h:1", curator(1, metadata))], Some(document())).contribution(None);
        assert!(contribution.services["demo"].is_empty() && contribution.quarantined.is_empty());
    }
}

#[test]
fn spring_clouds_instances_in_the_same_form_are_read_too() {
    let node = json!({"name": "demo", "id": "1b2c", "address": "web-1", "port": 8080, "sslPort": 8443,
        "payload": {"@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance", "id": "demo-1",
                    "name": "demo", "metadata": {"instance_status": "OUT_OF_SERVICE"}}});
    for (node, status) in [
        (node.clone(), Status::OutOfService),
        (json!({"address": "web-1", "port": 8080}), Status::Up),
    ] {
        let contribution = App::new(&[("1b2c", serde_json::to_vec(&node).unwrap())], None).contribution(None);
        let instance = &contribution.services["demo"][0].instance;
        assert_eq!(
            (instance.status, instance.ports[0].protocol),
            (status, Protocol::Unknown)
        );
        assert!(!instance.metadata.contains_key("dubbo.level"));
    }
}

#[test]
fn a_node_that_turns_to_garbage_keeps_what_it_served_and_is_quarantined() {
    let good = [
        ("a:1", curator(20880, dubbo("r1", "remote"))),
        ("b:1", curator(20881, dubbo("r1", "remote"))),
    ];
    let before = App::new(&good, Some(document())).contribution(None);
    for garbage in [
        &b"not json"[..],
        b"",
        b"{}",
        br#"{"address":"","port":1}"#,
        br#"{"address":"h","port":123456}"#,
    ] {
        let nodes = [("a:1", garbage.to_vec()), good[1].clone()];
        let after = App::new(&nodes, Some(document())).contribution(Some(&before));
        assert_eq!(
            after.quarantined["demo"][0].record, "a:1",
            "the id of its instance, so the last form is kept"
        );
        assert_eq!(after.services["demo"].len(), 1);
        assert_eq!(after.services["org.x.Other"], before.services["org.x.Other"]);
    }
    let mut broken = document();
    broken["services"]["org.x.Other:tri"] = json!("?");
    let after = App::new(&good, Some(broken)).contribution(Some(&before));
    for key in ["g1/org.x.Svc:1.0.0", "org.x.Other"] {
        assert_eq!(
            after.services[key], before.services[key],
            "one entry of the document is bad"
        );
    }
    let ids = |service: &str| {
        let records = after.quarantined.get(service).into_iter().flatten();
        records.map(|record| &*record.record).collect::<Vec<_>>()
    };
    assert_eq!(
        ids("org.x.Other"),
        ["tri://10.0.0.5:50051", "tri://10.0.0.5:50051"],
        "the ids of its instances"
    );
    assert_eq!(after.unreadable, []);
    let mut none = App::new(&good, None);
    none.documents
        .insert("r1".to_owned(), Document::Data(b"<html>".to_vec()));
    assert_eq!(
        none.contribution(Some(&before)).services["org.x.Other"],
        before.services["org.x.Other"]
    );
}

#[test]
fn both_levels_of_one_provider_are_one_instance() {
    let mut merge = Merge::default();
    let mut believed = Believed::default();
    let url = "dubbo://10.0.0.5:20880/org.x.Svc?group=g1&version=1.0.0&weight=99&cluster=failfast";
    let interface = || Folder::Interface(SVC.to_owned());
    let application = || Folder::Application("demo".to_owned());
    merge.put(interface(), providers(&[url]));
    believed.take(merge.drain());
    let key = "g1/org.x.Svc:1.0.0";
    let level = |believed: &Believed| believed.0[key][0].metadata["dubbo.level"].to_string();
    assert_eq!(level(&believed), "interface");
    let app = App::new(
        &[("10.0.0.5:20880", curator(20880, dubbo("r1", "remote")))],
        Some(document()),
    );
    merge.put(application(), app.contribution(None));
    believed.take(merge.drain());
    assert_eq!(
        (believed.ids(key), level(&believed)),
        (vec!["dubbo://10.0.0.5:20880"], "both".to_owned())
    );
    let instance = &believed.0[key][0];
    assert_eq!(
        (instance.weight, &*instance.metadata["cluster"]),
        (30, "failfast"),
        "the application level is preferred"
    );
    merge.put(interface(), providers(&[]));
    believed.take(merge.drain());
    assert_eq!(
        (believed.ids(key).len(), level(&believed)),
        (1, "application".to_owned())
    );
    merge.remove(&application());
    believed.take(merge.drain());
    assert_eq!(believed.ids(key), Vec::<&str>::new());
    assert!(
        believed.0.contains_key(key) && !believed.0.contains_key("demo"),
        "the interface's folder is still there"
    );
    merge.remove(&interface());
    believed.take(merge.drain());
    assert_eq!(believed, Believed::default());
    assert_eq!(merge.drain(), []);
}

#[test]
fn of_two_nodes_for_one_provider_the_younger_counts() {
    let mut merge = Merge::default();
    let old = "dubbo://h:1/org.x.Svc?timestamp=1&weight=1";
    let new = "dubbo://h:1/org.x.Svc?timestamp=2&weight=2";
    merge.put(Folder::Interface(SVC.to_owned()), providers(&[old, new]));
    let mut believed = Believed::default();
    believed.take(merge.drain());
    assert_eq!(
        believed.0[SVC]
            .iter()
            .map(|instance| instance.weight)
            .collect::<Vec<_>>(),
        [2]
    );
}

#[test]
fn a_copy_of_ours_never_hides_a_native_provider_nor_marks_it() {
    let mut merge = Merge::default();
    let native = "dubbo://h:1/org.x.Svc?timestamp=1&weight=1";
    let copy = "dubbo://h:1/org.x.Svc?landfall-cluster=c1&landfall-origin=zk/org.x.Svc/h&weight=2";
    merge.put(Folder::Interface(SVC.to_owned()), providers(&[native, copy]));
    let mut believed = Believed::default();
    believed.take(merge.drain());
    let [instance] = &believed.0[SVC][..] else {
        panic!("{:?}", believed.0);
    };
    assert_eq!(instance.weight, 1, "the copy is the younger one");
    assert!(!instance.metadata.keys().any(|key| key.starts_with("landfall-")));
}

#[test]
fn of_two_clusters_copies_that_one_is_seen_which_is_to_stay_however_old_it_is() {
    let copy = |cluster: &str, path: &str| {
        format!(
            "dubbo://h:1/org.x.Svc?landfall-cluster={cluster}&landfall-epoch=1&landfall-origin=a/org.x.Svc/h&landfall-path={path}"
        )
    };
    for (stays, goes) in [
        (copy("alpha", "a"), copy("beta", "a")),
        (copy("beta", "a"), copy("alpha", "a,b")),
        (copy("beta", "a,b"), copy("alpha", "a,c")),
    ] {
        for order in [[&*stays, &*goes], [&*goes, &*stays]] {
            let mut merge = Merge::default();
            merge.put(Folder::Interface(SVC.to_owned()), providers(&order));
            let mut believed = Believed::default();
            believed.take(merge.drain());
            let [instance] = &believed.0[SVC][..] else {
                panic!("{:?}", believed.0);
            };
            let (_, expected) = provider(&stays);
            assert_eq!(
                instance.metadata.get("landfall-cluster"),
                expected.metadata.get("landfall-cluster"),
                "{order:?}"
            );
        }
    }
}

#[test]
fn a_change_is_dated_by_the_node_that_made_it_and_a_removal_by_nothing() {
    let mut merge = Merge::default();
    let dated = |merge: &mut Merge, urls: &[&str]| {
        merge.put(Folder::Interface(SVC.to_owned()), providers(urls));
        match merge.drain().pop() {
            Some(Knowledge::Service { changed, .. }) => changed,
            other => panic!("{other:?}"),
        }
    };
    let (a, b) = ("dubbo://a:1/org.x.Svc", "dubbo://b:1/org.x.Svc");
    assert_eq!(dated(&mut merge, &[a]), at(1));
    assert_eq!(dated(&mut merge, &[a, b]), at(2));
    assert_eq!(dated(&mut merge, &[a]), None);
}

#[test]
fn the_list_of_unreadable_records_is_said_when_it_changes() {
    let mut merge = Merge::default();
    let folder = || Folder::Interface(SVC.to_owned());
    merge.put(folder(), providers(&["garbage", "dubbo://h:1/org.x.Svc"]));
    assert!(
        matches!(&merge.drain()[..], [Knowledge::Service { .. }, Knowledge::Unreadable(records)] if records.len() == 1)
    );
    merge.put(folder(), providers(&["garbage", "dubbo://h:1/org.x.Svc"]));
    assert_eq!(merge.drain(), [], "nothing new");
    merge.remove(&folder());
    assert!(
        matches!(&merge.drain()[..], [Knowledge::Gone { .. }, Knowledge::Unreadable(records)] if records.is_empty())
    );
}

/// What happens to a folder.
fn step() -> impl Strategy<Value = (bool, u8, Vec<(u8, u8)>, bool)> {
    (
        any::<bool>(),
        0u8..3,
        proptest::collection::vec((0u8..3, 0u8..3), 0..4),
        any::<bool>(),
    )
}

fn urls(interface: &str, instances: &[(u8, u8)]) -> Contribution {
    let children = instances.iter().map(|(host, version)| {
        let url = format!("dubbo://10.0.0.{host}:1/{interface}?version={version}&timestamp={version}{host}");
        (encode(&url).into(), at(u64::from(*host)))
    });
    interface::contribution(interface, &children.collect(), None)
}

proptest! {
    /// Whatever the order of changes and reports, what is believed is what the folders say.
    #[test]
    fn reports_add_up_to_the_tree(steps in proptest::collection::vec(step(), 1..30)) {
        let (mut merge, mut believed) = (Merge::default(), Believed::default());
        let mut tree: BTreeMap<String, Vec<(u8, u8)>> = BTreeMap::new();
        for (keep, number, instances, report) in steps {
            let interface = format!("org.x.S{number}");
            if keep {
                merge.put(Folder::Interface(interface.clone()), urls(&interface, &instances));
                tree.insert(interface, instances);
            } else {
                merge.remove(&Folder::Interface(interface.clone()));
                tree.remove(&interface);
            }
            if report {
                believed.take(merge.drain());
            }
        }
        believed.take(merge.drain());
        // A service that once was stays, empty, while its folder does.
        let empty = |name: &str, tree: &BTreeMap<String, Vec<(u8, u8)>>| tree.keys().any(|i| name.starts_with(&format!("{i}:")));
        let mut fresh = Merge::default();
        for (interface, instances) in &tree {
            fresh.put(Folder::Interface(interface.clone()), urls(interface, instances));
        }
        let mut expected = Believed::default();
        expected.take(fresh.drain());
        let names: Vec<Arc<str>> = believed.0.iter().filter(|(_, set)| set.is_empty()).map(|(name, _)| name.clone()).collect();
        for name in names {
            prop_assert!(empty(&name, &tree), "{} is empty and its folder is gone", name);
            believed.0.remove(&name);
        }
        prop_assert_eq!(believed, expected);
    }

    #[test]
    fn no_node_makes_the_conversion_panic(name in "\\PC{0,80}", data in proptest::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,80}") {
        let bare = format!("dubbo%3A%2F%2Fh%3A1%2F{text}");
        let names = [name, bare, encode(&format!("dubbo://h:1/org.x.Svc?{text}")), encode(&format!("dubbo://{text}"))];
        let children = names.into_iter().map(|name| (name.into(), None)).collect();
        let before = interface::contribution(SVC, &children, None);
        let _ = interface::contribution(SVC, &children, Some(&before));
        let app = App::new(&[("a", data.clone()), ("b", curator(1, json!({"dubbo.endpoints": text, "dubbo.metadata.revision": "r1"})))], None);
        let _ = app.contribution(None);
        let mut with_document = App::new(&[("b", curator(1, dubbo("r1", "remote")))], None);
        with_document.documents.insert("r1".to_owned(), Document::Data(data));
        let _ = with_document.contribution(None);
    }
}
