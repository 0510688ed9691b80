//! One planner, one world: the rules one by one.

use super::*;

fn mesh() -> Bench {
    let mut bench = Bench::new(&["a", "b", "c"], &between(&["a", "b", "c"]));
    bench.add("a", "orders", instance("o1", "10.0.0.1:80"));
    bench
}

#[test]
fn a_full_mesh_writes_each_record_once_into_each_other_registry_and_rests() {
    let mut bench = mesh();
    bench.add("b", "stock", instance("s1", "10.0.0.2:80"));
    assert_eq!(bench.converge(), 4);
    assert_eq!(bench.copies("a"), ["stock@10.0.0.2:80 b"]);
    assert_eq!(bench.copies("b"), ["orders@10.0.0.1:80 a"]);
    assert_eq!(bench.copies("c"), ["orders@10.0.0.1:80 a", "stock@10.0.0.2:80 b"]);
    let plan = bench.plan();
    assert!(plan.targets.values().all(|of_target| of_target.is_idle()));
    assert_eq!(
        serde_json::to_value(&plan).unwrap()["targets"]["c"]["kept"],
        serde_json::json!(2)
    );
}

#[test]
fn a_change_is_a_change_and_an_origin_that_is_gone_takes_its_copies_along() {
    let mut bench = mesh();
    bench.converge();
    let mut moved = instance("o1", "10.0.0.1:80");
    moved.status = Status::OutOfService;
    bench.add("a", "orders", moved);
    let plan = bench.plan();
    assert_eq!(plan.targets[&name("b")].changes.len(), 1);
    assert_eq!(bench.execute(&plan), 2);
    bench.remove("a", "o1");
    assert_eq!(bench.converge(), 2);
    assert!(bench.copies("b").is_empty() && bench.copies("c").is_empty());
}

#[test]
fn a_native_record_of_the_same_address_wins_whatever_the_case_of_its_name() {
    let mut bench = mesh();
    bench.add("b", "ORDERS", instance("native", "10.0.0.1:80"));
    bench.add("c", "orders", instance("other", "10.0.0.9:80"));
    bench.converge();
    assert!(bench.copies("b").is_empty());
    // Both say the same to c: it gets one, by the smaller path.
    assert_eq!(bench.copies("c"), ["orders@10.0.0.1:80 a"]);
    let plan = bench.plan();
    let left_out = &plan.targets[&name("b")].left_out[0];
    assert_eq!((left_out.why, &*left_out.of), (LeftOutWhy::Native, "orders.a"));
}

#[test]
fn same_name_with_another_protocol_is_a_conflict_and_the_native_stays_alone() {
    let mut bench = Bench::new(&["a", "b"], &between(&["a", "b"]));
    let mut dubbo = instance("o1", "10.0.0.1:20880");
    dubbo.ports[0].protocol = Protocol::Dubbo;
    let mut http = instance("n1", "10.0.0.2:80");
    http.ports[0].protocol = Protocol::Http;
    bench.add("a", "orders", dubbo);
    bench.add("b", "orders", http);
    assert_eq!(bench.converge(), 0);
    for target in ["a", "b"] {
        let conflicts = &bench.plan().targets[&name(target)].conflicts;
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].kind, ConflictKind::Protocol);
    }
}

#[test]
fn names_that_differ_by_case_alone_do_not_share_a_target() {
    let mut bench = Bench::new(
        &["a", "b", "c"],
        &[sync("s", json!({ "from": ["a", "b"], "to": ["c"] }))],
    );
    bench.add("a", "orders", instance("1", "10.0.0.1:80"));
    bench.add("b", "Orders", instance("2", "10.0.0.2:80"));
    bench.converge();
    assert_eq!(bench.copies("c"), ["orders@10.0.0.1:80 a"]);
    let plan = bench.plan();
    let conflict = &plan.targets[&name("c")].conflicts[0];
    assert_eq!((conflict.kind, &*conflict.of), (ConflictKind::Case, "Orders.b"));
    assert_eq!(conflict.mend, "call it `orders` by `rename`, or exclude it");
}

#[test]
fn two_services_that_become_one_name_are_a_conflict_and_the_first_has_it() {
    let spec = json!({ "from": ["a"], "to": ["b"], "rename": { "names": { "old": "orders" } } });
    let mut bench = Bench::new(&["a", "b"], &[sync("s", spec)]);
    bench.add("a", "old", instance("1", "10.0.0.1:80"));
    bench.add("a", "orders", instance("2", "10.0.0.2:80"));
    bench.converge();
    assert_eq!(bench.copies("b"), ["orders@10.0.0.1:80 a"]);
    assert_eq!(bench.plan().targets[&name("b")].conflicts[0].kind, ConflictKind::Names);
}

#[test]
fn edges_rename_relabel_select_and_chain() {
    let syncs = [
        sync(
            "one",
            json!({
                "from": ["a"], "to": ["b"],
                "services": { "include": ["shop-*"], "exclude": ["*-internal"] },
                "instances": { "metadata": { "version": "2*" } },
                "rename": { "prefix": "x-" },
                "labels": { "set": { "by": "sync" }, "remove": ["version"] },
            }),
        ),
        sync(
            "two",
            json!({ "from": ["b"], "to": ["c"], "rename": { "suffix": "-y" } }),
        ),
    ];
    let mut bench = Bench::new(&["a", "b", "c"], &syncs);
    for (id, service, version) in [
        ("1", "shop-web", "2.1"),
        ("2", "shop-web", "1.9"),
        ("3", "shop-internal", "2.0"),
        ("4", "stock", "2.0"),
    ] {
        let mut instance = instance(id, &format!("10.0.0.{id}:80"));
        instance.metadata.insert("version".into(), version.into());
        bench.add("a", service, instance);
    }
    bench.converge();
    assert_eq!(bench.copies("b"), ["x-shop-web@10.0.0.1:80 a"]);
    assert_eq!(bench.copies("c"), ["x-shop-web-y@10.0.0.1:80 a,b"]);
    let copy = bench.registries[&name("c")].values().next().unwrap();
    assert_eq!(copy.metadata.get("by").map(|v| &**v), Some("sync"));
    assert!(!copy.metadata.contains_key("version"));
}

#[test]
fn through_a_gateway_one_record_stands_for_the_service() {
    let spec = json!({
        "from": ["a"], "to": ["b", "c"],
        "address": { "host": "10.9.9.9", "ports": { "http": 8080 } },
        "targets": [{ "registry": "c", "address": "instance" }],
    });
    let mut bench = Bench::new(&["a", "b", "c"], &[sync("s", spec.clone())]);
    for (id, status) in [("1", Status::Down), ("2", Status::Up), ("3", Status::Up)] {
        let mut instance = instance(id, &format!("10.0.0.{id}:80"));
        instance.status = status;
        instance.metadata.insert("id".into(), id.into());
        instance.metadata.insert("same".into(), "yes".into());
        bench.add("a", "orders", instance);
    }
    let mut dubbo = instance("4", "10.0.0.4:20880");
    dubbo.ports[0].protocol = Protocol::Dubbo;
    bench.add("a", "rpc", dubbo);
    bench.converge();
    assert_eq!(bench.copies("b"), ["orders@10.9.9.9:8080 a"]);
    assert_eq!(bench.copies("c").len(), 4);
    let copy = bench.registries[&name("b")].values().next().unwrap();
    assert_eq!(copy.status, Status::Up);
    assert!(copy.metadata.contains_key("same") && !copy.metadata.contains_key("id"));
    assert_eq!(bench.plan().targets[&name("b")].left_out[0].why, LeftOutWhy::NoPort);
    // While one of them is left the record stays; then it goes.
    for (id, copies) in [("1", 1), ("2", 1), ("3", 0)] {
        bench.remove("a", id);
        bench.converge();
        assert_eq!(bench.copies("b").len(), copies, "after {id}");
    }
}

#[test]
fn nothing_is_added_before_the_target_has_caught_up() {
    let mut bench = mesh();
    let mut world = bench.world();
    let view = world.registries.get_mut(&name("b")).unwrap();
    Arc::make_mut(view).caught_up = None;
    let plan = bench.planner.plan(&Input {
        world: &world,
        cluster: &"c1".into(),
        epoch: 1,
        shape: &|_, record| Some(plain(record)),
        memory: &BTreeMap::new(),
    });
    let b = &plan.targets[&name("b")];
    assert!(b.additions.is_empty());
    assert_eq!((b.held[0].why, b.held[0].action), (HeldWhy::TargetNotReady, "add"));
    assert_eq!(plan.targets[&name("c")].additions.len(), 1);
}

#[test]
fn nothing_is_removed_while_source_or_target_is_not_live() {
    for (registry, why) in [("a", HeldWhy::SourceNotReady), ("b", HeldWhy::TargetNotReady)] {
        let mut bench = mesh();
        bench.converge();
        bench.remove("a", "o1");
        bench.sessions.insert(name(registry), stale());
        let plan = bench.plan();
        let b = &plan.targets[&name("b")];
        assert!(b.removals.is_empty(), "{registry}");
        assert_eq!((b.held[0].why, b.held[0].action), (why, "remove"));
        bench.sessions.clear();
        assert_eq!(bench.plan().targets[&name("b")].removals.len(), 1);
    }
}

#[test]
fn a_mass_removal_waits_for_a_later_plan_that_says_the_same() {
    let mut bench = Bench::new(&["a", "b"], &between(&["a", "b"]));
    for n in 1..=5 {
        bench.add("a", "orders", instance(&n.to_string(), &format!("10.0.0.{n}:80")));
    }
    bench.converge();
    for gone in ["1", "2"] {
        bench.remove("a", gone);
    }
    assert_eq!(bench.converge(), 2);
    for gone in ["3", "4", "5"] {
        bench.remove("a", gone);
    }
    let plan = bench.plan();
    let b = &plan.targets[&name("b")];
    assert!(b.removals.is_empty());
    let held: BTreeSet<Key> = b.held.iter().map(|held| held.key.clone()).collect();
    assert!(held.len() == 3 && b.held.iter().all(|held| held.why == HeldWhy::MassRemoval));
    bench.memory.get_mut(&name("b")).unwrap().confirmed = held;
    assert_eq!(bench.plan().targets[&name("b")].removals.len(), 3);
}

#[test]
fn what_the_configuration_does_not_want_any_more_goes_at_once() {
    let mut bench = Bench::new(&["a", "b"], &between(&["a", "b"]));
    for n in 1..=5 {
        bench.add("a", "orders", instance(&n.to_string(), &format!("10.0.0.{n}:80")));
    }
    bench.converge();
    bench.sessions.insert(name("a"), stale());
    for syncs in [
        vec![sync(
            "all",
            json!({ "between": ["a", "b"], "services": { "exclude": ["orders"] } }),
        )],
        Vec::new(),
    ] {
        bench.planner = Planner::new(&syncs);
        let plan = bench.plan();
        assert_eq!(plan.targets[&name("b")].removals.len(), 5, "{plan:?}");
    }
}

#[test]
fn records_of_others_and_of_nobody_are_neither_changed_nor_removed_nor_passed_on() {
    let mut bench = Bench::new(&["a", "b", "c"], &between(&["a", "b", "c"]));
    // Another cluster's, by the same path, with the smaller id; and one that lost its marks.
    let mark = |instance: &str, cluster: &str| {
        let origin = landfall_model::Origin {
            registry: name("a"),
            service: "orders".into(),
            instance: instance.into(),
        };
        mark::Mark::new(&origin, cluster.into(), 1)
    };
    bench.add("a", "orders", instance("1", "10.0.0.1:80"));
    let theirs = mark("1", "c0");
    let mut copy = instance(&theirs.id(), "10.0.0.1:80");
    theirs.write("d", &mut copy.metadata);
    bench.add("b", "orders", copy);
    bench.add("b", "lost", instance(&mark("9", "c1").id(), "10.0.0.9:80"));
    bench.converge();
    assert_eq!(bench.copies("b"), ["orders@10.0.0.1:80 a"]);
    let copies = &bench.registries[&name("b")];
    assert!(
        copies
            .values()
            .any(|copy| copy.metadata.get(mark::CLUSTER).is_some_and(|c| &**c == "c0"))
    );
    assert_eq!(copies.len(), 2);
    // Not by b, which has it too.
    assert_eq!(bench.copies("c"), ["orders@10.0.0.1:80 a"]);
    assert!(bench.copies("a").is_empty());
}

#[test]
fn a_copy_by_another_cluster_goes_on_only_while_its_origin_lives_or_is_not_followed_here() {
    let origin = |registry: &str| landfall_model::Origin {
        registry: name(registry),
        service: "orders".into(),
        instance: "1".into(),
    };
    let mut bench = Bench::new(&["a", "b", "c"], &[sync("s", json!({ "from": ["b"], "to": ["c"] }))]);
    for (registry, address) in [("a", "10.0.0.1:80"), ("z", "10.0.0.2:80")] {
        let mark = mark::Mark::new(&origin(registry), "c2".into(), 1);
        let mut copy = instance(&mark.id(), address);
        mark.write("d", &mut copy.metadata);
        bench.add("b", "orders", copy);
    }
    bench.converge();
    assert_eq!(bench.copies("c"), ["orders@10.0.0.2:80 z,b"], "a does not have it");
    bench.add("a", "orders", instance("1", "10.0.0.1:80"));
    bench.converge();
    let mut copies = bench.copies("c");
    copies.sort();
    assert_eq!(copies, ["orders@10.0.0.1:80 a,b", "orders@10.0.0.2:80 z,b"]);
}

#[test]
fn a_longer_record_of_another_cluster_is_replaced_and_a_shorter_one_takes_ours_over() {
    let mut bench = Bench::new(&["a", "b"], &between(&["a", "b"]));
    bench.add("a", "orders", instance("1", "10.0.0.1:80"));
    let origin = landfall_model::Origin {
        registry: name("a"),
        service: "orders".into(),
        instance: "1".into(),
    };
    let mut theirs = mark::Mark::new(&origin, "c2".into(), 1);
    theirs.path.push(name("z"));
    let mut copy = instance(&theirs.id(), "10.0.0.1:80");
    theirs.write("d", &mut copy.metadata);
    bench.add("b", "orders", copy.clone());
    let plan = bench.plan();
    assert_eq!(plan.targets[&name("b")].additions[0].replaces.as_deref(), Some("c2"));
    bench.execute(&plan);
    assert_eq!(bench.copies("b"), ["orders@10.0.0.1:80 a"]);
    // Now one that is as short, of a cluster that comes first.
    theirs.path.pop();
    theirs.cluster = "c0".into();
    theirs.write("d", &mut copy.metadata);
    bench.add("b", "orders", copy);
    let plan = bench.plan();
    assert_eq!(plan.targets[&name("b")].disowned.len(), 1);
    assert_eq!(bench.execute(&plan), 0);
    assert_eq!(bench.converge(), 0);
}

#[test]
fn ours_takes_the_place_of_another_clusters_record_that_is_only_held_and_never_of_our_own() {
    let mut bench = Bench::new(&["a", "b"], &between(&["a", "b"]));
    bench.add("a", "orders", instance("1", "10.0.0.1:80"));
    let origin = landfall_model::Origin {
        registry: name("a"),
        service: "orders".into(),
        instance: "1".into(),
    };
    let theirs = mark::Mark::new(&origin, "c0".into(), 1);
    let mut copy = instance(&theirs.id(), "10.0.0.1:80");
    theirs.write("d", &mut copy.metadata);
    let id = copy.id.clone();
    bench.add("b", "orders", copy);
    assert!(bench.plan().targets[&name("b")].is_idle());
    let hold = |id: &Arc<str>| Hold {
        service: "orders".into(),
        instances: vec![id.clone()],
        reason: "all at once".to_owned(),
        since: moment(),
        until: moment(),
    };
    bench.holds.insert(name("b"), vec![hold(&id)]);
    assert_eq!(bench.plan().targets[&name("b")].additions.len(), 1);
    bench.holds.clear();
    assert!(bench.plan().targets[&name("b")].is_idle(), "it is listed again");

    let mut bench = Bench::new(&["a", "b"], &between(&["a", "b"]));
    bench.add("a", "orders", instance("1", "10.0.0.1:80"));
    bench.converge();
    let ours = bench.registries[&name("b")].keys().next().unwrap().id.clone();
    bench.holds.insert(name("b"), vec![hold(&ours)]);
    assert!(
        bench.plan().targets[&name("b")].is_idle(),
        "its publisher puts it again"
    );
}

#[test]
fn a_registry_that_drops_the_marks_gets_each_record_once_and_loses_it_with_its_origin() {
    let mut bench = Bench::new(&["a", "b", "c"], &between(&["a", "b", "c"]));
    bench.add("a", "orders", instance("1", "10.0.0.1:80"));
    let drop_marks = |bench: &mut Bench| {
        for instance in bench.registries.get_mut(&name("b")).unwrap().values_mut() {
            mark::strip(&mut Arc::make_mut(instance).metadata);
        }
    };
    let plan = bench.plan();
    assert_eq!(bench.execute(&plan), 2);
    drop_marks(&mut bench);
    assert_eq!(bench.converge(), 0);
    bench.remove("a", "1");
    assert_eq!(bench.converge(), 2);
    assert!(bench.registries[&name("b")].is_empty());
}

#[test]
fn mode_plan_waits_and_what_was_applied_once_lives_on() {
    let syncs = [sync("s", json!({ "mode": "plan", "from": ["a"], "to": ["b"] }))];
    let mut bench = Bench::new(&["a", "b"], &syncs);
    bench.add("a", "orders", instance("1", "10.0.0.1:80"));
    let mut plan = bench.plan();
    assert_eq!((plan.waiting(), bench.execute(&plan)), (1, 0));
    let digest = plan.digest.clone();
    assert_eq!(bench.plan().digest, digest);
    for write in &mut Arc::make_mut(plan.targets.get_mut(&name("b")).unwrap()).additions {
        write.waits = false;
    }
    assert_eq!(bench.execute(&plan), 1);
    assert_ne!(bench.plan().digest, digest);
    // The target loses it: it is put again unasked.
    bench.registries.get_mut(&name("b")).unwrap().clear();
    assert_eq!(bench.converge(), 1);
    // A second instance waits; the first goes with its origin.
    bench.add("a", "orders", instance("2", "10.0.0.2:80"));
    bench.remove("a", "1");
    assert_eq!(bench.converge(), 1);
    assert_eq!(bench.plan().waiting(), 1);
    assert!(bench.copies("b").is_empty());
}

#[test]
fn a_write_that_is_not_seen_yet_is_not_repeated() {
    let mut bench = mesh();
    let plan = bench.plan();
    bench.execute(&plan);
    let seen_late = bench.registries[&name("b")].clone();
    bench.registries.get_mut(&name("b")).unwrap().clear();
    let key = seen_late.keys().next().unwrap().clone();
    bench
        .memory
        .get_mut(&name("b"))
        .unwrap()
        .pending
        .insert(key.clone(), Pending::Put);
    assert_eq!(bench.plan().targets[&name("b")].kept.len(), 1);
    // The same after a removal.
    bench.registries.insert(name("b"), seen_late);
    bench.remove("a", "o1");
    let memory = bench.memory.get_mut(&name("b")).unwrap();
    memory.ledger.clear();
    memory.pending.insert(key, Pending::Removed);
    assert!(bench.plan().targets[&name("b")].removals.is_empty());
}

#[test]
fn a_refused_record_is_tried_again_when_it_changes() {
    let mut bench = mesh();
    let write = bench.plan().targets[&name("b")].additions[0].clone();
    let rejected = Rejected {
        digest: write.shaped.digest.clone(),
        reason: "too long".to_owned(),
    };
    let memory = bench.memory.entry(name("b")).or_default();
    memory.rejected.insert(write.shaped.key.clone(), rejected);
    assert_eq!(bench.plan().targets[&name("b")].held[0].why, HeldWhy::Rejected);
    bench.add("a", "orders", instance("o1", "10.0.0.1:81"));
    assert_eq!(bench.plan().targets[&name("b")].additions.len(), 1);
}

#[test]
fn what_a_target_has_no_word_for_is_left_out_and_said() {
    let mut bench = mesh();
    let mut unknown = instance("u", "10.0.0.3:80");
    unknown.status = Status::Unknown;
    bench.add("a", "orders", unknown);
    bench.converge();
    assert_eq!(bench.copies("b").len(), 1);
    let plan = bench.plan();
    let left_out = &plan.targets[&name("b")].left_out[0];
    assert_eq!(
        (left_out.why, &*left_out.reason),
        (LeftOutWhy::Unfit, "it has no word for UNKNOWN")
    );
}
