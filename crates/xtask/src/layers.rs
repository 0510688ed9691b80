//! Which crate may use which: the arrows of ARCHITECTURE.md, and no other.
//!
//! ```text
//! what runs     gateway   sidecar   control   cli        anything below, not each other; cli starts them
//! shared        engine    adapters    xds    identity    the ground, not each other
//! ground        config    codec    model                 model and codec use nothing; config uses model
//! ```
//!
//! The tests stand outside: they use the binary, and adapters and codec as crates where they meet real ones.
//! pingora is imported by `engine` alone. The rule counts for ordinary, build and test dependencies.

use std::process::{Command, ExitCode};

use serde_json::Value;

const GROUND: [&str; 3] = ["landfall-config", "landfall-codec", "landfall-model"];
const SHARED: [&str; 4] = [
    "landfall-engine",
    "landfall-adapters",
    "landfall-xds",
    "landfall-identity",
];
const RUNS: [&str; 3] = ["landfall-gateway", "landfall-sidecar", "landfall-control"];

/// Asks cargo for the dependencies and prints every arrow that must not be.
pub fn check() -> ExitCode {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output();
    let metadata: Value = match output {
        Ok(output) if output.status.success() => match serde_json::from_slice(&output.stdout) {
            Ok(metadata) => metadata,
            Err(error) => return fail(&format!("cargo metadata is no JSON: {error}")),
        },
        Ok(output) => return fail(&String::from_utf8_lossy(&output.stderr)),
        Err(error) => return fail(&format!("cannot run cargo metadata: {error}")),
    };
    let arrows = arrows(&metadata);
    let wrong: Vec<_> = arrows
        .iter()
        .filter_map(|(from, to)| Some((from, to, forbidden(from, to)?)))
        .collect();
    for (from, to, why) in &wrong {
        eprintln!("{from} must not use {to}: {why}");
    }
    if wrong.is_empty() {
        println!("layers: {} arrows, all allowed", arrows.len());
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("layers: {why}");
    ExitCode::FAILURE
}

fn arrows(metadata: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let depends = |package: &Value| package["dependencies"].as_array().cloned().unwrap_or_default();
    packages
        .iter()
        .flat_map(|package| {
            depends(package)
                .into_iter()
                .map(|to| (text(&package["name"]), text(&to["name"])))
        })
        .collect()
}

/// Why `from` must not depend on `to`, if it must not.
fn forbidden(from: &str, to: &str) -> Option<&'static str> {
    if to.starts_with("pingora") {
        return (from != "landfall-engine").then_some("only engine imports pingora");
    }
    let ours = |name| GROUND.contains(&name) || SHARED.contains(&name) || RUNS.contains(&name) || name == "landfall";
    if !ours(to) {
        return None;
    }
    match from {
        "landfall" => None,
        "landfall-model" | "landfall-codec" => Some("it uses nothing of ours"),
        "landfall-config" => (to != "landfall-model").then_some("config uses the model alone"),
        from if SHARED.contains(&from) => (!GROUND.contains(&to)).then_some("the shared layer uses the ground alone"),
        from if RUNS.contains(&from) => {
            (RUNS.contains(&to) || to == "landfall").then_some("what runs does not use each other; cli joins them")
        }
        // An election or a publisher is tried against a real registry as a user of the crate would.
        "landfall-tests" => (!["landfall-adapters", "landfall-codec", "landfall-config"].contains(&to))
            .then_some("it looks at the system from outside, or at adapters and codec as crates"),
        "xtask" => Some("it is no part of the system"),
        _ => Some("the crate is in no layer; name it in xtask's layers.rs and ARCHITECTURE.md"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arrows_of_the_picture_are_allowed_and_others_are_not() {
        let allowed = [
            ("landfall", "landfall-control"),
            ("landfall-control", "landfall-engine"),
            ("landfall-engine", "landfall-model"),
            ("landfall-config", "landfall-model"),
            ("landfall-engine", "pingora-core"),
            ("landfall-tests", "landfall-adapters"),
            ("landfall-model", "serde"),
        ];
        let refused = [
            ("landfall-gateway", "landfall-control"),
            ("landfall-engine", "landfall-adapters"),
            ("landfall-model", "landfall-config"),
            ("landfall-config", "landfall-codec"),
            ("landfall-gateway", "pingora-proxy"),
            ("landfall-tests", "landfall-model"),
            ("landfall-new", "landfall-model"),
        ];
        for (from, to) in allowed {
            assert_eq!(forbidden(from, to), None, "{from} -> {to}");
        }
        for (from, to) in refused {
            assert!(forbidden(from, to).is_some(), "{from} -> {to}");
        }
    }

    #[test]
    fn every_dependency_that_cargo_lists_becomes_an_arrow() {
        let metadata = serde_json::json!({"packages": [{"name": "a", "dependencies": [{"name": "b"}, {"name": "c"}]}]});
        assert_eq!(
            arrows(&metadata),
            [("a".to_owned(), "b".to_owned()), ("a".to_owned(), "c".to_owned())]
        );
    }
}
