//! `docs/reference.md` and `docs/schema.json`, generated from the JSON Schema that the binary prints.
//!
//! ```text
//! landfall schema ─▶ docs/schema.json         as it is, for editors
//!                 └▶ one table per kind ─▶ docs/reference.md
//! ```
//!
//! With `--check` nothing is written: what differs is named, and the answer is no. `LANDFALL_BIN` names a binary that is
//! built already; else cargo builds one. Next on the path: [`page`].

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use serde_json::Value;

mod page;

/// Writes both files, or with `check` compares them.
pub fn run(check: bool) -> ExitCode {
    match generate(check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn generate(check: bool) -> Result<(), String> {
    let text = schema()?;
    let schema: Value = serde_json::from_str(&text).map_err(|error| format!("the schema is no JSON: {error}"))?;
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let mut stale = Vec::new();
    for (name, content) in [("schema.json", text), ("reference.md", page::render(&schema))] {
        let path = docs.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == content) {
            continue;
        }
        if check {
            stale.push(format!("docs/{name}"));
            continue;
        }
        std::fs::write(&path, content).map_err(|error| format!("docs/{name}: {error}"))?;
        println!("docs/{name} written");
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} no longer fits the configuration model; run `cargo xtask docs` and commit what it writes",
        stale.join(", ")
    ))
}

fn schema() -> Result<String, String> {
    let mut command = match std::env::var_os("LANDFALL_BIN").filter(|path| !path.is_empty()) {
        Some(path) => Command::new(path),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--package", "landfall", "--"]);
            cargo
        }
    };
    let output = command
        .arg("schema")
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    String::from_utf8(output.stdout).map_err(|_| "the schema is not UTF-8".to_owned())
}
