//! The process's log on standard error. pingora's own lines come in through the `log` facade.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

use crate::{args::LogFormat, outcome::Failure};

/// Starts logging. `filter` is a level or `tracing` filters.
pub fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    // pingora logs an error a failed request; the access log and the metrics say the same, once.
    let quiet = ",pingora_proxy=off,pingora_core=off";
    let filter = EnvFilter::try_new(format!(
        "{filter}{}",
        if filter.contains("pingora") { "" } else { quiet }
    ))
    .map_err(|error| Failure::Usage(format!("--log {filter}: {error}")))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
