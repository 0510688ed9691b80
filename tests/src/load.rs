//! Steady requests in the background, bounded in number and time, with every failure kept.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

/// No load runs longer.
const LONGEST: Duration = Duration::from_secs(300);

/// Clients that call one URL in turn until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    figures: Arc<Figures>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Figures {
    done: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// `clients` callers, each with its own connection and a short pause between its calls.
    pub fn start(url: String, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let figures = Arc::new(Figures::default());
        let mut set = JoinSet::new();
        for _ in 0..clients {
            set.spawn(call(url.clone(), Arc::clone(&stop), Arc::clone(&figures)));
        }
        Self {
            stop,
            figures,
            clients: set,
        }
    }

    /// Calls answered so far, well or badly.
    pub fn done(&self) -> u64 {
        self.figures.done.load(Relaxed)
    }

    /// Waits until this many more calls are done.
    pub async fn at_least(&self, more: u64) {
        let goal = self.done() + more;
        crate::wait::eventually("the load goes on", || async {
            let done = self.done();
            if done >= goal {
                Ok(())
            } else {
                Err(format!("{done} of {goal} calls"))
            }
        })
        .await;
    }

    /// Stops and returns the number of calls and every failure.
    pub async fn stop(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Relaxed);
        while self.clients.join_next().await.is_some() {}
        let failures = self
            .figures
            .failures
            .lock()
            .map(|list| list.clone())
            .unwrap_or_default();
        (self.done(), failures)
    }

    /// Stops; panics if any call failed or hardly any was made.
    pub async fn stop_without_failure(self) -> u64 {
        let (done, failures) = self.stop().await;
        assert!(
            failures.is_empty(),
            "{} of {done} calls failed, first: {:?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
        assert!(done >= 10, "only {done} calls were made");
        done
    }
}

async fn call(url: String, stop: Arc<AtomicBool>, figures: Arc<Figures>) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .expect("client");
    let end = Instant::now() + LONGEST;
    while !stop.load(Relaxed) && Instant::now() < end {
        let began = Instant::now();
        let failure = match client.get(&url).send().await {
            Ok(answer) if answer.status().is_success() => {
                answer.bytes().await.err().map(|error| format!("body: {error:?}"))
            }
            Ok(answer) => Some(format!(
                "{} {}",
                answer.status(),
                answer.text().await.unwrap_or_default()
            )),
            Err(error) => Some(format!("{error:?}")),
        };
        figures.done.fetch_add(1, Relaxed);
        if let (Some(failure), Ok(mut list)) = (failure, figures.failures.lock()) {
            list.push(format!("after {:?}: {failure}", began.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
