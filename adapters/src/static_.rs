//! Services that an operator lists: in place (`static`), or in a file ([`file`](crate::file)).
//!
//! One entry that cannot be used is quarantined; the others live.

use std::{collections::BTreeSet, sync::Arc};

use landfall_config::kinds::registry::{StaticInstance, StaticInstanceDetails, StaticService, StaticSpec};
use landfall_model::{Host, Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT, world::Quarantined};

use crate::{Knowledge, Registry, RegistryError, Reports};

/// What stands for the address of services listed in place.
pub const ADDRESS: &str = "listed in the configuration";

/// Services listed in place. They never change within a session: another list is another registry.
#[derive(Debug)]
pub struct StaticRegistry {
    spec: StaticSpec,
}

impl StaticRegistry {
    /// Of this list.
    pub fn new(spec: StaticSpec) -> Self {
        Self { spec }
    }
}

#[async_trait::async_trait]
impl Registry for StaticRegistry {
    fn kind(&self) -> &'static str {
        "static"
    }

    fn address(&self) -> String {
        ADDRESS.to_owned()
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        for knowledge in knowledge(&self.spec.services) {
            reports.send(knowledge).await;
        }
        reports.send(Knowledge::CaughtUp).await;
        std::future::pending().await
    }
}

/// What a list says: each service in order, then, if there are any, the records of no service.
pub(crate) fn knowledge(services: &[StaticService]) -> Vec<Knowledge> {
    let mut names = BTreeSet::new();
    let mut unreadable = Vec::new();
    let mut all = Vec::with_capacity(services.len() + 1);
    for service in services {
        let reason = if service.name.is_empty() {
            "a service needs a name"
        } else if !names.insert(&*service.name) {
            "a service of this name is listed before; put all its instances there"
        } else {
            all.push(said(service));
            continue;
        };
        unreadable.push(Quarantined {
            service: None,
            record: service.name.clone(),
            reason: reason.to_owned(),
        });
    }
    all.push(Knowledge::Unreadable(unreadable));
    all
}

fn said(service: &StaticService) -> Knowledge {
    let name: Arc<str> = service.name.as_str().into();
    let (mut instances, mut quarantined) = (Vec::new(), Vec::new());
    for listed in &service.instances {
        match instance(listed) {
            Ok(instance) => instances.push(instance),
            Err((record, reason)) => quarantined.push(Quarantined {
                service: Some(name.clone()),
                record,
                reason,
            }),
        }
    }
    Knowledge::Service {
        name,
        instances,
        quarantined,
        changed: None,
    }
}

/// The instance, or its id and what is wrong with it.
fn instance(listed: &StaticInstance) -> Result<Instance, (String, String)> {
    match listed {
        StaticInstance::Address(address) => {
            let (host, port) = place(address).map_err(|reason| (address.clone(), reason))?;
            Ok(Instance {
                id: address.as_str().into(),
                host,
                ports: vec![Port {
                    number: port,
                    protocol: Protocol::Unknown,
                    tls: false,
                }],
                status: Status::Up,
                weight: DEFAULT_WEIGHT,
                zone: None,
                metadata: Default::default(),
                changed: None,
            })
        }
        StaticInstance::Detailed(details) => {
            let id = details.id.as_deref().unwrap_or(&details.address);
            detailed(id, details).map_err(|reason| (id.to_owned(), reason))
        }
    }
}

fn detailed(id: &str, details: &StaticInstanceDetails) -> Result<Instance, String> {
    let (host, number) = place(&details.address)?;
    let protocol = details.protocol.as_deref().map_or(Ok(Protocol::Unknown), protocol)?;
    let metadata = details.metadata.iter();
    Ok(Instance {
        id: id.into(),
        host,
        ports: vec![Port {
            number,
            protocol,
            tls: details.tls,
        }],
        status: details.status.as_deref().map_or(Ok(Status::Up), status)?,
        weight: details.weight.unwrap_or(DEFAULT_WEIGHT),
        zone: details.zone.as_deref().map(Into::into),
        metadata: metadata
            .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
            .collect(),
        changed: None,
    })
}

/// `host:port` or `[v6]:port`.
fn place(address: &str) -> Result<(Host, u16), String> {
    let wrong = |what: &str| format!("`{address}` is no address: {what}; write `host:port` or `[ipv6]:port`");
    let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
    let number = match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
        _ => return Err(wrong("the port is no number from 1 to 65535")),
    };
    if let Some(bracketed) = host.strip_prefix('[') {
        let v6 = bracketed.strip_suffix(']').and_then(|v6| v6.parse().ok());
        let v6 = v6.ok_or_else(|| wrong("no IPv6 address stands in the brackets"))?;
        return Ok((Host::Ip(std::net::IpAddr::V6(v6)), number));
    }
    if host.contains(':') {
        return Err(wrong("an IPv6 address needs brackets"));
    }
    let of_a_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if host.is_empty() || !host.bytes().all(of_a_name) {
        return Err(wrong("the host is neither an address nor a name"));
    }
    Ok((Host::parse(host), number))
}

fn protocol(word: &str) -> Result<Protocol, String> {
    Ok(match word {
        "http" => Protocol::Http,
        "h2" => Protocol::H2,
        "grpc" => Protocol::Grpc,
        "triple" => Protocol::Triple,
        "dubbo" => Protocol::Dubbo,
        "tcp" => Protocol::Tcp,
        _ => {
            return Err(format!(
                "`{word}` is no protocol: write http, h2, grpc, triple, dubbo or tcp"
            ));
        }
    })
}

fn status(word: &str) -> Result<Status, String> {
    Ok(match word {
        "UP" => Status::Up,
        "DOWN" => Status::Down,
        "STARTING" => Status::Starting,
        "OUT_OF_SERVICE" => Status::OutOfService,
        _ => {
            return Err(format!(
                "`{word}` is no status: write UP, DOWN, STARTING or OUT_OF_SERVICE"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(json: serde_json::Value) -> Vec<StaticService> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_address_alone_is_an_instance_that_is_up() {
        let found = knowledge(&services(serde_json::json!([
            { "name": "orders", "instances": ["127.0.0.1:8000", "[::1]:8001", "orders.example:80"] }
        ])));
        let [
            Knowledge::Service {
                name,
                instances,
                quarantined,
                ..
            },
            Knowledge::Unreadable(unreadable),
        ] = &found[..]
        else {
            panic!("{found:?}");
        };
        assert_eq!((&**name, quarantined.len(), unreadable.len()), ("orders", 0, 0));
        let seen: Vec<_> = instances
            .iter()
            .map(|i| (&*i.id, i.host.to_string(), i.ports[0].number))
            .collect();
        assert_eq!(
            seen,
            [
                ("127.0.0.1:8000", "127.0.0.1".to_owned(), 8000),
                ("[::1]:8001", "::1".to_owned(), 8001),
                ("orders.example:80", "orders.example".to_owned(), 80),
            ]
        );
        assert!(
            instances
                .iter()
                .all(|i| i.status == Status::Up && i.weight == DEFAULT_WEIGHT)
        );
    }

    #[test]
    fn everything_that_can_be_said_of_an_instance_is_kept() {
        let found = knowledge(&services(serde_json::json!([{ "name": "orders", "instances": [{
            "address": "10.0.0.1:443", "id": "one", "protocol": "grpc", "tls": true, "weight": 0,
            "zone": "z1", "status": "OUT_OF_SERVICE", "metadata": { "version": "2" }
        }] }])));
        let Knowledge::Service { instances, .. } = &found[0] else {
            panic!("{found:?}");
        };
        let expected = Instance {
            id: "one".into(),
            host: Host::parse("10.0.0.1"),
            ports: vec![Port {
                number: 443,
                protocol: Protocol::Grpc,
                tls: true,
            }],
            status: Status::OutOfService,
            weight: 0,
            zone: Some("z1".into()),
            metadata: [("version".into(), "2".into())].into(),
            changed: None,
        };
        assert_eq!(instances[..], [expected]);
    }

    #[test]
    fn one_bad_entry_is_quarantined_with_the_mend_and_its_siblings_live() {
        for (bad, mend) in [
            (serde_json::json!("127.0.0.1"), "the port is missing"),
            (serde_json::json!("127.0.0.1:0"), "1 to 65535"),
            (serde_json::json!("127.0.0.1:+80"), "1 to 65535"),
            (serde_json::json!("127.0.0.1:65536"), "1 to 65535"),
            (serde_json::json!("::1:80"), "brackets"),
            (serde_json::json!("[::g]:80"), "brackets"),
            (serde_json::json!(":80"), "neither an address nor a name"),
            (serde_json::json!("http://a:80"), "brackets"),
            (serde_json::json!("a b:80"), "neither an address nor a name"),
            (
                serde_json::json!({ "address": "a:1", "protocol": "http3" }),
                "write http, h2",
            ),
            (serde_json::json!({ "address": "a:1", "status": "up" }), "write UP"),
        ] {
            let list = services(serde_json::json!([{ "name": "orders", "instances": [bad, "b:1"] }]));
            let found = knowledge(&list);
            let Knowledge::Service {
                instances, quarantined, ..
            } = &found[0]
            else {
                panic!("{found:?}");
            };
            assert_eq!(instances.len(), 1, "{bad}");
            assert!(quarantined[0].reason.contains(mend), "{bad}: {}", quarantined[0].reason);
        }
    }

    #[test]
    fn a_service_listed_twice_is_used_once() {
        let list = services(serde_json::json!([
            { "name": "orders", "instances": ["a:1"] }, { "name": "orders", "instances": ["b:1"] }
        ]));
        let found = knowledge(&list);
        assert!(
            matches!(&found[1], Knowledge::Unreadable(records) if records[0].record == "orders"),
            "{found:?}"
        );
        assert_eq!(found.len(), 2);
    }
}
