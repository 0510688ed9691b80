//! Follows one registry and prints what it says, one JSON object a line, until interrupted.
//!
//! ```text
//! cargo run -p landfall-adapters --example follow -- consul '{"address":"http://127.0.0.1:8500"}'
//! cargo run -p landfall-adapters --example follow -- zookeeper '{"address":"127.0.0.1:2181"}'
//! cargo run -p landfall-adapters --example follow -- eureka '{"urls":["http://127.0.0.1:8761/eureka"]}'
//! ```
//!
//! The second argument is what stands under that name in a `kind: Registry` document, as JSON. A session that
//! ends is opened again after a second; every line begins with milliseconds since the start.

use std::{process::ExitCode, time::Duration, time::Instant};

use landfall_adapters::{Knowledge, Registry, Reports, consul::Consul, eureka::Eureka, zookeeper::ZooKeeper};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(kind), Some(spec)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: follow consul|zookeeper|eureka SPEC-AS-JSON");
        return ExitCode::from(2);
    };
    let registry = match open(&kind, &spec) {
        Ok(registry) => registry,
        Err(why) => {
            eprintln!("follow: {why}");
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let (reports, mut inbox) = Reports::channel(64);
    tokio::spawn(async move {
        while let Some(knowledge) = inbox.recv().await {
            print(started, shown(knowledge));
        }
    });
    loop {
        let error = registry.follow(&reports).await;
        print(started, json!({ "ended": error.to_string() }));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn open(kind: &str, spec: &str) -> Result<Box<dyn Registry>, String> {
    fn read<T: DeserializeOwned>(spec: &str) -> Result<T, String> {
        serde_json::from_str(spec).map_err(|error| error.to_string())
    }
    Ok(match kind {
        "consul" => Box::new(Consul::new(&read(spec)?).map_err(|error| error.to_string())?),
        "zookeeper" => Box::new(ZooKeeper::new(&read(spec)?).map_err(|error| error.to_string())?),
        "eureka" => Box::new(Eureka::new(&read(spec)?).map_err(|error| error.to_string())?),
        other => return Err(format!("`{other}` is none of consul, zookeeper, eureka")),
    })
}

fn print(started: Instant, line: Value) {
    println!("{:>7} {line}", started.elapsed().as_millis());
}

fn shown(knowledge: Knowledge) -> Value {
    match knowledge {
        Knowledge::Service {
            name,
            instances,
            quarantined,
            changed,
        } => json!({
            "service": name,
            "instances": instances,
            "quarantined": quarantined,
            // Between the registry's own time of the change and now, when the clocks agree.
            "ageMillis": changed.and_then(|time| time.elapsed().ok()).map(|age| age.as_millis() as u64),
        }),
        Knowledge::Gone { name } => json!({ "gone": name }),
        Knowledge::CaughtUp => json!("caught up"),
        Knowledge::Confirmed => json!("confirmed"),
        Knowledge::Unreadable(records) => json!({ "unreadable": records }),
        Knowledge::Governance(rules) => json!({ "governance": rules }),
    }
}
