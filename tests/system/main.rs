//! The system from outside, without real registries.

mod bad_input;
mod commands;
mod demo;
mod dubbo_to_http;
mod grpc;
mod last_good;
mod policies;
mod reload;
mod sidecar;
mod slow_clients;
mod smuggling;
mod streaming;
mod systemd;
mod transcoding;

/// A gateway on `{port}` with one route `/` to one static origin.
fn one_origin(address: std::net::SocketAddr) -> String {
    format!(
        "{}\n---\n{}\n---\n{}",
        static_registry(&[("origin", &[address])]),
        gateway(),
        route("origin", "/", &[("origin", "static", 1)])
    )
}

/// A registry named `static` with these services.
fn static_registry(services: &[(&str, &[std::net::SocketAddr])]) -> String {
    let lines: String = services
        .iter()
        .map(|(name, addresses)| {
            let list = addresses
                .iter()
                .map(|address| format!("\"{address}\""))
                .collect::<Vec<_>>()
                .join(", ");
            format!("      - {{ name: {name}, instances: [{list}] }}\n")
        })
        .collect();
    format!(
        "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: static }}\nspec:\n  static:\n    services:\n{lines}"
    )
}

/// A Gateway `edge` with one HTTP listener on `{port}`.
fn gateway() -> String {
    "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: edge }\nspec:\n  gatewayClassName: landfall\n  \
     addresses: [{ type: IPAddress, value: 127.0.0.1 }]\n  listeners: [{ name: web, port: {port}, protocol: HTTP }]\n"
        .to_owned()
}

/// An HTTPRoute from a path prefix to backends of `(service, registry, weight)`.
fn route(name: &str, prefix: &str, backends: &[(&str, &str, u32)]) -> String {
    let backends = backends
        .iter()
        .map(|(service, registry, weight)| format!("{{ name: {service}, namespace: {registry}, weight: {weight} }}"))
        .collect::<Vec<_>>()
        .join(", ");
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name} }}\nspec:\n  \
         parentRefs: [{{ name: edge }}]\n  rules:\n    - matches: [{{ path: {{ type: PathPrefix, value: {prefix} }} }}]\n      \
         backendRefs: [{backends}]\n"
    )
}
