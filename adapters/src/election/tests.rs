use std::sync::Mutex;

use super::*;
use crate::publish::permit::now;

/// A lock that one holder has, as a real one would: it knows nothing of permits.
#[derive(Default)]
struct Shared {
    holder: Mutex<Option<String>>,
    taken: Mutex<u64>,
    reachable: Mutex<bool>,
}

struct Candidate {
    shared: Arc<Shared>,
    name: String,
    lasts: Duration,
}

#[async_trait::async_trait]
impl Lock for Candidate {
    async fn stand(&self, bench: &Bench) -> String {
        let mut epoch = 0;
        loop {
            let asked = now();
            if !*self.shared.reachable.lock().unwrap() {
                if epoch == 0 || bench.is_over() {
                    return "nobody answers".to_owned();
                }
            } else {
                let mut holder = self.shared.holder.lock().unwrap();
                match &*holder {
                    Some(name) if *name != self.name => {
                        if epoch > 0 {
                            return "another one has it".to_owned();
                        }
                        bench.waiting(Some(name.clone()));
                    }
                    known => {
                        if known.is_none() {
                            *self.shared.taken.lock().unwrap() += 1;
                            *holder = Some(self.name.clone());
                        }
                        epoch = *self.shared.taken.lock().unwrap();
                        bench.holds(asked, self.lasts, epoch);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn give_back(&self) {
        let mut holder = self.shared.holder.lock().unwrap();
        if holder.as_deref() == Some(&self.name) {
            *holder = None;
        }
    }
}

fn candidate(shared: &Arc<Shared>, name: &str) -> Election {
    let lock = Candidate {
        shared: shared.clone(),
        name: name.to_owned(),
        lasts: Duration::from_millis(200),
    };
    Election::run(Arc::new(lock), name.to_owned())
}

fn shared() -> Arc<Shared> {
    let shared = Arc::new(Shared::default());
    *shared.reachable.lock().unwrap() = true;
    shared
}

async fn until(election: &Election, what: impl FnMut(&Standing) -> bool) -> Standing {
    let mut standing = election.standing();
    let met = timeout(Duration::from_secs(10), standing.wait_for(what)).await;
    met.expect("in time").expect("the election runs").clone()
}

#[tokio::test]
async fn one_candidate_writes_and_the_other_knows_who() {
    let shared = shared();
    let one = candidate(&shared, "one");
    until(&one, |standing| matches!(standing, Standing::Writer { epoch: 1, .. })).await;
    let two = candidate(&shared, "two");
    until(
        &two,
        |standing| matches!(standing, Standing::Candidate { holder: Some(name), .. } if name == "one"),
    )
    .await;
    assert!(one.permit().holds());
    assert!(!two.permit().holds());
}

#[tokio::test]
async fn who_resigns_stops_writing_at_once_and_the_next_one_has_a_later_epoch() {
    let shared = shared();
    let one = candidate(&shared, "one");
    until(&one, |standing| matches!(standing, Standing::Writer { .. })).await;
    let two = candidate(&shared, "two");
    let permit = one.permit();
    one.resign().await;
    assert!(!permit.holds());
    let standing = until(&two, |standing| matches!(standing, Standing::Writer { .. })).await;
    assert!(matches!(standing, Standing::Writer { epoch: 2, .. }), "{standing:?}");
    assert!(two.permit().holds());
}

#[tokio::test]
async fn a_writer_that_nobody_answers_stops_by_itself() {
    let shared = shared();
    let one = candidate(&shared, "one");
    until(&one, |standing| matches!(standing, Standing::Writer { .. })).await;
    *shared.reachable.lock().unwrap() = false;
    let standing = until(&one, |standing| matches!(standing, Standing::Candidate { .. })).await;
    assert!(matches!(standing, Standing::Candidate { why: Some(why), .. } if why.contains("nobody answers")));
    assert!(!one.permit().holds());
}

#[tokio::test]
async fn without_an_election_this_process_writes() {
    let alone = Election::alone();
    assert_eq!(*alone.standing().borrow(), Standing::Alone);
    let permit = alone.permit();
    assert!(permit.holds());
    alone.resign().await;
    assert!(!permit.holds());
}
