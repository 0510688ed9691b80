//! `landfall validate PATH`: every problem with its place; 1 if there is any.

use landfall_config::{LoadError, Problem, load};
use serde_json::json;

use crate::{
    args::{ValidateArgs, ValidateOutput},
    outcome::Failure,
    output,
};

/// Prints all problems and warnings to standard output.
pub fn validate(args: &ValidateArgs) -> Result<(), Failure> {
    let loaded = load(&args.path);
    let problems = loaded.as_ref().err().map(LoadError::problems).unwrap_or_default();
    let warnings = loaded
        .as_ref()
        .map(|config| config.warnings.clone())
        .unwrap_or_default();
    match args.output {
        ValidateOutput::Json => output::print(&output::json(&json!({ "problems": problems, "warnings": warnings }))),
        ValidateOutput::Text => {
            let lines = |list: &[Problem], word: &str| list.iter().map(|p| format!("{word}{p}\n")).collect::<String>();
            output::print(&(lines(&problems, "") + &lines(&warnings, "warning: ")));
        }
    }
    match (loaded, args.output) {
        (Ok(_), ValidateOutput::Json) => Ok(()),
        (Ok(config), ValidateOutput::Text) => {
            let rules = &config.rules;
            let counts = [
                (config.registries.len(), "registry"),
                (rules.listeners.len(), "listener"),
                (rules.routes.len() + rules.dubbo_routes.len(), "route"),
                (rules.policies.len() + rules.authorization.len(), "policy"),
            ];
            let counts: Vec<String> = counts
                .iter()
                .map(|(number, what)| output::count(*number, what))
                .collect();
            output::print(&format!("{} is good: {}\n", args.path.display(), counts.join(", ")));
            Ok(())
        }
        (Err(_), _) => Err(Failure::No(format!(
            "{} is refused: {} to mend",
            args.path.display(),
            output::count(problems.len(), "problem")
        ))),
    }
}
