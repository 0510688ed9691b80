//! Nacos' names and ours.
//!
//! | group | service | here |
//! |---|---|---|
//! | `DEFAULT_GROUP` | `orders` | `orders` |
//! | `blue` | `orders` | `blue@@orders` |
//! | `DEFAULT_GROUP` | `providers:org.acme.Stock:1.0:g` | `g/org.acme.Stock:1.0` |
//! | `DEFAULT_GROUP` | `providers:org.acme.Stock::` | `org.acme.Stock` |
//! | any | `consumers:…`, `routers:…`, `configurators:…` | no service |
//!
//! `@@` is Nacos' own joint and stands in neither part. Dubbo's form is that of `NacosServiceName.java`: category, interface,
//! version, group; empty parts leave their colons, older versions leave out what is empty at the end.

use std::sync::Arc;

use crate::zookeeper::interface::service_key;

/// The group of whoever names none.
pub(crate) const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// Between group and service.
pub(crate) const JOINT: &str = "@@";

/// A service as Nacos knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Source {
    /// The group.
    pub(crate) group: Arc<str>,
    /// The name inside the group.
    pub(crate) service: Arc<str>,
}

/// What a service of Nacos is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A service, called so here.
    Service {
        /// Our name.
        name: Arc<str>,
        /// It is Dubbo's, so its metadata are parameters of a Dubbo URL.
        dubbo: bool,
    },
    /// Nobody's provider.
    None,
    /// No name at all, with the reason.
    Bad(String),
}

impl Source {
    /// A listed name of a group: with or without `group@@`, as versions differ.
    pub(super) fn listed(group: &Arc<str>, name: &str) -> Self {
        let bare = name.strip_prefix(&**group).and_then(|rest| rest.strip_prefix(JOINT));
        Self {
            group: group.clone(),
            service: bare.unwrap_or(name).into(),
        }
    }

    /// What it is to us.
    pub(super) fn meaning(&self) -> Meaning {
        if self.service.is_empty() || self.service.contains(JOINT) {
            return Meaning::Bad(format!("`{}` is no name of a service", self.service));
        }
        let (name, dubbo) = match self.service.split_once(':') {
            Some(("consumers" | "routers" | "configurators", _)) => return Meaning::None,
            Some(("providers", rest)) => {
                let mut parts = rest.split(':');
                let (interface, version, group) = (parts.next(), parts.next(), parts.next());
                match interface.filter(|interface| !interface.is_empty()) {
                    Some(interface) if parts.next().is_none() => (service_key(interface, group, version), true),
                    _ => return Meaning::Bad("it is not Dubbo's `providers:interface:version:group`".to_owned()),
                }
            }
            _ => (self.service.clone(), false),
        };
        let name = match &*self.group {
            DEFAULT_GROUP => name,
            group => format!("{group}{JOINT}{name}").into(),
        };
        Meaning::Service { name, dubbo }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(group: &str, service: &str) -> Source {
        Source {
            group: group.into(),
            service: service.into(),
        }
    }

    fn meaning(group: &str, service: &str) -> Option<(String, bool)> {
        match source(group, service).meaning() {
            Meaning::Service { name, dubbo } => Some((name.to_string(), dubbo)),
            _ => None,
        }
    }

    #[test]
    fn names_are_unambiguous_over_groups() {
        let called = |group, service| meaning(group, service).map(|(name, _)| name);
        assert_eq!(called("DEFAULT_GROUP", "orders").as_deref(), Some("orders"));
        assert_eq!(called("blue", "orders").as_deref(), Some("blue@@orders"));
        assert_eq!(called("DEFAULT_GROUP", "blue@@orders"), None);
        assert_eq!(called("DEFAULT_GROUP", ""), None);
    }

    #[test]
    fn a_listed_name_may_carry_its_group() {
        let group: Arc<str> = "g".into();
        assert_eq!(Source::listed(&group, "g@@s"), source("g", "s"));
        assert_eq!(Source::listed(&group, "s"), source("g", "s"));
    }

    #[test]
    fn dubbo_providers_are_called_by_their_service_key() {
        for (nacos, key) in [
            ("providers:a.B:1.0:g", "g/a.B:1.0"),
            ("providers:a.B::", "a.B"),
            ("providers:a.B:0.0.0:", "a.B"),
            ("providers:a.B:1.0", "a.B:1.0"),
            ("providers:a.B", "a.B"),
        ] {
            assert_eq!(meaning("DEFAULT_GROUP", nacos), Some((key.to_owned(), true)), "{nacos}");
        }
        assert_eq!(
            meaning("dubbo", "providers:a.B::"),
            Some(("dubbo@@a.B".to_owned(), true))
        );
        for other in ["consumers:a.B::", "routers:a.B::", "providers:", "providers:a:b:c:d"] {
            assert_eq!(meaning("DEFAULT_GROUP", other), None, "{other}");
        }
    }
}
