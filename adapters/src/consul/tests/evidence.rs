//! Half an answer removes nothing, and a good-bye leaves at once.

use super::*;

fn consul(address: &str) -> Arc<Consul> {
    let spec = json!({"address": address, "wait": "1s"});
    Arc::new(Consul::new(&serde_json::from_value(spec).unwrap()).unwrap())
}

async fn until(what: impl Fn() -> bool) {
    timeout(DEADLINE, async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

/// The session ends as not understood for a reason that names all of these.
async fn ends_as_half_an_answer(followed: Followed, names: &[&str]) {
    let error = followed.ended().await;
    let text = error.to_string();
    assert!(matches!(error, RegistryError::Malformed { .. }), "{error:?}");
    assert!(
        text.contains("half an answer") && names.iter().all(|name| text.contains(name)),
        "{text}"
    );
}

#[tokio::test]
async fn a_good_bye_that_health_and_catalog_agree_on_leaves_at_once_and_nothing_else_costs_a_look() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing"), ("b`c", "passing"), ("d", "passing")]);
    let mut followed = Followed::once_more(&consul(&address));
    followed.until_caught_up().await;
    world.set("orders", &[("a", "critical"), ("b`c", "passing"), ("d", "warning")]);
    assert_eq!(followed.line().await, "orders: a=critical b`c=passing d=warning");
    assert_eq!(world.asked("node-services"), 0);
    let since = std::time::Instant::now();
    world.set("orders", &[("a", "critical"), ("b`c", "passing")]);
    assert_eq!(followed.line().await, "orders: a=critical b`c=passing");
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!(world.asked("/v1/catalog/node-services/n1?filter=ID+%3D%3D+%60d%60"), 1);
    world.set("orders", &[("a", "critical")]);
    assert_eq!(followed.line().await, "orders: a=critical");
    let log = world.log.lock().unwrap().clone();
    assert!(
        log.iter().any(|(uri, _)| uri == "/v1/catalog/node-services/n1"),
        "an id that no filter can carry is looked for on the whole node"
    );
}

#[tokio::test]
async fn half_an_answer_that_the_catalog_contradicts_removes_nothing_in_this_session_nor_the_next() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing"), ("b", "passing")]);
    let consul = consul(&address);
    let mut followed = Followed::once_more(&consul);
    followed.until_caught_up().await;
    world.change(|script| script.lost = vec!["b"]);
    ends_as_half_an_answer(followed, &["n1/b", "/v1/catalog/node-services/n1"]).await;

    // A new session that reads half a list from the start has nothing to compare with but what was believed before.
    let mut followed = Followed::once_more(&consul);
    let said = timeout(DEADLINE, followed.inbox.recv()).await.unwrap();
    assert_eq!(said, None, "nothing is reported before it is believed");
    ends_as_half_an_answer(followed, &["n1/b", "/v1/catalog/node-services/n1"]).await;

    world.change(|script| script.lost.clear());
    let mut followed = Followed::once_more(&consul);
    assert_eq!(followed.until_caught_up().await, ["orders: a=passing b=passing"]);
    world.set("orders", &[("a", "passing")]);
    assert_eq!(
        followed.line().await,
        "orders: a=passing",
        "and a good-bye counts again"
    );
}

#[tokio::test]
async fn an_instance_that_is_back_at_the_second_look_never_left() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing"), ("b", "passing")]);
    let mut followed = Followed::once_more(&consul(&address));
    followed.until_caught_up().await;
    world.change(|script| script.lost = vec!["b"]);
    until(|| world.asked("node-services") > 0).await;
    world.change(|script| script.lost.clear());
    world.set("orders", &[("a", "critical"), ("b", "passing")]);
    assert_eq!(followed.line().await, "orders: a=critical b=passing");
}

#[tokio::test]
async fn fewer_instances_at_the_same_index_are_no_knowledge_and_the_next_session_believes_what_all_agree_on() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing"), ("b", "passing")]);
    let consul = consul(&address);
    let mut followed = Followed::once_more(&consul);
    followed.until_caught_up().await;
    // The catalog has lost it too, so only the index says that this is no good-bye.
    world.contradict(|script| drop(script.services.get_mut("orders").unwrap().pop()));
    ends_as_half_an_answer(followed, &["lacks n1/b", "index 11"]).await;
    assert_eq!(world.asked("node-services"), 0);
    let mut followed = Followed::once_more(&consul);
    assert_eq!(
        followed.until_caught_up().await,
        ["orders: a=passing"],
        "servers that were replaced count anew: their index says nothing about the former ones"
    );
    assert_eq!(world.asked("node-services"), 1);
}

#[tokio::test]
async fn services_asked_in_turn_need_the_same_evidence() {
    let (world, address) = World::start().await;
    for name in ["a", "b"] {
        world.set(name, &[("1", "passing"), ("2", "passing")]);
    }
    let mut followed = Followed::start(&address, |spec| spec["maxWatches"] = json!(1));
    followed.until_caught_up().await;
    world.change(|script| drop(script.services.get_mut("b").unwrap().pop()));
    assert_eq!(followed.line().await, "b: 1=passing");
    world.change(|script| script.lost = vec!["1"]);
    ends_as_half_an_answer(followed, &["lacks n1/1", "node-services/n1"]).await;
}

#[tokio::test]
async fn fewer_names_at_the_same_index_are_no_knowledge() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing")]);
    world.set("stock", &[("s", "passing")]);
    let mut followed = Followed::once_more(&consul(&address));
    followed.until_caught_up().await;
    world.contradict(|script| drop(script.services.remove("stock")));
    let error = followed.ended().await.to_string();
    // Whichever of the two queries is back first.
    assert!(error.contains("half an answer") && error.contains("stock"), "{error}");
}

#[tokio::test]
async fn a_name_that_the_first_listing_of_a_new_session_lacks_is_asked_for_before_it_has_caught_up() {
    let (world, address) = World::start().await;
    for name in ["kept", "gone", "orders"] {
        world.set(name, &[("1", "passing")]);
    }
    let consul = consul(&address);
    let mut followed = Followed::once_more(&consul);
    followed.until_caught_up().await;
    followed.session.abort();
    world.change(|script| {
        script.unlisted = vec!["kept".to_owned()];
        script.services.remove("gone");
    });
    let mut followed = Followed::once_more(&consul);
    assert_eq!(
        followed.until_caught_up().await,
        ["kept: 1=passing", "orders: 1=passing"],
        "of what is gone nothing is said, and having caught up says it"
    );
    world.set("kept", &[("1", "warning")]);
    assert_eq!(followed.line().await, "kept: 1=warning");
}

#[tokio::test]
async fn an_instance_that_our_rights_begin_to_hide_is_not_gone_and_the_error_names_the_right() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing"), ("b@n2", "passing")]);
    let consul = consul(&address);
    let mut followed = Followed::once_more(&consul);
    followed.until_caught_up().await;
    world.change(|script| script.hidden = vec!["n2"]);
    for followed in [followed, Followed::once_more(&consul)] {
        let error = followed.ended().await;
        assert!(
            matches!(&error, RegistryError::Denied { what, .. }
                if ["`b`", "`orders`", "`n2`", "node:read", "service:read", "consul.exclude"].iter().all(|part| what.contains(part))),
            "{error}"
        );
    }
    world.change(|script| script.hidden.clear());
    let mut followed = Followed::once_more(&consul);
    assert_eq!(followed.until_caught_up().await, ["orders: a=passing n2/b=passing"]);
}

#[tokio::test]
async fn a_token_that_always_sees_a_part_sees_instances_of_that_part_leave_to_the_last() {
    let (world, address) = World::start().await;
    world.change(|script| script.hidden = vec!["n9"]);
    world.set("orders", &[("a", "passing"), ("b@n2", "passing"), ("x@n9", "passing")]);
    let mut followed = Followed::once_more(&consul(&address));
    assert_eq!(followed.until_caught_up().await, ["orders: a=passing n2/b=passing"]);
    world.set("orders", &[("b@n2", "passing"), ("x@n9", "passing")]);
    assert_eq!(followed.line().await, "orders: n2/b=passing");
    world.set("orders", &[("x@n9", "passing")]);
    assert_eq!(followed.line().await, "orders:");
    world.set("orders", &[("c", "passing"), ("x@n9", "passing")]);
    assert_eq!(followed.line().await, "orders: c=passing");
}

#[tokio::test]
async fn what_changed_carries_the_time_it_was_heard_of_and_its_siblings_keep_theirs() {
    let (world, address) = World::start().await;
    world.set("orders", &[("a", "passing"), ("b", "passing")]);
    let consul = consul(&address);
    let mut followed = Followed::once_more(&consul);
    let times = async |followed: &mut Followed| loop {
        if let Knowledge::Service { instances, .. } = followed.next().await {
            break instances.iter().map(|instance| instance.changed).collect::<Vec<_>>();
        }
    };
    assert_eq!(
        times(&mut followed).await,
        [None, None],
        "what a session reads first has changed nobody knows when"
    );
    world.set("orders", &[("a", "passing"), ("b", "critical"), ("c", "passing")]);
    let second = times(&mut followed).await;
    assert!(
        second[0].is_none() && second[1].is_some() && second[1] == second[2],
        "{second:?}"
    );
    world.set("orders", &[("a", "critical"), ("b", "critical"), ("c", "passing")]);
    let third = times(&mut followed).await;
    assert!(third[0] > second[1] && third[1..] == second[1..], "{third:?}");
    followed.session.abort();
    world.set("orders", &[("a", "critical"), ("b", "critical"), ("c", "critical")]);
    let mut followed = Followed::once_more(&consul);
    assert_eq!(
        times(&mut followed).await,
        [third[0], third[1], None],
        "what did not change while nobody followed keeps its time"
    );
}
