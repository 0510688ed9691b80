//! What writing Dubbo's nodes shares with following them: the ensemble, where things are, and how they are read.
//!
//! Next on the path: `publish/zookeeper.rs`, which writes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use landfall_config::secret::SecretError;
use landfall_model::{Instance, Port, Protocol};

use super::{Settings, ZooKeeper, curator::Known, interface};

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

    /// The folder of an application's instances; `None` for a name that cannot be an application's.
    pub(crate) fn application(&self, application: &str) -> Option<String> {
        let layout = &self.settings.layout;
        let is_free = layout.may_be_application(application);
        is_free.then(|| layout.application(application))
    }

    /// The folder of an application's metadata documents, which stand there under their revisions.
    pub(crate) fn documents(&self, application: &str) -> String {
        self.settings.layout.documents(application)
    }

    /// Where the applications of an interface are listed.
    pub(crate) fn mapping(&self, interface: &str) -> String {
        format!("{}/{interface}", self.settings.layout.mappings())
    }

    /// The folder in which a cluster notes, by application and interface, which names it has put into mappings.
    pub(crate) fn mapped_by(&self, cluster: &str) -> String {
        format!("/landfall/{cluster}/mapping{}", self.settings.layout.root)
    }
}

/// An instance node of the application level as the follower reads it, and whether it is one of Dubbo's.
pub(crate) fn read_instance(node: &Arc<str>, data: &[u8]) -> Result<(Instance, bool), String> {
    let known = Known::read(data)?;
    Ok((known.itself(node, None), known.dubbo))
}

/// The metadata of an instance node of the application level, as it is written there.
pub(crate) fn instance_metadata(data: &[u8]) -> Option<BTreeMap<String, String>> {
    Known::read(data).ok().map(|known| known.metadata)
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
pub(crate) fn read_provider(interface: &str, node: &str) -> Vec<(Arc<str>, Instance)> {
    let children = [(Arc::from(node), None)].into();
    let contribution = interface::contribution(interface, &children, None);
    assert_eq!(contribution.unreadable, [], "{node}");
    let services = contribution.services.into_iter();
    services
        .flat_map(|(key, claims)| claims.into_iter().map(move |claim| (key.clone(), claim.instance)))
        .collect()
}

/// How the follower reads an application's instance with its document.
#[cfg(test)]
pub(crate) fn read_application(
    application: &str,
    node: &Arc<str>,
    data: Vec<u8>,
    document: Vec<u8>,
) -> Vec<(Arc<str>, Instance)> {
    use super::application::{self, Application, Document, Node};
    let revision = application::revision(&data).expect("a revision");
    let nodes = [(node.clone(), Node { data, changed: None })].into();
    let documents = [(revision, Document::Data(document))].into();
    let application = Application {
        name: application,
        nodes: &nodes,
        documents: &documents,
        interfaces: Vec::new(),
    };
    let contribution = application::contribution(&application, None);
    assert_eq!(contribution.unreadable, [], "{node}");
    assert!(contribution.quarantined.is_empty(), "{:?}", contribution.quarantined);
    let services = contribution.services.into_iter();
    services
        .flat_map(|(key, claims)| claims.into_iter().map(move |claim| (key.clone(), claim.instance)))
        .collect()
}
