//! Host names of instances to addresses, looked up again and again.
//!
//! Only names of services in use are looked up (see [`Composed::names`](crate::compose::Composed::names)). A name keeps
//! its last addresses when a lookup fails: a name server that is down must not empty a cluster.
//!
//! Next on the path: [`admit`](crate::compose::admit), which turns addresses into endpoints.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// A name that has addresses is looked up again after this long.
pub const REFRESH: Duration = Duration::from_secs(30);

/// A name whose lookup failed is tried again after this long.
pub const RETRY: Duration = Duration::from_secs(5);

/// A lookup that takes longer has failed. Longer than the system resolver's own first time-out (5 s).
const PATIENCE: Duration = Duration::from_secs(8);

/// Lookups at once: each holds a thread of the blocking pool.
const AT_ONCE: usize = 32;

/// What is known of host names.
pub type Names = BTreeMap<Arc<str>, Lookup>;

/// What is known of one host name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The addresses of the last lookup that worked, sorted. Empty if none ever did.
    pub addresses: Vec<IpAddr>,
    /// Why the last lookup failed, if it did.
    pub error: Option<Arc<str>>,
}

/// Looks a name up. The system's resolver, unless a test stands in for it.
pub type LookUp = Arc<dyn Fn(Arc<str>) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The system's resolver: hosts file, DNS, whatever the host is set up for.
pub fn system() -> LookUp {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((&*name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// The addresses of a name, or why there are none.
type Outcome = Result<Vec<IpAddr>, Arc<str>>;

/// A name at work.
struct Entry {
    due: Instant,
    in_flight: bool,
}

/// Keeps `names` up to date for what is `wanted`. Ends when nobody wants or reads names any more.
pub async fn run(look_up: LookUp, mut wanted: watch::Receiver<BTreeSet<Arc<str>>>, names: watch::Sender<Names>) {
    let mut entries: BTreeMap<Arc<str>, Entry> = BTreeMap::new();
    let mut lookups: JoinSet<(Arc<str>, Outcome)> = JoinSet::new();
    take_up(&wanted.borrow_and_update(), &mut entries, &names);
    loop {
        let now = Instant::now();
        let mut waiting: Vec<(&Arc<str>, &mut Entry)> = entries
            .iter_mut()
            .filter(|(_, e)| !e.in_flight && e.due <= now)
            .collect();
        // The one that has waited longest first, so that none starves behind a slow name server.
        waiting.sort_by_key(|(_, entry)| entry.due);
        for (name, entry) in waiting {
            if lookups.len() >= AT_ONCE {
                break;
            }
            entry.in_flight = true;
            let (name, look_up) = (name.clone(), look_up.clone());
            lookups.spawn(async move {
                let result = look(&look_up, &name).await;
                (name, result)
            });
        }
        let next = entries.values().filter(|e| !e.in_flight).map(|e| e.due).min();
        // With every slot taken the end of a lookup is what to wait for.
        let next = next.filter(|_| lookups.len() < AT_ONCE);
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                take_up(&wanted.borrow_and_update(), &mut entries, &names);
            }
            () = names.closed() => return,
            Some(done) = lookups.join_next() => {
                // A lookup that panicked or was cancelled has no name to tell; nothing of ours does either.
                let Ok((name, result)) = done else { continue };
                let Some(entry) = entries.get_mut(&name) else { continue };
                entry.in_flight = false;
                entry.due = Instant::now() + if result.is_ok() { REFRESH } else { RETRY };
                keep(&names, name, result);
            }
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
}

/// Starts with names that are new and forgets those that nobody wants.
fn take_up(wanted: &BTreeSet<Arc<str>>, entries: &mut BTreeMap<Arc<str>, Entry>, names: &watch::Sender<Names>) {
    let due = Instant::now();
    entries.retain(|name, _| wanted.contains(name));
    for name in wanted {
        entries.entry(name.clone()).or_insert(Entry { due, in_flight: false });
    }
    names.send_if_modified(|names| {
        let before = names.len();
        names.retain(|name, _| wanted.contains(name));
        names.len() != before
    });
}

async fn look(look_up: &LookUp, name: &Arc<str>) -> Outcome {
    match timeout(PATIENCE, look_up(name.clone())).await {
        Ok(Ok(mut addresses)) if !addresses.is_empty() => {
            addresses.sort_unstable();
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Ok(_)) => Err("the resolver returned no address".into()),
        Ok(Err(error)) => Err(error.to_string().into()),
        Err(_) => Err(format!("the resolver did not answer within {} s", PATIENCE.as_secs()).into()),
    }
}

/// Publishes a result if it says anything new.
fn keep(names: &watch::Sender<Names>, name: Arc<str>, result: Outcome) {
    if let Err(why) = &result {
        tracing::debug!(%name, %why, "host name not resolved");
    }
    names.send_if_modified(|names| {
        let known = names.entry(name).or_default();
        let now = match result {
            Ok(addresses) => Lookup { addresses, error: None },
            Err(why) => Lookup {
                addresses: known.addresses.clone(),
                error: Some(why),
            },
        };
        let news = *known != now;
        *known = now;
        news
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    type Answers = Arc<Mutex<BTreeMap<&'static str, Vec<IpAddr>>>>;

    /// A name server that answers what the table says, and fails for everything else.
    fn table() -> (LookUp, Answers) {
        let table = Answers::default();
        let answers = table.clone();
        let look_up: LookUp = Arc::new(move |name| {
            let answer = answers.lock().unwrap().get(&*name).cloned();
            Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such name")) })
        });
        (look_up, table)
    }

    fn wanted(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_keeps_its_addresses_while_lookups_fail_and_takes_new_ones_when_they_work() {
        let (look_up, table) = table();
        table
            .lock()
            .unwrap()
            .insert("h1", vec!["10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap()]);
        let (want, wants) = watch::channel(wanted(&["h1"]));
        let (sender, mut names) = watch::channel(Names::new());
        let task = tokio::spawn(run(look_up, wants, sender));

        let both: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        names
            .wait_for(|n| n.get("h1").is_some_and(|l| l.addresses == both && l.error.is_none()))
            .await
            .unwrap();

        table.lock().unwrap().clear();
        names
            .wait_for(|n| n.get("h1").is_some_and(|l| l.error.is_some()))
            .await
            .unwrap();
        assert_eq!(names.borrow()["h1"].addresses, both);

        let failed_at = Instant::now();
        table.lock().unwrap().insert("h1", vec!["10.0.0.3".parse().unwrap()]);
        names
            .wait_for(|n| n["h1"].addresses == ["10.0.0.3".parse::<IpAddr>().unwrap()])
            .await
            .unwrap();
        assert!(failed_at.elapsed() <= RETRY + Duration::from_millis(10));

        drop(want);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_hangs_delays_its_name_alone() {
        let look_up: LookUp = Arc::new(|name| {
            Box::pin(async move {
                if &*name == "slow" {
                    std::future::pending::<()>().await;
                }
                Ok(vec!["10.0.0.1".parse().unwrap()])
            })
        });
        let (_want, wants) = watch::channel(wanted(&["quick", "slow"]));
        let (sender, mut names) = watch::channel(Names::new());
        tokio::spawn(run(look_up, wants, sender));
        names.wait_for(|n| n.contains_key("quick")).await.unwrap();
        assert!(!names.borrow().contains_key("slow"));
        names
            .wait_for(|n| n.get("slow").is_some_and(|l| l.error.is_some()))
            .await
            .unwrap();
        assert!(names.borrow()["slow"].addresses.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn names_nobody_wants_any_more_are_forgotten() {
        let (look_up, table) = table();
        table.lock().unwrap().extend([
            ("a", vec!["10.0.0.1".parse().unwrap()]),
            ("b", vec!["10.0.0.2".parse().unwrap()]),
        ]);
        let (want, wants) = watch::channel(wanted(&["a", "b"]));
        let (sender, mut names) = watch::channel(Names::new());
        tokio::spawn(run(look_up, wants, sender));
        names.wait_for(|n| n.len() == 2).await.unwrap();
        want.send(wanted(&["b"])).unwrap();
        names.wait_for(|n| n.len() == 1 && n.contains_key("b")).await.unwrap();
    }
}
