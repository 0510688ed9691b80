use std::time::Duration;

use landfall_model::rules::{Limits, Outlier, Retries};

use super::*;
use crate::fixture::{Request, cluster, cluster_runtime, endpoint};

const START: Moment = Moment::from_nanos(5_000_000_000_000);

fn at(seconds: u64) -> Moment {
    START.after(Duration::from_secs(seconds))
}

/// Leases with chance from the dice.
fn lease(cluster: &Arc<ClusterRuntime>, tried: &Tried, now: Moment, dice: &mut Dice) -> Result<Lease, NoEndpoint> {
    cluster.pick(&Request::new("GET", "x/", &[]).call(), tried, now, dice.bits())
}

/// Ports that answer over many picks, each once.
fn ports(cluster: &Arc<ClusterRuntime>, now: Moment) -> Vec<u16> {
    let mut dice = Dice::new(1);
    let mut ports: Vec<_> = (0..300)
        .filter_map(|_| lease(cluster, &Tried::default(), now, &mut dice).ok())
        .map(|lease| lease.endpoint().address.port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Lets calls to one port fail until one of them has ejected it.
fn fail(cluster: &Arc<ClusterRuntime>, port: u16, times: u32, now: Moment) {
    fail_after(Duration::ZERO, Failure::Reset, times, now)(cluster, port);
}

/// So many tries at an endpoint, begun at `now`, fail like this after so long.
fn fail_after(took: Duration, failure: Failure, times: u32, now: Moment) -> impl Fn(&Arc<ClusterRuntime>, u16) {
    move |cluster, port| {
        let mut dice = Dice::new(2);
        let mut failed = 0;
        while failed < times {
            let mut lease = lease(cluster, &Tried::default(), now, &mut dice).unwrap();
            if lease.endpoint().address.port() == port {
                lease.failed(failure, now.after(took));
                failed += 1;
            }
        }
    }
}

fn policy() -> TrafficPolicy {
    TrafficPolicy::default()
}

#[test]
fn a_cluster_without_endpoints_says_so() {
    let cluster = cluster_runtime(&[], policy());
    assert_eq!(
        lease(&cluster, &Tried::default(), START, &mut Dice::new(1)).err(),
        Some(NoEndpoint::Empty)
    );
    assert_eq!(cluster.in_flight(), 0);
}

#[test]
fn a_retry_goes_elsewhere_while_there_is_an_elsewhere() {
    let cluster = cluster_runtime(&[100, 1, 100], policy());
    let mut dice = Dice::new(9);
    for _ in 0..100 {
        let mut tried = Tried::default();
        let mut ports = Vec::new();
        for _ in 0..3 {
            let lease = lease(&cluster, &tried, START, &mut dice).unwrap();
            tried.add(&lease);
            ports.push(lease.endpoint().address.port());
        }
        ports.sort_unstable();
        assert_eq!(ports, [1, 2, 3]);
        assert!(
            lease(&cluster, &tried, START, &mut dice).is_ok(),
            "all were tried; better the same than none"
        );
    }
}

#[test]
fn calls_in_flight_are_counted_until_the_lease_is_dropped() {
    let cluster = cluster_runtime(&[1], policy());
    let mut first = lease(&cluster, &Tried::default(), START, &mut Dice::new(1)).unwrap();
    let second = lease(&cluster, &Tried::default(), START, &mut Dice::new(1)).unwrap();
    first.answered(200, at(1));
    assert_eq!((cluster.in_flight(), first.state().in_flight()), (2, 2));
    drop(first);
    assert_eq!((cluster.in_flight(), second.state().in_flight()), (1, 1));
    drop(second);
    assert_eq!((cluster.in_flight(), cluster.members()[0].state.in_flight()), (0, 0));
}

#[test]
fn limits_of_endpoint_and_cluster_turn_calls_away() {
    let limits = Limits {
        max_requests_per_endpoint: Some(2),
        max_requests: Some(5),
        dubbo_connections: None,
    };
    for weights in [&[1, 1, 1][..], &[1, 5, 9]] {
        let cluster = cluster_runtime(
            weights,
            TrafficPolicy {
                limits: limits.clone(),
                ..policy()
            },
        );
        let mut dice = Dice::new(1);
        let held: Vec<_> = (0..5)
            .map(|_| lease(&cluster, &Tried::default(), START, &mut dice).unwrap())
            .collect();
        assert!(cluster.members().iter().all(|member| member.state.in_flight() <= 2));
        let refused = lease(&cluster, &Tried::default(), START, &mut dice).err();
        assert_eq!(
            refused,
            Some(NoEndpoint::Overloaded),
            "the sixth is over the cluster's limit"
        );
        drop(held);
        assert_eq!(cluster.in_flight(), 0);
    }
    let limits = Limits {
        max_requests_per_endpoint: Some(1),
        max_requests: None,
        dubbo_connections: None,
    };
    let cluster = cluster_runtime(&[1, 1], TrafficPolicy { limits, ..policy() });
    let mut dice = Dice::new(1);
    let _held = [(); 2].map(|()| lease(&cluster, &Tried::default(), START, &mut dice).unwrap());
    assert_eq!(
        lease(&cluster, &Tried::default(), START, &mut dice).err(),
        Some(NoEndpoint::Overloaded)
    );
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_does_not() {
    let cluster = cluster_runtime(&[1, 1, 1, 1], policy());
    fail(&cluster, 2, 4, START);
    assert_eq!(ports(&cluster, START), [1, 2, 3, 4]);
    // One answer ends the row.
    let mut dice = Dice::new(3);
    loop {
        let mut lease = lease(&cluster, &Tried::default(), START, &mut dice).unwrap();
        lease.answered(200, START);
        if lease.endpoint().address.port() == 2 {
            break;
        }
    }
    fail(&cluster, 2, 4, START);
    assert_eq!(cluster.ejected(START), 0);
    fail(&cluster, 2, 1, START);
    assert_eq!((ports(&cluster, START), cluster.ejected(START)), (vec![1, 3, 4], 1));
    assert_eq!(ports(&cluster, at(9)), [1, 3, 4]);
    assert_eq!(
        (ports(&cluster, at(11)), cluster.ejected(at(11))),
        (vec![1, 2, 3, 4], 0)
    );
    assert_eq!(cluster.metrics.ejections(), 1);
}

#[test]
fn who_comes_back_and_fails_again_is_out_at_once_and_longer() {
    let cluster = cluster_runtime(&[1, 1, 1, 1], policy());
    fail(&cluster, 2, 5, START);
    fail(&cluster, 2, 1, at(11));
    assert_eq!(ports(&cluster, at(30)), [1, 3, 4]);
    assert_eq!(ports(&cluster, at(32)), [1, 2, 3, 4]);
}

#[test]
fn trials_that_are_refused_at_once_do_not_lengthen_the_ejection() {
    let refused = |took, times, now| fail_after(Duration::from_millis(took), Failure::Connect, times, now);
    let cluster = cluster_runtime(&[1, 1, 1, 1], policy());
    refused(1, 5, START)(&cluster, 2);
    for seconds in [15, 30, 45, 60] {
        refused(1, 1, at(seconds))(&cluster, 2);
        assert_eq!(ports(&cluster, at(seconds + 9)), [1, 3, 4]);
        assert_eq!(ports(&cluster, at(seconds + 11)), [1, 2, 3, 4]);
    }
    // One that has to be waited for costs a call its time.
    refused(2000, 1, at(75))(&cluster, 2);
    assert_eq!(ports(&cluster, at(75 + 2 + 19)), [1, 3, 4]);
    assert_eq!(ports(&cluster, at(75 + 2 + 21)), [1, 2, 3, 4]);
}

#[test]
fn a_client_that_leaves_does_not_blame_the_endpoint() {
    let cluster = cluster_runtime(&[1, 1], policy());
    let mut dice = Dice::new(4);
    for _ in 0..100 {
        drop(lease(&cluster, &Tried::default(), START, &mut dice).unwrap());
    }
    assert_eq!(cluster.ejected(START), 0);
    assert_eq!(cluster.metrics.failures(), [0, 0, 0, 100]);
}

#[test]
fn an_endpoint_that_answers_5xx_is_ejected_and_one_that_answers_4xx_is_not() {
    for (status, ejected) in [(503, 1), (404, 0)] {
        let cluster = cluster_runtime(&[1, 1, 1], policy());
        let mut dice = Dice::new(5);
        for _ in 0..60 {
            let mut lease = lease(&cluster, &Tried::default(), START, &mut dice).unwrap();
            let status = if lease.endpoint().address.port() == 1 {
                status
            } else {
                200
            };
            lease.answered(status, START);
        }
        assert_eq!(cluster.ejected(START), ejected, "{status}");
    }
}

#[test]
fn no_more_than_the_policys_share_is_ejected_and_never_the_only_one() {
    for (count, percent, expected) in [(1, 100, 0), (2, 50, 1), (3, 10, 1), (4, 50, 2), (4, 0, 0), (4, 100, 4)] {
        let outlier = Outlier {
            max_ejected_percent: percent,
            ..Outlier::default()
        };
        let cluster = cluster_runtime(&vec![1; count], TrafficPolicy { outlier, ..policy() });
        let mut dice = Dice::new(6);
        for _ in 0..400 {
            if let Ok(mut lease) = lease(&cluster, &Tried::default(), START, &mut dice) {
                lease.failed(Failure::Connect, START);
            }
        }
        assert_eq!(
            cluster.ejected(START),
            expected,
            "{count} endpoints, {percent} per cent"
        );
    }
}

#[test]
fn below_the_panic_threshold_ejections_are_ignored() {
    let outlier = Outlier {
        max_ejected_percent: 100,
        ..Outlier::default()
    };
    for (panic_threshold, expected) in [(50, vec![1, 2, 3, 4]), (25, vec![4])] {
        let policy = TrafficPolicy {
            outlier: outlier.clone(),
            panic_threshold,
            ..policy()
        };
        let cluster = cluster_runtime(&[1, 1, 1, 1], policy);
        // Two are out; from then on a threshold of 50 per cent lets everybody in once a third follows.
        for port in [1, 2, 3] {
            fail(&cluster, port, 5, START);
        }
        assert_eq!(cluster.ejected(START), 3);
        assert_eq!(ports(&cluster, START), expected, "threshold {panic_threshold}");
    }
}

#[test]
fn with_everybody_ejected_and_no_panic_calls_are_refused() {
    let policy = TrafficPolicy {
        outlier: Outlier {
            max_ejected_percent: 100,
            ..Outlier::default()
        },
        panic_threshold: 0,
        ..policy()
    };
    let cluster = cluster_runtime(&[1, 1], policy);
    fail(&cluster, 1, 5, START);
    fail(&cluster, 2, 5, START);
    let refused = lease(&cluster, &Tried::default(), START, &mut Dice::new(1)).err();
    assert_eq!(refused, Some(NoEndpoint::Ejected));
    assert_eq!(cluster.in_flight(), 0);
}

#[test]
fn a_new_endpoint_warms_up_and_old_ones_keep_what_is_known_of_them() {
    let policy = TrafficPolicy {
        slow_start: Some(Duration::from_secs(100)),
        balancer: landfall_model::rules::Balancer::Random,
        ..policy()
    };
    let metrics = Metrics::default();
    let before = cluster("orders", vec![endpoint(1, 100), endpoint(2, 100)], policy.clone());
    let before = ClusterRuntime::compile(&before, None, &metrics, START);
    fail(&before, 1, 3, START);
    let after = cluster(
        "orders",
        vec![endpoint(1, 100), endpoint(2, 50), endpoint(3, 100)],
        policy,
    );
    let after = ClusterRuntime::compile(&after, Some(&before), &metrics, START);
    assert_eq!(after.members()[0].state.failures(), 3);
    assert!(
        Arc::ptr_eq(&after.members()[1].state, &before.members()[1].state),
        "another weight is no other endpoint"
    );
    let share = |now| {
        let mut dice = Dice::new(8);
        let picks = (0..10_000).map(|_| lease(&after, &Tried::default(), now, &mut dice).unwrap());
        picks.filter(|lease| lease.endpoint().address.port() == 3).count()
    };
    // Weights 100, 50 and a tenth of 100 at first: 1/16; then six tenths of it; at the end 2/5.
    assert!((500..750).contains(&share(START)), "{}", share(START));
    assert!((2700..3000).contains(&share(at(56))), "{}", share(at(56)));
    assert!((3800..4200).contains(&share(at(101))), "{}", share(at(101)));
}

#[test]
fn an_unchanged_cluster_is_the_same_runtime() {
    let metrics = Metrics::default();
    let one = cluster("orders", vec![endpoint(1, 100)], policy());
    let first = ClusterRuntime::compile(&one, None, &metrics, START);
    let equal = cluster("orders", vec![endpoint(1, 100)], policy());
    assert!(Arc::ptr_eq(
        &first,
        &ClusterRuntime::compile(&equal, Some(&first), &metrics, START)
    ));
    let other = cluster("orders", vec![endpoint(2, 100)], policy());
    let other = ClusterRuntime::compile(&other, Some(&first), &metrics, START);
    assert!(!Arc::ptr_eq(&first, &other));
    assert!(Arc::ptr_eq(&first.metrics, &other.metrics));
}

#[test]
fn retries_end_with_the_attempts_the_method_and_the_budget() {
    let retries = Retries {
        attempts: 2,
        budget_percent: 0,
        budget_min_per_second: 3,
        ..Retries::default()
    };
    let cluster = cluster_runtime(&[1], TrafficPolicy { retries, ..policy() });
    let unavailable = TryOutcome::Status(503);
    let ask = |tries, method, now| cluster.retry(tries, method, unavailable, true, now, 0);
    assert!(ask(1, "GET", START).is_some() && ask(2, "GET", START).is_some());
    assert_eq!(ask(3, "GET", START), None, "two further tries are all");
    assert_eq!(ask(1, "POST", START), None);
    assert!(ask(1, "GET", START).is_some());
    assert_eq!(ask(1, "GET", START), None, "the budget of this second is used up");
    assert!(ask(1, "GET", at(1)).is_some());
    assert_eq!(cluster.metrics.retries(), 4);
}
