//! Eureka's own Java client against a real Eureka, an embedded registry and a facade: the same steps, the same answers.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Command, Stdio},
};

use landfall_tests::{Landfall, estate::Estate, landfall};
use serde_json::{Value, json};

use super::registry;

/// What Netflix's client saw, line by line.
async fn flow(url: String) -> Vec<String> {
    let run = move || {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("estate/clients/client");
        let mut command = Command::new(program);
        command.args(["java", "flow", &url]).stdin(Stdio::null());
        let output = command.output().expect("python3 runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with("flow: "))
            .map(str::to_owned)
            .collect();
        assert!(
            lines.last().is_some_and(|line| line == "flow: done: "),
            "{url}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        lines
    };
    let lines = tokio::task::spawn_blocking(run).await.expect("no panic");
    // A heartbeat of Spring's server, whose error page the client cannot read.
    lines.iter().map(|line| line.replace(" with a page", "")).collect()
}

/// Path, `Accept`, `X-Eureka-Accept`, `Accept-Encoding`; empty for none.
const READS: &[(&str, &str, &str, &str)] = &[
    ("apps/", "application/json", "", ""),
    ("apps", "application/xml", "", ""),
    ("apps", "", "", ""),
    ("apps/", "application/json", "full", "gzip"),
    ("apps/", "application/json", "compact", ""),
    ("apps/", "application/json", "compact", "gzip"),
    ("apps", "application/xml", "compact", ""),
    ("apps/delta", "application/json", "", ""),
    ("apps/delta", "application/json", "compact", ""),
    ("apps/delta", "application/xml", "", "gzip"),
    ("apps/READER", "application/json", "", ""),
    ("apps/READER", "application/xml", "", ""),
    ("apps/READER", "application/json", "compact", ""),
    ("apps/READER/r1", "application/json", "", ""),
    ("apps/READER/r1", "application/xml", "", ""),
    ("instances/r1", "application/json", "compact", ""),
    ("vips/reader", "application/json", "", ""),
    ("vips/reader", "application/json", "compact", ""),
    ("vips/reader", "application/xml", "", ""),
    ("svips/reader-tls", "application/json", "", ""),
    ("vips/nobody", "application/json", "", ""),
    ("apps/NOBODY", "application/json", "", ""),
    ("instances/nobody", "application/json", "", ""),
];

/// Status, type, whether it is packed, and what it consists of.
async fn read(
    client: &reqwest::Client,
    base: &str,
    asked: (&str, &str, &str, &str),
) -> (u16, String, bool, BTreeSet<String>) {
    let (path, accept, detail, encoding) = asked;
    let mut request = client.get(format!("{base}/{path}"));
    for (name, value) in [
        ("accept", accept),
        ("x-eureka-accept", detail),
        ("accept-encoding", encoding),
    ] {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    let answer = request
        .send()
        .await
        .unwrap_or_else(|error| panic!("{base}/{path}: {error:?}"));
    let header = |name: &str| {
        let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (status, kind) = (answer.status().as_u16(), header("content-type"));
    let packed = header("content-encoding") == "gzip";
    let body = answer.bytes().await.expect("a body");
    let text = if packed {
        unpacked(&body)
    } else {
        String::from_utf8_lossy(&body).into_owned()
    };
    let mut parts = BTreeSet::new();
    if status != 200 {
        return (status, String::new(), packed, parts);
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(body) => keys(&body, "", &mut parts),
        Err(_) => {
            let tags = text
                .split('<')
                .skip(1)
                .filter_map(|tag| tag.split(['>', ' ', '/']).next());
            parts.extend(tags.filter(|tag| !tag.is_empty()).map(str::to_owned));
        }
    }
    let kind = kind.split(';').next().unwrap_or_default().to_owned();
    (status, kind, packed, parts)
}

fn unpacked(body: &[u8]) -> String {
    let mut child = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip runs");
    let (mut stdin, body) = (child.stdin.take().expect("piped"), body.to_vec());
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &body));
    let output = child.wait_with_output().expect("gzip ends");
    writer.join().expect("no panic").expect("gzip reads");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The paths of all keys.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| keys(value, &format!("{path}.{key}"), found)),
        Value::Array(items) => items.iter().for_each(|item| keys(item, &format!("{path}[]"), found)),
        value => {
            let kind = match value {
                Value::String(_) => "text",
                Value::Number(_) => "number",
                _ => "other",
            };
            found.insert(format!("{path}: {kind}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn netflixs_own_client_sees_the_same_of_a_real_eureka_of_ours_and_of_a_facade() {
    let (own, front) = (landfall::free_port(), landfall::free_port());
    let estate = Estate::up_alone(&["eureka"], &[]).await;
    let real = format!("http://{}/eureka", estate.address("eureka").await);
    let config = [
        registry("real", &format!("eureka: {{ urls: [\"{real}\"], poll: 200ms }}")),
        registry(
            "own",
            &format!("embedded: {{ eureka: {{ address: \"127.0.0.1:{own}\" }} }}"),
        ),
        format!(
            "apiVersion: landfall.dev/v1\nkind: Facade\nmetadata: {{ name: front }}\nspec: {{ address: \
             \"127.0.0.1:{front}\", eureka: {{}}, view: {{ registry: real }}, writes: {{ forward: real }} }}\n"
        ),
    ]
    .join("---\n");
    let landfall = Landfall::up(&config).await;
    let (own, front) = (
        format!("http://127.0.0.1:{own}/eureka"),
        format!("http://127.0.0.1:{front}/eureka"),
    );
    let (seen, ours) = tokio::join!(flow(real.clone()), flow(own.clone()));
    assert_eq!(seen, ours, "an embedded registry");
    assert!(seen.len() > 35, "{seen:?}");
    assert_eq!(seen, flow(front.clone()).await, "a facade");
    let facades = landfall.admin("/api/v1/facades").await.expect("the facades");
    let shown = facades["facades"].as_array().expect("a list");
    assert_eq!(shown.len(), 2, "{facades}");
    for one in shown {
        let clients = one["clients"].to_string();
        assert!(clients.contains("127.0.0.1") && clients.contains("Jersey"), "{facades}");
        let renewed = one["requests"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["kind"] == "renew" && one["status"] == 200));
        assert!(renewed, "{facades}");
    }

    // Byte for byte it differs, but of the same parts.
    let body = json!({"instance": {
        "instanceId": "r1", "app": "READER", "hostName": "h1", "ipAddr": "127.0.0.1", "status": "UP",
        "port": {"$": 8080, "@enabled": "true"}, "securePort": {"$": 8443, "@enabled": "true"},
        "vipAddress": "reader", "secureVipAddress": "reader-tls", "homePageUrl": "http://h1:8080/",
        "statusPageUrl": "http://h1:8080/info", "healthCheckUrl": "http://h1:8080/health", "metadata": {"zone": "a"},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90}}});
    for base in [&real, &own] {
        let answer = landfall
            .client
            .post(format!("{base}/apps/READER"))
            .json(&body)
            .send()
            .await;
        assert_eq!(answer.expect("an answer").status(), 204);
    }
    let mut found = Vec::new();
    // It shows what came over the wire, packed or not.
    let client = reqwest::Client::builder()
        .no_proxy()
        .no_gzip()
        .build()
        .expect("a client");
    for asked in READS {
        let mine = read(&client, &own, *asked).await;
        // A real one answers lists from a cache.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let mut theirs = read(&client, &real, *asked).await;
        while theirs != mine && std::time::Instant::now() < end {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            theirs = read(&client, &real, *asked).await;
        }
        if theirs != mine {
            let (status, kind, packed, parts) = &mine;
            found.push(format!(
                "{asked:?}: {:?}, ours {:?}; only there {:?}; only here {:?}",
                (theirs.0, &theirs.1, theirs.2),
                (status, kind, packed),
                theirs.3.difference(parts).collect::<Vec<_>>(),
                parts.difference(&theirs.3).collect::<Vec<_>>()
            ));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
