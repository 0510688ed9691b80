//! Writers with rights: Consul with ACLs and exactly the policy that `docs/sync.md` tells, ZooKeeper with digest
//! authentication and ACLs; and with less, an error that says what is missing, and nothing lost.

use std::time::Duration;

use landfall_tests::{Landfall, estate::Estate, eventually, natives::Registry, wait::within};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Error, Permission};

use super::registry;

const ROOT: &str = "5d0e4f0c-0000-4000-8000-00000000beef";
/// Where the copies stand that a Landfall of the default cluster writes.
const LEASE: &str = "landfall/lease/landfall-landfall";
const LOCK: &str = "landfall/landfall/writer";

/// The policy of the documentation, to the letter.
fn documented_policy() -> &'static str {
    let page = include_str!("../../docs/sync.md");
    let (_, block) = page.split_once("```hcl\n").expect("the policy is in docs/sync.md");
    block.split_once("```").expect("it ends").0
}

/// Asks Consul as its operator.
async fn consul(address: &str, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
    let request = reqwest::Client::new().request(method, format!("http://{address}/v1/{path}"));
    let request = request.header("x-consul-token", ROOT);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let text = answer.text().await.map_err(|error| error.to_string())?;
    match status.as_u16() {
        200 => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
        404 => Ok(Value::Null),
        _ => Err(format!("{path}: {status} {text}")),
    }
}

/// A token with this policy alone.
async fn token(address: &str, name: &str, rules: &str) -> String {
    let policy = json!({ "Name": name, "Rules": rules });
    consul(address, Method::PUT, "acl/policy", Some(policy))
        .await
        .expect("a policy");
    let token = json!({ "Policies": [{ "Name": name }] });
    let token = consul(address, Method::PUT, "acl/token", Some(token))
        .await
        .expect("a token");
    token["SecretID"].as_str().expect("a secret").to_owned()
}

/// `port=tags` of what stands under this name.
async fn stands(address: &str, service: &str) -> Result<Vec<String>, String> {
    let entries = consul(address, Method::GET, &format!("catalog/service/{service}"), None).await?;
    let entries = entries.as_array().into_iter().flatten();
    let mut found: Vec<String> = entries
        .map(|entry| {
            let build = entry["ServiceMeta"]["build"].as_str().unwrap_or_default();
            format!("{}={build}", entry["ServicePort"])
        })
        .collect();
    found.sort();
    Ok(found)
}

async fn stand(address: &str, service: &str, expected: &[&str]) {
    eventually(&format!("{expected:?} stand in Consul"), || async {
        match stands(address, service).await? {
            found if found == expected => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
}

/// Waits until a session holds the key.
async fn is_held(address: &str, key: &str) {
    eventually(&format!("{key} is held"), || async {
        let entry = consul(address, Method::GET, &format!("kv/{key}"), None).await?;
        match entry[0]["Session"].is_string() {
            true => Ok(()),
            false => Err(entry.to_string()),
        }
    })
    .await;
}

/// `static` with these instances of a service (port and build); `more` is said of each.
fn source(service: &str, more: &str, metadata: &str, instances: &[(u16, u32)]) -> String {
    let instances: Vec<String> = instances
        .iter()
        .map(|(port, build)| {
            format!("{{ address: \"127.0.0.1:{port}\"{more}, metadata: {{ build: \"{build}\"{metadata} }} }}")
        })
        .collect();
    let instances = instances.join(", ");
    registry(
        "source",
        &format!("static: {{ services: [{{ name: {service}, instances: [{instances}] }}] }}"),
    )
}

fn sync(target: &str) -> String {
    format!(
        "apiVersion: landfall.dev/v1\nkind: RegistrySync\nmetadata: {{ name: all }}\n\
         spec: {{ from: [source], to: [{target}], limits: {{ settle: 100ms }} }}\n"
    )
}

async fn status(landfall: &Landfall) -> Result<Value, String> {
    landfall.admin("/api/v1/sync").await
}

/// Waits until the page says all of this.
async fn says(landfall: &Landfall, page: &str, words: &[&str]) {
    eventually(&format!("{page} says {words:?}"), || async {
        let text = landfall.admin(page).await?.to_string();
        match words.iter().all(|word| text.contains(word)) {
            true => Ok(()),
            false => Err(text),
        }
    })
    .await;
}

/// Waits until it has logged this.
async fn logs(landfall: &Landfall, word: &str) {
    eventually(&format!("it logs `{word}`"), || async {
        let log = landfall.log();
        match log.contains(word) {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await;
}

/// Neither its log nor any page of its admin port has one of these in it.
async fn keeps(landfall: &Landfall, secrets: &[&str]) {
    let mut said = landfall.log();
    for page in ["sync", "sync/plan", "registries", "services", "endpoints"] {
        let page = landfall.admin(&format!("/api/v1/{page}")).await.expect("a page");
        said.push_str(&page.to_string());
    }
    said.push_str(&landfall.metrics().await.expect("metrics"));
    for secret in secrets {
        assert!(!said.contains(secret), "a secret is told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_documented_policy_all_of_consul_is_written_and_with_less_the_error_names_the_right() {
    let estate = Estate::up_alone(&["consul"], &[format!("consul:ROOT_TOKEN={ROOT}")]).await;
    let address = estate.address("consul").await;
    let full = token(&address, "documented", documented_policy()).await;
    let reading = "node_prefix \"\" { policy = \"read\" } service_prefix \"\" { policy = \"read\" }";
    let reader = token(&address, "reader", reading).await;
    let writing = "node_prefix \"\" { policy = \"read\" } service_prefix \"\" { policy = \"write\" } \
                   node_prefix \"landfall-landfall\" { policy = \"write\" }";
    let writer = token(&address, "leaseless", writing).await;
    let native =
        json!({ "Name": "native", "ID": "native-1", "Address": "127.0.0.1", "Port": 7001, "Meta": { "build": "1" } });
    consul(&address, Method::PUT, "agent/service/register", Some(native))
        .await
        .expect("a native");
    let secret = NamedTempFile::new().expect("a file");
    let give = |token: &str| std::fs::write(secret.path(), token).expect("a token");
    let config = |instances: &[(u16, u32)]| {
        [
            source("orders", "", "", instances),
            registry(
                "consul",
                &format!(
                    "consul: {{ address: \"http://{address}\", token: \"file:{}\" }}",
                    secret.path().display()
                ),
            ),
            sync("consul"),
        ]
        .join("---\n")
    };
    let elected = [("LANDFALL_ELECT_IN", "consul".to_owned())];

    give(&full);
    let landfall = Landfall::up_with(&config(&[(8001, 1), (8002, 1)]), &elected).await;
    stand(&address, "orders", &["8001=1", "8002=1"]).await;
    is_held(&address, LOCK).await;
    is_held(&address, LEASE).await;
    landfall.reconfigure(&config(&[(8001, 2)]));
    stand(&address, "orders", &["8001=2"]).await;
    let status_now = status(&landfall).await.expect("a status");
    assert_eq!(status_now["writer"]["role"], "writer", "{status_now}");
    assert_eq!(status_now["targets"][0]["errors"], 0, "{status_now}");
    assert_eq!(status_now["targets"][0]["figures"]["failures"], 0, "{status_now}");
    assert!(!landfall.log().contains("ermission denied"), "{}", landfall.log());
    keeps(&landfall, &[&full, ROOT]).await;
    assert!(landfall.stop().await.success());

    // Who may only read is not elected, and says why.
    give(&reader);
    let mut landfall = Landfall::up_with(&config(&[(8001, 2), (8003, 1)]), &elected).await;
    says(&landfall, "/api/v1/sync", &["\"role\":\"candidate\"", "session:write"]).await;
    // Without an election it tries, and says what it needs.
    landfall.crash_and_restart().await;
    landfall.ready().await;
    says(
        &landfall,
        "/api/v1/sync",
        &["Permission denied", "node:write on our node"],
    )
    .await;
    assert_eq!(stands(&address, "orders").await, Ok(vec!["8001=2".to_owned()]));
    assert_eq!(stands(&address, "native").await, Ok(vec!["7001=1".to_owned()]));

    // Records without a lease; then with one, by nothing but another token in the file.
    give(&writer);
    landfall.crash_and_restart().await;
    stand(&address, "orders", &["8001=2", "8003=1"]).await;
    logs(&landfall, "it needs session:write and key:write").await;
    give(&full);
    is_held(&address, LEASE).await;
    assert_eq!(stands(&address, "native").await, Ok(vec!["7001=1".to_owned()]));
    keeps(&landfall, &[&full, &reader, &writer, ROOT]).await;
}

async fn session(address: &str, login: &str) -> Client {
    let connector = Client::connector().with_auth("digest", login.as_bytes());
    connector.connect(address).await.expect("a session")
}

/// `port=build` of the providers of an interface.
async fn provided(client: &Client, interface: &str) -> Result<Vec<String>, String> {
    let folder = format!("/dubbo/{interface}/providers");
    let nodes = client.list_children(&folder).await.map_err(|error| error.to_string())?;
    let part = |node: &str, from: &str| {
        let rest = node.split_once(from).map(|(_, rest)| rest)?;
        Some(rest.split('%').next().unwrap_or_default().to_owned())
    };
    let mut found: Vec<String> = nodes
        .iter()
        .map(|node| {
            let port = part(node, "127.0.0.1%3A").unwrap_or_default();
            format!("{port}={}", part(node, "build%3D").unwrap_or_default())
        })
        .collect();
    found.sort();
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn dubbos_user_writes_into_a_zookeeper_with_acls_and_anybody_else_is_told_what_is_missing() {
    const INTERFACE: &str = "dev.landfall.Greeting";
    let estate = Estate::up_alone(&["zookeeper"], &[]).await;
    let address = estate.address("zookeeper").await;
    let dubbo = session(&address, "dubbo:swordfish").await;
    // As Dubbo makes it with a user; what is read by all is there so that a follower without one gets that far.
    let everything = [
        Acl::new(Permission::ALL, AuthId::authed()),
        Acl::new(Permission::READ, AuthId::anyone()),
    ];
    let mode = CreateMode::Persistent.with_acls(Acls::new(&everything));
    for path in ["/dubbo", "/landfall", "/services"] {
        dubbo.create(path, b"", &mode).await.expect("a node");
    }
    let secret = NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "swordfish").expect("a password");
    let config = |login: &str, instances: &[(u16, u32)]| {
        let metadata = format!(", protocol: dubbo, interface: {INTERFACE}, methods: hi");
        let target = format!("zookeeper: {{ address: \"{address}\", sessionTimeout: 4s{login} }}");
        [
            source(INTERFACE, ", protocol: dubbo", &metadata, instances),
            registry("zookeeper", &target),
            sync("zookeeper"),
        ]
        .join("---\n")
    };
    let login = format!(", username: dubbo, password: \"file:{}\"", secret.path().display());
    let provide = async |expected: &[&str]| {
        eventually(&format!("{expected:?} are provided"), || async {
            match provided(&dubbo, INTERFACE).await? {
                found if found == expected => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await;
    };

    // Somebody else reads what all may read, writes nothing, and says who may.
    let wrong = NamedTempFile::new().expect("a file");
    std::fs::write(wrong.path(), "marlin").expect("a password");
    let elsewhere = format!(", username: other, password: \"file:{}\"", wrong.path().display());
    let more = [("LANDFALL_CLUSTER", "other".to_owned())];
    let other = Landfall::up_with(&config(&elsewhere, &[(8009, 1)]), &more).await;
    says(&other, "/api/v1/sync", &["only Dubbo's own user may write there"]).await;
    keeps(&other, &["marlin"]).await;
    assert!(other.stop().await.success());

    let elected = [("LANDFALL_ELECT_IN", "zookeeper".to_owned())];
    let landfall = Landfall::up_with(&config(&login, &[(8001, 1), (8002, 1)]), &elected).await;
    provide(&["8001=1", "8002=1"]).await;
    landfall.reconfigure(&config(&login, &[(8001, 2)]));
    provide(&["8001=2"]).await;
    let status_now = status(&landfall).await.expect("a status");
    assert_eq!(status_now["writer"]["role"], "writer", "{status_now}");
    assert_eq!(status_now["targets"][0]["errors"], 0, "{status_now}");
    // What we made is for Dubbo's user alone, as what Dubbo makes.
    let stranger = session(&address, "mallory:guess").await;
    let folder = format!("/dubbo/{INTERFACE}/providers");
    assert!(matches!(stranger.list_children(&folder).await, Err(Error::NoAuth)));
    let node = format!("{folder}/{}", dubbo.list_children(&folder).await.expect("nodes")[0]);
    let lock = "/landfall/landfall/writer";
    for path in [node.as_str(), lock] {
        assert!(
            matches!(stranger.delete(path, None).await, Err(Error::NoAuth)),
            "{path}"
        );
    }
    keeps(&landfall, &["swordfish"]).await;
    assert!(landfall.stop().await.success());
}

/// Which of the two servers of Eureka has what, by `port=build`, natives with build `0`.
async fn registered(eureka: &Registry) -> Result<Vec<String>, String> {
    let rows = eureka.rows().await?;
    let mut found: Vec<String> = rows
        .iter()
        .map(|row| {
            let build = row.metadata.get("build").map_or("", String::as_str);
            format!("{}={build}", row.address.rsplit(':').next().unwrap_or_default())
        })
        .collect();
    found.sort();
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_eureka_server_dies_that_is_written_its_peer_is_and_no_copy_is_missing_or_double() {
    let settings = [
        "eureka:PEER=eureka-2",
        "eureka-2:PEER=eureka",
        "eureka:LOGIN=landfall:swordfish",
        "eureka:READ_ONLY_CACHE=false",
    ];
    let estate = Estate::up_alone(&["eureka", "eureka-2"], &settings.map(str::to_owned)).await;
    let (one, two) = (estate.address("eureka").await, estate.address("eureka-2").await);
    let servers = [&one, &two].map(|address| Registry::eureka(format!("landfall:swordfish@{address}")));
    let native = landfall_tests::natives::Native::living("native");
    servers[1].register(&native).await;
    let own = format!("{}=1", native.address.port());
    let secret = NamedTempFile::new().expect("a file");
    std::fs::write(secret.path(), "swordfish").expect("a password");
    let config = |instances: &[(u16, u32)]| {
        let target = format!(
            "eureka: {{ urls: [\"http://{one}/eureka\", \"http://{two}/eureka\"], poll: 500ms, username: landfall, \
             password: \"file:{}\" }}",
            secret.path().display()
        );
        [
            source("orders", "", "", instances),
            registry("eureka", &target),
            sync("eureka"),
        ]
        .join("---\n")
    };
    let expected = |instances: &[(u16, u32)]| {
        let mut all: Vec<String> = instances
            .iter()
            .map(|(port, build)| format!("{port}={build}"))
            .collect();
        all.push(own.clone());
        all.sort();
        all
    };
    let stand = async |server: &Registry, instances: &[(u16, u32)]| {
        let expected = expected(instances);
        eventually(&format!("{expected:?} stand in {}", server.address()), || async {
            match registered(server).await? {
                found if found == expected => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await;
    };

    let mut instances: Vec<(u16, u32)> = (8001..8025).map(|port| (port, 1)).collect();
    let landfall = Landfall::up(&config(&instances)).await;
    // Written into the first, and by that one into the second.
    for server in &servers {
        stand(server, &instances).await;
    }
    let renewed = async || {
        let status = status(&landfall).await?;
        let figures = &status["targets"][0]["figures"];
        figures["renewals"].as_u64().ok_or_else(|| status.to_string())
    };

    estate.kill("eureka").await;
    let before = renewed().await.expect("figures");
    // Whoever looks at the server that is left finds each once, all the time.
    let stay = async {
        let expected = expected(&instances);
        eventually("leases are renewed at the other server", || async {
            let found = registered(&servers[1]).await.expect("the other server answers");
            assert_eq!(found, expected, "a copy is missing, or stands twice");
            match renewed().await? {
                now if now >= before + 8 => Ok(()),
                now => Err(format!("{now} renewals, {before} before")),
            }
        })
        .await;
    };
    stay.await;
    // Added, changed, removed: all of it at the other server, once.
    instances.remove(3);
    instances[0].1 = 2;
    instances.push((8100, 1));
    landfall.reconfigure(&config(&instances));
    // The bound of docs/sync.md for what has ended.
    within(
        Duration::from_secs(60),
        "the other server has what is wanted",
        || async {
            match registered(&servers[1]).await? {
                found if found == expected(&instances) => Ok(()),
                found => Err(format!("{found:?}\n{}", landfall.admin("/api/v1/sync/plan").await?)),
            }
        },
    )
    .await;
    says(&landfall, "/api/v1/sync", &["\"kept\":24", "\"toWrite\":0"]).await;
    assert_eq!(registered(&servers[1]).await, Ok(expected(&instances)));
    keeps(&landfall, &["swordfish"]).await;
}
