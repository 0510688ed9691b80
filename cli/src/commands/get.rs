//! `landfall get …`: what a running Landfall knows, as a table or as it comes from the admin API.

use serde_json::Value;

use crate::{
    admin,
    args::{GetArgs, Listing, Output},
    outcome::Failure,
    output::{self, Table, cell, list},
};

/// Asks a running Landfall.
pub async fn get(args: GetArgs) -> Result<(), Failure> {
    let page = match args.what {
        Listing::Registries => "registries",
        Listing::Services => "services",
        Listing::Endpoints => "endpoints",
        Listing::Routes => "routes",
        Listing::Listeners => "listeners",
        Listing::Facades => "facades",
        Listing::Governance => "governance",
        Listing::Conflicts => "conflicts",
        Listing::Config => "config",
    };
    let answer = admin::ask(args.admin, &format!("/api/v1/{page}"), &[]).await?;
    let wide = args.output == Output::Wide;
    output::print(&match args.output {
        Output::Json => output::json(&answer),
        Output::Yaml => output::yaml(&answer)?,
        Output::Text | Output::Wide => match args.what {
            Listing::Registries => registries(&answer, wide),
            Listing::Services => services(&answer, wide),
            Listing::Endpoints => endpoints(&answer, wide),
            Listing::Routes => routes(&answer),
            Listing::Listeners => listeners(&answer),
            Listing::Facades => facades(&answer, wide),
            Listing::Governance => governance(&answer),
            Listing::Conflicts => conflicts(&answer),
            Listing::Config => config(&answer),
        },
    });
    Ok(())
}

fn or_none(table: &Table, none: &str) -> String {
    if table.is_empty() {
        format!("{none}\n")
    } else {
        table.to_string()
    }
}

fn registries(answer: &Value, wide: bool) -> String {
    let mut table = Table::new(&[
        "NAME",
        "KIND",
        "STATE",
        "FOR",
        "SERVICES",
        "INSTANCES",
        "HELD",
        "UNREADABLE",
        "ADDRESS",
    ]);
    let mut notes = String::new();
    for registry in list(&answer["registries"]) {
        let (session, name) = (&registry["session"], cell(&registry["name"]));
        table.row([
            name.clone(),
            cell(&registry["kind"]),
            cell(&session["state"]),
            age(&session["ageSeconds"]),
            cell(&registry["services"]),
            format!(
                "{}/{}",
                cell(&registry["servingInstances"]),
                cell(&registry["instances"])
            ),
            list(&registry["holds"]).count().to_string(),
            list(&registry["quarantined"]).count().to_string(),
            cell(&registry["address"]),
        ]);
        if let Some(why) = session["why"].as_str() {
            notes += &format!("{name} is stale since {}: {why}\n", cell(&session["since"]));
        }
        if registry["lastGoodAgeSeconds"].is_number() && registry["caughtUpAt"].is_null() {
            notes += &format!(
                "{name} is shown from its last good view, {} old\n",
                age(&registry["lastGoodAgeSeconds"])
            );
        }
        for hold in list(&registry["holds"]) {
            notes += &format!(
                "{name} holds back a removal from {}: {}\n",
                cell(&hold["service"]),
                cell(&hold["reason"])
            );
        }
        if wide {
            for record in list(&registry["quarantined"]) {
                notes += &format!(
                    "{name} cannot read {}: {}\n",
                    cell(&record["record"]),
                    cell(&record["reason"])
                );
            }
        }
    }
    or_none(&table, "no registries") + &notes
}

fn services(answer: &Value, wide: bool) -> String {
    let headings: &[&str] = if wide {
        &[
            "SERVICE",
            "REGISTRY",
            "KNOWLEDGE",
            "ROUTED",
            "SERVING",
            "INSTANCES",
            "WHERE",
        ]
    } else {
        &["SERVICE", "REGISTRY", "KNOWLEDGE", "ROUTED", "SERVING", "INSTANCES"]
    };
    let mut table = Table::new(headings);
    for service in list(&answer["services"]) {
        let serving = list(&service["instances"])
            .filter(|instance| instance["serving"] == "yes")
            .count();
        let mut row = vec![
            cell(&service["name"]),
            cell(&service["registry"]),
            cell(&service["freshness"]["state"]),
            if service["routed"] == true { "yes" } else { "-" }.to_owned(),
            serving.to_string(),
            list(&service["instances"]).count().to_string(),
        ];
        if wide {
            row.push(list(&service["instances"]).map(place).collect::<Vec<_>>().join(" "));
        }
        table.row(row);
    }
    or_none(&table, "no services")
}

fn place(instance: &Value) -> String {
    let ports: Vec<String> = list(&instance["ports"]).map(|port| cell(&port["number"])).collect();
    format!(
        "{}:{}({})",
        cell(&instance["host"]),
        ports.join(","),
        cell(&instance["status"])
    )
}

fn endpoints(answer: &Value, wide: bool) -> String {
    let mut table = if wide {
        Table::new(&[
            "CLUSTER",
            "ENDPOINT",
            "SHARE",
            "PROTOCOL",
            "IN FLIGHT",
            "LATENCY",
            "EJECTED",
            "ORIGIN",
        ])
    } else {
        Table::new(&["CLUSTER", "ENDPOINT", "SHARE", "IN FLIGHT", "LATENCY", "EJECTED"])
    };
    let mut empty = String::new();
    for cluster in list(&answer["clusters"]) {
        let name = cell(&cluster["cluster"]);
        if list(&cluster["endpoints"]).next().is_none() {
            empty += &format!("{name} has no endpoint; `landfall why {name}` tells why\n");
        }
        for endpoint in list(&cluster["endpoints"]) {
            let live = &endpoint["live"];
            let latency = live["latencyMilliseconds"]
                .as_f64()
                .map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
            let ejected = live["ejectedForSeconds"]
                .as_f64()
                .map_or("-".to_owned(), |left| format!("{left:.0} s more"));
            let share = format!("{} %", cell(&endpoint["sharePercent"]));
            let (address, in_flight) = (cell(&endpoint["address"]), cell(&live["inFlight"]));
            let origin = &endpoint["origin"];
            let origin = format!("{}/{}", cell(&origin["registry"]), cell(&origin["instance"]));
            if wide {
                table.row([
                    name.clone(),
                    address,
                    share,
                    cell(&endpoint["protocol"]),
                    in_flight,
                    latency,
                    ejected,
                    origin,
                ]);
            } else {
                table.row([name.clone(), address, share, in_flight, latency, ejected]);
            }
        }
    }
    or_none(&table, "no endpoints") + &empty
}

fn routes(answer: &Value) -> String {
    let mut table = Table::new(&["ROUTE", "LISTENERS", "HOSTS", "MATCH", "BACKENDS"]);
    for route in list(&answer["routes"]) {
        let joined = |value: &Value| list(value).map(cell).collect::<Vec<_>>().join(",");
        let listeners = list(&route["attachments"])
            .map(|a| cell(&a["listener"]))
            .collect::<Vec<_>>()
            .join(",");
        let hosts = Some(joined(&route["hostnames"]))
            .filter(|hosts| !hosts.is_empty())
            .unwrap_or_else(|| "*".to_owned());
        for rule in list(&route["rules"]) {
            let matches: Vec<String> = list(&rule["matches"]).map(matched).collect();
            let backends: Vec<String> = list(&rule["backends"]).map(backend).collect();
            let backends = if backends.is_empty() {
                "-".to_owned()
            } else {
                backends.join(" ")
            };
            table.row([
                cell(&route["id"]),
                listeners.clone(),
                hosts.clone(),
                matches.join(" | "),
                backends,
            ]);
        }
    }
    or_none(&table, "no routes")
}

fn matched(one: &Value) -> String {
    if one.get("path").is_none() {
        return dubbo_matched(one);
    }
    let path = &one["path"];
    let sign = match path["type"].as_str() {
        Some("Exact") => "=",
        Some("RegularExpression") => "~",
        _ => "",
    };
    let mut text = format!("{sign}{}", cell(&path["value"]));
    if let Some(method) = one["method"].as_str() {
        text = format!("{method} {text}");
    }
    for (key, mark) in [("headers", "header"), ("queryParams", "query")] {
        for condition in list(&one[key]) {
            text += &format!(" {mark} {}={}", cell(&condition["name"]), cell(&condition["value"]));
        }
    }
    text
}

/// `org.example.Greeter version=1.0.0 method~get.* attachment user=a`, of a match of a DubboRoute.
fn dubbo_matched(one: &Value) -> String {
    let compared = |condition: &Value| {
        let sign = if condition["type"] == "RegularExpression" {
            "~"
        } else {
            "="
        };
        format!("{sign}{}", cell(&condition["value"]))
    };
    let mut parts = Vec::new();
    for key in ["interface", "group", "version", "method"] {
        if let Some(condition) = one.get(key) {
            parts.push(format!("{key}{}", compared(condition)));
        }
    }
    for condition in list(&one["attachments"]) {
        parts.push(format!(
            "attachment {}{}",
            cell(&condition["name"]),
            compared(condition)
        ));
    }
    let arguments = &one["arguments"];
    if let Some(count) = arguments.get("count") {
        parts.push(format!("arguments={}", cell(count)));
    }
    for condition in list(&arguments["values"]) {
        parts.push(format!("argument {}{}", cell(&condition["index"]), compared(condition)));
    }
    if parts.is_empty() {
        return "every call".to_owned();
    }
    parts.join(" ")
}

fn backend(backend: &Value) -> String {
    let to = match (&backend["missing"], &backend["endpoints"]) {
        (Value::String(why), _) => format!("(missing: {why})"),
        (_, endpoints) => format!("({})", cell(endpoints)),
    };
    format!("{} {} %{to}", cell(&backend["ref"]), cell(&backend["sharePercent"]))
}

fn listeners(answer: &Value) -> String {
    let mut table = Table::new(&[
        "LISTENER",
        "PROTOCOL",
        "HOST",
        "PORT",
        "BOUND",
        "ROUTES",
        "CONNECTIONS",
        "PROBLEM",
    ]);
    for listener in list(&answer["listeners"]) {
        let live = &listener["live"];
        table.row([
            cell(&listener["id"]),
            cell(&listener["protocol"]),
            cell(&listener["hostname"]),
            cell(&listener["port"]),
            cell(&live["bound"]),
            cell(&listener["routes"]),
            cell(&live["connections"]),
            cell(&live["error"]),
        ]);
    }
    or_none(&table, "no listeners")
}

fn facades(answer: &Value, wide: bool) -> String {
    let mut table = Table::new(&[
        "NAME", "OF", "PROTOCOL", "WHERE", "VIEW", "WRITES", "CLIENTS", "REQUESTS", "ERRORS", "LEASES",
    ]);
    let mut notes = String::new();
    for facade in list(&answer["facades"]) {
        let name = cell(&facade["name"]);
        let count = |wanted: fn(u64) -> bool| -> u64 {
            list(&facade["requests"])
                .filter(|one| one["status"].as_u64().is_some_and(wanted))
                .filter_map(|one| one["count"].as_u64())
                .sum()
        };
        table.row([
            name.clone(),
            cell(&facade["of"]),
            cell(&facade["protocol"]),
            format!(
                "{}{}",
                cell(&facade["address"]),
                facade["path"].as_str().unwrap_or_default()
            ),
            cell(&facade["view"]),
            cell(&facade["writes"]),
            cell(&facade["clientCount"]),
            count(|_| true).to_string(),
            count(|status| status >= 400 && status != 404).to_string(),
            cell(&facade["leases"]["held"]),
        ]);
        if facade["lastError"].is_object() {
            let error = &facade["lastError"];
            notes += &format!("{name}: {} ago {}\n", age(&error["ageSeconds"]), cell(&error["what"]));
        }
        if wide {
            for client in list(&facade["clients"]) {
                notes += &format!(
                    "{name} was asked {} times by {} {}, last {} ago\n",
                    cell(&client["requests"]),
                    cell(&client["address"]),
                    cell(&client["agent"]),
                    age(&client["ageSeconds"])
                );
            }
        }
    }
    or_none(&table, "no facades") + &notes
}

fn governance(answer: &Value) -> String {
    let mut table = Table::new(&["REGISTRY", "KIND", "PLACE", "HONOURED", "NOTES"]);
    for rule in list(&answer["rules"]) {
        let notes = list(&rule["notes"]).map(cell).collect::<Vec<_>>().join("; ");
        let notes = if notes.is_empty() { "-".to_owned() } else { notes };
        let [registry, kind, place, honoured] = ["registry", "kind", "place", "honoured"].map(|key| cell(&rule[key]));
        table.row([registry, kind, place, honoured, notes]);
    }
    or_none(&table, "no rules in registries")
}

fn conflicts(answer: &Value) -> String {
    let mut table = Table::new(&["NAME", "IN", "MEANS", "ROUTES"]);
    for conflict in list(&answer["conflicts"]) {
        let joined = |value: &Value| list(value).map(cell).collect::<Vec<_>>().join(",");
        let (services, routes) = (joined(&conflict["services"]), joined(&conflict["routes"]));
        let routes = if routes.is_empty() { "-".to_owned() } else { routes };
        table.row([cell(&conflict["name"]), services, cell(&conflict["means"]), routes]);
    }
    let mut sync = Table::new(&["NOT WRITTEN", "INTO", "AS", "BECAUSE OF", "KIND", "MEND"]);
    for conflict in list(&answer["sync"]) {
        let keys = ["of", "target", "service", "winner", "kind", "mend"];
        sync.row(keys.map(|key| cell(&conflict[key])));
    }
    let warnings: String = list(&answer["warnings"])
        .map(|warning| format!("{}\n", cell(warning)))
        .collect();
    match (table.is_empty(), sync.is_empty()) {
        (false, false) => format!("{table}\n{sync}{warnings}"),
        (true, false) => sync.to_string() + &warnings,
        _ => or_none(&table, "no conflicts") + &warnings,
    }
}

fn config(answer: &Value) -> String {
    let mut out = format!(
        "version {} ({}), in force for {}\n",
        cell(&answer["version"]),
        cell(&answer["fingerprint"]),
        age(&answer["ageSeconds"])
    );
    let problem = |p: &Value| {
        let place = format!("{}:{}:{}", cell(&p["file"]), cell(&p["line"]), cell(&p["column"]));
        format!(
            "  {place}: {}: {}; {}\n",
            cell(&p["path"]),
            cell(&p["what"]),
            cell(&p["mend"])
        )
    };
    for warning in list(&answer["warnings"]) {
        out += &format!("odd:{}", problem(warning));
    }
    if answer["refused"].is_object() {
        out += &format!("what is on disk was refused at {}:\n", cell(&answer["refused"]["at"]));
        out.extend(list(&answer["refused"]["problems"]).map(problem));
    }
    out
}

/// Seconds as people say them.
fn age(seconds: &Value) -> String {
    let Some(seconds) = seconds.as_f64() else {
        return "-".to_owned();
    };
    match seconds {
        s if s < 60.0 => format!("{s:.0}s"),
        s if s < 3600.0 => format!("{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{:.0}h", s / 3600.0),
        s => format!("{:.0}d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stale_registry_is_shown_with_its_reason() {
        let answer = json!({"registries": [{"name": "eureka", "kind": "eureka", "address": "http://h/eureka",
            "session": {"state": "stale", "since": "2026-01-01T00:00:00Z", "ageSeconds": 90.2, "why": "no answer from h"},
            "services": 2, "servingInstances": 3, "instances": 4, "holds": [], "quarantined": []}]});
        let text = registries(&answer, false);
        assert!(
            text.contains("stale") && text.contains("3/4") && text.contains("2m"),
            "{text}"
        );
        assert!(
            text.ends_with("eureka is stale since 2026-01-01T00:00:00Z: no answer from h\n"),
            "{text}"
        );
    }

    #[test]
    fn a_route_shows_what_its_backends_stand_for() {
        let answer = json!({"routes": [{"id": "default/orders", "attachments": [{"listener": "edge/web"}], "hostnames": [],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/orders"}, "method": "GET"}],
                "backends": [{"ref": "orders.eureka", "sharePercent": 90.0, "endpoints": 2},
                             {"ref": "gone.eureka", "sharePercent": 10.0, "missing": "no such service"}]}]}]});
        let text = routes(&answer);
        assert!(
            text.contains("GET /orders") && text.contains("orders.eureka 90.0 %(2)"),
            "{text}"
        );
        assert!(text.contains("(missing: no such service)"), "{text}");
    }

    #[test]
    fn a_dubbo_route_shows_its_conditions_in_its_own_words() {
        let answer = json!({"routes": [{"kind": "DubboRoute", "id": "default/calls", "attachments": [{"listener": "edge/calls"}],
            "hostnames": [], "rules": [
                {"matches": [{"interface": {"type": "Exact", "value": "a.B"}, "method": {"type": "RegularExpression", "value": "get.*"},
                    "attachments": [{"type": "Exact", "name": "user", "value": "7"}],
                    "arguments": {"count": 2, "values": [{"type": "Exact", "index": 1, "value": "EUR"}]}}], "backends": []},
                {"matches": [{}], "backends": []}]}]});
        let text = routes(&answer);
        assert!(
            text.contains("interface=a.B method~get.* attachment user=7 arguments=2 argument 1=EUR"),
            "{text}"
        );
        assert!(text.contains("every call"), "{text}");
    }

    #[test]
    fn nothing_to_list_is_said_and_not_shown_as_an_empty_table() {
        assert_eq!(services(&json!({"services": []}), false), "no services\n");
    }
}
