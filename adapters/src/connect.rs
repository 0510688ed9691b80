//! From a `Registry` document to a [`Registry`] that can be followed.
//!
//! Next on the path: [`hub`](crate::hub), which follows it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use landfall_config::{RegistryConfig, kinds::registry::RegistrySpec};

use crate::{
    ConnectError, Registry, RegistryError, Reports,
    brake::Brake,
    consul::Consul,
    embedded::Embedded,
    eureka::{Eureka, servers::without_login},
    facade::traffic::Board,
    file::FileRegistry,
    nacos::Nacos,
    static_::StaticRegistry,
    zookeeper::ZooKeeper,
};

/// Makes a registry. Nothing is asked of it yet, but addresses it listens on are taken. One of our own keeps nothing.
pub fn connect(config: &RegistryConfig) -> Result<Arc<dyn Registry>, ConnectError> {
    connect_in(config, None, &Board::default())
}

/// As [`connect`], with a directory in which a registry of our own keeps its state, and the board it is listed on.
pub fn connect_in(
    config: &RegistryConfig,
    data_dir: Option<&Path>,
    board: &Board,
) -> Result<Arc<dyn Registry>, ConnectError> {
    let spec = &config.spec.with_secrets_under(&config.base);
    Ok(if let Some(eureka) = &spec.eureka {
        Arc::new(Eureka::new(eureka)?)
    } else if let Some(consul) = &spec.consul {
        Arc::new(Consul::new(consul)?)
    } else if let Some(zookeeper) = &spec.zookeeper {
        Arc::new(ZooKeeper::new(zookeeper)?)
    } else if let Some(nacos) = &spec.nacos {
        Arc::new(Nacos::new(nacos)?)
    } else if let Some(file) = &spec.file {
        Arc::new(FileRegistry::new(config.base.join(&file.path)))
    } else if let Some(listed) = &spec.static_ {
        Arc::new(StaticRegistry::new(listed.clone()))
    } else if let Some(embedded) = &spec.embedded {
        Arc::new(Embedded::open(
            embedded,
            data_dir.map(|dir| (dir, &config.name)),
            board,
        )?)
    } else {
        return Err(ConnectError::BadUrl {
            field: "spec".to_owned(),
            value_without_credentials: String::new(),
            why: "it names no registry: give one of eureka, consul, zookeeper, nacos, file, static, embedded"
                .to_owned(),
        });
    })
}

/// As [`connect`], but gives a registry in any case: one that could not be made is made again by its sessions.
pub(crate) fn connect_or_retry(
    config: &RegistryConfig,
    data_dir: Option<&Path>,
    board: &Board,
) -> (Arc<dyn Registry>, Option<ConnectError>) {
    match connect_in(config, data_dir, board) {
        Ok(registry) => (registry, None),
        Err(error) => {
            let later = Later {
                config: config.clone(),
                data_dir: data_dir.map(Path::to_owned),
                board: board.clone(),
                made: OnceLock::new(),
            };
            (Arc::new(later), Some(error))
        }
    }
}

/// What is in the spec, as [`Registry::kind`] calls it.
pub fn kind(spec: &RegistrySpec) -> &'static str {
    [
        (spec.eureka.is_some(), "eureka"),
        (spec.consul.is_some(), "consul"),
        (spec.zookeeper.is_some(), "zookeeper"),
        (spec.nacos.is_some(), "nacos"),
        (spec.file.is_some(), "file"),
        (spec.static_.is_some(), "static"),
        (spec.embedded.is_some(), "embedded"),
    ]
    .into_iter()
    .find_map(|(is_given, kind)| is_given.then_some(kind))
    .unwrap_or("none")
}

/// Where it is reached, without credentials; for a registry that could not be made.
pub(crate) fn address(spec: &RegistrySpec) -> String {
    if let Some(eureka) = &spec.eureka {
        let urls = eureka.urls.iter().map(|url| without_login(url));
        urls.collect::<Vec<_>>().join(", ")
    } else if let Some(consul) = &spec.consul {
        without_login(&consul.address)
    } else if let Some(zookeeper) = &spec.zookeeper {
        without_login(&zookeeper.address)
    } else if let Some(nacos) = &spec.nacos {
        let addresses = nacos.addresses.iter().map(|address| without_login(address));
        addresses.collect::<Vec<_>>().join(", ")
    } else if let Some(file) = &spec.file {
        file.path.display().to_string()
    } else if let Some(embedded) = &spec.embedded {
        let eureka = embedded.eureka.as_ref().map(|one| &one.address);
        let consul = embedded.consul.as_ref().map(|one| &one.address);
        let nacos = embedded.nacos.as_ref().map(|one| &one.address);
        let all = [eureka, consul, nacos].into_iter().flatten();
        all.map(String::as_str).collect::<Vec<_>>().join(", ")
    } else {
        crate::static_::ADDRESS.to_owned()
    }
}

/// The limits of the brake. What an operator listed in place is believed at once.
pub(crate) fn brake(spec: &RegistrySpec) -> Brake {
    match spec.static_ {
        Some(_) => Brake::OFF,
        None => Brake::from(&spec.brake),
    }
}

/// Whether a session opened for the one serves the other: they differ in nothing that it was made from.
pub(crate) fn is_same_session(one: &RegistryConfig, other: &RegistryConfig) -> bool {
    let with_policy_of_one = RegistryConfig {
        spec: RegistrySpec {
            priority: one.spec.priority,
            brake: one.spec.brake.clone(),
            ..other.spec.clone()
        },
        ..other.clone()
    };
    *one == with_policy_of_one
}

/// A registry that could not be made when it was configured.
struct Later {
    config: RegistryConfig,
    data_dir: Option<PathBuf>,
    board: Board,
    /// Once it could be: an embedded registry must outlive its sessions.
    made: OnceLock<Arc<dyn Registry>>,
}

impl Later {
    fn make(&self) -> Result<&Arc<dyn Registry>, ConnectError> {
        match self.made.get() {
            Some(made) => Ok(made),
            None => connect_in(&self.config, self.data_dir.as_deref(), &self.board)
                .map(|made| self.made.get_or_init(|| made)),
        }
    }
}

#[async_trait::async_trait]
impl Registry for Later {
    fn kind(&self) -> &'static str {
        kind(&self.config.spec)
    }

    fn address(&self) -> String {
        address(&self.config.spec)
    }

    async fn follow(&self, reports: &Reports) -> RegistryError {
        match self.make() {
            Ok(registry) => registry.follow(reports).await,
            Err(error) => RegistryError::NotReady {
                address: self.address(),
                what: with_causes(&error),
            },
        }
    }
}

fn with_causes(error: &ConnectError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        let found_text = found.to_string();
        if !text.contains(&found_text) {
            text = format!("{text}: {found_text}");
        }
        cause = found.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use landfall_config::kinds::registry::{BrakeSpec, EmbeddedListener, EmbeddedSpec, EurekaSpec, StaticSpec};

    use landfall_model::RegistryName;

    use super::*;

    fn config(spec: RegistrySpec) -> RegistryConfig {
        RegistryConfig {
            name: RegistryName::new("r").unwrap(),
            spec,
            base: PathBuf::new(),
        }
    }

    fn eureka(url: &str) -> RegistrySpec {
        let eureka: EurekaSpec = serde_json::from_value(serde_json::json!({ "urls": [url] })).unwrap();
        RegistrySpec {
            eureka: Some(eureka),
            ..RegistrySpec::default()
        }
    }

    #[test]
    fn addresses_are_shown_without_user_and_password() {
        for (url, shown) in [
            ("http://u:p@one:8761/eureka", "http://one:8761/eureka"),
            ("http://u:p@ss@one:8761", "http://one:8761"),
            ("http://u:p/q@one:8761", "http://one:8761"),
            ("u:p@one:2181", "one:2181"),
        ] {
            assert_eq!(address(&eureka(url)), shown);
        }
    }

    #[test]
    fn only_what_a_session_was_made_from_makes_another_session() {
        let one = config(eureka("http://one/"));
        let mut other = one.clone();
        other.spec.priority = 7;
        other.spec.brake = BrakeSpec {
            service_percent: 10,
            ..BrakeSpec::default()
        };
        assert!(is_same_session(&one, &other));
        assert!(!is_same_session(&one, &config(eureka("http://two/"))));
    }

    #[test]
    fn a_spec_that_names_no_registry_is_refused_with_the_mend() {
        let error = connect(&config(RegistrySpec::default())).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("give one of eureka"), "{error}");
    }

    #[test]
    fn kinds_are_called_as_their_blocks() {
        let listed = RegistrySpec {
            static_: Some(StaticSpec::default()),
            ..RegistrySpec::default()
        };
        assert_eq!(kind(&listed), "static");
        assert_eq!(brake(&listed), Brake::OFF);
        assert_eq!(
            connect(&config(listed)).map(|registry| registry.kind()).ok(),
            Some("static")
        );
        let embedded = RegistrySpec {
            embedded: Some(EmbeddedSpec {
                eureka: Some(EmbeddedListener {
                    address: "127.0.0.1:0".into(),
                }),
                ..EmbeddedSpec::default()
            }),
            ..RegistrySpec::default()
        };
        assert_eq!((kind(&embedded), &*address(&embedded)), ("embedded", "127.0.0.1:0"));
    }
}
