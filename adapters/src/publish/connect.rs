//! From a `Registry` document to a [`Publisher`] that writes into it.
//!
//! Next on the path: [`eureka`](super::eureka) and its siblings.

use std::sync::Arc;

use landfall_config::{RegistryConfig, kinds::registry::RegistrySpec};

use super::{
    Permit, Publisher, consul::ConsulPublisher, eureka::EurekaPublisher, nacos::NacosPublisher,
    zookeeper::ZooKeeperPublisher,
};
use crate::registry::ConnectError;

/// Whether records can be written into such a registry. Files, lists in place and our own registry are only read.
pub fn can_be_written(spec: &RegistrySpec) -> bool {
    spec.eureka.is_some() || spec.consul.is_some() || spec.zookeeper.is_some() || spec.nacos.is_some()
}

/// Makes a publisher for the writer of `cluster`. Nothing is sent yet.
///
/// # Errors
/// [`ConnectError::BadUrl`] for an address that cannot be one and for a registry that cannot be written,
/// [`ConnectError::Secret`] when a secret cannot be read now.
pub fn connect(config: &RegistryConfig, cluster: &str, permit: Permit) -> Result<Arc<dyn Publisher>, ConnectError> {
    let spec = &config.spec.with_secrets_under(&config.base);
    Ok(if let Some(eureka) = &spec.eureka {
        Arc::new(EurekaPublisher::new(eureka, cluster, permit)?)
    } else if let Some(consul) = &spec.consul {
        Arc::new(ConsulPublisher::new(consul, cluster, permit)?)
    } else if let Some(zookeeper) = &spec.zookeeper {
        Arc::new(ZooKeeperPublisher::new(zookeeper, cluster, permit)?)
    } else if let Some(nacos) = &spec.nacos {
        Arc::new(NacosPublisher::new(nacos, cluster, permit)?)
    } else {
        return Err(ConnectError::BadUrl {
            field: "spec".to_owned(),
            value_without_credentials: crate::connect::kind(spec).to_owned(),
            why: "it can be followed but not written: name one with a block `eureka`, `consul`, `zookeeper` or `nacos`"
                .to_owned(),
        });
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use landfall_config::kinds::registry::StaticSpec;
    use landfall_model::RegistryName;

    use super::*;

    fn config(block: &str, value: serde_json::Value) -> RegistryConfig {
        RegistryConfig {
            name: RegistryName::new("r").unwrap(),
            spec: serde_json::from_value(serde_json::json!({ block: value })).unwrap(),
            base: PathBuf::new(),
        }
    }

    #[test]
    fn what_can_be_written_gets_a_publisher_of_its_kind() {
        let blocks = [
            ("zookeeper", serde_json::json!({ "address": "one:2181" })),
            ("consul", serde_json::json!({ "address": "http://one:8500" })),
            ("nacos", serde_json::json!({ "addresses": ["one:8848"] })),
            (
                "eureka",
                serde_json::json!({ "urls": ["http://u:secret@one:8761/eureka"] }),
            ),
        ];
        for (kind, block) in blocks {
            let config = config(kind, block);
            assert!(can_be_written(&config.spec));
            let publisher = connect(&config, "c1", Permit::refused()).unwrap();
            assert_eq!(publisher.kind(), kind);
            assert!(!publisher.address().contains("secret"));
        }
    }

    #[test]
    fn what_is_only_read_is_refused() {
        let mut listed = config("priority", 1.into());
        listed.spec.static_ = Some(StaticSpec::default());
        assert!(!can_be_written(&listed.spec));
        let error = connect(&listed, "c1", Permit::refused()).map(|_| ()).unwrap_err();
        assert!(
            error.to_string().contains("`static`") && error.to_string().contains("not written"),
            "{error}"
        );
    }
}
