//! What writing Dubbo's nodes shares with following them: the ensemble, where things are, and how they are read.
//!
//! Next on the path: `publish/zookeeper.rs`, which writes.

use std::{sync::Arc, time::Duration};

use landfall_config::secret::SecretError;
use landfall_model::{Port, Protocol};

use super::{Settings, ZooKeeper, interface};

/// An ensemble that is written to.
pub(crate) struct Access {
    settings: Settings,
}

impl ZooKeeper {
    /// For a publisher.
    pub(crate) fn access(self) -> Access {
        Access {
            settings: self.settings,
        }
    }
}

impl Access {
    /// `host:port,host:port/chroot`.
    pub(crate) fn ensemble(&self) -> &str {
        &self.settings.ensemble
    }

    /// Asked for; the server may give another.
    pub(crate) fn session_timeout(&self) -> Duration {
        self.settings.session_timeout
    }

    /// `user:password` for scheme `digest`, read now.
    pub(crate) fn digest(&self) -> Result<Option<Vec<u8>>, SecretError> {
        self.settings.digest()
    }

    /// The folder of an interface's providers; `None` for a name that cannot be an interface's.
    pub(crate) fn providers(&self, interface: &str) -> Option<String> {
        let layout = &self.settings.layout;
        layout.may_be_interface(interface).then(|| layout.providers(interface))
    }
}

/// `[group/]interface[:version]`.
pub(crate) fn service_key(interface: &str, group: Option<&str>, version: Option<&str>) -> Arc<str> {
    interface::service_key(interface, group, version)
}

/// `protocol://host:port`.
pub(crate) fn instance_id(protocol: &str, host: &str, port: u16) -> Arc<str> {
    interface::instance_id(protocol, host, port)
}

/// The protocols on a provider's port, by its parameters.
pub(crate) fn ports<'a>(protocol: &str, number: u16, get: &impl Fn(&str) -> Option<&'a str>) -> Vec<Port> {
    interface::ports(protocol, number, get)
}

/// Dubbo's word for a protocol.
pub(crate) fn protocol_of(word: &str) -> Protocol {
    interface::protocol_of(word)
}

/// Whether a text is an address, or a name that can be looked up.
pub(crate) fn is_host(text: &str) -> bool {
    interface::host(text).is_ok()
}

/// Whether a URL with this scheme states a provider.
pub(crate) fn is_provider(scheme: &str) -> bool {
    let plain = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    plain && !interface::NO_PROVIDER.contains(&scheme)
}

/// Whether the follower keeps a parameter of this name.
pub(crate) fn is_kept(name: &str) -> bool {
    !interface::useful([(name, "x")].into_iter()).is_empty()
}

/// How the follower reads the name of a provider's node.
#[cfg(test)]
pub(crate) fn read_provider(interface: &str, node: &str) -> Vec<(Arc<str>, landfall_model::Instance)> {
    let children = [(Arc::from(node), None)].into();
    let contribution = interface::contribution(interface, &children, None);
    assert_eq!(contribution.unreadable, [], "{node}");
    let services = contribution.services.into_iter();
    services
        .flat_map(|(key, claims)| claims.into_iter().map(move |claim| (key.clone(), claim.instance)))
        .collect()
}
