//! Two hundred broken configurations: each is refused, with the place, and for its own reason alone.

use std::path::Path;

use landfall_config::{LoadError, Problem, load::load_text};

#[path = "broken/mod.rs"]
mod broken;

fn problems(text: &str) -> Vec<Problem> {
    match load_text("landfall.yaml", Path::new(""), text) {
        Ok(_) => Vec::new(),
        Err(LoadError::Refused(problems)) => problems.0,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_good_configuration_is_taken_without_a_warning() {
    let config = load_text("landfall.yaml", Path::new(""), broken::BASE).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.warnings, []);
    assert_eq!(config.registries.len(), 6);
    assert_eq!(config.rules.routes.len(), 2);
    assert_eq!(config.syncs.len(), 2);
}

#[test]
fn every_broken_configuration_is_refused_at_its_place() {
    let cases = broken::cases();
    assert!(cases.len() >= 200, "{} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let found = problems(&case.text);
        let all = found.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n    ");
        let at = |place: &(u32, u32)| {
            found
                .iter()
                .any(|p| (p.line, p.column) == *place && p.to_string().contains(&case.what))
        };
        let count = found.len() == case.places.len() || case.more && found.len() > case.places.len();
        if !case.places.iter().all(at) || !count {
            failures.push(format!("{}\n  wanted at {:?}, got\n    {all}", case.name, case.places));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn every_problem_says_how_to_mend_it() {
    for case in broken::cases() {
        for problem in problems(&case.text) {
            assert!(
                !problem.mend.is_empty() && !problem.what.is_empty(),
                "{}: {problem:?}",
                case.name
            );
            let shown = problem.to_string();
            assert!(
                shown.starts_with(&format!("landfall.yaml:{}:{}: ", problem.line, problem.column)),
                "{shown}"
            );
        }
    }
}

#[test]
fn many_faults_are_reported_together() {
    // One fault each in every tenth case's place, as far as they do not overlap.
    let text = broken::BASE
        .replace("poll: 5s", "poll: soon")
        .replace("maxWatches: 128", "maxWatchers: 128")
        .replace("port: 8080, protocol: HTTP }", "port: 80800, protocol: HTP }")
        .replace("value: /orders }", "value: orders }")
        .replace("percent: 10\n", "percent: 110\n")
        .replace("namespace: here", "namespace: hree")
        .replace("panicThreshold: 40", "panicThreshold: \"40\"");
    let paths: Vec<_> = problems(&text).into_iter().map(|p| p.path).collect();
    let expected = [
        "spec.eureka.poll",
        "spec.consul.maxWatchers",
        "spec.listeners[0].port",
        "spec.listeners[0].protocol",
        "spec.rules[0].matches[0].path.value",
        "spec.rules[0].filters[2].requestMirror.percent",
        "spec.rules[2].backendRefs[0].namespace",
        "spec.panicThreshold",
    ];
    assert_eq!(paths, expected);
}
