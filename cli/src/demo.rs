//! `landfall demo`: everything at once with nothing to install.
//!
//! ```text
//! orders-1 ─┐ register, renew         ┌─▶ gateway ◀── curl localhost:8080/orders
//! orders-2 ─┼────────▶ embedded Eureka ┤
//! stock-1  ─┘                          │
//! stock-2  ◀── vm.yaml, a file registry┘
//! ```
//!
//! The same parts as `landfall up`, with `demo/landfall.yaml` as configuration and sample services in the same process.

mod sample;
mod screen;

use std::{net::SocketAddr, path::Path, time::Duration};

use landfall_gateway::{AccessLogTarget, GatewayOptions};
use tempfile::TempDir;

use crate::{
    args::DemoArgs,
    outcome::Failure,
    run::{RunOptions, Running, Signals},
};
use sample::Sample;

const CONFIGURATION: &str = include_str!("demo/landfall.yaml");

/// Runs until Ctrl-C.
pub async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    free(args.port, "--port")?;
    free(args.registry_port, "--registry-port")?;
    let mut samples = vec![
        Sample::start("orders", 1, "eureka").await?,
        Sample::start("orders", 2, "eureka").await?,
        Sample::start("stock", 1, "eureka").await?,
    ];
    let elsewhere = Sample::start("stock", 2, "vm").await?;
    let dir = TempDir::with_prefix("landfall-demo-")
        .map_err(|error| Failure::Unreachable(format!("no temporary directory: {error}")))?;
    write_configuration(dir.path(), &args, &elsewhere)?;
    let (sender, lines) = std::sync::mpsc::channel();
    let running = Running::start(RunOptions {
        config: dir.path().join("landfall.yaml"),
        admin: args.admin,
        data_dir: dir.path().join("data"),
        cluster: "demo".to_owned(),
        elect_in: None,
        identity: None,
        gateway: GatewayOptions {
            workers: 1,
            map_ports: vec![(8080, args.port)],
            access_log: AccessLogTarget::Channel(sender),
            ..GatewayOptions::default()
        },
    })
    .await?;
    let registry = format!("http://127.0.0.1:{}/eureka", args.registry_port);
    for sample in &mut samples {
        sample.register(&registry).await?;
    }
    // What the screen says to try works from the first time on.
    let addresses: Vec<SocketAddr> = samples.iter().chain([&elsewhere]).map(Sample::address).collect();
    let serving = async {
        running.ready().await;
        running.carries(&addresses).await;
    };
    tokio::select! {
        () = serving => {}
        _ = signals.end() => return Ok(()),
    }
    screen::welcome(&args, dir.path(), &samples, &elsewhere);
    let table = std::thread::spawn(move || screen::table(&lines));
    signals.end().await;
    for sample in samples {
        sample.stop().await;
    }
    elsewhere.stop().await;
    running.stop(Duration::from_secs(2)).await;
    // The engine has let go of the access log, so the table has its last line.
    let _ = table.join();
    Ok(())
}

/// The demo's own ports are looked at first, so that the mend can name its own flag.
fn free(port: u16, flag: &str) -> Result<(), Failure> {
    match std::net::TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Unreachable(format!(
            "port {port}: {error}\nChoose another with {flag}, such as {flag} {}",
            u32::from(port) + 1
        ))),
    }
}

fn write_configuration(dir: &Path, args: &DemoArgs, elsewhere: &Sample) -> Result<(), Failure> {
    let text = CONFIGURATION.replace("${DEMO_REGISTRY_PORT}", &args.registry_port.to_string());
    let vm = format!(
        "# Machines that no registry knows. Change this file and watch the answers change.\nservices:\n  - name: stock\n    instances: [\"{}\"]\n",
        elsewhere.address()
    );
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text);
    write("vm.yaml", &vm)
        .and_then(|()| write("landfall.yaml", &text))
        .map_err(|error| Failure::Unreachable(format!("cannot write to {}: {error}", dir.display())))
}
