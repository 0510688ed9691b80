//! Services without a blocking query of their own cost something only when something changes.

use super::*;

const NOBODY: &str = "filter=Node.Node";

/// Two watches, and this many services besides, all of them read and the first rounds over.
async fn at_rest(world: &World, address: &str, rest: usize) -> Followed {
    for number in 0..rest + 2 {
        world.set_alone(&format!("s{number:02}"), &[("i", "passing")]);
    }
    let mut followed = Followed::start(address, |spec| spec["maxWatches"] = json!(2));
    assert_eq!(followed.until_caught_up().await.len(), rest + 2);
    quiet(world, rest).await;
    followed
}

/// Until no round has gone by for a second: a look each second asks one of up to sixty.
async fn quiet(world: &World, rest: usize) {
    timeout(DEADLINE, async {
        loop {
            let before = world.asked(NOBODY);
            tokio::time::sleep(Duration::from_secs(1)).await;
            if before >= rest && world.asked(NOBODY) - before <= 2 {
                return;
            }
        }
    })
    .await
    .expect("it comes to rest");
}

/// Health answers with all they say.
fn read_in_full(world: &World) -> Vec<String> {
    let log = world.log.lock().unwrap();
    let full = log
        .iter()
        .map(|(uri, _)| uri)
        .filter(|uri| uri.contains("/health/service/") && !uri.contains("filter=") && !uri.contains("index="));
    full.map(|uri| uri.trim_start_matches("/v1/health/service/").to_owned())
        .collect()
}

#[tokio::test]
async fn a_change_is_seen_at_once_and_nothing_that_has_not_changed_is_read_again() {
    let (world, address) = World::start().await;
    let mut followed = at_rest(&world, &address, 38).await;
    let before = read_in_full(&world).len();
    for status in ["critical", "passing", "warning"] {
        let since = std::time::Instant::now();
        world.set_alone("s30", &[("i", status)]);
        assert_eq!(followed.line().await, format!("s30: i={status}"));
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    }
    assert_eq!(read_in_full(&world)[before..], ["s30"; 3]);
    world.set_alone("s99", &[("new", "passing")]);
    assert_eq!(followed.line().await, "s99: new=passing");
}

#[tokio::test]
async fn changes_without_end_are_seen_and_cost_a_bounded_number_of_rounds() {
    let (world, address) = World::start().await;
    let mut followed = at_rest(&world, &address, 38).await;
    let before = world.asked(NOBODY);
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        // Of a service with a watch: its status stays, the indexes of all move.
        world.set_alone("s00", &[("i", "passing")]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rounds = (world.asked(NOBODY) - before) / 38;
    assert!((1..=8).contains(&rounds), "{rounds} rounds in 2 s");
    world.set_alone("s31", &[("i", "critical")]);
    assert_eq!(followed.line().await, "s31: i=critical");
}

#[tokio::test]
async fn who_has_no_such_indexes_or_does_not_move_them_is_asked_all_the_same() {
    for tables in [0, 7] {
        let (world, address) = World::start().await;
        world.change(|script| script.tables = Some(tables));
        let mut followed = at_rest(&world, &address, 3).await;
        // As a change of a check: the catalog's index does not move.
        world.contradict(|script| {
            script.services.get_mut("s04").unwrap()[0]["Checks"][0]["Status"] = json!("critical");
            script.own.insert("s04".to_owned(), 4000);
        });
        assert_eq!(followed.line().await, "s04: i=critical", "tables at {tables}");
    }
}
