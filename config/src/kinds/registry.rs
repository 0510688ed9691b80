//! `kind: Registry`: a registry to follow, and how to reach it.
//!
//! Exactly one of the blocks names what it is. Next on the path: `adapters::connect`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::NamespaceName;
use crate::secret::SecretRef;

/// A registry to follow. Exactly one of the blocks from `eureka` to `embedded` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RegistrySpec {
    /// Precedence when a name without a registry is found in several: the higher wins. Default 0.
    pub priority: i32,
    /// When many instances vanish at once. Default: see the fields.
    pub brake: BrakeSpec,
    /// Netflix or Spring Cloud Eureka.
    pub eureka: Option<EurekaSpec>,
    /// HashiCorp Consul.
    pub consul: Option<ConsulSpec>,
    /// Dubbo's registry in ZooKeeper.
    pub zookeeper: Option<ZooKeeperSpec>,
    /// Alibaba Nacos.
    pub nacos: Option<NacosSpec>,
    /// A YAML file that is followed live.
    pub file: Option<FileSpec>,
    /// Services listed in place.
    #[serde(rename = "static")]
    pub static_: Option<StaticSpec>,
    /// A registry of our own that answers other registries' protocols.
    pub embedded: Option<EmbeddedSpec>,
}

/// Holds back a removal that is too large to be true until it is confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BrakeSpec {
    /// This share of one service's instances at once, or more, is held. Per cent, default 50.
    #[schemars(range(max = 100))]
    pub service_percent: u8,
    /// This share of the registry's instances at once, or more, is held. Per cent, default 25.
    #[schemars(range(max = 100))]
    pub registry_percent: u8,
    /// A held removal takes effect after this long in a live session, ten times as long while the instances still
    /// answer a connection. `0s` switches the brake off. Default `30s`.
    pub hold: crate::duration::Duration,
}

impl RegistrySpec {
    /// The same, with relative files of secrets taken from `base`.
    pub fn with_secrets_under(&self, base: &Path) -> Self {
        let mut spec = self.clone();
        let eureka = spec.eureka.as_mut().and_then(|eureka| eureka.password.as_mut());
        let consul = spec.consul.as_mut().and_then(|consul| consul.token.as_mut());
        let zookeeper = spec
            .zookeeper
            .as_mut()
            .and_then(|zookeeper| zookeeper.password.as_mut());
        let nacos = spec.nacos.as_mut().and_then(|nacos| nacos.password.as_mut());
        for secret in [eureka, consul, zookeeper, nacos].into_iter().flatten() {
            *secret = secret.under(base);
        }
        spec
    }
}

impl Default for BrakeSpec {
    fn default() -> Self {
        Self {
            service_percent: 50,
            registry_percent: 25,
            hold: crate::duration::Duration::from_secs(30),
        }
    }
}

/// Netflix or Spring Cloud Eureka.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EurekaSpec {
    /// Base URLs such as `http://127.0.0.1:8761/eureka`, tried in order within one fetch.
    #[schemars(length(min = 1))]
    pub urls: Vec<String>,
    /// User for basic auth. A user in the URL works too, but then the password stands in the file.
    #[serde(default)]
    pub username: Option<String>,
    /// Password for basic auth, as a reference.
    #[serde(default)]
    pub password: Option<SecretRef>,
    /// Time between fetches. Default `5s` (Eureka's own clients use 30 s).
    #[serde(default = "five_seconds")]
    pub poll: crate::duration::Duration,
    /// A full fetch at least this often, although deltas agree. Default `5m`.
    #[serde(default = "five_minutes")]
    pub full_fetch: crate::duration::Duration,
    /// Which of an instance's addresses is used. Default `ip`.
    #[serde(default)]
    pub address: EurekaAddress,
}

/// Which of an Eureka instance's addresses is used; the other one if it is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EurekaAddress {
    /// `ipAddr`: needs no name resolution.
    #[default]
    Ip,
    /// `hostName`, as Spring's own consumers do.
    Hostname,
}

/// HashiCorp Consul.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsulSpec {
    /// URL of an agent such as `http://127.0.0.1:8500`.
    pub address: String,
    /// ACL token, as a reference.
    #[serde(default)]
    pub token: Option<SecretRef>,
    /// Datacenter to read. Default: the agent's own.
    #[serde(default)]
    pub datacenter: Option<String>,
    /// Services with all of these tags only.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Services to leave out besides `consul` itself.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Longest time a blocking query waits. Default `55s`.
    #[serde(default = "blocking_wait")]
    pub wait: crate::duration::Duration,
    /// Blocking queries for services held open at once; further services are asked in turn when anything has changed. Default 128.
    #[schemars(range(min = 1, max = 10000))]
    #[serde(default = "max_watches")]
    pub max_watches: usize,
}

/// Dubbo's registry in ZooKeeper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZooKeeperSpec {
    /// `host:port`, several separated by commas.
    pub address: String,
    /// Root of interface-level nodes: Dubbo's registry `group`. Default `dubbo`.
    #[serde(default = "dubbo_root")]
    pub root: String,
    /// Root of application-level instances. Default `/services`.
    #[serde(default = "services_root")]
    pub services_root: String,
    /// User for digest auth.
    #[serde(default)]
    pub username: Option<String>,
    /// Password for digest auth, as a reference.
    #[serde(default)]
    pub password: Option<SecretRef>,
    /// Session timeout asked for. Default `30s`.
    #[serde(default = "session_timeout")]
    pub session_timeout: crate::duration::Duration,
}

/// Alibaba Nacos: its naming half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NacosSpec {
    /// Servers of one cluster such as `http://127.0.0.1:8848`, tried in turn. `http://` may be left out; the path is
    /// `/nacos` unless one is given. gRPC is spoken at the port + 1000, with TLS for `https://`.
    #[schemars(length(min = 1))]
    pub addresses: Vec<String>,
    /// Id (not the display name) of the namespace. Default `public`.
    #[serde(default = "public")]
    pub namespace: String,
    /// Groups whose services are followed; Nacos has no way to list them. Default `[DEFAULT_GROUP]`.
    #[schemars(length(min = 1))]
    #[serde(default = "default_group")]
    pub groups: Vec<String>,
    /// User to log in.
    #[serde(default)]
    pub username: Option<String>,
    /// Password to log in, as a reference.
    #[serde(default)]
    pub password: Option<SecretRef>,
    /// How changes are learnt. Default `auto`.
    #[serde(default)]
    pub transport: NacosTransport,
    /// Time between two listings of the services' names, and over HTTP between two readings of each. Default `1s`.
    #[serde(default = "one_second")]
    pub poll: crate::duration::Duration,
}

impl NacosSpec {
    /// One server, and nothing else said.
    pub fn at(address: &str) -> Self {
        Self {
            addresses: vec![address.to_owned()],
            namespace: public(),
            groups: default_group(),
            username: None,
            password: None,
            transport: NacosTransport::Auto,
            poll: one_second(),
        }
    }
}

/// How changes in Nacos are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NacosTransport {
    /// gRPC, and HTTP while the gRPC port cannot be reached.
    #[default]
    Auto,
    /// gRPC: pushed within about half a second. Nacos 2 and later.
    Grpc,
    /// HTTP, polled: Nacos 1, or when only one port is open.
    Http,
}

/// A YAML file that is followed live: the same content as `static`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// Path, relative to the configuration file.
    pub path: PathBuf,
}

/// Services listed in place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StaticSpec {
    /// The services.
    pub services: Vec<StaticService>,
}

/// A service listed in place or in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticService {
    /// Its name.
    pub name: String,
    /// `host:port`, or an object.
    pub instances: Vec<StaticInstance>,
}

/// An instance: `host:port`, or an object with more to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StaticInstance {
    /// `host:port`.
    Address(String),
    /// With more to say.
    Detailed(StaticInstanceDetails),
}

/// An instance with more to say than its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticInstanceDetails {
    /// `host:port`.
    pub address: String,
    /// Default: the address.
    #[serde(default)]
    pub id: Option<String>,
    /// `http`, `h2`, `grpc`, `triple`, `dubbo`, `tcp`. Default: unknown.
    #[serde(default)]
    pub protocol: Option<String>,
    /// TLS is spoken there. Default false.
    #[serde(default)]
    pub tls: bool,
    /// Share of traffic; 0 gets none. Default 100.
    #[serde(default)]
    pub weight: Option<u32>,
    /// Availability zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// `UP` (default), `DOWN`, `STARTING`, `OUT_OF_SERVICE`.
    #[serde(default)]
    pub status: Option<String>,
    /// Anything.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// A registry of our own. At least one protocol is given; with several, each shows what was registered by the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EmbeddedSpec {
    /// Answer Eureka's REST protocol.
    pub eureka: Option<EmbeddedListener>,
    /// Answer Consul's HTTP API.
    pub consul: Option<EmbeddedConsul>,
    /// Begin with what this registry had, by its last good view: its own name, or that of another Eureka or Consul that
    /// was followed and is being switched off. Read once, while nobody is registered here yet.
    pub take_over: Option<NamespaceName>,
    /// Answer Nacos' naming protocol: HTTP at the address, gRPC at its port + 1000.
    pub nacos: Option<EmbeddedNacos>,
}

/// Where a protocol is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddedListener {
    /// `ip:port` to listen on.
    pub address: String,
}

/// Where Consul's HTTP API is answered, and as whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddedConsul {
    /// `ip:port` to listen on.
    pub address: String,
    /// Name of the datacenter. Default `dc1`.
    #[serde(default = "datacenter")]
    pub datacenter: String,
    /// Name of the node that services are registered on. Default `landfall`.
    #[serde(default = "node")]
    pub node: String,
}

/// Where Nacos' naming protocol is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddedNacos {
    /// `ip:port` to listen on for HTTP; gRPC is answered at the port + 1000.
    pub address: String,
    /// Id of the namespace whose services routes and the other protocols see. Clients may use any. Default `public`.
    #[serde(default = "public")]
    pub namespace: String,
}

impl EmbeddedSpec {
    /// Every address that is listened on, as it is written, with the port of gRPC beside that of Nacos. What is no address is left out.
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        let eureka = self.eureka.as_ref().map(|one| &one.address);
        let consul = self.consul.as_ref().map(|one| &one.address);
        let nacos = self.nacos.as_ref().map(|one| &one.address);
        let mut all: Vec<std::net::SocketAddr> = [eureka, consul, nacos]
            .into_iter()
            .flatten()
            .filter_map(|address| address.parse().ok())
            .collect();
        all.extend(nacos.and_then(|address| nacos_grpc(address)));
        all
    }
}

/// Where gRPC is answered beside an address of Nacos' HTTP; `None` if there is no such port, or any port will do.
pub fn nacos_grpc(address: &str) -> Option<std::net::SocketAddr> {
    let mut address: std::net::SocketAddr = address.parse().ok()?;
    let port = address.port().checked_add(NACOS_GRPC_OFFSET)?;
    if address.port() == 0 {
        return None;
    }
    address.set_port(port);
    Some(address)
}

/// From Nacos' port of HTTP to that of gRPC.
pub const NACOS_GRPC_OFFSET: u16 = 1000;

impl Default for EmbeddedConsul {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:8500".to_owned(),
            datacenter: datacenter(),
            node: node(),
        }
    }
}

fn datacenter() -> String {
    "dc1".to_owned()
}
fn node() -> String {
    "landfall".to_owned()
}
fn five_seconds() -> crate::duration::Duration {
    crate::duration::Duration::from_secs(5)
}
fn one_second() -> crate::duration::Duration {
    crate::duration::Duration::from_secs(1)
}
fn public() -> String {
    "public".to_owned()
}
fn default_group() -> Vec<String> {
    vec!["DEFAULT_GROUP".to_owned()]
}
fn five_minutes() -> crate::duration::Duration {
    crate::duration::Duration::from_secs(300)
}
fn blocking_wait() -> crate::duration::Duration {
    crate::duration::Duration::from_secs(55)
}
fn max_watches() -> usize {
    128
}
fn dubbo_root() -> String {
    "dubbo".to_owned()
}
fn services_root() -> String {
    "/services".to_owned()
}
fn session_timeout() -> crate::duration::Duration {
    crate::duration::Duration::from_secs(30)
}
