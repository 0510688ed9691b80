//! Failures that users of other bridges have reported, tried on this one. Each test names the report.
//!
//! | reported of | where | what happens there | here |
//! |---|---|---|---|
//! | nacos-sync | nacos-group/nacos-sync#245 | of several instances in Eureka the last one written stands alone in Nacos | this file |
//! | nacos-sync | nacos-group/nacos-sync#145 | an instance that left Eureka stays in the target | this file |
//! | nacos-sync | nacos-group/nacos-sync#173 | two processes: a sync that is stopped leaves records that come back | this file |
//! | nacos-sync | nacos-group/nacos-sync#257 | after a restart of the source nothing is synced any more | this file |
//! | nacos-sync | nacos-group/nacos-sync#249 | a registry drops the marks, and copies go round | `sync/tests/property.rs` in adapters |
//! | consul-k8s | hashicorp/consul-k8s#4714 | a restart of the syncing process deregisters services | this file |
//! | consul-k8s | hashicorp/consul-k8s#860, #579 | two syncing processes deregister each other's services | `writers.rs`, `fight.rs` |
//! | Slime | slime-io/slime#389 | one failed fetch deletes every service of that registry | `outages.rs` |
//! | Higress | higress-group/higress#4394 | a registry replaced by one that fails leaves services that nobody follows | this file |
//! | APISIX | apache/apisix#12610 | with one of two Eureka servers away, half of the calls fail after a reload | this file |
//! | dubbo2istio | aeraki-mesh/dubbo2istio#18 | providers without parameters made for it are passed over | `pairs.rs`: providers nobody changed |
//! | ShenYu | apache/shenyu#6526 | the last instance of a service stays when it is gone | this file |

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use landfall_tests::{Landfall, Load, Origin, estate::Estate, eventually, landfall::free_port};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use super::{answers, gateway, registry, shown};

/// An instance in Eureka, registered as a client does it; its lease outlasts the test.
async fn register(eureka: &str, service: &str, port: u16) {
    let instance = json!({ "instance": {
        "instanceId": format!("127.0.0.1:{service}:{port}"), "hostName": "127.0.0.1", "ipAddr": "127.0.0.1",
        "app": service.to_uppercase(), "vipAddress": service, "status": "UP",
        "port": { "$": port, "@enabled": "true" },
        "dataCenterInfo": { "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn" },
        "leaseInfo": { "renewalIntervalInSecs": 30, "durationInSecs": 3600 },
    }});
    let url = format!("http://{eureka}/eureka/apps/{}", service.to_uppercase());
    let answer = reqwest::Client::new().post(url).json(&instance).send().await;
    assert_eq!(answer.expect("Eureka answers").status(), 204);
}

async fn cancel(eureka: &str, service: &str, port: u16) {
    let url = format!(
        "http://{eureka}/eureka/apps/{}/127.0.0.1:{service}:{port}",
        service.to_uppercase()
    );
    let answer = reqwest::Client::new().delete(url).send().await;
    assert_eq!(answer.expect("Eureka answers").status(), 200);
}

async fn json_of(url: String) -> Result<Value, String> {
    let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
    answer.json().await.map_err(|error| error.to_string())
}

/// The ports that Consul lists for a service.
async fn in_consul(consul: &str, service: &str) -> Result<BTreeSet<u64>, String> {
    let entries = json_of(format!("http://{consul}/v1/catalog/service/{service}")).await?;
    let entries = entries.as_array().ok_or_else(|| entries.to_string())?;
    Ok(entries
        .iter()
        .filter_map(|entry| entry["ServicePort"].as_u64())
        .collect())
}

/// The ports that Nacos gives to consumers of a service.
async fn in_nacos(nacos: &str, service: &str) -> Result<BTreeSet<u64>, String> {
    let list = json_of(format!(
        "http://{nacos}/nacos/v1/ns/instance/list?serviceName={service}&healthyOnly=true"
    ))
    .await?;
    let hosts = list["hosts"].as_array().ok_or_else(|| list.to_string())?;
    Ok(hosts.iter().filter_map(|host| host["port"].as_u64()).collect())
}

/// Waits until a list of ports is this one.
async fn lists<Ask: AsyncFn() -> Result<BTreeSet<u64>, String>>(what: &str, ports: &[u64], ask: Ask) {
    let wanted: BTreeSet<u64> = ports.iter().copied().collect();
    eventually(&format!("{what} lists {wanted:?}"), || async {
        match ask().await? {
            found if found == wanted => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
}

fn eureka_at(addresses: &[&str]) -> String {
    let urls: Vec<String> = addresses
        .iter()
        .map(|address| format!("\"http://{address}/eureka\""))
        .collect();
    registry(
        "eureka",
        &format!("eureka: {{ urls: [{}], poll: 500ms }}", urls.join(", ")),
    )
}

fn consul_at(address: &str) -> String {
    registry("consul", &format!("consul: {{ address: \"http://{address}\" }}"))
}

fn sync(from: &str, to: &str) -> String {
    format!(
        "apiVersion: landfall.dev/v1\nkind: RegistrySync\nmetadata: {{ name: all }}\n\
         spec: {{ from: [{from}], to: [{to}], limits: {{ settle: 100ms }} }}\n"
    )
}

/// Looks at a service in Consul again and again; keeps each list that lacks one of these ports.
struct Watcher {
    looks: watch::Receiver<u64>,
    task: JoinHandle<()>,
    short: Arc<Mutex<Vec<BTreeSet<u64>>>>,
}

impl Watcher {
    fn start(consul: &str, service: &'static str, ports: &[u64]) -> Self {
        let (consul, wanted) = (consul.to_owned(), ports.iter().copied().collect::<BTreeSet<_>>());
        let (counted, looks) = watch::channel(0);
        let short = Arc::<Mutex<Vec<_>>>::default();
        let kept = short.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Ok(found) = in_consul(&consul, service).await {
                    if !found.is_superset(&wanted) {
                        kept.lock().expect("no panic while held").push(found);
                    }
                    counted.send_modify(|looks| *looks += 1);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { looks, task, short }
    }

    /// Looks at least twenty times, the last time after now.
    async fn saw_all(mut self) {
        let least = (*self.looks.borrow() + 2).max(20);
        self.looks.wait_for(|looks| *looks >= least).await.expect("the watcher");
        self.task.abort();
        let short = self.short.lock().expect("no panic while held");
        assert!(short.is_empty(), "lists that lack a living instance: {short:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_instances_stand_in_every_target_survive_a_crash_of_the_writer_and_go_when_they_go() {
    let estate = Estate::up(&["eureka", "consul", "nacos"]).await;
    let (eureka, consul) = (estate.address("eureka").await, estate.address("consul").await);
    let nacos = estate.address("nacos").await;
    for port in [7001, 7002, 7003] {
        register(&eureka, "trio", port).await;
    }
    let config = [
        eureka_at(&[&eureka]),
        consul_at(&consul),
        registry("nacos", &format!("nacos: {{ addresses: [\"{nacos}\"] }}")),
        sync("eureka", "consul, nacos"),
    ]
    .join("---\n");
    let mut landfall = Landfall::up(&config).await;
    let all = [7001, 7002, 7003];
    lists("Consul", &all, async || in_consul(&consul, "trio").await).await;
    lists("Nacos", &all, async || in_nacos(&nacos, "trio").await).await;

    let watcher = Watcher::start(&consul, "trio", &all);
    landfall.crash_and_restart().await;
    landfall.ready().await;
    lists("Nacos", &all, async || in_nacos(&nacos, "trio").await).await;
    // Written after the restart: by then every decision about what stood there before has been taken.
    register(&eureka, "late", 7009).await;
    lists("Consul", &[7009], async || in_consul(&consul, "late").await).await;
    watcher.saw_all().await;

    for port in [7001, 7002, 7003] {
        cancel(&eureka, "trio", port).await;
    }
    lists("Consul", &[], async || in_consul(&consul, "trio").await).await;
    lists("Nacos", &[], async || in_nacos(&nacos, "trio").await).await;
    lists("Consul", &[7009], async || in_consul(&consul, "late").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_is_taken_away_leaves_nothing_behind_with_two_processes_and_after_a_restarted_source() {
    let estate = Estate::up(&["nacos", "parts", "consul"]).await;
    let (nacos, consul) = (estate.address("nacos").await, estate.address("consul").await);
    let registries = [
        registry("nacos", &format!("nacos: {{ addresses: [\"{nacos}\"] }}")),
        consul_at(&consul),
    ]
    .join("---\n");
    let config = [registries.clone(), sync("nacos", "consul")].join("---\n");
    let elected = [("LANDFALL_ELECT_IN", "consul".to_owned())];
    let processes = [
        Landfall::up_with(&config, &elected).await,
        Landfall::up_with(&config, &elected).await,
    ];
    let first = u64::from(estate.port("parts", "http").await);
    lists("Consul", &[first], async || in_consul(&consul, "parts").await).await;

    estate.stop("nacos").await;
    estate.start("nacos").await;
    estate.add(&["parts-2"]).await;
    let second = u64::from(estate.port("parts-2", "http").await);
    lists("Consul", &[first, second], async || in_consul(&consul, "parts").await).await;

    for process in &processes {
        process.reconfigure(&registries);
    }
    lists("Consul", &[], async || in_consul(&consul, "parts").await).await;
    // Longer than a renewal, by which such records came back elsewhere.
    let mut came_back = BTreeSet::new();
    let end = tokio::time::Instant::now() + Duration::from_secs(12);
    while tokio::time::Instant::now() < end {
        came_back.extend(in_consul(&consul, "parts").await.expect("Consul answers"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(came_back, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_eureka_of_two_or_a_registry_replaced_by_a_dead_one_costs_no_call() {
    let estate = Estate::up(&["eureka"]).await;
    let eureka = estate.address("eureka").await;
    let origin = Origin::start("trio").await;
    register(&eureka, "trio", origin.address.port()).await;
    let route = gateway(&[("trio", "/", "trio", "eureka")]);
    let nobody = format!("127.0.0.1:{}", free_port());
    let config = |addresses: &[&str]| [eureka_at(addresses), route.clone()].join("---\n");

    let mut landfall = Landfall::up(&config(&[&nobody, &eureka])).await;
    answers(&landfall, "/").await;
    for _ in 0..3 {
        landfall.crash_and_restart().await;
        landfall.ready().await;
        let load = Load::start(landfall.url("/"), 2);
        load.at_least(50).await;
        load.stop_without_failure().await;
    }

    let load = Load::start(landfall.url("/"), 2);
    landfall.reconfigure(&config(&[&nobody]));
    shown(&landfall, "stale").await;
    load.at_least(200).await;
    let registries = landfall.admin("/api/v1/registries").await.expect("registries");
    let session = &registries["registries"][0]["session"];
    assert!(
        !session["why"].to_string().is_empty() && session["since"].is_string(),
        "{registries}"
    );
    landfall.reconfigure(&config(&[&eureka]));
    shown(&landfall, "live").await;
    load.at_least(200).await;
    load.stop_without_failure().await;

    cancel(&eureka, "trio", origin.address.port()).await;
    eventually("the last instance is gone", || async {
        match landfall.get("/").await? {
            (503, _) => Ok(()),
            (status, body) => Err(format!("{status} {body}")),
        }
    })
    .await;
}
