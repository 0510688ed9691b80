//! Random histories of a registry and of the session with it, against what must hold in all of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What is true in the registry.
type Truth = BTreeMap<u8, BTreeSet<u8>>;

#[derive(Clone, Debug)]
enum Step {
    /// Instances of a service come and go in the registry; a live session says so if it is told to.
    Set {
        service: u8,
        instances: BTreeSet<u8>,
        said: bool,
    },
    /// A service is deleted from the registry.
    Delete {
        service: u8,
        said: bool,
    },
    /// The registry restarts with nothing in it, which nobody deregistered.
    Forget,
    /// A new session that says everything and catches up.
    Session,
    /// A new session that says some of it and ends.
    HalfSession {
        keep: u8,
    },
    /// A session that is refused.
    Error,
    /// A full read in the session that is open.
    FullRead,
    Confirm,
    Pass {
        tenths: u16,
    },
    Probes(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let instances = || prop::collection::btree_set(0u8..5, 0..5);
    let step = prop_oneof![
        4 => (0u8..5, instances(), any::<bool>())
            .prop_map(|(service, instances, said)| Step::Set { service, instances, said }),
        1 => (0u8..5, any::<bool>()).prop_map(|(service, said)| Step::Delete { service, said }),
        1 => Just(Step::Forget),
        2 => Just(Step::Session),
        2 => (0u8..5).prop_map(|keep| Step::HalfSession { keep }),
        2 => Just(Step::Error),
        1 => Just(Step::FullRead),
        2 => Just(Step::Confirm),
        3 => (0u16..400).prop_map(|tenths| Step::Pass { tenths }),
        1 => any::<bool>().prop_map(Step::Probes),
    ];
    prop::collection::vec(step, 1..40)
}

fn said(service: u8, instances: &BTreeSet<u8>) -> Knowledge {
    let ids: Vec<String> = instances.iter().map(|n| format!("{service}-{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    super::service(&format!("s{service}"), &ids)
}

fn names(truth: &Truth) -> BTreeMap<String, Vec<String>> {
    let ids = |service: u8, of: &BTreeSet<u8>| of.iter().map(|n| format!("{service}-{n}")).collect();
    truth
        .iter()
        .map(|(service, of)| (format!("s{service}"), ids(*service, of)))
        .collect()
}

/// The simple model: what the session has said, and what a caught-up session has denied.
#[derive(Default)]
struct Model {
    truth: Truth,
    /// What the adapter has told last of each service; a live session tells every change in the end.
    is_live: bool,
    /// Instances (and services) that a caught-up session says are not there. Only these may go.
    deniable: bool,
}

fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut play = Play::new();
    let mut model = Model::default();
    let mut told = Truth::new();
    for step in steps {
        let before = play.seen();
        match step {
            Step::Set {
                service,
                instances,
                said: is_said,
            } => {
                model.truth.insert(*service, instances.clone());
                if *is_said && model.is_live {
                    told.insert(*service, instances.clone());
                    play.say(said(*service, instances));
                }
            }
            Step::Delete { service, said: is_said } => {
                model.truth.remove(service);
                if *is_said && model.is_live && told.remove(service).is_some() {
                    play.say(gone(&format!("s{service}")));
                }
            }
            Step::Forget => model.truth.clear(),
            Step::Session => {
                play.end("over");
                session(&mut play, &model.truth);
                told.clone_from(&model.truth);
                model.is_live = true;
            }
            Step::HalfSession { keep } => {
                play.end("over");
                play.event(Event::Opened);
                for (service, instances) in model.truth.iter().filter(|(service, _)| *service <= keep) {
                    let some: BTreeSet<u8> = instances.iter().copied().filter(|n| n <= keep).collect();
                    play.say(said(*service, &some));
                }
                play.seconds(40);
                play.end("cut off");
                model.is_live = false;
            }
            Step::Error => {
                play.end("500");
                play.event(Event::Opened);
                play.end("500");
                model.is_live = false;
            }
            Step::FullRead if model.is_live => {
                for service in told.keys().filter(|service| !model.truth.contains_key(*service)) {
                    play.say(gone(&format!("s{service}")));
                }
                for (service, instances) in &model.truth {
                    play.say(said(*service, instances));
                }
                play.say(Knowledge::CaughtUp);
                told.clone_from(&model.truth);
            }
            Step::Confirm if model.is_live => play.say(Knowledge::Confirmed),
            Step::FullRead | Step::Confirm => {}
            Step::Pass { tenths } => play.pass(Duration::from_millis(u64::from(*tenths) * 100)),
            Step::Probes(answers) => play.probes = if *answers { Probed::Answers } else { Probed::Fails },
        }
        model.deniable = model.is_live;
        check(&play, &model, &told, &before)?;
    }
    // Quiet and healthy at last: within bounded time the view is the truth.
    play.end("over");
    session(&mut play, &model.truth);
    play.seconds(301);
    prop_assert_eq!(play.seen(), names(&model.truth));
    prop_assert!(play.view.holds.is_empty());
    for view in play.view.services.values() {
        prop_assert!(!is_stale(view));
    }
    Ok(())
}

fn is_stale(view: &ServiceView) -> bool {
    matches!(view.freshness, Freshness::Stale { .. })
}

fn session(play: &mut Play, truth: &Truth) {
    play.event(Event::Opened);
    for (service, instances) in truth {
        play.say(said(*service, instances));
    }
    play.say(Knowledge::CaughtUp);
}

fn check(
    play: &Play,
    model: &Model,
    told: &Truth,
    before: &BTreeMap<String, Vec<String>>,
) -> Result<(), TestCaseError> {
    let seen = play.seen();
    let told_names = names(told);
    // 1. Nothing goes without a caught-up session that says it is not there.
    for (service, ids) in before {
        for id in ids {
            let is_there = seen.get(service).is_some_and(|ids| ids.contains(id));
            let is_denied = model.deniable && !told_names.get(service).is_some_and(|ids| ids.contains(id));
            prop_assert!(is_there || is_denied, "{} of {} has gone", id, service);
        }
        let is_denied = model.deniable && !told_names.contains_key(service);
        prop_assert!(seen.contains_key(service) || is_denied, "{} has gone", service);
    }
    // What a live session says is seen at once.
    if model.is_live {
        for (service, ids) in &told_names {
            let shown = seen.get(service);
            prop_assert!(
                shown.is_some_and(|shown| ids.iter().all(|id| shown.contains(id))),
                "{} is not seen",
                service
            );
        }
    }
    // 2. The view is consistent: sorted, every hold is of something that is shown and not said.
    for (name, view) in &play.view.services {
        prop_assert_eq!(&view.service.id.name, name);
        prop_assert!(view.service.instances.windows(2).all(|pair| pair[0].id < pair[1].id));
    }
    for hold in &play.view.holds {
        let shown = seen.get(&*hold.service).cloned().unwrap_or_default();
        prop_assert!(!hold.instances.is_empty());
        for id in &hold.instances {
            prop_assert!(shown.contains(&id.to_string()));
            let is_said = told_names
                .get(&*hold.service)
                .is_some_and(|ids| ids.contains(&id.to_string()));
            prop_assert!(!(model.is_live && is_said), "{} is said and held", id);
        }
    }
    if !model.is_live {
        prop_assert!(play.view.services.values().all(|view| is_stale(view)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn no_history_removes_without_evidence_and_every_history_converges(steps in steps()) {
        run(&steps)?;
    }

    #[test]
    fn the_same_history_gives_the_same_view(steps in steps()) {
        let play = || {
            let mut play = Play::new();
            for step in &steps {
                match step {
                    Step::Set { service, instances, .. } => play.say(said(*service, instances)),
                    Step::Delete { service, .. } => play.say(gone(&format!("s{service}"))),
                    Step::FullRead | Step::Session => play.say(Knowledge::CaughtUp),
                    Step::Pass { tenths } => play.pass(Duration::from_millis(u64::from(*tenths) * 100)),
                    Step::Probes(true) => play.probes = Probed::Answers,
                    Step::Probes(false) => play.probes = Probed::Fails,
                    Step::Confirm => play.say(Knowledge::Confirmed),
                    Step::Error | Step::Forget | Step::HalfSession { .. } => play.end("over"),
                }
            }
            play.view
        };
        prop_assert_eq!(play(), play());
    }
}
