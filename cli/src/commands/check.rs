//! `landfall check`: preflight. What `up` needs is tried, and nothing is left behind.

use std::time::{Duration, SystemTime};

use landfall_config::RegistryConfig;
use landfall_control::control::RegistryReadiness;
use landfall_gateway::{Gateway, GatewayOptions};

use super::look::{Look, look};
use crate::{
    args::CheckArgs,
    outcome::{Failure, chain},
    output,
};

/// A clock that is off by more makes certificates and logs misleading.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// Prints a line a check; 1 if any failed.
pub async fn check(args: CheckArgs) -> Result<(), Failure> {
    let look = look(&args.config, Duration::from_secs(args.wait)).await?;
    let mut report = Report::default();
    let rules = &look.config.rules;
    report.good(format!(
        "configuration: {}, {}",
        output::count(look.config.registries.len(), "registry"),
        output::count(rules.routes.len() + rules.dubbo_routes.len(), "route")
    ));
    for warning in &look.config.warnings {
        report.note(format!("configuration: {warning}"));
    }
    registries(&look, &mut report);
    for registry in &look.config.registries {
        clock(registry, &mut report).await;
    }
    references(&look, &mut report);
    listeners(&look, &args, &mut report);
    report.end()
}

fn registries(look: &Look, report: &mut Report) {
    let composition = look.control.composition();
    for (name, readiness) in look.control.readiness(None).registries {
        if !look.config.registries.iter().any(|registry| registry.name == name) {
            continue;
        }
        let services = composition
            .world
            .registries
            .get(&name)
            .map_or(0, |view| view.services.len());
        match readiness {
            RegistryReadiness::CaughtUp(_) => report.good(format!(
                "registry {name}: reached, {}",
                output::count(services, "service")
            )),
            RegistryReadiness::LastGood(_) => report.note(format!(
                "registry {name}: not reached; its last good view would be used"
            )),
            RegistryReadiness::Waiting(why) => report.bad(format!("registry {name}: {why}")),
        }
    }
}

/// HTTP registries tell their time in every answer.
async fn clock(registry: &RegistryConfig, report: &mut Report) {
    let eureka = registry.spec.eureka.as_ref().and_then(|eureka| eureka.urls.first());
    let Some(url) = eureka.or(registry.spec.consul.as_ref().map(|consul| &consul.address)) else {
        return;
    };
    let Ok(client) = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
    else {
        return;
    };
    let Ok(answer) = client.get(url).send().await else {
        return;
    };
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return;
    };
    let ours = SystemTime::now();
    let apart = ours
        .duration_since(theirs)
        .or_else(|_| theirs.duration_since(ours))
        .unwrap_or_default();
    // The header has whole seconds.
    if apart > CLOCK_TOLERANCE + Duration::from_secs(1) {
        report.bad(format!(
            "clock: {} s apart from registry {}",
            apart.as_secs(),
            registry.name
        ));
    } else {
        report.good(format!("clock: agrees with registry {}", registry.name));
    }
}

fn references(look: &Look, report: &mut Report) {
    for warning in &look.control.composition().warnings {
        report.note(format!("routes: {warning}"));
    }
}

/// Binds and loads what `up` would, then lets go.
fn listeners(look: &Look, args: &CheckArgs, report: &mut Report) {
    let options = GatewayOptions {
        workers: 1,
        map_ports: args.map_port.clone(),
        ..GatewayOptions::default()
    };
    match Gateway::start(look.control.snapshots(), options) {
        Err(error) => report.bad(format!("listeners: {}", chain(&error))),
        Ok(gateway) => {
            for listener in gateway.engine().listeners() {
                match (listener.bound, listener.error) {
                    (Some(address), None) => report.good(format!("listener {}: {address} is free", listener.id)),
                    (_, error) => report.bad(format!("listener {}: {}", listener.id, error.unwrap_or_default())),
                }
            }
        }
    }
}

#[derive(Default)]
struct Report {
    failed: usize,
}

impl Report {
    fn good(&mut self, line: String) {
        output::print(&format!("ok    {line}\n"));
    }

    fn note(&mut self, line: String) {
        output::print(&format!("note  {line}\n"));
    }

    fn bad(&mut self, line: String) {
        self.failed += 1;
        output::print(&format!("FAIL  {line}\n"));
    }

    fn end(self) -> Result<(), Failure> {
        match self.failed {
            0 => Ok(()),
            failed => Err(Failure::No(format!("{} failed", output::count(failed, "check")))),
        }
    }
}
