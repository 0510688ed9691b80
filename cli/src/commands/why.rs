//! `landfall why SERVICE [ENDPOINT]`: where each instance came from, and why it gets calls or not.

use landfall_model::world::CONFIGURED_BY;
use serde_json::Value;

use crate::{
    admin,
    args::{Output, WhyArgs},
    outcome::Failure,
    output,
};

/// Asks a running Landfall.
pub async fn why(args: WhyArgs) -> Result<(), Failure> {
    let mut query = vec![("service", args.service.as_str())];
    query.extend(args.endpoint.as_deref().map(|endpoint| ("endpoint", endpoint)));
    let answer = admin::ask(args.admin, "/api/v1/why", &query).await?;
    output::print(&match args.output {
        Output::Json => output::json(&answer),
        Output::Yaml => output::yaml(&answer)?,
        Output::Text | Output::Wide => text(&answer),
    });
    Ok(())
}

fn text(answer: &Value) -> String {
    output::list(&answer["services"]).map(service).collect()
}

fn service(service: &Value) -> String {
    let mut out = format!("{}: {}\n", output::cell(&service["id"]), freshness(service));
    for hold in output::list(&service["holds"]) {
        out += &format!("  held back: {}\n", output::cell(&hold["reason"]));
    }
    for instance in output::list(&service["instances"]) {
        let mark = if instance["inDataPath"] == true { "+" } else { "-" };
        let ports: Vec<String> = output::list(&instance["ports"])
            .map(|port| output::cell(&port["number"]))
            .collect();
        let (id, host) = (output::cell(&instance["id"]), output::cell(&instance["host"]));
        out += &format!(
            "  {mark} {id}  {host}:{}  {}\n",
            ports.join(","),
            output::cell(&instance["status"])
        );
        if let Some(origin) = instance["copyOf"].as_str() {
            out += &format!("      copy of {origin}\n");
        }
        if let Some(by) = instance["metadata"][CONFIGURED_BY].as_str() {
            out += &format!("      governed: {by}\n");
        }
        for copy in output::list(&instance["copies"]) {
            out += &format!("      written as {}\n", output::cell(copy));
        }
        for reason in output::list(&instance["reasons"]) {
            let cluster = reason["cluster"]
                .as_str()
                .map(|cluster| format!("{cluster}: "))
                .unwrap_or_default();
            out += &format!("      {cluster}{}\n", output::cell(&reason["text"]));
        }
    }
    for record in output::list(&service["quarantined"]) {
        out += &format!(
            "  ! {}: {}\n",
            output::cell(&record["record"]),
            output::cell(&record["reason"])
        );
    }
    out
}

fn freshness(service: &Value) -> String {
    match service["freshness"]["state"].as_str() {
        None => "its registry does not have it".to_owned(),
        Some("stale") => format!(
            "stale since {}: {}",
            output::cell(&service["freshness"]["since"]),
            output::cell(&service["freshness"]["why"])
        ),
        Some(_) => format!("unchanged since {}", output::cell(&service["freshness"]["since"])),
    }
}
