use std::{collections::BTreeMap, sync::Arc, time::Duration};

use landfall_model::rules::{Balancer as Kind, HashKey, TrafficPolicy};

use crate::{
    cluster::{ClusterRuntime, Lease, Tried},
    fixture::{Request, cluster, cluster_runtime, endpoint},
    metrics::Metrics,
    moment::{Dice, Moment},
};

const START: Moment = Moment::from_nanos(5_000_000_000_000);

fn policy(balancer: Kind) -> TrafficPolicy {
    TrafficPolicy {
        balancer,
        ..TrafficPolicy::default()
    }
}

fn pick(cluster: &Arc<ClusterRuntime>, request: &Request, dice: &mut Dice) -> Lease {
    cluster
        .pick(&request.call(), &Tried::default(), START, dice.bits())
        .unwrap()
}

fn port(lease: &Lease) -> u16 {
    lease.endpoint().address.port()
}

/// How many of 10,000 idle calls each port gets.
fn shares(weights: &[u32], kind: Kind) -> Vec<u32> {
    let cluster = cluster_runtime(weights, policy(kind));
    let (mut dice, request) = (Dice::new(11), Request::new("GET", "x/", &[]));
    let mut shares = vec![0; weights.len()];
    for _ in 0..10_000 {
        shares[usize::from(port(&pick(&cluster, &request, &mut dice))) - 1] += 1;
    }
    shares
}

fn assert_near(shares: &[u32], expected: &[u32], tolerance: u32) {
    let near = shares
        .iter()
        .zip(expected)
        .all(|(share, expected)| share.abs_diff(*expected) <= tolerance);
    assert!(near, "{shares:?}, expected {expected:?}");
}

#[test]
fn shares_of_idle_endpoints_follow_their_weights() {
    assert_eq!(shares(&[1, 1, 1, 1], Kind::RoundRobin), [2500; 4]);
    assert_eq!(shares(&[100, 300], Kind::RoundRobin), [2500, 7500]);
    for kind in [Kind::Random, Kind::LeastRequest, Kind::PeakEwma] {
        assert_near(&shares(&[100; 4], kind.clone()), &[2500; 4], 250);
        assert_near(&shares(&[10, 20, 70], kind), &[1000, 2000, 7000], 250);
    }
    assert_near(
        &shares(&[100; 4], Kind::RingHash(HashKey::Cookie("sid".into()))),
        &[2500; 4],
        700,
    );
}

#[test]
fn round_robin_spreads_the_turns_of_a_heavy_endpoint() {
    let cluster = cluster_runtime(&[1, 1, 4], policy(Kind::RoundRobin));
    let (mut dice, request) = (Dice::new(1), Request::new("GET", "x/", &[]));
    let ports: Vec<_> = (0..12).map(|_| port(&pick(&cluster, &request, &mut dice))).collect();
    let longest = ports.split(|port| *port != 3).map(<[u16]>::len).max();
    assert_eq!(ports[..6].iter().filter(|port| **port == 3).count(), 4);
    assert!(longest <= Some(2), "{ports:?}");
}

#[test]
fn weights_without_a_common_measure_still_give_a_short_round() {
    let shares = shares(&[999_983, 1_000_000, 3], Kind::RoundRobin);
    assert_near(&shares, &[5000, 5000, 3], 10);
}

#[test]
fn least_request_fills_up_the_emptier_endpoint() {
    let cluster = cluster_runtime(&[1, 1, 1, 1], policy(Kind::LeastRequest));
    let (mut dice, request) = (Dice::new(2), Request::new("GET", "x/", &[]));
    let _held: Vec<_> = (0..400).map(|_| pick(&cluster, &request, &mut dice)).collect();
    for member in cluster.members() {
        assert!(
            (95..=105).contains(&member.state.in_flight()),
            "{}",
            member.state.in_flight()
        );
    }
}

#[test]
fn peak_ewma_avoids_the_slow_endpoint_but_does_not_forget_it() {
    let cluster = cluster_runtime(&[1, 1, 1, 1], policy(Kind::PeakEwma));
    let (mut dice, request) = (Dice::new(3), Request::new("GET", "x/", &[]));
    let mut counts = BTreeMap::new();
    let mut now = START;
    for _ in 0..20_000 {
        now = now.after(Duration::from_millis(5));
        let mut lease = cluster
            .pick(&request.call(), &Tried::default(), now, dice.bits())
            .unwrap();
        *counts.entry(port(&lease)).or_insert(0) += 1;
        let took = if port(&lease) == 1 { 50 } else { 1 };
        lease.answered(200, now.after(Duration::from_millis(took)));
    }
    assert!((1..1000).contains(&counts[&1]), "{counts:?}");
    assert!(counts.values().skip(1).all(|count| *count > 5000), "{counts:?}");
}

#[test]
fn two_endpoints_of_different_weight_both_bend_to_load() {
    // The heavy one is stuck; the light one takes more than its weight, but not everything.
    let cluster = cluster_runtime(&[90, 10], policy(Kind::LeastRequest));
    let (mut dice, request) = (Dice::new(4), Request::new("GET", "x/", &[]));
    let mut stuck = Vec::new();
    let mut light = 0;
    for _ in 0..10_000 {
        let lease = pick(&cluster, &request, &mut dice);
        if port(&lease) == 1 {
            stuck.push(lease)
        } else {
            light += 1
        }
    }
    assert!((1700..2100).contains(&light), "{light}");
}

fn homes(cluster: &Arc<ClusterRuntime>) -> Vec<u16> {
    let mut dice = Dice::new(5);
    let mut home = |key: u32| {
        port(&pick(
            cluster,
            &Request::new("GET", &format!("x/{key}"), &[]),
            &mut dice,
        ))
    };
    (0..5000).map(&mut home).collect()
}

#[test]
fn a_ring_moves_only_the_keys_of_the_endpoint_that_goes() {
    let by_path = || policy(Kind::RingHash(HashKey::Path));
    let endpoints = |ports: &[u16]| ports.iter().map(|port| endpoint(*port, 100)).collect();
    let build = |ports: &[u16]| {
        let source = cluster("orders", endpoints(ports), by_path());
        ClusterRuntime::compile(&source, None, &Metrics::default(), START)
    };
    let before = homes(&build(&[1, 2, 3, 4, 5]));
    assert_eq!(
        before,
        homes(&build(&[1, 2, 3, 4, 5])),
        "the same endpoints place alike"
    );
    let after = homes(&build(&[1, 2, 4, 5]));
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
    let mut count = 0;
    for (before, _) in moved {
        assert_eq!(*before, 3);
        count += 1;
    }
    assert!((700..1300).contains(&count), "about a fifth: {count}");
}

#[test]
fn a_ring_places_by_header_cookie_or_address() {
    let requests = |headers: &[&str]| Request::new("GET", "x/", headers);
    let mut dice = Dice::new(6);
    for (key, make) in [
        (HashKey::Header("x-user".into()), "x-user: "),
        (HashKey::Cookie("sid".into()), "cookie: a=1; sid="),
    ] {
        let cluster = cluster_runtime(&[100; 8], policy(Kind::RingHash(key)));
        let mut homes = std::collections::BTreeSet::new();
        for user in 0..50 {
            let request = requests(&[&format!("{make}{user}")]);
            let home = port(&pick(&cluster, &request, &mut dice));
            assert!((0..5).all(|_| port(&pick(&cluster, &request, &mut dice)) == home));
            homes.insert(home);
        }
        assert!(homes.len() >= 6, "{homes:?}");
        let without: std::collections::BTreeSet<_> = (0..100)
            .map(|_| port(&pick(&cluster, &requests(&[]), &mut dice)))
            .collect();
        assert!(without.len() >= 6, "no key, any endpoint: {without:?}");
    }
    let cluster = cluster_runtime(&[100; 8], policy(Kind::RingHash(HashKey::SourceIp)));
    let home = port(&pick(&cluster, &requests(&[]), &mut dice));
    assert!((0..20).all(|_| port(&pick(&cluster, &requests(&[]), &mut dice)) == home));
}

#[test]
fn every_balancer_finds_the_last_open_endpoint() {
    let kinds = [
        Kind::PeakEwma,
        Kind::LeastRequest,
        Kind::RoundRobin,
        Kind::Random,
        Kind::RingHash(HashKey::SourceIp),
    ];
    for kind in kinds {
        let mut policy = policy(kind.clone());
        policy.limits.max_requests_per_endpoint = Some(1);
        // One is so light that draws hardly ever hit it.
        let cluster = cluster_runtime(&[1000, 1, 1000, 1000], policy);
        let (mut dice, request) = (Dice::new(7), Request::new("GET", "x/", &[]));
        let held: Vec<_> = (0..4).map(|_| pick(&cluster, &request, &mut dice)).collect();
        let mut ports: Vec<_> = held.iter().map(port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3, 4], "{kind:?}");
    }
}
