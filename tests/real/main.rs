//! The system from outside, against real registries and real applications.

mod applications;
mod bridge;
mod changes;
mod dubbo;
mod dubbo_clients;
mod dubbo_versions;
mod election;
mod embedded;
mod facade;
mod fight;
mod flow;
mod h2;
mod hessian;
mod lost;
mod mapped;
mod mass;
mod mesh;
mod nacos;
mod nacos_facade;
mod nacos_publish;
mod odd_names;
mod others_failures;
mod outages;
mod pairs;
mod publish;
mod rights;
mod switch_off;
mod synced;
mod transcoding;
mod writers;
mod zookeeper;

use landfall_tests::{Landfall, eventually};

/// `kind: Registry` documents for the parts of an estate.
fn registry(name: &str, spec: &str) -> String {
    format!("apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n")
}

/// A Gateway on `{port}` with these routes: name, path prefix, service, registry.
fn gateway(routes: &[(&str, &str, &str, &str)]) -> String {
    let mut text = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: edge }\nspec:\n  \
        gatewayClassName: landfall\n  addresses: [{ type: IPAddress, value: 127.0.0.1 }]\n  \
        listeners: [{ name: web, port: {port}, protocol: HTTP }]\n"
        .to_owned();
    for (name, prefix, service, registry) in routes {
        text.push_str(&format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name} }}\nspec:\n  \
             parentRefs: [{{ name: edge }}]\n  rules:\n    - matches: [{{ path: {{ type: PathPrefix, value: {prefix} }} }}]\n      \
             backendRefs: [{{ name: {service}, namespace: {registry} }}]\n"
        ));
    }
    text
}

/// Waits until a path at the gateway answers 200, and returns the body.
async fn answers(landfall: &Landfall, path: &str) -> String {
    eventually(&format!("{path} answers"), || async {
        match landfall.get(path).await? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("{status} {body}")),
        }
    })
    .await
}

/// Waits until the registries' page contains this text.
async fn shown(landfall: &Landfall, word: &str) {
    eventually(&format!("the registry is shown as {word}"), || async {
        let registries = landfall.admin("/api/v1/registries").await?.to_string();
        if registries.contains(&format!("\"state\":\"{word}\"")) {
            Ok(())
        } else {
            Err(registries)
        }
    })
    .await;
}

/// Whether an address is among the endpoints of any cluster.
async fn is_endpoint(landfall: &Landfall, address: &str) -> Result<bool, String> {
    Ok(landfall.admin("/api/v1/endpoints").await?.to_string().contains(address))
}

/// Waits until an address is, or is no longer, among the endpoints.
async fn endpoint(landfall: &Landfall, address: &str, expected: bool) {
    let what = if expected {
        "becomes an endpoint"
    } else {
        "is no endpoint any more"
    };
    eventually(&format!("{address} {what}"), || async {
        if is_endpoint(landfall, address).await? == expected {
            Ok(())
        } else {
            Err(landfall.admin("/api/v1/endpoints").await?.to_string())
        }
    })
    .await;
}
