//! The election of the writer, in a real Consul and in a real ZooKeeper.

use std::time::Duration;

use landfall_adapters::election::{Election, Standing};
use landfall_config::{Config, RegistryConfig};
use landfall_tests::{estate::Estate, eventually};

use super::registry;

fn candidate(registry: &RegistryConfig, who: &str) -> Election {
    Election::start(registry, "test", who).expect("an election")
}

fn configured(spec: &str) -> RegistryConfig {
    let text = registry("lock", spec);
    let config: Config =
        landfall_config::load::load_text("election.yaml", std::path::Path::new("."), &text).expect("a configuration");
    config.registries.into_iter().next().expect("one registry")
}

async fn standing(election: &Election, what: &str, is: impl Fn(&Standing) -> bool) -> Standing {
    let mut standing = election.standing();
    let met = tokio::time::timeout(Duration::from_secs(60), standing.wait_for(|now| is(now))).await;
    match met {
        Ok(now) => now.expect("the election runs").clone(),
        Err(_) => panic!("{what}: {:?}", election.standing().borrow()),
    }
}

fn writes(standing: &Standing) -> bool {
    matches!(standing, Standing::Writer { .. })
}

fn epoch(standing: &Standing) -> u64 {
    match standing {
        Standing::Writer { epoch, .. } => *epoch,
        other => panic!("{other:?}"),
    }
}

/// One of two writes; the other knows who, and follows with a later epoch when the first resigns, crashes, or is cut off.
async fn one_at_a_time(estate: &Estate, part: &str, registry: &RegistryConfig) {
    let one = candidate(registry, "one");
    let first = epoch(&standing(&one, "the first is elected", writes).await);
    let two = candidate(registry, "two");
    standing(
        &two,
        "the second knows the first",
        |now| matches!(now, Standing::Candidate { holder: Some(who), .. } if who == "one"),
    )
    .await;
    assert!(one.permit().holds() && !two.permit().holds());

    let permit = one.permit();
    one.resign().await;
    assert!(!permit.holds(), "who has resigned writes no more");
    let second = epoch(&standing(&two, "the second follows", writes).await);
    assert!(second > first, "{second} after {first}");

    // A crash: nothing is given back, so the lock runs out first.
    let three = candidate(registry, "three");
    let crashed = two.permit();
    drop(two);
    let third = epoch(&standing(&three, "the third follows when the lock has run out", writes).await);
    assert!(third > second, "{third} after {second}");
    assert!(
        !crashed.holds(),
        "the permit of a dead writer has run out before the next one was elected"
    );

    estate.stop(part).await;
    standing(&three, "nobody writes when the lock cannot be confirmed", |now| {
        !writes(now)
    })
    .await;
    assert!(!three.permit().holds());
    estate.start(part).await;
    let again = epoch(&standing(&three, "it writes again when the lock can be taken again", writes).await);
    assert!(again > third, "{again} after {third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_is_elected_in_consul() {
    let estate = Estate::up(&["consul"]).await;
    let consul = estate.address("consul").await;
    let registry = configured(&format!("consul: {{ address: \"http://{consul}\" }}"));
    one_at_a_time(&estate, "consul", &registry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_is_elected_in_zookeeper() {
    let estate = Estate::up(&["zookeeper"]).await;
    let zookeeper = estate.address("zookeeper").await;
    let registry = configured(&format!("zookeeper: {{ address: \"{zookeeper}\" }}"));
    one_at_a_time(&estate, "zookeeper", &registry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_session_an_operator_destroys_stops_writing() {
    let estate = Estate::up(&["consul"]).await;
    let consul = estate.address("consul").await;
    let registry = configured(&format!("consul: {{ address: \"http://{consul}\" }}"));
    let one = candidate(&registry, "one");
    let first = epoch(&standing(&one, "it is elected", writes).await);
    let http = reqwest::Client::new();
    let sessions: serde_json::Value = http
        .get(format!("http://{consul}/v1/session/list"))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let id = sessions[0]["ID"].as_str().expect("a session").to_owned();
    let destroyed = http
        .put(format!("http://{consul}/v1/session/destroy/{id}"))
        .send()
        .await;
    assert!(destroyed.expect("an answer").status().is_success());
    eventually("it is elected again, with a later epoch", || async {
        match &*one.standing().borrow() {
            Standing::Writer { epoch, .. } if *epoch > first => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
