//! Facades before real clients: unmodified libraries, Spring Cloud applications, and Consul's own answers beside ours.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use landfall_tests::{Landfall, Load, estate::Estate, eventually, landfall};
use serde_json::{Value, json};

use super::registry;

/// Clients answer within this time, the installation of the first one included.
const PATIENCE: Duration = Duration::from_secs(180);

/// A client library that others have written, told by lines what to do.
pub(super) struct Client {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
    what: String,
}

impl Client {
    /// Starts and waits until it has registered.
    pub(super) async fn start(words: &[&str]) -> Self {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("estate/clients/client");
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut client = Self {
            child,
            stdin,
            lines,
            what: words.join(" "),
        };
        let first = client.answer();
        assert_eq!(first, json!("registered"), "{}", client.what);
        client
    }

    /// Libraries write notes of their own between answers: only JSON is one.
    fn answer(&mut self) -> Value {
        tokio::task::block_in_place(|| {
            loop {
                let line = self.lines.recv_timeout(PATIENCE);
                let line = line.unwrap_or_else(|error| panic!("{}: {error}", self.what));
                if let Ok(value) = serde_json::from_str(&line) {
                    return value;
                }
            }
        })
    }

    pub(super) fn tell(&mut self, line: &str) -> Value {
        writeln!(self.stdin, "{line}").unwrap_or_else(|error| panic!("{}: {error}", self.what));
        self.answer()
    }

    pub(super) async fn until(&mut self, line: &str, expected: Value) {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let got = self.tell(line);
            if got == expected {
                return;
            }
            let what = &self.what;
            assert!(std::time::Instant::now() < end, "{what}: {line}: {got}, not {expected}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn both(eureka: u16, consul: u16) -> String {
    let blocks = format!(
        "embedded: {{ eureka: {{ address: \"127.0.0.1:{eureka}\" }}, consul: {{ address: \"127.0.0.1:{consul}\" }} }}"
    );
    registry("own", &blocks)
}

async fn registered(landfall: &Landfall) -> Result<BTreeSet<String>, String> {
    let services = landfall.admin("/api/v1/services?registry=own").await?;
    let list = services["services"].as_array().cloned().unwrap_or_default();
    let with_instances = list
        .iter()
        .filter(|one| one["instances"].as_array().is_some_and(|all| !all.is_empty()));
    Ok(with_instances
        .filter_map(|one| one["name"].as_str().map(str::to_owned))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_protocols_find_each_other_unmodified_and_through_a_crash_of_landfall() {
    let (eureka, consul) = (landfall::free_port(), landfall::free_port());
    let mut landfall = Landfall::up(&both(eureka, consul)).await;
    let (url, address) = (
        format!("http://127.0.0.1:{eureka}/eureka"),
        format!("127.0.0.1:{consul}"),
    );
    let mut clients = [
        Client::start(&["python", "eureka.py", &url, "py-eureka", "7001"]).await,
        Client::start(&["python", "consul_client.py", &address, "py-consul", "7002"]).await,
        Client::start(&["node", "eureka.js", &url, "js-eureka", "7003"]).await,
        Client::start(&["node", "consul_client.js", &address, "js-consul", "7004"]).await,
    ];
    let all = [
        ("py-eureka", 7001),
        ("py-consul", 7002),
        ("js-eureka", 7003),
        ("js-consul", 7004),
    ];
    let names: BTreeSet<String> = all.iter().map(|(name, _)| (*name).to_owned()).collect();
    for client in &mut clients {
        for (name, port) in all {
            client
                .until(&format!("find {name}"), json!([format!("127.0.0.1:{port}")]))
                .await;
        }
    }
    assert_eq!(clients[1].tell("keys"), json!(["hello", null]));
    assert_eq!(clients[3].tell("watch late"), json!(true));
    clients[3].until("seen", json!([])).await;

    eventually("everybody is on disk", || async {
        let state = std::fs::read_to_string(landfall.dir.path().join("data/embedded/own.json"));
        let state = state.map_err(|error| error.to_string())?;
        match names.iter().all(|name| state.to_lowercase().contains(name)) {
            true => Ok(()),
            false => Err(state),
        }
    })
    .await;
    landfall.crash_and_restart().await;
    landfall.ready().await;
    eventually("everybody is still there", || async {
        let left = registered(&landfall).await?;
        if left == names {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    for client in &mut clients {
        for (name, port) in all {
            client
                .until(&format!("find {name}"), json!([format!("127.0.0.1:{port}")]))
                .await;
        }
    }
    assert_eq!(clients[1].tell("pass"), json!(true), "its check was kept");
    assert_eq!(clients[3].tell("pass"), json!(true));
    let mut late = Client::start(&["python", "consul_client.py", &address, "late", "7005"]).await;
    clients[3].until("seen", json!(["127.0.0.1:7005"])).await;
    assert_eq!(late.tell("find late"), json!(["127.0.0.1:7005"]));
    assert_eq!(late.tell("bye"), json!("gone"));
    clients[3].until("seen", json!([])).await;
    for client in &mut clients {
        assert_eq!(client.tell("bye"), json!("gone"), "{}", client.what);
    }
    eventually("everybody is gone", || async {
        let left = registered(&landfall).await?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spring_consumer_calls_what_exists_only_in_consul_by_a_facade_of_the_mesh() {
    let port = landfall::free_port();
    let estate = Estate::up_alone(&["eureka", "consul"], &[]).await;
    let (eureka, consul) = (estate.address("eureka").await, estate.address("consul").await);
    let facade = format!(
        "apiVersion: landfall.dev/v1\nkind: Facade\nmetadata: {{ name: mesh }}\nspec:\n  \
         address: \"127.0.0.1:{port}\"\n  path: /mesh\n  eureka: {{}}\n  writes: {{ forward: eureka }}\n"
    );
    let config = [
        registry(
            "eureka",
            &format!("eureka: {{ urls: [\"http://{eureka}/eureka\"], poll: 500ms }}"),
        ),
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        facade,
    ];
    let landfall = Landfall::up(&config.join("---\n")).await;
    // The provider is known to Consul alone, under the name that the consumer asks for.
    let settings = [
        "stock:SERVICE=orders".to_owned(),
        format!("stock:CONSUL_URL=http://{consul}"),
        format!("shop:EUREKA_URL=http://127.0.0.1:{port}/mesh/eureka/"),
    ];
    estate.add_alone(&["stock", "shop"], &settings).await;
    let shop = estate.address("shop").await;
    let answer = landfall.client.get(format!("http://{shop}/shop/orders")).send().await;
    let answer = answer.expect("shop answers");
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.expect("a body").contains("stock"));
    // Its registration went through the facade to the real Eureka.
    eventually("shop is in the real Eureka", || async {
        let request = landfall.client.get(format!("http://{eureka}/eureka/apps/SHOP"));
        let answer = request.send().await.map_err(|error| error.to_string())?;
        if answer.status() == 200 {
            Ok(())
        } else {
            Err(answer.status().to_string())
        }
    })
    .await;
    // With the real registry down the consumer goes on: the facade shows what it knows.
    let load = Load::start(format!("http://{shop}/shop/orders"), 2);
    estate.kill("eureka").await;
    load.at_least(100).await;
    load.stop_without_failure().await;
}

/// A request of the script: method, path below `/v1/`, body.
type Step = (&'static str, &'static str, &'static str);

/// Asked of a real Consul and of ours in this order.
const SCRIPT: &[Step] = &[
    (
        "PUT",
        "agent/service/register",
        r#"{"ID":"web-1","Name":"web","Tags":["a","b"],"Address":"127.0.0.1","Port":8080,"Meta":{"secure":"false"},"Check":{"TTL":"30s"}}"#,
    ),
    ("PUT", "agent/service/register", r#"{"Name":"bare"}"#),
    (
        "PUT",
        "agent/service/register",
        r#"{"ID":"two","Name":"two","Port":1,"Checks":[{"TTL":"30s","Status":"passing"},{"TTL":"20s","Name":"other"}]}"#,
    ),
    ("PUT", "agent/service/register", "{}"),
    ("PUT", "agent/service/register", "{"),
    (
        "PUT",
        "agent/service/register",
        r#"{"Name":"x","Check":{"HTTP":"http://127.0.0.1:1/"}}"#,
    ),
    ("PUT", "agent/service/register", r#"{"Name":"x","Check":{}}"#),
    ("PUT", "agent/service/register", r#"{"Name":"x","Address":"0.0.0.0"}"#),
    ("PUT", "agent/service/register", r#"{"Name":"x","Meta":{"a.b":"c"}}"#),
    ("GET", "agent/service/register", ""),
    ("PUT", "agent/check/pass/service:web-1?note=fine", ""),
    ("PUT", "agent/check/warn/service:two:1", ""),
    ("PUT", "agent/check/pass/nobody", ""),
    (
        "PUT",
        "agent/check/update/service:web-1",
        r#"{"Status":"passing","Output":"ok"}"#,
    ),
    ("PUT", "agent/check/update/service:web-1", r#"{"Status":"fine"}"#),
    (
        "PUT",
        "agent/check/register",
        r#"{"Name":"extra","ServiceID":"web-1","TTL":"40s","Status":"passing"}"#,
    ),
    ("PUT", "agent/check/register", r#"{"ServiceID":"web-1","TTL":"40s"}"#),
    (
        "PUT",
        "agent/check/register",
        r#"{"Name":"lost","ServiceID":"nobody","TTL":"40s"}"#,
    ),
    ("PUT", "agent/check/deregister/nobody", ""),
    ("GET", "agent/services", ""),
    ("GET", "agent/checks", ""),
    ("GET", "agent/service/web-1", ""),
    ("GET", "agent/service/nobody", ""),
    ("GET", "agent/health/service/id/web-1", ""),
    ("GET", "agent/health/service/name/two", ""),
    ("GET", "agent/health/service/name/nobody", ""),
    ("GET", "agent/members", ""),
    (
        "PUT",
        "catalog/register",
        r#"{"Node":"ext","Address":"10.0.0.9","NodeMeta":{"external-node":"true"},"Service":{"ID":"e1","Service":"external","Port":5},"Check":{"CheckID":"e","Name":"e","Status":"passing","ServiceID":"e1"}}"#,
    ),
    ("PUT", "catalog/register", r#"{"Node":"ext"}"#),
    ("GET", "catalog/services", ""),
    ("GET", "catalog/service/web", ""),
    ("GET", "catalog/service/web?tag=a&tag=b", ""),
    ("GET", "catalog/service/external", ""),
    ("GET", "catalog/service/nobody", ""),
    ("GET", "catalog/nodes", ""),
    ("GET", "catalog/node/ext", ""),
    ("GET", "catalog/node-services/ext", ""),
    ("GET", "catalog/datacenters", ""),
    ("GET", "catalog/services?dc=elsewhere", ""),
    ("GET", "catalog/services?index=-1", ""),
    ("GET", "catalog/services?index=1&wait=soon", ""),
    ("POST", "catalog/services", ""),
    ("GET", "health/service/web", ""),
    ("GET", "health/service/web?passing", ""),
    ("GET", "health/service/two?passing=true", ""),
    ("GET", "health/service/two?passing=false", ""),
    ("GET", "health/service/two?passing=maybe", ""),
    ("GET", "health/service/web?tag=nobody", ""),
    ("GET", "health/service/nobody", ""),
    ("GET", "health/service/web?filter=a%20in%20Service.Tags", ""),
    ("GET", "health/service/web?filter=Service.Tags%20contains%20nobody", ""),
    (
        "GET",
        "health/service/web?filter=Service.Meta.secure%20==%20false%20and%20not%20Service.Port%20==%201",
        "",
    ),
    ("GET", "health/service/web?filter=Service.Meta.nothing%20!=%20x", ""),
    (
        "GET",
        "health/service/web?filter=Service.Meta%20is%20not%20empty%20and%20secure%20in%20Service.Meta",
        "",
    ),
    ("GET", "health/service/two?filter=Checks.Status%20!=%20passing", ""),
    ("GET", "health/service/two?filter=Checks.Status%20==%20critical", ""),
    ("GET", "health/checks/web?filter=Status%20==%20passing", ""),
    ("GET", "catalog/service/web?filter=ServicePort%20==%208080", ""),
    (
        "GET",
        "catalog/nodes?filter=Meta%20is%20empty%20or%20Node%20==%20ext",
        "",
    ),
    ("GET", "agent/services?filter=Service%20==%20web", ""),
    (
        "GET",
        "agent/checks?filter=ServiceName%20==%20two%20and%20Status%20!=%20critical",
        "",
    ),
    ("GET", "session/list", ""),
    ("GET", "session/info/adf4238a-882b-9ddc-4a9d-5b6758e4159e", ""),
    ("PUT", "session/renew/adf4238a-882b-9ddc-4a9d-5b6758e4159e", ""),
    ("PUT", "session/destroy/adf4238a-882b-9ddc-4a9d-5b6758e4159e", ""),
    ("GET", "event/list", ""),
    ("GET", "query", ""),
    ("GET", "acl/tokens", ""),
    ("GET", "health/checks/web", ""),
    ("GET", "health/node/ext", ""),
    ("GET", "health/state/warning", ""),
    ("GET", "status/leader", ""),
    ("GET", "status/peers", ""),
    ("PUT", "agent/service/maintenance/web-1", ""),
    ("PUT", "agent/service/maintenance/web-1?enable=true&reason=tea", ""),
    ("GET", "health/service/web", ""),
    ("GET", "agent/health/service/id/web-1", ""),
    ("PUT", "agent/service/maintenance/web-1?enable=false", ""),
    ("PUT", "agent/service/maintenance/nobody?enable=true", ""),
    ("GET", "kv/config?recurse", ""),
    ("PUT", "kv/config/a?flags=7", "one"),
    ("PUT", "kv/config/b", ""),
    ("GET", "kv/config/a", ""),
    ("GET", "kv/config/a?raw", ""),
    ("GET", "kv/config/?recurse", ""),
    ("GET", "kv/?keys&separator=/", ""),
    ("PUT", "kv/config/a?cas=1", "two"),
    ("DELETE", "kv/config?recurse", ""),
    ("GET", "kv/config/a", ""),
    ("PUT", "catalog/deregister", r#"{"Node":"ext","ServiceID":"e1"}"#),
    ("PUT", "catalog/deregister", r#"{"Node":"ext"}"#),
    ("PUT", "catalog/deregister", "{}"),
    ("PUT", "agent/service/deregister/web-1", ""),
    ("PUT", "agent/service/deregister/web-1", ""),
    ("PUT", "agent/service/deregister/two", ""),
    ("PUT", "agent/service/deregister/bare", ""),
    ("GET", "health/service/web", ""),
];

struct Said {
    status: u16,
    index: bool,
    body: Value,
}

async fn ask(client: &reqwest::Client, base: &str, step: Step) -> Said {
    let (method, path, body) = step;
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let request = client.request(method, format!("http://{base}/v1/{path}")).body(body);
    let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
    let index = answer.headers().get("x-consul-index");
    let index = index.and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    let (status, index) = (answer.status().as_u16(), index.is_some_and(|index| index > 0));
    let text = answer.text().await.expect("a body");
    Said {
        status,
        index,
        // Of an error the status counts, not the words.
        body: if status == 200 {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        } else {
            Value::Null
        },
    }
}

/// Leaves of a real agent that are its own: versions, editions, what it says of itself.
const OWN: [&str; 15] = [
    "Partition",
    "Namespace",
    "PeerName",
    "SocketPath",
    "ServiceSocketPath",
    "ContentHash",
    "Locality",
    "ServiceLocality",
    "LockIndex",
    "Interval",
    "Timeout",
    "ExposedPort",
    "consul-network-segment",
    "consul-version",
    "ServiceName",
];

/// How ours differs from the real one: kinds of values, missing fields, lengths; what both agree on must be equal.
fn differences(at: &str, real: &Value, ours: &Value, found: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(real), Value::Object(ours)) => {
            for (key, value) in real {
                match ours.get(key) {
                    Some(other) => differences(&format!("{at}.{key}"), value, other, found),
                    None if OWN.contains(&key.as_str()) => {}
                    None => found.push(format!("{at}.{key} is missing")),
                }
            }
            let more = ours
                .keys()
                .filter(|key| !real.contains_key(*key) && !OWN.contains(&key.as_str()));
            found.extend(more.map(|key| format!("{at}.{key} is too much")));
        }
        (Value::Array(real), Value::Array(ours)) => {
            if real.len() != ours.len() {
                found.push(format!("{at}: {} items, ours {}", real.len(), ours.len()));
            }
            for (number, (one, other)) in real.iter().zip(ours).enumerate() {
                differences(&format!("{at}[{number}]"), one, other, found);
            }
        }
        (Value::String(_), Value::String(_)) | (Value::Number(_), Value::Number(_)) => {
            let exact = [
                "Status",
                "ServiceID",
                "CheckID",
                "ID",
                "Service",
                "Value",
                "Port",
                "Name",
                "Type",
                "Address",
            ];
            let key = at.rsplit('.').next().unwrap_or_default();
            let of_the_node =
                at.contains(".Node.") || at.contains("members") || key == "Address" && at.contains("nodes");
            if exact.contains(&key) && real != ours && !of_the_node && !of_its_own(real, ours) {
                found.push(format!("{at}: {real}, ours {ours}"));
            }
        }
        // Null where we write an empty list or map: strict clients fail on null.
        (Value::Null, Value::Array(_) | Value::Object(_)) => {}
        _ if std::mem::discriminant(real) == std::mem::discriminant(ours) => {}
        _ => found.push(format!("{at}: {real}, ours {ours}")),
    }
}

/// A node's UUID; and an empty text, where an agent's health answer leaves out what its other answers say.
fn of_its_own(real: &Value, ours: &Value) -> bool {
    let is_uuid = |value: &Value| {
        value
            .as_str()
            .is_some_and(|text| text.len() == 36 && text.matches('-').count() == 4)
    };
    real == "" || (is_uuid(real) && is_uuid(ours))
}

/// Without what is the agent's own and not of the registry, and with lists in one order.
fn comparable(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.remove("consul");
    }
    arrange(&mut body);
    body
}

fn arrange(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // A member of gossip, and how a check is made, say more of a real agent than anybody reads.
            for name in ["Tags", "Definition"] {
                if fields.get(name).is_some_and(Value::is_object) {
                    fields.insert(name.to_owned(), json!({}));
                }
            }
            fields.values_mut().for_each(arrange);
        }
        Value::Array(items) => {
            items.iter_mut().for_each(arrange);
            items.sort_by_key(|item| {
                let text = |path: &str| {
                    item.pointer(path)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                // The agent's own node has another name there.
                (
                    text("/CheckID"),
                    text("/ID").len(),
                    text("/Service/ID"),
                    text("/ServiceID"),
                )
            });
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_requests_get_the_same_statuses_and_shapes_as_from_a_real_consul() {
    let estate = Estate::up_alone(&["consul"], &[]).await;
    let real = estate.address("consul").await;
    let (eureka, consul) = (landfall::free_port(), landfall::free_port());
    let landfall = Landfall::up(&both(eureka, consul)).await;
    let ours = format!("127.0.0.1:{consul}");
    let mut found = Vec::new();
    for step in SCRIPT {
        let (method, path, _) = step;
        let mut answer = ask(&landfall.client, &real, *step).await;
        // The agent tells its server a moment later; what is asked of the catalog is waited for.
        let mine = ask(&landfall.client, &ours, *step).await;
        let read = *method == "GET" && (path.starts_with("health") || path.starts_with("catalog"));
        let end = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let mut now = Vec::new();
            differences(
                path,
                &comparable(answer.body.clone()),
                &comparable(mine.body.clone()),
                &mut now,
            );
            if now.is_empty() || !read || std::time::Instant::now() > end {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = ask(&landfall.client, &real, *step).await;
        }
        if answer.status != mine.status {
            found.push(format!(
                "{method} {path}: status {}, ours {}",
                answer.status, mine.status
            ));
        }
        if answer.status == 200 && answer.index && !mine.index {
            found.push(format!("{method} {path}: no X-Consul-Index"));
        }
        differences(
            &format!("{method} {path}"),
            &comparable(answer.body),
            &comparable(mine.body),
            &mut found,
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
