//! `landfall sync plan|apply|status`: what would be written where, writing it, and how writing stands.

use std::{
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
};

use serde_json::Value;

use crate::{
    admin,
    args::{Output, SyncApplyArgs, SyncArgs, SyncCommand},
    outcome::Failure,
    output::{self, Table, cell, count, list},
};

/// Asks a running Landfall.
pub async fn sync(args: SyncArgs) -> Result<(), Failure> {
    match args.command {
        SyncCommand::Plan(args) => {
            let plan = plan_of(args.admin).await?;
            show(&plan, args.output, |plan| {
                text_of_plan(plan, args.output == Output::Wide)
            })
        }
        SyncCommand::Status(args) => {
            let status = admin::ask(args.admin, "/api/v1/sync", &[]).await?;
            show(&status, args.output, text_of_status)
        }
        SyncCommand::Apply(args) => apply(args).await,
    }
}

fn show(answer: &Value, output: Output, text: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
    output::print(&match output {
        Output::Json => output::json(answer),
        Output::Yaml => output::yaml(answer)?,
        Output::Text | Output::Wide => text(answer),
    });
    Ok(())
}

async fn plan_of(admin: SocketAddr) -> Result<Value, Failure> {
    admin::ask(admin, "/api/v1/sync/plan", &[]).await
}

async fn apply(args: SyncApplyArgs) -> Result<(), Failure> {
    let digest = match args.plan {
        Some(digest) => digest,
        None => {
            let plan = plan_of(args.admin).await?;
            if plan["waiting"] == 0 {
                output::print("nothing waits to be applied\n");
                return Ok(());
            }
            output::print(&text_of_plan(&plan, false));
            if !args.yes && !confirmed()? {
                return Err(Failure::No("nothing was applied".to_owned()));
            }
            cell(&plan["digest"])
        }
    };
    let answer = admin::tell(args.admin, "/api/v1/sync/apply", &[("plan", &digest)]).await?;
    let writes = answer["writes"]
        .as_u64()
        .and_then(|writes| usize::try_from(writes).ok());
    output::print(&format!(
        "applied: {}; `landfall sync status` tells how far it is\n",
        count(writes.unwrap_or(0), "write")
    ));
    Ok(())
}

/// Asks the person at the terminal. Without one there is nobody to ask.
fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        let text = "nobody is there to confirm the plan: name it (`landfall sync apply DIGEST`), or say --yes";
        return Err(Failure::Usage(text.to_owned()));
    }
    print!("Apply this plan? [y/N] ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn text_of_plan(plan: &Value, wide: bool) -> String {
    let Some(targets) = plan["targets"].as_object().filter(|targets| !targets.is_empty()) else {
        return "no RegistrySync is configured\n".to_owned();
    };
    let mut out = String::new();
    for (name, target) in targets {
        let number = |key: &str| list(&target[key]).count();
        out += &format!(
            "into {name}: {}, {}, {}, {} kept",
            count(number("additions"), "addition"),
            count(number("changes"), "change"),
            count(number("removals"), "removal"),
            cell(&target["kept"]),
        );
        for (key, noun) in [("conflicts", "conflict"), ("held", "held back")] {
            match (number(key), noun) {
                (0, _) => {}
                (held, "held back") => out += &format!(", {held} held back"),
                (conflicts, noun) => out += &format!(", {}", count(conflicts, noun)),
            }
        }
        out += "\n";
        for (sign, key) in [("+", "additions"), ("~", "changes"), ("-", "removals")] {
            for write in list(&target[key]) {
                out += &format!("  {sign} {}\n", text_of_write(write));
            }
        }
        for conflict in list(&target["conflicts"]) {
            out += &format!(
                "  ! {} is not written as `{}`: {} has the name ({}). {}\n",
                cell(&conflict["of"]),
                cell(&conflict["service"]),
                cell(&conflict["winner"]),
                cell(&conflict["kind"]),
                cell(&conflict["mend"]),
            );
        }
        for held in list(&target["held"]) {
            out += &format!(
                "  … {} of {} waits: {}\n",
                cell(&held["action"]),
                cell(&held["origin"]),
                cell(&held["reason"])
            );
        }
        for lost in list(&target["losses"]) {
            out += &format!(
                "  ? {} does not survive in {}: {}\n",
                cell(&lost["field"]),
                count(usize_of(&lost["records"]), "record"),
                cell(&lost["reason"])
            );
        }
        let left_out = number("leftOut");
        if wide {
            for left in list(&target["leftOut"]) {
                out += &format!("  . {} is left out: {}\n", cell(&left["of"]), cell(&left["reason"]));
            }
        } else if left_out > 0 {
            out += &format!("  . {} left out; -o wide tells why\n", count(left_out, "service"));
        }
    }
    let (waiting, digest) = (usize_of(&plan["waiting"]), cell(&plan["digest"]));
    if waiting > 0 {
        let verb = if waiting == 1 { "waits" } else { "wait" };
        out += &format!(
            "{} {verb} for `landfall sync apply {digest}`\n",
            count(waiting, "write")
        );
    }
    out
}

fn text_of_write(write: &Value) -> String {
    let mut text = format!("{} {}", cell(&write["service"]), cell(&write["id"]));
    for key in ["address", "status"] {
        if let Some(value) = write[key].as_str() {
            text += &format!("  {value}");
        }
    }
    text += &format!("  from {}", cell(&write["origin"]));
    let path: Vec<String> = list(&write["path"]).map(cell).collect();
    if path.len() > 1 {
        text += &format!(" by {}", path.join(", "));
    }
    if let Some(cluster) = write["replaces"].as_str() {
        text += &format!("; replaces the record of cluster {cluster}");
    }
    if let Some(reason) = write["reason"].as_str() {
        text += &format!("; {reason}");
    }
    if write["waits"] == true {
        text += "  (waits)";
    }
    text
}

fn text_of_status(status: &Value) -> String {
    let writer = &status["writer"];
    let mut out = match writer["role"].as_str() {
        Some("writer") => format!("this process writes, as writer {}", cell(&writer["epoch"])),
        Some("candidate") => match writer["holder"].as_str() {
            Some(holder) => format!("{holder} writes; this process follows"),
            None => "nobody is known to write; this process stands for election".to_owned(),
        },
        _ => "this process writes; no election is configured".to_owned(),
    };
    if let Some(why) = writer["why"].as_str() {
        out += &format!(" ({why})");
    }
    out += &format!(". Cluster {}.\n", cell(&status["cluster"]));
    let mut table = Table::new(&[
        "TARGET",
        "STATE",
        "HELD ALIVE",
        "TO WRITE",
        "WAITING",
        "WRITES",
        "RENEWALS",
        "FAILURES",
    ]);
    let mut notes = String::new();
    for target in list(&status["targets"]) {
        let figures = &target["figures"];
        table.row([
            cell(&target["registry"]),
            cell(&target["state"]),
            cell(&figures["held"]),
            cell(&target["toWrite"]),
            cell(&target["waiting"]),
            (usize_of(&figures["puts"]) + usize_of(&figures["removes"])).to_string(),
            cell(&figures["renewals"]),
            cell(&figures["failures"]),
        ]);
        if let Some(error) = target["lastError"].as_str() {
            notes += &format!("{}: {error}\n", cell(&target["registry"]));
        }
    }
    if table.is_empty() {
        out += "no RegistrySync is configured\n";
    } else {
        out += &table.to_string();
    }
    out + &notes
}

fn usize_of(value: &Value) -> usize {
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_tells_every_write_what_waits_and_how_to_apply_it() {
        let plan = json!({
            "digest": "3f2a",
            "waiting": 1,
            "targets": { "consul": {
                "additions": [{ "service": "orders", "id": "landfall~eureka~1", "origin": "eureka/orders/h:1",
                    "path": ["eureka"], "address": "10.0.0.1:80", "status": "UP", "waits": true }],
                "changes": [],
                "removals": [{ "service": "stock", "id": "landfall~eureka~2", "origin": "eureka/stock/h:2",
                    "path": ["eureka", "nacos"], "reason": "its origin is gone", "waits": false }],
                "kept": 12,
                "conflicts": [{ "kind": "protocol", "service": "pay", "of": "pay.eureka", "winner": "pay.consul",
                    "mend": "rename it" }],
                "leftOut": [{ "of": "x.eureka", "reason": "native" }],
                "losses": [{ "field": "zone", "records": 3, "reason": "no place for it" }],
                "held": [],
            } },
        });
        let text = text_of_plan(&plan, false);
        assert_eq!(
            text,
            "into consul: 1 addition, 0 changes, 1 removal, 12 kept, 1 conflict\n\
             \x20 + orders landfall~eureka~1  10.0.0.1:80  UP  from eureka/orders/h:1  (waits)\n\
             \x20 - stock landfall~eureka~2  from eureka/stock/h:2 by eureka, nacos; its origin is gone\n\
             \x20 ! pay.eureka is not written as `pay`: pay.consul has the name (protocol). rename it\n\
             \x20 ? zone does not survive in 3 records: no place for it\n\
             \x20 . 1 service left out; -o wide tells why\n\
             1 write waits for `landfall sync apply 3f2a`\n"
        );
        assert!(text_of_plan(&plan, true).contains("x.eureka is left out: native"));
    }

    #[test]
    fn who_writes_stands_first() {
        let status = json!({ "writer": { "role": "candidate", "holder": "host-b" }, "cluster": "c", "targets": [] });
        assert_eq!(
            text_of_status(&status),
            "host-b writes; this process follows. Cluster c.\nno RegistrySync is configured\n"
        );
    }
}
