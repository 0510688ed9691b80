//! The application's own cluster: one address on this host, whatever the registry says of the service.
//!
//! Policies on who may call are kept by the side that is called: here they apply to calls that come in, and to none that
//! go out.

use std::{net::SocketAddr, sync::Arc};

use landfall_model::{
    Cluster, ClusterId, Endpoint, Origin, Protocol, ServiceId, Snapshot,
    rules::{AuthorizationPolicy, BackendRef, Family, PolicyTarget, TrafficPolicy},
    snapshot::{ClusterTarget, Resolution},
};

use crate::{SidecarOptions, rules};

/// What calls that come in go to.
pub(crate) struct Inbound {
    service: ServiceId,
    application: SocketAddr,
    reference: BackendRef,
}

impl Inbound {
    pub(crate) fn new(options: &SidecarOptions) -> Self {
        Self {
            service: options.service.clone(),
            application: options.application,
            reference: rules::application(options),
        }
    }

    /// The snapshot with the application in it, and with the policies that protect it alone.
    pub(crate) fn put_in(&self, snapshot: &Snapshot, policies: &[Arc<AuthorizationPolicy>]) -> Snapshot {
        let mut snapshot = snapshot.clone();
        let id = ClusterId {
            target: ClusterTarget::Service(self.service.clone()),
            port: Some(self.application.port()),
            family: Family::Http,
        };
        let known = snapshot.clusters.get(&id);
        let policy = known.map_or_else(|| Arc::new(TrafficPolicy::default()), |cluster| cluster.policy.clone());
        let cluster = Cluster {
            id: id.clone(),
            endpoints: vec![Arc::new(self.endpoint())],
            policy,
        };
        snapshot.clusters.insert(id.clone(), Arc::new(cluster));
        snapshot
            .backends
            .insert(self.reference.clone(), Resolution::Cluster(id.clone()));
        let own: Vec<_> = policies
            .iter()
            .filter(|policy| self.is_protected_by(policy))
            .cloned()
            .collect();
        snapshot.authorization.clear();
        if !own.is_empty() {
            snapshot.authorization.insert(id, own);
        }
        snapshot
    }

    /// As control decides it, but for MeshServices: which name a caller went by is not known here.
    fn is_protected_by(&self, policy: &AuthorizationPolicy) -> bool {
        policy.targets.iter().any(|target| match target {
            PolicyTarget::All => true,
            PolicyTarget::Registry(registry) => *registry == self.service.registry,
            PolicyTarget::Service(service) => {
                service.registry == self.service.registry && service.name.eq_ignore_ascii_case(&self.service.name)
            }
            PolicyTarget::Mesh(_) => false,
        })
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.application,
            protocol: Protocol::Http,
            tls: None,
            sidecar: None,
            weight: landfall_model::service::DEFAULT_WEIGHT,
            zone: None,
            tag: None,
            exported: None,
            origin: Origin {
                registry: self.service.registry.clone(),
                service: self.service.name.clone(),
                instance: "application".into(),
            },
            changed: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use landfall_model::{
        RegistryName,
        rules::{AuthorizationAction, MutualTls},
    };

    use super::*;

    #[test]
    fn calls_that_come_in_go_to_the_application_and_under_its_policies_alone() {
        let registry = RegistryName::new("eureka").unwrap();
        let inbound = Inbound::new(&SidecarOptions {
            service: ServiceId::new(registry.clone(), "shop"),
            application: "127.0.0.1:8080".parse().unwrap(),
            inbound: "[::]:15006".parse().unwrap(),
            outbound: "127.0.0.1:15001".parse().unwrap(),
            calls: Vec::new(),
            mode: MutualTls::Permissive,
            workers: 1,
        });
        let policy = |name: &str, target| {
            Arc::new(AuthorizationPolicy {
                name: name.into(),
                targets: vec![target],
                action: AuthorizationAction::Deny,
                rules: Vec::new(),
            })
        };
        let policies = [
            policy("all", PolicyTarget::All),
            policy("mine", PolicyTarget::Service(ServiceId::new(registry.clone(), "SHOP"))),
            policy(
                "others",
                PolicyTarget::Service(ServiceId::new(registry.clone(), "orders")),
            ),
            policy("registry", PolicyTarget::Registry(registry)),
            policy("mesh", PolicyTarget::Mesh("shop".into())),
        ];
        // Also while the registry does not know the service yet.
        let snapshot = inbound.put_in(&Snapshot::default(), &policies);
        let Some(Resolution::Cluster(id)) = snapshot.backends.get(&inbound.reference) else {
            panic!("{:?}", snapshot.backends);
        };
        let addresses: Vec<_> = snapshot.clusters[id]
            .endpoints
            .iter()
            .map(|endpoint| endpoint.address)
            .collect();
        assert_eq!(addresses, ["127.0.0.1:8080".parse().unwrap()]);
        let names: Vec<_> = snapshot.authorization[id].iter().map(|policy| &*policy.name).collect();
        assert_eq!(
            (names, snapshot.authorization.len()),
            (vec!["all", "mine", "registry"], 1)
        );
    }
}
