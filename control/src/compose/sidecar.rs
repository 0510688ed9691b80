//! Which instances have a sidecar, and who has to answer there.
//!
//! The registry tells, by metadata that the instance registers: `landfall-sidecar: "15006"`, the port of the sidecar on the
//! same host. Who answers is not told by the registry but follows from the name that is called: whoever may write into
//! the registry can send calls elsewhere, and still nobody takes them who has not the service's identity.
//!
//! A copy in another registry has its own name there, and what it says of its origin may be anybody's word: it is called as
//! it is registered, past the sidecar.

use std::sync::Arc;

use landfall_adapters::publish::mark::{Provenance, provenance};
use landfall_identity::{SpiffeId, TrustDomain};
use landfall_model::{Endpoint, Instance, ServiceId, rules::Family, snapshot::Sidecar};

/// The metadata that names the port.
pub const KEY: &str = "landfall-sidecar";

/// Has calls to the instance's endpoint go to its sidecar, if it has one and this process has an identity to show there.
pub fn send(
    trust_domain: Option<&TrustDomain>,
    service: &ServiceId,
    instance: &Instance,
    family: Family,
    mut endpoint: Endpoint,
) -> Endpoint {
    let port = instance.metadata.get(KEY).and_then(|port| port.parse::<u16>().ok());
    if let (Some(domain), Some(port), Family::Http) = (trust_domain, port.filter(|port| *port > 0), family)
        && provenance(instance) == Provenance::Native
        && let Ok(identity) = SpiffeId::of_service(domain, service.registry.as_str(), &service.name)
    {
        endpoint.address.set_port(port);
        endpoint.sidecar = Some(Arc::new(Sidecar {
            identity: identity.to_string().into(),
            server_name: identity.server_name().into(),
        }));
    }
    endpoint
}

#[cfg(test)]
mod tests {
    use landfall_model::{Port, Protocol};

    use super::*;
    use crate::testing::{Stage, instance};

    /// What an instance with that metadata is called at, and by which identity.
    fn called(domain: Option<&str>, metadata: &[(&str, &str)]) -> (String, Option<String>) {
        let port = Port {
            number: 8080,
            protocol: Protocol::Http,
            tls: false,
        };
        let mut orders = instance("o1", "10.0.0.1", vec![port]);
        let metadata = metadata.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        orders.metadata.extend(metadata);
        let mut stage = Stage::new()
            .instances("eureka", "Orders", vec![orders])
            .routes(&["Orders.eureka"]);
        stage.trust_domain = domain.map(|domain| TrustDomain::new(domain).unwrap());
        let snapshot = stage.compose(None).snapshot;
        let endpoint = &snapshot.clusters.values().next().unwrap().endpoints[0];
        let identity = endpoint.sidecar.as_ref().map(|sidecar| sidecar.identity.to_string());
        (endpoint.address.to_string(), identity)
    }

    #[test]
    fn an_instance_with_a_sidecar_is_called_there_by_the_identity_of_its_name() {
        let found = called(Some("mesh.test"), &[("landfall-sidecar", "15006")]);
        let identity = Some("spiffe://mesh.test/ns/eureka/sa/orders".to_owned());
        assert_eq!(found, ("10.0.0.1:15006".to_owned(), identity));
    }

    #[test]
    fn who_has_no_identity_or_finds_no_port_calls_past_the_sidecar() {
        let plain = ("10.0.0.1:8080".to_owned(), None);
        assert_eq!(called(None, &[("landfall-sidecar", "15006")]), plain);
        for port in ["0", "70000", "", "yes"] {
            assert_eq!(
                called(Some("mesh.test"), &[("landfall-sidecar", port)]),
                plain,
                "{port}"
            );
        }
        assert_eq!(called(Some("mesh.test"), &[]), plain);
    }

    #[test]
    fn what_a_copy_says_of_its_origin_is_not_believed() {
        let copy = [("landfall-sidecar", "15006"), ("landfall-origin", "consul/thief/t1")];
        assert_eq!(called(Some("mesh.test"), &copy), ("10.0.0.1:8080".to_owned(), None));
    }
}
