//! An instance node of the application level: Curator's JSON with Dubbo's, or Spring Cloud's, metadata inside. Pure.
//!
//! Next on the path: [`application`](super::application) joins it with its metadata document.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use landfall_model::{Host, Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT};
use serde::Deserialize;

use super::interface::{brief, host, ports, useful, weight};

/// A node that has been understood.
pub(super) struct Known {
    /// As it is written, for ids.
    pub(super) host: String,
    /// The same, understood.
    pub(super) place: Host,
    pub(super) port: Option<u16>,
    pub(super) ssl_port: Option<u16>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) endpoints: Vec<(u16, String)>,
    pub(super) dubbo: bool,
}

#[derive(Deserialize)]
struct Curator {
    address: String,
    #[serde(default)]
    port: Option<i64>,
    #[serde(default, rename = "sslPort")]
    ssl_port: Option<i64>,
    #[serde(default)]
    payload: Option<Payload>,
}

#[derive(Default, Deserialize)]
struct Payload {
    #[serde(default, rename = "@class")]
    class: String,
    #[serde(default)]
    metadata: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Endpoint {
    port: i64,
    protocol: String,
}

impl Known {
    pub(super) fn read(data: &[u8]) -> Result<Self, String> {
        let curator: Curator =
            serde_json::from_slice(data).map_err(|error| brief(&format!("no Curator instance: {error}")))?;
        let address = curator.address.trim();
        if address.is_empty() {
            return Err("it has no address".to_owned());
        }
        let host = host(address)?;
        let number = |port: Option<i64>, what: &str| match port {
            None | Some(0 | -1) => Ok(None),
            Some(port) => u16::try_from(port)
                .map(Some)
                .map_err(|_| format!("{what} {port} is no port")),
        };
        let payload = curator.payload.unwrap_or_default();
        let metadata: BTreeMap<String, String> = payload
            .metadata
            .into_iter()
            .filter_map(|(key, value)| match value {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some((key, text)),
                other => Some((key, other.to_string())),
            })
            .collect();
        let endpoints = match metadata.get("dubbo.endpoints").filter(|text| !text.is_empty()) {
            Some(text) => serde_json::from_str::<Vec<Endpoint>>(text)
                .map_err(|error| brief(&format!("dubbo.endpoints is no list of ports: {error}")))?,
            None => Vec::new(),
        };
        Ok(Self {
            host: address.to_owned(),
            place: host,
            port: number(curator.port, "port")?,
            ssl_port: number(curator.ssl_port, "sslPort")?,
            dubbo: payload.class.contains(".dubbo.") || metadata.keys().any(|key| key.starts_with("dubbo.")),
            endpoints: endpoints
                .into_iter()
                .filter_map(|end| Some((u16::try_from(end.port).ok().filter(|port| *port > 0)?, end.protocol)))
                .collect(),
            metadata,
        })
    }

    /// `0` and absent mean: no service.
    pub(super) fn revision(&self) -> Option<&str> {
        let revision = self.metadata.get("dubbo.metadata.revision").map(String::as_str);
        revision.filter(|revision| !revision.is_empty() && *revision != "0")
    }

    pub(super) fn remote(&self) -> bool {
        self.metadata
            .get("dubbo.metadata.storage-type")
            .is_some_and(|storage| storage == "remote")
    }

    /// The instance of the application itself.
    pub(super) fn itself(&self, id: &Arc<str>, changed: Option<SystemTime>) -> Instance {
        let get = |name: &str| self.metadata.get(name).map(String::as_str);
        let mut all: Vec<Port> = Vec::new();
        for (port, protocol) in &self.endpoints {
            all.extend(ports(protocol, *port, &get));
        }
        if self.endpoints.is_empty() {
            let protocol = if self.dubbo { Protocol::Dubbo } else { Protocol::Unknown };
            all.extend(self.port.map(|number| Port {
                number,
                protocol,
                tls: false,
            }));
        }
        all.extend(self.ssl_port.map(|number| Port {
            number,
            protocol: Protocol::Http,
            tls: true,
        }));
        // The instance's own port is that of the application's preferred protocol.
        all.sort_by_key(|port| Some(port.number) != self.port);
        all.dedup();
        let mut metadata = useful(self.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        metadata.remove("dubbo.endpoints");
        if self.dubbo {
            metadata.insert("dubbo.level".into(), "application".into());
        }
        Instance {
            id: id.clone(),
            host: self.place.clone(),
            ports: all,
            status: match get("instance_status") {
                // Spring Cloud ZooKeeper's word for an instance that was taken out.
                Some(word) if word.eq_ignore_ascii_case("OUT_OF_SERVICE") => Status::OutOfService,
                _ => Status::Up,
            },
            weight: get("weight").map_or(DEFAULT_WEIGHT, |text| weight(Some(text))),
            zone: get("zone").map(Into::into),
            metadata,
            changed,
        }
    }
}
