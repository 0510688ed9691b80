//! Dubbo2 load at a fixed rate or as fast as it goes, and the provider that echoes it.
//!
//! ```text
//!  dubbo-load serve LISTEN
//!  dubbo-load load --to ADDRESS --connections 4 --outstanding 64 --size 1024 --seconds 5 [--rate 5000]
//!
//!  load ── calls ──▶ proxy ── calls ──▶ serve
//!       ◀─ answers ─       ◀─ answers ─       each checked byte for byte against its own call
//! ```
//!
//! With `--rate` the calls are due at fixed moments, spread evenly over the connections, and a latency counts from the
//! moment when its call was due, so that a stall is seen by all calls that it held up. Without it each connection keeps
//! `--outstanding` calls in flight. The figures are one line of JSON on stdout. The status is 1, and stdout empty, if one
//! call failed: such a run has no figures.
//!
//! First on the path: [`call`] (what is sent), then [`load`] and [`provider`].

mod call;
mod connection;
mod figures;
mod load;
mod provider;

use std::{env, error::Error, net::SocketAddr, process::ExitCode, time::Duration};

use load::Plan;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How it is called.
const USAGE: &str = "dubbo-load serve LISTEN | dubbo-load load --to ADDRESS [--connections N] [--outstanding N] \
                     [--size BYTES] [--seconds N] [--rate CALLS_PER_SECOND]";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dubbo-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Outcome<()> {
    match words {
        [verb, listen] if verb == "serve" => provider::serve(listen.parse::<SocketAddr>()?),
        [verb, options @ ..] if verb == "load" => {
            let plan = plan(options)?;
            println!("{}", load::run(&plan)?);
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn plan(options: &[String]) -> Outcome<Plan> {
    let (mut to, mut rate, mut seconds) = (None, None, 5.0);
    let (mut connections, mut outstanding, mut size) = (4, 64, 1024);
    for pair in options.chunks(2) {
        let [name, value] = pair else { return Err(USAGE.into()) };
        match name.as_str() {
            "--to" => to = Some(value.parse::<SocketAddr>()?),
            "--connections" => connections = value.parse()?,
            "--outstanding" => outstanding = value.parse()?,
            "--size" => size = value.parse()?,
            "--seconds" => seconds = value.parse()?,
            "--rate" => rate = Some(value.parse()?),
            _ => return Err(USAGE.into()),
        }
    }
    let plan = Plan {
        to: to.ok_or(USAGE)?,
        connections,
        outstanding,
        size,
        lasts: Duration::try_from_secs_f64(seconds)?,
        rate,
    };
    plan.check()?;
    Ok(plan)
}
