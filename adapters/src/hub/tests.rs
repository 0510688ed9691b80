use std::{collections::BTreeSet, path::Path, time::Duration};

use landfall_config::kinds::registry::{
    EmbeddedListener, EmbeddedSpec, FileSpec, RegistrySpec, StaticInstance, StaticService, StaticSpec,
};
use landfall_model::{Freshness, RegistryView, world::Session};

use super::*;
use crate::brake::Probed;

/// Finds every instance dead or alive.
struct Finds(Probed);

#[async_trait::async_trait]
impl Probe for Finds {
    async fn probe(&self, _: &landfall_model::Instance) -> Probed {
        self.0
    }
}

fn name(name: &str) -> RegistryName {
    RegistryName::new(name).unwrap()
}

fn listed(registry: &str, services: &[(&str, &[&str])]) -> RegistryConfig {
    let services = services.iter().map(|(name, instances)| StaticService {
        name: (*name).to_owned(),
        instances: instances
            .iter()
            .map(|i| StaticInstance::Address((*i).to_owned()))
            .collect(),
    });
    let listed = StaticSpec {
        services: services.collect(),
    };
    RegistryConfig {
        name: name(registry),
        spec: RegistrySpec {
            static_: Some(listed),
            ..RegistrySpec::default()
        },
        base: PathBuf::new(),
    }
}

fn file(registry: &str, path: &Path) -> RegistryConfig {
    RegistryConfig {
        name: name(registry),
        spec: RegistrySpec {
            file: Some(FileSpec { path: path.to_owned() }),
            ..RegistrySpec::default()
        },
        base: PathBuf::new(),
    }
}

fn hub(data_dir: Option<&Path>, probe: Probed) -> Hub {
    Hub::start(HubOptions {
        data_dir: data_dir.map(Path::to_owned),
        probe: Some(Arc::new(Finds(probe))),
        ..HubOptions::default()
    })
}

/// Waits until the world is as wanted; shows it if that takes too long.
async fn wait(hub: &Hub, wanted: impl Fn(&World) -> bool) -> Arc<World> {
    let mut world = hub.world();
    let found = tokio::time::timeout(Duration::from_secs(60), world.wait_for(|world| wanted(world))).await;
    match found {
        Ok(world) => world.expect("the hub lives").clone(),
        Err(_) => panic!("the world stays {:#?}", hub.world().borrow()),
    }
}

fn view<'a>(world: &'a World, registry: &str) -> Option<&'a RegistryView> {
    world.registries.get(registry).map(Arc::as_ref)
}

fn is_live(world: &World, registry: &str) -> bool {
    view(world, registry).is_some_and(|view| matches!(view.session, Session::Live { .. }))
}

fn ids(world: &World, registry: &str) -> BTreeSet<String> {
    let services = view(world, registry)
        .into_iter()
        .flat_map(|view| view.services.values());
    services
        .flat_map(|s| s.service.instances.iter().map(|i| i.id.to_string()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn several_registries_meet_in_one_world() {
    let hub = hub(None, Probed::Unknown);
    let errors = hub
        .set_registries(vec![
            listed("one", &[("orders", &["10.0.0.1:80"])]),
            listed("two", &[("orders", &["10.0.0.2:80"]), ("stock", &[])]),
        ])
        .await;
    assert!(errors.is_empty());
    assert_eq!(hub.world().borrow().registries.len(), 2, "both are there at once");
    let world = wait(&hub, |world| is_live(world, "one") && is_live(world, "two")).await;
    assert_eq!(ids(&world, "two"), ["10.0.0.2:80".to_owned()].into());
    assert_eq!(view(&world, "two").unwrap().services.len(), 2);
    assert_eq!(view(&world, "two").unwrap().kind, "static");
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_registry_keeps_its_session_and_a_missing_one_vanishes() {
    let hub = hub(None, Probed::Unknown);
    let one = listed("one", &[("orders", &["10.0.0.1:80"])]);
    hub.set_registries(vec![one.clone(), listed("two", &[])]).await;
    let before = wait(&hub, |world| is_live(world, "one") && is_live(world, "two")).await;
    let mut same_session = one.clone();
    same_session.spec.priority = 5;
    hub.set_registries(vec![same_session]).await;
    let after = wait(&hub, |world| world.registries.len() == 1).await;
    assert!(Arc::ptr_eq(&before.registries["one"], &after.registries["one"]));
    let mut text = String::new();
    hub.metrics().render(&mut text);
    assert!(
        text.contains("landfall_registry_sessions_total{registry=\"one\"} 1"),
        "{text}"
    );
    assert!(!text.contains("registry=\"two\""));
}

#[tokio::test(start_paused = true)]
async fn a_changed_list_is_believed_at_once() {
    let hub = hub(None, Probed::Answers);
    hub.set_registries(vec![listed("one", &[("orders", &["10.0.0.1:80", "10.0.0.2:80"])])])
        .await;
    wait(&hub, |world| ids(world, "one").len() == 2).await;
    hub.set_registries(vec![listed("one", &[("orders", &["10.0.0.3:80"])])])
        .await;
    let expected = BTreeSet::from(["10.0.0.3:80".to_owned()]);
    wait(&hub, |world| is_live(world, "one") && ids(world, "one") == expected).await;
}

#[tokio::test]
async fn a_changed_registry_keeps_its_services_stale_until_the_new_one_has_caught_up() {
    let directory = tempfile::tempdir().unwrap();
    let hub = hub(None, Probed::Answers);
    hub.set_registries(vec![listed("one", &[("orders", &["10.0.0.1:80"])])])
        .await;
    wait(&hub, |world| is_live(world, "one")).await;
    let path = directory.path().join("services.yaml");
    hub.set_registries(vec![file("one", &path)]).await;
    let world = wait(&hub, |world| {
        view(world, "one").is_some_and(|v| {
            v.kind == "file" && matches!(&v.session, Session::Stale { why, .. } if why.contains("no answer"))
        })
    })
    .await;
    let orders = &view(&world, "one").unwrap().services["orders"];
    assert!(matches!(&orders.freshness, Freshness::Stale { why, .. } if why.contains("configuration has changed")));
    std::fs::write(
        &path,
        "services: [{ name: orders, instances: ['10.0.0.1:80', '10.0.0.2:80'] }]",
    )
    .unwrap();
    let world = wait(&hub, |world| is_live(world, "one")).await;
    assert_eq!(ids(&world, "one").len(), 2);
}

#[tokio::test]
async fn a_start_with_the_registry_down_serves_from_the_last_good_view() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yaml");
    std::fs::write(&path, "services: [{ name: orders, instances: ['10.0.0.1:80'] }]").unwrap();
    let first = hub(Some(directory.path()), Probed::Answers);
    first.set_registries(vec![file("one", &path)]).await;
    wait(&first, |world| is_live(world, "one")).await;
    first.shutdown().await;

    std::fs::remove_file(&path).unwrap();
    let second = hub(Some(directory.path()), Probed::Answers);
    second.set_registries(vec![file("one", &path)]).await;
    let at_once = second.world().borrow().clone();
    let one = view(&at_once, "one").unwrap();
    assert!(one.is_ready() && one.last_good.is_some());
    assert!(
        matches!(&one.services["orders"].freshness, Freshness::Stale { why, .. } if why.contains("last good view"))
    );
    wait(&second, |world| {
        matches!(view(world, "one").unwrap().session, Session::Stale { .. })
    })
    .await;

    // It comes back with another instance, and the one that still answers is held.
    std::fs::write(&path, "services: [{ name: orders, instances: ['10.0.0.2:80'] }]").unwrap();
    let world = wait(&second, |world| is_live(world, "one")).await;
    assert_eq!(ids(&world, "one").len(), 2);
    assert_eq!(&*view(&world, "one").unwrap().holds[0].instances[0], "10.0.0.1:80");
}

#[tokio::test]
async fn what_is_held_goes_when_the_probe_fails() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("services.yaml");
    std::fs::write(
        &path,
        "services: [{ name: orders, instances: ['10.0.0.1:80', '10.0.0.2:80'] }]",
    )
    .unwrap();
    let hub = hub(None, Probed::Fails);
    hub.set_registries(vec![file("one", &path)]).await;
    wait(&hub, |world| is_live(world, "one")).await;
    std::fs::write(&path, "services: [{ name: orders, instances: [] }]").unwrap();
    wait(&hub, |world| {
        view(world, "one").is_some_and(|view| !view.holds.is_empty())
    })
    .await;
    let world = wait(&hub, |world| ids(world, "one").is_empty()).await;
    assert!(view(&world, "one").unwrap().holds.is_empty());
}

#[tokio::test]
async fn the_last_good_view_is_written_while_running_and_not_only_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let hub = hub(Some(directory.path()), Probed::Unknown);
    hub.set_registries(vec![listed("one", &[("orders", &["10.0.0.1:80"])])])
        .await;
    let saved = directory.path().join("last-good/one.json");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(&saved).is_ok_and(|text| text.contains("10.0.0.1:80")) {
        assert!(std::time::Instant::now() < deadline, "it is not written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_last_good_view_that_cannot_be_written_is_counted_and_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("last-good"), "a file in the way").unwrap();
    let hub = hub(Some(directory.path()), Probed::Unknown);
    hub.set_registries(vec![listed("one", &[("orders", &["10.0.0.1:80"])])])
        .await;
    wait(&hub, |world| is_live(world, "one")).await;
    hub.shutdown().await;
    let mut text = String::new();
    hub.metrics().render(&mut text);
    assert!(!text.contains("last_good_errors_total{registry=\"one\"} 0"), "{text}");
}

#[tokio::test]
async fn a_registry_that_cannot_be_made_is_reported_and_shown_and_does_not_hurt_the_others() {
    let hub = hub(None, Probed::Unknown);
    let nothing = RegistryConfig {
        name: name("nothing"),
        spec: RegistrySpec::default(),
        base: PathBuf::new(),
    };
    let errors = hub.set_registries(vec![nothing, listed("one", &[])]).await;
    assert_eq!(
        errors.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["nothing"]
    );
    let world = wait(&hub, |world| {
        let is_shown =
            |v: &RegistryView| matches!(&v.session, Session::Stale { why, .. } if why.contains("names no registry"));
        is_live(world, "one") && view(world, "nothing").is_some_and(is_shown)
    })
    .await;
    assert!(!view(&world, "nothing").unwrap().is_ready());
}

fn embedded(registry: &str, address: &str) -> RegistryConfig {
    let eureka = EmbeddedListener {
        address: address.to_owned(),
    };
    RegistryConfig {
        name: name(registry),
        spec: RegistrySpec {
            embedded: Some(EmbeddedSpec {
                eureka: Some(eureka),
                ..EmbeddedSpec::default()
            }),
            ..RegistrySpec::default()
        },
        base: PathBuf::new(),
    }
}

#[tokio::test]
async fn a_registry_whose_port_is_in_use_is_reported_and_made_when_the_port_is_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let hub = hub(None, Probed::Unknown);
    let errors = hub.set_registries(vec![embedded("own", &address)]).await;
    assert!(
        matches!(&errors[..], [(_, ConnectError::Bind { address: told, .. })] if *told == address),
        "{errors:?}"
    );
    wait(&hub, |world| matches!(&view(world, "own").unwrap().session, Session::Stale { why, .. } if why.contains("cannot listen"))).await;
    drop(taken);
    wait(&hub, |world| is_live(world, "own")).await;
}

#[tokio::test]
async fn a_port_can_move_from_one_registry_to_another() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let hub = hub(None, Probed::Unknown);
    assert!(hub.set_registries(vec![embedded("a", &free)]).await.is_empty());
    wait(&hub, |world| is_live(world, "a")).await;
    assert!(hub.set_registries(vec![embedded("b", &free)]).await.is_empty());
    wait(&hub, |world| is_live(world, "b") && view(world, "a").is_none()).await;
}
