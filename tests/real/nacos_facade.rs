//! Landfall as a Nacos before real clients: Nacos' own Java client, Python's, and Nacos' own answers beside ours.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use landfall_tests::{Landfall, estate::Estate, eventually, landfall};
use serde_json::{Value, json};

use super::{facade::Client, pairs::answered, registry};

/// From a registration in another registry to an application that is subscribed.
const SOON: Duration = Duration::from_secs(2);

/// A free port whose port of gRPC is free as well.
fn free_pair() -> u16 {
    loop {
        let port = landfall::free_port();
        if port < 60_000 && std::net::TcpListener::bind(("127.0.0.1", port + 1000)).is_ok() {
            return port;
        }
    }
}

async fn put(address: &str, path: &str) {
    let request = reqwest::Client::new().put(format!("http://{address}{path}"));
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    assert!(
        status.is_success(),
        "{path}: {status} {}",
        answer.text().await.unwrap_or_default()
    );
}

/// What an application's own Nacos client finds, waited for; says how long it took.
async fn sees(application: &str, group: &str, service: &str, expected: &[&str]) -> Duration {
    let began = Instant::now();
    let expected: BTreeSet<&str> = expected.iter().copied().collect();
    let url = format!("http://{application}/sees/{group}/{service}");
    loop {
        let answer = reqwest::get(&url).await.expect("the application answers");
        let text = answer.text().await.expect("a body");
        if text.lines().collect::<BTreeSet<_>>() == expected {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "{service}: {text}, not {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ports of a service by HTTP v1.
async fn listed(address: &str, service: &str) -> Result<Vec<u64>, String> {
    let url = format!("http://{address}/nacos/v1/ns/instance/list?serviceName={service}");
    let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
    let text = answer.text().await.map_err(|error| error.to_string())?;
    let body: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
    let hosts = body["hosts"].as_array().ok_or(text)?.iter();
    Ok(hosts.filter_map(|host| host["port"].as_u64()).collect())
}

async fn is_listed(address: &str, service: &str, application: &str, expected: bool) {
    let port: u64 = application
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    eventually(&format!("{service} is listed: {expected}"), || async {
        let ports = listed(address, service).await?;
        match ports.contains(&port) == expected {
            true => Ok(()),
            false => Err(format!("{ports:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nacos_application_sees_the_mesh_by_nothing_but_another_address_and_registers_in_the_real_one() {
    let estate = Estate::up_alone(&["nacos", "consul"], &[]).await;
    let (nacos, consul) = (estate.address("nacos").await, estate.address("consul").await);
    let (port, own) = (free_pair(), free_pair());
    let config = [
        registry("nacos", &format!("nacos: {{ addresses: [\"{nacos}\"] }}")),
        registry("consul", &format!("consul: {{ address: \"http://{consul}\" }}")),
        registry(
            "own",
            &format!("embedded: {{ nacos: {{ address: \"127.0.0.1:{own}\" }} }}"),
        ),
        format!(
            "apiVersion: landfall.dev/v1\nkind: Facade\nmetadata: {{ name: mesh }}\nspec:\n  \
             address: \"127.0.0.1:{port}\"\n  nacos: {{}}\n  writes: {{ forward: nacos }}\n"
        ),
    ];
    let landfall = Landfall::up(&config.join("---\n")).await;
    ours_answers_as_the_real_one(&nacos, &format!("127.0.0.1:{own}")).await;
    let facade = format!("127.0.0.1:{port}");
    estate
        .add_alone(&["stock"], &[format!("stock:CONSUL_URL=http://{consul}")])
        .await;
    let stock = estate.address("stock").await;
    estate.add_alone(&["parts"], &[format!("parts:NACOS={facade}")]).await;
    let parts = estate.address("parts").await;
    // Its registration went through the facade to the real Nacos, and is shown again.
    is_listed(&nacos, "parts", &parts, true).await;
    is_listed(&facade, "parts", &parts, true).await;
    spring_cloud_alibaba(&estate, &landfall, &nacos, &facade).await;
    sees(&parts, "DEFAULT_GROUP", "stock", &[&stock]).await;

    // It is subscribed now: a change in Consul is pushed.
    estate
        .add_alone(&["stock-2"], &[format!("stock-2:CONSUL_URL=http://{consul}")])
        .await;
    let second = estate.address("stock-2").await;
    sees(&parts, "DEFAULT_GROUP", "stock", &[&stock, &second]).await;
    put(&second, "/health/fail").await;
    let gone = sees(&parts, "DEFAULT_GROUP", "stock", &[&stock]).await;
    put(&second, "/health/pass").await;
    let back = sees(&parts, "DEFAULT_GROUP", "stock", &[&stock, &second]).await;
    println!("by push: gone after {gone:?}, back after {back:?}");

    put(&parts, "/deregister").await;
    is_listed(&nacos, "parts", &parts, false).await;
    // Nacos' own client repeats a deregistration now and then; one that follows too soon is taken back by it.
    tokio::time::sleep(Duration::from_secs(4)).await;
    put(&parts, "/register").await;
    is_listed(&nacos, "parts", &parts, true).await;

    // The real one goes and comes back empty: the application keeps what it sees, and registers again by itself.
    estate.stop("nacos").await;
    sees(&parts, "DEFAULT_GROUP", "stock", &[&stock, &second]).await;
    estate.start_empty("nacos").await;
    is_listed(&nacos, "parts", &parts, true).await;
    // Killed, it leaves the real registry with its connection.
    estate.kill("parts").await;
    is_listed(&nacos, "parts", &parts, false).await;
}

/// Two Spring Boot applications with nothing changed but `server-addr`: one in front of which Landfall is calls what only
/// Consul has, the other one is in the real Nacos and calls the first; both are followed as what they are.
async fn spring_cloud_alibaba(estate: &Estate, landfall: &Landfall, nacos: &str, facade: &str) {
    let settings = [
        format!("wharf:NACOS={facade}"),
        "wharf:CALLS=stock".to_owned(),
        format!("wharf-2:NACOS={nacos}"),
        "wharf-2:CALLS=wharf".to_owned(),
        "wharf-2:SERVICE=quay".to_owned(),
    ];
    estate.add_alone(&["wharf", "wharf-2"], &settings).await;
    let (wharf, quay) = (estate.address("wharf").await, estate.address("wharf-2").await);
    is_listed(nacos, "wharf", &wharf, true).await;
    is_listed(facade, "quay", &quay, true).await;
    answered(&format!("http://{wharf}/wharf/orders"), "\"service\":\"stock\"").await;
    answered(&format!("http://{quay}/wharf/orders"), "\"instance\":\"wharf\"").await;
    for (service, address) in [("wharf", &wharf), ("quay", &quay)] {
        eventually(&format!("{service} is followed"), || async {
            let found = landfall
                .admin(&format!("/api/v1/services?name={service}"))
                .await?
                .to_string();
            let port = format!("\"number\":{}", address.rsplit(':').next().unwrap_or_default());
            let expected = [port.as_str(), "\"127.0.0.1\"", "\"nacos\"", "\"UP\"", "SPRING_CLOUD"];
            match expected.iter().all(|word| found.contains(word)) {
                true => Ok(()),
                false => Err(found),
            }
        })
        .await;
    }
    // Told to end, it says good-bye in the real registry, by way of the facade.
    estate.stop("wharf").await;
    is_listed(nacos, "wharf", &wharf, false).await;
    estate.kill("wharf-2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn landfall_instead_of_nacos_keeps_its_clients_through_a_crash() {
    let (port, eureka) = (free_pair(), landfall::free_port());
    let blocks = format!(
        "embedded: {{ nacos: {{ address: \"127.0.0.1:{port}\" }}, eureka: {{ address: \"127.0.0.1:{eureka}\" }} }}"
    );
    let mut landfall = Landfall::up(&registry("own", &blocks)).await;
    let own = format!("127.0.0.1:{port}");
    let settings = ["parts", "parts-2", "wharf"].map(|part| format!("{part}:NACOS={own}"));
    let estate = Estate::up_alone(&["parts", "parts-2", "wharf"], &settings).await;
    // Spring Cloud Alibaba, registered here and calling what is.
    let wharf = estate.address("wharf").await;
    let calls = format!("http://{wharf}/wharf/orders");
    answered(&calls, "\"service\":\"parts\"").await;
    let (parts, second) = (estate.address("parts").await, estate.address("parts-2").await);
    let mut python = Client::start(&["python", "nacos_client.py", &own, "py-nacos", "7101"]).await;
    let url = format!("http://127.0.0.1:{eureka}/eureka");
    let mut other = Client::start(&["python", "eureka.py", &url, "py-eureka", "7102"]).await;
    // Each finds all, whichever protocol the others speak.
    sees(&parts, "DEFAULT_GROUP", "parts", &[&parts, &second]).await;
    sees(&parts, "DEFAULT_GROUP", "py-nacos", &["127.0.0.1:7101"]).await;
    sees(&parts, "DEFAULT_GROUP", "py-eureka", &["127.0.0.1:7102"]).await;
    python.until("find py-eureka", json!(["127.0.0.1:7102"])).await;
    other.until("find py-nacos", json!(["127.0.0.1:7101"])).await;
    assert_eq!(python.tell("beat"), json!(10200));

    // A push, from one application's act to the other's own view.
    put(&second, "/deregister").await;
    let gone = sees(&parts, "DEFAULT_GROUP", "parts", &[&parts]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    put(&second, "/register").await;
    let back = sees(&parts, "DEFAULT_GROUP", "parts", &[&parts, &second]).await;
    println!("by push: gone after {gone:?}, back after {back:?}");
    assert!(gone < SOON && back < SOON, "{gone:?} {back:?}");

    // Everybody is on disk; then it is killed, and one application with it.
    eventually("everybody is on disk", || async {
        let state = std::fs::read_to_string(landfall.dir.path().join("data/embedded/own.json"));
        let state = state.map_err(|error| error.to_string())?;
        let all = [&parts, &second].map(|one| one.rsplit(':').next().unwrap_or_default().to_owned());
        match all.iter().all(|port| state.contains(port.as_str())) && state.contains("py-nacos") {
            true => Ok(()),
            false => Err(state),
        }
    })
    .await;
    landfall.crash();
    estate.kill("parts-2").await;
    landfall.restart();
    landfall.ready().await;
    let restarted = Instant::now();
    // The lease of all stands, whether their client is back or not.
    is_listed(&own, "parts", &parts, true).await;
    is_listed(&own, "parts", &second, true).await;
    assert!(restarted.elapsed() < Duration::from_secs(10));
    python.until("find py-nacos", json!(["127.0.0.1:7101"])).await;
    answered(&calls, "\"service\":\"parts\"").await;
    is_listed(&own, "wharf", &wharf, true).await;
    // Who does not come back is gone after its time; the one that lives has registered again and stays.
    let left = sees(&parts, "DEFAULT_GROUP", "parts", &[&parts]).await;
    println!("the dead one was gone {:?} after the restart", restarted.elapsed());
    assert!(
        restarted.elapsed() > Duration::from_secs(15),
        "its lease was kept: {left:?}"
    );
    is_listed(&own, "parts", &parts, true).await;
    is_listed(&own, "wharf", &wharf, true).await;
    put(&parts, "/deregister").await;
    is_listed(&own, "parts", &parts, false).await;
    assert_eq!(python.tell("bye"), json!("gone"));
    assert_eq!(other.tell("bye"), json!("gone"));
}

/// A request of the script: method, path below `/nacos/`, form.
type Step = (&'static str, &'static str, &'static str);

/// Asked of a real Nacos and of ours in this order.
const SCRIPT: &[Step] = &[
    (
        "POST",
        "v1/ns/instance",
        "serviceName=web&ip=10.0.0.1&port=80&weight=2&metadata={\"a\":\"b\"}",
    ),
    (
        "POST",
        "v2/ns/instance",
        "serviceName=web&ip=10.0.0.2&port=80&clusterName=C",
    ),
    ("GET", "v1/ns/instance/list?serviceName=web", ""),
    ("GET", "v1/ns/instance/list?serviceName=web&clusters=C", ""),
    ("GET", "v1/ns/instance/list?serviceName=nobody", ""),
    ("GET", "v2/ns/instance/list?serviceName=web", ""),
    ("GET", "v1/ns/instance?serviceName=web&ip=10.0.0.1&port=80", ""),
    ("GET", "v2/ns/instance?serviceName=web&ip=10.0.0.1&port=80", ""),
    ("GET", "v1/ns/instance?serviceName=web&ip=10.0.0.9&port=80", ""),
    (
        "GET",
        "v1/ns/instance?serviceName=web&ip=10.0.0.9&port=80&cluster=X",
        "",
    ),
    ("GET", "v2/ns/instance?serviceName=web&ip=10.0.0.9&port=80", ""),
    ("PUT", "v1/ns/instance/beat", "serviceName=web&ip=10.0.0.1&port=80"),
    ("PUT", "v1/ns/instance/beat", "serviceName=web&ip=10.0.0.9&port=80"),
    ("GET", "v1/ns/service/list?pageNo=1&pageSize=10", ""),
    ("GET", "v2/ns/service/list?pageNo=1&pageSize=10", ""),
    ("GET", "v1/ns/service/list", ""),
    ("GET", "v1/ns/service?serviceName=web", ""),
    ("GET", "v2/ns/service?serviceName=web", ""),
    ("GET", "v1/ns/service?serviceName=nobody", ""),
    ("GET", "v1/ns/operator/metrics", ""),
    ("GET", "v2/ns/operator/metrics", ""),
    ("POST", "v1/ns/instance", "serviceName=web"),
    ("POST", "v2/ns/instance", "serviceName=web"),
    ("POST", "v1/ns/instance", "serviceName=web&ip=10.0.0.1"),
    (
        "POST",
        "v1/ns/instance",
        "serviceName=web&ip=10.0.0.1&port=80&weight=-1",
    ),
    (
        "POST",
        "v2/ns/instance",
        "serviceName=web&ip=10.0.0.1&port=80&weight=-1",
    ),
    ("PUT", "v1/ns/instance", "serviceName=nobody&ip=10.0.0.1&port=80"),
    ("DELETE", "v1/ns/instance?serviceName=web&ip=10.0.0.1&port=80", ""),
    ("DELETE", "v1/ns/instance?serviceName=nobody&ip=10.0.0.1&port=80", ""),
    (
        "DELETE",
        "v2/ns/instance?serviceName=web&ip=10.0.0.2&port=80&clusterName=C",
        "",
    ),
];

/// Leaves that depend on the hour, or are there or not by how an instance came into Nacos.
const OWN: [&str; 3] = ["lastRefTime", "instanceId", "instanceIdGenerator"];

async fn ours_answers_as_the_real_one(real: &str, ours: &str) {
    let mut differences = Vec::new();
    for step in SCRIPT {
        let (theirs, own) = (ask(real, step).await, ask(ours, step).await);
        let same = match theirs.0 {
            200 => theirs == own,
            // Of an error the status counts, not the words.
            status => status == own.0,
        };
        if !same {
            differences.push(format!("{step:?}\n  Nacos {theirs:?}\n  ours  {own:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A value without what differs from server to server, its lists in order.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name, plain(value))).collect())
        }
        Value::Array(list) => {
            let mut list: Vec<Value> = list.into_iter().map(plain).collect();
            list.sort_by_key(Value::to_string);
            Value::Array(list)
        }
        other => other,
    }
}

/// Status and body.
async fn ask(base: &str, (method, path, form): &Step) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = reqwest::Client::new().request(method, format!("http://{base}/nacos/{path}"));
    if !form.is_empty() {
        request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.replace('{', "%7B").replace('}', "%7D").replace('"', "%22"));
    }
    let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (
        status,
        plain(serde_json::from_str(&text).unwrap_or(Value::String(text))),
    )
}
