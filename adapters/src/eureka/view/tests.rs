use landfall_config::kinds::registry::EurekaAddress;
use landfall_model::{Host, Status};

use super::*;
use crate::eureka::wire::{Format, PortField, read};

fn read(body: &[u8]) -> Applications {
    read::applications(body, Format::Json).unwrap()
}

fn full() -> View {
    View::of(read(include_bytes!("../testdata/full.json")), EurekaAddress::Ip)
}

fn instances(view: &View, name: &str) -> Vec<Instance> {
    match view.knowledge(&name.into()) {
        Knowledge::Service { instances, .. } => instances,
        _ => Vec::new(),
    }
}

fn info(id: &str, status: Status, action: Action, updated: i64) -> InstanceInfo {
    InstanceInfo {
        instance_id: id.to_owned(),
        app: "ORDERS".to_owned(),
        host_name: id.to_owned(),
        ip: "10.0.0.1".to_owned(),
        port: PortField {
            number: 80,
            enabled: true,
        },
        status: Some(status),
        action: Some(action),
        last_updated: updated,
        ..InstanceInfo::default()
    }
}

fn delta(instances: Vec<InstanceInfo>) -> Applications {
    Applications {
        applications: vec![Application {
            name: "ORDERS".to_owned(),
            instances,
            unreadable: Vec::new(),
        }],
        ..Applications::default()
    }
}

#[test]
fn a_full_fetch_becomes_services_in_lower_case_with_everything_kept() {
    let view = full();
    assert_eq!(
        view.names().map(|name| &**name).collect::<Vec<_>>(),
        ["orders", "stock"]
    );
    assert_eq!(view.disagreement(Some("DOWN_1_OUT_OF_SERVICE_1_UP_2_")), None);
    let orders = instances(&view, "orders");
    assert_eq!(orders[0].host, Host::parse("10.0.0.7"));
    assert_eq!(orders[0].zone.as_deref(), Some("a"));
    assert_eq!(orders[0].metadata.get("eureka.app").map(|app| &**app), Some("ORDERS"));
    assert_eq!(orders[0].changed, convert::time(1_700_000_000_000));
    assert_eq!(orders[1].status, Status::OutOfService);
    assert_eq!((orders[1].ports[0].number, orders[1].ports[0].tls), (8443, true));
    let stock = instances(&view, "stock");
    assert_eq!((stock[0].weight, stock[1].weight), (30, 1));
    assert_eq!(
        stock[0].metadata.get("eureka.vipAddress").map(|vip| &**vip),
        Some("stock,store")
    );
    let Knowledge::Service { changed, .. } = view.knowledge(&"stock".into()) else {
        panic!("stock is there")
    };
    assert_eq!(changed, convert::time(1_700_000_002_000));
}

#[test]
fn records_that_make_no_sense_are_quarantined_with_their_ids_and_counted_all_the_same() {
    let answer = read(include_bytes!("../testdata/bad-records.json"));
    let hash = answer.hash.clone();
    let view = View::of(answer, EurekaAddress::Ip);
    assert_eq!(
        view.disagreement(hash.as_deref()),
        None,
        "the server counted the bad ones too"
    );
    let Knowledge::Service {
        instances, quarantined, ..
    } = view.knowledge(&"orders".into())
    else {
        panic!("orders is there")
    };
    assert_eq!(instances.iter().map(|i| &*i.id).collect::<Vec<_>>(), ["good"]);
    let mut said: Vec<_> = quarantined
        .iter()
        .map(|q| (q.record.as_str(), q.reason.as_str()))
        .collect();
    said.sort_unstable();
    assert_eq!(said.len(), 4);
    assert!(said.iter().any(|(id, why)| *id == "no-app" && why.contains("`app`")));
    assert!(said.iter().any(|(id, why)| *id == "odd-port" && why.contains("65535")));
    assert!(said.iter().any(|(id, why)| *id == "nowhere" && why.contains("ipAddr")));
    assert!(
        quarantined
            .iter()
            .all(|record| record.service.as_deref() == Some("orders"))
    );
}

#[test]
fn half_a_list_disagrees_with_its_hash() {
    let view = full();
    let why = view.disagreement(Some("DOWN_1_OUT_OF_SERVICE_1_UP_9_")).unwrap();
    assert!(why.contains("UP_9_") && why.contains("UP_2_"), "{why}");
    assert!(view.disagreement(Some("")).is_some());
    assert_eq!(view.disagreement(None), None);
    assert_eq!(
        view.disagreement(Some("UP_2_OUT_OF_SERVICE_1_DOWN_1_")),
        None,
        "whatever the order"
    );
}

#[test]
fn of_two_records_with_one_id_the_first_is_kept() {
    let first = info("a", Status::Up, Action::Added, 1);
    let second = InstanceInfo {
        ip: "10.0.0.2".to_owned(),
        ..first.clone()
    };
    let view = View::of(delta(vec![first, second]), EurekaAddress::Ip);
    let Knowledge::Service {
        instances, quarantined, ..
    } = view.knowledge(&"orders".into())
    else {
        panic!("orders is there")
    };
    assert_eq!(instances[0].host, Host::parse("10.0.0.1"));
    assert!(quarantined[0].reason.contains("second"));
    assert_eq!(view.disagreement(Some("UP_1_")), None);
    assert_eq!(view.disagreement(Some("UP_2_")), None);
}

#[test]
fn a_delta_that_repeats_itself_changes_nothing_the_second_time() {
    let mut view = full();
    let change = || {
        delta(vec![
            info("h9", Status::Up, Action::Added, 1_700_000_009_000),
            info("h1:orders:8080", Status::Up, Action::Deleted, 1_700_000_009_000),
        ])
    };
    assert_eq!(view.apply(change()).into_iter().collect::<Vec<_>>(), ["orders".into()]);
    assert_eq!(view.disagreement(Some("DOWN_1_OUT_OF_SERVICE_1_UP_2_")), None);
    assert!(view.apply(change()).is_empty());
    let ids: Vec<_> = instances(&view, "orders").iter().map(|i| i.id.to_string()).collect();
    assert_eq!(ids, ["h2:orders:8443", "h9"]);
}

#[test]
fn the_last_instance_takes_its_service_along() {
    let mut view = full();
    let gone = |id: &str| info(id, Status::Up, Action::Deleted, 1_800_000_000_000);
    view.apply(delta(vec![gone("h1:orders:8080"), gone("h2:orders:8443")]));
    assert_eq!(
        view.knowledge(&"orders".into()),
        Knowledge::Gone { name: "orders".into() }
    );
}

#[test]
fn a_removal_is_when_the_service_changed() {
    let mut view = full();
    view.apply(delta(vec![info(
        "h1:orders:8080",
        Status::Up,
        Action::Deleted,
        1_800_000_000_000,
    )]));
    let Knowledge::Service { changed, .. } = view.knowledge(&"orders".into()) else {
        panic!("one instance is left")
    };
    assert_eq!(changed, convert::time(1_800_000_000_000));
}

#[test]
fn an_entry_older_than_what_is_known_is_passed_over() {
    let mut view = full();
    let old = vec![
        info("h1:orders:8080", Status::Down, Action::Modified, 1_600_000_000_000),
        info("h2:orders:8443", Status::Up, Action::Deleted, 1_600_000_000_000),
    ];
    assert!(view.apply(delta(old)).is_empty());
    assert_eq!(instances(&view, "orders").len(), 2);
}

#[test]
fn an_instance_that_becomes_unreadable_is_quarantined_under_its_id() {
    let mut view = full();
    let broken = InstanceInfo {
        app: String::new(),
        ..info("h1:orders:8080", Status::Up, Action::Modified, 1_800_000_000_000)
    };
    assert_eq!(view.apply(delta(vec![broken])).len(), 1);
    let Knowledge::Service { quarantined, .. } = view.knowledge(&"orders".into()) else {
        panic!("orders is there")
    };
    assert_eq!(quarantined[0].record, "h1:orders:8080");
    assert_eq!(view.disagreement(Some("DOWN_1_OUT_OF_SERVICE_1_UP_2_")), None);
}
