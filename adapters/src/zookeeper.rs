//! Dubbo's registry in ZooKeeper, both of its levels, followed by watches.
//!
//! ```text
//! /dubbo/<interface>/providers/<encoded URL>    interface level (Dubbo 2.x, 3.x)        ─▶ interface ─┐
//! /services/<application>/<host:port>           application level (Dubbo 3.x, dubbo-go) ─▶ application ┼▶ merge ─▶ reports
//! /dubbo/metadata/<application>/<revision>        … what its instances serve            ─▶     │       │
//! /dubbo/metadata/<interface>/<version>/<group>/provider/<application>   what its methods take, if it is asked for ([`definitions`](crate::definitions))
//! /dubbo/mapping/<interface>                      … which applications serve it         ─▶     ┘       │
//! /dubbo/config/dubbo/<key>.configurators …      Dubbo's own rules                     ─▶ governance ──┘
//!        ▲                                                                                            │
//!        └── session: one recursive watch per root, 20-50 ms of quiet, then the folder is read again ◀┘
//! ```
//!
//! # What becomes a service
//!
//! - Every Dubbo service key `[group/]interface[:version]`. An instance of it is one port of one provider,
//!   its id `protocol://host:port`. Seen at both levels it is one instance, as the application level states
//!   it; metadata `dubbo.level` says `interface`, `application` or `both`.
//! - Every application of the application level, under its own name, one instance for each node, with all its
//!   endpoints as ports. Spring Cloud ZooKeeper writes the same folder in the same form and is read too.
//!
//! A service that had providers in this session and has none is reported empty as long as its folder exists,
//! and gone with the folder: Dubbo never removes an interface's folder, ZooKeeper an application's by itself.
//!
//! # What cannot be known
//!
//! Dubbo 3 providers keep their metadata document to themselves by default (`storage-type` local) and are
//! asked for it over Dubbo's own protocol. What they serve is then known from the interface level only; their
//! application is reported all the same, with `dubbo.metadata.document` saying so and `dubbo.interfaces` taken from
//! the mapping. Providers that register at application level only (`register-mode=instance`) can set
//! `report-metadata=true`.
//!
//! `changed` is ZooKeeper's own time of a node's creation or last change; a removal leaves no time behind.
//!
//! A reply over the 1 MiB which Java clients refuse is read, up to 64 MiB, and the path is named in the log.
//!
//! Next on the path: `session`.

pub(crate) mod access;
mod application;
mod changes;
mod curator;
mod governance;
pub(crate) mod interface;
mod layout;
mod listing;
mod lock;
mod merge;
mod reader;
mod session;
#[cfg(test)]
mod tests;
pub mod url;

use landfall_config::{
    kinds::registry::ZooKeeperSpec,
    secret::{SecretError, SecretRef},
};

use crate::registry::{ConnectError, Registry, RegistryError, Reports};
use layout::Layout;
use listing::Listings;

/// A ZooKeeper ensemble that Dubbo registers in.
#[derive(Debug)]
pub struct ZooKeeper {
    settings: Settings,
}

/// What a session needs to know.
#[derive(Debug)]
struct Settings {
    /// `host:port,host:port/chroot`.
    ensemble: String,
    layout: Layout,
    credentials: Option<(String, SecretRef)>,
    session_timeout: std::time::Duration,
    /// Where to look again, from session to session.
    listings: Listings,
}

impl ZooKeeper {
    /// Checks addresses, roots and credentials. Asks nothing of ZooKeeper yet.
    ///
    /// # Errors
    /// [`ConnectError::BadUrl`] when an address, a root or a user cannot be used, [`ConnectError::Secret`]
    /// when the password cannot be read now.
    pub fn new(spec: &ZooKeeperSpec) -> Result<Self, ConnectError> {
        let credentials = match (&spec.username, &spec.password) {
            (Some(user), Some(password)) => {
                password.read()?;
                Some((user.clone(), password.clone()))
            }
            (None, None) => None,
            (user, _) => {
                let missing = if user.is_some() { "password" } else { "username" };
                return Err(ConnectError::BadUrl {
                    field: format!("zookeeper.{missing}"),
                    value_without_credentials: String::new(),
                    why: "digest auth takes both a username and a password".to_owned(),
                });
            }
        };
        Ok(Self {
            settings: Settings {
                ensemble: layout::ensemble(&spec.address)?,
                layout: Layout::new(&spec.root, &spec.services_root)?,
                credentials,
                session_timeout: spec.session_timeout.get(),
                listings: Listings::default(),
            },
        })
    }
}

impl Settings {
    /// `user:password` for scheme `digest`.
    fn digest(&self) -> Result<Option<Vec<u8>>, SecretError> {
        let Some((user, password)) = &self.credentials else {
            return Ok(None);
        };
        Ok(Some(format!("{user}:{}", password.read()?.expose()).into_bytes()))
    }
}

#[async_trait::async_trait]
impl Registry for ZooKeeper {
    fn kind(&self) -> &'static str {
        "zookeeper"
    }

    fn address(&self) -> String {
        self.settings.ensemble.clone()
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        session::follow(&self.settings, reports).await
    }
}
