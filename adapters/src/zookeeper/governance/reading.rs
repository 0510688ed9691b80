//! Configurators as they are written: nodes of YAML (Dubbo 2.7 and later) and URLs (before). Pure.
//!
//! ```text
//! <key>.configurators                  override://10.0.0.1:20880/org.x.Svc?weight=50
//!   enabled, scope                       address, side
//!   configs:                             ~condition
//!   - side, addresses, parameters        weight, disabled
//!        │ one per address                  │
//!        ╰────────▶ Configurator ◀──────────╯
//! ```
//!
//! From Dubbo's `ConfigParser.java`, `ConfigItem.java`, `ConfiguratorConfig.java` and `AbstractConfigurator.java`. An
//! address without a port is any port's, as Dubbo takes it since 3.2; before, such a one of `side: provider` was nobody's.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{interface::service_key, url::DubboUrl},
    configurator::{Address, Configurator, Effects, Order, Rank, Side},
};

/// Parameters of a configurator's URL that change nothing of a provider by themselves: `genConditionKeys` of
/// `AbstractConfigurator.java`, and those that say what the URL is.
const SILENT: [&str; 17] = [
    "anyhost",
    "application",
    "category",
    "check",
    "compatible_config",
    "configVersion",
    "dynamic",
    "enabled",
    "group",
    "interface",
    "interfaces",
    "name",
    "priority",
    "runtime",
    "side",
    "timestamp",
    "version",
];
const ONE_CONSUMER: &str = "it is about some consumers only";

/// What one place says.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) configurators: Vec<Configurator>,
    /// What of it is not honoured.
    pub(super) notes: Vec<String>,
    /// It is switched off.
    pub(super) off: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    enabled: Option<Value>,
    #[serde(default)]
    configs: Option<Vec<Config>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    side: Option<String>,
    #[serde(default)]
    addresses: Option<Vec<String>>,
    #[serde(default)]
    provider_addresses: Option<Vec<String>>,
    #[serde(default)]
    applications: Option<Vec<String>>,
    #[serde(default)]
    services: Option<Vec<String>>,
    #[serde(default)]
    enabled: Option<Value>,
    #[serde(default)]
    parameters: Option<BTreeMap<String, Value>>,
    #[serde(default, rename = "match")]
    condition: Option<Value>,
}

/// As Java's `Boolean.parseBoolean` of the value's text.
pub(super) fn truth(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

/// A node `<key>.configurators`.
pub(super) fn node(place: &Arc<str>, key: &str, text: &str) -> Result<Read, String> {
    let document: Document = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let enabled = document.enabled.as_ref().is_none_or(truth);
    let of_application = document.scope.as_deref() == Some("application");
    let (order, key) = match of_application {
        true => (Order::Application, key.into()),
        false => (Order::Service, key_of_node(key)),
    };
    let mut read = Read {
        off: !enabled,
        ..Read::default()
    };
    for (index, config) in document.configs.into_iter().flatten().enumerate() {
        // `parseEnabled`: the document's word counts, an entry's own only if it has a `type`, and then alone.
        let on = match config.kind.as_deref() {
            None | Some("general") => enabled,
            Some(_) => config.enabled.as_ref().is_some_and(truth),
        };
        if !on {
            continue;
        }
        read.off = false;
        let taken = config.read(of_application, |text| {
            read.notes.push(format!("configs[{index}]: {text}"));
        });
        let Some(taken) = taken else { continue };
        for (address, host) in taken.addresses {
            read.configurators.push(Configurator {
                rank: Rank {
                    side: taken.side,
                    order,
                    host,
                    priority: taken.priority,
                },
                place: place.clone(),
                key: Arc::clone(&key),
                address,
                providers: taken.providers.clone(),
                applications: taken.applications.clone(),
                services: taken.services.clone(),
                effects: taken.effects,
                only_absent: false,
            });
        }
    }
    Ok(read)
}

/// What is taken of an entry.
struct Taken {
    side: Side,
    addresses: Vec<(Address, String)>,
    providers: Vec<Address>,
    applications: Vec<String>,
    services: Vec<String>,
    priority: i32,
    effects: Effects,
}

impl Config {
    /// `None`: nothing of it is honoured. `note` is told why, and what is left out.
    fn read(self, of_application: bool, mut note: impl FnMut(String)) -> Option<Taken> {
        let side = match self.side.as_deref() {
            Some("provider") => Side::Provider,
            Some("consumer") => Side::Consumer,
            // `configure` of AbstractConfigurator.java: neither side takes it.
            _ => {
                note("its `side` is neither `provider` nor `consumer`: Dubbo does nothing with it either".to_owned());
                return None;
            }
        };
        let parsed = |list: Option<Vec<String>>| -> Result<Vec<(Address, String)>, String> {
            list.unwrap_or_default()
                .iter()
                .map(|text| Address::parse(text))
                .collect()
        };
        let (mut addresses, providers) = match (parsed(self.addresses), parsed(self.provider_addresses)) {
            (Ok(addresses), Ok(providers)) => (addresses, providers),
            (Err(text), _) | (_, Err(text)) => {
                note(format!("`{text}` is no address: any host is `0.0.0.0`"));
                return None;
            }
        };
        if self.condition.is_some() {
            note("`match` is not honoured".to_owned());
            return None;
        }
        let any = (Address::ANY, Address::ANY_HOST.to_owned());
        if addresses.is_empty() {
            addresses.push(any.clone());
        }
        let listed = |list: Option<Vec<String>>| -> Vec<String> {
            let list = list.unwrap_or_default();
            match list.iter().any(|entry| entry == "*") {
                true => Vec::new(),
                false => list,
            }
        };
        // `appItemToUrls` looks at `services` alone, `serviceItemToUrls` at `applications` alone.
        let (mut applications, mut services) = (Vec::new(), Vec::new());
        match of_application {
            true => services = listed(self.services),
            false => applications = listed(self.applications),
        }
        if side == Side::Consumer {
            if of_application
                || !applications.is_empty()
                || !addresses.iter().any(|(address, _)| *address == Address::ANY)
            {
                note(ONE_CONSUMER.to_owned());
                return None;
            }
            addresses = vec![any];
        }
        let (mut effects, mut priority) = (Effects::default(), 0);
        for (name, value) in self.parameters.into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if name == "priority" {
                priority = text.trim().parse().unwrap_or(0);
            } else if !effects.take(&name, &text) {
                note(format!("parameter `{name}` is not honoured"));
            }
        }
        (!effects.are_none()).then_some(Taken {
            side,
            addresses,
            providers: providers.into_iter().map(|(address, _)| address).collect(),
            applications,
            services,
            priority,
            effects,
        })
    }
}

/// An `override://` or `absent://` URL in the folder of an interface.
pub(super) fn url(place: &Arc<str>, interface: &str, url: &DubboUrl) -> Read {
    let refuse = |why: &str| Read {
        notes: vec![why.to_owned()],
        ..Read::default()
    };
    // Without a `side` both sides take it, the consumer last.
    let side = match url.get("side") {
        Some("provider") => Side::Provider,
        None | Some("consumer" | "*") => Side::Consumer,
        Some(_) => return refuse("its `side` is neither `provider` nor `consumer`: Dubbo does nothing with it either"),
    };
    let address = Address::of(&url.host, url.port);
    // `configureDeprecated`: without a port an address is a consumer's.
    if address.0.is_some() && address.1.is_none() {
        return refuse("an address without a port is a consumer's: it is about some consumers only");
    }
    if url.get("application").is_some_and(|name| name != "*") || url.parameters.keys().any(|key| key.starts_with('~')) {
        return refuse(ONE_CONSUMER);
    }
    let mut read = Read::default();
    let mut effects = Effects::default();
    for (name, value) in url.plain() {
        if !effects.take(name, value) && !SILENT.contains(&name) {
            read.notes.push(format!("parameter `{name}` is not honoured"));
        }
    }
    if !effects.are_none() {
        read.configurators.push(Configurator {
            rank: Rank {
                side,
                order: Order::Folder,
                host: url.host.clone(),
                priority: url.get("priority").and_then(|text| text.parse().ok()).unwrap_or(0),
            },
            place: place.clone(),
            key: service_key(interface, url.get("group"), url.get("version")),
            address,
            providers: Vec::new(),
            applications: Vec::new(),
            services: Vec::new(),
            effects,
            only_absent: url.protocol == "absent",
        });
    }
    read
}

/// The service that a node's name means: `interface:version:group` (`getColonSeparatedKey` of `URL.java`, since Dubbo
/// 2.7.3), before `group*interface:version` (`getEncodedServiceKey`).
pub(super) fn key_of_node(key: &str) -> Arc<str> {
    let (before, rest) = key
        .split_once('*')
        .map_or((None, key), |(group, rest)| (Some(group), rest));
    let mut parts = rest.splitn(3, ':');
    let interface = parts.next().unwrap_or_default();
    let version = parts.next();
    service_key(interface, parts.next().or(before), version)
}
