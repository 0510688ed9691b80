//! Records written into real registries: seen by our follower as marked copies, kept alive, restored, removed, and called
//! by applications that know nothing of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use landfall_adapters::{
    Knowledge, Reports,
    publish::{
        Host, Instance, Key, Mark, Origin, Permit, Port, Protocol, Provenance, Publisher, Record, RegistryName, Shaped,
        Status,
        consul::{ConsulPublisher, Times},
        eureka::EurekaPublisher,
        mark,
        zookeeper::ZooKeeperPublisher,
    },
};
use landfall_config::{Config, RegistryConfig};
use landfall_tests::{Origin as Service, estate::Estate, eventually};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::registry;

const LEGACY: &str = "dev.landfall.estate.LegacyGreetingService";
const GREETING: &str = "dev.landfall.estate.GreetingService";

pub(super) fn configured(spec: &str) -> RegistryConfig {
    let text = registry("target", spec);
    let config: Config =
        landfall_config::load::load_text("publish.yaml", std::path::Path::new("."), &text).expect("a configuration");
    config.registries.into_iter().next().expect("one registry")
}

type Services = BTreeMap<Arc<str>, Vec<Instance>>;

/// What our own follower knows.
pub(super) struct Followed {
    services: Arc<Mutex<Services>>,
    task: JoinHandle<()>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    pub(super) fn start(config: &RegistryConfig) -> Self {
        let registry = landfall_adapters::connect::connect(config).expect("a registry");
        let services = Arc::<Mutex<Services>>::default();
        let known = services.clone();
        let task = tokio::spawn(async move {
            loop {
                let (reports, mut inbox) = Reports::channel(64);
                let mut fresh = Services::new();
                let session = registry.follow(&reports);
                tokio::pin!(session);
                let mut caught_up = false;
                loop {
                    tokio::select! {
                        _ = &mut session => break,
                        knowledge = inbox.recv() => match knowledge {
                            Some(Knowledge::Service { name, instances, .. }) => drop(fresh.insert(name, instances)),
                            Some(Knowledge::Gone { name }) => drop(fresh.remove(&name)),
                            Some(Knowledge::CaughtUp) => caught_up = true,
                            _ => {}
                        },
                    }
                    if caught_up {
                        known.lock().unwrap().clone_from(&fresh);
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { services, task }
    }

    fn instance(&self, key: &Key) -> Option<Instance> {
        let services = self.services.lock().unwrap();
        services
            .get(&key.service)?
            .iter()
            .find(|instance| instance.id == key.id)
            .cloned()
    }

    /// Waits until the record is there as it was shaped, and marked.
    pub(super) async fn has(&self, shaped: &Shaped) -> Instance {
        eventually(&format!("{:?} is seen", shaped.key), || async {
            let found = self.instance(&shaped.key).ok_or("not there")?;
            match mark::provenance(&found) {
                Provenance::Marked(mark)
                    if mark == shaped.record.mark && mark::digest_in(&found) == Some(&shaped.digest) =>
                {
                    Ok(found)
                }
                other => Err(format!("{other:?} {found:?}")),
            }
        })
        .await
    }

    pub(super) async fn has_not(&self, key: &Key) {
        eventually(&format!("{key:?} is gone"), || async {
            match self.instance(key) {
                None => Ok(()),
                Some(found) => Err(format!("{found:?}")),
            }
        })
        .await;
    }
}

pub(super) fn record(service: &str, address: std::net::SocketAddr) -> Record {
    let origin = Origin {
        registry: RegistryName::new("elsewhere").expect("a name"),
        service: service.into(),
        instance: format!("{service}-1").into(),
    };
    Record {
        service: service.into(),
        instance: Instance {
            id: origin.instance.clone(),
            host: Host::Ip(address.ip()),
            ports: vec![Port {
                number: address.port(),
                protocol: Protocol::Unknown,
                tls: false,
            }],
            status: Status::Up,
            weight: 100,
            zone: Some("a".into()),
            metadata: [("management.port".into(), "1".into()), ("two words".into(), "v".into())].into(),
            changed: None,
        },
        mark: Mark::new(&origin, "test".into(), 1),
    }
}

pub(super) fn with_status(record: &Record, status: Status) -> Record {
    let mut changed = record.clone();
    changed.instance.status = status;
    changed
}

pub(super) async fn put(publisher: &dyn Publisher, record: &Record) -> Shaped {
    let shaped = publisher.shape(record).expect("it fits");
    eventually("it is written", || async {
        let answers = publisher.put(std::slice::from_ref(&shaped)).await;
        answers
            .into_iter()
            .next()
            .expect("an answer")
            .map_err(|error| error.to_string())
    })
    .await;
    shaped
}

pub(super) async fn remove(publisher: &dyn Publisher, key: &Key) {
    assert_eq!(publisher.remove(std::slice::from_ref(key)).await, [Ok(())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_a_real_eureka_lives_as_long_as_its_writer_and_is_called_by_spring() {
    let estate = Estate::up_alone(&["eureka"], &[]).await;
    let address = estate.address("eureka").await;
    let config = configured(&format!(
        "eureka: {{ urls: [\"http://{address}/eureka\"], poll: 300ms }}"
    ));
    let spec = config.spec.eureka.clone().expect("eureka");
    let make = || {
        let lease = (Duration::from_secs(1), Duration::from_secs(3));
        EurekaPublisher::with_lease(&spec, "test", Permit::always(1), lease.0, lease.1).expect("a publisher")
    };
    let (followed, service) = (Followed::start(&config), Service::start("copied").await);
    let publisher = make();
    let orders = record("orders", service.address);
    let shaped = put(&publisher, &orders).await;
    let seen = followed.has(&shaped).await;
    assert_eq!((seen.status, seen.zone.as_deref()), (Status::Up, Some("a")));
    assert_eq!(seen.metadata.get("two_x20_words").map(|value| &**value), Some("v"));

    // Another writer of another record dies without a word: its record goes, ours is there all the time.
    let other = make();
    let ghost = put(&other, &record("ghost", service.address)).await;
    followed.has(&ghost).await;
    drop(other);
    followed.has_not(&ghost.key).await;
    followed.has(&shaped).await;
    eventually("it is renewed again and again", || async {
        match publisher.figures() {
            figures if figures.renewals >= 4 => Ok(()),
            figures => Err(format!("{figures:?}")),
        }
    })
    .await;
    assert_eq!(publisher.figures().puts, 1, "renewals are no writes");

    // The applications' own way.
    estate.add_alone(&["shop"], &["shop:CALLS=orders".to_owned()]).await;
    let shop = estate.address("shop").await;
    eventually("the Spring consumer calls it", || async {
        let answer = reqwest::get(format!("http://{shop}/shop/orders"))
            .await
            .map_err(|error| error.to_string())?;
        let body = answer.text().await.map_err(|error| error.to_string())?;
        if body.contains("copied") { Ok(()) } else { Err(body) }
    })
    .await;
    assert!(service.calls() > 0);

    for status in [Status::OutOfService, Status::Up, Status::Down, Status::Up] {
        let changed = put(&publisher, &with_status(&orders, status)).await;
        assert_eq!(followed.has(&changed).await.status, status);
    }

    estate.stop("eureka").await;
    estate.start_empty("eureka").await;
    eventually("it is restored", || async {
        match publisher.figures() {
            figures if figures.restores > 0 => Ok(()),
            figures => Err(format!("{figures:?}")),
        }
    })
    .await;
    let up = publisher.shape(&orders).expect("it fits");
    followed.has(&up).await;
    remove(&publisher, &up.key).await;
    followed.has_not(&up.key).await;
}

/// Asks Consul itself.
async fn consul(address: &str, method: reqwest::Method, path: &str, body: Value) -> Result<Value, String> {
    let client = reqwest::Client::new();
    let request = client.request(method, format!("http://{address}{path}")).json(&body);
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let text = answer.text().await.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_a_real_consul_is_restored_and_takes_nothing_else_with_it() {
    let estate = Estate::up(&["stock"]).await;
    let address = estate.address("consul").await;
    let config = configured(&format!("consul: {{ address: \"http://{address}\", wait: 2s }}"));
    let spec = config.spec.consul.clone().expect("consul");
    let times = Times {
        renewal: Duration::from_secs(1),
        ..Times::default()
    };
    let publisher = ConsulPublisher::with_times(&spec, "test", Permit::always(1), times).expect("a publisher");
    let (followed, service) = (Followed::start(&config), Service::start("copied").await);
    let orders = record("orders", service.address);
    let shaped = put(&publisher, &orders).await;
    let seen = followed.has(&shaped).await;
    assert_eq!((seen.status, seen.zone.as_deref()), (Status::Passing, Some("a")));
    for status in [Status::Warning, Status::Critical, Status::Maintenance, Status::Passing] {
        let changed = put(&publisher, &with_status(&orders, status)).await;
        assert_eq!(followed.has(&changed).await.status, status);
    }
    // Names as odd as they come, many at once.
    let mut odd: Vec<Shaped> = Vec::new();
    for name in [
        "Orders",
        "my_orders:v1.2",
        "two words 🦀",
        "g1/org.x.Greeting:1.0",
        "..",
        "a//b",
    ] {
        odd.push(publisher.shape(&record(name, service.address)).expect("it fits"));
    }
    for at in 0..100 {
        odd.push(
            publisher
                .shape(&record(&format!("many-{at}"), service.address))
                .expect("it fits"),
        );
    }
    assert!(publisher.put(&odd).await.iter().all(Result::is_ok));
    for shaped in &odd {
        followed.has(shaped).await;
    }
    let keys: Vec<Key> = odd.iter().map(|shaped| shaped.key.clone()).collect();
    assert!(publisher.remove(&keys).await.iter().all(Result::is_ok));
    for key in &keys {
        followed.has_not(key).await;
    }

    // Somebody else's services, one of them on our very node.
    let node = shaped
        .key
        .id
        .split_once('/')
        .map(|(node, _)| node)
        .expect("a node")
        .to_owned();
    assert!(node.starts_with("landfall-test-"), "{node}");
    let foreign = json!({
        "Node": node, "Address": "127.0.0.1", "SkipNodeUpdate": true,
        "Service": { "ID": "foreign-1", "Service": "foreign", "Address": "127.0.0.1", "Port": 1 },
    });
    let put_foreign = || consul(&address, reqwest::Method::PUT, "/v1/catalog/register", foreign.clone());
    assert_eq!(put_foreign().await, Ok(json!(true)));
    let on_node = |service: &'static str| {
        let address = address.clone();
        async move {
            let path = format!("/v1/catalog/service/{service}");
            let found = consul(&address, reqwest::Method::GET, &path, Value::Null).await?;
            Ok::<_, String>(found.as_array().map_or(0, Vec::len))
        }
    };
    let puts = publisher.figures().puts;
    remove(&publisher, &shaped.key).await;
    followed.has_not(&shaped.key).await;
    assert_eq!((on_node("foreign").await, on_node("stock").await), (Ok(1), Ok(1)));

    let again = put(&publisher, &orders).await;
    followed.has(&again).await;
    let written = publisher.figures();
    eventually("some renewals pass", || async {
        match publisher.figures() {
            figures if figures.renewals >= written.renewals + 3 => Ok(()),
            figures => Err(format!("{figures:?}")),
        }
    })
    .await;
    assert_eq!(
        publisher.figures().puts,
        puts + 1,
        "a lease is renewed without a write to the catalog"
    );
    assert_eq!(publisher.figures().restores, 0);

    estate.stop("consul").await;
    estate.start_empty("consul").await;
    eventually("it is restored", || async {
        match publisher.figures() {
            figures if figures.restores > 0 => Ok(()),
            figures => Err(format!("{figures:?}")),
        }
    })
    .await;
    followed.has(&again).await;
    eventually("stock is there as well", || async {
        match on_node("stock").await? {
            1 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}

/// A provider as our follower reads it.
async fn provider(followed: &Followed, service: &str, scheme: &str) -> Instance {
    eventually(&format!("{service} is seen"), || async {
        let services = followed.services.lock().unwrap();
        let found = services.get(service).into_iter().flatten();
        let mut found = found.filter(|instance| instance.id.starts_with(scheme));
        found.next().cloned().ok_or_else(|| format!("{services:?}"))
    })
    .await
}

fn copy(instance: &Instance, service: &str) -> Record {
    let origin = Origin {
        registry: RegistryName::new("elsewhere").expect("a name"),
        service: service.into(),
        instance: instance.id.clone(),
    };
    Record {
        service: service.into(),
        instance: instance.clone(),
        mark: Mark::new(&origin, "test".into(), 1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dubbo_consumers_of_both_generations_call_providers_known_only_in_another_zookeeper() {
    let own = ["dubbo27:HOST=own".to_owned(), "dubbo3:HOST=own".to_owned()];
    let (there, here) = tokio::join!(
        Estate::up_alone(&["zookeeper", "dubbo27", "dubbo3"], &own),
        Estate::up_alone(&["zookeeper"], &[])
    );
    let spec = |address: String| configured(&format!("zookeeper: {{ address: \"{address}\", sessionTimeout: 4s }}"));
    let (source, target) = (
        spec(there.address("zookeeper").await),
        spec(here.address("zookeeper").await),
    );
    let (from, followed) = (Followed::start(&source), Followed::start(&target));
    let zookeeper = target.spec.zookeeper.clone().expect("zookeeper");
    let make = |epoch| ZooKeeperPublisher::new(&zookeeper, "test", Permit::always(epoch)).expect("a publisher");
    let publisher = make(1);
    let mut written = Vec::new();
    for (service, scheme) in [(LEGACY, "dubbo"), (GREETING, "tri")] {
        let native = provider(&from, service, scheme).await;
        let shaped = put(&publisher, &copy(&native, service)).await;
        assert_eq!(shaped.key.id, native.id);
        let seen = followed.has(&shaped).await;
        // Parameter by parameter as the provider itself has written them, and nothing besides but the marks.
        let mut parameters = seen.metadata.clone();
        mark::strip(&mut parameters);
        for (name, value) in native.metadata.iter().filter(|(name, _)| &***name != "dubbo.level") {
            assert_eq!(parameters.remove(name).as_ref(), Some(value), "{service}: {name}");
        }
        parameters.remove("dubbo.level");
        assert_eq!(parameters, BTreeMap::new(), "{service}");
        written.push(shaped);
    }

    // The application level beside it: its document has the copy of the provider, and says the same.
    let native = provider(&from, "greeting-provider", "").await;
    let shaped = put(&publisher, &copy(&native, "greeting-provider")).await;
    assert_eq!(shaped.key.id, native.id);
    followed.has(&shaped).await;
    written.push(shaped);
    eventually("both levels are one record", || async {
        let seen = followed.has(&written[1]).await;
        match seen.metadata.get("dubbo.level").map(|level| &**level) {
            Some("both") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    let settings = ["caller27", "caller3"].map(|part| {
        let address = &zookeeper.address;
        format!("{part}:ZOOKEEPER={address}")
    });
    here.add_alone(&["caller27", "caller3"], &settings).await;
    for caller in ["caller27", "caller3"] {
        let address = here.address(caller).await;
        eventually(&format!("{caller} calls it"), || async {
            let answer = reqwest::get(format!("http://{address}/hello?world")).await;
            let body = answer
                .map_err(|error| error.to_string())?
                .text()
                .await
                .map_err(|error| error.to_string())?;
            if body.contains("world, from dubbo") {
                Ok(())
            } else {
                Err(body)
            }
        })
        .await;
    }

    // The next writer takes the nodes over; the first one's end takes nothing with it.
    let next = make(2);
    next.adopt(&written).await;
    eventually("the nodes are taken over", || async {
        match next.figures() {
            figures if figures.renewals == 3 => Ok(()),
            figures => Err(format!("{figures:?}")),
        }
    })
    .await;
    publisher.release().await;
    drop(publisher);
    for shaped in &written {
        followed.has(shaped).await;
    }

    // A ZooKeeper that knows no session any more: every node comes again in a new one.
    here.stop("zookeeper").await;
    here.start_empty("zookeeper").await;
    eventually("they are restored", || async {
        match next.figures() {
            figures if figures.restores == 3 => Ok(()),
            figures => Err(format!("{figures:?}")),
        }
    })
    .await;
    for shaped in &written {
        followed.has(shaped).await;
        remove(&next, &shaped.key).await;
        followed.has_not(&shaped.key).await;
    }
}
