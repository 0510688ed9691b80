//! Checks of the project itself, and what is generated from it, run as `cargo xtask <command>`.

mod deb;
mod docs;
mod layers;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["layers"] => layers::check(),
        ["docs"] => docs::run(false),
        ["docs", "--check"] => docs::run(true),
        ["deb"] => deb::build(None),
        ["deb", "--binary", path] => deb::build(Some(path)),
        _ => {
            eprintln!("usage: cargo xtask layers | docs [--check] | deb [--binary PATH]");
            ExitCode::from(2)
        }
    }
}
