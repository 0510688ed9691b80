//! The `landfall` binary: reads the command line, joins the parts, prints answers. Nothing clever happens here.
//!
//! ```text
//! args ──▶ commands ─┬─▶ run: config ▶ hub ▶ control ▶ gateway      up, gateway, demo
//!                    ├─▶ sidecar: config ▶ hub ▶ control ▶ sidecar   sidecar; who it is: identity
//!                    ├─▶ admin: asks a running one                   get, why, explain, sync
//!                    └─▶ config and registries, looked at once       validate, check, explain --config, schema
//! ```

mod admin;
mod args;
mod commands;
mod data_path;
mod demo;
mod identity;
mod logging;
mod outcome;
mod output;
mod run;
mod sidecar;
mod systemd;

use std::{net::TcpListener, process::ExitCode, sync::Arc};

use clap::Parser;

use crate::{
    args::{Cli, Command},
    outcome::Failure,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

fn start(cli: Cli) -> Result<(), Failure> {
    let quiet = matches!(cli.command, Command::Demo(_) | Command::Check(_) | Command::Explain(_));
    logging::start(
        cli.log.as_deref().unwrap_or(if quiet { "error" } else { "info" }),
        cli.log_format,
    )?;
    // ring is the only provider that is built in; reqwest and rustls take the process's default.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let inherited = systemd::sockets()?;
    // The control plane's own threads; the engine brings its own, so a large change never stalls traffic.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("landfall-control")
        .enable_all()
        .build()
        .map_err(|error| Failure::Unreachable(format!("the system gives no threads: {error}")))?;
    let ended = runtime.block_on(command(cli.command, inherited));
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn command(command: Command, inherited: Vec<Arc<TcpListener>>) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::demo(args).await,
        Command::Up(args) | Command::Gateway(args) => run::until_told_to_end(args, inherited).await,
        Command::Sidecar(args) => sidecar::until_told_to_end(args).await,
        Command::Identity(args) => identity::identity(&args),
        Command::Validate(args) => commands::validate::validate(&args),
        Command::Explain(args) => commands::explain::explain(args).await,
        Command::Get(args) => commands::get::get(args).await,
        Command::Why(args) => commands::why::why(args).await,
        Command::Sync(args) => commands::sync::sync(args).await,
        Command::Check(args) => commands::check::check(args).await,
        Command::Schema => commands::schema(),
    }
}
