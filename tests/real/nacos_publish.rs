//! A real Nacos, written: seen by its own client, through crashes of the writer and restarts of the server.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use landfall_adapters::publish::{
    Host, Key, Permit, Port, Protocol, Publisher, Shaped, Status,
    nacos::{NacosPublisher, Times},
};
use landfall_tests::{Landfall, estate::Estate, eventually, wait::within};
use serde_json::Value;

use super::{
    pairs::{answered, between},
    publish::{Followed, configured, put, record, remove, with_status},
    registry,
};

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// What the client's own discovery finds under a name.
async fn seen(parts: &str, service: &str) -> Result<String, String> {
    let answer = reqwest::get(format!("http://{parts}/sees/DEFAULT_GROUP/{service}")).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match (answer.status().is_success(), answer.text().await) {
        (true, Ok(text)) => Ok(text),
        (_, text) => Err(format!("{text:?}")),
    }
}

async fn sees(parts: &str, service: &str, address: &str, expected: bool) {
    within(LONG, &format!("{service} at {address} is seen: {expected}"), || async {
        let found = seen(parts, service).await?;
        match found.lines().any(|line| line == address) == expected {
            true => Ok(()),
            false => Err(format!("it sees {found:?}")),
        }
    })
    .await;
}

/// Looks without a pause, and counts the looks in which something was missing.
struct Checker {
    looks: Arc<AtomicU64>,
    missed: Arc<AtomicU64>,
    on: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Checker {
    fn start(parts: &str, expected: &[(&'static str, String)]) -> Self {
        let (looks, missed, on) = (
            Arc::<AtomicU64>::default(),
            Arc::<AtomicU64>::default(),
            Arc::new(AtomicBool::new(true)),
        );
        let (parts, expected) = (parts.to_owned(), expected.to_vec());
        let (looking, missing, going) = (looks.clone(), missed.clone(), on.clone());
        let task = tokio::spawn(async move {
            while going.load(Relaxed) {
                for (service, address) in &expected {
                    let found = seen(&parts, service).await.unwrap_or_default();
                    looking.fetch_add(1, Relaxed);
                    missing.fetch_add(u64::from(!found.lines().any(|line| line == address)), Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self {
            looks,
            missed,
            on,
            task,
        }
    }

    async fn stop_without_a_miss(self) {
        self.on.store(false, Relaxed);
        self.task.await.expect("it ends");
        assert!(self.looks.load(Relaxed) > 100, "it has looked");
        assert_eq!(self.missed.load(Relaxed), 0, "a living instance was missing");
    }
}

/// The figures of each target: writes, restores and renewals.
async fn figures(landfall: &Landfall) -> Result<BTreeMap<String, (u64, u64, u64)>, String> {
    let status = landfall.admin("/api/v1/sync").await?;
    let targets = status["targets"].as_array().ok_or_else(|| status.to_string())?;
    let number = |target: &Value, field: &str| target["figures"][field].as_u64();
    targets
        .iter()
        .map(|target| {
            let writes = number(target, "puts")
                .zip(number(target, "removes"))
                .map(|(a, b)| a + b);
            let rest = number(target, "restores").zip(number(target, "renewals"));
            match (target["registry"].as_str(), writes, rest) {
                (Some(name), Some(writes), Some((restores, renewals))) => {
                    Ok((name.to_owned(), (writes, restores, renewals)))
                }
                _ => Err(target.to_string()),
            }
        })
        .collect()
}

/// Waits until Nacos has so many records, and nothing is left to write anywhere.
async fn settled(landfall: &Landfall, records: u64) {
    within(LONG, "everything is written", || async {
        let status = landfall.admin("/api/v1/sync").await?;
        let targets = status["targets"].as_array().cloned().unwrap_or_default();
        let done =
            |target: &Value| target["toWrite"] == 0 && (target["registry"] != "nacos" || target["kept"] == records);
        match targets.len() == 3 && targets.iter().all(done) {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nacos_eureka_and_consul_see_each_other_through_crashes_and_restarts() {
    let estate = Estate::up(&["eureka", "orders", "consul", "stock", "nacos", "parts"]).await;
    let (eureka, consul, nacos) = (
        estate.address("eureka").await,
        estate.address("consul").await,
        estate.address("nacos").await,
    );
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        registry("nacos", &format!("nacos: {{ addresses: [\"{nacos}\"] }}")),
        between(&["eureka", "consul", "nacos"]),
    ]
    .join("---\n");
    let mut landfall = Landfall::up(&config).await;
    let (parts, orders, stock) = (
        estate.address("parts").await,
        estate.address("orders").await,
        estate.address("stock").await,
    );
    sees(&parts, "orders", &orders, true).await;
    sees(&parts, "stock", &stock, true).await;
    settled(&landfall, 2).await;
    // A Spring consumer that knows Eureka alone calls what Nacos alone has.
    estate.add_set(&["shop"], &["shop:CALLS=parts".to_owned()]).await;
    let shop = estate.address("shop").await;
    answered(&format!("http://{shop}/shop/orders"), "\"service\":\"parts\"").await;
    settled(&landfall, 3).await;

    let before = figures(&landfall).await.expect("figures");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let after = figures(&landfall).await.expect("figures");
    assert_eq!(before.len(), 3, "{before:?}");
    for (registry, (writes, restores, renewals)) in &after {
        let (written, restored, renewed) = before[registry];
        assert_eq!(
            (*writes, *restores),
            (written, restored),
            "{registry} was written while nothing changed"
        );
        assert!(registry != "nacos" || *renewals > renewed, "{after:?}");
    }

    let checker = Checker::start(&parts, &[("orders", orders.clone()), ("stock", stock.clone())]);
    landfall.crash();
    // Nobody writes, and nobody says that anything has ended.
    tokio::time::sleep(Duration::from_secs(8)).await;
    for crashed in [true, false] {
        if !crashed {
            landfall.terminate();
        }
        landfall.restart();
        landfall.ready().await;
        settled(&landfall, 3).await;
        eventually("the leases are taken over, and nothing is written", || async {
            let figures = figures(&landfall).await?;
            match figures["nacos"] {
                (0, 0, renewals) if renewals >= 3 => Ok(()),
                _ => Err(format!("{figures:?}")),
            }
        })
        .await;
    }
    checker.stop_without_a_miss().await;

    estate.stop("stock").await;
    sees(&parts, "stock", &stock, false).await;
    sees(&parts, "orders", &orders, true).await;
    estate.start("stock").await;
    sees(&parts, "stock", &stock, true).await;

    estate.stop("nacos").await;
    estate.start_empty("nacos").await;
    eventually("what Nacos has lost is written again", || async {
        let list = |service: &'static str| {
            let url = format!("http://{nacos}/nacos/v1/ns/instance/list?serviceName={service}");
            async move {
                reqwest::get(url)
                    .await
                    .map_err(|e| e.to_string())?
                    .text()
                    .await
                    .map_err(|e| e.to_string())
            }
        };
        for (service, address) in [("orders", &orders), ("stock", &stock)] {
            let port = address.rsplit(':').next().unwrap_or_default();
            let found = list(service).await?;
            if !found.contains(&format!("\"port\":{port}")) {
                return Err(found);
            }
        }
        Ok(())
    })
    .await;
    sees(&parts, "orders", &orders, true).await;
    sees(&parts, "stock", &stock, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_every_kind_come_back_from_a_real_nacos_as_they_were_shaped() {
    // With a login whose tokens live shorter than the test.
    let settings = ["nacos:AUTH=true".to_owned(), "nacos:TOKEN_SECONDS=5".to_owned()];
    let estate = Estate::up_alone(&["nacos"], &settings).await;
    let address = estate.address("nacos").await;
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), "nacos").expect("a password");
    let config = configured(&format!(
        "nacos: {{ addresses: [\"{address}\"], groups: [DEFAULT_GROUP, blue], poll: 300ms, username: nacos, password: \"file:{}\" }}",
        password.path().display()
    ));
    let spec = config.spec.nacos.clone().expect("nacos");
    let times = Times {
        renewal: Duration::from_secs(1),
        lease: Duration::from_secs(6),
    };
    let make =
        |cluster: &str| NacosPublisher::with_times(&spec, cluster, Permit::always(1), times).expect("a publisher");
    let (publisher, followed) = (make("test"), Followed::start(&config));
    let socket = "127.0.0.1:8080".parse().expect("an address");
    let orders = record("orders", socket);
    let shaped = put(&publisher, &orders).await;
    let found = followed.has(&shaped).await;
    assert_eq!(
        (found.status, found.zone.as_deref(), found.weight),
        (Status::Up, Some("a"), 100)
    );
    for status in [Status::Down, Status::Up] {
        let changed = put(&publisher, &with_status(&orders, status)).await;
        assert_eq!(followed.has(&changed).await.status, status);
    }

    let mut odd: Vec<Shaped> = Vec::new();
    for name in [
        "Orders",
        "my_orders:v1.2",
        "two words 🦀",
        "blue@@orders",
        "..",
        "a//b&c=d",
        "订单",
        "providers:x",
    ] {
        odd.push(publisher.shape(&record(name, socket)).expect("it fits"));
    }
    for (at, host) in ["::1", "h1.example", "10.1.2.3"].iter().enumerate() {
        let mut other = record("hosts", socket);
        other.mark.origin.instance = format!("{at}").into();
        other.instance.host = Host::parse(host);
        other.instance.weight = [0, 1, 250][at];
        other.instance.metadata.insert("nacos.cluster".into(), "HZ-1".into());
        other
            .instance
            .metadata
            .insert("quote\"\\ %".into(), "a=b,c=\u{1F980}\n".into());
        other.instance.ports = vec![
            Port {
                number: 443,
                protocol: Protocol::Http,
                tls: true,
            },
            Port {
                number: 9090,
                protocol: Protocol::Grpc,
                tls: false,
            },
        ];
        odd.push(publisher.shape(&other).expect("it fits"));
    }
    let mut greeting = record("g1/org.x.Greeting:1.0.0", socket);
    for (key, value) in [
        ("interface", "org.x.Greeting"),
        ("group", "g1"),
        ("version", "1.0.0"),
        ("side", "provider"),
    ] {
        greeting.instance.metadata.insert(key.into(), value.into());
    }
    greeting.instance.ports[0].protocol = Protocol::Dubbo;
    odd.push(publisher.shape(&greeting).expect("it fits"));
    for at in 0..100 {
        odd.push(
            publisher
                .shape(&record(&format!("many-{at}"), socket))
                .expect("it fits"),
        );
    }
    let answers = publisher.put(&odd).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for shaped in &odd {
        let found = followed.has(shaped).await;
        let expected = &shaped.record.instance;
        assert_eq!(
            (
                &found.host,
                &found.ports,
                found.weight,
                found.status,
                &found.zone,
                &found.metadata
            ),
            (
                &expected.host,
                &expected.ports,
                expected.weight,
                expected.status,
                &expected.zone,
                &expected.metadata
            )
        );
    }

    // Another writer, of another record, dies without a word.
    let other = make("test");
    let ghost = put(&other, &record("ghost", socket)).await;
    followed.has(&ghost).await;
    drop(other);
    followed.has_not(&ghost.key).await;
    // A third one knows nothing but the keys.
    let third = make("test");
    let keys: Vec<Key> = odd.iter().map(|shaped| shaped.key.clone()).collect();
    for shaped in &odd {
        followed.has(shaped).await;
    }
    assert_eq!(publisher.figures().restores, 0, "{:?}", publisher.figures());
    publisher.release().await;
    let answers = third.remove(&keys).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for key in &keys {
        followed.has_not(key).await;
    }
    // Of another cluster: not touched.
    let foreign = make("elsewhere");
    let mut theirs = record("theirs", socket);
    theirs.mark.cluster = "elsewhere".into();
    let theirs = put(&foreign, &theirs).await;
    followed.has(&theirs).await;
    let refused = third.remove(std::slice::from_ref(&theirs.key)).await;
    assert!(
        refused[0]
            .as_ref()
            .is_err_and(|error| error.to_string().contains("another cluster")),
        "{refused:?}"
    );
    remove(&foreign, &theirs.key).await;
    followed.has_not(&theirs.key).await;
}

/// What an operator does in Nacos' console.
async fn switch(nacos: &str, port: u16, enabled: bool) {
    let url = format!(
        "http://{nacos}/nacos/v1/ns/instance?serviceName=orders&ip=127.0.0.1&port={port}&clusterName=DEFAULT\
         &ephemeral=true&weight=1&enabled={enabled}"
    );
    let answer = reqwest::Client::new().put(url).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{answer:?}");
}

/// What the console shows: port, whether it is switched on, and the build of each copy.
async fn in_console(nacos: &str) -> Result<Vec<(u64, bool, String)>, String> {
    let url = format!(
        "http://{nacos}/nacos/v1/ns/catalog/instances?serviceName=orders&clusterName=DEFAULT&pageNo=1&pageSize=100"
    );
    let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
    let text = answer.text().await.map_err(|error| error.to_string())?;
    let listed: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
    let list = listed["list"].as_array().ok_or(text)?;
    let mut rows: Vec<_> = list
        .iter()
        .map(|host| {
            let build = host["metadata"]["build"].as_str().unwrap_or_default().to_owned();
            (
                host["port"].as_u64().unwrap_or_default(),
                host["enabled"] == true,
                build,
            )
        })
        .collect();
    rows.sort();
    Ok(rows)
}

async fn console_shows(nacos: &str, expected: &[(u64, bool, String)]) {
    within(LONG, "the console shows it", || async {
        match in_console(nacos).await? {
            rows if rows == expected => Ok(()),
            rows => Err(format!("{rows:?}, not {expected:?}")),
        }
    })
    .await;
}

/// Waits until so many records are held because an operator has switched them off, and nothing else is to be done.
async fn switched_off(landfall: &Landfall, count: usize) {
    within(LONG, &format!("{count} are shown as switched off"), || async {
        let plan = landfall.admin("/api/v1/sync/plan").await?;
        let plan = &plan["targets"]["nacos"];
        let held = plan["held"].as_array().cloned().unwrap_or_default();
        let off = held.iter().filter(|held| held["why"] == "switchedOff").count();
        let writes = ["additions", "changes", "removals"].map(|what| plan[what].as_array().map_or(0, Vec::len));
        match (off, held.len(), writes) {
            (off, all, [0, 0, 0]) if off == count && all == count => Ok(()),
            _ => Err(plan.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_an_operator_has_switched_off_in_nacos_stays_off_and_is_shown() {
    let estate = Estate::up_alone(&["nacos"], &["nacos:RAFT=true".to_owned()]).await;
    let nacos = estate.address("nacos").await;
    let config = |ports: std::ops::Range<u16>, build: u32| {
        let instances: Vec<String> = ports
            .map(|port| format!("{{ address: \"127.0.0.1:{port}\", metadata: {{ build: \"{build}\" }} }}"))
            .collect();
        let source = format!(
            "static: {{ services: [{{ name: orders, instances: [{}] }}] }}",
            instances.join(", ")
        );
        [
            registry("source", &source),
            registry("nacos", &format!("nacos: {{ addresses: [\"{nacos}\"] }}")),
            "apiVersion: landfall.dev/v1\nkind: RegistrySync\nmetadata: { name: all }\n\
             spec: { from: [source], to: [nacos], limits: { settle: 100ms } }\n"
                .to_owned(),
        ]
        .join("---\n")
    };
    // Of so many one that vanishes is no mass removal.
    let rows = |from: u64, off: u64, builds: [u32; 2]| -> Vec<(u64, bool, String)> {
        let build = |port: u64| builds[usize::from(port != off)].to_string();
        (from..8010).map(|port| (port, port != off, build(port))).collect()
    };
    let mut landfall = Landfall::up(&config(8001..8010, 1)).await;
    console_shows(&nacos, &rows(8001, 0, [1, 1])).await;
    switched_off(&landfall, 0).await;

    switch(&nacos, 8001, false).await;
    switched_off(&landfall, 1).await;
    // Neither a new writer nor a new version of the application switches it on.
    landfall.crash_and_restart().await;
    landfall.ready().await;
    switched_off(&landfall, 1).await;
    landfall.reconfigure(&config(8001..8010, 2));
    console_shows(&nacos, &rows(8001, 8001, [1, 2])).await;
    switched_off(&landfall, 1).await;
    // Who has switched it off switches it on: it is brought up to date.
    switch(&nacos, 8001, true).await;
    console_shows(&nacos, &rows(8001, 0, [2, 2])).await;
    switched_off(&landfall, 0).await;
    // One that is off and has ended is taken out.
    switch(&nacos, 8001, false).await;
    switched_off(&landfall, 1).await;
    landfall.reconfigure(&config(8002..8010, 2));
    console_shows(&nacos, &rows(8002, 0, [2, 2])).await;
}
