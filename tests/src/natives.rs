//! Native records in real registries, and what the registries themselves say stands there.
//!
//! ```text
//! Native ── register, deregister ──▶ Eureka, Consul, Nacos: their HTTP APIs      ◀── rows ── a test's own eyes
//!                                    ZooKeeper: nodes of /dubbo/*/providers
//! ```
//!
//! Nothing here asks Landfall, nor uses its code: it is what its writing is judged by.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::Mutex, time::timeout};
use zookeeper_client::{Acls, Client, CreateMode};

/// For one answer of a registry.
const PATIENCE: Duration = Duration::from_secs(4);
/// Seconds for which a registration stands without a heartbeat.
const LONG: u64 = 86_400;

/// A native instance: a Dubbo provider by its record, so that every registry can hold it.
pub struct Native {
    /// Name of its service, in lower case; in ZooKeeper the interface has its place.
    pub service: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Something of the record that changes with a new version of the application.
    pub build: u32,
    /// What its id begins with: another one is another instance at the same address.
    pub run: String,
    /// Takes connections, as long as it lives: who probes the port gets an answer.
    listener: Option<TcpListener>,
}

impl Native {
    /// An instance on a port of its own.
    pub fn living(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self {
            service: service.to_owned(),
            address: listener.local_addr().expect("an address"),
            build: 1,
            run: "first".to_owned(),
            listener: Some(listener),
        }
    }

    /// It listens no more.
    pub fn die(&mut self) {
        self.listener = None;
    }

    /// Its interface.
    pub fn interface(&self) -> String {
        format!("dev.landfall.{}", self.service.replace('-', "."))
    }

    /// Its id in registries that ask for one.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.run, self.service, self.address.port())
    }

    fn metadata(&self) -> Value {
        json!({
            "protocol": "dubbo", "interface": self.interface(), "methods": "get", "build": self.build.to_string(),
        })
    }

    fn url(&self) -> String {
        let (address, interface, build) = (self.address, self.interface(), self.build);
        format!(
            "dubbo://{address}/{interface}?application={}&build={build}&dubbo=2.0.2&interface={interface}&methods=get&side=provider",
            self.service
        )
    }
}

/// One record as its registry shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the service, as the registry spells it.
    pub service: String,
    /// Id in the registry.
    pub id: String,
    /// `host:port`.
    pub address: String,
    /// The Landfall cluster that has written it.
    pub cluster: Option<String>,
    /// What the registry itself notes of the last write: indexes, transaction ids, times of registration.
    pub evidence: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
}

/// A registry as its own users see it.
pub struct Registry {
    kind: Kind,
    address: String,
    http: reqwest::Client,
    zookeeper: Mutex<Option<Client>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Eureka,
    Consul,
    ZooKeeper,
    Nacos,
}

impl Registry {
    /// Of a Eureka server at `127.0.0.1:port`.
    pub fn eureka(address: String) -> Self {
        Self::new(Kind::Eureka, address)
    }

    /// Of a Consul agent.
    pub fn consul(address: String) -> Self {
        Self::new(Kind::Consul, address)
    }

    /// Of a ZooKeeper server.
    pub fn zookeeper(address: String) -> Self {
        Self::new(Kind::ZooKeeper, address)
    }

    /// Of a Nacos server.
    pub fn nacos(address: String) -> Self {
        Self::new(Kind::Nacos, address)
    }

    fn new(kind: Kind, address: String) -> Self {
        crate::landfall::install_crypto();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        Self {
            kind,
            address,
            http: http.build().expect("client"),
            zookeeper: Mutex::default(),
        }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Registers an instance, again if it is there already.
    pub async fn register(&self, native: &Native) {
        crate::eventually(&format!("{} is registered", native.id()), || self.try_register(native)).await;
    }

    /// Takes an instance out, as it does itself when it ends.
    pub async fn deregister(&self, native: &Native) {
        crate::eventually(&format!("{} is taken out", native.id()), || self.try_deregister(native)).await;
    }

    /// Keeps an instance registered: Nacos forgets a client of its HTTP API that has not beaten for three minutes, whatever the
    /// record's own times (`ExpiredClientCleaner`). The others believe the record.
    ///
    /// # Errors
    /// What went wrong, when it does not answer, or does not know the instance any more.
    pub async fn keep(&self, native: &Native) -> Result<(), String> {
        if self.kind != Kind::Nacos {
            return Ok(());
        }
        let (host, port) = (native.address.ip(), native.address.port());
        let query = format!("serviceName={}&ip={host}&port={port}&ephemeral=true", native.service);
        let answer = self
            .ask("PUT", &format!("/nacos/v1/ns/instance/beat?{query}"), None)
            .await?;
        match answer["code"].as_u64() {
            Some(10200) => Ok(()),
            _ => Err(format!("{} beats: {answer}", native.id())),
        }
    }

    async fn try_register(&self, native: &Native) -> Result<(), String> {
        let (id, host, port) = (native.id(), native.address.ip(), native.address.port());
        match self.kind {
            Kind::Eureka => {
                let app = native.service.to_uppercase();
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                let body = json!({ "instance": {
                    "instanceId": id, "hostName": host, "app": app, "ipAddr": host, "status": "UP",
                    "port": { "$": port, "@enabled": "true" }, "securePort": { "$": 443, "@enabled": "false" },
                    "vipAddress": native.service, "metadata": native.metadata(),
                    "dataCenterInfo": { "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn" },
                    "leaseInfo": { "renewalIntervalInSecs": 30, "durationInSecs": LONG },
                    "lastDirtyTimestamp": u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or_default(),
                }});
                self.ask("POST", &format!("/eureka/apps/{app}"), Some(&body))
                    .await
                    .map(drop)
            }
            Kind::Consul => {
                let body = json!({
                    "ID": id, "Name": native.service, "Address": host, "Port": port, "Meta": native.metadata(),
                });
                self.ask("PUT", "/v1/agent/service/register", Some(&body))
                    .await
                    .map(drop)
            }
            Kind::Nacos => {
                let mut metadata = native.metadata();
                // Without heartbeats it would be unhealthy after 15 s.
                for key in ["preserved.heart.beat.timeout", "preserved.ip.delete.timeout"] {
                    metadata[key] = json!((LONG * 1000).to_string());
                }
                let metadata = percent(&metadata.to_string());
                let query = format!(
                    "serviceName={}&ip={host}&port={port}&ephemeral=true&metadata={metadata}",
                    native.service
                );
                self.ask("POST", &format!("/nacos/v1/ns/instance?{query}"), None)
                    .await
                    .map(drop)
            }
            Kind::ZooKeeper => {
                self.in_session(async |client| {
                    let folder = format!("/dubbo/{}/providers", native.interface());
                    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
                    client.mkdir(&folder, &persistent).await.map_err(said)?;
                    let name = percent(&native.url());
                    let there = natives_in(client, &folder, native).await?;
                    if !there.contains(&name) {
                        client
                            .create(&format!("{folder}/{name}"), b"", &persistent)
                            .await
                            .map_err(said)?;
                    }
                    for old in there.into_iter().filter(|old| *old != name) {
                        client.delete(&format!("{folder}/{old}"), None).await.map_err(said)?;
                    }
                    Ok(())
                })
                .await
            }
        }
    }

    async fn try_deregister(&self, native: &Native) -> Result<(), String> {
        let (id, host, port) = (native.id(), native.address.ip(), native.address.port());
        match self.kind {
            Kind::Eureka => {
                let path = format!("/eureka/apps/{}/{id}", native.service.to_uppercase());
                self.ask("DELETE", &path, None).await.map(drop)
            }
            Kind::Consul => {
                let path = format!("/v1/agent/service/deregister/{id}");
                self.ask("PUT", &path, None).await.map(drop)
            }
            Kind::Nacos => {
                let query = format!("serviceName={}&ip={host}&port={port}&ephemeral=true", native.service);
                self.ask("DELETE", &format!("/nacos/v1/ns/instance?{query}"), None)
                    .await
                    .map(drop)
            }
            Kind::ZooKeeper => {
                self.in_session(async |client| {
                    let folder = format!("/dubbo/{}/providers", native.interface());
                    for name in natives_in(client, &folder, native).await? {
                        client.delete(&format!("{folder}/{name}"), None).await.map_err(said)?;
                    }
                    Ok(())
                })
                .await
            }
        }
    }

    /// Everything that stands there, native or not, in a fixed order.
    ///
    /// # Errors
    /// What went wrong, when it does not answer, or says that it cannot.
    pub async fn rows(&self) -> Result<Vec<Row>, String> {
        let mut rows = match self.kind {
            Kind::Eureka => self.eureka_rows().await?,
            Kind::Consul => self.consul_rows().await?,
            Kind::Nacos => self.nacos_rows().await?,
            Kind::ZooKeeper => self.in_session(async |client| zookeeper_rows(client).await).await?,
        };
        rows.sort_by(|a, b| (&a.service, &a.id, &a.cluster).cmp(&(&b.service, &b.id, &b.cluster)));
        Ok(rows)
    }

    /// Asks over HTTP and expects success.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        request = request.header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| format!("{path}: {error:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{path}: {error:?}"))?;
        if !status.is_success() {
            return Err(format!("{path}: {status} {text}"));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn eureka_rows(&self) -> Result<Vec<Row>, String> {
        let answer = self.ask("GET", "/eureka/apps", None).await?;
        let apps = answer["applications"]["application"]
            .as_array()
            .ok_or_else(|| answer.to_string())?;
        let mut rows = Vec::new();
        for app in apps {
            for instance in app["instance"].as_array().into_iter().flatten() {
                let metadata = texts(&instance["metadata"]);
                rows.push(Row {
                    service: text(&app["name"]),
                    id: text(&instance["instanceId"]),
                    address: format!("{}:{}", text(&instance["ipAddr"]), instance["port"]["$"]),
                    cluster: metadata.get("landfall-cluster").cloned(),
                    evidence: format!(
                        "{} {} {}",
                        instance["leaseInfo"]["registrationTimestamp"],
                        instance["lastUpdatedTimestamp"],
                        instance["lastDirtyTimestamp"]
                    ),
                    metadata,
                });
            }
        }
        Ok(rows)
    }

    async fn consul_rows(&self) -> Result<Vec<Row>, String> {
        // A server that was just started is the leader before it has read all of its log, and then knows a part.
        let nodes = self.ask("GET", "/v1/catalog/nodes?consistent", None).await?;
        let mut rows = Vec::new();
        for node in nodes.as_array().ok_or_else(|| nodes.to_string())? {
            let node = text(&node["Node"]);
            let services = self
                .ask("GET", &format!("/v1/catalog/node-services/{node}?consistent"), None)
                .await?;
            let checks = self
                .ask("GET", &format!("/v1/health/node/{node}?consistent"), None)
                .await?;
            for service in services["Services"].as_array().into_iter().flatten() {
                let metadata = texts(&service["Meta"]);
                let own = checks.as_array().into_iter().flatten();
                let own = own.filter(|check| check["ServiceID"] == service["ID"]);
                let checked: Vec<String> = own.map(|check| check["ModifyIndex"].to_string()).collect();
                rows.push(Row {
                    service: text(&service["Service"]),
                    id: format!("{node}/{}", text(&service["ID"])),
                    address: format!("{}:{}", text(&service["Address"]), service["Port"]),
                    cluster: metadata.get("landfall-cluster").cloned(),
                    evidence: format!("{} {}", service["ModifyIndex"], checked.join(" ")),
                    metadata,
                });
            }
        }
        Ok(rows)
    }

    async fn nacos_rows(&self) -> Result<Vec<Row>, String> {
        let listed = self
            .ask("GET", "/nacos/v1/ns/service/list?pageNo=1&pageSize=5000", None)
            .await?;
        let mut rows = Vec::new();
        for service in listed["doms"].as_array().ok_or_else(|| listed.to_string())? {
            let service = text(service);
            let path = format!("/nacos/v1/ns/instance/list?serviceName={}", percent(&service));
            let answer = self.ask("GET", &path, None).await?;
            for host in answer["hosts"].as_array().into_iter().flatten() {
                let metadata = texts(&host["metadata"]);
                rows.push(Row {
                    service: service.clone(),
                    id: text(&host["instanceId"]),
                    address: format!("{}:{}", text(&host["ip"]), host["port"]),
                    cluster: metadata.get("landfall-cluster").cloned(),
                    // It notes no times or indexes for its users: what they see of the record has to do.
                    evidence: format!(
                        "{} {} {} {metadata:?}",
                        host["weight"], host["enabled"], host["healthy"]
                    ),
                    metadata,
                });
            }
        }
        Ok(rows)
    }

    /// Does something in a session that is kept for the next time.
    async fn in_session<T>(&self, act: impl AsyncFnOnce(&Client) -> Result<T, String>) -> Result<T, String> {
        let mut session = self.zookeeper.lock().await;
        let client = match session.take() {
            Some(client) if !client.state().is_terminated() => client,
            _ => {
                let connector = Client::connector()
                    .with_session_timeout(Duration::from_secs(4))
                    .with_fail_eagerly();
                let opened = timeout(PATIENCE, connector.connect(&self.address)).await;
                opened.map_err(|_| "no session in time".to_owned())?.map_err(said)?
            }
        };
        let done = timeout(PATIENCE, act(&client))
            .await
            .map_err(|_| "no answer in time".to_owned())?;
        if done.is_ok() {
            *session = Some(client);
        }
        done
    }
}

async fn zookeeper_rows(client: &Client) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for interface in children(client, "/dubbo").await? {
        let folder = format!("/dubbo/{interface}/providers");
        for name in children(client, &folder).await? {
            let Some(stat) = client.check_stat(&format!("{folder}/{name}")).await.map_err(said)? else {
                continue;
            };
            let url = decoded(&name);
            let (address, query) = url.split_once('?').unwrap_or((&url, ""));
            let metadata: BTreeMap<String, String> = query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            rows.push(Row {
                service: interface.clone(),
                id: address.to_owned(),
                address: host_of(&url).to_owned(),
                cluster: metadata.get("landfall-cluster").cloned(),
                evidence: format!("{} {}", stat.czxid, stat.mzxid),
                metadata,
            });
        }
    }
    Ok(rows)
}

/// None for a folder that is not there.
async fn children(client: &Client, path: &str) -> Result<Vec<String>, String> {
    match client.list_children(path).await {
        Ok(children) => Ok(children),
        Err(zookeeper_client::Error::NoNode) => Ok(Vec::new()),
        Err(error) => Err(said(error)),
    }
}

/// Nodes of this address that Landfall has not written.
async fn natives_in(client: &Client, folder: &str, native: &Native) -> Result<Vec<String>, String> {
    let mut names = children(client, folder).await?;
    names.retain(|name| {
        let url = decoded(name);
        host_of(&url) == native.address.to_string() && !url.contains("landfall-origin=")
    });
    Ok(names)
}

/// `host:port` of a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

fn said(error: zookeeper_client::Error) -> String {
    error.to_string()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), text(value))).collect()
}

/// With everything but letters, digits, `-`, `_` and `.` as `%XX`, as Java's `URLEncoder` writes it.
pub fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

/// The other way round; what is no escape stays.
fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_url_comes_back_from_the_name_of_its_node() {
        let native = Native::living("shop-orders");
        let url = decoded(&percent(&native.url()));
        assert_eq!(url, native.url());
        assert_eq!(host_of(&url), native.address.to_string());
        assert_eq!(native.interface(), "dev.landfall.shop.orders");
        assert_eq!(decoded("100%"), "100%");
    }
}
