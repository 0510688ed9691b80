use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Each session takes the next step of the script; the last one stays open.
struct Scripted {
    steps: Vec<fn() -> RegistryError>,
    taken: AtomicUsize,
}

#[async_trait::async_trait]
impl Registry for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }
    fn address(&self) -> String {
        "nowhere:1".into()
    }
    async fn follow(&self, reports: &Reports) -> RegistryError {
        let step = self.taken.fetch_add(1, Ordering::SeqCst);
        reports.send(Knowledge::CaughtUp).await;
        match self.steps.get(step) {
            Some(step) => step(),
            None => std::future::pending().await,
        }
    }
}

fn not_ready() -> RegistryError {
    RegistryError::NotReady {
        address: "nowhere:1".into(),
        what: "starting".into(),
    }
}

fn start(steps: Vec<fn() -> RegistryError>) -> (mpsc::Receiver<SessionEvent>, tokio::task::JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(1);
    let taken = AtomicUsize::new(0);
    let registry = Arc::new(Scripted { steps, taken });
    let name = RegistryName::new("scripted").unwrap();
    (
        receiver,
        tokio::spawn(supervise(name, registry, sender, Default::default())),
    )
}

/// `o`pened, `k`nowledge, `e`nded; with what the end was called.
async fn next(events: &mut mpsc::Receiver<SessionEvent>) -> &'static str {
    match events.recv().await.expect("the supervisor goes on") {
        SessionEvent::Opened => "opened",
        SessionEvent::Said(_) => "said",
        SessionEvent::Ended { error, .. } => error.label(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_session_said_comes_before_its_end_and_then_another_begins() {
    let (mut events, _task) = start(vec![not_ready, not_ready]);
    for expected in [
        "opened",
        "said",
        "not_ready",
        "opened",
        "said",
        "not_ready",
        "opened",
        "said",
    ] {
        assert_eq!(next(&mut events).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_adapter_ends_its_session_only() {
    let (mut events, _task) = start(vec![|| panic!("an adapter's mistake")]);
    for expected in ["opened", "said", "malformed", "opened", "said"] {
        assert_eq!(next(&mut events).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_not_retried_before_half_a_minute() {
    let (mut events, _task) = start(vec![|| RegistryError::Denied {
        address: "nowhere:1".into(),
        what: "403".into(),
    }]);
    let begun = Instant::now();
    for expected in ["opened", "said", "denied", "opened"] {
        assert_eq!(next(&mut events).await, expected);
    }
    assert!(begun.elapsed() >= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_fails_for_an_hour_is_asked_often_enough_and_not_too_often() {
    let (mut events, task) = start(vec![not_ready; 10_000]);
    let end = Instant::now() + Duration::from_secs(3600);
    let mut attempts = 0;
    while Instant::now() < end {
        attempts += usize::from(next(&mut events).await == "opened");
    }
    task.abort();
    assert!((120..600).contains(&attempts), "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn the_supervisor_ends_when_nobody_listens() {
    let (events, task) = start(vec![]);
    drop(events);
    task.await.expect("it ends by itself");
}
