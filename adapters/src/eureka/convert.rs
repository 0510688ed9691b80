//! From Eureka's record to an [`Instance`], or the reason why it is none.
//!
//! - **Host**: `ipAddr` or `hostName`, as configured; the other one if it is missing.
//! - **Ports**: the secure one first if it is on, as Spring's consumers prefer it, then the plain one. Both
//!   off: none, and so no traffic. A gRPC port that the usual starters put into the metadata comes last.
//!   Eureka does not say what is spoken there; a record that Landfall wrote does, in metadata `protocol`, and so does one
//!   that states a Dubbo `interface`.
//! - **Zone**: metadata `zone`, which Spring's load balancer reads, else Amazon's availability zone.
//! - **Weight**: metadata `weight`, a whole number. See [`level_weights`] for instances without one.
//! - **Metadata**: as stated, and what the record says besides under keys that begin with `eureka.`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall_config::kinds::registry::EurekaAddress;
use landfall_model::{Host, Instance, Port, Protocol, Status, service::DEFAULT_WEIGHT};

use super::wire::{InstanceInfo, PortField};
use crate::publish::mark;

/// The name of the application as the registry writes it, in upper case.
pub const APP: &str = "eureka.app";
/// The status an operator has set, when there is one.
pub const OVERRIDDEN: &str = "eureka.overriddenStatus";
/// `vipAddress`, when it is not just the service's name.
pub const VIP: &str = "eureka.vipAddress";
/// `hostName`, when the address is used and they differ.
pub const HOST_NAME: &str = "eureka.hostName";
/// `ipAddr`, when the name is used and they differ.
pub const IP: &str = "eureka.ipAddr";
/// `secureVipAddress`, when it is not the same as `vipAddress`.
pub const SECURE_VIP: &str = "eureka.secureVipAddress";
/// `homePageUrl`, when it is not just host and port.
pub const HOME_PAGE: &str = "eureka.homePageUrl";
/// `statusPageUrl`.
pub const STATUS_PAGE: &str = "eureka.statusPageUrl";
/// `healthCheckUrl`.
pub const HEALTH_CHECK: &str = "eureka.healthCheckUrl";
/// Keys of a record in its own registry, which say nothing anywhere else: no copy of the record has them.
pub const OF_ITS_REGISTRY: [&str; 6] = [APP, OVERRIDDEN, SECURE_VIP, HOME_PAGE, STATUS_PAGE, HEALTH_CHECK];
/// What is spoken on the ports of a record that Landfall wrote, or of a Dubbo provider.
pub const PROTOCOL: &str = "protocol";
/// The interface of a Dubbo provider.
const INTERFACE: &str = "interface";

/// The name of the service: Spring's own consumers look it up by `spring.application.name`, which the server
/// turned into upper case. Lower case is what they write.
pub fn service_name(app: &str) -> Arc<str> {
    app.to_lowercase().into()
}

/// Converts, or says what is wrong with the record. `service` is the application it was listed under.
pub fn instance(info: &InstanceInfo, service: &str, prefer: EurekaAddress) -> Result<Instance, String> {
    if info.app.is_empty() {
        return Err("it has no `app`".to_owned());
    }
    if info.instance_id.is_empty() {
        return Err("it has neither `instanceId` nor `hostName`".to_owned());
    }
    let (first, second) = match prefer {
        EurekaAddress::Ip => (&info.ip, &info.host_name),
        EurekaAddress::Hostname => (&info.host_name, &info.ip),
    };
    let host = [first, second]
        .into_iter()
        .find(|text| !text.is_empty())
        .ok_or("it has neither `ipAddr` nor `hostName`")?;
    if host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(format!("`{}` is no address", host.escape_debug()));
    }

    let ports = ports(info)?;
    Ok(Instance {
        id: info.instance_id.as_str().into(),
        host: Host::parse(host),
        status: info.known_status(),
        weight: weight(&info.metadata).unwrap_or(DEFAULT_WEIGHT),
        zone: zone(info),
        metadata: metadata(info, service, host, ports.first()),
        ports,
        changed: info.changed().and_then(time),
    })
}

/// Milliseconds since 1970; nothing for what lies outside of time.
pub fn time(ms: i64) -> Option<SystemTime> {
    let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms))
}

/// Gives weight 1 to instances that state none, if another one of the service states one: Spring's load
/// balancer counts them so. If nobody states one, all keep the default, which is the same for all.
pub fn level_weights(instances: &mut [Instance]) {
    if instances.iter().any(|instance| stated(instance).is_some()) {
        for instance in instances.iter_mut().filter(|instance| stated(instance).is_none()) {
            instance.weight = 1;
        }
    }
}

fn stated(instance: &Instance) -> Option<u32> {
    instance.metadata.get("weight")?.trim().parse().ok()
}

fn weight(metadata: &BTreeMap<String, String>) -> Option<u32> {
    metadata.get("weight")?.trim().parse().ok()
}

fn ports(info: &InstanceInfo) -> Result<Vec<Port>, String> {
    let mut ports = Vec::new();
    let protocol = spoken(&info.metadata);
    let stated = [("securePort", info.secure_port, true), ("port", info.port, false)];
    for (name, PortField { number, enabled }, tls) in stated {
        // Port 0 is what an application registers before it has opened one.
        if !enabled || number == 0 {
            continue;
        }
        let number = u16::try_from(number).map_err(|_| format!("its `{name}` is no number from 1 to 65535"))?;
        ports.push(Port { number, protocol, tls });
    }
    // net.devh's and Spring's gRPC starters announce their own port like this.
    let grpc = ["gRPC_port", "gRPC.port", "grpc.port"]
        .iter()
        .find_map(|key| info.metadata.get(*key)?.trim().parse::<u16>().ok())
        .filter(|number| *number > 0 && ports.iter().all(|port| port.number != *number));
    ports.extend(grpc.map(|number| Port {
        number,
        protocol: Protocol::Grpc,
        tls: false,
    }));
    Ok(ports)
}

/// What a record of ours, or one that states a Dubbo interface, says of its ports. In others the key means whatever its
/// application made of it.
fn spoken(metadata: &BTreeMap<String, String>) -> Protocol {
    let is_meant = metadata.contains_key(mark::ORIGIN) || metadata.contains_key(INTERFACE);
    let word = metadata.get(PROTOCOL).filter(|_| is_meant);
    match word.map(String::as_str) {
        Some("http") => Protocol::Http,
        Some("h2") => Protocol::H2,
        Some("grpc") => Protocol::Grpc,
        Some("triple") => Protocol::Triple,
        Some("dubbo") => Protocol::Dubbo,
        Some("tcp") => Protocol::Tcp,
        _ => Protocol::Unknown,
    }
}

fn zone(info: &InstanceInfo) -> Option<Arc<str>> {
    let stated = info.metadata.get("zone").filter(|zone| !zone.is_empty());
    let amazon = || info.data_center.as_ref()?.metadata.get("availability-zone");
    stated.or_else(amazon).map(|zone| zone.as_str().into())
}

fn metadata(info: &InstanceInfo, service: &str, host: &str, port: Option<&Port>) -> BTreeMap<Arc<str>, Arc<str>> {
    let mut all: BTreeMap<Arc<str>, Arc<str>> = info
        .metadata
        .iter()
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect();
    let mut add = |key: &str, value: &str| {
        all.insert(key.into(), value.into());
    };
    add(APP, &info.app);
    if info.overridden != Status::Unknown {
        add(OVERRIDDEN, info.overridden.as_str());
    }
    if let Some(vip) = info.vip.as_deref().filter(|vip| *vip != service) {
        add(VIP, vip);
    }
    for (key, value) in [(HOST_NAME, &info.host_name), (IP, &info.ip)] {
        if !value.is_empty() && value != host {
            add(key, value);
        }
    }
    let usual_home = port.map(|port| home_page(&info.host_name, port));
    let pages = [
        (SECURE_VIP, &info.secure_vip, info.vip.as_ref()),
        (HOME_PAGE, &info.home_page, usual_home.as_ref()),
        (STATUS_PAGE, &info.status_page, None),
        (HEALTH_CHECK, &info.health_check, None),
    ];
    for (key, stated, usual) in pages {
        if let Some(stated) = stated
            .as_ref()
            .filter(|stated| !stated.is_empty() && Some(*stated) != usual)
        {
            add(key, stated);
        }
    }
    all
}

/// The home page of a record that names none of its own.
pub fn home_page(host_name: &str, port: &Port) -> String {
    let scheme = if port.tls { "https" } else { "http" };
    match host_name.contains(':') {
        true => format!("{scheme}://[{host_name}]:{}/", port.number),
        false => format!("{scheme}://{host_name}:{}/", port.number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> InstanceInfo {
        InstanceInfo {
            instance_id: "h1:orders:8080".to_owned(),
            app: "ORDERS".to_owned(),
            host_name: "h1".to_owned(),
            ip: "10.0.0.7".to_owned(),
            port: PortField {
                number: 8080,
                enabled: true,
            },
            status: Some(Status::Up),
            ..InstanceInfo::default()
        }
    }

    fn converted(info: &InstanceInfo) -> Instance {
        instance(info, "orders", EurekaAddress::Ip).unwrap()
    }

    #[test]
    fn the_address_is_the_preferred_one_and_the_other_one_is_kept() {
        let by_ip = converted(&orders());
        assert_eq!(by_ip.host, Host::parse("10.0.0.7"));
        assert_eq!(by_ip.metadata.get(HOST_NAME).map(|name| &**name), Some("h1"));
        let by_name = instance(&orders(), "orders", EurekaAddress::Hostname).unwrap();
        assert_eq!(by_name.host, Host::parse("h1"));
        assert_eq!(by_name.metadata.get(IP).map(|ip| &**ip), Some("10.0.0.7"));
        let only_name = InstanceInfo {
            ip: String::new(),
            ..orders()
        };
        assert_eq!(converted(&only_name).host, Host::parse("h1"));
    }

    #[test]
    fn pages_are_kept_unless_they_are_what_anybody_would_guess() {
        let mut info = orders();
        info.home_page = Some("http://h1:8080/".to_owned());
        info.health_check = Some("http://h1:8080/actuator/health".to_owned());
        info.vip = Some("orders".to_owned());
        info.secure_vip = Some("orders".to_owned());
        let metadata = converted(&info).metadata;
        let kept: Vec<&str> = OF_ITS_REGISTRY
            .into_iter()
            .filter(|key| metadata.contains_key(*key))
            .collect();
        assert_eq!(kept, [APP, HEALTH_CHECK]);
        info.home_page = Some("http://h1/shop".to_owned());
        info.secure_vip = Some("orders-tls".to_owned());
        let metadata = converted(&info).metadata;
        assert_eq!(metadata.get(HOME_PAGE).map(|page| &**page), Some("http://h1/shop"));
        assert_eq!(metadata.get(SECURE_VIP).map(|vip| &**vip), Some("orders-tls"));
    }

    #[test]
    fn ports_follow_their_switches() {
        let port = |number, enabled| PortField { number, enabled };
        let table = [
            (port(80, true), port(443, false), vec![(80, false)]),
            (port(80, true), port(443, true), vec![(443, true), (80, false)]),
            (port(80, false), port(443, true), vec![(443, true)]),
            (port(80, false), port(443, false), vec![]),
            (port(0, true), port(0, true), vec![]),
            (port(80, true), port(-1, false), vec![(80, false)]),
        ];
        for (plain, secure, expected) in table {
            let info = InstanceInfo {
                port: plain,
                secure_port: secure,
                ..orders()
            };
            let got: Vec<_> = converted(&info).ports.iter().map(|p| (p.number, p.tls)).collect();
            assert_eq!(got, expected, "{plain:?} {secure:?}");
        }
    }

    #[test]
    fn a_grpc_port_in_the_metadata_comes_last() {
        let mut info = orders();
        info.metadata.insert("gRPC_port".to_owned(), "9090".to_owned());
        let ports = converted(&info).ports;
        assert_eq!(ports.len(), 2);
        assert_eq!((ports[1].number, ports[1].protocol), (9090, Protocol::Grpc));
    }

    #[test]
    fn a_dubbo_provider_says_what_it_speaks_and_others_are_not_asked() {
        let mut info = orders();
        info.metadata.insert("protocol".to_owned(), "dubbo".to_owned());
        assert_eq!(converted(&info).ports[0].protocol, Protocol::Unknown);
        info.metadata
            .insert("interface".to_owned(), "org.example.Orders".to_owned());
        assert_eq!(converted(&info).ports[0].protocol, Protocol::Dubbo);
    }

    #[test]
    fn records_that_make_no_sense_say_why() {
        type Spoil = fn(&mut InstanceInfo);
        let table: [(Spoil, &str); 5] = [
            (|info| info.app.clear(), "`app`"),
            (|info| info.instance_id.clear(), "`instanceId`"),
            (
                |info| {
                    info.ip.clear();
                    info.host_name.clear();
                },
                "`ipAddr`",
            ),
            (|info| info.port.number = 70_000, "1 to 65535"),
            (|info| info.ip = "10.0.0.7/<b>".to_owned(), "no address"),
        ];
        for (spoil, expected) in table {
            let mut info = orders();
            spoil(&mut info);
            let reason = instance(&info, "orders", EurekaAddress::Ip).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn zone_is_springs_and_else_amazons() {
        let mut info = orders();
        let amazon = BTreeMap::from([("availability-zone".to_owned(), "us-east-1c".to_owned())]);
        info.data_center = Some(super::super::wire::DataCenter {
            name: "Amazon".to_owned(),
            metadata: amazon,
        });
        assert_eq!(converted(&info).zone.as_deref(), Some("us-east-1c"));
        info.metadata.insert("zone".to_owned(), "a".to_owned());
        assert_eq!(converted(&info).zone.as_deref(), Some("a"));
    }

    #[test]
    fn an_instance_without_weight_counts_one_beside_one_that_has_a_weight() {
        let mut heavy = orders();
        heavy.metadata.insert("weight".to_owned(), "3".to_owned());
        let mut all = [converted(&heavy), converted(&orders())];
        level_weights(&mut all);
        assert_eq!(all.each_ref().map(|instance| instance.weight), [3, 1]);
        let mut plain = [converted(&orders())];
        level_weights(&mut plain);
        assert_eq!(plain[0].weight, DEFAULT_WEIGHT);
    }
}
