//! One configurator: which providers it is about, and what it does to them. Pure.
//!
//! ```text
//!  provider's side:  app's node ▶ service's node     what a provider of Dubbo does to its own URL before it registers it
//!        then
//!  consumer's side:  folder ▶ service's node         what a consumer does to the URL it has read
//! ```
//!
//! The last wins; in each place the hosts as text (`0.0.0.0` is the first of most), then `priority`. From Dubbo's
//! `RegistryProtocol.java` (`OverrideListener`), `RegistryDirectory.java` (`overrideWithConfigurator`),
//! `Configurator.java` (`compareTo`) and `AbstractConfigurator.java` (who is meant).

use std::sync::Arc;

use landfall_model::{Host, Instance, Status, world::CONFIGURED_BY};

use super::super::url::DubboUrl;
use crate::publish::mark;

/// What one configurator does to which providers.
#[derive(Debug, PartialEq)]
pub(super) struct Configurator {
    /// The smaller is applied first.
    pub(super) rank: Rank,
    pub(super) place: Arc<str>,
    /// The key of a service, or the name of an application.
    pub(super) key: Arc<str>,
    pub(super) address: Address,
    /// `providerAddresses`, which must be met too; empty is any.
    pub(super) providers: Vec<Address>,
    /// Providers' applications; empty is any.
    pub(super) applications: Vec<String>,
    /// Keys of services of an application; empty is any.
    pub(super) services: Vec<String>,
    pub(super) effects: Effects,
    /// `absent://`: where neither the provider nor a configurator before says it.
    pub(super) only_absent: bool,
}

/// Where a configurator stands among others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) side: Side,
    pub(super) order: Order,
    /// As it is written: Dubbo compares the texts.
    pub(super) host: String,
    pub(super) priority: i32,
}

/// Whose URL a configurator changes in Dubbo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Provider,
    Consumer,
}

/// Where a configurator was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Folder,
    Application,
    Service,
}

/// What is honoured of a configurator's parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Effects {
    pub(super) weight: Option<u32>,
    pub(super) disabled: Option<bool>,
}

impl Effects {
    /// Takes a parameter; whether it is one of those.
    pub(super) fn take(&mut self, name: &str, value: &str) -> bool {
        let value = value.trim();
        match name {
            "weight" => {
                self.weight = value.parse().ok().or(self.weight);
                value.parse::<u32>().is_ok()
            }
            "disabled" => {
                self.disabled = value.parse().ok().or(self.disabled);
                value.parse::<bool>().is_ok()
            }
            _ => false,
        }
    }

    pub(super) fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Configurator {
    fn is_about(&self, service: &str, application: Option<&str>, instance: &Instance) -> bool {
        let in_list = |list: &[String], name: &str| list.is_empty() || list.iter().any(|entry| entry == name);
        let key = match self.rank.order {
            Order::Application => application == Some(&*self.key),
            Order::Folder | Order::Service => *self.key == *service,
        };
        key && in_list(&self.services, service)
            && (self.applications.is_empty() || application.is_some_and(|name| in_list(&self.applications, name)))
            && self.address.is_of(instance)
            && (self.providers.is_empty() || self.providers.iter().any(|address| address.is_of(instance)))
    }
}

/// Changes an instance of a service as configurators, in their order, want it, and notes in it which did.
pub(super) fn apply(all: &[Configurator], service: &str, application: Option<&str>, instance: &mut Instance) {
    if instance.metadata.contains_key(mark::ORIGIN) {
        return;
    }
    let stated = |name: &str| instance.metadata.get(name).map(|value| value.to_string());
    let [mut weighed, mut switched] = ["weight", "disabled"].map(|name| stated(name).is_some());
    let application = stated("application").or_else(|| application.map(str::to_owned));
    let mut by = Vec::new();
    for configurator in all {
        if !configurator.is_about(service, application.as_deref(), instance) {
            continue;
        }
        let Effects { weight, disabled } = configurator.effects;
        if let Some(weight) = weight.filter(|_| !(weighed && configurator.only_absent)) {
            weighed = true;
            instance.weight = weight;
            by.push(format!("weight {weight} by {}", configurator.place));
        }
        if let Some(disabled) = disabled.filter(|_| !(switched && configurator.only_absent)) {
            switched = true;
            // What is down for another reason is not brought up by a rule.
            instance.status = match instance.status {
                Status::Disabled if !disabled => Status::Up,
                _ if disabled => Status::Disabled,
                status => status,
            };
            let word = if disabled { "disabled" } else { "enabled" };
            by.push(format!("{word} by {}", configurator.place));
        }
    }
    if !by.is_empty() {
        instance.metadata.insert(CONFIGURED_BY.into(), by.join(", ").into());
    }
}

/// Host and port; absent is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address(pub(super) Option<Host>, pub(super) Option<u16>);

impl Address {
    /// Any.
    pub(super) const ANY: Self = Self(None, None);
    /// How Dubbo writes any host.
    pub(super) const ANY_HOST: &'static str = "0.0.0.0";

    /// `host`, `host:port` or `host:*`, and the host as it is written. The error is the text.
    pub(super) fn parse(text: &str) -> Result<(Self, String), String> {
        let bare = text.trim();
        let bare = bare.strip_suffix(":*").unwrap_or(bare);
        let url: DubboUrl = format!("any://{bare}").parse().map_err(|_| text.to_owned())?;
        // Dubbo knows no other sign for any host: it would compare this one to hosts.
        if url.host.contains('*') {
            return Err(text.to_owned());
        }
        Ok((Self::of(&url.host, url.port), url.host))
    }

    pub(super) fn of(host: &str, port: Option<u16>) -> Self {
        Self((host != Self::ANY_HOST).then(|| Host::parse(host)), port)
    }

    fn is_of(&self, instance: &Instance) -> bool {
        let Self(host, port) = self;
        host.as_ref().is_none_or(|host| *host == instance.host)
            && port.is_none_or(|port| instance.ports.iter().any(|own| own.number == port))
    }
}
