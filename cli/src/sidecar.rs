//! `landfall sidecar`: configuration, registries and control as for a gateway, for one application.
//!
//! ```text
//! config::load ─▶ identity ─▶ admin port ─▶ hub ─▶ rules of this sidecar ─▶ control ─▶ sidecar ─▶ admin pages
//! ```
//!
//! A sidecar writes nothing into registries.

use std::{sync::Arc, time::Duration};

use landfall_adapters::{
    facade::traffic::Board,
    hub::{Hub, HubOptions},
};
use landfall_config::follow;
use landfall_control::{
    Control, ControlOptions,
    admin::{AdminServer, Sources},
    resolve,
};
use landfall_gateway::AccessLogTarget;
use landfall_model::rules::MutualTls;
use landfall_sidecar::{Sidecar, SidecarOptions, rules};
use tokio::sync::oneshot;

use crate::{
    args::{MutualTlsMode, SidecarArgs},
    data_path::EngineDataPath,
    identity::Who,
    outcome::{Failure, chain},
    run::{OPEN_AFTER, Signals, Told, default_data_dir, raise_open_files, refused, wait_until_ready},
    systemd,
};

/// Runs until SIGTERM or SIGINT; SIGHUP reads the configuration at once; a second SIGTERM or SIGINT does not wait.
pub async fn until_told_to_end(args: SidecarArgs) -> Result<(), Failure> {
    raise_open_files();
    let mut signals = Signals::new()?;
    let unreachable = |error: &dyn std::error::Error| Failure::Unreachable(chain(error));
    let first = landfall_config::load(&args.config).map_err(|error| refused(&error))?;
    for warning in &first.warnings {
        tracing::warn!("{warning}");
    }
    for service in std::iter::once(&args.service).chain(&args.calls) {
        if !first
            .registries
            .iter()
            .any(|registry| registry.name == service.registry)
        {
            return Err(Failure::Usage(format!(
                "{service}: there is no registry {}",
                service.registry
            )));
        }
    }
    let who = Who::of(args.identity)?;
    let mode = match args.mutual_tls {
        MutualTlsMode::Permissive => MutualTls::Permissive,
        MutualTlsMode::Strict => MutualTls::Strict,
    };
    if who.is_none() && mode == MutualTls::Strict {
        return Err(Failure::Usage(
            "--mutual-tls strict needs an identity: name one with --identity".to_owned(),
        ));
    }
    let identity = who.as_ref().map(Who::follow).transpose()?;
    let admin = AdminServer::bind(args.admin).await;
    let admin =
        admin.map_err(|error| Failure::Unreachable(format!("{}\nChoose another with --admin.", chain(&error))))?;
    let data_dir = args.data_dir.unwrap_or_else(default_data_dir);
    std::fs::create_dir_all(&data_dir).map_err(|error| {
        Failure::Unreachable(format!(
            "cannot make {}: {error}\nChoose another with --data-dir.",
            data_dir.display()
        ))
    })?;
    let options = SidecarOptions {
        service: args.service,
        application: args.application,
        inbound: args.inbound,
        outbound: args.outbound,
        calls: args.calls,
        mode,
        workers: args.workers,
    };
    let hub = Arc::new(Hub::start(HubOptions {
        data_dir: Some(data_dir),
        ..HubOptions::default()
    }));
    let config = follow(&args.config, first);
    let own = rules::follow(config.state(), options.clone());
    let control = Control::start(ControlOptions {
        config: own.clone(),
        hub: hub.clone(),
        trust_domain: who.map(|who| who.trust_domain),
        look_up: resolve::system(),
    })
    .await;
    if tokio::time::timeout(OPEN_AFTER, wait_until_ready(&control, None))
        .await
        .is_err()
    {
        tracing::warn!("opening the ports although not every registry has answered; /readyz tells which");
    }
    let access_log = AccessLogTarget::parse(&args.access_log)
        .open()
        .map_err(|error| unreachable(&error))?;
    let mesh = identity.as_ref().map(|identity| identity.mesh.clone());
    let sidecar =
        Sidecar::start(own, control.snapshots(), &options, mesh, access_log).map_err(|error| unreachable(&error))?;
    let metrics = hub.metrics();
    let sources = Sources {
        control: control.clone(),
        data_path: Some(Arc::new(EngineDataPath(sidecar.engine()))),
        writing: None,
        metrics: vec![Arc::new(move |out: &mut String| metrics.render(out))],
        facades: Board::default(),
    };
    tracing::info!(address = %admin.address(), "admin server listening");
    let (admin_end, end) = oneshot::channel::<()>();
    let admin = tokio::spawn(admin.serve(sources, async move {
        let _ = end.await;
    }));
    systemd::ports_are_open();
    let data_path = EngineDataPath(sidecar.engine());
    let mut serving = false;
    let name = loop {
        let told = tokio::select! {
            told = signals.next() => told,
            () = wait_until_ready(&control, Some(&data_path)), if !serving => {
                serving = true;
                systemd::serving();
                continue;
            }
        };
        match told {
            Told::Reload => {
                tracing::info!("SIGHUP: reading the configuration again");
                config.reload_now();
            }
            Told::End(name) => break name,
        }
    };
    let patience = Duration::from_secs(args.drain_seconds);
    tracing::info!("{name}: ending; calls in flight have {} s", args.drain_seconds);
    systemd::stopping(patience);
    let end = async {
        let cut = sidecar.drain(patience).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "cut what was still open after the drain time");
        }
        hub.shutdown().await;
        let _ = admin_end.send(());
        let _ = tokio::time::timeout(Duration::from_secs(1), admin).await;
    };
    tokio::select! {
        () = end => {}
        name = signals.end() => tracing::warn!("{name} again: ending at once"),
    }
    // The engine joins its threads, which is no work for the control plane's own.
    drop(data_path);
    let _ = tokio::task::spawn_blocking(move || drop(sidecar)).await;
    Ok(())
}
