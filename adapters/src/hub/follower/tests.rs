use std::sync::Mutex;

use landfall_model::{Instance, world::Session};

use super::{
    super::{Metrics, TcpProbe},
    *,
};
use crate::{Knowledge, RegistryError, Reports, connect};

/// Passes on what the test sends, session after session; a dropped sender ends the last one for good.
struct Relayed(tokio::sync::Mutex<mpsc::Receiver<Result<Knowledge, RegistryError>>>);

#[async_trait::async_trait]
impl Registry for Relayed {
    fn kind(&self) -> &'static str {
        "relayed"
    }
    fn address(&self) -> String {
        "nowhere:1".into()
    }
    async fn follow(&self, reports: &Reports) -> RegistryError {
        let mut script = self.0.lock().await;
        loop {
            match script.recv().await {
                Some(Ok(knowledge)) => reports.send(knowledge).await,
                Some(Err(error)) => return error,
                None => std::future::pending().await,
            }
        }
    }
}

struct Stage {
    script: mpsc::Sender<Result<Knowledge, RegistryError>>,
    world: watch::Receiver<Arc<World>>,
    metrics: Metrics,
    _handle: Handle,
}

async fn stage() -> Stage {
    let name = RegistryName::new("one").unwrap();
    let world = watch::Sender::default();
    let metrics = Metrics::default();
    let follower = Follower {
        name: name.clone(),
        kind: "relayed",
        address: String::new(),
        brake: connect::brake(&Default::default()),
        store: None,
        probe: Arc::new(TcpProbe),
        world: world.clone(),
        figures: metrics.of(&name),
        definitions: Default::default(),
        start: Instant::now(),
    };
    let handle = follower.start().await;
    let (script, relayed) = mpsc::channel(1000);
    handle
        .order(Order::Follow(Arc::new(Relayed(tokio::sync::Mutex::new(relayed)))))
        .await;
    Stage {
        script,
        world: world.subscribe(),
        metrics,
        _handle: handle,
    }
}

fn service(name: &str, changed: Option<SystemTime>, instances: Vec<Instance>) -> Result<Knowledge, RegistryError> {
    Ok(Knowledge::Service {
        name: name.into(),
        instances,
        quarantined: Vec::new(),
        changed,
    })
}

fn services(world: &World) -> usize {
    world.registries.values().map(|view| view.services.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn the_first_change_is_published_at_once_and_a_burst_at_most_every_20_ms() {
    let Stage { script, world, .. } = &mut stage().await;
    world.wait_for(|world| world.registries.len() == 1).await.unwrap();
    script.send(Ok(Knowledge::CaughtUp)).await.unwrap();
    world
        .wait_for(|world| world.registries.values().all(|view| view.is_ready()))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let seen = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let (mut watched, list) = (world.clone(), seen.clone());
    watched.mark_unchanged();
    let watcher = tokio::spawn(async move {
        while watched.changed().await.is_ok() {
            let count = services(&watched.borrow());
            list.lock().unwrap().push((begun.elapsed(), count));
        }
    });
    for n in 0..100 {
        script.send(service(&format!("s{n}"), None, Vec::new())).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.wait_for(|world| services(world) == 100).await.unwrap();
    watcher.abort();
    let seen = seen.lock().unwrap().clone();
    assert!(seen[0].0 < Duration::from_millis(3), "{seen:?}");
    assert!(
        seen.windows(2).all(|pair| pair[1].0 - pair[0].0 >= COALESCE),
        "{seen:?}"
    );
    assert!((4..=8).contains(&seen.len()), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_delay_from_the_registrys_own_clock_is_counted_once_it_is_live() {
    let Stage {
        script, world, metrics, ..
    } = &mut stage().await;
    let instance = |id: &str| Instance {
        id: id.into(),
        host: landfall_model::Host::parse("10.0.0.1"),
        ports: Vec::new(),
        status: landfall_model::Status::Up,
        weight: 100,
        zone: None,
        metadata: Default::default(),
        changed: None,
    };
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    script
        .send(service("orders", Some(long_ago), vec![instance("a")]))
        .await
        .unwrap();
    script.send(Ok(Knowledge::CaughtUp)).await.unwrap();
    world
        .wait_for(|world| world.registries.values().all(|view| view.is_ready()))
        .await
        .unwrap();
    let now = Some(SystemTime::now());
    script
        .send(service("orders", now, vec![instance("a"), instance("b")]))
        .await
        .unwrap();
    world
        .wait_for(|world| {
            world
                .registries
                .values()
                .any(|v| v.services["orders"].service.instances.len() == 2)
        })
        .await
        .unwrap();
    // The figures are written right after the world.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let mut text = String::new();
    metrics.render(&mut text);
    assert!(
        text.contains("change_delay_seconds_count{registry=\"one\"} 1\n"),
        "{text}"
    );
    assert!(
        text.contains("change_delay_seconds_bucket{registry=\"one\",le=\"60.000\"} 1\n"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shown_counted_and_followed_by_another_session() {
    let Stage {
        script, world, metrics, ..
    } = &mut stage().await;
    script.send(service("orders", None, Vec::new())).await.unwrap();
    script.send(Ok(Knowledge::CaughtUp)).await.unwrap();
    let error = RegistryError::NotReady {
        address: "nowhere:1".into(),
        what: "503".into(),
    };
    script.send(Err(error)).await.unwrap();
    let is_stale = |world: &World| {
        let told =
            |session: &Session| matches!(session, Session::Stale { why, .. } if why == "nowhere:1 is not ready: 503");
        world.registries.values().any(|view| told(&view.session))
    };
    world.wait_for(|world| is_stale(world)).await.unwrap();
    assert_eq!(services(&world.borrow()), 1);
    script.send(service("orders", None, Vec::new())).await.unwrap();
    script.send(Ok(Knowledge::CaughtUp)).await.unwrap();
    let is_live = |world: &World| {
        world
            .registries
            .values()
            .all(|v| matches!(v.session, Session::Live { .. }))
    };
    world.wait_for(|world| is_live(world)).await.unwrap();
    let mut text = String::new();
    metrics.render(&mut text);
    assert!(text.contains("sessions_total{registry=\"one\"} 2"), "{text}");
    assert!(
        text.contains("session_errors_total{registry=\"one\",error=\"not_ready\"} 1"),
        "{text}"
    );
}
