//! Dubbo2 through the engine: many clients on one connection to each endpoint, and an answer for everything.

use std::time::{Duration, Instant};

use landfall_codec::dubbo2::{Event, Header, Kind, Serialization, Status, reply};
use landfall_engine::DubboOptions;
use landfall_model::{
    Protocol,
    rules::{
        ArgumentMatch, ArgumentsMatch, DubboFault, DubboFilter, DubboMatch, FrameworkCalls, Mirror, TextMatch,
        TrafficPolicy, ValueMatch,
    },
};
use tokio::io::AsyncWriteExt;

use crate::{
    dubbo_peer::{Consumer, GREETER, Provider, bytes_of, call, call_of, header, one_way, opaque, read},
    world::{Plan, World, dubbo_rule, endpoint, eventually, nobody, reference},
};

const CALLS: u16 = 20880;

fn start(plan: &Plan) -> World {
    World::with_dubbo(plan, DubboOptions::default())
}

async fn consumer(world: &World) -> Consumer {
    Consumer::connect(world.address(CALLS)).await
}

fn exactly(text: &str) -> Option<TextMatch> {
    Some(TextMatch::Exact(text.into()))
}

#[tokio::test]
async fn clients_with_equal_ids_share_one_connection_and_get_their_own_answers_in_any_order() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[provider.address]));
    let clients = (0..4_u64).map(|client| {
        let address = world.address(CALLS);
        tokio::spawn(async move {
            let mut consumer = Consumer::connect(address).await;
            // Each call's text is its delay, so answers overtake each other; ids are the same for every client.
            let delay = |id: u64| (id * 7919 + client * 104_729) % 97;
            for id in 1..=64 {
                consumer.send(&call(id, "late", &delay(id).to_string(), &[])).await;
            }
            let mut order = Vec::new();
            for _ in 1..=64 {
                let (id, status, text) = consumer.answer().await;
                assert_eq!((status, text), (20, delay(id).to_string()));
                order.push(id);
            }
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (1..=64).collect::<Vec<_>>(), "each once");
            assert_ne!(order, sorted, "answers come as they are ready");
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(provider.connections(), 1);
}

#[tokio::test]
async fn calls_go_by_interface_version_method_and_attachment_and_what_no_rule_takes_is_told_so() {
    let (old, new, blue) = (
        Provider::start("old").await,
        Provider::start("new").await,
        Provider::start("blue").await,
    );
    let greeter = || DubboMatch {
        interface: exactly(GREETER),
        ..DubboMatch::default()
    };
    let mut plan = Plan::dubbo_to(&[]);
    plan.dubbo.clear();
    let plan = plan
        .dubbo_cluster("old", &[old.address])
        .dubbo_cluster("new", &[new.address])
        .dubbo_cluster("blue", &[blue.address])
        .dubbo_rule(dubbo_rule(greeter(), "old"))
        .dubbo_rule(dubbo_rule(
            DubboMatch {
                version: Some(TextMatch::Regex("2[.].*".into())),
                ..greeter()
            },
            "new",
        ))
        .dubbo_rule(dubbo_rule(
            DubboMatch {
                attachments: vec![ValueMatch {
                    name: "dubbo.tag".into(),
                    value: TextMatch::Exact("blue".into()),
                }],
                method: exactly("name"),
                ..greeter()
            },
            "blue",
        ));
    let world = start(&plan);
    let mut consumer = consumer(&world).await;
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[], "old"),
        (&[("version", "2.0.1")], "new"),
        (&[("dubbo.tag", "blue")], "blue"),
        (&[("dubbo.tag", "blue"), ("version", "2.0.1")], "new"),
    ];
    for (attachments, name) in cases {
        assert_eq!(
            consumer.ask(&call(1, "name", "", attachments)).await,
            (20, name.to_owned())
        );
    }
    let (status, text) = consumer.ask(&call_of("org.example.Other", 2, "name", "", &[])).await;
    assert_eq!((status, &*text), (60, "gateway: no route takes this call"));

    eventually("all calls are logged", || world.log.lines().len() == 5).await;
    let lines = world.log.lines();
    let line = lines.iter().find(|line| line["endpoint"] == new.address.to_string());
    let line = line.expect("a call went to the new one");
    assert_eq!(
        (&line["protocol"], &line["path"], &line["method"], &line["status"]),
        (&"Dubbo2".into(), &GREETER.into(), &"name".into(), &20.into())
    );
    assert!(
        lines.iter().any(|line| line["error"] == "no route takes this call"),
        "{lines:?}"
    );
    let mut figures = String::new();
    world.engine.render_metrics(&mut figures);
    assert!(figures.contains(r#"route="dubbo:default/calls""#), "{figures}");
}

#[tokio::test]
async fn calls_go_by_their_arguments_and_arrive_unchanged() {
    let (all, dear) = (Provider::start("all").await, Provider::start("dear").await);
    let by_argument = |count, value: &str| DubboMatch {
        interface: exactly(GREETER),
        arguments: ArgumentsMatch {
            count,
            values: vec![ArgumentMatch {
                index: 0,
                value: TextMatch::Regex(value.into()),
            }],
        },
        ..DubboMatch::default()
    };
    let plan = Plan::dubbo_to(&[all.address])
        .dubbo_cluster("dear", &[dear.address])
        .dubbo_rule(dubbo_rule(by_argument(Some(1), "[0-9]{4,}"), "dear"))
        .dubbo_rule(dubbo_rule(by_argument(Some(2), ".*"), "nothing"));
    let world = start(&plan);
    let mut consumer = consumer(&world).await;
    for (argument, name) in [("1000", "dear"), ("999", "all"), ("1000 EUR", "all")] {
        assert_eq!(
            consumer.ask(&call(1, "name", argument, &[])).await,
            (20, name.to_owned())
        );
        assert_eq!(
            consumer.ask(&call(2, "echo", argument, &[])).await,
            (20, argument.to_owned())
        );
    }
    assert_eq!(dear.calls(), ["name 1000", "echo 1000"]);
}

/// A plan with these filters on its only rule.
fn filtered(addresses: &[std::net::SocketAddr], filters: Vec<DubboFilter>) -> Plan {
    let mut plan = Plan::dubbo_to(addresses);
    plan.dubbo[0].filters = filters;
    plan
}

fn copies_to(cluster: &str, fraction: (u32, u32)) -> DubboFilter {
    DubboFilter::Mirror(Mirror {
        backend: reference(cluster),
        fraction,
    })
}

#[tokio::test]
async fn a_mirror_gets_copies_of_calls_and_nobody_waits_for_what_it_says() {
    let (main, mirror) = (Provider::start("main").await, Provider::start("mirror").await);
    let filters = vec![
        copies_to("mirror", (1, 1)),
        copies_to("nobody", (1, 1)),
        copies_to("missing", (1, 1)),
        copies_to("mirror", (0, 100)),
    ];
    let plan = filtered(&[main.address], filters)
        .dubbo_cluster("mirror", &[mirror.address])
        .dubbo_cluster("nobody", &[nobody().await]);
    let world = start(&plan);
    let mut consumer = consumer(&world).await;
    for id in 1..=3 {
        assert_eq!(consumer.ask(&call(id, "name", "x", &[])).await, (20, "main".to_owned()));
    }
    consumer.send(&one_way(call(4, "echo", "told", &[]))).await;
    // What a mirror answers never, or dies of, is not the caller's affair.
    assert_eq!(consumer.ask(&call(5, "echo", "y", &[])).await, (20, "y".to_owned()));
    let sorted = |provider: &Provider| {
        let mut calls = provider.calls();
        calls.sort_unstable();
        calls
    };
    let expected = ["echo told", "echo y", "name x", "name x", "name x"];
    eventually("every call is copied", || sorted(&mirror) == expected).await;
    assert_eq!(sorted(&main), expected);
    assert_eq!(mirror.connections(), 1);
    mirror.cut();
    assert_eq!(consumer.ask(&call(6, "name", "x", &[])).await, (20, "main".to_owned()));
}

#[tokio::test]
async fn copies_that_nobody_answers_do_not_pile_up() {
    let (main, mirror) = (Provider::start("main").await, Provider::start("mirror").await);
    let mut plan = Plan::dubbo_to(&[])
        .dubbo_cluster("main", &[main.address])
        .dubbo_cluster("mirror", &[mirror.address]);
    plan.dubbo.clear();
    let mut never = dubbo_rule(DubboMatch::default(), "main");
    never.filters = vec![copies_to("mirror", (1, 1))];
    let options = DubboOptions {
        calls: 2,
        ..DubboOptions::default()
    };
    let world = World::with_dubbo(&plan.dubbo_rule(never), options);
    let mut consumer = consumer(&world).await;
    let began = Instant::now();
    while mirror.calls().len() < 5 {
        assert_eq!(consumer.ask(&call(1, "name", "x", &[])).await.0, 20);
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "the room of an answered copy is free again"
        );
    }
    let unanswered = || mirror.calls().iter().filter(|call| *call == "never x").count();
    let impatient = call(2, "never", "x", &[("timeout", "50")]);
    while unanswered() < 2 {
        assert_eq!(consumer.ask(&impatient).await.0, 31);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    // Two stand now, for as long as the policy lets them wait: there is no room for a third.
    assert_eq!(consumer.ask(&impatient).await.0, 31);
    let copied = mirror.calls().len();
    for _ in 0..3 {
        assert_eq!(consumer.ask(&call(3, "name", "x", &[])).await, (20, "main".to_owned()));
    }
    assert_eq!((mirror.calls().len(), unanswered()), (copied, 2));
}

#[tokio::test]
async fn faults_delay_and_end_calls_with_the_status_asked_for() {
    let provider = Provider::start("a").await;
    let fault = |delay: Option<u64>, abort: Option<u8>| {
        DubboFilter::Fault(DubboFault {
            delay: delay.map(|millis| (Duration::from_millis(millis), (100, 100))),
            abort: abort.map(|status| (status, (100, 100))),
        })
    };
    let world = start(&filtered(
        &[provider.address],
        vec![copies_to("calls", (1, 1)), fault(None, Some(70))],
    ));
    let mut ended = consumer(&world).await;
    let expected = (70, "gateway: a fault on purpose".to_owned());
    assert_eq!(ended.ask(&call(1, "name", "x", &[])).await, expected);
    ended.send(&one_way(call(2, "name", "x", &[]))).await;
    assert_eq!(
        ended.ask(&call(3, "name", "x", &[])).await,
        expected,
        "a one-way call has no answer"
    );
    assert_eq!(provider.calls(), [""; 0], "neither calls nor copies");

    let world = start(&filtered(&[provider.address], vec![fault(Some(150), None)]));
    let mut delayed = consumer(&world).await;
    let began = Instant::now();
    assert_eq!(delayed.ask(&call(1, "name", "x", &[])).await, (20, "a".to_owned()));
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
    let impatient = call(2, "name", "x", &[("timeout", "20")]);
    assert_eq!(delayed.ask(&impatient).await.0, 31, "the wait is time of the call");
    assert_eq!(provider.calls().len(), 1);

    let mut nowhere = dubbo_rule(DubboMatch::default(), "missing");
    nowhere.filters = vec![fault(Some(1), Some(100))];
    nowhere.backends.clear();
    let mut plan = Plan::dubbo_to(&[]);
    plan.dubbo.clear();
    let world = start(&plan.dubbo_rule(nowhere));
    assert_eq!(
        consumer(&world).await.ask(&call(1, "name", "x", &[])).await.0,
        100,
        "it needs no backend"
    );
    eventually("the call is logged", || world.log.lines().len() == 1).await;
    let line = &world.log.lines()[0];
    assert_eq!(
        (&line["status"], &line["error"]),
        (&100.into(), &"a fault on purpose".into())
    );
}

#[tokio::test]
async fn a_tag_leads_to_the_providers_that_have_it() {
    let (plain, gray) = (Provider::start("plain").await, Provider::start("gray").await);
    let mut tagged = endpoint(gray.address, Protocol::Dubbo);
    tagged.tag = Some("gray".into());
    let mut plan = Plan::dubbo_to(&[]);
    plan.dubbo.clear();
    let endpoints = vec![endpoint(plain.address, Protocol::Dubbo), tagged];
    let plan = plan
        .cluster_with("both", endpoints, TrafficPolicy::default())
        .dubbo_rule(dubbo_rule(DubboMatch::default(), "both"));
    let world = start(&plan);
    let mut consumer = consumer(&world).await;
    let force = ("dubbo.force.tag", "true");
    for _ in 0..10 {
        for (attachments, name) in [
            (&[("dubbo.tag", "gray")][..], "gray"),
            (&[], "plain"),
            (&[("dubbo.tag", "blue")], "plain"),
            (&[("dubbo.tag", "gray"), force], "gray"),
        ] {
            let asked = call(1, "name", "", attachments);
            assert_eq!(consumer.ask(&asked).await, (20, name.to_owned()), "{attachments:?}");
        }
        let nobody = call(2, "name", "", &[("dubbo.tag", "blue"), force]);
        assert_eq!(
            consumer.ask(&nobody).await,
            (80, "gateway: no endpoint for the call's tag".to_owned())
        );
    }
}

#[tokio::test]
async fn calls_of_the_frameworks_own_pass_unless_a_rule_refuses_them() {
    let provider = Provider::start("a").await;
    let metadata = "org.apache.dubbo.metadata.MetadataService";
    let open = start(&Plan::dubbo_to(&[provider.address]));
    let mut plan = Plan::dubbo_to(&[provider.address]);
    plan.dubbo[0].refuse = vec![FrameworkCalls::Generic, FrameworkCalls::Echo, FrameworkCalls::Metadata];
    let closed = start(&plan);
    let (mut open, mut closed) = (consumer(&open).await, consumer(&closed).await);
    for asked in [
        call(1, "$echo", "x", &[]),
        call(2, "$invoke", "x", &[]),
        call(3, "$invokeAsync", "x", &[]),
        call_of(metadata, 4, "echo", "x", &[]),
    ] {
        assert_eq!(open.ask(&asked).await, (20, "x".to_owned()));
        assert_eq!(closed.ask(&asked).await, (20, "!java.lang.RuntimeException".to_owned()));
    }
    assert_eq!(provider.calls().len(), 4, "none of the refused");
    assert_eq!(closed.ask(&call(6, "echo", "x", &[])).await, (20, "x".to_owned()));
    let unread = opaque(7, Serialization::FASTJSON2, b"any");
    closed.send(&unread).await;
    let answer = closed.frame().await.unwrap();
    assert_eq!(
        answer.header.kind,
        Kind::Response(Status::BAD_REQUEST),
        "it might be one of them"
    );
}

#[tokio::test]
async fn a_one_way_call_arrives_and_is_not_answered() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[provider.address]));
    let mut consumer = consumer(&world).await;
    consumer.send(&one_way(call(1, "echo", "first", &[]))).await;
    eventually("it arrives", || provider.calls() == ["echo first"]).await;
    // One that no rule takes is not answered either.
    let mut picky = Plan::dubbo_to(&[provider.address]);
    picky.dubbo[0].matches[0].method = exactly("echo");
    world.publish(&picky).await;
    consumer.send(&one_way(call(2, "other", "second", &[]))).await;
    assert_eq!(
        consumer.ask(&call(3, "echo", "third", &[])).await,
        (20, "third".to_owned())
    );
    assert_eq!(provider.calls(), ["echo first", "echo third"]);
}

#[tokio::test]
async fn the_consumers_own_timeout_ends_a_call_and_its_late_answer_reaches_nobody() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[provider.address]));
    let mut consumer = consumer(&world).await;
    let begun = Instant::now();
    let (status, text) = consumer.ask(&call(1, "late", "400", &[("timeout", "100")])).await;
    assert_eq!((status, &*text), (31, "gateway: no answer in time"));
    assert!(begun.elapsed() >= Duration::from_millis(100));
    // The late answer comes while this one is waited for.
    assert_eq!(consumer.ask(&call(2, "late", "500", &[])).await, (20, "500".to_owned()));
    assert_eq!(provider.connections(), 1);
}

#[tokio::test]
async fn a_dying_connection_fails_over_what_may_be_repeated_and_answers_the_rest() {
    let (one, two) = (Provider::start("one").await, Provider::start("two").await);
    let mut plan =
        Plan::dubbo_to(&[one.address, two.address]).policy(|policy| policy.retries.budget_min_per_second = 100);
    plan.dubbo[0].idempotent = vec![TextMatch::Regex("late|get.*".into())];
    let world = start(&plan);
    let mut consumer = consumer(&world).await;
    let under_way = |calls: &[&Provider]| calls.iter().map(|p| p.calls().len()).sum::<usize>();

    for id in 1..=16 {
        consumer.send(&call(id, "late", "300", &[])).await;
    }
    eventually("all are under way", || under_way(&[&one, &two]) == 16).await;
    let victim = [&one, &two]
        .into_iter()
        .find(|provider| !provider.calls().is_empty())
        .unwrap();
    victim.cut();
    for _ in 1..=16 {
        let (id, status, text) = consumer.answer().await;
        assert_eq!((status, &*text), (20, "300"), "call {id}");
    }

    for id in 21..=28 {
        consumer.send(&call(id, "never", "", &[])).await;
    }
    eventually("all are under way", || {
        let never = |p: &Provider| p.calls().iter().filter(|call| call.starts_with("never")).count();
        never(&one) + never(&two) == 8
    })
    .await;
    one.cut();
    two.cut();
    for _ in 21..=28 {
        let (id, status, text) = consumer.answer().await;
        assert_eq!(
            (status, &*text),
            (80, "gateway: the connection to the provider broke"),
            "call {id}"
        );
    }
    assert_eq!(consumer.ask(&call(30, "echo", "on", &[])).await, (20, "on".to_owned()));
}

#[tokio::test]
async fn what_reached_nobody_is_tried_elsewhere_whatever_its_method() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[nobody().await, provider.address]));
    let mut consumer = consumer(&world).await;
    for id in 0..20 {
        assert_eq!(
            consumer.ask(&call(id, "transfer", "money", &[])).await,
            (20, "money".to_owned())
        );
    }
    let world = start(&Plan::dubbo_to(&[nobody().await]));
    let (status, text) = Consumer::connect(world.address(CALLS))
        .await
        .ask(&call(1, "echo", "", &[]))
        .await;
    assert_eq!((status, &*text), (80, "gateway: no connection to a provider"));
    let world = start(&Plan::dubbo_to(&[]));
    let (status, text) = Consumer::connect(world.address(CALLS))
        .await
        .ask(&call(1, "echo", "", &[]))
        .await;
    assert_eq!((status, &*text), (80, "gateway: no endpoint"));
}

#[tokio::test]
async fn a_provider_whose_threads_are_busy_has_refused_the_call_and_one_that_failed_may_not_have() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[provider.address]));
    let mut consumer = consumer(&world).await;
    assert_eq!(
        consumer.ask(&call(1, "busy", "", &[])).await,
        (100, "all threads are busy".to_owned())
    );
    assert_eq!(provider.calls().len(), 3, "the first try and two more");
    assert_eq!(
        consumer.ask(&call(2, "broken", "", &[])).await,
        (80, "out of order".to_owned())
    );
    assert_eq!(provider.calls().len(), 4);
}

#[tokio::test]
async fn heartbeats_are_answered_and_in_silence_sent_both_ways() {
    let provider = Provider::start("a").await;
    let options = DubboOptions {
        heartbeat: Duration::from_millis(300),
        ..DubboOptions::default()
    };
    let world = World::with_dubbo(&Plan::dubbo_to(&[provider.address]), options);
    let mut consumer = consumer(&world).await;
    consumer.send(&reply::heartbeat(77)).await;
    let mut answer = consumer.frame().await.unwrap();
    while answer.header.is_request() {
        answer = consumer.frame().await.unwrap();
    }
    assert_eq!(
        (answer.header.id, answer.header.event, &answer.body[..]),
        (77, true, &b"N"[..])
    );

    assert_eq!(consumer.ask(&call(1, "echo", "x", &[])).await.0, 20);
    eventually("the endpoint gets heartbeats", || provider.heartbeats() >= 3).await;
    let beat = consumer.frame().await.unwrap();
    assert!(beat.header.wants_answer());
    assert_eq!(Event::of(&beat), Some(Event::Heartbeat));
    // A client that is silent for three heartbeats is let go.
    while consumer.frame().await.is_some() {}
    assert_eq!(
        provider.connections(),
        1,
        "the endpoint has answered, so its connection stands"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_about_to_leave_gets_no_new_calls_while_another_can_take_them() {
    let (one, two) = (Provider::start("one").await, Provider::start("two").await);
    let world = start(&Plan::dubbo_to(&[one.address, two.address]));
    let mut consumer = consumer(&world).await;
    for id in 0..50 {
        consumer.ask(&call(id, "name", "", &[])).await;
    }
    assert!(one.connections() == 1 && two.connections() == 1);
    let before = one.calls().len();
    one.tell(&reply::read_only(1));
    // Calls follow each other and frames keep their order, so an answer behind the notice proves that it was read.
    for id in 100..150 {
        consumer.ask(&call(id, "name", "", &[])).await;
    }
    assert!(one.calls().len() <= before + 1);
    two.tell(&reply::read_only(1));
    for id in 200..210 {
        assert_eq!(
            consumer.ask(&call(id, "echo", "still", &[])).await,
            (20, "still".to_owned())
        );
    }
}

#[tokio::test]
async fn a_drain_tells_clients_and_answers_what_is_in_flight() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[provider.address]));
    let mut busy = consumer(&world).await;
    let mut idle = consumer(&world).await;
    busy.send(&call(1, "late", "1500", &[])).await;
    eventually("the call is under way", || provider.calls().len() == 1).await;
    let clients = tokio::spawn(async move {
        let notice = busy.frame().await.unwrap();
        assert_eq!(Event::of(&notice), Some(Event::ReadOnly));
        // Sent before the notice was read, or by a client that has nobody else.
        busy.send(&call(2, "echo", "last call", &[])).await;
        let mut answers = vec![busy.answer().await, busy.answer().await];
        answers.sort();
        assert_eq!(answers, [(1, 20, "1500".to_owned()), (2, 20, "last call".to_owned())]);
        assert_eq!(busy.frame().await, None);
        assert_eq!(Event::of(&idle.frame().await.unwrap()), Some(Event::ReadOnly));
        assert_eq!(idle.frame().await, None);
    });
    assert_eq!(
        world.engine.drain(Duration::from_secs(10)).await,
        0,
        "connections that had to be cut"
    );
    clients.await.unwrap();
}

#[tokio::test]
async fn large_payloads_pass_both_ways_while_small_calls_go_on() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[provider.address]));
    let large = "0123456789abcdef".repeat(8 << 16);
    let (mut frames, mut write) = consumer(&world).await.split();
    let sent = large.clone();
    let writer = tokio::spawn(async move {
        for id in 0..4 {
            write.write_all(&bytes_of(&call(id, "echo", &sent, &[]))).await.unwrap();
            write
                .write_all(&bytes_of(&call(100 + id, "echo", "small", &[])))
                .await
                .unwrap();
        }
        write
    });
    for _ in 0..8 {
        let (id, status, text) = read(&frames.next().await.unwrap());
        assert_eq!(status, 20);
        assert!(text == if id < 100 { large.as_str() } else { "small" }, "call {id}");
    }
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn a_call_that_is_too_large_is_refused_and_the_others_of_its_connection_are_not_harmed() {
    let provider = Provider::start("a").await;
    let options = DubboOptions {
        payload: 4096,
        ..DubboOptions::default()
    };
    let world = World::with_dubbo(&Plan::dubbo_to(&[provider.address]), options);
    let mut consumer = consumer(&world).await;
    let (status, text) = consumer.ask(&call(1, "echo", &"x".repeat(5000), &[])).await;
    assert_eq!((status, &*text), (40, "gateway: the call is larger than 4096 bytes"));
    assert_eq!(
        consumer.ask(&call(2, "echo", "small", &[])).await,
        (20, "small".to_owned())
    );
    // Two gigabytes are declared; the answer does not wait for them, and nothing is held for them.
    let huge = Header {
        length: i32::MAX as u32,
        ..header(3, Serialization::HESSIAN2)
    };
    consumer.bytes(&huge.encode()).await;
    assert_eq!(consumer.answer().await.1, 40);
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_and_what_is_no_dubbo_ends_its_connection_alone() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[provider.address]));
    let mut good = consumer(&world).await;
    let mut bad = consumer(&world).await;
    assert_eq!(bad.ask(&opaque(1, Serialization::HESSIAN2, b"\x05 no")).await.0, 40);
    let two_minds = call(2, "echo", "x", &[("path", "org.example.Admin")]);
    assert_eq!(bad.ask(&two_minds).await.0, 40);
    let (status, text) = bad.ask(&opaque(3, Serialization::JAVA, b"\xac\xed\0\x05")).await;
    assert_eq!((status, &*text), (40, "gateway: calls in java are not let in"));
    let (status, class) = bad.ask(&call(4, "listen", "x", &[("sys_callback_arg-0", "5")])).await;
    assert_eq!((status, &*class), (20, "!java.lang.RuntimeException"));
    assert_eq!(bad.ask(&call(5, "echo", "fine", &[])).await, (20, "fine".to_owned()));
    assert_eq!(provider.calls(), ["echo fine"]);
    bad.bytes(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(bad.frame().await, None);
    assert_eq!(good.ask(&call(1, "echo", "on", &[])).await, (20, "on".to_owned()));
}

#[tokio::test]
async fn a_serialization_that_is_not_opened_passes_as_bytes_where_a_rule_asks_nothing() {
    let provider = Provider::start("a").await;
    let plan = Plan::dubbo_to(&[provider.address]);
    let world = start(&plan);
    let mut consumer = consumer(&world).await;
    let sent = opaque(9, Serialization::FASTJSON, b"\"2.0.2\"\n\"anything\"\n");
    consumer.send(&sent).await;
    let got = consumer.frame().await.unwrap();
    assert_eq!((got.header.id, got.header.serialization), (9, Serialization::FASTJSON));
    assert_eq!(got.body, sent.body);

    let mut picky = plan.clone();
    picky.dubbo[0].matches[0].interface = exactly(GREETER);
    world.publish(&picky).await;
    consumer.send(&sent).await;
    let refused = consumer.frame().await.unwrap();
    assert_eq!(
        refused.header.serialization,
        Serialization::HESSIAN2,
        "the only one we can tell it in"
    );
    assert_eq!(read(&refused).1, 60);
}

#[tokio::test]
async fn a_client_that_leaves_releases_its_calls_and_their_answers_reach_nobody() {
    let provider = Provider::start("a").await;
    let world = start(&Plan::dubbo_to(&[provider.address]));
    let in_flight = || world.engine.runtime().clusters()[0].in_flight();
    let mut leaver = consumer(&world).await;
    for id in 1..=10 {
        leaver.send(&call(id, "late", "300", &[])).await;
    }
    eventually("its calls are in flight", || in_flight() == 10).await;
    drop(leaver);
    eventually("they are released", || in_flight() == 0).await;
    let mut stayer = consumer(&world).await;
    for id in 1..=10 {
        stayer.send(&call(id, "late", "400", &[])).await;
    }
    for _ in 1..=10 {
        let (_, status, text) = stayer.answer().await;
        assert_eq!((status, &*text), (20, "400"));
    }
    assert_eq!(provider.connections(), 1);
}

#[tokio::test]
async fn over_the_limit_of_its_connection_a_call_is_refused_at_once() {
    let provider = Provider::start("a").await;
    let options = DubboOptions {
        calls: 4,
        ..DubboOptions::default()
    };
    let world = World::with_dubbo(&Plan::dubbo_to(&[provider.address]), options);
    let mut consumer = consumer(&world).await;
    for id in 1..=4 {
        consumer.send(&call(id, "late", "300", &[])).await;
    }
    assert_eq!(consumer.ask(&call(5, "echo", "x", &[])).await.0, 100);
    for _ in 1..=4 {
        assert_eq!(consumer.answer().await.1, 20);
    }
}

#[tokio::test]
async fn a_policy_may_ask_for_more_connections_to_an_endpoint() {
    let provider = Provider::start("a").await;
    let plan = Plan::dubbo_to(&[provider.address]).policy(|policy| policy.limits.dubbo_connections = Some(3));
    let world = start(&plan);
    let mut consumer = consumer(&world).await;
    for id in 0..30 {
        assert_eq!(consumer.ask(&call(id, "echo", "x", &[])).await.0, 20);
    }
    assert_eq!(provider.connections(), 3);
}
